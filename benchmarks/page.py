"""Tables and figure of docs/speed.md: `python -m benchmarks.page` updates them from the newest logs."""

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from aaekit._files import read_json, write_text
from aaekit.plots import save
from benchmarks import chart
from benchmarks.__main__ import LOGS, PARTS_BESIDE, facts

ROOT = Path(__file__).parent.parent
PAGE, CHART = ROOT / "docs" / "speed.md", ROOT / "docs" / "images" / "speed.png"
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->"
CARD_BEGIN, CARD_END = "<!-- measured on a graphics card: begin -->\n", "<!-- measured on a graphics card: end -->"


def newest() -> dict[str, Any]:
    """The newest log of all measurements; it has a date as its name."""
    return read_json(max(LOGS.glob("????-??-??.json")), "a log of measurements", dict[str, Any])


def newest_of_card() -> dict[str, Any]:
    """The newest log of `python -m benchmarks.gpu`."""
    return read_json(max(LOGS.glob("gpu-*.json")), "a log of measurements", dict[str, Any])


def measured(log: Mapping[str, Any]) -> str:
    """The tables of a log in Markdown."""
    machine = log["machine"]
    threads = "one thread" if log["threads"] == 1 else f"{log['threads']} threads"
    lines = [f"Measured on {log['date'][:10]}: {machine['processor']}, {machine['cores']} cores, of which each side of "
             f"a comparison uses {threads}; torch {log['versions']['torch']}; {log['rounds']} rounds of {log['steps']} "
             "steps, medians.", ""]  # fmt: skip
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


def measured_on_card(log: Mapping[str, Any]) -> str:
    """The tables of a log of `python -m benchmarks.gpu` in Markdown."""
    machine, speeds = log["machine"], log["steps per second"]
    lines = [f"Measured on {log['date'][:10]}: {log['card']}, {machine['processor']}, {machine['cores']} cores, torch "
             f"{log['versions']['torch']}.", ""]  # fmt: skip
    lines += ["| steps per second | as written: float32 | bfloat16 | recorded: float32 | bfloat16 | auto | pythae | "
              "auto, times pythae |", "| --- | --- | --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    kinds = [f"{precision}, {how}" for how in ("as written", "recorded") for precision in ("float32", "bfloat16")]
    for model in [name.removesuffix(f", {kinds[0]}") for name in speeds if name.endswith(f", {kinds[0]}")]:
        cells = [f"{speeds[f'{model}, {kind}']:,.0f}" for kind in kinds]
        auto, speed = next((k, v) for k, v in speeds.items() if k.startswith(f"{model}, auto ("))
        cells.append(f"{speed:,.0f} ({auto.split('(')[1].split(')')[0]})")
        pythae = speeds.get(model.replace("plain", "pythae"))
        cells += ["", ""] if pythae is None else [f"{pythae:,.0f}", f"{speed / pythae:.1f}"]
        lines.append(f"| {model} | {' | '.join(cells)} |")
    lines += ["", "| other measurements | |", "| --- | --- |"]
    lines += [f"| predict {rows}, seconds | {seconds:.2f} |" for rows, seconds in log["seconds to predict"].items()]
    lines += [f"| same weights twice, {k} | {'yes' if v else 'no'} |" for k, v in log["same weights"].items()]
    for name, value in log.get("aae train, 100 labels", {}).items():
        lines.append(f"| `aae train`, 100 labels: {name} | {value:.2f} |")
    return "\n".join(lines) + "\n"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.3g}" if isinstance(value, float) else f"{value:,}"


def renewed(text: str, log: Mapping[str, Any], of_card: Mapping[str, Any]) -> str:
    """The page with the tables of two logs."""
    for begin, tables, end in ((BEGIN, measured(log), END), (CARD_BEGIN, measured_on_card(of_card), CARD_END)):
        before, rest = text.split(begin)
        text = before + begin + tables + end + rest.split(end)[1]
    return text


if __name__ == "__main__":
    write_text(PAGE, renewed(PAGE.read_text(encoding="utf-8"), newest(), newest_of_card()))
    save(chart.speeds(newest()), CHART)
