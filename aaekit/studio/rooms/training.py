"""The live training: its curves, what it makes, time left; pause, stop and resume."""

from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, Request, Response

from aaekit import curves
from aaekit._locks import owner
from aaekit.errors import InputError
from aaekit.runs import live
from aaekit.runs.run import Run
from aaekit.studio.items import visible
from aaekit.studio.processes import Command
from aaekit.studio.rooms import CurrentSession, Room, binary

router: APIRouter = APIRouter()

ROOM = Room("training", "Training", router, needs_model=False, of=("run",))
HISTORIES = ("steps.csv", "metrics.csv")  # of a run
NOT_LOSSES = {"epoch", "step", "seconds"}
SCORES = {"score"}  # of a run, that are shown as its error


@router.get("/api/training/state")
async def state(session: CurrentSession) -> dict[str, Any]:
    """What the training does, how far it is, and how long it takes."""
    path = session.path
    facts: dict[str, Any] = {"state": "waiting", "what": "", "problem": ""}
    facts |= {"step": 0, "steps": 0, "seconds": 0.0, "left": None}
    try:
        run = session.run
    except InputError:
        return facts
    rows = live.read_history(path / "steps.csv") or live.read_history(path / "metrics.csv")
    plan = run.plan if (path / "plan.json").is_file() else {}
    facts["steps"] = int(plan.get("n_steps", 0))
    if rows:
        facts |= {"step": int(rows[-1]["step"]), "seconds": rows[-1].get("seconds", 0.0)}
    if run.complete:
        return facts | {"state": "complete"}
    if owner(path):
        live.watch(path)
        now = live.last_state(path)
        if now is None or now["state"] == "preparing":
            return facts | {"state": "preparing", "what": "" if now is None else now["what"]}
        return facts | now
    command = session.commands.get("training")  # that resumed it here
    return facts | {"state": "stopped", "problem": "" if command is None else command.problem}


@router.get("/api/training/curves")
async def training_curves(session: CurrentSession, version: str = "") -> dict[str, Any]:
    """The curves in their panels, unless they are those of `version`: points of (step, value)."""
    paths = [session.path / name for name in HISTORIES]
    now = "-".join(f"{p.stat().st_mtime_ns}-{p.stat().st_size}" for p in paths if p.exists())
    if now == version:
        return {"version": now, "series": None}
    return {"version": now, "series": curves_of(session.path)}


def curves_of(path: Path) -> list[dict[str, Any]]:
    """The curves of a run by name, with panel and points (step, value): by steps, or by epochs if these are more."""
    histories = [live.read_history(path / name) for name in HISTORIES]
    series = []
    for name in dict.fromkeys(name for rows in histories for row in rows for name in row):
        if name in NOT_LOSSES or name.rsplit("/", 1)[-1] in SCORES:
            continue
        points = max(([[int(row["step"]), row[name]] for row in rows if name in row] for rows in histories), key=len)
        series.append({"name": name, "panel": curves.panel(name).replace("$", ""), "points": points})
    return series


@router.get("/api/training/samples")
async def samples(session: CurrentSession, step: int = -1) -> Response:
    """The pictures of the training, with their step and shape; none if they are those of `step`.

    Of a complete run they are those of its model.
    """
    pictures = live.last_samples(session.path)
    if pictures is None and session.version is not None:
        trained = await session.trained()
        if trained.view.decoded != "image":
            return Response(status_code=204)
        rows = await session.worker.run(lambda: live.grid_of_samples(trained.model))
        pictures = None if rows is None else (rows, trained.model.n_steps_)
    if pictures is None or pictures[1] == step:
        return Response(status_code=204)
    rows, at = visible(pictures[0]), pictures[1]
    return binary(rows, step=at, shape=",".join(map(str, rows.shape[1:])))


@router.post("/api/training/{request}")
async def ask(request: Literal["go", "pause", "stop", "resume"], session: CurrentSession, _: Request) -> dict[str, Any]:
    """Pause, go on, stop, or resume a training that was stopped."""
    if request != "resume":
        if not owner(session.path):
            raise InputError("expected a training that runs, got none: resume it")
        live.ask(session.path, request)
        return {}
    run: Run = session.run
    run.check_state()
    if owner(session.path):
        raise InputError("expected a training that was stopped, got one that runs: wait for it")
    session.commands["training"] = Command("resume", str(session.path))
    return {}
