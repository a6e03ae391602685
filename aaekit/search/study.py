"""A study of Optuna: trials are proposed, measured, pruned and stored, by one process or several."""

import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aaekit._extras import require
from aaekit.errors import InputError, TrainingError
from aaekit.search.scores import Score
from aaekit.search.space import Dimension

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, Trial

__all__ = [
    "Progress",
    "TrialResult",
    "best_of",
    "importances",
    "open_storage",
    "open_study",
    "results",
    "run",
    "shown_storage",
]

DATABASES = ("sqlite", "postgresql", "mysql", "mariadb", "oracle", "mssql")
JOURNALS, SQLITE = (".log", ".jsonl"), (".db", ".sqlite", ".sqlite3")
HEARTBEAT = 60  # seconds; a trial of a database whose process has not been heard of for five of them counts as failed
N_BEFORE_PRUNING = 4  # trials that none is compared with less of
N_RANDOM = 6  # trials before the sampler models the space
QUESTION, DEFAULTS, STD_ERROR, DETAILS, VALUES, SECONDS, REASON = (
    "question", "is default", "standard error", "details", "values", "seconds", "reason",
)  # fmt: skip


@dataclass(frozen=True)
class TrialResult:
    """A trial that has ended.

    Parameters
    ----------
    number : int
        Its number.
    values : dict
        What was tried, by parameter; of the trial of the defaults those that are in the space.
    score : float or None
        None if it was pruned or has failed.
    state : str
        "complete", "pruned" or "failed".
    is_default : bool
        Whether it is the trial of the configuration as it was given.
    std_error : float or None
        Of the score.
    details : dict
        What the score consists of.
    intermediate : dict of int to float
        Intermediate scores by the percentage of the trial that they came after.
    seconds : float
        How long it took.
    reason : str
        Why it has failed.
    """

    number: int
    values: Mapping[str, Any]
    score: float | None
    state: str
    is_default: bool
    std_error: float | None
    details: Mapping[str, float]
    intermediate: Mapping[int, float]
    seconds: float
    reason: str


class Progress(NamedTuple):
    """What `run` reports after each trial.

    Attributes
    ----------
    trial : TrialResult
        The trial.
    best : TrialResult or None
        The best one so far.
    n_done, n_trials : int
        How many trials have ended, and how many there are to be.
    seconds_left : float
        Expected time until the end.
    """

    trial: TrialResult
    best: TrialResult | None
    n_done: int
    n_trials: int
    seconds_left: float


# --- storage ---------------------------------------------------------------------------------------------------------
def open_storage(place: str) -> "BaseStorage":
    """Open the storage of studies; it is made if it is not there.

    Parameters
    ----------
    place : str
        A file whose name ends in .log (a journal, which processes on several machines may append to) or .db (SQLite),
        or the URL of a database, such as postgresql+psycopg://USER@HOST/NAME.

    Raises
    ------
    InputError
        For other places, and if the storage cannot be opened or is damaged.
    """
    optuna = require("optuna", extra="search")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    suffix, dialect = Path(place).suffix.lower(), place.partition(":")[0].partition("+")[0]
    if "://" in place:
        if dialect not in DATABASES:
            raise InputError(f"--storage: expected the URL of a database ({', '.join(DATABASES)}), got {dialect}")
        url = place
    elif suffix in SQLITE:
        url = f"sqlite:///{Path(place).expanduser().resolve()}"
    elif suffix in JOURNALS:
        url = ""
    else:
        raise InputError(
            f"--storage: expected a file ending in .log or .db, or the URL of a database, got {place}: name it "
            "for instance study.log"
        )
    with _usable(place), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna marks as experimental what it has had for years
        if "://" not in place:
            Path(place).expanduser().parent.mkdir(parents=True, exist_ok=True)
        if url:
            return optuna.storages.RDBStorage(url, heartbeat_interval=HEARTBEAT)
        journal = optuna.storages.journal
        path = str(Path(place).expanduser())
        lock = journal.JournalFileOpenLock(path) if os.name == "nt" else journal.JournalFileSymlinkLock(path)
        return optuna.storages.JournalStorage(journal.JournalFileBackend(path, lock))


@contextmanager
def _usable(place: str, kind: type[Exception] = Exception) -> Iterator[None]:
    """Turn what libraries raise about a storage into one line without its password."""
    try:
        yield
    except (InputError, TrainingError):
        raise
    except ImportError as error:
        raise InputError(
            f"{shown_storage(place)}: expected the driver of this database to be installed, got none: install it, for "
            "postgresql+psycopg:// by pip install 'psycopg[binary]'"
        ) from error
    except kind as error:  # of SQLAlchemy, its drivers and Optuna, and of damaged JSON
        problem = " ".join(str(error).split()).replace(place, shown_storage(place))[:200]
        raise InputError(
            f"{shown_storage(place)}: expected a storage that can be read and written, got "
            f"({type(error).__name__}: {problem}): check the file, or the address and its driver"
        ) from error


def shown_storage(place: str) -> str:
    """Return where studies are stored, without a password."""
    if "://" not in place:
        return place
    scheme, _, rest = place.partition("://")
    user, at, host = rest.partition("?")[0].rpartition("@")
    return f"{scheme}://{user.partition(':')[0]}{at}{host}"


def open_study(storage: "BaseStorage", name: str, question: Mapping[str, Any], place: str) -> "Study":
    """Open a study, or make it; `question` is what its trials must agree in.

    Raises
    ------
    InputError
        If there is a study of this name that asks something else, or the storage cannot be used.
    """
    optuna = require("optuna", extra="search")
    with _usable(place):
        pruner = optuna.pruners.MedianPruner(n_startup_trials=N_BEFORE_PRUNING, n_warmup_steps=10)
        study = optuna.create_study(
            storage=storage, study_name=name, direction="minimize", load_if_exists=True, pruner=pruner
        )
        if QUESTION not in study.user_attrs:
            study.set_user_attr(QUESTION, dict(question))
        before = study.user_attrs[QUESTION]
    if differing := [key for key in {**before, **question} if before.get(key) != question.get(key)]:
        raise InputError(
            f"{shown_storage(place)}: expected the study {name} to ask the same, got one that differs in "
            f"{', '.join(differing)}: choose another storage, or another --study"
        )
    return study


# --- trials ----------------------------------------------------------------------------------------------------------
def results(study: "Study") -> list[TrialResult]:
    """Return all trials that have ended, in their order."""
    from optuna.trial import TrialState

    ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))
    return [_result(trial) for trial in ended]


def _result(trial: "FrozenTrial") -> TrialResult:
    attributes, states = trial.user_attrs, {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
    return TrialResult(
        trial.number,
        attributes.get(VALUES, {}),
        trial.value if trial.state.name == "COMPLETE" else None,
        states[trial.state.name],
        DEFAULTS in attributes,
        attributes.get(STD_ERROR),
        attributes.get(DETAILS, {}),
        dict(trial.intermediate_values),
        float(attributes.get(SECONDS, 0.0)),
        attributes.get(REASON, ""),
    )


def best_of(trials: Sequence[TrialResult]) -> TrialResult | None:
    """Return the trial of the lowest score; of equal ones the first, so that the defaults win a tie."""
    complete = [trial for trial in trials if trial.score is not None]
    return min(complete, key=lambda trial: (trial.score, not trial.is_default, trial.number), default=None)


def run(
    study: "Study",
    n_trials: int,
    space: Sequence[Dimension],
    defaults: Mapping[str, Any],
    score: Score,
    make: Callable[[Mapping[str, Any], int], Any],
    random_state: int,
    place: str,
    is_shared: bool = False,
    report: Callable[[Progress], object] = lambda progress: None,
) -> list[TrialResult]:
    """Try values until the study has so many trials that are complete or were pruned.

    What the trainings warn of is not shown: it would be the same in each trial.

    Parameters
    ----------
    study : Study
        Of `open_study`; trials that are in it count.
    n_trials : int
        Number of trials, those of other processes included.
    space : sequence of Dimension
        What is varied.
    defaults : mapping
        The values of the configuration as it was given, which is the first trial and never pruned.
    score : Score
        What is minimised.
    make : callable
        Makes an estimator of values, and of how much its random state is raised.
    random_state : int
        Seed. What a trial tries depends on it, on the number of the trial, and on the trials before it.
    place : str
        The storage, for messages.
    is_shared : bool, default=False
        Whether other processes may work on the study; if not, trials that never ended were killed.
    report : callable, optional
        Called with a `Progress` after each trial.

    Returns
    -------
    list of TrialResult
        All trials that have ended.

    Raises
    ------
    InputError
        If the configuration as it was given cannot be trained, `n_trials` in a row fail, or the storage cannot be used.
    """
    import optuna
    from optuna.trial import TrialState

    def objective(trial: "Trial") -> float:
        seed = np.random.SeedSequence([random_state, trial.number]).generate_state(1)[0]
        study.sampler = optuna.samplers.TPESampler(n_startup_trials=N_RANDOM, seed=int(seed), constant_liar=is_shared)
        return _measured(trial, space, score, make)

    began, n_failed, before = time.perf_counter(), 0, None
    with _usable(place, optuna.exceptions.OptunaError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not is_shared:
            for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                study.tell(trial.number, state=TrialState.FAIL)
        while (n_done := _n_done(ended := results(study))) < n_trials:
            before = n_done if before is None else before
            _propose_defaults(study, space, defaults)
            study.optimize(objective, n_trials=1, catch=(InputError, TrainingError), callbacks=[own := _Last()])
            result, ended = _result(own.trial), results(study)
            n_failed = n_failed + 1 if result.state == "failed" else 0
            if result.is_default and n_failed:
                raise InputError(f"expected options that can be trained, got ({result.reason}): change them")
            if n_failed >= n_trials:
                raise InputError(
                    f"expected trials that can be trained, got {n_failed} failures in a row, the last one "
                    f"({result.reason}): search other values"
                )
            n_done = _n_done(ended)
            left = (time.perf_counter() - began) / max(1, n_done - before) * max(0, n_trials - n_done)
            report(Progress(result, best_of(ended), n_done, max(n_trials, n_done), left))
    return ended


class _Last:
    """Keeps the trial that has ended, as a callback of Optuna."""

    trial: Any = None

    def __call__(self, study: "Study", trial: "FrozenTrial") -> None:
        self.trial = trial


def _n_done(ended: Sequence[TrialResult]) -> int:
    """How many trials are complete or were pruned."""
    return sum(trial.state != "failed" for trial in ended)


def _propose_defaults(study: "Study", space: Sequence[Dimension], defaults: Mapping[str, Any]) -> None:
    """Let the next trial be that of the defaults, if there is none yet."""
    if any(DEFAULTS in t.user_attrs for t in study.get_trials(deepcopy=False) if t.state.name != "FAIL"):
        return
    values = {d.name: defaults[d.name] for d in space if d.name in defaults and d.holds(defaults[d.name])}
    study.enqueue_trial(values, user_attrs={DEFAULTS: list(values)})


def _measured(
    trial: "Trial", space: Sequence[Dimension], score: Score, make: Callable[[Mapping[str, Any], int], Any]
) -> float:
    """Measure a trial, and store what belongs to its score."""
    from optuna.exceptions import TrialPruned

    began, proposed = time.perf_counter(), trial.user_attrs.get(DEFAULTS)
    values = {d.name: d.value(d.suggest(trial)) for d in space if proposed is None or d.name in proposed}
    trial.set_user_attr(VALUES, values)

    def intermediate(value: float, percent: int) -> None:
        trial.report(value, percent)
        if proposed is None and percent < 100 and trial.should_prune():
            raise TrialPruned

    try:
        measured = score.measure(lambda k: make(values, k), intermediate)
        if not np.isfinite(measured.value):
            raise TrainingError(f"expected a finite score, got {measured.value}")
    except (InputError, TrainingError) as error:
        trial.set_user_attr(REASON, " ".join(str(error).split()))
        raise
    finally:
        trial.set_user_attr(SECONDS, round(time.perf_counter() - began, 2))
    trial.set_user_attr(STD_ERROR, measured.std_error)
    trial.set_user_attr(DETAILS, dict(measured.details))
    return measured.value


def importances(study: "Study", space: Sequence[Dimension], random_state: int) -> dict[str, float]:
    """Return the share of the variance of scores that each parameter explains (fANOVA); empty for too few trials.

    References
    ----------
    Hutter, Hoos and Leyton-Brown, *An efficient approach for assessing hyperparameter importance* (2014).
    """
    import optuna

    names = {d.name for d in space}
    complete = [t for t in study.get_trials(deepcopy=False) if t.state.name == "COMPLETE" and set(t.params) == names]
    if len(complete) <= len(space) or len({t.value for t in complete}) < 3:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        alone = optuna.create_study(direction="minimize")
        alone.add_trials(complete)
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=random_state)
        return dict(optuna.importance.get_param_importances(alone, evaluator=evaluator))
