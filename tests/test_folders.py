"""Folders of images: what is a class, what a picture becomes, and every refusal."""

import numpy as np
import pytest
from PIL import Image

from aaekit import data
from aaekit.errors import ImageWarning, InputError

rng = np.random.default_rng(0)


def put(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels)).save(path, **options)
    return path


def grey(height=6, width=5):
    return rng.integers(0, 256, (height, width), dtype=np.uint8)


def test_a_subfolder_is_a_class(tmp_path):
    """In the order of paths, numbers as numbers, subfolders of a class in it; other and hidden files left out."""
    pixels = [grey() for _ in range(6)]
    for name, x in zip(
        ["10/a.png", "9/b.png", "9/deep/a.PNG", "loose.bmp", "unlabelled/c.png", "9/a.png"], pixels, strict=True
    ):
        put(tmp_path / name, x)
    put(tmp_path / ".hidden" / "a.png", grey())
    (tmp_path / "9" / "notes.txt").write_text("x")
    (tmp_path / "9" / ".a.png").write_text("x")
    with pytest.warns(ImageWarning, match=r"1 file is left out: 9/notes.txt \(no name of an image\)"):
        found = data.load(tmp_path, class_from="first")
    assert found.files == ("10/a.png", "9/a.png", "9/b.png", "9/deep/a.PNG", "loose.bmp", "unlabelled/c.png")
    assert found.classes == ("9", "10") and found.y.tolist() == [1, 0, 0, 0, -1, -1]
    assert found.X.shape == (6, 1, 6, 5) and found.X.dtype == np.uint8 and found.X_test is None
    np.testing.assert_array_equal(found.X[:, 0], [pixels[k] for k in (0, 5, 1, 2, 3, 4)])


def test_train_and_test(tmp_path):
    for name in ("train/cat/a.png", "train/dog/a.png", "train/b.png", "test/dog/a.png"):
        put(tmp_path / name, grey())
    found = data.load(tmp_path)
    assert found.y.tolist() == [-1, 0, 1] and found.y_test.tolist() == [1] and found.classes == ("cat", "dog")
    assert found.files == ("train/b.png", "train/cat/a.png", "train/dog/a.png") and found.files_test == (
        "test/dog/a.png",
    )
    (made,) = data.prepare(tmp_path, out=tmp_path / "out")
    again = data.load(made)
    assert again.files == found.files and again.files_test == found.files_test and made.stem == tmp_path.name
    np.testing.assert_array_equal(again.X_test, found.X_test)


def test_a_class_can_be_called_train(tmp_path):
    for name in ("train/a.png", "car/a.png", "test/a.png"):
        put(tmp_path / name, grey())
    assert data.load(tmp_path).classes == ("car", "test", "train")


def test_images_without_classes(tmp_path):
    put(tmp_path / "a.png", grey())
    found = data.load(tmp_path)
    assert found.y is None and found.classes == ()


def test_a_later_folder_means_the_same(tmp_path):
    put(tmp_path / "dog" / "a.png", np.full((9, 9, 3), (0, 255, 0), np.uint8))
    put(tmp_path / "bird" / "a.png", grey(30, 20))
    found = data.load(tmp_path, image_shape=(1, 8, 8), classes=("cat", "dog", "bird"))
    assert found.y.tolist() == [2, 1] and found.X.shape == (2, 1, 8, 8)
    assert data.load(tmp_path, image_shape=(1, 8, 8), classes=()).y is None
    with pytest.raises(InputError, match="expected the classes cat, dog, got bird"):
        data.load(tmp_path, classes=("cat", "dog"))


def test_sizes_and_colours(tmp_path):
    """Of one small size: as they are. Else a square, the image in the middle, the rest in the colour of its edge."""
    put(tmp_path / "a" / "wide.png", np.full((10, 40, 3), (200, 10, 10), np.uint8))
    assert data.load(tmp_path).X.shape == (1, 3, 10, 40)
    bar = np.full((20, 40), 50, np.uint8)
    bar[5:15, 10:30] = 250
    put(tmp_path / "a" / "bar.png", bar)
    found = data.load(tmp_path)
    assert found.X.shape == (2, 3, 32, 32) and (found.X[0] == found.X[0, :1]).all()
    x = found.X[0, 0].astype(int)
    assert (x[:8] == 50).all() and (x[-8:] == 50).all() and (x[14:18, 12:20] == 250).all()
    assert (found.X[1].reshape(3, -1).T == (200, 10, 10)).all()
    assert data.load(tmp_path, image_shape=(1, 16, 24)).X.shape == (2, 1, 16, 24)
    put(tmp_path / "large" / "a.png", grey(65, 65))
    (tmp_path / "a" / "wide.png").unlink()
    (tmp_path / "a" / "bar.png").unlink()
    (tmp_path / "a").rmdir()
    assert data.load(tmp_path).X.shape == (1, 1, 64, 64)


def test_every_kind_of_image(tmp_path):
    """Grey, grey in three channels, a palette, transparent, of 16 bits, of several pages, and turned by its EXIF."""
    put(tmp_path / "a.png", np.repeat(grey()[..., None], 3, 2))
    assert data.load(tmp_path).X.shape == (1, 1, 6, 5)
    (tmp_path / "a.png").unlink()
    put(tmp_path / "b.tif", np.full((6, 5), 257 * 100, np.uint16))
    Image.fromarray(np.full((6, 5), 7, np.uint8)).save(
        tmp_path / "c.tif", save_all=True, append_images=[Image.fromarray(grey())]
    )
    with pytest.warns(ImageWarning, match=r"c.tif \(the first of its pages is read\)"):
        found = data.load(tmp_path, bits=16)
    assert found.X.shape == (2, 1, 6, 5) and found.X[:, 0, 0, 0].tolist() == [100, 7]
    put(tmp_path / "d.png", np.dstack([np.full((6, 5, 3), 10, np.uint8), np.zeros((6, 5), np.uint8)]))
    Image.fromarray(np.full((6, 5, 3), (10, 200, 30), np.uint8)).quantize(4).save(tmp_path / "e.gif")
    turned = Image.Exif()
    turned[0x0112] = 6
    half = np.zeros((5, 6, 3), np.uint8)
    half[:, :3] = 255
    put(tmp_path / "f.png", half, exif=turned)
    with pytest.warns(ImageWarning, match="c.tif"):
        found = data.load(tmp_path, bits=16)
    assert found.X.shape == (5, 3, 6, 5)
    assert (found.X[2] == 255).all() and found.X[3, :, 0, 0].tolist() == [10, 200, 30]
    assert (found.X[4, :, :3] == 255).all() and (found.X[4, :, 3:] == 0).all()


def test_large_jpegs_are_read_as_others(tmp_path):
    y, x = np.mgrid[:400, :400]
    smooth = (127 + 100 * np.sin(x / 60) * np.cos(y / 80)).astype(np.uint8)
    put(tmp_path / "a.jpg", smooth, quality=95)
    put(tmp_path / "b.png", smooth)
    a, b = data.load(tmp_path).X.astype(int)
    assert np.abs(a - b).mean() < 2 and b.std() > 20


@pytest.mark.parametrize(
    ("made", "options", "words"),
    [
        ((), {}, "expected images (.png"),
        (("notes.txt",), {}, "got notes.txt (no name of an image)"),
        (("cat/a.png",), {}, "a.png: expected an image that can be read"),
        (("train/a/a.png", "val/a/a.png", "dev/a/a.png"), {}, "expected one folder for each part, got dev, train, val"),
        (("a/a.png", "a/b.png"), {}, "got 2 that cannot, a/a.png, a/b.png (no image of a known format)"),
        (("a/b/a.png",), {}, "such as a/b: choose by class_from=first (the class a) or class_from=last (the class b)"),
        (("a/a.png", "a/a_mask.png"), {}, "1 that look like masks of others, such as a/a_mask.png: leave them out by"),
        (("images/a.png", "masks/a.png"), {}, "1 that look like masks of others, such as masks/a.png"),
        (("a/a.png",), {"damaged": "mend"}, "expected damaged=refuse or damaged=skip, got 'mend'"),
        (("a/a.png",), {"bits": 11}, "expected bits as one of 8, 10, 12, 14, 16, got 11"),
        (("a/a.png",), {"image_shape": (2, 8, 8)}, "expected image_shape as (1 or 3 channels, height, width)"),
    ],
)
def test_what_is_refused(made, options, words, tmp_path):
    for name in made:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"no image")
    with pytest.raises(InputError) as caught:
        data.load(tmp_path, **options)
    assert words in str(caught.value) and str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_truncated_image_is_named(tmp_path):
    path = put(tmp_path / "a" / "b.png", rng.integers(0, 256, (60, 60, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"a/b\.png: expected an image that can be read"):
        data.load(tmp_path)
    put(tmp_path / "a" / "c.png", grey())
    with pytest.warns(ImageWarning, match=r"1 file is left out: a/b\.png \("):
        found = data.load(tmp_path, damaged="skip")
    assert found.files == ("a/c.png",) and len(found.X) == len(found.y) == 1
