"""Tables and figure of docs/speed.md: `python -m benchmarks.page` updates them from the newest log."""

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from aaekit._files import write_text
from aaekit.plots import save
from benchmarks import chart
from benchmarks.__main__ import LOGS, PARTS_BESIDE, facts

ROOT = Path(__file__).parent.parent
PAGE, CHART = ROOT / "docs" / "speed.md", ROOT / "docs" / "images" / "speed.png"
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->"


def newest() -> dict[str, Any]:
    """The newest log of all measurements; it has a date as its name."""
    return json.loads(max(LOGS.glob("????-??-??.json")).read_text(encoding="utf-8"))


def measured(log: Mapping[str, Any]) -> str:
    """The tables of a log in Markdown."""
    machine = log["machine"]
    lines = [f"Measured on {log['date'][:10]}: {machine['processor']}, {log['threads']} threads, torch "
             f"{log['versions']['torch']}; {log['rounds']} rounds of {log['steps']} steps, medians.", ""]  # fmt: skip
    for part, against in PARTS_BESIDE:
        for batch, speeds in log.get(part, {}).items():
            lines += [f"| {part}, batch {batch} | steps per second | times {against} |", "| --- | --- | --- |"]
            base = median(speeds[against])
            lines += [f"| {name} | {median(v):.1f} | {median(v) / base:.2f} |" for name, v in speeds.items()]
            lines.append("")
    lines += ["| limits and costs | |", "| --- | --- |"]
    lines += [f"| {name} | {_text(value)} |" for name, value in facts(log).items()]
    if "profile" in log:
        lines += ["", "| operation in a joint step of 100 rows | share of the time | calls |", "| --- | --- | --- |"]
        lines += [f"| `{r['operation']}` | {100 * r['share']:.1f} % | {r['calls']:.0f} |" for r in log["profile"][:8]]
    return "\n".join(lines) + "\n"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.3g}" if isinstance(value, float) else f"{value:,}"


def renewed(text: str, log: Mapping[str, Any]) -> str:
    """The page with the tables of a log."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + measured(log) + END + rest.split(END)[1]


if __name__ == "__main__":
    write_text(PAGE, renewed(PAGE.read_text(encoding="utf-8"), newest()))
    save(chart.speeds(newest()), CHART)
