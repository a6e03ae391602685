"""Runs side by side: their errors, curves, figures and the settings that differ. They are those beside the run."""

from pathlib import Path
from typing import Any

from fastapi import APIRouter, Response

from aaekit.errors import InputError
from aaekit.runs.run import Run
from aaekit.studio.rooms import CurrentSession, Room
from aaekit.studio.rooms.training import curves_of
from aaekit.studio.session import Session

router: APIRouter = APIRouter()

ROOM = Room("compare", "Compare", router, needs_model=False, of=("run",))
MAX_RUNS = 200  # that are listed
MAX_FIGURE = 16 * 2**20  # bytes
FIGURES = (
    "sample_grid", "reconstruction_pairs", "latent_scatter", "style_label_grid", "style_grid", "modes_and_samples",
    "confusion_matrix", "confident_mistakes", "code_vs_prior", "learning_curves",
)  # fmt: skip
SCORES = {  # of results.json: title, and whether a lower value is better
    "error": ("Error, %", True),
    "clustering_error": ("Error of clusters, %", True),
    "reconstruction": ("Reconstruction", True),
    "mmd": ("MMD of codes and prior", True),
    "two_sample_auc": ("Codes against prior, AUC", True),
    "auroc": ("AUROC", False),
    "n_labelled": ("Labels", None),
    "n_steps": ("Steps", None),
    "seconds": ("Seconds", None),
}


def runs_beside(session: Session) -> dict[str, Path]:
    """The runs in the folder of this run, by name, this one first."""
    own = session.path.resolve()
    beside = [
        p for p in sorted(own.parent.iterdir()) if p != own and not p.is_symlink() and (p / "config.yaml").is_file()
    ]
    return {p.name: p for p in (own, *beside[:MAX_RUNS])}


@router.get("/api/compare/runs")
async def runs(session: CurrentSession) -> dict[str, Any]:
    """The runs beside this one with their scores, the settings by which they differ, and their figures."""
    listed, settings = [], {}
    for name, path in runs_beside(session).items():
        try:
            run = Run.open(path)
            results = run.results
        except InputError:
            continue
        settings[name] = {"system": run.config["system"], **run.config}
        listed.append(
            {
                "name": name,
                "system": run.config["system"],
                "data": Path(str(run.config["data"])).name,
                "complete": run.complete,
                "scores": {key: results[key] for key in SCORES if isinstance(results.get(key), int | float)},
                "figures": [figure for figure in FIGURES if (path / "figures" / f"{figure}.png").is_file()],
            }
        )
    return {
        "own": session.path.resolve().name,
        "runs": listed,
        "scores": [{"name": key, "title": title, "lower": lower} for key, (title, lower) in SCORES.items()],
        "settings": {name: {key: _text(value) for key, value in one.items()} for name, one in settings.items()},
        "figures": list(FIGURES),
    }


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _path(session: Session, name: str) -> Path:
    beside = runs_beside(session)
    if name not in beside:
        raise InputError(f"expected a run beside {session.path.name}, got {name[:80]!r}: choose one of the list")
    return beside[name]


@router.get("/api/compare/curves")
async def run_curves(session: CurrentSession, name: str) -> list[dict[str, Any]]:
    """The curves of a run: name, panel and points of (step, value)."""
    return curves_of(_path(session, name))


@router.get("/api/compare/figure")
async def figure(session: CurrentSession, name: str, figure: str) -> Response:
    """A figure of a run, as PNG."""
    if figure not in FIGURES:
        raise InputError(f"expected a figure of {', '.join(FIGURES)}, got {figure[:80]!r}")
    path = _path(session, name) / "figures" / f"{figure}.png"
    if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_FIGURE:
        raise InputError(f"expected the figure {figure} of {name}, got none: draw it by aae plot")
    return Response(path.read_bytes(), media_type="image/png", headers={"cache-control": "no-cache"})
