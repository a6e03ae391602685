"""Files of images as other people have them: every kind is read right, or refused by name."""

import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from aaekit import data
from aaekit.errors import ColumnWarning, ImageWarning, InputError

rng = np.random.default_rng(0)
WIDE = np.tile(np.linspace(0, 255, 12).astype(np.uint8), (10, 1))  # darker on the left
COLOURS = np.dstack([WIDE, WIDE[:, ::-1], np.full_like(WIDE, 40)])


def quiet(*args, **options):
    """Load, whatever is said."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImageWarning)
        return data.load(*args, **options)


def save(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


def png(path, values, colour):
    """A PNG of 16 bits a channel; values (height, width, channels)."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width = values.shape[:2]
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    head = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    )
    return path


# --- pixels ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_twelve_bits_in_sixteen_are_no_darkness(suffix, tmp_path):
    """They fill the range of bytes; with `bits`, or in a later set, as the first one."""
    values = np.tile(np.linspace(0, 4095, 12).astype(np.uint16), (10, 1))
    seen = values.astype(int) * 255 // 4095
    if suffix == ".pgm":
        (tmp_path / "a.pgm").write_bytes(b"P5 12 10 4095\n" + values.astype(">u2").tobytes())
    else:
        save(tmp_path / f"a{suffix}", values)
    loaded = quiet(tmp_path)
    np.testing.assert_array_equal(loaded.X[0, 0], seen)
    if suffix == ".pgm":
        return
    assert loaded.describe()["bits"] == loaded.pictures.bits == 12
    with pytest.warns(ImageWarning, match="read as 12 bits, since no value is larger; choose by bits=16"):
        data.load(tmp_path)
    assert data.load(tmp_path, bits=16).X.max() == 15
    save(tmp_path / "later" / f"a{suffix}", (values // 8).astype(np.uint16))
    later = data.load(tmp_path / "later", bits=12)
    assert later.X.max() == 511 * 255 // 4095
    assert data.load(tmp_path, bits=16, class_from="first").pictures.bits == 16
    with pytest.raises(InputError, match="a value of 4095, which 10 bits do not hold: choose by bits=16"):
        data.load(tmp_path / f"a{suffix}", bits=10)


def test_colours_of_sixteen_bits(tmp_path):
    """Pillow keeps the upper eight bits; where little is left of them, the file is named."""
    full = np.dstack([np.linspace(0, 65535, 12).astype(np.uint16) * np.ones((10, 1), np.uint16)] * 3)
    png(tmp_path / "a.png", full, 2)
    assert np.abs(data.load(tmp_path).X[0, 0].astype(int) - full[..., 0] // 257).max() <= 1
    png(tmp_path / "b.png", full // 16, 2)
    with pytest.raises(InputError, match=r"b\.png: .*colours of 16 bits that fill less than 14 of them"):
        data.load(tmp_path)


def test_every_mode_shows_the_same(tmp_path):
    """1 bit, grey with alpha, a palette, CMYK, a turned photograph: as in plain colours."""
    picture = Image.fromarray(COLOURS)
    save(tmp_path / "a" / "rgb.png", picture)
    save(tmp_path / "a" / "rgba.png", picture.convert("RGBA"))
    save(tmp_path / "a" / "palette.png", picture.quantize(256))
    save(tmp_path / "a" / "palette.gif", picture.quantize(256))
    save(tmp_path / "a" / "cmyk.tif", picture.convert("CMYK"))
    save(tmp_path / "a" / "cmyk.jpg", picture.convert("CMYK"), quality=98)
    save(tmp_path / "a" / "photo.jfif", picture, format="JPEG", quality=98)
    save(tmp_path / "a" / "photo.webp", picture, lossless=True)
    save(tmp_path / "a" / "in_truth_a_jpeg.png", picture, format="JPEG", quality=98)
    turned = Image.Exif()
    turned[0x0112] = 6
    save(tmp_path / "a" / "turned.jpg", picture.transpose(Image.Transpose.ROTATE_90), exif=turned, quality=98)
    loaded = data.load(tmp_path)
    assert loaded.X.shape == (10, 3, 10, 12) and loaded.pictures.sizes == {(12, 10): 10}
    difference = np.abs(loaded.X.astype(int) - COLOURS.transpose(2, 0, 1)).mean((1, 2, 3))
    assert (difference < 6).all(), dict(zip(loaded.files, difference, strict=True))
    grey = Image.fromarray(WIDE)
    save(tmp_path / "b" / "grey.png", grey)
    save(tmp_path / "b" / "alpha.png", grey.convert("LA"))
    save(tmp_path / "b" / "bit.png", grey.point(lambda v: 255 * (v > 127)).convert("1"))
    loaded = data.load(tmp_path / "b")
    assert loaded.X.shape == (3, 1, 10, 12)
    np.testing.assert_array_equal(loaded.X[:, 0], [WIDE, 255 * (WIDE > 127), WIDE])


def test_white_on_transparent_is_seen(tmp_path):
    """And a transparent picture in other colours stays on white."""
    alpha = np.zeros((10, 12), np.uint8)
    alpha[3:7, 4:8] = 255
    white, grey = (np.dstack([np.full((10, 12, 3), v, np.uint8), alpha]) for v in (255, 90))
    save(tmp_path / "white.png", white)
    save(tmp_path / "grey.png", grey)
    with pytest.warns(ImageWarning, match=r"white\.png \(white on transparent, so it is put on black\)"):
        loaded = data.load(tmp_path)
    np.testing.assert_array_equal(loaded.X[:, 0], [np.where(alpha, 90, 255), alpha])


def test_heic(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    smooth = np.kron(np.array([[30, 200], [120, 60]], np.uint8), np.ones((32, 32), np.uint8))
    save(tmp_path / "a.heic", np.dstack([smooth] * 3), quality=95)
    loaded = data.load(tmp_path, image_shape=(1, 64, 64))
    assert np.abs(loaded.X[0, 0].astype(int) - smooth).mean() < 4


def test_floats_and_negative_values_are_named(tmp_path):
    save(tmp_path / "a.tif", np.full((5, 5), 0.5, np.float32))
    save(tmp_path / "b.tif", np.full((5, 5), -1000, np.int32))
    with pytest.raises(InputError, match=r"a\.tif \(pixels that are floats.*b\.tif \(values from -1000 to -1000"):
        data.load(tmp_path)


# --- files and folders -----------------------------------------------------------------------------------------------
def test_everything_left_out_is_named(tmp_path):
    for name in ("a/a.png", "b/a.png"):
        save(tmp_path / name, WIDE)
    for name in ("a/notes.txt", "b/Thumbs.db", "b/c.png"):
        (tmp_path / name).write_bytes(b"no image")
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "b" / "pipe.png")
    (tmp_path / "b" / "gone.png").symlink_to("nowhere")
    (tmp_path / "b" / "link").symlink_to(tmp_path / "a")
    with pytest.warns(ImageWarning, match="7 files are left out"):
        loaded = data.load(tmp_path, damaged="skip")
    assert loaded.files == ("a/a.png", "b/a.png") and loaded.classes == ("a", "b")
    assert dict(loaded.pictures.left_out) == {
        "a/notes.txt": "no name of an image",
        "b/Thumbs.db": "no name of an image",
        "b/c.png": "no image of a known format",
        "b/pipe.png": "no regular file",
        "b/gone.png": "a link to nothing",
        "b/link": "a link to a folder",
        "empty/": "no image in it",
    }


def test_parts_of_a_set(tmp_path):
    """Images for validation are training rows that a split names."""
    for name in ("train/cat/a.png", "train/dog/a.png", "val/dog/a.png", "test/cat/a.png"):
        save(tmp_path / name, WIDE)
    loaded = data.load(tmp_path)
    assert loaded.files == ("train/cat/a.png", "train/dog/a.png", "val/dog/a.png") and len(loaded.X_test) == 1
    assert loaded.y.tolist() == [0, 1, 1] and loaded.y_test.tolist() == [0]
    assert loaded.split.validation.tolist() == [2] and loaded.split.labelled.tolist() == [0, 1]
    paths = data.prepare(tmp_path, out=tmp_path / "out")
    assert data.load(paths[0]).split.validation.tolist() == [2]


@pytest.mark.parametrize(
    ("kind", "classes"), [("first", ("north", "south")), ("last", ("cat", "dog")), ("other", None)]
)
def test_folders_in_folders(kind, classes, tmp_path):
    for name in ("north/cat/a.png", "north/dog/a.png", "south/cat/a.png", "south/unlabelled/a.png"):
        save(tmp_path / name, WIDE)
    if classes is None:
        with pytest.raises(InputError, match="expected class_from=first or class_from=last, got 'other'"):
            data.load(tmp_path, class_from=kind)
        return
    loaded = data.load(tmp_path, class_from=kind)
    assert loaded.classes == classes and loaded.y[-1] == -1
    assert data.load(tmp_path, classes=()).y is None, "without labels there is nothing to ask"


def test_masks(tmp_path):
    for name in ("a/1.png", "a/1_mask.png", "a/1_mask_2.png", "a/2.png", "b/images/1.png", "b/masks/1.png"):
        save(tmp_path / name, WIDE)
    loaded = quiet(tmp_path, masks="skip", class_from="first")
    assert loaded.files == ("a/1.png", "a/2.png", "b/images/1.png")
    assert len(data.load(tmp_path, masks="read", class_from="first").X) == 6


def test_names_that_are_not_utf8(tmp_path):
    """They are shown escaped, and can be written."""
    folder = os.fsencode(tmp_path) + b"/\xe9t\xe9"
    os.mkdir(folder)
    save(tmp_path / "a.png", WIDE)
    os.rename(tmp_path / "a.png", folder + b"/\xff.png")
    save(tmp_path / "tea" / "a.png", WIDE)
    loaded = data.load(tmp_path)
    assert loaded.classes == (r"\xe9t\xe9", "tea") and set(loaded.files) == {r"\xe9t\xe9/\xff.png", "tea/a.png"}
    assert data.load(data.prepare(tmp_path, out=tmp_path / "out")[0]).classes == loaded.classes


def test_one_image(tmp_path):
    loaded = data.load(save(tmp_path / "a.png", WIDE))
    assert loaded.X.shape == (1, 1, 10, 12) and loaded.y is None and loaded.files == ("a.png",)
    with pytest.raises(InputError, match=r"no\.png: expected an image that can be read, got .*no such file"):
        data.load(tmp_path / "no.png")


# --- limits ----------------------------------------------------------------------------------------------------------
def test_many_pixels_are_refused_unless_allowed(tmp_path):
    save(tmp_path / "a.png", np.zeros((60, 80), np.uint8))
    with pytest.raises(InputError, match="4800 pixels, more than 4000: reduce it, or read it by max_pixels=4800"):
        data.load(tmp_path, max_pixels=4000)
    assert len(data.load(tmp_path, max_pixels=4800).X) == 1
    save(tmp_path / "large.png", Image.new("1", (10_000, 10_000)))
    with pytest.raises(InputError, match="large.png: .*100000000 pixels, more than 64000000"):
        data.load(tmp_path)


def test_content_decides_and_postscript_is_no_image(tmp_path):
    """Pillow would call Ghostscript."""
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    with pytest.raises(InputError, match="no image of a known format"):
        data.load(tmp_path)


# --- lists of files --------------------------------------------------------------------------------------------------
def test_a_table_of_files(tmp_path):
    """Paths are relative to the table; rows without a file are named, and so are those that are not there."""
    for k in range(4):
        save(tmp_path / "pictures" / f"{k}.png", np.full((6, 5), k, np.uint8))
    table = tmp_path / "list.csv"
    lines = [f"pictures/{k}.png,{name},{k}" for k, name in zip((3, 1, 0, 2), ("dog", "cat", "", "dog"), strict=True)]
    table.write_text("\n".join(["path,label,age", *lines, ",cat,3"]) + "\n")
    with pytest.warns((ColumnWarning, ImageWarning)) as said:
        loaded = data.load(table)
    texts = " ".join(str(w.message) for w in said)
    assert "images that the column path names" in texts and "row 4 (no file)" in texts and "column label" in texts
    assert loaded.X[:, 0, 0, 0].tolist() == [3, 1, 0, 2] and loaded.y.tolist() == [1, 0, -1, 1]
    assert loaded.classes == ("cat", "dog") and loaded.files[0] == "pictures/3.png"
    explicit = quiet(table, images="path", target="age")
    assert explicit.classes == ("0", "1", "2", "3")
    (tmp_path / "pictures" / "1.png").unlink()
    (tmp_path / "pictures" / "2.png").unlink()
    with pytest.raises(InputError, match=r"got 2 that cannot, pictures/1.png, pictures/2.png \(no such file\)"):
        quiet(table, images="path", target="label")
    with pytest.raises(InputError, match="expected one of the options .*, got 'drop'"):
        quiet(table, images="path", drop="age")


# --- arrays ----------------------------------------------------------------------------------------------------------
def test_names_of_arrays_that_others_use(tmp_path):
    """MedMNIST's, with rows for validation and channels last."""
    X = rng.integers(0, 255, (9, 8, 8, 3), dtype=np.uint8)
    y = np.arange(9)[:, None] % 2
    parts = {"train": slice(0, 5), "val": slice(5, 7), "test": slice(7, 9)}
    np.savez(
        tmp_path / "a.npz",
        **{f"{p}_images": X[s] for p, s in parts.items()},
        **{f"{p}_labels": y[s] for p, s in parts.items()},
    )
    loaded = data.load(tmp_path / "a.npz")
    np.testing.assert_array_equal(loaded.X, X[:7].transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(loaded.X_test, X[7:].transpose(0, 3, 1, 2))
    assert loaded.y.tolist() == [0, 1, 0, 1, 0, 1, 0] and loaded.split.validation.tolist() == [5, 6]
    for keys in (("data", "target"), ("images", "labels"), ("x", "y"), ("features", "label")):
        np.savez(tmp_path / "b.npz", **dict(zip(keys, (X[..., 0], y[:, 0]), strict=True)), weights=np.ones(3))
        with pytest.warns(ImageWarning, match="arrays are left out: weights"):
            loaded = data.load(tmp_path / "b.npz")
        assert loaded.X.shape == (9, 1, 8, 8) and loaded.y.sum() == 4
    np.savez(tmp_path / "c.npz", train_images=X, train_labels=np.ones((9, 14), int))
    with pytest.raises(InputError, match=r"expected one label per row.*\(9, 14\)|labels"):
        data.load(tmp_path / "c.npz")


# --- sets of the package datasets ------------------------------------------------------------------------------------
def write_saved(folder, rows):
    """A folder as `save_to_disk` of datasets writes it."""
    pa = pytest.importorskip("pyarrow")
    import io
    import json

    folder.mkdir(parents=True)
    pictures = []
    for value, _ in rows:
        buffer = io.BytesIO()
        Image.fromarray(np.full((6, 5), value, np.uint8)).save(buffer, "PNG")
        pictures.append({"bytes": buffer.getvalue(), "path": None})
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array(pictures, kind), "label": pa.array([label for _, label in rows], pa.int64())})
    with pa.OSFile(str(folder / "data.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    features = {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))


def test_a_folder_that_datasets_saved(tmp_path):
    write_saved(tmp_path / "set" / "train", [(3, 1), (1, 0), (2, None)])
    write_saved(tmp_path / "set" / "test", [(9, 1)])
    (tmp_path / "set" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    loaded = data.load(tmp_path / "set")
    assert loaded.X[:, 0, 0, 0].tolist() == [3, 1, 2] and loaded.y.tolist() == [1, 0, -1]
    assert loaded.classes == ("cat", "dog") and loaded.y_test.tolist() == [1] and loaded.X_test[0, 0, 0, 0] == 9
    assert len(data.load(tmp_path / "set" / "train", classes=()).X) == 3
    (tmp_path / "set" / "train" / "data.arrow").write_bytes(b"damaged")
    with pytest.raises(InputError, match="expected a data set of save_to_disk, got a damaged one"):
        data.load(tmp_path / "set")


def test_objects_of_datasets():
    hf = pytest.importorskip("datasets")
    features = hf.Features({"image": hf.Image(), "label": hf.ClassLabel(names=["cat", "dog"])})
    pictures = [Image.fromarray(np.full((6, 5), 10 * k, np.uint8)) for k in range(4)]
    whole = hf.Dataset.from_dict({"image": pictures, "label": [0, 1, 0, 1]}, features=features)
    loaded = data.load(hf.DatasetDict({"train": whole, "test": whole.select([1, 0])}))
    assert loaded.X[:, 0, 0, 0].tolist() == [0, 10, 20, 30] and loaded.y.tolist() == [0, 1, 0, 1]
    assert loaded.X_test[:, 0, 0, 0].tolist() == [10, 0] and loaded.y_test.tolist() == [1, 0]


# --- what `aae data info` prints -------------------------------------------------------------------------------------
def test_info_shows_sizes_and_everything_left_out(aae, tmp_path):
    for k in range(3):
        save(tmp_path / "photos" / "cat" / f"{k}.png", np.full((90, 80), 60 * k, np.uint8))
    save(tmp_path / "photos" / "dog" / "a.png", WIDE)
    (tmp_path / "photos" / "dog" / "notes.txt").write_text("x")
    code, out, err = aae(
        "data", "info", tmp_path / "photos", "--image-shape", "1,16,16", "--sheet", tmp_path / "sheet.png"
    )
    assert code == 0 and not err, err
    assert "80x90 (3), 12x10 (1)" in out and "fitted into 16x16, grey" in out and "cat 3, dog 1" in out
    assert "dog/notes.txt: no name of an image" in out and "rows from the top: cat, dog" in out
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 200 and len(np.unique(np.asarray(sheet.convert("L")))) > 4
    code, _, err = aae("data", "info", "wine", "--sheet", tmp_path / "sheet.png")
    assert code == 2 and "--sheet: expected images or signals, got rows of 13 values" in err[0]


def test_labels_are_drawn_beside_the_images_for_validation(tmp_path):
    from aaekit.runs.config import completed
    from aaekit.runs.data import split_of

    for part, n in (("train", 4), ("val", 2)):
        for k in range(n):
            save(tmp_path / part / ("cat", "dog")[k % 2] / f"{k}.png", WIDE)
    loaded = data.load(tmp_path)
    for labels, n_labelled in ((2, 2), (None, 4)):
        split = split_of(completed("classifier", {"labels": labels}), loaded)
        assert loaded.files[split.validation[0]].startswith("val") and len(split.validation) == 2
        assert len(split.labelled) == n_labelled and not set(split.labelled) & set(split.validation)
