"""Files that are damaged or made to do harm: each is read, or refused by one line, with little memory and time."""

import functools
import json
import os
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aaekit import data
from aaekit.data.formats import read_filled
from aaekit.errors import ColumnWarning, InputError
from tests.hostile.inputs import Kind, archives, descriptions, images, tables


@functools.cache
def good():
    """Files of data that are read."""
    return images() | tables() | archives()


def attempt(folder, name, content):
    """Whether a file is read, rather than refused in a line."""
    return Kind(name, content, lambda root: data.load(root / name)).is_read(folder, content)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(
    name=st.deferred(lambda: st.sampled_from(sorted(good()))),  # one of them is of a run, which is trained first
    at=st.floats(0, 1),
    put=st.binary(max_size=12),
    cut=st.integers(0, 12),
)
def test_one_piece_of_a_file_replaced(tmp_path, name, at, put, cut):
    kind = good()[name]
    kind.place(tmp_path)
    k = int(at * len(kind.content))
    kind.is_read(tmp_path, kind.content[:k] + put + kind.content[k + cut :])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(text=st.text(st.characters(codec="utf-8"), max_size=60) | st.text("a1,;\t\n\"'.-e?", max_size=60))
def test_any_text_is_a_table_or_none(tmp_path, text):
    attempt(tmp_path, "a.csv", text.encode())


# --- made to do harm -------------------------------------------------------------------------------------------------
def npy(header):
    text = header.encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000000, 10), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999999, ), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 10), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (True, 10), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (10, ",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1, 1), }",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1, 1), }",
        "{'descr': 'zz', 'fortran_order': False, 'shape': (1, 1), }",
        "{" * 200,
        "'''",
        "",
    ],
)
def test_headers_of_arrays(tmp_path, header):
    assert not attempt(tmp_path, "a.npy", npy(header) + bytes(40))
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("X.npy", npy(header) + bytes(40))
    with pytest.raises(InputError, match="expected a .npz archive of plain arrays, got a damaged one"):
        data.load(tmp_path / "b.npz")


def test_archives_that_unfold_are_refused_unless_allowed(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", X=np.zeros((1000, 1000), np.uint8))
    with pytest.raises(InputError, match=r"at most 100,000 bytes of arrays, got more: .* max_bytes=400000"):
        data.load(tmp_path / "a.npz", max_bytes=100_000)
    assert len(data.load(tmp_path / "a.npz", max_bytes=2_000_000).X) == 1000
    import gzip

    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"a,b\n" + b"1,2\n3,5\n" * 10_000))
    with pytest.raises(InputError, match="at most 1,000 bytes of text, got more"):
        data.load(tmp_path / "a.csv.gz", max_bytes=1000)


@pytest.mark.parametrize("write", ["feather", "stream"])
def test_texts_of_tables_that_lie_outside_of_the_file(write, tmp_path):
    """Offsets that are read without a check end the process."""
    pa = pytest.importorskip("pyarrow")
    from pyarrow import feather

    table = pa.table({"a": ["a", "b", "c"], "image": ["d", "e", "f"], "b": [1.0, 2.0, 3.0]})
    if write == "feather":
        path = file = tmp_path / "a.feather"
        feather.write_feather(table, str(file), compression="uncompressed")
    else:
        descriptions()["data.arrow"].place(tmp_path)
        path, file = tmp_path / "set", tmp_path / "set" / "train" / "data.arrow"
        with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as out:
            out.write_table(table)
    good, wrong = (np.array([0, 1, 2, end], np.int32).tobytes() for end in (3, 2**30))
    assert file.read_bytes().count(good) == 2
    file.write_bytes(file.read_bytes().replace(good, wrong))
    with pytest.raises(InputError, match="damaged one"):
        data.load(path)


@pytest.mark.parametrize("name", ["../secret.arrow", "/etc/passwd", "..", "", "a\\0"])
def test_descriptions_of_sets_name_files_beside_them(name, tmp_path):
    kind = descriptions()["state.json"]
    kind.place(tmp_path)
    text = json.dumps({"_data_files": [{"filename": name.replace("\\0", "\0")}]})
    with pytest.raises(InputError, match="got a damaged one .the name"):
        (tmp_path / kind.path).write_text(text)
        data.load(tmp_path / "set")


def test_names_of_a_file_are_quoted_in_one_line(tmp_path):
    lines = '"pair\n of","' + "x" * 5000 + '"' + "".join(f",c{k}" for k in range(100)) + "\n1,2\n"
    (tmp_path / "a.csv").write_text(lines)
    with pytest.raises(InputError, match=r"got pair of, x{80}, c0, .* and \d+ more") as refused:
        read_filled(tmp_path / "a.csv", ("pair", "real"))
    assert len(str(refused.value).splitlines()) == 1


def test_labels_that_are_no_finite_numbers(tmp_path):
    lines = [f"{k / 7:.3f},{('1', '1e999')[k % 2]}" for k in range(12)]
    (tmp_path / "a.csv").write_text("\n".join(["size,label", *lines]))
    with pytest.warns(ColumnWarning, match="of the column label, 2 classes"):
        assert len(data.load(tmp_path / "a.csv").X) == 12


def test_pipes_are_not_waited_for(tmp_path):
    for name in ("a.npz", "a.npy", "a.csv", "a.png", "a.xlsx"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(InputError, match="got a pipe or a device: name a regular file|no regular file"):
            data.load(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a,b\n1,2\n3,5\n".encode("utf-16-le"), "UTF-16 without a byte order mark: save it as UTF-8"),
        ("a,b\n1,2\n3,5\n".encode("utf-16-be"), "UTF-16 without a byte order mark: save it as UTF-8"),
        (b"a,b\n1,2\0\n3,5\n", "bytes that are no text"),
    ],
)
def test_text_files_that_are_none(tmp_path, content, words):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(InputError, match=words):
        data.load(tmp_path / "a.csv")


def test_wide_tables_take_linear_time(tmp_path):
    """Counted in calls, so that a busy machine does not matter."""
    import sys

    def calls(n_columns):
        X = np.random.default_rng(0).normal(size=(30, n_columns)).round(3)
        lines = [",".join(f"g{k}" for k in range(n_columns)), *(",".join(map(str, row)) for row in X.tolist())]
        (tmp_path / "a.csv").write_text("\n".join(lines))
        counted = 0

        def count(*_):
            nonlocal counted
            counted += 1

        sys.setprofile(count)
        try:
            assert data.load(tmp_path / "a.csv").X.shape == (30, n_columns)
        finally:
            sys.setprofile(None)
        return counted

    calls(10)
    few, many = calls(250), calls(1000)
    assert many < 5 * few and many < 1000 * 1000


def test_numbers_beyond_float32(tmp_path):
    """They are scaled in double precision where columns have names, and refused elsewhere."""
    (tmp_path / "a.csv").write_text("a,b\n" + "".join(f"{k}e38,{k % 5}\n" for k in range(1, 31)))
    rows = data.load(tmp_path / "a.csv").X
    assert rows.dtype == np.float64 and rows.max() == 30e38
    np.savez(tmp_path / "a.npz", X=np.asarray(rows))
    with pytest.raises(InputError, match="expected finite float32 values, got 27 NaN, infinite or too large"):
        data.load(tmp_path / "a.npz")
