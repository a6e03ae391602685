"""Labels, and which rows have none: the one definition for estimators, metrics, splits, tables and figures.

A row is unlabelled if its label is -1, None, NaN or pandas' NA, or the text "-1" or an empty text: NumPy makes "-1" of
the number in an array of texts, and files have empty cells. A warning says how many rows are unlabelled by such a text.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aaekit.errors import InputError, UnlabelledWarning

UNLABELLED = -1
UNLABELLED_TEXTS = ("", "-1")  # without the space around them


def as_labels(y: ArrayLike) -> NDArray[Any]:
    """Return labels as an array in which no label has changed its type.

    NumPy makes texts of all values of a list that has texts in it, so that -1 becomes "-1" and NaN becomes "nan". Here
    such a list becomes an array of objects.

    Parameters
    ----------
    y : array-like
        Labels of any shape.

    Returns
    -------
    ndarray
        Of the shape of `y`.

    Raises
    ------
    InputError
        If `y` holds lists of different lengths.

    Examples
    --------
    >>> as_labels(["cat", -1])
    array(['cat', -1], dtype=object)
    """
    try:
        array = np.asarray(y)
    except ValueError as error:
        raise InputError("expected one label per row, got lists of different lengths: check y") from error
    if hasattr(y, "dtype") or array.dtype.kind not in "US":
        return array
    objects = np.array(y, dtype=object)
    return array if all(isinstance(value, (str, bytes)) for value in objects.flat) else objects


def split_labels(y: ArrayLike, name: str = "y") -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return labels as an array, and which of them are labels.

    Parameters
    ----------
    y : array-like of shape (n,)
        Numbers or texts; -1, None, NaN, pandas' NA or the texts "-1" and "" in unlabelled rows.
    name : str, default="y"
        What messages call `y`.

    Returns
    -------
    labels : ndarray of shape (n,)
        Numbers among objects, such as [0, None, 1], become an array of numbers; if there are unlabelled rows,
        whole numbers become integers, because pandas and NumPy make floats of integers beside NaN. Values in
        unlabelled rows are arbitrary.
    labelled : ndarray of shape (n,), bool
        Whether a row has a label.

    Raises
    ------
    InputError
        If `y` is not one-dimensional, holds infinity, or mixes texts and numbers, or if an array of texts holds "nan",
        which NumPy made of a missing label.

    Warns
    -----
    UnlabelledWarning
        If the label of some rows is "-1" or an empty text.

    Examples
    --------
    >>> split_labels(["cat", None, "dog"])[1]
    array([ True, False,  True])
    """
    labels = values = as_labels(y)
    if labels.ndim != 1:
        raise InputError(f"{name}: expected one label per row, shape (n,), got shape {labels.shape}: flatten it")
    kind = labels.dtype.kind
    if kind == "O":
        labelled = np.array([not _is_missing(value) for value in labels], dtype=bool)
        labels = _as_numbers(labels, labelled, name)
    elif kind in "ifc":
        labelled = ~np.isnan(labels) & (labels != UNLABELLED)
    else:
        labelled = np.array([not _is_missing(value) for value in labels.tolist()], dtype=bool)
        if kind == "U" and hasattr(y, "dtype"):
            _refuse_text_of_nan(labels, name)
    _warn_of_texts(values[~labelled], len(values), name)
    if labels.dtype.kind in "fc" and (n_infinite := int(np.isinf(labels).sum())):
        raise InputError(
            f"{name}: expected finite labels, got infinity in {n_infinite} of {len(labels)} rows: mark unlabelled rows "
            "by -1, None or NaN"
        )
    if labels.dtype.kind == "f" and not labelled.all() and (labels[labelled] == np.rint(labels[labelled])).all():
        labels = np.where(labelled, labels, UNLABELLED).astype(np.int64)
    return labels, labelled


def labelled_mask(y: ArrayLike, name: str = "y") -> NDArray[np.bool_]:
    """Return whether each row has a label, shape (n,); parameters and errors are those of `split_labels`."""
    return split_labels(y, name)[1]


def as_integers(labels: NDArray[Any], labelled: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Labels `(n,)` that are integers where `labelled`, of any type of integers, and -1 elsewhere."""
    integers = np.full(len(labels), UNLABELLED, np.int64)
    integers[labelled] = labels[labelled]
    return integers


def label_indices(y: ArrayLike, classes: ArrayLike | Sequence[Any], name: str = "y") -> NDArray[np.int64]:
    """Return the index of each label in `classes`, and -1 in unlabelled rows.

    Parameters
    ----------
    y : array-like of shape (n,)
        As in `split_labels`.
    classes : array-like of shape (n_classes,)
        Every label that there may be, each once, in any order.
    name : str, default="y"
        What messages call `y`.

    Returns
    -------
    ndarray of shape (n,), int64

    Raises
    ------
    InputError
        For a label that is not in `classes`, and as in `split_labels`.

    Examples
    --------
    >>> label_indices(["b", None, "a"], ["a", "b"])
    array([ 1, -1,  0])
    """
    labels, labelled = split_labels(y, name)
    class_list = as_labels(classes).tolist()
    index = {label: k for k, label in enumerate(class_list)}
    present = labels[labelled].tolist()
    if unknown := list(dict.fromkeys(label for label in present if label not in index)):
        raise InputError(f"{name}: expected labels of the classes {class_list}, got {unknown[:5]}")
    indices = np.full(len(labels), UNLABELLED, dtype=np.int64)
    indices[labelled] = [index[label] for label in present]
    return indices


def _is_missing(value: object) -> bool:
    """Whether an object says "unlabelled"."""
    if value is None:
        return True
    if isinstance(value, (str, bytes)):
        return _is_unlabelled_text(value)
    try:
        return bool(value != value) or bool(value == UNLABELLED)
    except (TypeError, ValueError):  # pandas' NA is neither equal nor unequal to anything
        return True


def _as_numbers(labels: NDArray[np.object_], labelled: NDArray[np.bool_], name: str) -> NDArray[Any]:
    """Return objects as an array of numbers if all labels among them are numbers, else as they are."""
    present = labels[labelled].tolist()
    if len({isinstance(value, (str, bytes)) for value in present}) > 1:
        raise InputError(f"{name}: expected labels that are all texts or all numbers, got both: convert them")
    if not present or not all(isinstance(value, (int, float, np.number, np.bool_)) for value in present):
        return labels
    numbers = np.array(present)
    dtype = np.result_type(numbers, np.int64)  # bool and uint8 cannot hold -1
    result = np.full(len(labels), UNLABELLED if dtype.kind == "i" else np.nan, dtype)
    result[labelled] = numbers
    return result


def _is_unlabelled_text(value: object) -> bool:
    """Whether a text says "unlabelled"."""
    text = value.decode(errors="replace") if isinstance(value, bytes) else value
    return isinstance(text, str) and text.strip() in UNLABELLED_TEXTS


def _refuse_text_of_nan(texts: NDArray[np.str_], name: str) -> None:
    """Refuse "nan", because `np.array(["cat", np.nan])` holds it, too."""
    if (texts == "nan").any():
        raise InputError(
            f"{name}: expected None or -1 in unlabelled rows, got the text 'nan' in an array of texts: pass a list, or "
            "an array of objects"
        )


def _warn_of_texts(unlabelled: NDArray[Any], n: int, name: str) -> None:
    """Say how many of `n` rows are unlabelled by a text."""
    texts = [value for value in unlabelled.tolist() if _is_unlabelled_text(value)]
    if texts:
        warnings.warn(
            f"{name}: expected None or -1 in unlabelled rows, got the text {texts[0]!r} in {len(texts)} of {n} "
            "rows: they are read as unlabelled; rename the class if it is one",
            UnlabelledWarning,
            stacklevel=3,
        )
