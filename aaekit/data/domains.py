"""Sets of images joined into one: of one size, with as many channels, and with a domain for each row."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from aaekit.data.checks import blocks
from aaekit.errors import InputError

if TYPE_CHECKING:
    from aaekit.data.dataset import Dataset

TIGHT = 20  # frames below this many pixels a side are filled by their digit; larger ones have a margin
SCAN = 20 / 28  # the share of a row of MNIST that the box of a digit takes
INK = 0.2, 0.8  # what becomes black and white: interpolation blurs the strokes of 8x8 digits


def check_same_classes(classes: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return the class names that sets, by name, have in common, or refuse them; none where there is no set."""
    first, *others = classes or [""]
    for other in others:
        if classes[other] != classes[first]:
            raise InputError(
                f"{first}+{other}: expected sets of the same classes to join, found {', '.join(classes[first])} "
                f"and {', '.join(classes[other])}"
            )
    return classes.get(first, ())


def join(sets: Sequence["Dataset"]) -> dict[str, Any]:
    """Return the fields of one set made of several; the domain of a row is the place of its set among them."""
    name, domains = "+".join(one.name for one in sets), tuple(one.name for one in sets)
    if len(set(domains)) < len(domains):
        raise InputError(
            f"{name}: expected sets of different names to join, found {max(domains, key=domains.count)} twice"
        )
    for one in sets:
        if one.X.ndim != 4:
            raise InputError(f"{one.name}: expected images to join, found a table of shape {one.X.shape}")
        if one.domains:
            raise InputError(f"{one.name}: expected a set of one domain to join, found {' and '.join(one.domains)}")
    classes = check_same_classes({one.name: one.classes for one in sets if one.y is not None})
    shape: Any = tuple(max(one.X.shape[axis] for one in sets) for axis in (1, 2, 3))
    X, y, domain = _stacked([(one.name, one.X, one.y) for one in sets], shape)
    X_test, y_test, domain_test = _stacked([(one.name, one.X_test, one.y_test) for one in sets], shape)
    return {
        **{"name": name, "X": X, "y": y, "X_test": X_test, "y_test": y_test, "classes": classes},
        **{"source": "; ".join(one.source for one in sets)},
        **{"domain": domain, "domain_test": domain_test, "domains": domains},
    }


def _stacked(
    parts: Sequence[tuple[str, np.ndarray | None, np.ndarray | None]], shape: tuple[int, int, int]
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Put rows and labels of parts (name, X, y) below each other, with the number of their part; -1 for no label."""
    present = [(k, name, X, y) for k, (name, X, y) in enumerate(parts) if X is not None]
    if not present:
        return None, None, None
    domain = np.repeat([k for k, *_ in present], [len(X) for _, _, X, _ in present])
    labels = [np.full(len(X), -1) if y is None else y for _, _, X, y in present]
    known = any(y is not None for *_, y in present)
    rows = np.concatenate([same_shape(X, shape, name) for _, name, X, _ in present])
    return rows, np.concatenate(labels) if known else None, domain


def same_shape(X: np.ndarray, shape: tuple[int, int, int], name: str) -> np.ndarray:
    """Return images (n, channels, height, width) as uint8 of at least their size, (n, *shape).

    Smaller images are enlarged by bicubic interpolation, as much as fits, and lie on black. Digits that fill a frame
    below 20 pixels (8x8, 16x16) and come to one above are made scans like MNIST's: the frame goes into the middle
    20/28ths, the contrast of the strokes is raised, and the centre of mass goes into the middle. Grey is repeated in
    every channel.
    """
    channels, height, width = X.shape[1:]
    if channels not in (1, shape[0]):
        raise InputError(f"{name}: expected 1 or {shape[0]} channels to join it, found {channels}; convert its images")
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
    from PIL import Image

    unit = Image.fromarray(np.eye(size + 2 * margin, size, -margin, dtype=np.float32))
    new = max(1, round((size + 2 * margin) * factor))
    return np.asarray(unit.resize((size, new), Image.Resampling.BICUBIC))


def _centred(X: np.ndarray) -> np.ndarray:
    """Shift each image so that its centre of mass is in the middle, as far as its ink stays within the frame."""
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
