"""Files that are damaged or made to do harm: each is read, or refused by one line, with little memory and time."""

import io
import os
import struct
import warnings
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from aaekit import data
from aaekit.errors import ColumnWarning, ImageWarning, InputError

LIMITS = {"max_pixels": 10**6}
PICTURE = np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)


def of_image(kind, **options):
    buffer = io.BytesIO()
    image = Image.fromarray(PICTURE)
    if kind == "GIF":
        image = image.quantize(16)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def of_arrays(save, **arrays):
    buffer = io.BytesIO()
    save(buffer, **arrays)
    return buffer.getvalue()


def of_rows():
    buffer = io.BytesIO()
    np.save(buffer, np.arange(40, dtype=np.float32).reshape(10, 4))
    return buffer.getvalue()


def of_table():
    lines = ["size,colour,day,label"]
    lines += [f"{k / 7:.3f},{('red', 'blue')[k % 2]},2024-01-{k + 1:02d},{'ab'[k % 2]}" for k in range(12)]
    return "\n".join(lines).encode()


def exif():
    tags = Image.Exif()
    tags[0x0112] = 6
    return tags


ARRAYS = {"X": np.arange(60, dtype=np.uint8).reshape(5, 12), "y": np.array([0, 1, 0, 1, -1])}
GOOD = {  # a good file of each kind: its name and content
    "png": ("a.png", of_image("PNG")),
    "jpeg": ("a.jpg", of_image("JPEG", exif=exif())),
    "gif": ("a.gif", of_image("GIF")),
    "tiff": ("a.tif", of_image("TIFF", compression="tiff_lzw")),
    "bmp": ("a.bmp", of_image("BMP")),
    "webp": ("a.webp", of_image("WEBP")),
    "ppm": ("a.ppm", of_image("PPM")),
    "npz": ("a.npz", of_arrays(np.savez_compressed, **ARRAYS)),
    "stored npz": ("a.npz", of_arrays(np.savez, **ARRAYS)),
    "npy": ("a.npy", of_rows()),
    "csv": ("a.csv", of_table()),
}


def attempt(folder, name, content):
    """Read a file; whether that succeeded. Any error but one line of an `InputError` is a failure of the test."""
    path = folder / name
    path.write_bytes(content)
    options = {} if path.suffix in (".npz", ".npy", ".csv") else LIMITS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ImageWarning)
        warnings.simplefilter("ignore", ColumnWarning)
        try:
            data.load(path, **options)
        except InputError as error:
            assert "\n" not in str(error) and "got" in str(error) and len(str(error)) < 2000, str(error)
            return False
    return True


def mutated(content, rng):
    """A content with bytes changed, removed, inserted or repeated, or with a large number in it."""
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(len(changed) + 1))
        n = int(rng.integers(1, 9))
        kind = rng.integers(6)
        if kind == 0:
            changed[at : at + n] = rng.bytes(n)
        elif kind == 1:
            del changed[at : at + n]
        elif kind == 2:
            changed[at:at] = rng.bytes(n)
        elif kind == 3:
            del changed[at:]
        elif kind == 4:
            changed[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"9999"])
        else:
            changed[at:at] = changed[at : at + 40]
    return bytes(changed)


def try_mutations(tmp_path, n):
    read = 0
    for kind, (name, content) in GOOD.items():
        assert attempt(tmp_path, name, content), kind
        rng = np.random.default_rng(list(kind.encode()))
        read += sum(attempt(tmp_path, name, mutated(content, rng)) for _ in range(n // len(GOOD)))
    assert 0 < read < n


def test_damaged_files_give_one_line(tmp_path):
    try_mutations(tmp_path, 440)


@pytest.mark.slow
def test_ten_thousand_damaged_files_give_one_line(tmp_path):
    try_mutations(tmp_path, 10_000)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(kind=st.sampled_from(sorted(GOOD)), at=st.floats(0, 1), put=st.binary(max_size=12), cut=st.integers(0, 12))
def test_one_piece_of_a_file_replaced(tmp_path, kind, at, put, cut):
    name, content = GOOD[kind]
    k = int(at * len(content))
    attempt(tmp_path, name, content[:k] + put + content[k + cut :])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
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
