"""The latent map: the codes of all items in a plane."""

from typing import Any

import numpy as np
from fastapi import APIRouter, Response

from aaekit.errors import InputError
from aaekit.studio.codes import Plane
from aaekit.studio.items import PARTS
from aaekit.studio.network import network_of
from aaekit.studio.rooms import CurrentSession, Room, binary
from aaekit.studio.session import Trained

router: APIRouter = APIRouter()

ROOM = Room("map", "Latent map", router)
TITLES = {"error": "Reconstruction error", "outlier": "Outlier score", "probability": "Probability of the prediction"}


NEIGHBOURHOODS = {"name": "tsne", "title": "Neighbours (t-SNE)", "centres": [[0.0, 0.0]], "scale": 1.0, "prior": None}


@router.get("/api/map/space")
async def space(session: CurrentSession) -> dict[str, Any]:
    """The planes, the directions of z, and what items can be coloured by."""
    return await session.work(space_facts)


@router.get("/api/map/network")
async def network(session: CurrentSession) -> dict[str, Any]:
    """The layers of the decoder, if the page can compute it; else None."""
    return await session.work(lambda trained: network_of(trained) or {"layers": None})


def space_facts(trained: Trained) -> dict[str, Any]:
    """What the page must know of the space of codes."""
    s, items = trained.space, trained.items
    columns: list[dict[str, Any]] = []
    if (items.labels >= 0).any():
        columns.append({"name": "label", "title": "Label", "names": items.class_names})
    if s.names and not s.is_given and (hasattr(trained.model, "cluster_proba") or not s.decodes or s.joint):
        kind = "Cluster" if not hasattr(trained.model, "classes_") else "Prediction"
        columns.append({"name": "value", "title": kind, "names": s.names})
        columns.append({"name": "probability", "title": TITLES["probability"], "names": None})
    columns += [{"name": name, "title": TITLES[name], "names": None} for name in trained.columns]
    columns.append({"name": "part", "title": "Use in training", "names": list(PARTS)})
    return {
        "n": items.n,
        "kind": trained.view.kind,
        "shape": trained.view.shape,
        "decoded": trained.view.decoded,
        "planes": [
            {
                "name": p.name,
                "title": _title(trained, p),
                "centres": p.centres.tolist(),
                "scale": p.scale,
                "prior": s.prior_density(p),
            }
            for p in s.planes
        ]
        + [NEIGHBOURHOODS] * (trained.neighbourhoods is not None),
        "columns": columns,
        **s.facts(),
    }


def _title(trained: Trained, plane: Plane) -> str:
    if plane.name == "islands":
        return "Classes and styles" if hasattr(trained.model, "classes_") else "Clusters and styles"
    if hasattr(trained.model, "centroids_"):
        return "Embedding"
    what = "Styles" if trained.space.joint else "Codes" if trained.space.decodes else "Probabilities of classes"
    return what if trained.space.n_dims <= 2 else f"{what}: principal directions"


@router.get("/api/map/points")
async def points(session: CurrentSession, plane: str, start: int = 0) -> Response:
    """Number and place of the items from one on that have places: uint32, float32, float32 each."""
    trained = await session.trained()
    neighbours = trained.neighbourhoods
    if plane in trained.places:
        places, end = trained.places[plane], trained.n_done
    elif plane == NEIGHBOURHOODS["name"] and neighbours is not None:
        if neighbours.problem is not None:
            raise neighbours.problem
        if trained.n_done == trained.items.n:
            neighbours.begin()
        places, end = neighbours.places, neighbours.n_done
    else:
        raise InputError(f"expected a plane of {', '.join(trained.places)}, got {plane!r}")
    index = trained.items.order[max(start, 0) : end]
    rows = np.empty((len(index), 3), np.float32)
    rows[:, 0] = index.astype("<u4").view("<f4")
    rows[:, 1:] = places[index]
    return binary(rows, done=end, total=trained.items.n)


@router.get("/api/map/column")
async def column(session: CurrentSession, name: str, start: int = 0) -> Response:
    """A column of the items from one on, float32, in the order of the points."""
    trained = await session.trained()
    stored = {"label": trained.items.labels, "part": trained.items.part}
    encoded = {"value": trained.value, "probability": trained.probability}
    if name in stored:
        values, end = stored[name], trained.items.n
    elif name in encoded:
        values, end = encoded[name], trained.n_done
    else:
        computed = trained.column(name)
        if computed.ahead is not None and computed.ahead.problem is not None:
            raise computed.ahead.problem
        values, end = computed.values, computed.n_done
    index = trained.items.order[max(start, 0) : end]
    return binary(values[index].astype("<f4"), done=end, total=trained.items.n)
