"""What all rooms ask for: pictures and facts of items, and decoded codes."""

import json
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from numpy.typing import NDArray

from aaekit.errors import InputError
from aaekit.studio.items import PARTS
from aaekit.studio.rooms import CurrentSession, array_of, binary, body_of
from aaekit.studio.session import Trained

router: APIRouter = APIRouter()

MAX_PICTURES, MAX_DECODED = 2000, 1024
MAX_CELLS = 60  # columns of a table that are shown


def checked_items(index: NDArray[Any], n: int) -> NDArray[np.int64]:
    """Numbers of items.

    Raises
    ------
    InputError
        If one of them does not exist.
    """
    index = np.asarray(index, np.int64).ravel()
    if len(index) and not 0 <= index.min() <= index.max() < n:
        raise InputError(f"expected items from 0 to {n - 1}, got {index.min()} to {index.max()}")
    return index


def facts_of(trained: Trained, index: NDArray[np.int64]) -> list[dict[str, Any]]:
    """What is known of items: label, prediction, what the training used it for, file, and the cells of a table."""
    items, names = trained.items, trained.space.names
    facts = []
    for k in index.tolist():
        label, value = int(items.labels[k]), int(trained.value[k])
        one: dict[str, Any] = {"item": k, "part": PARTS[items.part[k]]}
        one["label"] = items.class_names[label] if 0 <= label < len(items.class_names) else None
        if value >= 0 and names and not trained.space.is_given:
            one |= {"prediction": names[value], "probability": round(float(trained.probability[k]), 4)}
        one["value"] = value
        if items.files:
            one["file"] = items.files[k]
        facts.append(one)
    if items.view.kind != "image" or items.view.decoded == "table":
        header, *lines = items.texts(index)
        for one, line in zip(facts, lines, strict=True):
            one["cells"] = [[name, cell] for name, cell in zip(header, line, strict=True)][:MAX_CELLS]
    return facts


@router.post("/api/items/pictures")
async def pictures(request: Request, session: CurrentSession) -> Response:
    """Pictures of items: their numbers as uint32 in, bytes out."""
    index = array_of(await body_of(request), "u4", 1, MAX_PICTURES)

    def job(trained: Trained) -> NDArray[np.uint8]:
        if trained.view.kind != "image":
            raise InputError("expected a run of images, got one of tables or texts")
        return trained.items.pictures(checked_items(index, trained.items.n))

    return binary(await session.work(job))


@router.post("/api/items/facts")
async def facts(request: Request, session: CurrentSession) -> list[dict[str, Any]]:
    """Facts of items: their numbers as uint32 in."""
    index = array_of(await body_of(request), "u4", 1, 200)
    return await session.work(lambda trained: facts_of(trained, checked_items(index, trained.items.n)))


@router.get("/api/items/code")
async def code(item: int, session: CurrentSession) -> dict[str, Any]:
    """The code of an item: z, and the number of its value of y."""

    def job(trained: Trained) -> dict[str, Any]:
        index = checked_items(np.array([item]), trained.items.n)
        codes = trained.space.encode(trained.items.at(index))
        places = {p.name: trained.space.project(p, codes)[0].tolist() for p in trained.space.planes}
        neighbours = trained.neighbourhoods
        if neighbours is not None and np.isfinite(neighbours.places[item]).all():
            places["tsne"] = neighbours.places[item].tolist()
        return {"z": codes.z[0].tolist(), "value": int(codes.value[0]), "places": places}

    return await session.work(job)


@router.post("/api/items/neighbours")
async def neighbours(request: Request, session: CurrentSession, n: int = 12) -> list[dict[str, Any]]:
    """The items whose codes are nearest to a code, as float32: the value of y (-1 for any) and z."""
    body = await body_of(request)

    def job(trained: Trained) -> list[dict[str, Any]]:
        row = array_of(body, "f4", 1 + trained.space.n_dims, 1)[0]
        return facts_of(trained, trained.neighbours(row[1:], int(row[0]), min(max(n, 1), 60)))

    return await session.work(job)


@router.post("/api/decode")
async def decode(request: Request, session: CurrentSession) -> Response:
    """Decoded codes, as float32 `(n, 1 + d)`: the value of y and z; bytes of pictures, or the lines of a table."""
    trained = await session.trained()
    if trained.view.decoded is None:
        raise InputError("expected a model that decodes pictures or tables, got one without: look at nearest items")
    rows = await trained.decode(array_of(await body_of(request), "f4", 1 + trained.space.n_dims, MAX_DECODED))
    if trained.view.decoded == "image":
        return binary(rows)
    lines = await session.worker.run(lambda: [line[:MAX_CELLS] for line in trained.view.lines(rows)])
    return Response(json.dumps(lines), media_type="application/json")
