"""Which training rows are labelled, unlabelled or for validation: drawn at random from a seed, class by class."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aaekit.data.checks import check_whole
from aaekit.data.store import read_npz, write_npz
from aaekit.errors import InputError, nearest
from aaekit.labels import UNLABELLED, split_labels

Draw = Literal["balanced", "proportional"]  # how many of the labelled rows are of each class
PARTS = ("labelled", "unlabelled", "validation")


@dataclass(frozen=True, eq=False)
class Split:
    """Indices of training rows; each array is sorted, int64.

    Parameters
    ----------
    labelled : ndarray of shape (n_labelled,)
        Rows whose labels are used.
    unlabelled : ndarray of shape (n_unlabelled,)
        All rows that are not for validation. The labelled rows are among them, because they train without their labels,
        too.
    validation : ndarray of shape (n_validation,)
        Rows that are never trained on.
    random_state : int, default=0
        The seed of the split.
    """

    labelled: NDArray[np.int64]
    unlabelled: NDArray[np.int64]
    validation: NDArray[np.int64]
    random_state: int = 0

    def masked(self, y: ArrayLike) -> NDArray[Any]:
        """Return labels of shape (n,), -1 in rows that are not labelled; an array of objects if labels are texts."""
        labels, _ = split_labels(y)
        n = len(self.unlabelled) + len(self.validation)
        if len(labels) != n:
            raise InputError(f"y: expected one label per row of the split, shape ({n},), got shape {labels.shape}")
        dtype = np.result_type(labels, np.int64) if labels.dtype.kind in "iuf" else object
        masked = np.full(n, UNLABELLED, dtype)
        masked[self.labelled] = labels[self.labelled]
        return masked

    def save(self, path: str | Path) -> None:
        """Write the split to a .npz atomically; raises `InputError` if it cannot be written."""
        write_npz(
            Path(path),
            labelled=self.labelled,
            unlabelled=self.unlabelled,
            validation=self.validation,
            random_state=np.array(self.random_state),
        )

    @classmethod
    def read(cls, path: str | Path) -> "Split":
        """Read a file of `save`; raises `InputError` if it is missing or damaged, or if it holds no split."""
        try:
            arrays = read_npz(Path(path), (*PARTS, "random_state"))
            parts = [arrays[key].astype(np.int64, casting="safe") for key in PARTS]
            random_state = int(arrays["random_state"])
        except FileNotFoundError:
            raise InputError(f"{path}: expected a split, got no such file: write it by `aae data prepare`") from None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"{path}: expected a split, got ({error}): write it again by `aae data prepare`"
            ) from error
        labelled, unlabelled, validation = parts
        rows = np.sort(np.concatenate([unlabelled, validation])) if all(p.ndim == 1 for p in parts) else np.array([-1])
        if not np.array_equal(rows, np.arange(len(rows))) or not np.isin(labelled, unlabelled).all():
            raise InputError(
                f"{path}: expected a split of rows 0..n-1 into unlabelled and validation, with labelled rows among the "
                "unlabelled, got other rows: write it again by `aae data prepare`"
            )
        return cls(labelled, unlabelled, validation, random_state)


def split(
    y: ArrayLike, labels: int | None, validation: int = 0, random_state: int = 0, draw: Draw = "balanced"
) -> Split:
    """Choose labelled rows and validation rows.

    Balanced labelled rows are ``labels // n_classes`` of each class, and the remainder from classes drawn at random. If
    a class has too few rows, the other classes have more. Proportional ones are of the classes as these are frequent in
    `y`, but at least one of each class. The choice depends on `labels`, `draw` and `random_state`, but not on
    `validation`. The validation rows are stratified: each class is represented in proportion.

    Parameters
    ----------
    y : array-like of shape (n,)
        Labels of the training rows; -1, None or NaN in unlabelled rows (see `aaekit.labels`).
    labels : int or None
        Number of labelled rows; None for all rows that have a label and are not for validation.
    validation : int, default=0
        Number of rows for validation, all with labels; at least one row of each class is always left.
    random_state : int, default=0
        Seed.
    draw : "balanced" or "proportional", default="balanced"
        How many of the labelled rows are of each class.

    Returns
    -------
    Split

    Raises
    ------
    InputError
        If `y` is not one-dimensional or has fewer than two classes, or if more rows are asked for than there are, or
        fewer than there are classes, or for another `draw`.
    """
    names, has_label = split_labels(y)
    labels = None if labels is None else check_whole(labels, 1, "labels")
    validation = check_whole(validation, 0, "validation")
    random_state = check_whole(random_state, 0, "random_state")
    if draw not in get_args(Draw):
        raise InputError(f"draw: expected 'balanced' or 'proportional', got {draw!r}{nearest(draw, get_args(Draw))}")
    rows = np.flatnonzero(has_label)
    classes, indices, n_available = np.unique(names[rows], return_inverse=True, return_counts=True)
    n_rows, n_classes = len(rows), len(classes)
    if n_classes < 2:
        got = f"{n_classes} in {n_rows} rows" if n_rows or not len(names) else f"none in all {len(names)} rows"
        raise InputError(f"y: expected labels of at least two classes, got {got}: label some rows of each class")
    if labels is not None and labels < n_classes:
        raise InputError(f"labels: expected at least {n_classes}, one per class, got {labels}")
    if labels is not None and labels > n_rows:
        raise InputError(f"labels: expected at most {n_rows}, the number of rows with a label, got {labels}")
    n_needed = n_classes if labels is None else labels
    if n_needed + validation > n_rows:
        raise InputError(
            f"validation: expected at most {n_rows - n_needed} ({n_rows} rows with a label less {n_needed} for "
            f"training), got {validation}"
        )
    rng = np.random.default_rng(random_state)
    shuffled = rng.permutation(n_rows)
    pools = [shuffled[indices[shuffled] == k] for k in range(n_classes)]
    n_labelled = (_even if draw == "balanced" or labels is None else _proportional_of_each)(n_available, n_needed, rng)
    n_validation = _proportional(n_available - n_labelled, validation, rng)
    counts = list(zip(pools, n_labelled, n_validation, strict=True))
    held_out = rows[np.concatenate([pool[n : n + v] for pool, n, v in counts])]
    chosen = (
        np.setdiff1d(rows, held_out) if labels is None else rows[np.concatenate([pool[:n] for pool, n, _ in counts])]
    )
    return Split(np.sort(chosen), np.setdiff1d(np.arange(len(names)), held_out), np.sort(held_out), random_state)


def split_with_validation(y: NDArray[np.int64] | None, is_validation: NDArray[np.bool_]) -> Split:
    """Return the split of a set that says which rows are for validation; all labels of the others are used."""
    is_labelled: NDArray[np.bool_] = np.zeros(len(is_validation), bool) if y is None else y != UNLABELLED
    labelled = np.flatnonzero(is_labelled & ~is_validation)
    return Split(labelled, np.flatnonzero(~is_validation), np.flatnonzero(is_validation))


def _even(n_available: NDArray[np.intp], count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Divide `count` evenly among classes; where a class has too few, the others get more."""
    shares = np.zeros_like(n_available)
    open_classes = np.arange(len(n_available))
    while each := count // len(open_classes):  # the classes with rows left stay level
        added = np.minimum(each, n_available[open_classes] - shares[open_classes])
        shares[open_classes] += added
        count -= int(added.sum())
        open_classes = np.flatnonzero(shares < n_available)
        if not len(open_classes):
            break
    shares[rng.permutation(open_classes)[:count]] += 1
    return shares


def _proportional(n_available: NDArray[np.intp], count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Divide `count` in proportion to `n_available`: whole parts, then the largest remainders, ties at random."""
    if count == 0:
        return np.zeros_like(n_available)
    shares, remainders = np.divmod(n_available * count, n_available.sum())
    order = np.lexsort((rng.random(len(n_available)), -remainders))
    shares[order[: count - shares.sum()]] += 1
    return shares


def _proportional_of_each(n_available: NDArray[np.intp], count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Divide `count` in proportion to `n_available`, with at least one for each class, at the cost of the largest."""
    shares = _proportional(n_available, count, rng)
    for k in np.flatnonzero(shares == 0):
        shares[k] += 1
        shares[shares.argmax()] -= 1
    return shares
