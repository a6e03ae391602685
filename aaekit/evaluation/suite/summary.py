"""What the logs of a suite say: regrets, tables, lines, and which method to use on a set of one's own."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from aaekit.evaluation import metrics
from aaekit.evaluation.suite.tasks import FAMILIES
from aaekit.report import Table

__all__ = [
    "Regret",
    "lines",
    "method_table",
    "other_scores",
    "questions",
    "regrets",
    "short_table",
    "table",
    "verdict",
]

Log = Mapping[str, Any]
N_RESAMPLES = 2000  # of the rows, for the interval of a difference
OTHER_SCORES = {  # of each family: what is averaged besides the loss, and its text
    "classes": {"calibration_error": "expected calibration error (%)"},
    "rare": {"average_precision": "average precision (%)", "calibration_error": "expected calibration error (%)"},
    "clusters": {"ari": "adjusted Rand index", "majority_error": "error by majority rule (%)"},
    "maps": {"knn_error": "nearest-neighbour error (%)", "trustworthiness": "trustworthiness"},
    "outliers": {"auc": "area under the ROC curve"},
}


class Regret(NamedTuple):
    """What our method loses by comparison with the best simple one on one question.

    Attributes
    ----------
    family, data, question : str
        The question: a family, a set, and its labels or variant.
    losses : dict
        Each method's losses, a number for each draw.
    best : str
        The simple method of the lowest mean loss.
    ours : str
        Our method.
    """

    family: str
    data: str
    question: str
    losses: dict[str, list[float]]
    best: str
    ours: str

    @property
    def value(self) -> float:
        """Our mean loss minus that of the best simple method, in points."""
        return float(np.mean(self.losses[self.ours]) - np.mean(self.losses[self.best]))

    @property
    def by_draw(self) -> list[float]:
        """The same in each draw."""
        return [a - b for a, b in zip(self.losses[self.ours], self.losses[self.best], strict=False)]


def regrets(logs: Iterable[Log]) -> list[Regret]:
    """Regrets of all questions that our method and a simple one have answered; draws are averaged.

    Parameters
    ----------
    logs : iterable of dict
        Logs of `run`.
    """
    ours = {family: next(m.name for m in FAMILIES[family].methods if m.is_ours and m.uses == "all")
            for family in FAMILIES}  # fmt: skip
    made = []
    for (family, data, question), losses in _losses(logs).items():
        of_family = {method.name for method in FAMILIES[family].methods if method.is_simple}
        simple = {name: values for name, values in losses.items() if name in of_family}
        if simple and ours[family] in losses:
            best = min(simple, key=lambda name, values=simple: float(np.mean(values[name])))
            made.append(Regret(family, data, question, losses, best, ours[family]))
    return made


def _losses(logs: Iterable[Log]) -> dict[tuple[str, str, str], dict[str, list[float]]]:
    """The losses of each method for each family, set and question."""
    losses: dict[tuple[str, str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for log in sorted(logs, key=lambda log: log["task"]["seed"]):
        losses[_key(log)][log["method"]].append(log["scores"]["loss"])
    return {key: dict(methods) for key, methods in losses.items()}


def _key(log: Log) -> tuple[str, str, str]:
    """Family, set and question of a log; normal classes and folds are averaged as draws are."""
    task = log["task"]
    name = task["data"].replace("\\", "/").rpartition("/")[2]
    if task["variant"].startswith("fold "):
        return task["family"], name, "cross-fitted"
    if task["family"] == "outliers":
        return task["family"], name, "each class normal in turn"
    if task["family"] == "classes":
        return task["family"], name, f"{task['k']} per class" if task["k"] else "all labels"
    return task["family"], name, task["variant"] or "no labels"


# --- tables ----------------------------------------------------------------------------------------------------------
def table(logs: Sequence[Log], family: str) -> Table:
    """The losses of a family: a line per question, a column per method, mean ± standard deviation over draws."""
    names = [method.name for method in FAMILIES[family].methods]
    questions = {key: losses for key, losses in _losses(logs).items() if key[0] == family}
    values = {(r.data, r.question): r.value for r in regrets(logs) if r.family == family}
    present = [name for name in names if any(name in losses for losses in questions.values())]
    rows = [
        [data, question, *(_mean_and_sd(losses.get(name, [])) for name in present), _signed(values, (data, question))]
        for (_, data, question), losses in questions.items()
    ]
    uneven = sorted({_key(log)[1] for log in logs if log["task"]["family"] == family and log["uneven"]})
    note = "Regret: our loss minus that of the best simple method, in points; below 0, ours is better."
    if family in ("classes", "rare") and uneven:
        note += (
            f" Of sets whose largest class has more than 1.5 times the rows of the smallest ({', '.join(uneven)}), the "
            "error is balanced: the mean over classes."
        )
    return Table(FAMILIES[family].title, ["set", "labels", *present, "regret"], rows, note)


def short_table(logs: Sequence[Log]) -> Table:
    """A line per question of all families: our loss beside that of the best simple method, means over draws."""
    columns = ["set", "labels", "best simple method", "its loss", "our loss", "regret"]
    rows = [
        [r.data, r.question, r.best, *(_mean_and_sd(r.losses[name]) for name in (r.best, r.ours)), f"{r.value:+.1f}"]
        for r in regrets(logs)
    ]
    return Table("Our methods and the best simple ones", columns, rows)


def method_table(logs: Sequence[Log], question: str) -> Table:
    """The methods on one set with the labels of a question: errors over all folds or draws, and times."""
    own = _of_question(logs, question)
    rows = [
        [name, f"{losses:.1f}", f"{_seconds(own, name):.1f}"]
        for name, losses in sorted(_pooled_losses(own).items(), key=lambda item: item[1])
    ]
    kind = "balanced error" if own[0]["uneven"] else "error"
    return Table(_scored(own, question), ["method", f"{kind} (%)", "time (s)"], rows)


def other_scores(logs: Sequence[Log], family: str) -> Table:
    """Means over all sets and draws of a family, by method: other measures, and the time of training."""
    texts = OTHER_SCORES[family]
    by_method: dict[str, list[Log]] = defaultdict(list)
    for log in logs:
        if log["task"]["family"] == family:
            by_method[log["method"]].append(log)
    rows = []
    for name in (method.name for method in FAMILIES[family].methods if method.name in by_method):
        own = by_method[name]
        scores = [[log["scores"][key] for log in own if key in log["scores"]] for key in texts]
        means = [f"{np.mean(values):.3g}" if values else "" for values in scores]
        seconds = [log["seconds"] for log in own]
        rows.append([name, *means, f"{np.mean(seconds):.1f}", f"{max(seconds):.1f}"])
    columns = ["method", *texts.values(), "mean time (s)", "longest time (s)"]
    return Table(f"{FAMILIES[family].title.partition(':')[0]}: means over sets and draws", columns, rows)


def _mean_and_sd(values: Sequence[float]) -> str:
    """As text, with one digit."""
    if not values:
        return ""
    return f"{np.mean(values):.1f}" + (f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else "")


def _signed(values: Mapping[Any, float], key: Any) -> str:
    return f"{values[key]:+.1f}" if key in values else ""


def lines(logs: Sequence[Log]) -> list[str]:
    """A line for each family and number of labels: mean regret, worst regret, and the set that it is of."""
    groups: dict[tuple[str, str], list[Regret]] = defaultdict(list)
    for regret in regrets(logs):
        groups[regret.family, regret.question].append(regret)
    made = []
    for (family, question), members in groups.items():
        worst = max(members, key=lambda regret: regret.value)
        mean = float(np.mean([regret.value for regret in members]))
        n = len(members)
        made.append(
            f"{FAMILIES[family].title.partition(':')[0]}, {question}: mean regret {mean:+.2f} points over {n} "
            f"set{'s' if n > 1 else ''}; worst {worst.value:+.2f} ({worst.data}, best: {worst.best})"
        )
    return made


# --- which method to use ---------------------------------------------------------------------------------------------
def questions(logs: Sequence[Log]) -> list[str]:
    """The different labels that methods got, such as "5 per class"."""
    return list(dict.fromkeys(_key(log)[2] for log in logs))


def verdict(logs: Sequence[Log], question: str) -> str:
    """A sentence that says which method to use with so many labels, or that methods cannot be told apart.

    The predictions of two methods are compared on the same rows: they can be told apart if the 95 % interval of the
    difference of their errors, from 2,000 resamples of the rows, does not contain 0. Of several that cannot be told
    apart from the best, the fastest is recommended.

    Parameters
    ----------
    logs : sequence of dict
        Logs of `run` with predictions, of one set.
    question : str
        One of `questions`.
    """
    own = _of_question(logs, question)
    losses = _pooled_losses(own)
    kind = "balanced error" if own[0]["uneven"] else "error"
    best, *others = sorted(losses, key=lambda name: (losses[name], _seconds(own, name)))
    if not others:
        return f"{best} has {losses[best]:.1f} % {kind}; there is no other method to compare it with"
    intervals = {name: _interval(own, name, best) for name in others}
    tied = [best, *(name for name in others if intervals[name][0] <= 0)]
    if len(tied) == 1:
        (low, high), gain = intervals[others[0]], losses[others[0]] - losses[best]
        return (
            f"use {best}: {losses[best]:.1f} % {kind}, {gain:.1f} points less than {others[0]}, the next best "
            f"(95 % interval {low:.1f} to {high:.1f})"
        )
    fastest = min(tied, key=lambda name: _seconds(own, name))
    names = f"{', '.join(tied[:-1])} and {tied[-1]}"
    errors = f"{kind} {losses[tied[0]]:.1f} to {losses[tied[-1]]:.1f} %"
    return f"{names} cannot be told apart ({errors}): use {fastest}, the fastest of them"


def _of_question(logs: Sequence[Log], question: str) -> list[Log]:
    """The logs of a question, of methods that have a result in each fold or draw."""
    own = [log for log in logs if _key(log)[2] == question]
    names = [log["method"] for log in own]
    return [log for log in own if names.count(log["method"]) == max(map(names.count, names))]


def _scored(own: Sequence[Log], question: str) -> str:
    """The rows that errors are of."""
    n = len(_pooled(own, own[0]["method"])[0])
    if question == "cross-fitted":
        return f"Cross-fitted on {n} labelled rows"
    n_draws = len({log["task"]["seed"] for log in own})
    return f"{question}, on {n // n_draws} test rows" + (f", {n_draws} draws" if n_draws > 1 else "")


def _seconds(own: Sequence[Log], method: str) -> float:
    """The mean time of training."""
    return float(np.mean([log["seconds"] for log in own if log["method"] == method]))


def _pooled(own: Sequence[Log], method: str) -> tuple[np.ndarray, np.ndarray]:
    """True and predicted classes of all folds or draws."""
    order = sorted(
        (log for log in own if log["method"] == method), key=lambda log: (log["task"]["seed"], log["task"]["variant"])
    )
    true, predicted = (np.concatenate([log[key] for log in order]) for key in ("true", "predicted"))
    return true, predicted


def _pooled_losses(own: Sequence[Log]) -> dict[str, float]:
    """The error of each method over all folds or draws."""
    loss = _loss(own)
    return {name: loss(*_pooled(own, name)) for name in dict.fromkeys(log["method"] for log in own)}


def _loss(own: Sequence[Log]) -> Callable[..., float]:
    return metrics.balanced_error_rate if own[0]["uneven"] else metrics.error_rate


def _interval(own: Sequence[Log], one: str, other: str) -> tuple[float, float]:
    """The 95 % interval of the difference of the losses of two methods on the same rows."""
    (true, predicted), (_, predicted_by_other) = _pooled(own, one), _pooled(own, other)
    loss, rng, n = _loss(own), np.random.default_rng(0), len(true)
    differences = []
    for _ in range(N_RESAMPLES):
        rows = rng.integers(n, size=n)
        differences.append(loss(true[rows], predicted[rows]) - loss(true[rows], predicted_by_other[rows]))
    low, high = np.quantile(differences, (0.025, 0.975))
    return float(low), float(high)
