"""The rooms of the studio: each is a module here, which answers its page, and one in `static/rooms`, which shows it.

A module here has a `ROOM`. Its `router` answers below `/api/NAME`; its page is `static/rooms/NAME.js`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Request, Response
from numpy.typing import NDArray

from aaekit.errors import InputError
from aaekit.evaluation.metrics import exact_interval
from aaekit.studio.session import Kind, Session, Trained

__all__ = ["NO_DECODER", "NO_PRIOR", "CurrentSession", "Room", "array_of", "binary", "body_of", "share_of"]

NO_DECODER = "This model has no decoder, or decodes features that nobody sees."
NO_PRIOR = "This model has no prior to draw from."


@dataclass(frozen=True)
class Room:
    """A room.

    Attributes
    ----------
    name : str
        In addresses.
    title : str
        In the navigation.
    router : APIRouter
        What answers below `/api/NAME`.
    closed : callable
        From the trained model to the reason why it has no such room; "" if it has one.
    needs_model : bool
        Whether the training must be complete.
    of : tuple of str
        Whether runs have it ("run"), labelling sessions ("labelling"), or pairs of a Turing test ("pairs").
    """

    name: str
    title: str
    router: APIRouter
    closed: Callable[[Trained], str] = lambda trained: ""
    needs_model: bool = True
    of: tuple[Kind, ...] = ("run", "labelling")


def _session(request: Request) -> Session:
    return request.app.state.session


CurrentSession = Annotated[Session, Depends(_session)]


def binary(array: NDArray[Any], **facts: object) -> Response:
    """An array as its bytes, with facts in the headers `X-NAME`."""
    headers = {f"x-{name.replace('_', '-')}": str(value) for name, value in facts.items()}
    return Response(np.ascontiguousarray(array).tobytes(), headers=headers, media_type="application/octet-stream")


def array_of(body: bytes, dtype: str, width: int, most: int) -> NDArray[Any]:
    """The bytes of a request as an array `(n, width)` of at most so many rows.

    Raises
    ------
    InputError
        If they are none, too many, or not finite.
    """
    size = np.dtype(dtype).itemsize * width
    if not body or len(body) % size or len(body) > most * size:
        raise InputError(f"expected 1 to {most} rows of {width} numbers as {dtype}, got {len(body)} bytes")
    rows = np.frombuffer(body, np.dtype(dtype).newbyteorder("<")).reshape(-1, width)
    if rows.dtype.kind == "f" and not np.isfinite(rows).all():
        raise InputError("expected finite numbers, got NaN or infinity")
    return rows


def share_of(correct: int, n: int) -> dict[str, Any]:
    """How many of n answers are correct, with the exact interval of their share."""
    if not n:
        return {"n": 0, "correct": 0, "share": None, "low": 0.0, "high": 1.0}
    low, high = exact_interval(correct, n)
    return {"n": n, "correct": correct, "share": correct / n, "low": low, "high": high}


async def body_of(request: Request) -> bytes:
    """The body of a request; empty if the sender went away or sent more than is allowed."""
    from starlette.requests import ClientDisconnect

    try:
        return await request.body()
    except ClientDisconnect:
        return b""
