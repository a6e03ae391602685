"""A visual Turing test: pairs of a real and a made picture, and how often each person tells them apart."""

import secrets
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from aaekit._files import append_csv
from aaekit.data.formats import read_filled
from aaekit.errors import InputError
from aaekit.labelling import checked_text
from aaekit.studio.items import PARTS
from aaekit.studio.rooms import NO_PRIOR, CurrentSession, Room, binary, share_of
from aaekit.studio.session import Session, Trained

router: APIRouter = APIRouter()

RESULTS = "turing.csv"
COLUMNS = ("pair", "person", "item", "seed", "real", "answer", "time")
SIDES = ("a", "b")
MAX_OPEN = 2000  # pairs that are not answered; the oldest are forgotten


def _closed(trained: Trained) -> str:
    if trained.view.decoded != "image":
        return "This model makes no pictures."
    return "" if trained.space.has_prior else NO_PRIOR


ROOM = Room("turing", "Turing test", router, closed=_closed, of=("run",))


class Choice(BaseModel):
    """Which picture of a pair a person takes for the real one."""

    pair: str = Field(max_length=40)
    side: Literal["a", "b"]


@router.get("/api/turing/pair")
async def pair(session: CurrentSession, person: str) -> Response:
    """A new pair: the bytes of two pictures, a and b, and its name in the header X-Pair."""
    person = checked_text(person, "the name of a person")

    def job(trained: Trained) -> Response:
        if problem := _closed(trained):
            raise InputError(f"expected a model that makes pictures: {problem}")
        random = np.random.default_rng()
        held_out = np.flatnonzero(trained.items.part == PARTS.index("test"))
        item = int(random.choice(held_out if len(held_out) else trained.items.n))
        seed = int(random.integers(2**32))
        made = trained.view.samples(trained.space.decode(trained.space.draw(1, -1, -1, 1.0, seed)))
        real_first = bool(random.random() < 0.5)
        pictures = [trained.items.pictures(np.array([item])), made]
        name = secrets.token_hex(8)
        waiting: dict[str, dict[str, Any]] = session.rooms.setdefault("turing", {})
        waiting[name] = {"pair": name, "person": person, "item": item, "seed": seed, "real": SIDES[not real_first]}
        while len(waiting) > MAX_OPEN:
            waiting.pop(next(iter(waiting)))
        return binary(np.concatenate(pictures if real_first else pictures[::-1]), pair=name)

    return await session.work(job)


@router.post("/api/turing/answer")
async def answer(session: CurrentSession, choice: Choice) -> dict[str, Any]:
    """Judge a pair; each is judged once, and the answer is in the run before it is confirmed."""

    def job(_: Trained) -> dict[str, Any]:
        waiting: dict[str, dict[str, Any]] = session.rooms.setdefault("turing", {})
        if choice.pair not in waiting:
            raise InputError("expected a pair that waits for its answer, got another: take the next one")
        facts = waiting.pop(choice.pair)
        time = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            append_csv(session.path / RESULTS, COLUMNS, [[*facts.values(), choice.side, time]])
        except InputError:
            waiting[choice.pair] = facts
            raise
        return {"right": choice.side == facts["real"], "real": facts["real"], **results_of(session)}

    return await session.work(job)


@router.get("/api/turing/results")
async def results(session: CurrentSession) -> dict[str, Any]:
    """The results of each person and of all."""
    return await session.work(lambda trained: results_of(session))


def results_of(session: Session) -> dict[str, Any]:
    """The answer to `results`."""
    path, right = session.path / RESULTS, {}
    for line in read_filled(path, COLUMNS) if path.exists() else []:
        if line["answer"] in SIDES and line["real"] in SIDES:
            right.setdefault(line["person"] or "", []).append(line["answer"] == line["real"])
    people = [{"name": name, **share_of(sum(answers), len(answers))} for name, answers in right.items()]
    answers = sum(right.values(), [])
    return {"people": sorted(people, key=lambda one: -one["n"]), "all": share_of(sum(answers), len(answers))}
