"""The page of a search: the best values, all trials, and what matters."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aaekit import plots, report
from aaekit.runs.config import versions
from aaekit.search.scores import Score
from aaekit.search.space import Dimension
from aaekit.search.study import TrialResult, best_of

__all__ = ["conclusion", "value_text", "write_page"]


def conclusion(trials: Sequence[TrialResult], score: Score) -> str:
    """Say in a sentence how the best trial compares with the configuration as it was given."""
    best, default = best_of(trials), next((t for t in trials if t.is_default and t.score is not None), None)
    if best is None or best.score is None:
        return "no trial is complete yet"
    if default is None or default.score is None:
        return f"{score.name}: {best.score:.2f} in trial {best.number}"
    if best is default:
        return f"{score.name}: {default.score:.2f} as given, and no trial was better"
    text = f"{score.name}: {best.score:.2f} in trial {best.number}, {default.score:.2f} as given"
    if best.std_error is None:
        return text
    noise = max(best.std_error, default.std_error or 0.0)
    if default.score - best.score < 2 * noise:
        return (
            f"{text}; this may be chance: a score has a standard error of {noise:.1f}, and the lowest of {len(trials)} "
            "scores looks better than it is"
        )
    return f"{text}, more than twice the standard error of {noise:.1f}"


def value_text(value: Any) -> str:
    """A value of a trial as one would type it."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def write_page(
    path: Path,
    title: str,
    trials: Sequence[TrialResult],
    space: Sequence[Dimension],
    score: Score,
    defaults: Mapping[str, Any],
    importances: Mapping[str, float],
    command: str,
    settings: Mapping[str, Any],
) -> Path:
    """Write a self-contained HTML page.

    Parameters
    ----------
    path : Path
        The file.
    title : str
        Heading.
    trials : sequence of TrialResult
        All trials that have ended.
    space : sequence of Dimension
        What was varied.
    score : Score
        What was minimised.
    defaults : mapping
        The values of the configuration as it was given.
    importances : mapping of str to float
        Of `aaekit.search.study.importances`.
    command : str
        How to train with the best values.
    settings : mapping
        The configuration as it was given.

    Returns
    -------
    Path
        The file written.
    """
    best = best_of(trials)
    default = next((t for t in trials if t.is_default and t.score is not None), None)
    numbers = {state: sum(t.state == state for t in trials) for state in ("complete", "pruned", "failed")}
    cards = [] if best is None else [(f"best {score.name}", f"{best.score:.2f}")]
    cards += [] if default is None else [("as given", f"{default.score:.2f}")]
    cards += [("trials", str(len(trials))), *((state, str(n)) for state, n in numbers.items() if n)]
    tables = []
    if best is not None:
        lines = [
            (d.name, value_text(_value(best, d, defaults)), value_text(defaults[d.name]), str(d).partition("=")[2])
            for d in space
        ]
        columns = ["parameter", "best", "as given", "searched"]
        tables.append(report.Table("Best values", columns, lines, f"Train with: {command}"))
    facts = [
        ("result", conclusion(trials, score)),
        ("score", score.name),
        ("measured by", score.meaning),
        ("test rows", "not used"),
    ]
    tables.append(report.Table("Score", ["question", "answer"], facts))
    tables.append(_trials_table(trials, space, defaults, score))
    figures = [] if best is None else _figures(trials, space, score, importances)
    return report.write_report(path, title, cards, tables, figures, settings=settings, versions=versions())


def _figures(
    trials: Sequence[TrialResult], space: Sequence[Dimension], score: Score, importances: Mapping[str, float]
) -> list[report.FigureEntry]:
    """The history of scores, what matters, and the scores by parameter."""
    n = max(t.number for t in trials) + 1
    scores, pruned = [float("nan")] * n, [False] * n  # by number; trials of other processes may not have ended
    for t in trials:
        pruned[t.number] = t.score is None and bool(t.intermediate)
        if t.score is not None or t.intermediate:
            scores[t.number] = t.score if t.score is not None else t.intermediate[max(t.intermediate)]
    complete = [(t, t.score) for t in trials if t.score is not None]
    default = next((k for k, (t, _) in enumerate(complete) if t.is_default), None)
    best = best_of(trials)
    history = plots.search_history(
        scores,
        pruned,
        score.name,
        None if default is None else complete[default][1],
        None if best is None else best.std_error,
    )
    tried = {d.name: [t.values.get(d.name) for t, _ in complete] for d in space}
    logarithmic = [d.name for d in space if d.is_logarithmic]
    by_parameter = plots.parameter_scores(tried, [value for _, value in complete], score.name, default, logarithmic)
    return [
        _entry(history, "search_history"),
        _entry(plots.parameter_importances(importances), "parameter_importances"),
        _entry(by_parameter, "parameter_scores"),
    ]


def _entry(figure: plots.Figure, name: str) -> report.FigureEntry:
    return report.FigureEntry(*plots.DESCRIPTIONS[name], figure)


def _value(trial: TrialResult, dimension: Dimension, defaults: Mapping[str, Any]) -> Any:
    """What a trial had of a parameter, varied or not."""
    return trial.values.get(dimension.name, defaults.get(dimension.name))


def _trials_table(
    trials: Sequence[TrialResult], space: Sequence[Dimension], defaults: Mapping[str, Any], score: Score
) -> report.Table:
    """A line for each trial: the best first, then those that were pruned and those that failed."""
    details = list(dict.fromkeys(name for t in trials for name in t.details if name != "rows"))
    order = sorted(trials, key=lambda t: (t.score is None, t.state == "failed", t.score or 0.0, t.number))
    lines = []
    for t in order:
        value = f"{t.score:.2f}" if t.score is not None else t.reason or t.state
        error = "" if t.std_error is None else f" ± {t.std_error:.1f}"
        lines.append([
            f"{t.number} (as given)" if t.is_default else str(t.number), value + error,
            *(f"{t.details[name]:.2f}" if name in t.details else "" for name in details),
            *(value_text(_value(t, d, defaults)) for d in space), f"{t.seconds:.1f}",
        ])  # fmt: skip
    columns = ["trial", score.name, *details, *(d.name for d in space), "time (s)"]
    note = "Behind ± is the standard error by the number of rows." if any(t.std_error for t in trials) else ""
    return report.Table("Trials", columns, lines, note)
