"""`python -m benchmarks`: all measurements in one run, with tables and a dated log."""

import argparse
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from aaekit import data
from aaekit._files import read_json, write_json
from aaekit.runs.config import machine, versions
from benchmarks import measures
from benchmarks.sides import WARMUP

N_CORES = os.cpu_count() or 1
LOGS = Path(__file__).parent / "logs"
SECONDS_BESIDE = 10.0  # per side beside other work, including the two until threads give way
PARTS_BESIDE = (  # comparisons, each with the side that is 1.00
    ("vanilla", "pythae"),
    ("semi-supervised", "textbook loop, tensors"),
    ("classifier", "ours, float32"),
    ("processes, generator", "1 process"),
    ("processes, classifier", "1 process"),
    ("small images beside other work", "alone"),
)
PINNED = ("limits", "vanilla", "semi-supervised", "classifier", "flops", "profile", "input pipeline")


def main() -> None:
    """Measure, print the tables and write the log."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--data-dir", help="folder of MNIST; by default AAE_DATA_DIR, else the user's cache directory")
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds, in which each side has a turn")
    parser.add_argument("--steps", type=int, default=25, help="steps in a turn, including three warm-up steps")
    parser.add_argument(
        "--rows", type=int, default=10**6, help="maximum number of rows to encode, and to train on from a file"
    )
    parser.add_argument(
        "--budgets", type=int, nargs="*", default=[200, 400, 600], help="numbers of steps to train with 100 labels"
    )
    parser.add_argument("--only", nargs="*", choices=list(PARTS), default=list(PARTS), help="measurements to run")
    parser.add_argument(
        "--threads", type=int, default=1, help="threads, each pinned to a core, of each side of the comparisons"
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="path of the log; by default benchmarks/logs/DATE.json; other measurements in it stay, if they are of the "
        "same machine and settings",
    )
    options = parser.parse_args()
    if options.steps <= WARMUP:
        parser.error(f"--steps: expected more than {WARMUP}, got {options.steps}")
    mnist = data.load("mnist", options.data_dir)
    console = Console(stderr=True)
    now = f"{datetime.now():%Y-%m-%d %H:%M}"
    log: dict[str, Any] = {"date": now, "machine": machine(), "versions": versions()}
    log |= {"threads": options.threads, "rounds": options.rounds, "steps": options.steps}
    path = options.out or LOGS / f"{now[:10]}.json"
    if path.exists():
        before = read_json(path, "a log of measurements", dict[str, Any])
        if any(before.get(key) != log[key] for key in log if key != "date"):
            parser.error(
                f"--out: expected no log, or one of this machine and these settings, got {path}: choose another"
            )
        log = before | log
    for name in options.only:
        with measures.pinned(options.threads if name in PINNED else N_CORES), console.status(name) as status:
            log[name] = PARTS[name](mnist, options, lambda text, n=name, s=status: s.update(f"{n}: {text}"))
        write_json(path, log)
    for table in tables(log):
        Console().print(table)
    print(f"log: {path}")


# --- the parts, in the order of the table ----------------------------------------------------------------------------
def _vanilla(mnist: data.Dataset, options: Any, say: Any) -> dict[str, Any]:
    return {
        str(batch): measures.interleaved(measures.vanilla(mnist.X, batch, options.steps), options.rounds, say)
        for batch in measures.BATCHES
    }


def _semi_supervised(mnist: data.Dataset, options: Any, say: Any) -> dict[str, Any]:
    batch = measures.BATCHES[0]
    contest = measures.semi_supervised(mnist.X, _some_labels(mnist.y, len(mnist.X) // 6), batch, options.steps)
    return {str(batch): measures.interleaved(contest, options.rounds, say)}


def _classifier(mnist: data.Dataset, options: Any, say: Any) -> dict[str, Any]:
    batch = measures.BATCHES[0]
    contest = measures.classifier(mnist.X, _some_labels(mnist.y, 100), options.steps)
    return {str(batch): measures.interleaved(contest, options.rounds, say)}


def _some_labels(y: np.ndarray | None, n: int) -> np.ndarray:
    assert y is not None
    return data.split(y, n, 0, 0).masked(y)


def _processes(system: str, options: Any, say: Any) -> dict[str, Any]:
    sides = {batch: measures.processes(system, batch, options.steps, N_CORES) for batch in measures.BATCHES}
    return {str(batch): measures.interleaved(contest, options.rounds, say) for batch, contest in sides.items()}


def _beside_other_work(mnist: data.Dataset, options: Any, say: Any) -> dict[str, Any]:
    batch = measures.BATCHES[0]
    contest = measures.beside_other_work(batch, SECONDS_BESIDE, N_CORES)
    return {str(batch): measures.interleaved(contest, options.rounds, say)}


def _flops(mnist: data.Dataset, options: Any, say: Any) -> dict[str, float]:
    return {str(batch): measures.flops(mnist.X, batch) for batch in measures.BATCHES}


def _rows(mnist: data.Dataset, options: Any, say: Any) -> list[dict[str, float]]:
    sizes = [n for n in (10**4, 10**5, 10**6, 10**7) if n <= options.rows]
    rows = []
    for n in sizes:
        say(f"{n} rows")
        rows.append(measures.rows_of_a_file(n))
    return rows


def _budgets(mnist: data.Dataset, options: Any, say: Any) -> list[dict[str, float]]:
    assert mnist.X_test is not None
    labels = _some_labels(mnist.y, 100)
    return measures.budgets(mnist.X, labels, (mnist.X_test, mnist.y_test), options.budgets, say)


PARTS = {
    "limits": lambda mnist, options, say: measures.limits(),
    "vanilla": _vanilla,
    "semi-supervised": _semi_supervised,
    "classifier": _classifier,
    "processes, generator": lambda mnist, options, say: _processes("generator", options, say),
    "processes, classifier": lambda mnist, options, say: _processes("classifier", options, say),
    "small images beside other work": _beside_other_work,
    "flops": _flops,
    "profile": lambda mnist, options, say: measures.profile(mnist.X, 100)[:15],
    "input pipeline": lambda mnist, options, say: measures.input_pipeline(mnist.X, measures.BATCHES[0]),
    "encoding": lambda mnist, options, say: measures.encoding(min(options.rows, 10**6)),
    "rows": _rows,
    "wide tables": lambda mnist, options, say: measures.wide_tables(),
    "command line": lambda mnist, options, say: measures.command_line(options.data_dir),
    "start-up": lambda mnist, options, say: measures.start_up(options.rounds),
    "100 labels": _budgets,
}


# --- the table -------------------------------------------------------------------------------------------------------
def tables(log: dict[str, Any]) -> list[Table]:
    """The tables of a log: the comparisons, then all other numbers."""
    comparisons = []
    for part, against in PARTS_BESIDE:
        for batch, speeds in log.get(part, {}).items():
            table = Table("side", "steps/s", f"times {against}", title=f"{part}, batch {batch}")
            base = median(speeds[against])
            for name, values in speeds.items():
                low, middle, high = min(values), median(values), max(values)
                table.add_row(name, f"{middle:.1f} ({low:.1f} to {high:.1f})", f"{middle / base:.2f}")
            comparisons.append(table)
    rest = Table("measure", "value", title="limits and costs")
    for name, value in facts(log).items():
        rest.add_row(name, f"{value:.4g}" if isinstance(value, float) else str(value))
    return [*comparisons, rest]


def facts(log: Mapping[str, Any]) -> dict[str, Any]:
    """The single numbers of a log, and those derived from several."""
    numbers = dict(log.get("limits", {}))
    for batch, count in log.get("flops", {}).items():
        for precision in ("float32", "bfloat16"):
            speed = log.get("vanilla", {}).get(batch, {}).get(f"ours, joint, {precision}")
            limit = numbers.get(f"GEMM {precision}, batch {batch}, GFLOP/s")
            if speed and limit:
                numbers[f"share of the {precision} GEMM rate, batch {batch}"] = count * median(speed) / 1e9 / limit
    if "input pipeline" in log and "vanilla" in log:
        batch, cost = str(measures.BATCHES[0]), log["input pipeline"]
        epoch = cost["steps"] / median(log["vanilla"][batch]["ours, joint, float32"])
        numbers["input pipeline, share of an epoch"] = cost["seconds"] / epoch
    for part in ("encoding", "wide tables", "command line", "start-up"):
        numbers |= {f"{part}: {k}": v for k, v in log.get(part, {}).items()}
    for row in log.get("rows", ()):
        numbers |= {f"{int(row['rows'])} rows of a file: {k}": v for k, v in row.items() if k != "rows"}
    for row in log.get("100 labels", ()):
        numbers[f"100 labels, {row['steps']} steps"] = f"{row['error, %']:.2f} % in {row['seconds']:.0f} s"
    return numbers


if __name__ == "__main__":
    main()
