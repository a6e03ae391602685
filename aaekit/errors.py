"""What goes wrong in ways a user can mend: one clear line each."""

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """Bad input: the message says what was expected, what came and what to do.

    The command line prints the message alone, without a traceback.
    """


class TrainingError(RuntimeError):
    """Training cannot go on (a loss stopped being finite, the disk is full); what was reached is kept."""


class RangeWarning(UserWarning):
    """Rows are far from those that were trained on, as if they were in other units."""


class FilledWarning(UserWarning):
    """Cells of a table were empty and hold the means of the training rows."""


def nearest(name: str, names: Iterable[str]) -> str:
    """`" Did you mean 'x'?"` for the closest of `names`, or `""` where none is close."""
    close = get_close_matches(str(name), [str(n) for n in names], n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""
