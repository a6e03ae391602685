"""Folders of image files, with a subfolder for each class."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aaekit._extras import require
from aaekit.errors import InputError
from aaekit.labels import UNLABELLED

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
PARTS = ("train", "test")
OTHER_PARTS = ("val", "valid", "validation", "dev")  # names that other programs use
NO_CLASS = ("unlabelled", "unlabeled")
GREY = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L")
LARGEST, DEFAULT = 64, 32  # pixels a side: up to the first, images keep their size; larger ones get the second


def read_folder(path: Path, shape: Sequence[int] | None = None, classes: Sequence[str] | None = None) -> dict[str, Any]:
    """Read the images (PNG, JPEG, BMP, GIF, TIFF, WebP, PGM, PPM) of a folder, in the order of their paths.

    Each subfolder is a class; images in the folder itself, or in a subfolder "unlabelled", have no label. If the
    subfolders are "train" and "test", each of them is such a folder. Other files, and names that begin with a dot, are
    ignored.

    Images that all have one size of up to 64 pixels a side keep it; others are resized to 32x32, or to the size in
    `shape`: the image is fitted into the frame, and the rest takes the colour of its edge. Images are grey if all of
    them are. Transparent images are put on white. Of a file with several pages the first is read.

    Parameters
    ----------
    path : Path
        The folder.
    shape : (channels, height, width), optional
        Shape of the images that are returned: 1 channel for grey, 3 for colours.
    classes : sequence of str, optional
        The names of the labels 0, 1, ...; if it is empty, labels are not read. Default: the names of the subfolders,
        sorted, numbers by their value.

    Returns
    -------
    dict
        X (n, channels, height, width) uint8, y (n,) int64 or None, classes, and files, their paths in the folder; of
        "test" likewise X_test, y_test and files_test.

    Raises
    ------
    InputError
        If there is no image, an image cannot be read, `shape` is not the shape of an image, or a class is not among
        `classes`.
    """
    require("PIL", extra="data")
    if shape is not None and (len(shape) != 3 or shape[0] not in (1, 3)):
        raise InputError(f"{path}: expected image_shape as (1 or 3 channels, height, width), got {tuple(shape)}")
    parts = _parts(path)
    by_part = [list(_files(part)) for part in parts]
    for part, files in zip(parts, by_part, strict=True):
        _check_files(part, files)
    if classes is None:
        names = {name for files in by_part for _, name in files if name is not None}
        numbers = all(name.isdecimal() for name in names)
        classes = sorted(names, key=int if numbers else None)  # pyright: ignore[reportArgumentType]
    images = _read([file for files in by_part for file, _ in files], shape)
    result: dict[str, Any] = {"classes": tuple(classes)}
    start = 0
    for part, files, suffix in zip(parts, by_part, ("", "_test"), strict=False):
        result[f"X{suffix}"] = images[start : start + len(files)]
        result[f"y{suffix}"] = _labels(part, [name for _, name in files], classes)
        result[f"files{suffix}"] = tuple(str(file.relative_to(path)) for file, _ in files)
        start += len(files)
    return result


def _parts(path: Path) -> list[Path]:
    """The folders of the training and the test images, or the folder itself."""
    names = {p.name for p in _visible(path) if p.is_dir()}
    if names == set(PARTS):
        return [path / part for part in PARTS]
    if len(names) > 1 and PARTS[0] in names and names <= {*PARTS, *OTHER_PARTS}:
        raise InputError(
            f"{path}: expected folders train and test, or one for each class, got {', '.join(sorted(names))}: rename "
            "the folder of test images to test, and move the others"
        )
    return [path]


def _visible(folder: Path) -> list[Path]:
    """The content of a folder, sorted, without names that begin with a dot."""
    try:
        return sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    except OSError as error:
        raise InputError(
            f"{folder}: expected a folder that can be read, got ({error.strerror or error}): check its permissions"
        ) from error


def _files(folder: Path) -> Iterator[tuple[Path, str | None]]:
    """Yield each image file with the name of its class, or None."""
    for p in _visible(folder):
        if p.is_dir():
            name = None if p.name.casefold() in NO_CLASS else p.name
            yield from ((file, name) for file in _files_below(p))
        elif p.suffix.casefold() in SUFFIXES:
            yield p, None


def _files_below(folder: Path) -> Iterator[Path]:
    """Yield each image file of a folder and its subfolders."""
    for p in _visible(folder):
        if p.is_dir() and not p.is_symlink():
            yield from _files_below(p)
        elif p.suffix.casefold() in SUFFIXES:
            yield p


def _check_files(folder: Path, files: Sequence[object]) -> None:
    """Refuse a folder without images."""
    if files:
        return
    suffixes = ", ".join(sorted({p.suffix or "no suffix" for p in _visible(folder) if p.is_file()}))
    raise InputError(
        f"{folder}: expected images ({' '.join(SUFFIXES)}) in a subfolder for each class, got "
        f"{f'files of kind {suffixes}' if suffixes else 'none'}"
    )


def _labels(folder: Path, names: list[str | None], classes: Sequence[str]) -> NDArray[np.int64] | None:
    """The indices of the classes, -1 in unlabelled rows; None if no image has a label."""
    index = {name: k for k, name in enumerate(classes)}
    if len(classes) and (unknown := sorted({name for name in names if name is not None and name not in index})):
        raise InputError(f"{folder}: expected the classes {', '.join(classes)}, got {', '.join(unknown)}")
    if not len(classes) or all(name is None for name in names):
        return None
    return np.array([UNLABELLED if name is None else index[name] for name in names], np.int64)


def _read(files: list[Path], shape: Sequence[int] | None) -> NDArray[np.uint8]:
    """The images of all files, shape (n, channels, height, width)."""
    with ThreadPoolExecutor() as pool:
        channels, height, width = shape or _common_shape(list(pool.map(_size_and_grey, files)))
        images = np.empty((len(files), channels, height, width), np.uint8)

        def read(k: int) -> None:
            images[k] = read_image(files[k], channels, height, width)

        for _ in _with_progress(pool.map(read, range(len(files))), len(files)):
            pass
    all_grey = shape is None and channels == 3 and (images[:, :1] == images).all()
    return images[:, :1].copy() if all_grey else images


def _common_shape(sizes_and_grey: list[tuple[tuple[int, int], bool]]) -> tuple[int, int, int]:
    """The (channels, height, width) of images whose (width, height) and greyness are given."""
    sizes, grey = {size for size, _ in sizes_and_grey}, all(g for _, g in sizes_and_grey)
    width, height = sizes.pop() if len(sizes) == 1 and max(map(max, sizes)) <= LARGEST else (DEFAULT, DEFAULT)
    return (1 if grey else 3), height, width


def _with_progress(done: Iterable[None], n: int) -> Iterable[None]:
    """The same, with a progress bar if rich is installed and standard error is a terminal."""
    try:
        from rich.console import Console
        from rich.progress import track
    except ImportError:
        return done
    console = Console(stderr=True)
    return track(done, "images", n, console=console, transient=True, disable=not console.is_terminal)


@contextmanager
def open_image(file: Path) -> Iterator["Image.Image"]:
    """Open an image; errors while it is read in the block are `InputError`s that name the file."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            yield image
    except InputError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{file}: expected an image that can be read, got ({error}): repair or remove it") from error


def _size_and_grey(file: Path) -> tuple[tuple[int, int], bool]:
    """The (width, height) of an image after its EXIF rotation, and whether it is grey."""
    with open_image(file) as image:
        rotated = image.getexif().get(0x0112, 1) >= 5
        return (image.height, image.width) if rotated else (image.width, image.height), image.mode in GREY


def read_image(file: Path, channels: int, height: int, width: int) -> NDArray[np.uint8]:
    """An image as (channels, height, width), fitted into this size."""
    from PIL import Image, ImageOps

    with open_image(file) as opened:
        largest = 2 * max(height, width)
        opened.draft(opened.mode, (largest, largest))  # a large JPEG is decoded no larger than needed
        image = ImageOps.exif_transpose(opened)
        if image.mode.startswith("I"):
            image = Image.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8))
        elif image.mode == "F":
            raise InputError(f"{file}: expected pixels as integers, got floats of unknown range: convert it to 8 bits")
        elif image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = _fitted(image, width, height)
    pixels = np.asarray(image)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _fitted(image: "Image.Image", width: int, height: int) -> "Image.Image":
    """An image fitted into another size, centred on the median colour of its edge."""
    from PIL import Image, ImageOps

    pixels = np.asarray(image)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    colour = tuple(np.atleast_1d(np.median(edge, 0)).astype(int).tolist())
    return ImageOps.pad(image, (width, height), Image.Resampling.LANCZOS, colour)
