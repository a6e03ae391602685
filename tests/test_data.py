# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false, reportArgumentType=false
"""Data: every reader, every refusal, downloads from a server on this machine, splits and the array store."""

import ast
import bz2
import errno
import gzip
import hashlib
import io
import os
import struct
import subprocess
import sys
import threading
from dataclasses import replace
from functools import partial
from graphlib import TopologicalSorter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat
from scipy.ndimage import zoom
from sklearn.neighbors import KNeighborsClassifier

from aaekit import data
from aaekit.data import domains, fonts, formats, sets, store
from aaekit.errors import InputError
from aaekit.labels import split_labels

rng = np.random.default_rng(0)


def idx(array, code=0x08):
    header = struct.pack(">HBB", 0, code, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(formats.IDX_TYPES[code]).tobytes()


def idx_files():
    images, labels = rng.integers(0, 256, (12, 4, 5)), np.arange(12) % 10
    return [gzip.compress(idx(part), mtime=0) for part in (images, labels, images[:5], labels[:5])], (images, labels)


def usps_files():
    values, labels = rng.uniform(-1, 1, (6, 256)).round(4), np.array([1, 2, 10, 5, 6, 1])
    values[:, 0], values[:, 1] = -1, 1
    lines = [
        f"{k} " + " ".join(f"{j + 1}:{v}" for j, v in enumerate(row)) for k, row in zip(labels, values, strict=True)
    ]
    text = ("\n".join(lines) + "\n").encode()
    return [bz2.compress(text)] * 2, (values, labels)


def svhn_files():
    images, labels = rng.integers(0, 256, (32, 32, 3, 7), dtype=np.uint8), np.array([10, 1, 2, 3, 9, 10, 4])
    buffer = io.BytesIO()
    savemat(buffer, {"X": images, "y": labels[:, None].astype(np.uint8)}, do_compression=True)
    return [buffer.getvalue()] * 2, (images, labels)


FAKES = {"mnist": idx_files, "usps": usps_files, "svhn": svhn_files}


def register(monkeypatch, name, blobs, roots=("http://127.0.0.1:9/",)):
    """Point the entry at these contents, served below `roots`."""
    entry = sets.SETS[name]
    files = tuple(
        sets.RemoteFile(file.name, hashlib.md5(blob).hexdigest(), tuple(root + file.name for root in roots))
        for file, blob in zip(entry.files, blobs, strict=True)
    )
    monkeypatch.setitem(sets.SETS, name, replace(entry, files=files))
    return files


def put(folder, name, blobs):
    folder.mkdir(parents=True, exist_ok=True)
    for file, blob in zip(sets.SETS[name].files, blobs, strict=True):
        (folder / file.name).write_bytes(blob)


def refused(call, *words):
    """The call is refused in one line that has these words."""
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert str(word) in message, message
    return message


class Web(ThreadingHTTPServer):
    """A web server on this machine: `pages` maps a path to (status, length announced, body); `asked` lists requests."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Page)
        self.pages, self.asked, self.root = {}, [], f"http://127.0.0.1:{self.server_port}"


class Page(BaseHTTPRequestHandler):
    server: Web

    def do_GET(self):
        self.server.asked.append(self.path)
        status, length, body = self.server.pages.get(self.path, (404, 0, b""))
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


@pytest.fixture
def server():
    web = Web()
    thread = threading.Thread(target=partial(web.serve_forever, poll_interval=0.01))
    thread.start()
    yield web
    web.shutdown()
    web.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    """No test sees the user's folders or a proxy."""
    for variable in ("AAE_DATA_DIR", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


# Modules

WITHOUT_EXTRAS = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in ("pandas", "pooch", "PIL", "rich", "matplotlib", "yaml", "typer"):
            raise ModuleNotFoundError(name=name)

sys.meta_path.insert(0, Missing())
from pathlib import Path
from aaekit import data
from aaekit.errors import InputError

assert len(data.load("digits").X) == 1297 and data.info("digits")["present"]
folder = Path(sys.argv[1])
(folder / "a.csv").write_text("1,2")
(folder / "images").mkdir()
for name in (folder / "a.csv", folder / "images", "fonts", "usps"):
    try:
        data.load(name, folder)
    except InputError as error:
        print(error)
"""


def test_what_is_loaded_without_the_extras(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS, tmp_path], capture_output=True, text=True, cwd=Path(__file__).parents[1]
    )
    packages = {"pandas": "data", "pillow": "data", "matplotlib": "plots", "pooch": "data"}
    assert run.stderr == "" and run.stdout.splitlines() == [
        f'expected the package {package}, got none: install it with pip install "aaekit[{extra}]"'
        for package, extra in packages.items()
    ]


def test_no_modules_import_each_other():
    imports = {}
    for path in Path(data.__file__).parent.glob("[!_]*.py"):
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        modules = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
        imports[f"aaekit.data.{path.stem}"] = {module for module in modules if module.startswith("aaekit.data.")}
    assert set(TopologicalSorter(imports).static_order()) == set(imports)


# Named sets


def test_registry_entries_are_complete():
    for name in data.names():
        entry = sets.SETS[name]
        assert len(entry.classes) != 1 and len(set(entry.classes)) == len(entry.classes)
        assert entry.source and entry.summary and len(entry.source) > 10
        assert entry.home or all(file.urls for file in entry.published or entry.files)
        for file in (*entry.files, *entry.published):
            assert len(file.urls) >= 2 if file.md5 else not file.urls, "several mirrors with a checksum, or none"
            assert len(set(file.urls)) == len(file.urls)
            assert all(len(md5) == 32 and int(md5, 16) for md5 in (file.md5, file.content_md5) if md5)
            assert all(url.endswith(file.name.removeprefix(f"{name}-")) for url in file.urls)


def medical(n):
    """A file of MedMNIST with n training images, and its content."""
    buffer, y = io.BytesIO(), (np.arange(n) % 2)[:, None].astype(np.uint8)
    images = np.arange(n * 784).reshape(n, 28, 28).astype(np.uint8)
    np.savez(buffer, train_images=images, train_labels=y, test_images=images[:3], test_labels=y[:3])
    return buffer.getvalue()


def test_the_whole_set_is_downloaded_where_the_prepared_file_is_missing(server, tmp_path, monkeypatch):
    blob = medical(8)
    file = sets.RemoteFile("pneumoniamnist.npz", hashlib.md5(blob).hexdigest(), (f"{server.root}/a.npz",))
    monkeypatch.setitem(sets.SETS, "chest", replace(sets.SETS["chest"], published=(file,)))
    server.pages["/a.npz"] = (200, len(blob), blob)
    assert not data.info("chest", tmp_path)["present"] and not server.asked
    assert data.load("chest", tmp_path).X.shape == (8, 1, 28, 28) and data.info("chest", tmp_path)["present"]
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite" / "chest.npz").write_bytes(medical(5))
    assert len(data.load("chest", tmp_path).X) == 5 and len(server.asked) == 1
    refused(lambda: data.load("mushroom", tmp_path), "mushroom-train.csv.gz", "made from https://archive.ics.uci.edu")


@pytest.mark.parametrize(("name", "n", "held_out", "K"), [("wine", 178, 60, 3), ("breast-cancer", 569, 190, 2)])
def test_tables_hold_out_rows_by_their_own_seed(name, n, held_out, K):
    one, same, other = data.load(name), data.load(name), data.load(name, test_random_state=1)
    assert one.X.shape[0] == n - held_out and one.X_test.shape[0] == held_out and one.X.ndim == 2
    assert len(np.unique(np.concatenate([one.X, one.X_test]), axis=0)) >= n - 1  # no row twice, none lost
    assert (one.X == same.X).all() and (one.X != other.X).any()
    assert len(one.classes) == K == len(np.unique(one.y_test))
    np.testing.assert_allclose(np.bincount(one.y) / len(one.y), np.bincount(one.y_test) / held_out, atol=0.02)


def test_digits_hold_out_500_rows_by_their_own_seed():
    one, same, other = data.load("digits"), data.load("digits"), data.load("digits", test_random_state=1)
    assert one.X.shape == (1297, 1, 8, 8) and one.X.dtype == np.float32 and one.X.min() == 0 and one.X.max() == 1
    assert one.y.dtype == np.int64 and len(one.X_test) == len(one.y_test) == 500
    assert np.bincount(one.y_test).min() >= 48
    np.testing.assert_array_equal(one.X, same.X)
    assert not np.array_equal(one.y_test, other.y_test)
    assert one.describe() | {"source": ""} == {
        "name": "digits",
        "rows": 1297,
        "test_rows": 500,
        "shape": (1, 8, 8),
        "dtype": "float32",
        "classes": tuple("0123456789"),
        "labelled": 1297,
        "source": "",
    }


def test_idx_set(monkeypatch, tmp_path):
    blobs, (images, labels) = idx_files()
    register(monkeypatch, "mnist", blobs)
    put(tmp_path / "mnist", "mnist", blobs)
    found = data.load("mnist", tmp_path, download=False)
    np.testing.assert_array_equal(found.X, images[:, None])
    np.testing.assert_array_equal(found.y, labels)
    assert found.X.dtype == np.uint8 and found.y.dtype == np.int64 and found.X_test.shape == (5, 1, 4, 5)
    assert found.X.flags.writeable


def test_usps(monkeypatch, tmp_path):
    blobs, (values, labels) = usps_files()
    register(monkeypatch, "usps", blobs)
    put(tmp_path, "usps", blobs)
    found = data.load("usps", tmp_path, download=False)
    np.testing.assert_allclose(found.X.reshape(6, 256), (values + 1) / 2, atol=1e-6)
    np.testing.assert_array_equal(found.y, labels - 1)
    assert found.X.dtype == np.float32 and found.X.shape == (6, 1, 16, 16) and (found.X[:, 0, 0, 1] == 1).all()


def test_svhn(monkeypatch, tmp_path):
    blobs, (images, labels) = svhn_files()
    register(monkeypatch, "svhn", blobs)
    put(tmp_path / "svhn", "svhn", blobs)
    found = data.load("svhn", tmp_path, download=False)
    assert found.X.shape == (7, 3, 32, 32) and found.X.dtype == np.uint8 and found.X.flags.c_contiguous
    np.testing.assert_array_equal(found.X[4, 2], images[:, :, 2, 4])
    np.testing.assert_array_equal(found.y, labels % 10)


@pytest.fixture(scope="module")
def printed():
    return fonts.read_fonts([], n_rows=400)


def test_fonts_have_the_format_of_mnist(printed):
    X, y, X_test, y_test = printed
    assert X.shape == (400, 1, 28, 28) and X.dtype == np.uint8 and X_test.shape == (80, 1, 28, 28)
    assert np.bincount(y).tolist() == [40] * 10 and np.bincount(y_test).tolist() == [8] * 10
    for images in (X, X_test):
        boxes, middles = box_and_middle(images)
        assert boxes.max(1).min() >= 16 and boxes.max() <= 22 and (images.max((1, 2, 3)) > 150).all()
        assert abs(middles - 14).max() < 1.3 and abs(middles.mean(0) - 14).max() < 0.3
    assert 30 < X.mean() < 50  # MNIST: 33


def box_and_middle(X):
    """Height and width of the ink, and its centre of mass, of each image."""
    boxes, middles = [], []
    for x in X[:, 0].astype(float):
        down, right = np.nonzero(x > 60)
        boxes.append((np.ptp(down) + 1, np.ptp(right) + 1))
        middles.append([(x.sum(axis) * np.arange(x.shape[1 - axis])).sum() / x.sum() for axis in (1, 0)])
    return np.array(boxes), np.array(middles)


def test_fonts_are_legible_and_varied(printed):
    X, y, X_test, y_test = printed
    known = KNeighborsClassifier(1).fit(X.reshape(400, -1), y)
    assert known.score(X_test.reshape(80, -1), y_test) > 0.85
    assert len(np.unique(np.concatenate([X, X_test]), axis=0)) == 480
    ink = X.mean((1, 2, 3))
    assert ink.max() > 3 * ink.min()  # light and bold


def test_fonts_go_by_their_seed(printed):
    again, other = (data.load("fonts", n_rows=30, random_state=seed) for seed in (0, 1))
    np.testing.assert_array_equal(again.X, data.load("fonts", n_rows=30).X)
    assert not np.array_equal(again.X, other.X) and again.classes == tuple("0123456789")
    assert data.info("fonts")["present"] and len(other.X_test) == 10


def test_every_typeface_has_every_digit():
    glyphs = {np.asarray(fonts._glyph(face, digit, 0)).tobytes() for face in fonts.FACES for digit in "0123456789"}
    assert len(glyphs) == 210


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_rows": 9}, ["n_rows: expected a whole number of at least 10, got 9"]),
        ({"n_rows": "many"}, ["n_rows", "'many'"]),
        ({"random_state": -1}, ["random_state", "-1"]),
        ({"n_row": 20}, ["did you mean 'n_rows'?"]),
    ],
)
def test_bad_options_of_fonts(options, words):
    refused(lambda: data.load("fonts", **options), *words)


def test_missing_typeface(monkeypatch, tmp_path):
    import matplotlib

    monkeypatch.setattr(matplotlib, "get_data_path", lambda: str(tmp_path))
    refused(lambda: data.load("fonts", n_rows=10), tmp_path, "reinstall it")


def mnist_folder():
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("AAE_DATA_DIR") or beside)
    return (
        folder if sets.IDX_NAMES and any((p / sets.IDX_NAMES[0]).exists() for p in (folder, folder / "mnist")) else None
    )


MNIST = mnist_folder()


@pytest.mark.skipif(MNIST is None, reason="needs MNIST in AAE_DATA_DIR or beside the repository")
def test_mnist_is_mnist():
    found = data.load("mnist", MNIST, download=False)
    assert found.X.shape == (60000, 1, 28, 28) and found.X_test.shape == (10000, 1, 28, 28)
    assert np.bincount(found.y).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert found.y[:5].tolist() == [5, 0, 4, 1, 9] and round(float(found.X.mean()), 2) == 33.32


def test_unknown_set_and_option():
    refused(lambda: data.load("fashion_mnist"), "did you mean 'fashion-mnist'?", *data.names())
    refused(lambda: data.info("zebra"), "zebra", "digits")
    refused(lambda: data.load("digits", test_random_stat=1), "did you mean 'test_random_state'?")
    refused(lambda: data.load("mnist", limit=1), "mnist: expected no options, got 'limit'")
    refused(lambda: data.load("digits", test_random_state=-1), "test_random_state", "-1")


# Where files are looked for


def test_data_folder_is_argument_then_variable_then_cache(monkeypatch, tmp_path):
    assert data.data_folder().name == "aaekit"
    monkeypatch.setenv("AAE_DATA_DIR", str(tmp_path / "variable"))
    assert data.data_folder() == tmp_path / "variable"
    assert data.data_folder(tmp_path / "argument") == tmp_path / "argument"


def test_missing_files_say_where_and_how(monkeypatch, tmp_path):
    register(monkeypatch, "usps", usps_files()[0])
    call = partial(data.load, "usps", tmp_path / "none", download=False)
    refused(call, tmp_path / "none" / "usps", "usps.bz2, usps.t.bz2", "--data-dir", "AAE_DATA_DIR")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("place", [".", "mnist"])
@pytest.mark.parametrize(
    "damage",
    [lambda b: b[:-7], lambda b: b + b"x", lambda b: b"", lambda b: b"<html>"],
    ids=["cut", "byte too many", "empty", "other"],
)
def test_damaged_file_is_named_with_both_checksums(monkeypatch, tmp_path, place, damage):
    blobs, _ = idx_files()
    files = register(monkeypatch, "mnist", blobs)
    put(tmp_path / place, "mnist", [damage(blobs[0]), *blobs[1:]])
    found = hashlib.md5(damage(blobs[0])).hexdigest()
    path = tmp_path / place / files[0].name
    refused(partial(data.load, "mnist", tmp_path), path, files[0].md5, found, "delete it")
    report = data.info("mnist", tmp_path)
    assert not report["present"] and [file["state"] for file in report["files"]] == ["damaged", *["present"] * 3]
    assert path.exists()


def test_file_compressed_again_is_known_by_its_content(monkeypatch, tmp_path):
    blobs, (images, _) = idx_files()
    files = register(monkeypatch, "mnist", blobs)
    unpacked = [hashlib.md5(gzip.decompress(blob)).hexdigest() for blob in blobs]
    entry = replace(
        sets.SETS["mnist"], files=tuple(replace(f, content_md5=u) for f, u in zip(files, unpacked, strict=True))
    )
    monkeypatch.setitem(sets.SETS, "mnist", entry)
    put(tmp_path, "mnist", [gzip.compress(gzip.decompress(blob), 1, mtime=5) for blob in blobs])
    np.testing.assert_array_equal(data.load("mnist", tmp_path, download=False).X[:, 0], images)
    put(tmp_path, "mnist", [blob[:-9] for blob in blobs])
    refused(partial(data.load, "mnist", tmp_path), "truncated")


def test_a_kindred_sets_file_of_the_same_name_is_passed_over(monkeypatch, tmp_path):
    blobs, _ = idx_files()
    register(monkeypatch, "mnist", blobs)
    put(tmp_path, "mnist", blobs)
    refused(partial(data.load, "kmnist", tmp_path, download=False), "kmnist: expected train-images", "got none")
    put(tmp_path / "kmnist", "mnist", blobs)
    refused(partial(data.load, "kmnist", tmp_path, download=False), "expected checksum")


def test_info(monkeypatch, tmp_path):
    blobs, _ = usps_files()
    register(monkeypatch, "usps", blobs)
    put(tmp_path, "usps", blobs)
    report = data.info("usps", tmp_path)
    assert report["present"] and report["megabytes"] == 8 and report["folder"] == tmp_path
    assert report["files"][0]["bytes"] == len(blobs[0]) and report["files"][1]["path"] == tmp_path / "usps.t.bz2"
    assert not data.info("svhn", tmp_path)["present"] and data.info("digits", tmp_path)["present"]


# Downloads


def serve(server, folder, files, blobs, cut=0):
    for file, blob in zip(files, blobs, strict=True):
        server.pages[f"/{folder}/{file.name}"] = (200, len(blob), blob[: len(blob) - cut])


@pytest.mark.parametrize("name", FAKES)
def test_download_tries_the_next_mirror_and_fetches_once(monkeypatch, tmp_path, server, name):
    blobs, _ = FAKES[name]()
    files = register(monkeypatch, name, blobs, (f"{server.root}/gone/", f"{server.root}/good/"))
    serve(server, "good", files, blobs)
    first = data.load(name, tmp_path)
    assert sorted(p.name for p in (tmp_path / name).iterdir()) == sorted(file.name for file in files)
    assert server.asked == [f"/{mirror}/{file.name}" for file in files for mirror in ("gone", "good")]
    server.asked.clear()
    np.testing.assert_array_equal(data.load(name, tmp_path).X, first.X)
    assert server.asked == []


def test_download_fetches_only_what_is_missing(monkeypatch, tmp_path, server):
    blobs, _ = usps_files()
    files = register(monkeypatch, "usps", blobs, (f"{server.root}/good/",))
    serve(server, "good", files, blobs)
    (tmp_path / "usps.bz2").write_bytes(blobs[0])
    data.load("usps", tmp_path)
    assert server.asked == ["/good/usps.t.bz2"] and [p.name for p in (tmp_path / "usps").iterdir()] == ["usps.t.bz2"]


def test_wrong_checksum_on_every_mirror(monkeypatch, tmp_path, server):
    blobs, _ = usps_files()
    files = register(monkeypatch, "usps", blobs, (f"{server.root}/a/", f"{server.root}/b/"))
    for mirror in "ab":
        serve(server, mirror, files, [blob + b"!" for blob in blobs])
    message = refused(partial(data.load, "usps", tmp_path), "usps.bz2", tmp_path / "usps", files[0].md5)
    assert message.count("checksum other than") == 2
    assert list((tmp_path / "usps").iterdir()) == []


def test_truncated_body_falls_through_to_the_next_mirror(monkeypatch, tmp_path, server):
    blobs, _ = usps_files()
    files = register(monkeypatch, "usps", blobs, (f"{server.root}/cut/", f"{server.root}/good/"))
    serve(server, "cut", files, blobs, cut=20)
    refused(partial(data.load, "usps", tmp_path), "connection failed", "HTTP 404", "--data-dir", "usps.bz2, usps.t.bz2")
    assert list((tmp_path / "usps").iterdir()) == []
    serve(server, "good", files, blobs)
    assert len(data.load("usps", tmp_path).X) == 6


def test_no_network(monkeypatch, tmp_path):
    register(monkeypatch, "usps", usps_files()[0])  # port 9: nobody listens
    refused(partial(data.load, "usps", tmp_path), "127.0.0.1:9: connection failed", "AAE_DATA_DIR", tmp_path / "usps")


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_full_disk_while_downloading(monkeypatch, tmp_path, server):
    import pooch

    def get(self, url, output_file, pooch):
        Path(output_file).write_bytes(b"half")
        full_disk()

    register(monkeypatch, "usps", usps_files()[0], (f"{server.root}/",))
    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", get)
    refused(partial(data.load, "usps", tmp_path), "disk is full", tmp_path / "usps" / "usps.bz2")
    assert list((tmp_path / "usps").iterdir()) == []


def test_progress_is_drawn_on_a_terminal(monkeypatch, tmp_path, server, capsys):
    blobs, _ = usps_files()
    files = register(monkeypatch, "usps", blobs, (f"{server.root}/good/",))
    serve(server, "good", files, blobs)
    data.load("usps", tmp_path / "quiet")
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("FORCE_COLOR", "1")
    data.load("usps", tmp_path / "loud")
    assert "usps.t.bz2" in capsys.readouterr().err


# Formats


@pytest.mark.parametrize("code", formats.IDX_TYPES)
def test_idx_types(tmp_path, code):
    array = np.arange(24).reshape(2, 3, 4)
    (tmp_path / "a").write_bytes(idx(array, code))
    found = formats.read_idx(tmp_path / "a")
    np.testing.assert_array_equal(found, array)
    assert found.dtype.isnative and found.dtype == np.dtype(formats.IDX_TYPES[code]).newbyteorder("=")


GOOD = idx(np.arange(6).reshape(2, 3))


@pytest.mark.parametrize(
    ("name", "blob", "word"),
    [
        pytest.param("a", b"", "got nothing", id="empty"),
        pytest.param("a", b"\0\0\x08", "expected an IDX file", id="three bytes"),
        pytest.param("a", b"\x89PNG" + GOOD, "89 50 4e 47", id="PNG"),
        pytest.param("a", b"\0\0\x07\x01" + GOOD[4:], "00 00 07 01", id="unknown type"),
        pytest.param("a", b"\0\0\x08\x00", "expected an IDX file", id="no dimensions"),
        pytest.param("a", GOOD[:9], "expected an IDX file", id="header cut"),
        pytest.param("a", GOOD[:-1], "expected 6 bytes for shape (2, 3), got 5", id="byte missing"),
        pytest.param("a", GOOD + b"x", "got 7", id="byte too many"),
        pytest.param("a", b"\0\0\x08\x03" + b"\xff" * 12, "expected 79228162458924105385300197375 bytes", id="huge"),
        pytest.param("a.gz", GOOD, "damaged", id="not compressed"),
        pytest.param("a.gz", gzip.compress(GOOD, mtime=0)[:-9], "truncated", id="gzip cut"),
        pytest.param("a.gz", gzip.compress(GOOD, mtime=0)[:12] + b"\xff" * 20, "damaged", id="gzip damaged"),
    ],
)
def test_bad_idx(tmp_path, name, blob, word):
    (tmp_path / name).write_bytes(blob)
    refused(lambda: formats.read_idx(tmp_path / name), tmp_path / name, word)


@pytest.mark.parametrize(
    ("name", "blob"),
    [
        pytest.param("mnist", gzip.compress(idx(np.arange(4)), mtime=0), id="mnist of one dimension"),
        pytest.param("usps", bz2.compress(b"1 1:0.5 257:1\n"), id="usps of 257 values"),
        pytest.param("usps", bz2.compress(b"1 1:0.5\n" * 9)[:-5], id="usps cut"),
        pytest.param("usps", b"plain text", id="usps as text"),
        pytest.param("svhn", b"MATLAB 5.0 but not really", id="svhn as text"),
        pytest.param("svhn", b"", id="svhn empty"),
        pytest.param("svhn", svhn_files()[0][0][:400], id="svhn cut"),  # its header holds the time
    ],
)
def test_content_of_another_kind_with_the_right_checksum(monkeypatch, tmp_path, name, blob):
    blobs = [blob] * len(sets.SETS[name].files)
    register(monkeypatch, name, blobs)
    put(tmp_path, name, blobs)
    refused(partial(data.load, name, tmp_path), tmp_path / sets.SETS[name].files[0].name)


def test_svhn_without_its_arrays(tmp_path):
    savemat(tmp_path / "a.mat", {"X": np.zeros((2, 2), np.uint8)})
    refused(lambda: formats.read_svhn([tmp_path / "a.mat"]), "expected X (32, 32, 3, n)")


# Array files

IMAGES = rng.integers(0, 256, (6, 4, 5), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def test_npz_round_trip_by_prepare(tmp_path):
    [path] = data.prepare("digits", out=tmp_path / "new")
    found, wanted = data.load(path), data.load("digits")
    assert found.classes == wanted.classes and found.name == "digits" and found.source == str(path)
    for key in ("X", "y", "X_test", "y_test"):
        np.testing.assert_array_equal(getattr(found, key), getattr(wanted, key))
        assert getattr(found, key).dtype == getattr(wanted, key).dtype


def test_npz_with_keras_keys(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=IMAGES, y_train=LABELS.astype(np.uint8), x_test=IMAGES[:2], y_test=LABELS[:2])
    found = data.load(tmp_path / "a.npz")
    np.testing.assert_array_equal(found.X, IMAGES[:, None])
    assert found.X.dtype == np.uint8 and found.y.dtype == np.int64 and found.classes == ("0", "1", "2")
    assert found.X_test.shape == (2, 1, 4, 5) and found.describe()["labelled"] == 6


@pytest.mark.parametrize(
    ("X", "dtype"),
    [
        (np.ones((3, 2), np.int64), np.float32),
        (np.ones((3, 2), np.uint8), np.float32),
        (np.ones((3, 1, 2, 2), np.int64), np.uint8),
        (np.ones((3, 1, 2, 2), np.float64), np.float32),
        (np.ones((3, 1, 2, 2), np.float16), np.float32),
        (np.ones((3, 1, 2, 2), bool), np.float32),
        (np.asfortranarray(np.ones((3, 2), np.float32)), np.float32),
    ],
)
def test_npy_rows_become_what_dataset_promises(tmp_path, X, dtype):
    np.save(tmp_path / "rows.npy", X)
    found = data.load(str(tmp_path / "rows.npy"))
    assert found.X.dtype == dtype and found.X.flags.c_contiguous and not isinstance(found.X, np.memmap)
    assert found.y is None and found.classes == () and found.describe()["labelled"] == 0 and (found.X == 1).all()


def test_npz_with_nan_in_unlabelled_rows(tmp_path):
    np.savez(tmp_path / "a.npz", X=IMAGES, y=np.where(LABELS == 1, np.nan, LABELS), classes=list("abc"))
    assert data.load(tmp_path / "a.npz").y.tolist() == [0, -1, 2, 0, -1, 2]


@pytest.mark.parametrize(
    ("arrays", "word"),
    [
        ({"pictures": IMAGES}, "expected an array X, x_train or train_images, got pictures"),
        ({"X": np.array([{}], dtype=object)}, "or Python objects"),
        ({"X": IMAGES, "y": LABELS[:-1]}, "shape (6,), got shape (5,)"),
        ({"X": IMAGES, "y": np.stack([LABELS] * 2, 1)}, "got shape (6, 2)"),
        ({"X": IMAGES, "y": LABELS / 2}, "dtype float64"),
        ({"X": IMAGES, "y": LABELS.astype(str)}, "dtype <U"),
        ({"X": IMAGES, "y": LABELS, "classes": ["a", "b"]}, "labels in -1..1, got 2 in row 2"),
        ({"X": IMAGES, "X_test": IMAGES[:, 1:]}, "expected X_test as X, uint8 of shape (n, 1, 4, 5)"),
        ({"X": IMAGES, "X_test": IMAGES / 255}, "got float32"),
        ({"X": IMAGES, "y_test": LABELS}, "expected X_test beside y_test"),
        ({"X": IMAGES, "X_test": IMAGES, "y_test": LABELS - 3}, "y_test: expected labels of at least -1"),
    ],
)
def test_bad_npz(tmp_path, arrays, word):
    np.savez(tmp_path / "a.npz", **arrays)
    refused(lambda: data.load(tmp_path / "a.npz"), word)


@pytest.mark.parametrize("suffix", ["npz", "npy"])
@pytest.mark.parametrize("kind", ["empty", "text", "truncated", "missing", "swapped"])
def test_damaged_array_file(tmp_path, suffix, kind):
    path = tmp_path / f"a.{suffix}"
    with open(path, "wb") as handle:
        np.save(handle, IMAGES) if (suffix == "npy") != (kind == "swapped") else np.savez(handle, X=IMAGES)
    blob = path.read_bytes()
    path.write_bytes({"empty": b"", "text": b"a,b\n1,2\n", "truncated": blob[:-30]}.get(kind, blob))
    if kind == "missing":
        path.unlink()
    refused(lambda: data.load(path), path)


def test_path_of_another_kind(tmp_path):
    (tmp_path / "a.xls").write_text("1,2")
    (tmp_path / "b").write_text("1,2")
    refused(lambda: data.load(tmp_path / "a.xls"), ".ndjson, .h5ad, an image, or a folder of images, got .xls")
    refused(lambda: data.load(tmp_path / "b"), "got a file without suffix")


def test_paths_that_are_right_from_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("digits", "photos", "a+b", "t.csv"):
        Path(name).mkdir()
    assert data.whole_path("digits") == "digits"
    assert data.whole_path("photos+digits") == f"{tmp_path / 'photos'}+digits"
    assert data.whole_path("not-there.npz") == "not-there.npz" and data.whole_path("digits+") == "digits+"
    assert data.whole_path("a+b") == str(tmp_path / "a+b") and data.whole_path("t.csv") == str(tmp_path / "t.csv")


# Joined sets


def part(folder, name, shape=(1, 28, 28), n=20, seed=0, **arrays):
    """A .npz of random images with ten classes and half as many test rows; arrays given as None are left out."""
    random = np.random.default_rng(seed)
    made = {
        "X": random.integers(0, 256, (n, *shape), dtype=np.uint8),
        "y": np.arange(n) % 10,
        "X_test": random.integers(0, 256, (n // 2, *shape), dtype=np.uint8),
        "y_test": np.arange(n // 2) % 10,
        "classes": np.array(list("0123456789")),
    }
    np.savez(folder / f"{name}.npz", **{k: v for k, v in (made | arrays).items() if v is not None})
    return str(folder / f"{name}.npz")


def test_joined_sets_are_one_set_with_domains(tmp_path):
    paths = part(tmp_path, "a"), part(tmp_path, "b", n=30, seed=1)
    a, b = map(data.load, paths)
    found = data.load("+".join(paths))
    np.testing.assert_array_equal(found.X, np.concatenate([a.X, b.X]))
    np.testing.assert_array_equal(found.X_test, np.concatenate([a.X_test, b.X_test]))
    np.testing.assert_array_equal(found.y, np.concatenate([a.y, b.y]))
    np.testing.assert_array_equal(found.y_test, np.concatenate([a.y_test, b.y_test]))
    assert found.domain.tolist() == [0] * 20 + [1] * 30 and found.domain_test.tolist() == [0] * 10 + [1] * 15
    assert found.domain.dtype == found.y.dtype == np.int64 and found.X.dtype == np.uint8
    assert found.name == "a+b" and found.domains == ("a", "b") and found.classes == tuple("0123456789")
    assert found.describe()["domains"] == ("a", "b") and "domains" not in a.describe()
    assert a.domain is None and a.domains == ()


@pytest.mark.parametrize(
    ("shape", "other", "joined"),
    [
        ((1, 28, 28), (1, 28, 28), (1, 28, 28)),
        ((1, 8, 8), (1, 28, 28), (1, 28, 28)),
        ((1, 16, 16), (3, 32, 32), (3, 32, 32)),
        ((3, 32, 32), (1, 28, 28), (3, 32, 32)),
        ((3, 8, 8), (1, 28, 28), (3, 28, 28)),
        ((1, 8, 8), (1, 16, 16), (1, 16, 16)),
        ((1, 30, 20), (1, 24, 40), (1, 30, 40)),
        ((1, 1, 1), (2, 33, 1), (2, 33, 1)),
    ],
)
def test_joined_sets_have_the_larger_shape(tmp_path, shape, other, joined):
    paths = part(tmp_path, "a", shape), part(tmp_path, "b", other, seed=1)
    found = data.load("+".join(paths))
    assert found.X.shape == (40, *joined) and found.X_test.shape == (20, *joined) and found.X.dtype == np.uint8
    for k, path in enumerate(paths):
        rows, before = found.X[found.domain == k], data.load(path).X
        assert rows.any((1, 2, 3)).all()
        if before.shape[1] == 1:
            assert (rows == rows[:, :1]).all()
        if before.shape[1:] == joined:
            np.testing.assert_array_equal(rows, before)
        elif before.shape[2:] == joined[1:]:
            np.testing.assert_array_equal(rows[:, :1], before)


def test_enlarged_images_keep_what_they_show():
    smooth = np.linspace(0, 255, 24 * 24).reshape(1, 1, 24, 24).astype(np.uint8)
    found = domains.same_shape(smooth, (3, 32, 32), "a")
    assert abs(found[0, 1].astype(float) - zoom(smooth[0, 0].astype(float), 32 / 24, order=1)).max() < 8
    wide = domains.same_shape(np.full((1, 1, 20, 40), 255, np.uint8), (1, 40, 40), "a")[0, 0]
    assert (wide[:10] == 0).all() and (wide[10:30] == 255).all() and (wide[30:] == 0).all()


def test_digits_of_8x8_become_scans_like_those_of_mnist():
    digits = data.load("digits")
    found = domains.same_shape(digits.X, (1, 28, 28), "digits")
    boxes, middles = box_and_middle(found)
    assert (boxes[:, 0] >= 19).all() and boxes.max() <= 22  # MNIST: 20
    assert abs(middles - 14).max() < 0.6 and abs(middles.mean(0) - 14).max() < 0.05
    assert found[:, 0, [0, -1]].any((1, 2)).mean() < 0.02 and 30 < found.mean() < 45
    assert (found.max((1, 2, 3)) > 230).mean() > 0.99  # white strokes
    test = domains.same_shape(digits.X_test, (1, 28, 28), "digits")
    known = KNeighborsClassifier(1).fit(found.reshape(len(found), -1), digits.y)
    assert known.score(test.reshape(len(test), -1), digits.y_test) > 0.95


def test_black_images_stay_black():
    assert not domains.same_shape(np.zeros((3, 1, 8, 8), np.float32), (1, 28, 28), "a").any()


def test_small_digits_fill_a_small_frame():
    digits = data.load("digits").X
    assert domains.same_shape(digits, (1, 16, 16), "digits")[:, 0, 0].any()


@pytest.mark.parametrize("blocks_of", [64, 2**26])
def test_large_sets_are_enlarged_block_by_block(monkeypatch, blocks_of):
    X = rng.random((9, 1, 8, 8)).astype(np.float32)
    whole = domains.same_shape(X, (1, 28, 28), "a")
    monkeypatch.setattr("aaekit.data.checks.BLOCK_BYTES", blocks_of)
    np.testing.assert_array_equal(domains.same_shape(X, (1, 28, 28), "a"), whole)


def test_named_sets_join(monkeypatch, tmp_path):
    for name in ("mnist", "svhn"):
        blobs, _ = FAKES[name]()
        register(monkeypatch, name, blobs)
        put(tmp_path / name, name, blobs)
    found = data.load("svhn+mnist", tmp_path, download=False)
    assert found.X.shape == (19, 3, 32, 32) and found.domains == ("svhn", "mnist") and found.name == "svhn+mnist"
    assert np.bincount(found.domain).tolist() == [7, 12] and np.bincount(found.domain_test).tolist() == [7, 5]
    np.testing.assert_array_equal(found.X[:7], data.load("svhn", tmp_path, download=False).X)
    report = data.info("svhn+mnist", tmp_path)
    assert report["name"] == "svhn+mnist" and len(report["files"]) == 6 and report["megabytes"] == 258
    assert report["present"] and not data.info("svhn+usps", tmp_path)["present"]
    refused(lambda: data.info("svhn+mnst", tmp_path), "did you mean 'mnist'?")


def test_joined_sets_take_the_options_that_all_have(tmp_path):
    for name, seed in (("a", 0), ("b", 1)):
        np.save(tmp_path / f"{name}.npy", np.random.default_rng(seed).random((4, 1, 5, 5)))
    both = f"{tmp_path}/a.npy+{tmp_path}/b.npy"
    assert data.load(both, memory_limit_bytes=10, cache_dir=tmp_path / "cache").X.shape == (8, 1, 5, 5)
    refused(lambda: data.load(both, n_rows=3), "options memory_limit_bytes, cache_dir, got 'n_rows'")
    refused(lambda: data.load("digits+fonts", n_rows=30), "expected no options, got 'n_rows'")


def test_joined_sets_without_labels_or_test_rows(tmp_path):
    whole = part(tmp_path, "whole")
    bare = part(tmp_path, "bare", y=None, X_test=None, y_test=None, classes=None)
    bare2 = part(tmp_path, "bare2", y=None, X_test=None, y_test=None, classes=None, seed=2)
    hidden = part(tmp_path, "hidden", y_test=None, seed=3)
    found = data.load(f"{bare}+{whole}")
    assert (found.y[:20] == -1).all() and (found.y[20:] >= 0).all() and found.classes == tuple("0123456789")
    assert found.domain_test.tolist() == [1] * 10 and found.describe()["labelled"] == 20
    assert data.load(f"{hidden}+{whole}").y_test[:10].tolist() == [-1] * 10
    neither = data.load(f"{bare}+{bare2}")
    assert neither.y is None and neither.X_test is None and neither.domain_test is None and neither.classes == ()


def test_a_plus_in_the_path_of_a_file(tmp_path):
    folder = tmp_path / "c++"
    folder.mkdir()
    one, other = part(folder, "x+y"), part(folder, "z", seed=1)
    assert data.load(one).name == "x+y" and data.load(Path(one)).domains == ()
    assert data.load(f"{one}+{other}").domains == ("x+y", "z")
    assert data.load(f"{other}+{one}").domains == ("z", "x+y")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mnst+fonts", ["joined by '+', got 'mnst': did you mean 'mnist'?"]),
        ("digits+zebra", ["expected one of the data sets digits", "got 'zebra'"]),
        ("digits+", ["got ''"]),
        ("digits+digits", ["digits+digits: expected different sets to join, got digits twice"]),
        ("mnist+fashion-mnist", ["mnist+fashion-mnist: expected sets of the same classes", "Trouser"]),
        ("digits+a.npz", ["a.npz: expected a .npz archive, got no such file"]),
    ],
)
def test_sets_that_cannot_join(name, words):
    refused(lambda: data.load(name, download=False), *words)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ({}, {"classes": np.array(list("abcdefghij"))}, ["one+two: expected sets of the same classes", "a, b, c"]),
        ({"X": np.ones((20, 5)), "X_test": None, "y_test": None}, {}, ["one: expected images to join", "(20, 5)"]),
        ({"shape": (3, 28, 28)}, {"shape": (4, 28, 28)}, ["one: expected 1 or 4 channels", "got 3"]),
        (
            {},
            {"domain": np.zeros(20, int), "domain_test": np.zeros(10, int), "domains": ["d", "e"]},
            ["two: expected a set of one domain", "d and e"],
        ),
    ],
)
def test_parts_that_cannot_join(tmp_path, first, second, words):
    paths = part(tmp_path, "one", **first), part(tmp_path, "two", **second)
    refused(lambda: data.load("+".join(paths)), *words)


def test_parts_of_the_same_name(tmp_path):
    (tmp_path / "sub").mkdir()
    paths = part(tmp_path, "a"), part(tmp_path / "sub", "a", seed=1)
    refused(lambda: data.load("+".join(paths)), "a+a: expected sets of different names", "a twice")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"domain": [0] * 6}, ["or none of them, got domain"]),
        ({"domains": ["a"]}, ["or none of them, got domains"]),
        ({"domain_test": [0, 0]}, ["or none of them, got domain_test"]),
        ({"domain": [0] * 6, "domains": ["a"]}, ["domain_test", "got domain, domains"]),
        ({"domain": [0] * 5, "domain_test": [0, 0], "domains": ["a"]}, ["domain: ", "shape (6,), got shape (5,)"]),
        ({"domain": [1] * 6, "domain_test": [0, 0], "domains": ["a"]}, ["domain: ", "labels in -1..0, got 1"]),
        ({"domain": [0] * 6, "domain_test": [0, -1], "domains": ["a"]}, ["domain_test: ", "got -1"]),
    ],
)
def test_bad_domains_in_npz(tmp_path, arrays, words):
    np.savez(tmp_path / "a.npz", X=IMAGES, X_test=IMAGES[:2], **arrays)
    refused(lambda: data.load(tmp_path / "a.npz"), *words)


# Checks


@pytest.mark.parametrize(
    ("X", "words"),
    [
        (np.zeros(5), ["shape (5,)"]),
        (np.zeros((2, 3, 4, 5, 6)), ["shape (2, 3, 4, 5, 6)"]),
        (np.zeros((0, 3)), ["at least one row"]),
        (np.zeros((3, 0)), ["at least one row"]),
        (np.array([["a"]]), ["dtype <U1"]),
        (np.array([[None]]), ["dtype object"]),
        (np.zeros((2, 2), complex), ["complex128"]),
        (np.array([[0, np.nan], [np.inf, 1], [np.nan, 0]]), ["3 NaN", "first at (0, 1)"]),
        (np.array([[0, 1e300]]), ["1 NaN, infinite or too large", "(0, 1)"]),
        (np.array([[0, np.inf]], np.float16), ["(0, 1)"]),
        (np.full((2, 1, 2, 2), 1.5), ["[0, 1]", "got 1.5 to 1.5"]),
        (np.full((2, 1, 2, 2), -0.25, np.float32), ["[0, 1]", "-0.25"]),
        (np.full((2, 1, 2, 2), 300), ["0..255", "300"]),
        (np.full((2, 1, 2, 2), -1, np.int8), ["0..255", "-1"]),
        (np.zeros((2, 28, 28, 3)), ["channels last", "(0, 3, 1, 2)"]),
    ],
)
def test_bad_rows(X, words):
    refused(lambda: data.check_rows(X, "rows"), "rows: ", *words)


@pytest.mark.parametrize(
    "X", [np.full((2, 3), -7.5), np.zeros((1, 3, 2, 2), np.uint8), np.eye(2), np.ones((2, 1, 1, 1))]
)
def test_good_rows(X):
    data.check_rows(X)


def test_rows_are_checked_block_by_block(monkeypatch):
    monkeypatch.setattr("aaekit.data.checks.BLOCK_BYTES", 64)
    X = np.zeros((50, 4))
    X[33, 2] = X[49, 0] = np.nan
    refused(lambda: data.check_rows(X), "2 NaN", "(33, 2)")
    images = np.zeros((50, 1, 2, 2))
    images[40] = 2
    refused(lambda: data.check_rows(images), "got 0 to 2")


@pytest.mark.parametrize(
    ("y", "word"),
    [
        (np.array([0, 3]), "-1..2, got 3 in row 1"),
        (np.array([-2, 0]), "got -2 in row 0"),
        (np.zeros(3, int), "(3,)"),
    ],
)
def test_bad_labels(y, word):
    data.check_labels(np.array([-1, 2]), 2, 3)
    refused(lambda: data.check_labels(y, 2, 3), word)


# The array store


def test_store_in_memory_or_on_disk(tmp_path):
    X = rng.normal(size=(40, 3, 4))
    small = data.as_store(X, tmp_path / "cache")
    assert small.dtype == np.float32 and not isinstance(small, np.memmap) and not (tmp_path / "cache").exists()
    large = data.as_store(X.transpose(0, 2, 1), tmp_path / "cache", memory_limit_bytes=100)
    assert isinstance(large, np.memmap) and large.dtype == np.float32 and large.flags.c_contiguous
    np.testing.assert_array_equal(large, X.transpose(0, 2, 1).astype(np.float32))
    [path] = (tmp_path / "cache").iterdir()
    written = path.stat().st_mtime_ns
    again = data.as_store(X.transpose(0, 2, 1), tmp_path / "cache", memory_limit_bytes=100)
    assert path.stat().st_mtime_ns == written and [*(tmp_path / "cache").iterdir()] == [path]
    np.testing.assert_array_equal(again, large)
    data.as_store(X + 1, tmp_path / "cache", memory_limit_bytes=100)
    assert len([*(tmp_path / "cache").iterdir()]) == 2


def test_store_keeps_uint8_and_a_fitting_memory_map(tmp_path):
    assert data.as_store(IMAGES).dtype == np.uint8
    np.save(tmp_path / "a.npy", IMAGES)
    rows = data.open_rows(tmp_path / "a.npy")
    assert isinstance(rows, np.memmap) and data.as_store(rows, tmp_path, memory_limit_bytes=10) is rows
    in_memory = data.as_store(rows)
    assert not isinstance(in_memory, np.memmap) and in_memory.flags.owndata and in_memory.flags.writeable


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_large_npy_stays_on_disk(tmp_path, dtype):
    np.save(tmp_path / "a.npy", (IMAGES > 9).astype(dtype))
    found = data.load(tmp_path / "a.npy", memory_limit_bytes=10, cache_dir=tmp_path / "cache")
    assert isinstance(found.X, np.memmap) and found.X.shape == (6, 1, 4, 5)
    assert (tmp_path / "cache").exists() == (dtype is np.float64)
    np.testing.assert_array_equal(found.X[:, 0], IMAGES > 9)


class FullDisk(io.FileIO):
    """A file on a disk that has room for 200 bytes."""

    def write(self, data):
        if self.tell() + memoryview(data).nbytes > 200:
            full_disk()
        return super().write(data)


WRITERS = {
    "prepare": lambda folder: data.prepare("digits", out=folder, labels=50),
    "split": lambda folder: data.split(LABELS, 3).save(folder / "s.npz"),
    "store": lambda folder: data.as_store(IMAGES, folder, memory_limit_bytes=10),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_full_disk_leaves_nothing(monkeypatch, tmp_path, writer):
    monkeypatch.setattr(store, "open", FullDisk, raising=False)
    refused(lambda: WRITERS[writer](tmp_path), "disk is full", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_replaced_stays_whole(monkeypatch, tmp_path):
    [path] = data.prepare("digits", out=tmp_path)
    before = path.read_bytes()
    monkeypatch.setattr(store, "open", FullDisk, raising=False)
    refused(lambda: data.prepare("digits", out=tmp_path, overwrite=True), "disk is full")
    assert path.read_bytes() == before and [*tmp_path.iterdir()] == [path]


def test_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    refused(lambda: data.prepare("digits", out=tmp_path / "file"), "expected a file that can be written")


# Splits


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_split_properties(draw):
    sizes = draw.draw(st.lists(st.integers(1, 40), min_size=2, max_size=6), "rows of each class")
    n, k = sum(sizes), len(sizes)
    y = np.repeat(np.arange(k) * 2, sizes)
    labels = draw.draw(st.none() | st.integers(k, n), "labels")
    validation = draw.draw(st.integers(0, n - (labels or k)), "validation")
    seed = draw.draw(st.integers(0, 9), "seed")
    found = data.split(y, labels, validation, seed)
    assert len(found.validation) == validation and len(found.labelled) == (labels or n - validation)
    everything = np.concatenate([found.unlabelled, found.validation])
    assert sorted(everything) == list(range(n)) and np.isin(found.labelled, found.unlabelled).all()
    counts = np.array([(y[found.labelled] == 2 * c).sum() for c in range(k)])
    assert counts.min() >= 1
    if labels:
        short = counts < counts.max() - 1
        assert (counts[short] == np.array(sizes)[short]).all()
        np.testing.assert_array_equal(data.split(y, labels, 0, seed).labelled, found.labelled)
        rest = np.array(sizes) - counts
        held = np.array([(y[found.validation] == 2 * c).sum() for c in range(k)])
        assert (abs(held - rest * validation / max(1, rest.sum())) < 1).all()
    for part in (found.labelled, found.unlabelled, found.validation):
        assert part.dtype == np.int64 and (np.diff(part) > 0).all()
    again = data.split(y, labels, validation, seed)
    np.testing.assert_array_equal(again.labelled, found.labelled)
    np.testing.assert_array_equal(again.validation, found.validation)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_proportional_labels_are_those_of_a_stratified_draw_with_one_of_each_class(draw):
    sizes = np.array(draw.draw(st.lists(st.integers(1, 60), min_size=2, max_size=6), "rows of each class"))
    n, k = int(sizes.sum()), len(sizes)
    y = np.repeat(np.arange(k) * 2, sizes)
    labels = draw.draw(st.integers(k, n), "labels")
    validation = draw.draw(st.integers(0, n - labels), "validation")
    seed = draw.draw(st.integers(0, 9), "seed")
    split = data.split(y, labels, validation, seed, draw="proportional")
    counts = np.bincount(y[split.labelled], minlength=2 * k)[::2]
    assert counts.sum() == labels and counts.min() >= 1 and len(split.validation) == validation
    due = sizes * labels / n
    assert (counts < due + 1).all() and (counts > due - 1 - (due < 1).sum()).all()  # the rarest at the others' cost
    np.testing.assert_array_equal(data.split(y, labels, 0, seed, "proportional").labelled, split.labelled)
    everything = [data.split(y, None, validation, seed, how) for how in ("balanced", "proportional")]
    np.testing.assert_array_equal(everything[0].labelled, everything[1].labelled)


def test_rare_classes_are_rare_among_proportional_labels():
    y = np.repeat([0, 1, 2], [5, 95, 900])
    assert np.bincount(y[data.split(y, 200, draw="proportional").labelled]).tolist() == [1, 19, 180]
    assert np.bincount(y[data.split(y, 10, draw="proportional").labelled]).tolist() == [1, 1, 8]
    assert np.bincount(y[data.split(y, 3, draw="proportional").labelled]).tolist() == [1, 1, 1]


def test_prepare_draws_in_proportion_too(tmp_path):
    np.savez(tmp_path / "rare.npz", X=np.eye(100, 5), y=np.repeat([0, 1], [10, 90]))
    data.prepare(tmp_path / "rare.npz", out=tmp_path / "out", labels=20, label_draw="proportional")
    prepared = data.load(tmp_path / "out" / "rare.npz")
    assert np.bincount(prepared.y[prepared.split.labelled]).tolist() == [2, 18]


def test_split_is_balanced_and_differs_by_seed():
    y = np.repeat(np.arange(10), 100)
    assert np.bincount(y[data.split(y, 100).labelled]).tolist() == [10] * 10
    extra = [tuple(np.bincount(y[data.split(y, 53, random_state=seed).labelled])) for seed in range(6)]
    assert all(sorted(counts) == [5] * 7 + [6] * 3 for counts in extra) and len(set(extra)) > 1
    assert not np.array_equal(data.split(y, 100).labelled, data.split(y, 100, random_state=1).labelled)
    assert np.bincount(y[data.split(y, None, 200).validation]).tolist() == [20] * 10


def test_split_leaves_rows_without_a_label_unlabelled(tmp_path):
    y = np.repeat([0, 1, 2], 20)
    known = np.random.default_rng(0).permutation(60)[:30]
    partly = np.full(60, -1)
    partly[known] = y[known]
    found = data.split(partly, 9, 6)
    assert np.bincount(partly[found.labelled]).tolist() == [3, 3, 3] and (partly[found.validation] >= 0).all()
    np.testing.assert_array_equal(np.union1d(found.unlabelled, found.validation), np.arange(60))
    assert len(found.unlabelled) == 54
    assert set(data.split(partly, None, 6).labelled) == set(known) - set(data.split(partly, None, 6).validation)
    np.savez(tmp_path / "partly.npz", X=np.eye(60, 5), y=partly)
    data.prepare(tmp_path / "partly.npz", out=tmp_path / "out", labels=9, validation=6)
    split = data.load(tmp_path / "out" / "partly.npz").split
    np.testing.assert_array_equal(split.labelled, found.labelled)


def test_split_spreads_what_a_small_class_cannot_give():
    y = np.repeat([0, 1, 2], [2, 50, 50])
    assert np.bincount(y[data.split(y, 30).labelled]).tolist() == [2, 14, 14]


def test_split_takes_labels_in_every_spelling():
    y = [0, -1, 1, 1, 0, -1, 2, 2, 0]
    expected = data.split(y, 4, 2)
    texts = np.array(["cat", "dog", "owl", "-1"])
    for same in (
        np.array([np.nan if k < 0 else k for k in y]),
        [None if k < 0 else k for k in y],
        pd.Series([None if k < 0 else k for k in y], dtype="Int64"),
        [-1 if k < 0 else str(texts[k]) for k in y],
        pd.Series([None if k < 0 else str(texts[k]) for k in y], dtype="string"),
    ):
        parts = data.split(same, 4, 2)
        for part in ("labelled", "unlabelled", "validation"):
            np.testing.assert_array_equal(getattr(parts, part), getattr(expected, part))
        masked, labelled = split_labels(parts.masked(same))
        assert np.flatnonzero(labelled).tolist() == parts.labelled.tolist() and len(masked) == 9


def test_masked_hides_all_but_the_labelled():
    y = np.repeat([0, 1], 10)
    found = data.split(y, 4, 6)
    hidden = found.masked(y)
    assert (hidden >= 0).sum() == 4 and (hidden[found.labelled] == y[found.labelled]).all()
    assert (hidden[found.validation] == -1).all() and hidden.dtype == np.int64
    refused(lambda: found.masked(y[:-1]), "shape (20,)")


def test_split_round_trip(tmp_path):
    found = data.split(LABELS, 3, 2, random_state=7)
    found.save(tmp_path / "new" / "s.npz")
    again = data.Split.read(tmp_path / "new" / "s.npz")
    assert again.random_state == 7
    for part in ("labelled", "unlabelled", "validation"):
        np.testing.assert_array_equal(getattr(again, part), getattr(found, part))


@pytest.mark.parametrize(
    "change",
    [
        {"labelled": [5]},
        {"validation": [0]},
        {"unlabelled": [0, 2]},
        {"labelled": [[0]]},
        {"labelled": [0.5]},
        {"random_state": "x"},
    ],
)
def test_bad_split_file(tmp_path, change):
    good = {"labelled": [0], "unlabelled": [0, 1], "validation": [2], "random_state": 0}
    np.savez(tmp_path / "s.npz", **(good | change))
    refused(lambda: data.Split.read(tmp_path / "s.npz"), tmp_path / "s.npz")


def test_missing_or_damaged_split_file(tmp_path):
    refused(lambda: data.Split.read(tmp_path / "s.npz"), "no such file")
    for blob in (b"", b"text"):
        (tmp_path / "s.npz").write_bytes(blob)
        refused(lambda: data.Split.read(tmp_path / "s.npz"), "expected a split")
    np.savez(tmp_path / "s.npz", labelled=[0])
    refused(lambda: data.Split.read(tmp_path / "s.npz"), "unlabelled")


@pytest.mark.parametrize(
    ("y", "arguments", "word"),
    [
        (LABELS, {"labels": 2}, "at least 3, one per class, got 2"),
        (LABELS, {"labels": 7}, "at most 6"),
        (LABELS, {"labels": 0}, "at least 1, got 0"),
        (LABELS, {"labels": 3.0}, "got 3.0"),
        (LABELS, {"labels": True}, "got True"),
        (LABELS, {"labels": 4, "validation": 3}, "validation: expected at most 2"),
        (LABELS, {"labels": None, "validation": 4}, "validation: expected at most 3"),
        (LABELS, {"labels": 3, "validation": -1}, "at least 0, got -1"),
        (LABELS, {"labels": 3, "random_state": None}, "random_state"),
        (LABELS * 0, {"labels": 3}, "two classes, got 1"),
        (LABELS[:0], {"labels": 3}, "two classes, got 0"),
        (LABELS * 0 - 1, {"labels": 3}, "got none in all 6 rows"),
        (np.where(LABELS, LABELS, np.inf), {"labels": 3}, "got infinity in 2 of 6 rows"),
        (LABELS[:, None], {"labels": 3}, "got shape (6, 1)"),
        (np.array(3), {"labels": 3}, "got shape ()"),
        (LABELS, {"labels": 3, "draw": "balance"}, "draw: expected 'balanced' or 'proportional', got 'balance'"),
    ],
)
def test_bad_split(y, arguments, word):
    refused(lambda: data.split(y, **arguments), word)


# prepare


def test_prepare_writes_the_split_beside(tmp_path):
    paths = data.prepare("digits", out=tmp_path, labels=50, validation=100, random_state=3)
    assert [path.name for path in paths] == ["digits.npz", "digits-split.npz"]
    found, chosen = data.load(paths[0]), data.Split.read(paths[1])
    np.testing.assert_array_equal(chosen.labelled, data.split(found.y, 50, 100, 3).labelled)
    assert len(chosen.validation) == 100 and np.bincount(found.y[chosen.labelled]).tolist() == [5] * 10


def test_prepare_does_not_overwrite_unless_told(tmp_path):
    data.prepare("digits", out=tmp_path)
    refused(lambda: data.prepare("digits", out=tmp_path), "exists already", tmp_path / "digits.npz")
    (tmp_path / "digits.npz").rename(tmp_path / "digits-split.npz")
    refused(lambda: data.prepare("digits", out=tmp_path, labels=50), tmp_path / "digits-split.npz")
    assert len(data.prepare("digits", out=tmp_path, labels=50, overwrite=True)) == 2


def test_prepare_writes_nothing_when_refused(tmp_path):
    refused(lambda: data.prepare("digits", out=tmp_path / "out", labels=5), "at least 10, one per class")
    np.save(tmp_path / "rows.npy", IMAGES)
    refused(lambda: data.prepare(tmp_path / "rows.npy", out=tmp_path / "out", labels=5), "expected labels to split by")
    assert not (tmp_path / "out").exists()
    [path] = data.prepare(tmp_path / "rows.npy", out=tmp_path / "out")
    np.testing.assert_array_equal(data.load(path).X[:, 0], IMAGES)


def test_prepare_writes_domains_down(tmp_path):
    joined = f"{part(tmp_path, 'a')}+{part(tmp_path, 'b', (1, 8, 8), 30, 1)}"
    paths = data.prepare(joined, out=tmp_path / "out", labels=20, validation=10)
    assert [path.name for path in paths] == ["a+b.npz", "a+b-split.npz"]
    before, after = data.load(joined), data.load(paths[0])
    assert after.domains == ("a", "b") and after.name == "a+b" and after.classes == before.classes
    for key in ("X", "y", "X_test", "y_test", "domain", "domain_test"):
        np.testing.assert_array_equal(getattr(after, key), getattr(before, key))
        assert getattr(after, key).dtype == getattr(before, key).dtype
    assert before.split is None and len(after.split.labelled) == 20 and len(after.split.validation) == 10


def test_load_finds_the_split_beside(tmp_path):
    path, beside = data.prepare("digits", out=tmp_path, labels=50, validation=100, random_state=3)
    found = data.load(path)
    for name in ("labelled", "unlabelled", "validation"):
        np.testing.assert_array_equal(getattr(found.split, name), getattr(data.Split.read(beside), name))
    assert found.split.random_state == 3 and found.describe()["split"] == "50 labelled, 100 validation"
    beside.unlink()
    assert data.load(path).split is None and "split" not in data.load(path).describe()


def test_a_split_of_other_rows_is_refused(tmp_path):
    path, beside = data.prepare("digits", out=tmp_path, labels=50)
    data.split(np.arange(100) % 10, 20).save(beside)
    refused(lambda: data.load(path), beside, "expected a split of the 1297 rows beside it, got 100")
    beside.write_bytes(b"text")
    refused(lambda: data.load(path), beside, "expected a split")


def test_prepare_leaves_no_split_of_earlier_rows(monkeypatch, tmp_path):
    path, beside = data.prepare("digits", out=tmp_path, labels=50)
    path.unlink()
    refused(lambda: data.prepare("digits", out=tmp_path), beside, "exists already")
    assert data.prepare("digits", out=tmp_path, overwrite=True) == [path] and not beside.exists()
    data.prepare("digits", out=tmp_path, labels=50, overwrite=True)
    monkeypatch.setattr(Path, "unlink", lambda self, missing_ok=False: full_disk())
    refused(
        lambda: data.prepare("digits", out=tmp_path, overwrite=True), beside, "expected a file that can be replaced"
    )


@pytest.mark.skipif(MNIST is None, reason="needs MNIST in AAE_DATA_DIR or beside the repository")
def test_azulays_parts_of_mnist(tmp_path):
    path, _ = data.prepare("mnist", MNIST, tmp_path, labels=3000, validation=10_000, download=False)
    found = data.load(path)
    chosen = found.split
    assert len(chosen.labelled) == 3000 and len(chosen.validation) == 10_000
    assert len(np.setdiff1d(chosen.unlabelled, chosen.labelled)) == 47_000
    assert np.bincount(found.y[chosen.labelled]).tolist() == [300] * 10
