"""Which rows are labelled, unlabelled and validation: seeded, class-balanced, drawn from the training rows alone."""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aaekit.data.checks import check_labels, check_whole
from aaekit.data.store import why, write_npz
from aaekit.errors import InputError

PARTS = ("labelled", "unlabelled", "validation")


@dataclass(frozen=True, eq=False)
class Split:
    """Indices of training rows, each array sorted, int64.

    Parameters
    ----------
    labelled : ndarray of shape (n_labelled,)
        Rows whose label may be used.
    unlabelled : ndarray of shape (n_unlabelled,)
        Every row that is not validation. The labelled rows are among them: a labelled image is also an image.
    validation : ndarray of shape (n_validation,)
        Rows that are never trained on.
    random_state : int
        The seed it was drawn with.
    """

    labelled: np.ndarray
    unlabelled: np.ndarray
    validation: np.ndarray
    random_state: int = 0

    def masked(self, y: np.ndarray) -> np.ndarray:
        """Return `y` of shape (n,) with -1 wherever a row is not labelled, validation rows included."""
        check_labels(y, len(self.unlabelled) + len(self.validation))
        hidden = np.full(len(y), -1, dtype=np.int64)
        hidden[self.labelled] = y[self.labelled]
        return hidden

    def save(self, path: str | Path) -> None:
        """Write to a .npz, whole or not at all; `InputError` if it cannot be written."""
        write_npz(
            Path(path),
            labelled=self.labelled,
            unlabelled=self.unlabelled,
            validation=self.validation,
            random_state=np.array(self.random_state),
        )

    @classmethod
    def read(cls, path: str | Path) -> "Split":
        """Read what `save` wrote; `InputError` if the file is missing, damaged or describes no split."""
        try:
            with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as arrays:
                parts = [arrays[key].astype(np.int64, casting="safe") for key in PARTS]
                random_state = int(arrays["random_state"])
        except FileNotFoundError:
            raise InputError(f"{path}: no such file; write it by `aae data prepare`") from None
        except (OSError, EOFError, ValueError, TypeError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise InputError(f"{path}: expected a split written by `aae data prepare`, found ({why(error)})") from error
        labelled, unlabelled, validation = parts
        rows = np.sort(np.concatenate([unlabelled, validation])) if all(p.ndim == 1 for p in parts) else np.array([-1])
        if not np.array_equal(rows, np.arange(len(rows))) or not np.isin(labelled, unlabelled).all():
            raise InputError(f"{path}: expected disjoint rows 0..n-1, labelled among unlabelled; write the split anew")
        return cls(labelled, unlabelled, validation, random_state)


def split(y: np.ndarray, labels: int | None, validation: int = 0, random_state: int = 0) -> Split:
    """Choose labelled and validation rows.

    The labelled rows are balanced: ``labels // n_classes`` of each class, the remainder from classes drawn at random;
    what a class with too few rows cannot give is spread over the others. They depend on `labels` and `random_state`
    alone, not on `validation`. The validation rows are stratified: each class has its share of them.

    Parameters
    ----------
    y : ndarray of shape (n,)
        Labels of the training rows, integers from 0; -1 where there is none.
    labels : int or None
        How many rows are labelled; None for all that have a label and are not validation.
    validation : int, default=0
        How many rows with a label are kept for validation; at least one row of each class is always left.
    random_state : int, default=0
        Seed.

    Returns
    -------
    Split

    Raises
    ------
    InputError
        If `y` is not one-dimensional, not integer, has labels below -1 or a single class, or if the rows asked for are
        fewer than the classes or more than there are.
    """
    y = np.asarray(y)
    check_labels(y, y.shape[0] if y.ndim else 0)
    known = np.flatnonzero(y >= 0)
    if 0 < len(known) < len(y):
        drawn = split(y[known], labels, validation, random_state)
        apart = known[drawn.validation]
        return Split(known[drawn.labelled], np.setdiff1d(np.arange(len(y)), apart), apart, drawn.random_state)
    labels = None if labels is None else check_whole(labels, 1, "labels")
    validation = check_whole(validation, 0, "validation")
    random_state = check_whole(random_state, 0, "random_state")
    classes, codes, available = np.unique(y, return_inverse=True, return_counts=True)
    n, n_classes = len(y), len(available)
    if n_classes < 2:
        found = f"-1 (unlabelled) in all {n}" if -1 in classes else f"{n_classes} in {n}"
        raise InputError(f"y: expected at least two classes, found {found} rows")
    if labels is not None and labels < n_classes:
        raise InputError(f"labels: expected at least one per class, {n_classes}, found {labels}")
    if labels is not None and labels > n:
        raise InputError(f"labels: expected at most {n}, the number of rows with a label, found {labels}")
    kept = n_classes if labels is None else labels
    if kept + validation > n:
        raise InputError(
            f"validation: expected at most {n - kept} ({n} rows with a label less {kept} to learn from), "
            f"found {validation}"
        )
    rng = np.random.default_rng(random_state)
    shuffled = rng.permutation(n)
    pools = [shuffled[codes[shuffled] == k] for k in range(n_classes)]
    shares = _even(available, kept, rng)
    held = _proportional(available - shares, validation, rng)
    picked = np.concatenate([pool[:share] for pool, share in zip(pools, shares, strict=True)])
    apart = np.concatenate([pool[s : s + v] for pool, s, v in zip(pools, shares, held, strict=True)])
    unlabelled = np.setdiff1d(np.arange(n), apart)
    return Split(unlabelled if labels is None else np.sort(picked), unlabelled, np.sort(apart), int(random_state))


def _even(available: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Share `count` evenly among classes, what some cannot give spread over the others."""
    shares = np.zeros_like(available)
    room = np.arange(len(available))
    while each := count // len(room):  # the classes with room left stay level
        given = np.minimum(each, available[room] - shares[room])
        shares[room] += given
        count -= int(given.sum())
        room = np.flatnonzero(shares < available)
        if not len(room):
            break
    shares[rng.permutation(room)[:count]] += 1
    return shares


def _proportional(available: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Share `count` in proportion to `available`: whole parts, then the largest remainders, ties at random."""
    if count == 0:
        return np.zeros_like(available)
    shares, remainders = np.divmod(available * count, available.sum())
    order = np.lexsort((rng.random(len(available)), -remainders))
    shares[order[: count - shares.sum()]] += 1
    return shares
