"""What `aae doctor` finds, with the evidence of each finding drawn."""

from typing import Any

import numpy as np
from fastapi import APIRouter, Response
from numpy.typing import NDArray

from aaekit.errors import InputError
from aaekit.evaluation.health import Evidence, HealthFinding, diagnose
from aaekit.evaluation.heldout import reconstruct, to_training_units
from aaekit.evaluation.measures import evidence_of
from aaekit.studio.rooms import CurrentSession, Room, binary
from aaekit.studio.session import Session, Trained

router: APIRouter = APIRouter()

ROOM = Room("health", "Health", router, of=("run",))
N_BINS, N_POINTS, N_PAIRS, MAX_DIMS = 40, 600, 12, 12
DRAWINGS = {  # what is drawn for a finding
    "stuck discriminator": "discriminator",
    "overpowering discriminator": "discriminator",
    "all images look alike": "rows",
    "images much reduced": "rows",
    "constant reconstruction": "reconstructions",
    "identical reconstructions": "reconstructions",
    "codes off the prior": "histograms",
    "holes in the latent space": "plane",
    "collapsed clusters": "frequencies",
    "dead clusters": "frequencies",
    "undecided clusters": "certainty",
    "wrong class frequencies": "frequencies",
    "memorised labels": "labels",
    "nothing gained by unlabelled rows": "methods",
    "still improving": "losses",
    "not finite": "losses",
}


class Examined:
    """The evidence of a run and what it says, computed once for a model."""

    trained: Trained
    rows: Any
    findings: list[HealthFinding]

    def __init__(self, trained: Trained) -> None:
        run: Any = trained.run
        self.trained, rows = trained, run.held_out
        self.evidence: Evidence = evidence_of(trained.model, rows, run.simple_errors(trained.model), run.comparison)
        self.rows = rows._replace(X=to_training_units(trained.model, rows.X)).subset(2000)
        self.findings = diagnose(self.evidence)


def _examined(session: Session, trained: Trained) -> Examined:
    examined: Examined | None = session.rooms.get("health")
    if examined is None or examined.trained is not trained:
        session.rooms["health"] = examined = Examined(trained)
    return examined


@router.get("/api/health/findings")
async def findings(session: CurrentSession) -> dict[str, Any]:
    """The findings, problems first, each with the name of its drawing, and all drawings that this run has."""

    def job(trained: Trained) -> dict[str, Any]:
        examined = _examined(session, trained)
        drawings = drawings_of(trained, examined.evidence)
        return {
            "findings": [
                {
                    "name": f.name, "severity": f.severity, "evidence": f.evidence, "meaning": f.meaning,
                    "option": f.option, "drawing": DRAWINGS.get(f.name, ""),
                }
                for f in examined.findings
            ],
            "drawings": drawings,
            "n_rows": len(examined.rows.X),
        }  # fmt: skip

    return await session.work(job)


def drawings_of(trained: Trained, e: Evidence) -> dict[str, dict[str, Any]]:
    """What can be drawn of some evidence, by name: its kind, title and numbers."""
    names = trained.space.names
    drawings: dict[str, dict[str, Any]] = {}
    columns = list(dict.fromkeys(name for row in e.history for name in row))
    for name, title, chosen in (
        ("discriminator", "Discriminator outputs", [c for c in columns if "/D(" in c]),
        ("labels", "Labelled and held-out rows", [c for c in columns if c in _OF_LABELS]),
        ("losses", "Reconstruction", [c for c in columns if c == "reconstruction"]),
    ):
        series = [{"name": c, "panel": title, "points": _points(e, c)} for c in chosen]
        if series := [one for one in series if one["points"]]:
            drawings[name] = {"kind": "chart", "title": title, "series": series}
    z, prior, y, labels, class_prior = e.arrays("z", "prior", "y", "labels", "class_prior")
    if z is not None and prior is not None and np.isfinite(z).all():
        drawings["histograms"] = {"kind": "histograms", "title": "Codes and prior", "dimensions": _histograms(z, prior)}
        if z.shape[1] > 1:
            plane = np.concatenate([z[:N_POINTS, :2], prior[:N_POINTS, :2]]).round(3)
            n = min(len(z), N_POINTS)
            drawings["plane"] = {
                "kind": "points", "title": "z1 and z2", "codes": plane[:n].tolist(), "prior": plane[n:].tolist(),
            }  # fmt: skip
    if y is not None and y.shape[1] > 1 and np.isfinite(y).all():
        K = y.shape[1]
        values = np.bincount(y.argmax(1), minlength=K) / len(y)
        expected = class_prior / class_prior.sum() if class_prior is not None else None
        if expected is None and labels is not None and (labels >= 0).all():
            expected = np.bincount(labels, minlength=K) / len(labels)
        drawings["frequencies"] = {
            "kind": "bars", "title": "Rows of each cluster" if e.clusters else "Rows predicted as each class",
            "names": names if len(names) == K else [str(k) for k in range(K)], "values": values.tolist(),
            "expected": None if expected is None else expected.tolist(),
        }  # fmt: skip
        counts, _ = np.histogram(y.max(1), 20, (0, 1))
        drawings["certainty"] = {
            "kind": "bars", "title": "Probability of the likeliest one",
            "names": [f"{5 * k}–{5 * k + 5} %" for k in range(20)], "values": (counts / len(y)).tolist(),
            "expected": None,
        }  # fmt: skip
    if e.simple_errors:
        drawings["methods"] = {
            "kind": "bars", "title": "Errors of simple methods, %", "names": list(e.simple_errors),
            "values": [v / 100 for v in e.simple_errors.values()], "expected": None,
        }  # fmt: skip
    if trained.view.kind == "image":
        drawings["rows"] = {"kind": "pictures", "title": "Rows", "what": "rows"}
        if trained.view.decoded == "image":
            drawings["reconstructions"] = {
                "kind": "pictures",
                "title": "Rows and their reconstructions",
                "what": "pairs",
            }
    return drawings


_OF_LABELS = ("classification", "validation/error", "validation/score", "eval/error", "eval/score")


def _points(e: Evidence, name: str) -> list[list[float]]:
    rows = [row for row in e.history if name in row and np.isfinite(row[name])]
    return [[int(row.get("step", k)), float(row[name])] for k, row in enumerate(rows)]


def _histograms(z: NDArray[Any], prior: NDArray[Any]) -> list[dict[str, Any]]:
    """Histograms of the first dimensions of codes and prior, on one scale."""
    dimensions = []
    for i in range(min(z.shape[1], MAX_DIMS)):
        both = np.concatenate([z[:, i], prior[:, i]])
        low, high = np.quantile(both, [0.002, 0.998])
        margin = 0.05 * (high - low) + 1e-6
        limits = float(low - margin), float(high + margin)
        sides = [np.histogram(side[:, i], N_BINS, limits)[0] / len(side) for side in (z, prior)]
        dimensions.append({"low": limits[0], "high": limits[1], "codes": sides[0].tolist(), "prior": sides[1].tolist()})
    return dimensions


@router.get("/api/health/pictures")
async def pictures(session: CurrentSession) -> Response:
    """Some held-out rows, and after them, if the model decodes pictures, their reconstructions."""

    def job(trained: Trained) -> Response:
        if trained.view.kind != "image":
            raise InputError("expected a run of images, got one of tables or texts")
        rows = _examined(session, trained).rows.at(np.arange(N_PAIRS))
        made = [trained.view.pictures_of(rows)]
        if trained.view.decoded == "image":
            made.append(trained.view.samples(reconstruct(trained.model, rows)))
        return binary(np.concatenate(made), rows=len(made[0]))

    return await session.work(job)
