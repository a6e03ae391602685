"""Errors and warnings whose message is for the user: one line of the form `expected X, got Y: do Z`."""

from collections.abc import Iterable
from difflib import get_close_matches

MAX_LISTED = 20  # names in a message


class InputError(ValueError):
    """Invalid input; the message says what was expected, what was received and how to correct it.

    The command line prints the message without a traceback.
    """


class DamageError(ValueError):
    """What is wrong inside of a file, for the message of the `InputError` that names the file."""


class TrainingError(RuntimeError):
    """Training cannot continue, because a loss is not finite or the disk is full; results so far are kept."""


class ProcessLostError(TrainingError):
    """One of several processes that train together does not answer any more."""


class RangeWarning(UserWarning):
    """Rows are far outside the range of the training rows, as if they were in other units."""


class ColumnWarning(UserWarning):
    """A column of a table is left out, or cells of it are not as the others."""


class ImageWarning(UserWarning):
    """Files of a set of images are left out, or not read as a user may expect."""


class ClassPriorWarning(UserWarning):
    """There are as many labels of each class, so that they do not tell how frequent the classes are."""


class LostClassWarning(UserWarning):
    """A class of which there are labels is predicted for hardly any row."""


class UnlabelledWarning(UserWarning):
    """Rows whose label is a text that marks unlabelled rows: an empty text, or "-1"."""


class SpeedWarning(UserWarning):
    """Training is slower than it could be on this device."""


WARNINGS = (
    RangeWarning, ColumnWarning, ImageWarning, ClassPriorWarning, LostClassWarning, UnlabelledWarning, SpeedWarning,
)  # fmt: skip


def nearest(name: str, names: Iterable[str]) -> str:
    """Return the end of a message, `": did you mean 'x'?"` with the closest of `names`, `""` if none is close."""
    close = get_close_matches(str(name), [str(n) for n in names], n=1, cutoff=0.6)
    return f": did you mean {close[0]!r}?" if close else ""


def listed(names: Iterable[object]) -> str:
    """Return names that come from a file as a text of one line, "none" if there are none; long ones are cut off."""
    short = [" ".join(str(name).split())[:80] for name in names]
    more = f" and {len(short) - MAX_LISTED} more" if len(short) > MAX_LISTED else ""
    return (", ".join(short[:MAX_LISTED]) or "none") + more


def repeated(names: Iterable[str]) -> str | None:
    """Return the first name that was there before, None if all differ."""
    before: set[str] = set()
    return next((name for name in names if name in before or before.add(name)), None)
