"""Tables, signals and images: what rows are by their shape."""

from collections.abc import Sequence
from typing import Literal

from aaekit.errors import InputError

__all__ = ["Kind", "are_signals", "check_signals", "kind_of"]

Kind = Literal["table", "signal", "image"]
FEW = 8  # channels, of which a signal need not be twice as long


def kind_of(shape: Sequence[int]) -> Kind:
    """What a row of shape (n_features,), (channels, length) or (channels, height, width) is."""
    return ("table", "signal", "image")[len(shape) - 1]


def are_signals(shape: Sequence[int]) -> bool:
    """Whether (n, channels, length) may be signals, which are longer than they have channels, and not grey images."""
    _, channels, length = shape
    return length > channels and (channels < FEW or length >= 2 * channels)


def check_signals(shape: Sequence[int], name: str = "X") -> None:
    """Refuse the shape (n, channels, length) of what are no signals.

    Raises
    ------
    InputError
        If it looks like (n, length, channels), or like grey images without a channel.
    """
    n, first, second = shape
    if are_signals((n, second, first)):
        raise InputError(
            f"{name}: expected signals (n, channels, length), got {tuple(shape)}, which looks like channels last: "
            "transpose it by (0, 2, 1)"
        )
    if not are_signals(shape):
        raise InputError(
            f"{name}: expected (n, n_features), signals (n, channels, length) that are longer than they have channels, "
            f"or images (n, channels, height, width), got {tuple(shape)}: for grey images add the channel, X[:, None]"
        )
