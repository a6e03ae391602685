"""The choice of the device and of its arithmetic."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from aaekit.errors import InputError

__all__ = ["find_device", "kind_of_device", "has_fast_bfloat16", "reproducible"]


def kind_of_device(name: str) -> str:
    """The kind of device that a name means: "cpu", "cuda" or "mps"; "auto" is the fastest that this machine has.

    Raises
    ------
    InputError
        When this machine has no such device.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(n for n, is_there in available.items() if is_there)
    if not available.get(name):
        names = " or ".join(repr(n) for n, is_there in available.items() if is_there)
        raise InputError(f"device: expected {names}, which this machine has, got {name!r}")
    return name


def find_device(name: str) -> torch.device:
    """The device of a name, as `kind_of_device` takes it; the present one of several graphics cards."""
    kind = kind_of_device(name)
    return torch.device("cuda", torch.cuda.current_device()) if kind == "cuda" else torch.device(kind)


def has_fast_bfloat16(device: str = "cpu") -> bool:
    """Whether this machine multiplies bfloat16 in hardware; where it is emulated it is slower than float32."""
    if device == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    if device != "cpu":
        return False
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


@contextmanager
def reproducible() -> Iterator[None]:
    """In the block, convolutions on a graphics card add up in a fixed order, so that a seed gives the same weights."""
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic = before
