"""Join sets of images into one: with one size, one number of channels, and a domain for each row."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aaekit._extras import require
from aaekit.data.checks import blocks
from aaekit.data.dataset import Dataset
from aaekit.data.splits import Split, split_with_validation
from aaekit.errors import InputError, listed
from aaekit.labels import UNLABELLED

TIGHT = 20  # digits fill frames of less than this many pixels a side; larger frames have a margin
SCAN = 20 / 28  # the share of an image of MNIST that the box of a digit takes
INK = 0.2, 0.8  # values that become black and white: interpolation blurs the strokes of 8x8 digits


def check_same_classes(classes: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return the classes that all sets have, by name of the set; refuse sets with different classes."""
    first, *others = classes or [""]
    for other in others:
        if classes[other] != classes[first]:
            raise InputError(
                f"{first}+{other}: expected sets of the same classes to join, got {listed(classes[first])} "
                f"and {listed(classes[other])}"
            )
    return classes.get(first, ())


def join(sets: Sequence[Dataset]) -> Dataset:
    """Return several sets as one; the domain of a row is the index of its set."""
    names = tuple(part.name for part in sets)
    name = "+".join(names)
    if len(set(names)) < len(names):
        raise InputError(f"{name}: expected sets of different names to join, got {max(names, key=names.count)} twice")
    for part in sets:
        if (part.X if part.originals is None else part.originals).ndim != 4:
            raise InputError(f"{part.name}: expected images to join, got a table of shape {part.X.shape}")
        if part.domains:
            raise InputError(f"{part.name}: expected a set of one domain to join, got {' and '.join(part.domains)}")
    if any(part.features is not None for part in sets):
        return _joined_features(sets)
    classes = check_same_classes({part.name: part.classes for part in sets if part.y is not None})
    channels, height, width = (max(part.X.shape[axis] for part in sets) for axis in (1, 2, 3))
    X, y, domain = _stacked([(part.X, part.y) for part in sets], (channels, height, width), names)
    held_out = [(part.X_test, part.y_test) for part in sets]
    X_test = y_test = domain_test = None
    if any(X is not None for X, _ in held_out):
        X_test, y_test, domain_test = _stacked(held_out, (channels, height, width), names)
    source = "; ".join(part.source for part in sets)
    chosen = _joined_split(sets) if any(part.split is not None for part in sets) else None
    return Dataset(name, X, y, X_test, y_test, classes, source, domain, domain_test, names, chosen)


def _joined_features(sets: Sequence[Dataset]) -> Dataset:
    """Sets of features of images as one, which has the joined pictures beside them."""
    pictures: list[Any] = [replace(part, X=part.originals, X_test=part.originals_test, features=None) for part in sets]
    joined, tests = join(pictures), [part.X_test for part in sets if part.X_test is not None]
    return replace(
        joined,
        X=np.concatenate([part.X for part in sets]),
        X_test=np.concatenate(tests) if tests else None,
        originals=joined.X,
        originals_test=joined.X_test,
        features=sets[0].features,
        checksum=sets[0].checksum,
    )


def _joined_split(sets: Sequence[Dataset]) -> Split:
    """The splits of sets as one; of those that have none, all rows are trained on."""
    parts, start = [], 0
    for data in sets:
        nothing = np.zeros(len(data.X), bool)
        own = data.split or split_with_validation(data.y, nothing)
        parts.append([rows + start for rows in (own.labelled, own.unlabelled, own.validation)])
        start += len(data.X)
    labelled, unlabelled, validation = (np.concatenate(rows) for rows in zip(*parts, strict=True))
    return Split(labelled, unlabelled, validation)


def _stacked(
    parts: Sequence[tuple[NDArray[Any] | None, NDArray[np.int64] | None]],
    shape: tuple[int, int, int],
    names: Sequence[str],
) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None, NDArray[np.int64]]:
    """Concatenate rows and labels of parts (X, y), with the index of the part of each row; -1 for no label."""
    present = [(k, X, y) for k, (X, y) in enumerate(parts) if X is not None]
    domain = np.repeat([k for k, *_ in present], [len(X) for _, X, _ in present])
    X = np.concatenate([same_shape(X, shape, names[k]) for k, X, _ in present])
    if all(y is None for *_, y in present):
        return X, None, domain
    return X, np.concatenate([np.full(len(X), UNLABELLED) if y is None else y for _, X, y in present]), domain


def same_shape(X: NDArray[Any], shape: tuple[int, int, int], name: str) -> NDArray[np.uint8]:
    """Return images (n, channels, height, width) as uint8 of a larger or equal shape, (n, *shape).

    Smaller images are enlarged by bicubic interpolation to fit the frame, on a black background. Digits that fill a
    frame of less than 20 pixels (8x8, 16x16) and are enlarged beyond that become similar to MNIST's: the frame is
    scaled to the middle 20/28 of the image, the contrast of the strokes is raised, and the centre of mass is moved to
    the middle. Grey is repeated in each channel.
    """
    channels, height, width = X.shape[1:]
    if channels not in (1, shape[0]):
        raise InputError(f"{name}: expected 1 or {shape[0]} channels to join, got {channels}: convert the images")
    tight = channels == 1 and max(height, width) < TIGHT <= min(shape[1:])
    factor = min(shape[1] / height, shape[2] / width) * (SCAN if tight else 1)
    rows, columns = (_interpolation(size, factor, int(tight)) for size in (height, width))
    top, left = (shape[1] - len(rows)) // 2, (shape[2] - len(columns)) // 2
    low, high = INK if tight else (0, 1)
    out = np.zeros((len(X), *shape), dtype=np.uint8)
    for start, block in blocks(X):
        image = block * np.float32(1 / 255 if X.dtype == np.uint8 else 1)
        if len(rows) != height or len(columns) != width:
            image = (rows @ image @ columns.T - low) / (high - low)
        image = np.rint(image.clip(0, 1) * 255).astype(np.uint8)
        out[start : start + len(block), :, top : top + len(rows), left : left + len(columns)] = image
    return _centred(out) if tight else out


def _interpolation(size: int, factor: float, margin: int) -> np.ndarray:
    """Return Pillow's bicubic interpolation along one axis, (new, size), with `margin` black pixels at both ends."""
    require("PIL", extra="data")
    from PIL import Image

    unit = Image.fromarray(np.eye(size + 2 * margin, size, -margin, dtype=np.float32))
    new = max(1, round((size + 2 * margin) * factor))
    return np.asarray(unit.resize((size, new), Image.Resampling.BICUBIC))


def _centred(X: np.ndarray) -> np.ndarray:
    """Shift each image so that its centre of mass is in the middle, without moving ink out of the frame."""
    shifts = []
    for axis in (2, 1):
        profile = X[:, 0].sum(axis=axis, dtype=np.float32)
        size, inked = profile.shape[1], profile > 0
        mean = profile @ np.arange(size) / np.maximum(profile.sum(axis=1), 1)
        first, last = inked.argmax(axis=1), size - 1 - inked[:, ::-1].argmax(axis=1)
        shifts.append(np.clip(np.rint(size // 2 - mean).astype(int), -first, size - 1 - last))
    by_row = np.stack(shifts, axis=1)
    out = np.empty_like(X)
    for shift in np.unique(by_row, axis=0):
        rows = (by_row == shift).all(axis=1)
        out[rows] = np.roll(X[rows], tuple(shift), axis=(2, 3))
    return out
