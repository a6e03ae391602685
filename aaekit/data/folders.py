"""Folders of image files: a subfolder for each class."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from rich.console import Console
from rich.progress import track

from aaekit.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
PARTS = ("train", "test")
OTHER_PARTS = ("val", "valid", "validation", "dev")  # as other programs have them
NO_CLASS = ("unlabelled", "unlabeled")
GREY = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L")
LARGEST, USUAL = 64, 32  # pixels a side up to which images stay as they are; and of those that do not


def read_folder(path: Path, shape: Sequence[int] | None = None, classes: Sequence[str] | None = None) -> dict[str, Any]:
    """Read the images (PNG, JPEG, BMP, GIF, TIFF, WebP, PGM, PPM) of a folder, in the order of their paths.

    Each subfolder is a class; images in the folder itself, or in a subfolder "unlabelled", have no label. If there are
    subfolders "train" and "test" and no others, each is such a folder. Other files are left out, and so is what begins
    with a dot.

    Images that are all of one size up to 64 pixels a side stay as they are; others become 32x32, or as large as `shape`
    says: as much as fits, the rest in the colour of their edge. Grey ones stay grey if all are; transparent ones lie on
    white; of several pages the first counts.

    Parameters
    ----------
    path : Path
        The folder.
    shape : (channels, height, width), optional
        What an image is to become: 1 channel for grey, 3 for colours.
    classes : sequence of str, optional
        The names of the labels 0, 1, ...; without any, labels are not read. Default: the names of the subfolders,
        sorted, numbers as numbers.

    Returns
    -------
    dict
        X (n, channels, height, width) uint8, y (n,) int64 or None, classes, and files, their paths in the folder; of
        "test" likewise X_test, y_test and files_test.

    Raises
    ------
    InputError
        If there is no image, one cannot be read, `shape` is none of an image, or a class is not among `classes`.
    """
    if shape is not None and (len(shape) != 3 or shape[0] not in (1, 3)):
        raise InputError(f"{path}: expected image_shape as (1 or 3 channels, height, width), found {tuple(shape)}")
    here = [p.name for p in _visible(path) if p.is_dir()]
    if len(here) > 1 and PARTS[0] in here and set(here) <= {*PARTS, *OTHER_PARTS} and set(here) != set(PARTS):
        raise InputError(
            f"{path}: expected folders train and test, or one for each class, found {', '.join(here)}; what is to be "
            "test? Name it so, and move the others"
        )
    parts = [path / part for part in PARTS] if set(here) == set(PARTS) else [path]
    listed = [list(_listed(part)) for part in parts]
    for part, files in zip(parts, listed, strict=True):
        if not files:
            kinds = ", ".join(sorted({p.suffix or "no suffix" for p in _visible(part) if p.is_file()}))
            raise InputError(
                f"{part}: expected images ({' '.join(SUFFIXES)}), in a subfolder for each class, found "
                f"{f'files of kind {kinds}' if kinds else 'none'}"
            )
    if classes is None:
        found = {name for files in listed for _, name in files if name is not None}
        numbers = all(name.isdecimal() for name in found)
        classes = sorted(found, key=int if numbers else None)  # pyright: ignore[reportArgumentType]
    every = [file for files in listed for file, _ in files]
    images = _read(every, shape)
    result: dict[str, Any] = {"classes": tuple(classes)}
    start = 0
    for part, files, end in zip(parts, listed, ("", "_test"), strict=False):
        result[f"X{end}"] = images[start : start + len(files)]
        result[f"y{end}"] = _labels(part, [name for _, name in files], classes)
        result[f"files{end}"] = tuple(str(file.relative_to(path)) for file, _ in files)
        start += len(files)
    return result


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror or error}); check its permissions") from error


def _listed(folder: Path) -> Iterator[tuple[Path, str | None]]:
    """Every image with the name of its class, if it has one."""
    for p in _visible(folder):
        if p.is_dir():
            name = None if p.name.casefold() in NO_CLASS else p.name
            yield from ((file, name) for file in _below(p))
        elif p.suffix.casefold() in SUFFIXES:
            yield p, None


def _below(folder: Path) -> Iterator[Path]:
    for p in _visible(folder):
        if p.is_dir() and not p.is_symlink():
            yield from _below(p)
        elif p.suffix.casefold() in SUFFIXES:
            yield p


def _labels(folder: Path, names: list[str | None], classes: Sequence[str]) -> np.ndarray | None:
    """The numbers of the classes, -1 where there is none; None if no image has one."""
    place = {name: k for k, name in enumerate(classes)}
    if len(classes) and (new := sorted({name for name in names if name is not None and name not in place})):
        raise InputError(f"{folder}: expected the classes {', '.join(classes)}, found {', '.join(new)}")
    known = len(classes) and any(name is not None for name in names)
    return np.array([-1 if name is None else place[name] for name in names]) if known else None


def _read(files: list[Path], shape: Sequence[int] | None) -> np.ndarray:
    """All images, shape (n, channels, height, width), uint8."""
    with ThreadPoolExecutor() as pool:
        looks = list(pool.map(_look, files)) if shape is None else []
        sizes, grey = {size for size, _ in looks}, all(g for _, g in looks)
        height, width = USUAL, USUAL
        if shape is not None:
            channels, height, width = shape
        else:
            channels = 1 if grey else 3
            if len(sizes) == 1 and max(max(size) for size in sizes) <= LARGEST:
                ((width, height),) = sizes
        found = np.empty((len(files), channels, height, width), np.uint8)

        def put(k: int) -> None:
            found[k] = _image(files[k], channels, height, width)

        console = Console(stderr=True)
        seen = pool.map(put, range(len(files)))
        for _ in track(seen, "images", len(files), console=console, transient=True, disable=not console.is_terminal):
            pass
    same = shape is None and channels == 3 and (found[:, :1] == found).all()
    return found[:, :1].copy() if same else found


@contextmanager
def open_image(file: Path) -> Iterator[Image.Image]:
    """Open an image; errors while it is read in the block are `InputError`s that name the file."""
    try:
        with Image.open(file) as image:
            yield image
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{file}: expected an image, cannot read it ({error}); mend it or take it away") from error


def _look(file: Path) -> tuple[tuple[int, int], bool]:
    """The (width, height) of an image as it is shown, and whether it is grey."""
    with open_image(file) as image:
        turned = image.getexif().get(0x0112, 1) >= 5
        return (image.height, image.width) if turned else (image.width, image.height), image.mode in GREY


def _image(file: Path, channels: int, height: int, width: int) -> np.ndarray:
    """An image as `(channels, height, width)`, uint8."""
    with open_image(file) as opened:
        opened.draft(
            opened.mode, (2 * max(height, width), 2 * max(height, width))
        )  # a large JPEG is decoded no larger than needed
        image = ImageOps.exif_transpose(opened)
        if image.mode.startswith("I"):
            image = Image.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8))
        elif image.mode == "F":
            raise ValueError("its numbers have a point, and their range is not known")
        elif image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = _fitted(image, width, height)
    pixels = np.asarray(image)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _fitted(image: Image.Image, width: int, height: int) -> Image.Image:
    """An image in another size: as much as fits, in the middle of the colour of its edge."""
    pixels = np.asarray(image)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    colour = tuple(np.atleast_1d(np.median(edge, 0)).astype(int).tolist())
    return ImageOps.pad(image, (width, height), Image.Resampling.LANCZOS, colour)
