"""Style and content: the style of any item, or of a picture that is drawn or uploaded, under every label."""

import base64
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from numpy.typing import NDArray

from aaekit.data.images import Item, read_images
from aaekit.errors import InputError
from aaekit.evaluation.heldout import HeldOut
from aaekit.studio.rooms import NO_DECODER, CurrentSession, Room, body_of
from aaekit.studio.session import Trained

router: APIRouter = APIRouter()

MAX_PIXELS = 16_000_000  # of an upload
N_MEASURED = 300  # items by which drawings are placed


def _closed(trained: Trained) -> str:
    return "" if trained.view.decoded is not None else NO_DECODER


ROOM = Room("style", "Styles", router, closed=_closed)


@router.get("/api/style/facts")
async def facts(session: CurrentSession) -> dict[str, Any]:
    """The labels, the directions of z, and how strokes lie in the pictures of the run."""

    def job(trained: Trained) -> dict[str, Any]:
        s, view = trained.space, trained.view
        return {
            "n": trained.items.n,
            "decoded": view.decoded,
            "shape": view.shape,
            "classes": s.names,
            **s.facts(),
            "draws": view.decoded == "image" and trained.run.features is None,
            "ink": _ink(trained) if view.decoded == "image" else None,
        }

    return await session.work(job)


def _ink(trained: Trained) -> dict[str, Any]:
    """Whether the ground of pictures is light, and where their strokes are: median centre and size, in sides."""
    index = np.sort(trained.items.order[:N_MEASURED])
    grey = trained.items.pictures(index).mean(1)
    border = np.concatenate([grey[:, 0], grey[:, -1], grey[:, :, 0], grey[:, :, -1]], 1)
    is_light = bool(np.median(border) > 127)
    strokes = (255 - grey if is_light else grey) > 80
    boxes = []
    for picture in strokes[strokes.any((1, 2))]:
        rows, columns = np.flatnonzero(picture.any(1)), np.flatnonzero(picture.any(0))
        height, width = picture.shape
        box = (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1)
        top, bottom, left, right = (v / side for v, side in zip(box, (height, height, width, width), strict=True))
        boxes.append([(left + right) / 2, (top + bottom) / 2, max(bottom - top, right - left)])
    x, y, size = np.median(boxes or [[0.5, 0.5, 0.8]], axis=0).tolist()
    return {"light": is_light, "x": x, "y": y, "size": size}


@router.post("/api/style/upload")
async def upload(request: Request, session: CurrentSession) -> dict[str, Any]:
    """The code and the class of an uploaded or drawn picture, and what the model sees of it."""
    content = await body_of(request)

    def job(trained: Trained) -> dict[str, Any]:
        model, view = trained.model, trained.view
        if view.decoded != "image" or trained.run.features is not None:
            raise InputError("expected a run of images for an upload, got one of tables or features: choose an item")
        channels, height, width = model.shape_
        if channels not in (1, 3):
            raise InputError(f"expected images of 1 or 3 channels for an upload, got {channels}: choose an item")
        if not content:
            raise InputError("expected a picture, got nothing: choose a file")
        items = [Item("the upload", content)]
        images, _, _ = read_images("studio", items, (channels, height, width), max_pixels=MAX_PIXELS, quiet=True)
        rows = _as_trained(trained, images)
        codes = trained.space.encode(HeldOut("", rows, None))
        value = int(codes.value[0])
        if trained.space.is_given:
            value = int(_best_value(trained, codes.z, images))
        return {
            "z": codes.z[0].tolist(),
            "value": value,
            "p": None if codes.p is None else codes.p[0].tolist(),
            "outlier": bool(model.predict(rows)[0] == -1) if hasattr(model, "offset_") else None,
            "seen": base64.b64encode(view.pictures(images).tobytes()).decode(),
        }

    return await session.work(job)


def _as_trained(trained: Trained, images: NDArray[np.uint8]) -> NDArray[Any]:
    """Pictures in the units of the rows of the run."""
    X = trained.run.data.X
    if X.dtype != np.uint8:
        low, high = trained.view.low, trained.view.high
        images = (low + images.astype(np.float32) / 255 * (high - low)).astype(X.dtype)
    return images.reshape(1, *X.shape[1:])


def _best_value(trained: Trained, z: NDArray[Any], images: NDArray[np.uint8]) -> int:
    """The label under which a picture is reconstructed best."""
    K = trained.space.n_values
    codes = np.concatenate([np.arange(K, dtype=np.float32)[:, None], np.repeat(z, K, 0)], 1)
    made = trained.view.samples(trained.space.decode(codes)).astype(float)
    return int(np.square(made - trained.view.pictures(images)).reshape(K, -1).mean(1).argmin())
