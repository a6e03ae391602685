"""Folders of image files, with a subfolder for each class."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aaekit._extras import require
from aaekit._files import shown, whole_number
from aaekit.data.encoding import PICTURE, ImageFiles
from aaekit.data.images import MAX_PIXELS, SUFFIXES, Item, grouped, read_images
from aaekit.data.splits import split_with_validation
from aaekit.encoders import Encoder, encoded
from aaekit.errors import InputError, listed
from aaekit.labels import UNLABELLED

PARTS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}  # of a set, by the names of their folders
NO_CLASS = ("unlabelled", "unlabeled")
IMAGES = ("images", "image", "imgs", "img")
MASKS = ("masks", "mask", "annotations", "segmentations", "segmentation", "ground_truth", "groundtruth", "gt")
MASK = re.compile(
    r"(.+?)[-_. ](mask|masks|seg|segmentation|gt|groundtruth|ground_truth|annotation)s?([-_ ]?\d+)?$", re.I
)
OPTIONS = ("masks", "class_from")

LeftOut = list[tuple[str, str]]  # names and reasons


def read_folder(
    path: Path,
    shape: Sequence[int] | None = None,
    classes: Sequence[str] | None = None,
    masks: str | None = None,
    class_from: str | None = None,
    bits: int | None = None,
    max_pixels: int = MAX_PIXELS,
    damaged: str = "refuse",
    encoder: Encoder | None = None,
    memory_limit_bytes: int | None = None,
    cache_dir: str | Path | None = None,
) -> dict[str, Any]:
    """Read the images of a folder (PNG, JPEG, BMP, GIF, TIFF, WebP, PBM, PGM, PPM, HEIC, AVIF), in the order of paths.

    Each subfolder is a class; images in the folder itself, or in a subfolder "unlabelled", have no label. If the
    subfolders are "train" and "test" or "val" (or "valid", "validation", "dev"), each of them is such a folder. Names
    that begin with a dot are ignored. All other files that are no rows are named with the reason.

    Images that all have one size of up to 64 pixels a side keep it; others are resized to 64x64 (32x32 if at least half
    of them have less than 64 pixels on their longer side), or to the size in
    `shape`: the image is fitted into the frame, and the rest takes the colour of its edge. Images are grey if all of
    them are. They are turned by their EXIF orientation. Transparent images are put on white, or on black if they are
    white. Of a file with several pages the first is read.

    Parameters
    ----------
    path : Path
        The folder.
    shape : (channels, height, width), optional
        Shape of the images that are returned: 1 channel for grey, 3 for colours.
    classes : sequence of str, optional
        The names of the labels 0, 1, ...; if it is empty, labels are not read. Default: the names of the subfolders,
        sorted, numbers by their value.
    masks : "skip" or "read", optional
        Whether masks beside images, such as a_mask.png beside a.png or a folder masks beside images, are left out or
        are images like others. Default: they are refused.
    class_from : "first" or "last", optional
        Of folders in folders, whether the class is the name of the first or of the last. Default: they are refused.
    bits : 8, 10, 12, 14 or 16, optional
        The bits that images in files of 16 bits fill. Default: as few as hold the largest value of all files.
    max_pixels : int, default=64,000,000
        Images of more pixels are not read.
    damaged : "refuse" or "skip", default="refuse"
        What becomes of images that cannot be read.
    encoder : Encoder, optional
        X are its features of the images in their own size, beside pictures of 64x64 as originals.
    memory_limit_bytes : int, optional
        Images that take more bytes are decoded once, into a memory-mapped file. Default: 4 GiB, or a quarter of the
        memory if that is less.
    cache_dir : str or Path, optional
        Folder of these files. Default: ``images`` in the user's cache folder.

    Returns
    -------
    dict
        X (n, channels, height, width) uint8, y (n,) int64 or None, classes, files, their paths in the folder, and
        pictures; of "test" likewise X_test, y_test and files_test; with "val", split. With `encoder`, X (n, n_features)
        and X_test are float32, and there are features, checksum, originals and originals_test.

    Raises
    ------
    InputError
        If there is no image, images cannot be read (all of them are named), `shape` is not the shape of an image, a
        class is not among `classes`, or there are masks or folders in folders and nothing says what they mean.

    Warns
    -----
    ImageWarning
        If files are left out, or images are not read as one may expect.
    """
    require("PIL", extra="data")
    for name, value, allowed in (("masks", masks, ("skip", "read")), ("class_from", class_from, ("first", "last"))):
        if value not in (None, *allowed):
            raise InputError(f"{shown(path)}: expected {name}={allowed[0]} or {name}={allowed[1]}, got {value!r}")
    left_out: LeftOut = []
    by_part = {
        part: _without_masks(path, list(_files(folder, path, left_out)), masks, left_out)
        for part, folder in _parts(path, left_out).items()
    }
    if not any(by_part.values()):
        raise InputError(
            f"{shown(path)}: expected images ({' '.join(SUFFIXES)}) in a subfolder for each class, got "
            f"{grouped(left_out, 10) if left_out else 'none'}"
        )
    if classes is None or len(classes):
        _check_depth(path, by_part, class_from)
    items = {
        part: [
            Item(shown(file.relative_to(path)), file, names[-1 if class_from == "last" else 0] if names else None)
            for file, names in files
        ]
        for part, files in by_part.items()
    }
    options: dict[str, Any] = {"bits": bits, "max_pixels": max_pixels, "damaged": damaged}
    options |= {"memory_limit_bytes": memory_limit_bytes, "cache_dir": cache_dir}
    return dataset_fields(shown(path), items, shape, classes, left_out, options, encoder)


def dataset_fields(
    where: str,
    items: Mapping[str, Sequence[Item]],
    shape: Sequence[int] | None,
    classes: Sequence[str] | None,
    left_out: Sequence[tuple[str, str]],
    options: Mapping[str, Any],
    encoder: Encoder | None = None,
) -> dict[str, Any]:
    """Return the fields of a `Dataset` of images by part: "train", and perhaps "validation" and "test"."""
    if encoder is not None and shape is not None:
        raise InputError(f"{where}: expected image_shape or features, got both: leave image_shape out")
    items = dict(sorted(items.items(), key=lambda part: part[0] == "test"))  # a part is a slice, which copies nothing
    all_items = [item for part in items.values() for item in part]
    if classes is None:
        names = {item.label for item in all_items if item.label is not None}
        numbers = {name: whole_number(name) for name in names}
        classes = sorted(names) if None in numbers.values() else sorted(names, key=lambda name: (numbers[name], name))
    labels = _labels(where, all_items, classes)
    shape = shape if encoder is None else PICTURE
    images, good, pictures = read_images(where, all_items, shape, left_out=left_out, **options)
    part_of = np.repeat(list(items), [len(part) for part in items.values()])[good]
    files = np.array([item.name for item in all_items], object)[good]
    result: dict[str, Any] = {"classes": tuple(classes), "pictures": pictures}
    arrays: dict[str, NDArray[Any]] = {"X": images}
    if encoder is not None:
        readable = [item for item, ok in zip(all_items, good, strict=True) if ok]
        photos = ImageFiles(readable, pictures.bits, options.get("max_pixels", MAX_PIXELS))
        arrays = {"X": encoded(photos, encoder), "originals": images}
        result |= {"features": encoder.name, "checksum": encoder.checksum}
    n_train = int((part_of != "test").sum())
    for suffix, rows in (("", slice(n_train)), ("_test", slice(n_train, None))):
        if "test" in items or not suffix:
            y = None if labels is None else labels[good][rows]
            result |= {f"{key}{suffix}": array[rows] for key, array in arrays.items()}
            result |= {f"y{suffix}": y, f"files{suffix}": tuple(files[rows])}
    if "validation" in items:
        result["split"] = split_with_validation(result["y"], part_of[part_of != "test"] == "validation")
    return result


def _labels(where: str, items: Sequence[Item], classes: Sequence[str]) -> NDArray[np.int64] | None:
    """The indices of the classes, -1 in unlabelled rows; None if no image has a label."""
    index = {name: k for k, name in enumerate(classes)}
    names = [item.label for item in items]
    if len(classes) and (unknown := sorted({name for name in names if name is not None and name not in index})):
        raise InputError(f"{where}: expected the classes {', '.join(classes)}, got {listed(unknown)}")
    if not len(classes) or all(name is None for name in names):
        return None
    return np.array([UNLABELLED if name is None else index[name] for name in names], np.int64)


# --- what is in a folder ---------------------------------------------------------------------------------------------
def _parts(path: Path, left_out: LeftOut) -> dict[str, Path]:
    """The folders of the training, validation and test images, or the folder itself."""
    content = _visible(path)
    folders = [p for p in content if p.is_dir()]
    part_of = {p: part for p in folders for part, names in PARTS.items() if p.name.casefold() in names}
    parts = list(part_of.values())
    if len(parts) < 2 or len(parts) < len(folders) or "train" not in parts:
        return {"train": path}
    if len(set(parts)) < len(parts):
        names = ", ".join(shown(p.name) for p in folders)
        raise InputError(
            f"{shown(path)}: expected one folder for each part, got {names}: move the images of one of them"
        )
    left_out += [(shown(p.name), "beside folders of parts") for p in content if p not in part_of]
    return {part: next(p for p in folders if part_of[p] == part) for part in PARTS if part in parts}


def _visible(folder: Path) -> list[Path]:
    """The content of a folder, sorted, without names that begin with a dot."""
    try:
        return sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    except OSError as error:
        raise InputError(
            f"{shown(folder)}: expected a folder that can be read, got ({error.strerror or error}): check its "
            "permissions"
        ) from error


def _files(folder: Path, root: Path, left_out: LeftOut) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Yield each image file with the names of the folders that it is in, if they say its class."""
    for p in _visible(folder):
        if p.is_dir():
            files = list(_files_below(p, root, left_out))
            if not files:
                left_out.append((shown(p.relative_to(root)) + "/", "no image in it"))
            for file in files:
                names = tuple(map(shown, file.parent.relative_to(folder).parts))
                yield file, () if {names[0].casefold(), names[-1].casefold()} & set(NO_CLASS) else names
        elif _is_image(p, root, left_out):
            yield p, ()


def _files_below(folder: Path, root: Path, left_out: LeftOut) -> Iterator[Path]:
    """Yield each image file of a folder and its subfolders."""
    for p in _visible(folder):
        if p.is_dir() and p.is_symlink():
            left_out.append((shown(p.relative_to(root)), "a link to a folder"))
        elif p.is_dir():
            yield from _files_below(p, root, left_out)
        elif _is_image(p, root, left_out):
            yield p


def _is_image(path: Path, root: Path, left_out: LeftOut) -> bool:
    """Whether a file is one of an image by its name; else it is noted why it is left out."""
    if not path.is_file():
        reason = "a link to nothing" if path.is_symlink() else "no regular file"
    elif path.suffix.casefold() not in SUFFIXES:
        reason = "no name of an image"
    else:
        return True
    left_out.append((shown(path.relative_to(root)), reason))
    return False


def _without_masks(
    path: Path, files: list[tuple[Path, tuple[str, ...]]], masks: str | None, left_out: LeftOut
) -> list[tuple[Path, tuple[str, ...]]]:
    """The files that are no masks of others; refused if there are some and nothing says what they are."""
    if masks == "read":
        return files
    stems = {file.with_suffix("") for file, _ in files}
    folders = {file.parent for file, _ in files}
    beside = {folder.parent for folder in folders if folder.name.casefold() in IMAGES}
    of_masks = {folder for folder in folders if folder.name.casefold() in MASKS and folder.parent in beside}

    def is_mask(file: Path) -> bool:
        match = MASK.match(file.stem)
        return file.parent in of_masks or (match is not None and file.with_name(match[1]) in stems)

    mask_files = [file for file, _ in files if is_mask(file)]
    if mask_files and masks is None:
        raise InputError(
            f"{shown(path)}: expected images, got {len(mask_files)} that look like masks of others, such as "
            f"{shown(mask_files[0].relative_to(path))}: leave them out by masks=skip, or take them for images by "
            "masks=read (--data-options)"
        )
    left_out += [(shown(file.relative_to(path)), "a mask") for file in mask_files]
    gone = set(mask_files)
    return [pair for pair in files if pair[0] not in gone]


def _check_depth(
    path: Path, by_part: Mapping[str, Sequence[tuple[Path, tuple[str, ...]]]], class_from: str | None
) -> None:
    """Refuse folders in folders, unless it is said which one is the class."""
    deep = next((names for files in by_part.values() for _, names in files if len(names) > 1), None)
    if deep is not None and class_from is None:
        tops = {names[0] for files in by_part.values() for _, names in files if names}
        inner = f", or give the folder inside, {shown(path / deep[0])}" if len(tops) == 1 and len(by_part) == 1 else ""
        raise InputError(
            f"{shown(path)}: expected a folder of images for each class, got folders in folders, such as "
            f"{'/'.join(deep)}: choose by class_from=first (the class {deep[0]}) or class_from=last (the class "
            f"{deep[-1]}) (--data-options){inner}"
        )
