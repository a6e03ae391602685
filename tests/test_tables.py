"""Tables in files: which columns become which values, what is a label, and every refusal."""

import re
import warnings
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aaekit import data
from aaekit.columns import Schema
from aaekit.data.tables import TARGETS, as_bytes
from aaekit.errors import ColumnWarning, InputError


@pytest.fixture
def written(tmp_path):
    def write(text, name="t.csv"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return write


def rows_of(table):
    return table["X"].tolist()


def read(path, **options):
    """A table without the lines that are said of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ColumnWarning)
        return data.read_table(path, **options)


def values_of(table):
    return dict(zip(table["X"].schema.value_names, table["X"].T.tolist(), strict=True))


@pytest.mark.parametrize(
    ("text", "values", "y", "classes"),
    [
        ("a,b\n1,2.5\n3,-4e1\n", {"a": [1, 3], "b": [2.5, -40]}, None, ()),
        ("\ufeffa,y\n1,u\n\n3,v\n5,\n", {"a": [1, 3, 5]}, [0, 1, -1], ("u", "v")),
        ("a;Class\n1,5;10\n3;9\n2;?\n", {"a": [1.5, 3, 2]}, [1, 0, -1], ("9", "10")),
        ("a;b\n1.5;1\n3;2\n", {"a": [1.5, 3], "b": [1, 2]}, None, ()),
        ("a\tlabel\n1\t-1\n3\tnan\n", {"a": [1, 3]}, [-1, -1], ()),
        ("a,y\n1,1.0\n2,\n3,2.0\n", {"a": [1, 2, 3]}, [0, -1, 1], ("1", "2")),
        ("a,y\n1,001\n2,01\n3,1\n", {"a": [1, 2, 3]}, [0, 1, 2], ("001", "01", "1")),
        ("a,k\n1,red\n2,\n3,blue\n", {"a": [1, 2, 3], "k=blue": [0, 0, 1], "k=red": [1, 0, 0], "k: empty": [0, 1, 0]},
         None, ()),
        ("a,k\n1,True\n2,False\n", {"a": [1, 2], "k": [1, 0]}, None, ()),
        ('"a, b",c\n1,2\n3,4\n', {"a, b": [1, 3], "c": [2, 4]}, None, ()),
        (",a\n0,5\n1,6\n", {"a": [5, 6]}, None, ()),
        (",a\n3,5\n1,6\n", {"": [3, 1], "a": [5, 6]}, None, ()),
        ("5.1,3\n4,2\n", {"0": [5.1, 4], "1": [3, 2]}, None, ()),
        ("label,0,1\n7,3,4\n5,6,7\n", {"0": [3, 6], "1": [4, 7]}, [1, 0], ("5", "7")),
        ("400,402.5\n.1,.9\n.2,.1\n.3,.2\n", {"400": [.1, .2, .3], "402.5": [.9, .1, .2]}, None, ()),
        ("x,1\ny,2\nx,3\n", {"0=x": [1, 0, 1], "0=y": [0, 1, 0], "1": [1, 2, 3]}, None, ()),
    ],
)  # fmt: skip
def test_what_a_table_says(written, text, values, y, classes):
    table = read(written(text))
    assert values_of(table) == values and table["classes"] == classes
    assert table["y"] is None if y is None else table["y"].tolist() == y


@pytest.mark.parametrize("header", [True, False])
def test_the_header_can_be_given(written, header):
    table = read(written("3,1\n4,2\n5,0\n"), header=header)
    assert table["X"].schema.names == (["3", "1"] if header else ["0", "1"]) and len(table["X"]) == 3 - header


def test_which_columns(written):
    path = written("id,a,b,kind\n1,2,3,u\n2,3,4,v\n")
    table = read(path, target="kind", drop=["id", "b"])
    assert table["X"].schema.names == ["a"] and table["classes"] == ("u", "v")
    assert read(path, target="kind", drop="id")["X"].schema.names == ["a", "b"]
    assert read(written("y,a\n1,2\n2,5\n"), drop="y")["y"] is None


def test_a_later_table_means_the_same(written):
    """Columns in another order, texts that are new or look like numbers, labels numbered as before, some not there."""
    first = read(written("a,k,b,y\n1,10,2,u\n3,x,4,v\n5,>= 1,6,w\n"))
    schema, classes = first["X"].schema, first["classes"]
    assert schema.value_names == ["a", "k=10", "k=>= 1", "k=x", "b"]
    path = written("b,more,y,a,k\n20,z,w,10,10\n40,z,,30,>= 1\n", "later.csv")
    later = read(path, schema=schema, classes=classes)
    assert rows_of(later) == [[10, 1, 0, 0, 20], [30, 0, 1, 0, 40]] and later["y"].tolist() == [2, -1]
    assert later["X"].schema is schema and later["classes"] == ("u", "v", "w")
    unlabelled = read(path, schema=schema, classes=())
    assert unlabelled["y"] is None and rows_of(unlabelled) == rows_of(later)
    without = written("b,a,k\n20,10,x\n", "without.csv")
    assert read(without, target="y", drop="gone", schema=schema)["y"] is None


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("", {}, "names of columns in the first line, got none"),
        ("a,b\n", {}, "a line for each row, got none"),
        ("a,a\n1,2\n", {}, "'a' twice"),
        ("a,b\n1,2,3\n", {}, "2 cells in every line"),
        ("a,b\n1,2\n1,2,3\n", {}, "Expected 2 fields in line 3, saw 3"),
        ("a,b\n1,2\n3\n", {"empty": "refuse"}, "row 2, column b: expected no empty cell, got 1 in this column"),
        ("a,b\n,\n,\n", {}, "a column to learn from, got a (empty), b (empty)"),
        ("a\n1\n", {"empty": "mean"}, "expected fill or refuse for empty cells, got mean"),
        ("a\n1\n", {"header": "maybe"}, "expected header=yes or header=no, got maybe"),
        ("a,y\n1,1.5\n2,1\n", {}, "classes in the column y, got the number 1.5"),
        ("a,y\n1,1.5\n2,1\n", {"target": "y"}, "column y: expected classes, got the number 1.5"),
        ("a,y,label\n1,1,1\n", {}, "one column of labels, got y and label"),
        ("y\n1\n", {}, "columns beside the labels"),
        ("a,kind\n1,2\n", {"target": "kin"}, "one of the columns a, kind, got 'kin': did you mean 'kind'?"),
        ("a,kind\n1,2\n", {"drop": ["kin"]}, "one of the columns a, kind, got 'kin': did you mean 'kind'?"),
        ("b\n1\n", {"schema": Schema.of_numbers(np.eye(2), ["a", "b"])}, "got none called a: add them"),
        ("a,y\n1,z\n", {"classes": ("u", "v")}, "expected the classes u, v, got z"),
        ("a,y\n" + "".join(f"1,t{i}\n" for i in range(40)), {}, "40 different labels in 40 rows"),
        ("a,b\n1e400,2\n1,3\n", {}, "column a: expected finite numbers"),
    ],
)  # fmt: skip
def test_what_is_refused(written, text, options, words):
    path = written(text)
    with pytest.raises(InputError, match=f"^{path}") as caught:
        read(path, **options)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_guessed_column_of_labels_is_said(written):
    path = written("a,Class\n1,u\n2,v\n3,u\n")
    with pytest.warns(ColumnWarning, match="labels are those of the column Class, 2 classes"):
        data.read_table(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data.read_table(path, target="Class")


NAMES = st.text("abyz ", min_size=1, max_size=4).map(str.strip).filter(lambda name: name and name not in TARGETS)
TEXTS = st.text("abc=, ;'\"é", min_size=1, max_size=5).map(str.strip).filter(bool)
NUMBERS = st.floats(-1e9, 1e9).map(lambda value: value + 0.0)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_is_written_as_csv_is_read_again(tmp_path_factory, drawn):
    """And what a schema writes: the same cells, as long as they are of one of the columns that are used."""
    n = drawn.draw(st.integers(1, 5), "rows")
    names = drawn.draw(st.lists(NAMES, min_size=1, max_size=4, unique=True), "names")
    columns = {"number": [k + 0.5 for k in range(n)]} | {
        name: drawn.draw(st.lists(drawn.draw(st.sampled_from([NUMBERS, TEXTS])), min_size=n, max_size=n), name)
        for name in names
    }
    labels = drawn.draw(st.lists(st.sampled_from([None, "cat", "dog"]), min_size=n, max_size=n), "labels")
    path = tmp_path_factory.mktemp("table") / "t.csv"
    delimiter = drawn.draw(st.sampled_from(",;\t"), "delimiter")
    assume(n > 1)
    formulas = re.compile("'+[=+@-]")  # as a spreadsheet marks texts that it would compute
    assume(not any(formulas.match(str(cell)) for cells in [columns, *columns.values()] for cell in cells))
    pd.DataFrame(columns | {"y": labels}).to_csv(path, index=False, sep=delimiter)
    table = read(path, header=True)
    schema = table["X"].schema
    for column in schema.columns:
        cells = columns[column.name]
        back = schema.inverse_transform(table["X"])[column.name].tolist()
        assert back == pytest.approx(cells) if isinstance(cells[0], float) else list(map(str, back)) == cells
    assert [None if k < 0 else table["classes"][k] for k in table["y"]] == labels
    again = read(path, schema=schema, classes=table["classes"] or None, header=True)
    np.testing.assert_array_equal(again["X"], table["X"])
    np.testing.assert_array_equal(again["y"], table["y"])


@pytest.mark.parametrize("content", [None, b"a,b\n\0\xff,1\n", b"\xff\xfea"], ids=["no file", "no text", "half UTF-16"])
def test_what_is_no_text(tmp_path, content):
    if content is not None:
        (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InputError, match="no such file" if content is None else "bytes that are no text"):
        data.read_table(tmp_path / "t.csv")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_encodings(tmp_path, encoding):
    path = tmp_path / "t.csv"
    path.write_bytes("straße,n\nÄ,1\nö,2\n".encode(encoding))
    with pytest.warns(ColumnWarning, match="read as Latin-1") if encoding == "latin-1" else nullcontext():
        table = data.read_table(path)
    assert table["X"].schema.value_names == ["straße=Ä", "straße=ö", "n"]


FRAME = pd.DataFrame(
    {"n": [1.5, None, 2.5], "k": ["a", "b", None], "b": [True, False, True], "y": ["001", "002", "001"]}
)
WRITERS = {
    ".csv": lambda path: FRAME.to_csv(path, index=False),
    ".csv.gz": lambda path: FRAME.to_csv(path, index=False),
    ".tsv": lambda path: FRAME.to_csv(path, index=False, sep="\t"),
    ".parquet": lambda path: FRAME.to_parquet(path),
    ".feather": lambda path: FRAME.to_feather(path),
    ".xlsx": lambda path: FRAME.to_excel(path, index=False),
    ".jsonl": lambda path: FRAME.to_json(path, orient="records", lines=True),
    ".ndjson": lambda path: FRAME.to_json(path, orient="records", lines=True),
}


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.filterwarnings("ignore::aaekit.errors.ColumnWarning")
def test_a_table_is_the_same_in_each_format(tmp_path, suffix):
    path = tmp_path / f"t{suffix}"
    WRITERS[suffix](path)
    table = data.load(path)
    assert table.name == "t" and table.classes == ("001", "002") and table.y.tolist() == [0, 1, 0]
    assert table.columns == ("n", "n: empty", "k=a", "k=b", "k: empty", "b")
    assert table.X.tolist() == [[1.5, 0, 1, 0, 0, 1], [2, 1, 0, 1, 0, 0], [2.5, 0, 0, 0, 1, 1]]
    if suffix not in (".csv", ".tsv", ".jsonl", ".ndjson"):
        path.write_bytes(path.read_bytes()[:20])
        with pytest.raises(InputError, match=f"^{path}: expected"):
            data.load(path)


def test_single_cell_data(tmp_path):
    anndata = pytest.importorskip("anndata")
    cells = anndata.AnnData(
        np.array([[1.0, 0], [0, 2], [3, 1]]), obs=pd.DataFrame({"kind": ["t", "b", "t"]}, list("abc"))
    )
    cells.write_h5ad(tmp_path / "c.h5ad")
    table = data.load(tmp_path / "c.h5ad", target="kind")
    assert table.columns == ("0", "1") and table.classes == ("b", "t")


def test_loading(written):
    table = data.load(written("a,kind\n1,u\n2,v\n3,u\n"), target="kind")
    assert (table.X.dtype, table.X.shape, table.columns) == (np.float64, (3, 1), ("a",))
    assert table.y.tolist() == [0, 1, 0] and table.describe()["columns"] == ("a",) and table.name == "t"
    path = written("p0,p1,p2,p3,kind\n0,255,3,4,7\n1,2,3,5,8\n", "pixels.csv")
    images = data.load(path, image_shape=(1, 2, 2), target="kind")
    assert (images.X.dtype, images.X.shape, images.columns) == (np.uint8, (2, 1, 2, 2), ())
    assert images.X[0].ravel().tolist() == [0, 255, 3, 4]
    with pytest.raises(InputError, match="one of the options target, drop, empty, .*, got 'test_random_state'"):
        data.load(path, test_random_state=1)


@pytest.mark.filterwarnings("ignore::aaekit.errors.ColumnWarning")
def test_columns_stay_with_what_is_prepared(written, tmp_path):
    path = written("a,k,y\n1,u,0\n2,v,1\n")
    (made,) = data.prepare(path, out=tmp_path / "out")
    before, after = data.load(path), data.load(made)
    assert after.schema == before.schema and after.classes == ("0", "1") and after.columns == ("a", "k=u", "k=v")
    np.testing.assert_array_equal(after.X, before.X)
    data.load(made, schema=before.schema)
    with pytest.raises(InputError, match="expected the columns of the training rows, got 'a' in place of 'b'"):
        data.load(made, schema=Schema.of_numbers(np.eye(3), ("b", "k=u", "k=v")))
    np.savez(tmp_path / "wrong.npz", X=np.zeros((3, 2)), columns=["a", "b", "c"])
    with pytest.raises(InputError, match="columns: expected 2, as X has, got 3"):
        data.load(tmp_path / "wrong.npz")
    np.savez(tmp_path / "wrong.npz", X=np.zeros((3, 2)), schema="{}")
    with pytest.raises(InputError, match="schema: expected the description of columns"):
        data.load(tmp_path / "wrong.npz")


@pytest.mark.parametrize(
    ("X", "bytes"),
    [([[0, 255]], True), ([[0, 1]], False), ([[0.5, 3]], False), ([[-1, 3]], False), ([[0, 256]], False)],
)
def test_bytes_of_images(X, bytes):
    assert (as_bytes(np.array(X, float)).dtype == np.uint8) is bytes
