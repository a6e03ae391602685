"""Tables in text files: which columns become which values, what is a label, and every refusal."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aaekit import data
from aaekit.data.tables import N_TEXTS, TARGETS, as_bytes
from aaekit.errors import FilledWarning, InputError


@pytest.fixture
def written(tmp_path):
    def write(text, name="t.csv"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return write


def rows_of(table):
    return table["X"].tolist()


@pytest.mark.parametrize(
    ("text", "X", "y", "classes", "columns"),
    [
        ("a,b\n1,2.5\n3,-4e1\n", [[1, 2.5], [3, -40]], None, (), ("a", "b")),
        ("\ufeffa,y\n1,u\n\n3,v\n5,\n", [[1], [3], [5]], [0, 1, -1], ("u", "v"), ("a",)),
        ("a;Class\n1,5;10\n3;9\n2;?\n", [[1.5], [3], [2]], [1, 0, -1], ("9", "10"), ("a",)),
        ("a;b\n1.5;1\n3;2\n", [[1.5, 1], [3, 2]], None, (), ("a", "b")),
        ("a\tlabel\n1\t-1\n3\tnan\n", [[1], [3]], [-1, -1], (), ("a",)),
        ("a,y\n1,1.0\n2,\n3,2.0\n", [[1], [2], [3]], [0, -1, 1], ("1", "2"), ("a",)),
        ("a,k\n1,red\n2,\n3,blue\n", [[1, 0, 1], [2, 0, 0], [3, 1, 0]], None, (), ("a", "k=blue", "k=red")),
        ("a,k\n1,True\n2,False\n", [[1, 1], [2, 0]], None, (), ("a", "k")),
        ('"a, b",c\n1,2\n', [[1, 2]], None, (), ("a, b", "c")),
        (",a\n0,5\n1,6\n", [[5], [6]], None, (), ("a",)),
        (",a\n3,5\n1,6\n", [[3, 5], [1, 6]], None, (), ("", "a")),
        ("5.1,3\n4,2\n", [[5.1, 3], [4, 2]], None, (), ("0", "1")),
        ("label,0,1\n7,3,4\n5,6,7\n", [[3, 4], [6, 7]], [1, 0], ("5", "7"), ("0", "1")),
    ],
)
def test_what_a_table_says(written, text, X, y, classes, columns):
    found = data.read_table(written(text))
    assert rows_of(found) == X and found["classes"] == classes and found["columns"] == columns
    assert found["y"] is None if y is None else found["y"].tolist() == y


def test_which_columns(written):
    path = written("id,a,b,kind\n1,2,3,u\n2,3,4,v\n")
    found = data.read_table(path, target="kind", drop=["id", "b"])
    assert found["columns"] == ("a",) and found["classes"] == ("u", "v")
    assert data.read_table(path, target="kind", drop="id")["columns"] == ("a", "b")
    assert data.read_table(written("y,a\n1,2\n"), drop="y")["y"] is None


def test_a_later_table_means_the_same(written):
    """Columns in another order, texts that are new or look like numbers, labels numbered as before, some not there."""
    first = data.read_table(written("a,k,b,y\n1,10,2,u\n3,x,4,v\n5,,6,w\n"))
    assert first["columns"] == ("a", "k=10", "k=x", "b")
    path = written("b,more,y,a,k\n20,z,w,10,10\n40,z,,30,12\n", "later.csv")
    later = data.read_table(path, columns=first["columns"], classes=first["classes"])
    assert rows_of(later) == [[10, 1, 0, 20], [30, 0, 0, 40]] and later["y"].tolist() == [2, -1]
    assert later["columns"] == first["columns"] and later["classes"] == ("u", "v", "w")
    unlabelled = data.read_table(path, columns=first["columns"], classes=())
    assert unlabelled["y"] is None and rows_of(unlabelled) == rows_of(later)
    without = written("b,a,k\n20,10,x\n", "without.csv")
    assert data.read_table(without, "y", "gone", columns=first["columns"])["y"] is None


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("", {}, "names of columns in the first line, got none"),
        ("a,b\n", {}, "a line for each row, got none"),
        ("a,a\n1,2\n", {}, "'a' twice"),
        ("a,b\n1,2,3\n", {}, "2 cells in every line"),
        ("a,b\n1,2\n1,2,3\n", {}, "Expected 2 fields in line 3, saw 3"),
        ("a,b\n1,2\n3\n", {}, "row 2, column b: expected a number, got an empty cell (1 in this column)"),
        ("a,b\n1,\n3,\n", {"empty": "mean"}, "column b: expected numbers, got only empty cells: ignore it"),
        ("a\n1\n", {"empty": "median"}, "expected mean for empty cells, got median"),
        ("a,y\n1,1.5\n2,1\n", {}, "column y: expected classes, got the number 1.5"),
        ("a,y,label\n1,1,1\n", {}, "one column of labels, got y and label"),
        ("y\n1\n", {}, "columns beside the labels"),
        ("a,kind\n1,2\n", {"target": "kin"}, "one of the columns a, kind, got 'kin': did you mean 'kind'?"),
        ("a,kind\n1,2\n", {"drop": ["kin"]}, "one of the columns a, kind, got 'kin': did you mean 'kind'?"),
        ("b\n1\n", {"columns": ("a", "b")}, "columns of the training rows, got none called a"),
        ("a\noops\n", {"columns": ("a",)}, "column a: expected numbers, got 1 texts, such as 'oops': correct them"),
        ("a,y\n1,z\n", {"classes": ("u", "v")}, "expected the classes u, v, got z"),
        ("a,k\n" + "".join(f"1,t{i}\n" for i in range(N_TEXTS + 1)), {}, f"{N_TEXTS + 1} texts, such as 't0'"),
        ("a\n" + "".join(f"{i}\n" for i in range(N_TEXTS)) + "oops\n", {}, "numbers and 1 texts, such as 'oops'"),
        ("a,y\n" + "".join(f"1,t{i}\n" for i in range(40)), {}, "40 different labels in 40 rows"),
    ],
)
def test_what_is_refused(written, text, options, words):
    path = written(text)
    with pytest.raises(InputError, match=f"^{path}") as caught:
        data.read_table(path, **options)
    assert words in str(caught.value) and "\n" not in str(caught.value)


NAMES = st.text("abyz ", min_size=1, max_size=4).map(str.strip).filter(lambda name: name and name not in TARGETS)
TEXTS = st.text("abc=, ;'\"é", min_size=1, max_size=5).map(str.strip).filter(bool)
NUMBERS = st.floats(-1e9, 1e9).map(lambda value: value + 0.0)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_is_written_as_csv_is_read_again(tmp_path_factory, drawn):
    n = drawn.draw(st.integers(1, 5), "rows")
    names = drawn.draw(st.lists(NAMES, min_size=1, max_size=4, unique=True), "names")
    columns = {
        name: drawn.draw(st.lists(drawn.draw(st.sampled_from([NUMBERS, TEXTS])), min_size=n, max_size=n), name)
        for name in names
    }
    labels = drawn.draw(st.lists(st.sampled_from([None, "cat", "dog"]), min_size=n, max_size=n), "labels")
    path = tmp_path_factory.mktemp("table") / "t.csv"
    delimiter = drawn.draw(st.sampled_from(",;\t"), "delimiter")
    pd.DataFrame(columns | {"y": labels}).to_csv(path, index=False, sep=delimiter)
    table = data.read_table(path)
    values = {}
    for name, cells in columns.items():
        if isinstance(cells[0], float):
            values[name] = cells
        else:
            values |= {f"{name}={text}": [float(cell == text) for cell in cells] for text in sorted(set(cells))}
    assert table["columns"] == tuple(values)
    np.testing.assert_array_equal(table["X"], np.array(list(values.values())).T)
    assert [None if k < 0 else table["classes"][k] for k in table["y"]] == labels
    again = data.read_table(path, columns=table["columns"], classes=table["classes"] or None)
    np.testing.assert_array_equal(again["X"], table["X"])
    np.testing.assert_array_equal(again["y"], table["y"])


@pytest.mark.parametrize(
    "content", [None, b"a,b\n\xff\xfe,1\n", b"\xff\xfea\x00"], ids=["no file", "wrong bytes", "UTF-16"]
)
def test_what_is_no_text(tmp_path, content):
    if content is not None:
        (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InputError, match="no such file" if content is None else "CSV in UTF-8"):
        data.read_table(tmp_path / "t.csv")


def test_empty_cells(written, tmp_path):
    """They take the mean of their column, in a later table that of the training; texts and labels may lack anyway."""
    path = written("a;k;b;y\n1,5;u;10;0\n;v;;1\n2,5;;40;\n?;u;10;1\n")
    first = data.load(path, empty="mean")
    assert rows_of({"X": first.X}) == [[1.5, 1, 0, 10], [2, 0, 1, 20], [2.5, 0, 0, 40], [2, 1, 0, 10]]
    assert first.describe()["filled"] == "3 empty cells" and first.y.tolist() == [0, 1, -1, 1]
    assert first.means == [2, 0.5, 0.25, 20]
    later = written("b,a,k\n,5,v\n6,,\n", "later.csv")
    with pytest.raises(InputError, match=r"row 2, column a: .* fill them in or use their mean$"):
        data.load(later, columns=first.columns)
    with pytest.warns(
        FilledWarning, match=r"later.csv: 2 empty cells were filled with the means of their columns in the training"
    ):
        second = data.load(later, columns=first.columns, empty=first.means)
    assert second.X.tolist() == [[5, 0, 1, 20], [2, 0, 0, 6]] and second.n_empty == 2
    with pytest.raises(InputError, match="expected a number for each of 4 columns, got 2"):
        data.load(later, columns=first.columns, empty=[1, 2])


def test_loading(written):
    found = data.load(written("a,kind\n1,u\n2,v\n3,u\n"), target="kind")
    assert (found.X.dtype, found.X.shape, found.columns) == (np.float32, (3, 1), ("a",))
    assert found.y.tolist() == [0, 1, 0] and found.describe()["columns"] == ("a",) and found.name == "t"
    path = written("p0,p1,p2,p3,label\n0,255,3,4,7\n1,2,3,4,8\n", "pixels.csv")
    images = data.load(path, image_shape=(1, 2, 2))
    assert (images.X.dtype, images.X.shape, images.columns) == (np.uint8, (2, 1, 2, 2), ())
    assert images.X[0].ravel().tolist() == [0, 255, 3, 4]
    with pytest.raises(InputError, match="one of the options target, drop, empty, got 'test_random_state'"):
        data.load(path, test_random_state=1)
    with pytest.raises(InputError, match="finite"):
        data.load(written("a,b\n1e400,2\n"))


def test_columns_stay_with_what_is_prepared(written, tmp_path):
    path = written("a,k,y\n1,u,0\n2,v,1\n")
    (made,) = data.prepare(path, out=tmp_path / "out")
    before, after = data.load(path), data.load(made)
    assert after.columns == before.columns == ("a", "k=u", "k=v") and after.classes == ("0", "1")
    np.testing.assert_array_equal(after.X, before.X)
    data.load(made, columns=before.columns)
    with pytest.raises(InputError, match="expected the columns of the training rows, got 'a' in place of 'b'"):
        data.load(made, columns=("b", "k=u", "k=v"))
    np.savez(tmp_path / "wrong.npz", X=np.zeros((3, 2)), columns=["a", "b", "c"])
    with pytest.raises(InputError, match="columns: expected 2, as X has, got 3"):
        data.load(tmp_path / "wrong.npz")


@pytest.mark.parametrize(
    ("X", "bytes"),
    [([[0, 255]], True), ([[0, 1]], False), ([[0.5, 3]], False), ([[-1, 3]], False), ([[0, 256]], False)],
)
def test_bytes_of_images(X, bytes):
    assert (as_bytes(np.array(X, float)).dtype == np.uint8) is bytes
