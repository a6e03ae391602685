"""The folder of a labelling session: its settings, its rows, and the log of answers, which several people may write."""

import csv
import io
import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from typing_extensions import TypedDict

from aaekit._files import append_csv, from_text_cell, read_json
from aaekit.errors import InputError, listed

__all__ = ["LOG", "MAX_TEXT", "SETTINGS", "Answer", "Answers", "How", "Settings", "load", "read_settings"]

SETTINGS, LOG = "settings.json", "answers.csv"
MAX_TEXT = 80  # characters of a label, and of the name of a person

How = Literal["cluster", "question", "check", "suspect", "skip", "undo", "file"]


class Settings(TypedDict):
    """What a session was started with."""

    data: str
    clusters: int
    max_steps: int | None
    random_state: int
    data_dir: str | None
    data_options: list[str]
    image_shape: list[int] | None
    schema: dict[str, Any] | None
    features: str | None
    checksum: str


def read_settings(folder: Path) -> Settings:
    """Read the settings of a session.

    Raises
    ------
    InputError
        If the folder has no session, or a damaged one.
    """
    path = folder / SETTINGS
    if not path.exists():
        raise InputError(f"{folder}: expected a session, got none: start one with aae label ask {folder} --data YOURS")
    return read_json(path, "the settings of a session", Settings, "restore it, or start a new session")


def load(folder: Path, settings: Settings) -> tuple[Any, Any]:
    """Return the `ActiveLearner` of a folder, or a new one, and its `Dataset`."""
    from aaekit import data
    from aaekit.active import ActiveLearner
    from aaekit.estimators import ClusteringAAE, SemiSupervisedAAE
    from aaekit.runs.data import data_options

    options = data_options(settings["data_options"])
    dataset = data.load(
        settings["data"],
        settings["data_dir"],
        image_shape=settings["image_shape"],
        features=settings["features"],
        **options,
    )
    settings["checksum"] = dataset.checksum
    settings["schema"] = None if dataset.schema is None else dataset.schema.as_dict()
    seed = settings["random_state"]
    common = {"random_state": seed, "max_steps": settings["max_steps"]}
    classifier = SemiSupervisedAAE(**common)
    if (folder / "session.json").exists():
        return ActiveLearner.load(folder, dataset.X, classifier=classifier), dataset
    clusters = ClusteringAAE(n_clusters=settings["clusters"], **common)
    return ActiveLearner(dataset.X, clusters=clusters, classifier=classifier, random_state=seed), dataset


# --- answers ---------------------------------------------------------------------------------------------------------
class Answer(NamedTuple):
    """A line of the log.

    Attributes
    ----------
    row : int
        Its number.
    label : str
        "" if nobody could label it, or if its label was withdrawn.
    person : str
        Who gave it.
    how : str
        In which way: see `How`.
    prediction : str
        What the model said of the row before; "" if it said nothing.
    model : str
        Which model that was.
    time : str
        In ISO format, UTC; the answers that one person gave at once have the same.
    """

    row: int
    label: str
    person: str
    how: How
    prediction: str = ""
    model: str = ""
    time: str = ""


class Answers:
    """The log of answers of a session: a CSV file to which lines are added and in which none is changed.

    Lines are added by one write each time, so that several processes may do it at once; a line that a crash cut off is
    ignored. The last line of a row has its label.

    Parameters
    ----------
    folder : Path
        Of the session.
    n_rows : int
        Of its data.
    taught : mapping of int to label
        The labels that its model has learned; those of rows that the log does not have are added to it.

    Attributes
    ----------
    log : list of Answer
        All lines so far, as `read` has read them.
    labels : dict of int to str
        The label of each row that has one.

    Raises
    ------
    InputError
        If the file is none of answers to this session.
    """

    path: Path
    n_rows: int

    def __init__(self, folder: Path, n_rows: int, taught: Mapping[int, Any] = {}) -> None:
        self.path, self.n_rows = folder / LOG, n_rows
        self._lock = threading.RLock()
        self._forget()
        self.read()
        if new := {row: str(label) for row, label in taught.items() if row not in self._by_row}:
            self.add("", "file", new)

    def _forget(self) -> None:
        self.log: list[Answer] = []
        self.labels: dict[int, str] = {}
        self._by_row: dict[int, list[Answer]] = {}
        self._batches: dict[str, list[str]] = {}  # times of the answers of a person that are not undone
        self._undone: tuple[str, str] = "", ""  # person and time of the last undoing
        self._n_read = 0

    # --- reading -----------------------------------------------------------------------------------------------------
    def read(self) -> None:
        """Read the lines that others have added."""
        with self._lock:
            try:
                size = self.path.stat().st_size if self.path.exists() else 0
                if size < self._n_read:
                    self._forget()
                if size == self._n_read:
                    return
                with open(self.path, "rb") as file:
                    file.seek(self._n_read)
                    content = file.read()
                text = content[: content.rfind(b"\n") + 1].decode("utf-8-sig")
            except (OSError, UnicodeDecodeError) as error:
                raise InputError(f"{self.path}: expected a log of answers, cannot read it: {error}") from error
            lines = list(csv.reader(io.StringIO(text)))
            if not self._n_read and lines:
                header, *lines = lines
                if header != list(Answer._fields):
                    raise InputError(
                        f"{self.path}: expected the columns {', '.join(Answer._fields)}, got {listed(header)}: "
                        "restore it, or give a file of your own to aae label tell"
                    )
            self._n_read += content.rfind(b"\n") + 1
            for line in lines:
                if len(line) == len(Answer._fields) and line[0].isdecimal() and line[3] in get_args(How):
                    self._take(line)

    def _take(self, line: list[str]) -> None:
        row, label, person, how, prediction, model, time = line
        label, person, prediction = (from_text_cell(cell) for cell in (label, person, prediction))
        answer = Answer(int(row), label, person, how, prediction, model, time)  # pyright: ignore[reportArgumentType]
        if answer.row >= self.n_rows:
            raise InputError(
                f"{self.path}: expected rows from 0 to {self.n_rows - 1}, got {row}: restore it, or start a new session"
            )
        self.log.append(answer)
        batches = self._batches.setdefault(person, [])
        if how == "undo":
            if batches and self._undone != (person, time):
                batches.pop()
            self._undone = person, time
        elif time not in batches[-1:]:
            batches.append(time)
        if how == "skip":
            return
        self._by_row.setdefault(answer.row, []).append(answer)
        if label:
            self.labels[answer.row] = label
        else:
            self.labels.pop(answer.row, None)

    def last(self, row: int) -> Answer | None:
        """The newest answer about a row that is not a skipped question."""
        answers = self._by_row.get(row)
        return answers[-1] if answers else None

    def labels_by_person(self, row: int) -> dict[str, str]:
        """The last label that each person gave a row, of those who gave one."""
        return {a.person: a.label for a in self._by_row.get(row, ()) if a.label and a.how not in ("undo", "file")}

    def skipped(self, person: str) -> set[int]:
        """The rows that a person could not label."""
        times = set(self._batches.get(person, ()))
        return {a.row for a in self.log if a.how == "skip" and a.person == person and a.time in times}

    # --- writing -----------------------------------------------------------------------------------------------------
    def add(
        self, person: str, how: How, labels: Mapping[int, str], predictions: Mapping[int, str] = {}, model: str = ""
    ) -> None:
        """Add the answers that a person gave at once; they are on the disk afterwards.

        Raises
        ------
        InputError
            For rows that do not exist, labels that are no short texts, or a file that cannot be written.
        """
        labels = {row: checked_text(label, "a label", empty=how in ("skip", "undo")) for row, label in labels.items()}
        person = checked_text(person, "the name of a person", empty=how == "file")
        if labels and not 0 <= min(labels) <= max(labels) < self.n_rows:
            raise InputError(f"expected rows from 0 to {self.n_rows - 1}, got {min(labels)} to {max(labels)}")
        with self._lock:
            self._write(
                Answer(row, label, person, how, predictions.get(row, ""), model) for row, label in labels.items()
            )

    def undo(self, person: str) -> list[int]:
        """Undo what a person answered last, but for rows that another one has labelled since; return the rows."""
        with self._lock:
            self.read()
            if not (batches := self._batches.get(person)):
                return []
            answers = [a for a in self.log if a.person == person and a.time == batches[-1] and a.how != "undo"]
            before = {}
            for answer in answers:
                history = self._by_row.get(answer.row, [])
                if history and history[-1] is answer:
                    before[answer.row] = history[-2].label if len(history) > 1 else ""
            rows = [a.row for a in answers]
            if not before:  # nothing to restore, but it counts as undone
                before = {rows[0]: self.labels.get(rows[0], "")}
            self.add(person, "undo", before)
            return rows

    def _write(self, answers: Iterable[Answer]) -> None:
        time = datetime.now(UTC).isoformat(timespec="microseconds")
        append_csv(self.path, Answer._fields, [answer._replace(time=time) for answer in answers])
        self.read()


def checked_text(text: str, what: str, empty: bool = False) -> str:
    """A text of one line without spaces around it.

    Raises
    ------
    InputError
        If it is long, has characters that cannot be printed, or is empty although it must not be.
    """
    text = text.strip()
    if len(text) > MAX_TEXT or not text.isprintable() or not (text or empty):
        raise InputError(f"expected {what} of 1 to {MAX_TEXT} printable characters, got {text[:MAX_TEXT]!r}")
    return text
