"""A visual Turing test: pairs of a real and a made picture, and how often each person tells them apart."""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
from fastapi import APIRouter, Response
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from aaekit._files import append_csv
from aaekit.data.formats import read_filled
from aaekit.errors import InputError
from aaekit.labelling import checked_text
from aaekit.studio.items import PARTS
from aaekit.studio.rooms import NO_PRIOR, CurrentSession, Room, binary, share_of
from aaekit.studio.session import Session, Trained
from aaekit.ultrasound.turing import SIDES

router: APIRouter = APIRouter()

RESULTS = "turing.csv"
COLUMNS = ("pair", "person", "item", "seed", "real", "answer", "time")
MAX_OPEN = 2000  # pairs that are not answered; the oldest are forgotten


def _closed(trained: Trained) -> str:
    if trained.view.decoded != "image":
        return "This model makes no pictures."
    return "" if trained.space.has_prior else NO_PRIOR


ROOM = Room("turing", "Turing test", router, closed=_closed, of=("run", "pairs"))


class Choice(BaseModel):
    """Which picture of a pair a person takes for the real one."""

    pair: str = Field(max_length=40)
    side: Literal["a", "b"]


@dataclass(frozen=True)
class Question:
    """A real and a made picture, `(c, h, w)` each, what they are, and how many pairs are left with this one."""

    real: NDArray[np.uint8]
    made: NDArray[np.uint8]
    item: int | str
    seed: int | str
    n_left: int | str = ""


@router.get("/api/turing/pair")
async def pair(session: CurrentSession, person: str) -> Response:
    """A new pair: the bytes of two pictures, a and b, and its name in the header X-Pair.

    Nothing and an empty name if a person has judged all pairs there are.
    """
    person = checked_text(person, "the name of a person")

    def job() -> Response:
        question = _of_model(session.trained_now()) if session.pairs is None else _of_folder(session, person)
        if question is None:
            return binary(np.zeros(0, np.uint8), pair="", shape="", left=0)
        real_first = bool(np.random.default_rng().random() < 0.5)
        pictures = [question.real, question.made][:: 1 if real_first else -1]
        name = secrets.token_hex(8)
        waiting = _waiting(session)
        facts = {"pair": name, "person": person, "item": question.item, "seed": question.seed}
        waiting[name] = {**facts, "real": SIDES[not real_first]}
        while len(waiting) > MAX_OPEN:
            waiting.pop(next(iter(waiting)))
        shape = ",".join(map(str, question.real.shape))
        return binary(np.stack(pictures), pair=name, shape=shape, left=question.n_left)

    return await session.worker.run(job)


def _of_model(trained: Trained) -> Question:
    """An item of a run, one that is held out if any is, and what its model makes."""
    if problem := _closed(trained):
        raise InputError(f"expected a model that makes pictures: {problem}")
    random = np.random.default_rng()
    held_out = np.flatnonzero(trained.items.part == PARTS.index("test"))
    item = int(random.choice(held_out if len(held_out) else trained.items.n))
    seed = int(random.integers(2**32))
    made = trained.view.samples(trained.space.decode(trained.space.draw(1, -1, -1, 1.0, seed)))
    return Question(trained.items.pictures(np.array([item]))[0], made[0], item, seed)


def _of_folder(session: Session, person: str) -> Question | None:
    """A pair of the folder that a person has not judged, or None."""
    pairs = session.pairs
    assert pairs is not None
    waiting = _waiting(session)
    for name in [name for name, facts in waiting.items() if facts["person"] == person]:
        waiting.pop(name)  # a pair that was left is asked again
    judged = {line["item"] for line in _answers(session) if line["person"] == person}
    left = [k for k, name in enumerate(pairs.names) if name not in judged]
    if not left:
        return None
    k = int(np.random.default_rng().choice(left))
    real, made = (pairs.a[k], pairs.b[k])[:: 1 if pairs.real[k] == "a" else -1]
    return Question(real[None], made[None], pairs.names[k], "", len(left))


@router.post("/api/turing/answer")
async def answer(session: CurrentSession, choice: Choice) -> dict[str, Any]:
    """Judge a pair; each is judged once, and the answer is in the run before it is confirmed."""

    def job() -> dict[str, Any]:
        waiting = _waiting(session)
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

    return await session.worker.run(job)


@router.get("/api/turing/results")
async def results(session: CurrentSession) -> dict[str, Any]:
    """The results of each person and of all."""
    return await session.worker.run(lambda: results_of(session))


def results_of(session: Session) -> dict[str, Any]:
    """The answer to `results`."""
    right: dict[str, list[bool]] = {}
    for line in _answers(session):
        if line["answer"] in SIDES and line["real"] in SIDES:
            right.setdefault(line["person"] or "", []).append(line["answer"] == line["real"])
    people = [{"name": name, **share_of(sum(answers), len(answers))} for name, answers in right.items()]
    answers = sum(right.values(), [])
    return {"people": sorted(people, key=lambda one: -one["n"]), "all": share_of(sum(answers), len(answers))}


def _answers(session: Session) -> list[dict[str, str | None]]:
    """The lines of the file of answers."""
    path = session.path / RESULTS
    return read_filled(path, COLUMNS) if path.exists() else []


def _waiting(session: Session) -> dict[str, dict[str, Any]]:
    """The pairs that are shown and not judged, by their names."""
    return session.rooms.setdefault("turing", {})
