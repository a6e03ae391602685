"""Images beyond the limit on memory: decoded once, whatever interrupts it, to the bytes that memory would hold."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from aaekit import AdversarialAutoencoder, InputError, _cache, data
from aaekit.data import checks, images
from aaekit.errors import ImageWarning
from aaekit.estimators import _rows
from aaekit.estimators._rows import rows_at_once
from aaekit.evaluation import heldout
from aaekit.evaluation.heldout import HeldOut
from aaekit.runs.data import split_of, training_rows

pytestmark = pytest.mark.filterwarnings("ignore:.*so they are decoded once:aaekit.errors.ImageWarning")
N, SIZE = 40, 8
SHAPE = (3, 6, 6)
N_BLOCK = 5  # images in a block


def draw(path, seed, size=(SIZE, SIZE)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(_cache, "BLOCK_BYTES", N_BLOCK * int(np.prod(SHAPE)))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    for k in range(N):
        part = "test" if k % 4 == 3 else "train"
        draw(tmp_path / "photos" / part / "ab"[k % 2] / f"{k:02}.png", k, (SIZE + k % 3, SIZE))
    return tmp_path / "photos"


@pytest.fixture
def decoded(monkeypatch):
    """The files that were decoded, in any order; what `decoded.stop` says is called before each."""
    seen, pixels = [], images._pixels

    class Seen(list):
        stop = staticmethod(lambda: None)

    seen = Seen()

    def count(item, *arguments):
        seen.stop()
        seen.append(item.source.name)
        return pixels(item, *arguments)

    monkeypatch.setattr(images, "_pixels", count)
    return seen


def load(folder, limit=0, **options):
    return data.load(folder, image_shape=SHAPE, memory_limit_bytes=limit, **options)


def same(a, b):
    assert a.classes == b.classes and a.files == b.files and a.files_test == b.files_test and a.pictures == b.pictures
    for key in ("X", "X_test", "y", "y_test"):
        np.testing.assert_array_equal(getattr(a, key), getattr(b, key), key)


def test_the_same_bytes_are_decoded_once(folder, decoded, tmp_path):
    in_memory = load(folder, limit=None)
    assert not (tmp_path / "user").exists() and type(in_memory.X) is np.ndarray
    with pytest.warns(ImageWarning, match=r"40 images of \(3, 6, 6\) take 4.3e-06 GB, so they are decoded once, into"):
        first = load(folder)
    assert isinstance(first.X, np.memmap) and isinstance(first.X_test, np.memmap) and len(decoded) == 2 * N
    assert Path(first.X.filename).is_relative_to(tmp_path / "user" / "aaekit" / "images")
    same(first, in_memory)
    decoded.stop = lambda: pytest.fail("decoded again")
    same(load(folder), in_memory)
    assert list((tmp_path / "user").rglob("*.part")) == []


def test_files_are_not_even_opened_again(folder, monkeypatch):
    first = load(folder)
    monkeypatch.setattr(images, "_look", lambda *_: pytest.fail("opened"))
    same(load(folder), first)


@pytest.mark.parametrize("n_before", [0, 7, 23])
def test_an_interrupted_decoding_goes_on(n_before, folder, decoded, tmp_path):
    in_memory = load(folder, limit=None)
    decoded.clear()

    def stop():
        if len(decoded) >= n_before:
            raise KeyboardInterrupt

    decoded.stop = stop
    with pytest.raises(KeyboardInterrupt):
        load(folder)
    assert list((tmp_path / "user").rglob("*-3x6x6*/*.npy")) == []
    decoded.stop = lambda: None
    decoded.clear()
    same(load(folder), in_memory)
    assert len(decoded) == N - n_before // N_BLOCK * N_BLOCK


def test_a_killed_process_leaves_nothing_half_written(folder, decoded, tmp_path):
    code = f"""
import os, signal, sys
from aaekit import _cache, data
from aaekit.data import checks, images
_cache.BLOCK_BYTES = {_cache.BLOCK_BYTES}
pixels, n = images._pixels, 0
def read(*arguments):
    global n
    n += 1
    if n > 17:
        os.kill(os.getpid(), signal.SIGKILL)
    return pixels(*arguments)
images._pixels = read
data.load({str(folder)!r}, image_shape={SHAPE}, memory_limit_bytes=0)
"""
    killed = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    (work,) = (tmp_path / "user").rglob("*.part")
    with open(work / "journal", "ab") as journal:
        journal.write(b'[35, 40, {"1')  # a line that was cut off
    loaded = load(folder)
    assert N - 15 <= len(decoded) < N and not work.exists()
    same(loaded, load(folder, limit=None))


def test_only_changed_files_are_decoded_again(folder, decoded):
    load(folder)
    decoded.clear()
    changed = folder / "train" / "a" / "00.png"
    before = changed.stat()
    pixels = np.asarray(Image.open(changed))
    Image.fromarray(255 - pixels).save(changed, compress_level=0)
    Image.fromarray(255 - pixels).save(changed)
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))
    draw(folder / "train" / "b" / "new.png", 99)
    (folder / "test" / "b" / "03.png").unlink()
    loaded = load(folder)
    assert sorted(decoded) == ["00.png", "new.png"]
    same(loaded, load(folder, limit=None))


def test_what_cannot_be_read_is_named_and_the_others_are_not_decoded_again(folder, decoded):
    files = sorted(folder.rglob("*.png"), key=lambda path: ("test" in path.parts, path))
    files[3].write_bytes(b"no image")
    files[11].write_bytes(files[11].read_bytes()[:-60])
    with pytest.raises(InputError, match=rf"2 that cannot, .*{files[3].name}.*{files[11].name}") as at_once:
        load(folder, limit=None)
    for _ in range(2):
        decoded.clear()
        with pytest.raises(InputError) as error:
            load(folder)
        assert str(error.value) == str(at_once.value)
    assert len(decoded) == 0
    with pytest.warns(ImageWarning, match="2 files are left out"):
        loaded, in_memory = (load(folder, limit, damaged="skip") for limit in (0, None))
    same(loaded, in_memory)
    assert len(loaded.pictures.left_out) == 2 and len(decoded) == N - 1
    decoded.clear()
    draw(files[3], 3)
    draw(files[11], 11)
    same(load(folder), load(folder, limit=None))
    assert sorted(decoded[:2]) == sorted([files[3].name, files[11].name]) and len(decoded) == 2 + N


def test_remarks_and_grey_colours_are_as_in_memory(tmp_path, monkeypatch):
    cache, tmp_path = tmp_path / "cache", tmp_path / "photos"
    tmp_path.mkdir()
    monkeypatch.setattr(_cache, "BLOCK_BYTES", 2 * 3 * 6 * 5)
    for k in range(5):
        grey = np.random.default_rng(k).integers(0, 256, (6, 5), dtype=np.uint8)
        Image.fromarray(np.stack([grey] * 3, 2)).save(tmp_path / f"{k}.png")
    white = np.full((6, 5, 4), 255, np.uint8)
    white[2:4, 2:4, 3] = 0
    Image.fromarray(white).save(tmp_path / "white.png")
    loaded = []
    for limit in (None, 0, 0):
        with pytest.warns(ImageWarning, match="white on transparent, so it is put on black"):
            loaded.append(data.load(tmp_path, memory_limit_bytes=limit, cache_dir=cache))
        assert not list(cache.glob("3x6x5-8bits/*.npy"))
    assert loaded[0].X.shape == (6, 1, 6, 5) and all(f.pictures == loaded[0].pictures for f in loaded)
    for other in loaded[1:]:
        assert isinstance(other.X, np.memmap)
        np.testing.assert_array_equal(other.X, loaded[0].X)


def test_damaged_files_of_the_cache_are_made_again(folder, tmp_path):
    expected = np.array(load(folder).X)
    for suffix in ("npy", "json"):
        for path in (tmp_path / "user").rglob(f"*.{suffix}"):
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        np.testing.assert_array_equal(load(folder).X, expected)


def test_processes_and_threads_wait_for_each_other(folder, decoded, monkeypatch):
    monkeypatch.setattr(_cache, "WAIT", 0.01)
    decoded.stop = lambda: time.sleep(0.002)
    results, in_memory = [], load(folder, limit=None)
    decoded.clear()
    threads = [threading.Thread(target=lambda: results.append(load(folder))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3 and len(decoded) == N
    for loaded in results:
        same(loaded, in_memory)


def test_memory_holds_a_block_at_a_time(tmp_path, monkeypatch):
    for module in (_cache, checks):
        monkeypatch.setattr(module, "BLOCK_BYTES", 20 * 3 * 64 * 64)
    for k in range(200):
        draw(tmp_path / "photos" / f"{k}.bmp", k, (64, 64))
    peaks = {}
    for limit in (None, 0):
        tracemalloc.start()
        loaded = data.load(tmp_path / "photos", memory_limit_bytes=limit, cache_dir=tmp_path / "cache")
        for part in range(0, 200, 20):
            loaded.X[part : part + 20].sum()
        peaks[limit] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peaks[0] < 0.5 * loaded.X.nbytes < loaded.X.nbytes < peaks[None]


def test_rows_of_a_part_are_no_copies(folder, tmp_path):
    """Those of a folder's validation part, too."""
    (folder / "test").rename(folder / "val")
    loaded = load(folder)
    config = {"system": "classifier", "labels": None, "validation": 0, "split_random_state": 0}
    X, y, eval_set = training_rows(config, loaded, split_of(config, loaded))
    assert len(X) == len(y) == 30 and len(eval_set[0]) == 10
    assert all(isinstance(rows, np.memmap) and rows.filename == loaded.X.filename for rows in (X, eval_set[0]))
    np.testing.assert_array_equal(X, load(folder, limit=None).X[:30])


def test_a_full_disk_is_said_before(folder, monkeypatch):
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(_cache.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(InputError, match="expected 0.0 GB of free disk space, got 0.0: free some space, or"):
        load(folder)


def test_what_was_begun_a_week_ago_is_deleted(folder, tmp_path):
    old = tmp_path / "user" / "aaekit" / "images" / "3x6x6-8bits"
    for name, days in (("old", 8), ("new", 1)):
        work = old / f"{name}.part"
        work.mkdir(parents=True)
        (work / "rows.npy").write_bytes(b"x")
        for path in (work / "rows.npy", work):
            os.utime(path, (time.time() - days * 86400,) * 2)
    load(folder)
    assert not (old / "old.part").exists() and (old / "new.part").exists()


def test_info_says_where_they_are(folder, aae, tmp_path):
    line = ["data", "info", folder, "--image-shape", "3,6,6", "--data-options", "memory_limit_bytes=0"]
    code, text, err = aae(*line)
    assert code == 0 and err == []
    (line,) = [line for line in text.splitlines() if line.startswith("decoded:")]
    paths = (tmp_path / "user" / "aaekit" / "images" / "3x6x6-8bits").glob("*.npy")
    (path,) = (path for path in paths if "items" not in path.name)
    assert line.split(maxsplit=1)[1] == f"0.00 MB in {path}"


def test_a_run_says_it_beforehand_and_trains(folder, aae, tmp_path):
    line = ["train", "generator", "--data", folder, "--image-shape", "3,6,6", "--data-options", "memory_limit_bytes=0"]
    code, _, err = aae(*line, "--plan")
    assert code == 0 and "note: " in err[0] and "so they are decoded once, into" in err[0]
    code, _, err = aae(*line, "--max-steps", 2, "--hidden", 4, "--backbone", "mlp", "--batch-size", 10, "--quiet",
                       "--out", tmp_path / "run")  # fmt: skip
    assert code == 0 and not any("decoded" in e for e in err)
    assert json.loads((tmp_path / "run" / "results.json").read_text())


# --- rows that are large ---------------------------------------------------------------------------------------------
@given(shape=st.lists(st.integers(1, 300), min_size=1, max_size=3))
def test_networks_compute_a_part_of_a_thousand_rows_at_a_time(shape):
    n = rows_at_once(shape)
    assert 1000 % n == 0 and (n == 1 or n * np.prod(shape) <= _rows.VALUES_AT_ONCE)
    assert n == 1000 or (n + 1) * 2 * np.prod(shape) > _rows.VALUES_AT_ONCE


def test_large_rows_are_computed_a_few_at_a_time(monkeypatch):
    rows, sizes = np.random.default_rng(0).random((23, 40), dtype=np.float32), []
    layer = torch.nn.Linear(40, 3)

    def function(nets, x):
        sizes.append(len(x))
        return nets(x)

    expected = _rows.in_batches(layer, function, rows)
    monkeypatch.setattr(_rows, "VALUES_AT_ONCE", 300)
    np.testing.assert_allclose(_rows.in_batches(layer, function, rows), expected, rtol=1e-5, atol=1e-6)
    assert sizes == [23, 5, 5, 5, 5, 3]
    monkeypatch.setattr(heldout, "N_VALUES", 300)
    assert len(HeldOut("test", rows, None).subset().X) == 7


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_rows_of_a_file_are_fitted_without_a_copy(dtype, tmp_path):
    path = tmp_path / "rows.npy"
    images = np.random.default_rng(0).integers(0, 256, (400, 3, 16, 16), dtype=np.uint8)
    np.save(path, images if dtype == np.uint8 else images / np.float32(255))
    content, X = path.read_bytes(), np.load(path, mmap_mode="r")
    models = []
    for rows in (X, np.array(X)):
        model = AdversarialAutoencoder(hidden=(4,), backbone="mlp", max_steps=3, batch_size=20, random_state=0)
        models.append(model.fit(rows))
        np.testing.assert_array_equal(models[-1].transform(X), models[0].transform(X))
    assert path.read_bytes() == content and not X.flags.writeable


def test_rows_of_a_file_that_is_larger_than_the_memory_are_fitted(tmp_path, monkeypatch):
    """The operating system refuses to map such a file for private changes."""
    path, images = tmp_path / "rows.npy", np.random.default_rng(0).integers(0, 256, (60, 1, 8, 8), dtype=np.uint8)
    np.save(path, images)
    X, new = np.load(path, mmap_mode="r"), np.memmap.__new__

    def refuse(kind, filename, dtype, mode, *arguments):
        if mode == "c":
            raise OSError(12, "Cannot allocate memory")
        return new(kind, filename, dtype, mode, *arguments)

    model = AdversarialAutoencoder(hidden=(4,), backbone="mlp", max_steps=3, batch_size=20, random_state=0)
    expected = model.fit(images).transform(images)
    monkeypatch.setattr(np.memmap, "__new__", refuse)
    np.testing.assert_array_equal(model.fit(X).transform(X), expected)
    assert np.shares_memory(model.scaler_.transform(model, X), X)
