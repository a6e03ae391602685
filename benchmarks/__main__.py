"""`python -m benchmarks`: everything in one run, a table, and a dated log."""

import argparse
import os
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from aaekit import data
from aaekit._files import write_json
from aaekit.runs.config import versions
from benchmarks import measures
from benchmarks.sides import WARMUP
from reproduction.logs import machine

LOGS = Path(__file__).parent / "logs"
SECONDS_BESIDE = 10.0  # of each side beside other work, the two in which threads find out included
PARTS_BESIDE = (  # and the side to compare with
    ("vanilla", "pythae"),
    ("semi-supervised", "textbook loop, tensors"),
    ("processes, generator", "1 process"),
    ("processes, classifier", "1 process"),
    ("small images beside other work", "alone"),
)


def main() -> None:
    """Measure, print, and write the log."""
    options = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    options.add_argument("--data-dir", help="where MNIST lives; else AAE_DATA_DIR, else the user's cache directory")
    options.add_argument("--rounds", type=int, default=5, help="how often each side has its turn")
    options.add_argument("--steps", type=int, default=25, help="steps in a turn, of which the first three do not count")
    options.add_argument("--rows", type=int, default=10**6, help="the most rows to encode, and to train from a file")
    options.add_argument(
        "--budgets", type=int, nargs="*", default=[200, 400, 600], help="steps to train with 100 labels"
    )
    options.add_argument("--only", nargs="*", choices=list(PARTS), default=list(PARTS), help="parts to measure")
    options.add_argument("--threads", type=int, default=os.cpu_count())
    options.add_argument("--out", type=Path, help="log to write; by default benchmarks/logs/DATE.json")
    given = options.parse_args()
    if given.steps <= WARMUP:
        options.error(f"--steps: expected more than {WARMUP}, found {given.steps}")
    torch.set_num_threads(given.threads)
    mnist = data.load("mnist", given.data_dir)
    console = Console(stderr=True)
    now = f"{datetime.now():%Y-%m-%d %H:%M}"
    log: dict[str, Any] = {"date": now, "machine": machine(), "versions": versions()}
    log |= {"threads": given.threads, "rounds": given.rounds, "steps": given.steps}
    path = given.out or LOGS / f"{now[:10]}.json"
    for name in given.only:
        with console.status(name) as status:
            log[name] = PARTS[name](mnist, given, lambda text, n=name, s=status: s.update(f"{n}: {text}"))
        write_json(path, log)
    for table in tables(log):
        Console().print(table)
    print(f"log: {path}")


# --- the parts, in the order of the table ----------------------------------------------------------------------------
def _vanilla(mnist: data.Dataset, given: Any, say: Any) -> dict[str, Any]:
    return {
        str(batch): measures.interleaved(measures.vanilla(mnist.X, batch, given.steps), given.rounds, say)
        for batch in measures.BATCHES
    }


def _semi_supervised(mnist: data.Dataset, given: Any, say: Any) -> dict[str, Any]:
    batch = measures.BATCHES[0]
    contest = measures.semi_supervised(mnist.X, _some_labels(mnist.y, len(mnist.X) // 6), batch, given.steps)
    return {str(batch): measures.interleaved(contest, given.rounds, say)}


def _some_labels(y: np.ndarray | None, n: int) -> np.ndarray:
    assert y is not None
    return data.split(y, n, 0, 0).masked(y)


def _processes(system: str, given: Any, say: Any) -> dict[str, Any]:
    sides = {batch: measures.processes(system, batch, given.steps, given.threads) for batch in measures.BATCHES}
    return {str(batch): measures.interleaved(contest, given.rounds, say) for batch, contest in sides.items()}


def _beside_other_work(mnist: data.Dataset, given: Any, say: Any) -> dict[str, Any]:
    batch = measures.BATCHES[0]
    contest = measures.beside_other_work(batch, SECONDS_BESIDE, given.threads)
    return {str(batch): measures.interleaved(contest, given.rounds, say)}


def _flops(mnist: data.Dataset, given: Any, say: Any) -> dict[str, float]:
    return {str(batch): measures.flops(mnist.X, batch) for batch in measures.BATCHES}


def _rows(mnist: data.Dataset, given: Any, say: Any) -> list[dict[str, float]]:
    sizes = [n for n in (10**4, 10**5, 10**6, 10**7) if n <= given.rows]
    found = []
    for n in sizes:
        say(f"{n} rows")
        found.append(measures.rows_of_a_file(n))
    return found


def _budgets(mnist: data.Dataset, given: Any, say: Any) -> list[dict[str, float]]:
    assert mnist.X_test is not None
    labels = _some_labels(mnist.y, 100)
    return measures.budgets(mnist.X, labels, (mnist.X_test, mnist.y_test), given.budgets, say)


PARTS = {
    "limits": lambda mnist, given, say: measures.limits(),
    "vanilla": _vanilla,
    "semi-supervised": _semi_supervised,
    "processes, generator": lambda mnist, given, say: _processes("generator", given, say),
    "processes, classifier": lambda mnist, given, say: _processes("classifier", given, say),
    "small images beside other work": _beside_other_work,
    "flops": _flops,
    "profile": lambda mnist, given, say: measures.profile(mnist.X, 100)[:15],
    "input pipeline": lambda mnist, given, say: measures.input_pipeline(mnist.X, measures.BATCHES[0]),
    "encoding": lambda mnist, given, say: measures.encoding(min(given.rows, 10**6)),
    "rows": _rows,
    "command line": lambda mnist, given, say: measures.command_line(given.data_dir),
    "100 labels": _budgets,
}


# --- the table -------------------------------------------------------------------------------------------------------
def tables(log: dict[str, Any]) -> list[Table]:
    """What was measured: the sides beside each other, then everything else."""
    found = []
    for part, against in PARTS_BESIDE:
        for batch, speeds in log.get(part, {}).items():
            table = Table("side", "steps/s", f"times {against}", title=f"{part}, batch {batch}")
            base = median(speeds[against])
            for name, values in speeds.items():
                low, middle, high = min(values), median(values), max(values)
                table.add_row(name, f"{middle:.1f} ({low:.1f} to {high:.1f})", f"{middle / base:.2f}")
            found.append(table)
    rest = Table("measure", "value", title="limits and costs")
    for name, value in facts(log).items():
        rest.add_row(name, f"{value:.4g}" if isinstance(value, float) else str(value))
    return [*found, rest]


def facts(log: dict[str, Any]) -> dict[str, Any]:
    """The single numbers of a log, and those that follow from several."""
    found = dict(log.get("limits", {}))
    for batch, count in log.get("flops", {}).items():
        for precision in ("float32", "bfloat16"):
            speed = log.get("vanilla", {}).get(batch, {}).get(f"ours, joint, {precision}")
            limit = found.get(f"GEMM {precision}, batch {batch}, GFLOP/s")
            if speed and limit:
                found[f"share of the {precision} GEMM rate, batch {batch}"] = count * median(speed) / 1e9 / limit
    if "input pipeline" in log and "vanilla" in log:
        batch, cost = str(measures.BATCHES[0]), log["input pipeline"]
        epoch = cost["steps"] / median(log["vanilla"][batch]["ours, joint, float32"])
        found["input pipeline, share of an epoch"] = cost["seconds"] / epoch
    for part in ("encoding", "command line"):
        found |= {f"{part}: {k}": v for k, v in log.get(part, {}).items()}
    for row in log.get("rows", ()):
        found |= {f"{int(row['rows'])} rows of a file: {k}": v for k, v in row.items() if k != "rows"}
    for row in log.get("100 labels", ()):
        found[f"100 labels, {row['steps']} steps"] = f"{row['error, %']:.2f} % in {row['seconds']:.0f} s"
    return found


if __name__ == "__main__":
    main()
