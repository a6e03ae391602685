"""New rows: by class, by temperature, by component of the prior; as a picture, arrays or a table."""

import io
import json
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Query, Response
from numpy.typing import NDArray

from aaekit._files import write_lines
from aaekit.errors import InputError
from aaekit.studio.rooms import NO_DECODER, NO_PRIOR, CurrentSession, Room, binary
from aaekit.studio.session import Trained

router: APIRouter = APIRouter()

MAX_SHOWN, MAX_SAVED = 400, 10_000


def _closed(trained: Trained) -> str:
    if trained.view.decoded is None:
        return NO_DECODER
    return "" if trained.space.has_prior else NO_PRIOR


ROOM = Room("generate", "Generate", router, closed=_closed)


@dataclass
class Wish:
    """What is to be made: values of y and components by number, -1 for any."""

    n: Annotated[int, Query(ge=1, le=MAX_SAVED)] = 64
    value: Annotated[int, Query(ge=-1)] = -1
    component: Annotated[int, Query(ge=-1)] = -1
    temperature: Annotated[float, Query(ge=0, le=3)] = 1.0
    seed: Annotated[int, Query(ge=0, lt=2**32)] = 0


Wished = Annotated[Wish, Depends()]


@router.get("/api/generate/facts")
async def facts(session: CurrentSession) -> dict[str, Any]:
    """The classes and components that can be chosen, and what rows are."""

    def job(trained: Trained) -> dict[str, Any]:
        prior = trained.model.prior_
        has_classes = trained.space.joint or hasattr(trained.model, "centroids_")
        return {
            "decoded": trained.view.decoded,
            "shape": trained.view.shape,
            "values": trained.space.names if has_classes else [],
            "components": prior.n_components or 0,
            "prior": repr(prior),
        }

    return await session.work(job)


def _made(trained: Trained, wish: Wish) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Rows as they are sent, and their codes."""
    if trained.view.decoded is None:
        raise InputError("expected a model that decodes pictures or tables, got one without")
    codes = trained.space.draw(wish.n, wish.value, wish.component, wish.temperature, wish.seed)
    return trained.view.samples(trained.space.decode(codes)), codes


def _target(trained: Trained, codes: NDArray[np.float32]) -> tuple[str, list[str]] | None:
    """The name of the column of labels, and the labels of rows that were made of a class."""
    names = trained.space.names
    if not names or not (trained.space.joint or hasattr(trained.model, "centroids_")):
        return None
    return trained.run.data.target or "label", [names[k] for k in codes[:, 0].astype(int)]


@router.get("/api/generate/rows")
async def rows(session: CurrentSession, wish: Wished) -> Response:
    """New rows: bytes of pictures, or the lines of a table."""
    if wish.n > MAX_SHOWN:
        raise InputError(f"n: expected at most {MAX_SHOWN} rows to look at, got {wish.n}: download them")

    def job(trained: Trained) -> Response:
        made, codes = _made(trained, wish)
        target = _target(trained, codes)
        if trained.view.decoded == "image":
            return binary(made, values=",".join(map(str, codes[:, 0].astype(int))) if target else "")
        return Response(json.dumps(_lines(trained, made, target)), media_type="application/json")

    return await session.work(job)


def _lines(trained: Trained, made: NDArray[Any], target: tuple[str, list[str]] | None) -> list[list[str]]:
    """The lines of a table, the label first."""
    lines = trained.view.lines(made)
    if target is None:
        return lines
    return [[cell, *line] for cell, line in zip([target[0], *target[1]], lines, strict=True)]


@router.get("/api/generate/rows.npz")
async def arrays(session: CurrentSession, wish: Wished) -> Response:
    """New rows as arrays: X, their codes z and, of classes, y."""

    def job(trained: Trained) -> bytes:
        made, codes = _made(trained, wish)
        named = {"X": made, "z": codes[:, 1:]}
        if (target := _target(trained, codes)) is not None:
            named["y"] = np.array(target[1], dtype=str)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **named)  # pyright: ignore[reportArgumentType]
        return buffer.getvalue()

    return _attachment(await session.work(job), "rows.npz", "application/octet-stream")


@router.get("/api/generate/rows.csv")
async def table(session: CurrentSession, wish: Wished) -> Response:
    """New rows of a table in its original columns."""

    def job(trained: Trained) -> bytes:
        if trained.view.decoded != "table":
            raise InputError("expected a run of a table for a CSV file, got one of pictures: download PNG or NPZ")
        made, codes = _made(trained, wish)
        buffer = io.StringIO(newline="")
        write_lines(buffer, _lines(trained, made, _target(trained, codes)))
        return buffer.getvalue().encode()

    return _attachment(await session.work(job), "rows.csv", "text/csv; charset=utf-8")


def _attachment(content: bytes, name: str, kind: str) -> Response:
    return Response(content, media_type=kind, headers={"content-disposition": f'attachment; filename="{name}"'})
