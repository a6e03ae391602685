"""The page of a suite: tables of losses, a figure of regrets, and how they were measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aaekit import plots, report
from aaekit.evaluation.suite.summary import other_scores, regrets, table
from aaekit.evaluation.suite.tasks import FAMILIES

__all__ = ["write_page"]


def write_page(
    path: Path,
    logs: Sequence[Mapping[str, Any]],
    title: str = "The suite",
    conclusion: Sequence[str] = (),
    tables: Sequence[report.Table] = (),
    settings: Mapping[str, Any] | None = None,
) -> Path:
    """Write a self-contained HTML page.

    Parameters
    ----------
    path : Path
        The file.
    logs : sequence of dict
        Logs of `run`.
    title : str
        Heading.
    conclusion : sequence of str
        Sentences, each with its question before a colon.
    tables : sequence of report.Table
        Tables behind the conclusion.
    settings : mapping, optional
        How the logs were made.

    Returns
    -------
    Path
        The file written.
    """
    families = [name for name in FAMILIES if any(log["task"]["family"] == name for log in logs)]
    sentences = report.Table("Conclusion", ["question", "result"], [line.split(": ", 1) for line in conclusion])
    all_tables = [sentences, *tables]
    for name in families:
        all_tables += [table(logs, name), other_scores(logs, name)]
    figures = []
    for name in families:
        values: dict[str, dict[str, list[float]]] = {}
        for regret in regrets(logs):
            if regret.family == name:
                values.setdefault(regret.data, {})[regret.question] = regret.by_draw
        if values:
            described = plots.DESCRIPTIONS["regrets"]
            heading = f"{described.title}: {FAMILIES[name].title.partition(':')[0]}"
            figures.append(report.FigureEntry(heading, described.caption, plots.regrets(values)))
    versions = logs[0].get("versions") if logs else None
    return report.write_report(path, title, tables=all_tables, figures=figures, settings=settings, versions=versions)
