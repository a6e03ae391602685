"""Labelling: clusters to name, questions of the model, random rows that measure it, and labels that it doubts.

Each answer is in the log of the session (`aaekit.labelling`) before the page is told so; several people may answer at
once. Training is `aae label tell` in a process of its own.
"""

import time
from hashlib import sha256
from typing import Any, Literal

import numpy as np
from fastapi import APIRouter, Response
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from aaekit._locks import owner
from aaekit.errors import InputError
from aaekit.evaluation.heldout import as_samples
from aaekit.labelling import LOG, MAX_TEXT, Answers
from aaekit.studio.labelled import LabelledRun
from aaekit.studio.processes import Command
from aaekit.studio.rooms import CurrentSession, Room, binary, share_of
from aaekit.studio.rooms.items import facts_of
from aaekit.studio.session import Ahead, Session, Trained

router: APIRouter = APIRouter()

ROOM = Room("label", "Label", router, of=("labelling",))
SHEET = 24  # rows of a cluster that are shown at once
CORE = 0.5  # share of a cluster, its most certain rows, that they are taken from
POOL = 48  # questions that are chosen at once
LEASE = 120.0  # seconds for which nobody else is asked the same
MAX_QUESTIONS, MAX_SUSPECTS, MAX_ANSWERS = 24, 60, 500


class Labels(BaseModel):
    """What a person answers at once: labels by row."""

    person: str = Field(min_length=1, max_length=MAX_TEXT)
    how: Literal["cluster", "question", "check", "suspect", "skip"]
    labels: dict[int, str] = Field(min_length=1, max_length=MAX_ANSWERS)


class Person(BaseModel):
    """Who asks."""

    person: str = Field(min_length=1, max_length=MAX_TEXT)


class Clusters:
    """The clusters of a session, as far as they are computed: number and probability of each row's cluster."""

    def __init__(self, trained: Trained, model: Any) -> None:
        self.model = model
        self.cluster: NDArray[np.int64] = np.full(trained.items.n, -1)
        self.probability: NDArray[np.float32] = np.zeros(trained.items.n, np.float32)
        self._items = trained.items
        Ahead(trained.worker, trained.items.order, self._compute).start()

    def _compute(self, index: NDArray[Any]) -> None:
        p = self.model.cluster_proba(self._items.at(index).X)
        self.cluster[index], self.probability[index] = p.argmax(1), p.max(1)

    def sheet(self, k: int) -> NDArray[np.int64]:
        """Rows of a cluster from the most certain one down to the middle."""
        members = np.flatnonzero(self.cluster == k)
        members = members[np.argsort(-self.probability[members], kind="stable")]
        core = members[: max(SHEET, round(CORE * len(members)))]
        return core[np.unique(np.linspace(0, len(core) - 1, min(SHEET, len(core))).astype(int))]


class Doubts:
    """How uncertain a classifier is of rows, as far as that is computed, and the questions chosen by it."""

    def __init__(self, trained: Trained) -> None:
        self.learner: Any = trained.run.learner  # pyright: ignore[reportAttributeAccessIssue]
        self.doubt: NDArray[np.float32] = np.full(trained.items.n, -1, np.float32)
        self._pool: list[int] = []
        self._prediction = trained.value  # another thread's work: it may be behind
        Ahead(trained.worker, trained.items.order, self._compute).start()

    def _compute(self, index: NDArray[Any]) -> None:
        self.doubt[index] = self.learner.doubt(index)

    def next(self, n: int, excluded: NDArray[np.bool_]) -> list[int]:
        """The rows to ask for, none of the excluded ones; their predictions are known."""
        rows = [row for row in self._pool if not excluded[row]]
        if len(rows) < n:
            left = np.flatnonzero((self.doubt >= 0) & (self._prediction >= 0) & ~excluded)
            self._pool = rows = (
                self.learner.choose(left, self.doubt[left], min(POOL, len(left))).tolist() if len(left) else []
            )
        return rows[:n]


class Desk:
    """What the room keeps from one request to the next, of one model."""

    trained: Trained
    run: LabelledRun

    def __init__(self, trained: Trained, before: "Desk | None") -> None:
        run = trained.run
        assert isinstance(run, LabelledRun)
        self.trained, self.run = trained, run
        self.answers: Answers = run.answers if before is None else before.answers
        self.clusters: Clusters = Clusters(trained, run.learner.clusters) if before is None else before.clusters
        self.doubts: Doubts | None = None if run.learner.model is None else Doubts(trained)
        self.leases: dict[int, tuple[str, float]] = {} if before is None else before.leases
        name = "clusters" if run.learner.model is None else "model"
        self.model: str = f"{name}-{sha256((run.path / f'{name}.safetensors').read_bytes()).hexdigest()[:8]}"
        self.n_taught: int = len(run.learner.labels) if run.learner.model is not None else 0

    def show(self) -> None:
        """Read what other processes have answered, and show all labels in the other rooms."""
        self.answers.read()
        items = self.trained.items
        for name in sorted(set(self.answers.labels.values()) - set(items.class_names)):
            items.class_names.append(name)
        number = {name: k for k, name in enumerate(items.class_names)}
        items.labels[:] = -1
        for row, label in self.answers.labels.items():
            items.labels[row] = number[label]

    def excluded(self, person: str) -> NDArray[np.bool_]:
        """Rows that this person is not asked for: labelled or skipped ones, and those that others are asked for now."""
        excluded = np.zeros(self.trained.items.n, bool)
        now = time.monotonic()
        self.leases = {row: lease for row, lease in self.leases.items() if now - lease[1] < LEASE}
        leased = [row for row, lease in self.leases.items() if lease[0] != person]
        excluded[[*self.answers.labels, *self.answers.skipped(person), *leased]] = True
        return excluded

    def names_of_clusters(self) -> dict[int, tuple[str, int]]:
        """The most frequent label of the labelled rows of each cluster that has some, and how many these are."""
        counts: dict[int, dict[str, int]] = {}
        for row, label in self.answers.labels.items():
            if (k := int(self.clusters.cluster[row])) >= 0:
                counts.setdefault(k, {})[label] = counts.get(k, {}).get(label, 0) + 1
        return {k: (max(labels, key=lambda name: labels[name]), sum(labels.values())) for k, labels in counts.items()}

    def predictions(self, rows: list[int]) -> dict[int, str]:
        """What the classifier, or before there is one the name of the cluster, says of rows; "" if nothing."""
        if self.doubts is None:
            names = self.names_of_clusters()
            return {row: names.get(int(self.clusters.cluster[row]), ("", 0))[0] for row in rows}
        values = self.trained.value
        return {row: self.trained.space.names[values[row]] if values[row] >= 0 else "" for row in rows}

    def accuracy(self) -> dict[str, Any] | None:
        """The share of random rows that the present model predicts as people label them, and its interval."""
        checks = {a.row: a for a in self.answers.log if a.how == "check" and a.model == self.model and a.prediction}
        rows = [row for row in checks if row in self.answers.labels]
        if not rows:
            return None
        return share_of(sum(checks[row].prediction == self.answers.labels[row] for row in rows), len(rows))


def desk_of(session: Session, trained: Trained) -> Desk:
    """The present desk; to be called in the worker."""
    desk: Desk | None = session.rooms.get("label")
    if session.kind != "labelling":
        raise InputError("expected a labelling session, got a run: start one with aae label ask FOLDER --studio")
    if desk is None or desk.trained is not trained:
        session.rooms["label"] = desk = Desk(trained, desk)
        desk.show()
    return desk


# --- what there is ---------------------------------------------------------------------------------------------------
@router.get("/api/label/state")
async def state(session: CurrentSession) -> dict[str, Any]:
    """How far the labelling is: classes, people, the present model and its accuracy, the training."""
    return await session.work(lambda trained: state_of(session, trained))


def state_of(session: Session, trained: Trained) -> dict[str, Any]:
    """The answer to `state`; to be called in the worker."""
    desk = desk_of(session, trained)
    desk.show()
    labels = desk.answers.labels
    counts: dict[str, int] = {}
    for label in labels.values():
        counts[label] = counts.get(label, 0) + 1
    people: dict[str, int] = {}
    for row in labels:
        if (last := desk.answers.last(row)) is not None and last.person:
            people[last.person] = people.get(last.person, 0) + 1
    names = desk.names_of_clusters()
    return {
        "n": trained.items.n,
        "n_labels": len(labels),
        "classes": [{"name": name, "n": counts[name]} for name in sorted(counts, key=_natural)],
        "people": [{"name": name, "n": n} for name, n in sorted(people.items(), key=lambda p: -p[1])],
        "clusters": {
            "n": desk.run.learner.clusters.n_clusters,
            "named": len(names),
            "done": float((desk.clusters.cluster >= 0).mean()),
        },
        "model": desk.model,
        "is_trained": desk.doubts is not None,
        "n_taught": desk.n_taught,
        "accuracy": desk.accuracy(),
        "training": _training(session),
        "file": f"{session.path.name}/{LOG}",
    }


def _natural(name: str) -> tuple[int, str]:
    return (int(name), "") if name.isdecimal() else (10**9, name.casefold())


def _training(session: Session) -> dict[str, Any]:
    """Whether the classifier is being trained, for how long, and why it failed the last time."""
    command, running = session.commands.get("label"), bool(owner(session.path))
    if command is None:
        return {"running": running, "seconds": 0.0, "problem": ""}
    return {
        "running": running or command.is_running,
        "seconds": command.seconds,
        "problem": command.problem,
        "n_labels": session.rooms["n_labels of the training"],
    }


@router.get("/api/label/clusters")
async def clusters(session: CurrentSession) -> list[dict[str, Any]]:
    """The clusters, the largest first: rows of each, its name so far, and how many of its rows have labels."""

    def job(trained: Trained) -> list[dict[str, Any]]:
        desk = desk_of(session, trained)
        desk.show()
        names = desk.names_of_clusters()
        numbers, sizes = np.unique(desk.clusters.cluster[desk.clusters.cluster >= 0], return_counts=True)
        n_done = max(1, int(sizes.sum()))
        return [
            {
                "cluster": int(k),
                "share": size / n_done,
                "rows": desk.clusters.sheet(int(k)).tolist(),
                "name": names.get(int(k), ("", 0))[0],
                "n_labels": names.get(int(k), ("", 0))[1],
            }
            for k, size in sorted(zip(numbers.tolist(), sizes.tolist(), strict=True), key=lambda pair: -pair[1])
        ]

    return await session.work(job)


@router.get("/api/label/modes")
async def modes(session: CurrentSession) -> Response:
    """What the decoder makes of each cluster and the mean style of its sheet: bytes of pictures; else nothing."""

    def job(trained: Trained) -> Response:
        desk = desk_of(session, trained)
        model = desk.clusters.model
        if trained.view.decoded != "image":
            return Response(status_code=204)
        sheets = [desk.clusters.sheet(k) for k in range(model.n_clusters)]
        z = [
            model.transform(trained.items.at(rows).X).mean(0) if len(rows) else np.zeros(model.latent_dim)
            for rows in sheets
        ]
        codes = np.concatenate([np.eye(model.n_clusters), z], 1)
        return binary(trained.view.pictures(as_samples(model, model.inverse_transform(codes.astype(np.float32)))))

    return await session.work(job)


@router.get("/api/label/questions")
async def questions(
    session: CurrentSession, person: str, how: Literal["question", "check"] = "question", n: int = 12
) -> list[dict[str, Any]]:
    """Rows to label, with what is known of them: those that help most, or random ones."""

    def job(trained: Trained) -> list[dict[str, Any]]:
        desk = desk_of(session, trained)
        desk.answers.read()
        excluded, count = desk.excluded(person), min(max(n, 1), MAX_QUESTIONS)
        if how == "check":
            order = trained.items.order[: trained.n_done].astype(np.int64)
            rows = order[~excluded[order]][:count].tolist()
        elif desk.doubts is not None:
            rows = desk.doubts.next(count, excluded)
        else:
            sheets = [desk.clusters.sheet(k) for k in range(desk.run.learner.clusters.n_clusters)]
            turns = [sheet[k] for k in range(SHEET) for sheet in sheets if k < len(sheet)]
            rows = [int(row) for row in turns if not excluded[row]][:count]
        now = time.monotonic()
        desk.leases |= {row: (person, now) for row in rows}
        return [{k: v for k, v in one.items() if k != "label"} for one in facts_of(trained, np.array(rows, np.int64))]

    return await session.work(job)


@router.get("/api/label/suspects")
async def suspects(session: CurrentSession, n: int = 24) -> list[dict[str, Any]]:
    """The rows whose labels the classifier, or another person, doubts most, without those that were kept."""

    def job(trained: Trained) -> list[dict[str, Any]]:
        desk = desk_of(session, trained)
        desk.answers.read()
        rows = np.array(sorted(desk.answers.labels), np.int64)
        if desk.doubts is None or not len(rows):
            return []
        p = desk.run.learner.model.predict_proba(trained.items.at(rows).X)
        names, doubted = trained.space.names, []
        number = {name: k for k, name in enumerate(names)}
        for row, one in zip(rows.tolist(), p, strict=True):
            last, label = desk.answers.last(row), desk.answers.labels[row]
            if last is not None and last.how == "suspect" and last.model == desk.model:
                continue
            by_person = desk.answers.labels_by_person(row)
            disagree = len(set(by_person.values())) > 1
            best, own = int(one.argmax()), number.get(label)
            if (own is not None and best != own) or disagree:
                doubt = 1 - (0.0 if own is None else float(one[own]))
                doubted.append(
                    {"item": row, "label": label, "person": "" if last is None else last.person, "doubt": doubt,
                     "suggestion": names[best], "probability": float(one[best]), "people": by_person}
                )  # fmt: skip
        doubted = sorted(doubted, key=lambda one: -one["doubt"])[: min(max(n, 1), MAX_SUSPECTS)]
        facts = facts_of(trained, np.array([one["item"] for one in doubted], np.int64)) if doubted else []
        return [fact | one for fact, one in zip(facts, doubted, strict=True)]

    return await session.work(job)


# --- answers ---------------------------------------------------------------------------------------------------------
@router.post("/api/label/answers")
async def answer(session: CurrentSession, answers: Labels) -> dict[str, Any]:
    """Add labels of rows to the log."""

    def job(trained: Trained) -> dict[str, Any]:
        desk = desk_of(session, trained)
        predictions = desk.predictions([row for row in answers.labels if 0 <= row < trained.items.n])
        desk.answers.add(answers.person, answers.how, answers.labels, predictions, desk.model)
        return {"predictions": list(predictions.values()), **state_of(session, trained)}

    return await session.work(job)


@router.post("/api/label/undo")
async def undo(session: CurrentSession, asking: Person) -> dict[str, Any]:
    """Undo what a person answered last."""

    def job(trained: Trained) -> dict[str, Any]:
        rows = desk_of(session, trained).answers.undo(asking.person)
        if not rows:
            raise InputError("expected an answer to undo, got none")
        return {"rows": rows, **state_of(session, trained)}

    return await session.work(job)


@router.post("/api/label/train")
async def train(session: CurrentSession) -> dict[str, Any]:
    """Train the classifier on the labels so far, in a process of its own."""

    def job(trained: Trained) -> dict[str, Any]:
        desk = desk_of(session, trained)
        desk.show()
        if owner(session.path) or _training(session)["running"]:
            raise InputError("expected a session that is not being trained, got one that is: wait for it")
        if len(set(desk.answers.labels.values())) < 2:
            raise InputError("expected labels for at least 2 classes, got fewer: label rows of another class")
        session.rooms["n_labels of the training"] = len(desk.answers.labels)
        session.commands["label"] = Command("label", "tell", str(session.path), str(session.path / LOG))
        return state_of(session, trained)

    return await session.work(job)
