"""Commands on a trained run: `aae evaluate`, `doctor`, `plot`, `predict`, `transform` and `name`."""

from collections.abc import Callable
from pathlib import Path
from textwrap import fill
from typing import Annotated, Any

import typer

from aaekit._files import check_writable, whole_number
from aaekit._locks import locked
from aaekit.cli.options import DataDir, InputRows, MovedData, RunPath, ShardOption, notes, print_table, with_files
from aaekit.cli.train import add_comparison, check_comparable, print_results
from aaekit.errors import InputError

RowsOut = Annotated[Path, typer.Option(help="File to write, .csv or .parquet; with --shard a folder of such files.")]


def evaluate(
    run: RunPath,
    data: Annotated[
        str | None,
        typer.Option(help="Another data set to evaluate on, named or at a path.", show_default="the run's own"),
    ] = None,
    data_dir: DataDir = None,
    compare: Annotated[
        bool | None,
        typer.Option(
            "--compare/--no-compare",
            help="Also train other methods with the same labels; cross-fitted if no labelled rows are held out.",
            show_default="compare on held-out rows of the run",
        ),
    ] = None,
) -> None:
    """Evaluate a trained model on test rows, beside other methods with the same labels, and update its report."""
    from aaekit.evaluation import measures
    from aaekit.evaluation.compare import compare as other_methods
    from aaekit.runs.data import held_out
    from aaekit.runs.run import Run

    directory = Run.open(run, data_dir=data_dir)
    estimator = directory.fitted()
    if data is not None:
        if compare:
            check_comparable(directory)
        with notes():
            rows = held_out(directory.config, directory.other_data(data, data_dir))
            results = measures.evaluate(estimator, rows)
        if compare:
            results["comparison"] = other_methods(directory.config, directory.data, directory.split, estimator, rows)
        for table in measures.tables(results):
            print_table(table)
        return
    with locked(run):
        results = measures.evaluate(estimator, directory.held_out)
        if compare is not False:
            add_comparison(directory, estimator, results, cross_fit=bool(compare))
        else:
            directory.conclude(estimator, results)
    print_results(directory)


def doctor(run: RunPath, data: MovedData = None, data_dir: DataDir = None) -> None:
    """Diagnose a run from its curves and codes: for each problem the evidence, what it means, and what to try first."""
    from aaekit.evaluation.measures import diagnosis
    from aaekit.runs.run import Run

    directory = Run.open(run, data, data_dir)
    estimator = directory.fitted()
    simple_errors, comparison = directory.simple_errors(estimator), directory.comparison
    findings = diagnosis(estimator, directory.held_out, simple_errors, comparison)
    for finding in findings:
        typer.echo(f"{finding.severity}: {finding.name}")
        for what, text in (
            ("evidence", finding.evidence),
            ("it means", finding.meaning),
            ("try first", finding.option),
        ):
            typer.echo(fill(f"{what}: {text}", 100, initial_indent="  ", subsequent_indent="    "))
    if not findings:
        typer.echo("nothing looks wrong")


def plot(
    run: RunPath,
    out: Annotated[Path | None, typer.Option(help="Folder to write to.", show_default="RUN/figures")] = None,
    data: MovedData = None,
    data_dir: DataDir = None,
) -> None:
    """Draw all figures of a trained model, including the slow ones: t-SNE of codes, modes beside real rows."""
    from aaekit import plots
    from aaekit.plots import draw
    from aaekit.runs.run import Run

    check_writable(out or run / "figures", is_folder=True)
    directory = Run.open(run, data, data_dir)
    estimator = directory.fitted()
    history = directory.history(estimator)
    figures = draw.draw_all(estimator, directory.held_out, directory.labels, slow=True, history=history)
    for name, figure in figures.items():
        typer.echo(str(plots.save(figure, (out or directory.path / "figures") / f"{name}.png")))


def predict(
    run: RunPath,
    rows: InputRows,
    out: RowsOut = Path("predictions.csv"),
    shard: ShardOption = None,
    data_dir: DataDir = None,
) -> None:
    """Write the predictions for each row to a file: class, cluster or position, probabilities, or outlier score.

    A .npy file, and a Parquet file of a table, are read a thousand rows at a time, so they may be larger than the
    memory.
    """
    from aaekit.evaluation.predictions import predictions

    _write_rows(run, rows, out, shard, data_dir, predictions)


def transform(
    run: RunPath,
    rows: InputRows,
    out: RowsOut = Path("codes.csv"),
    shard: ShardOption = None,
    data_dir: DataDir = None,
) -> None:
    """Write the code z of each row to a file; rows are read as by `aae predict`."""
    from aaekit.evaluation.predictions import codes

    _write_rows(run, rows, out, shard, data_dir, lambda estimator, X, _: codes(estimator, X))


def _write_rows(
    run: Path, rows: str, out: Path, shard: str | None, data_dir: Path | None, table: Callable[..., Any]
) -> None:
    """Write what `table(estimator, X, names)` returns for the rows of a part, block by block."""
    from aaekit.data.shards import Shard, write_blocks
    from aaekit.evaluation.predictions import TEXTS, in_blocks
    from aaekit.runs.run import Run

    part = Shard.of(shard)
    path = part.path(out)
    check_writable(path)
    directory = Run.open(run)
    estimator = directory.fitted()
    with notes():
        blocks, files = directory.blocks(rows, part, data_dir)
        names = directory.class_names(estimator)
        made = in_blocks(lambda X: table(estimator, X, names), estimator, blocks)
        tables = (with_files([columns, *lines], files) for columns, lines in made)
        n = write_blocks(path, ((columns, lines) for columns, *lines in tables), ("file", *TEXTS))
    typer.echo(f"{n} rows: {path}" if n else f"no rows in part {shard}")


def name(
    run: RunPath,
    names: Annotated[
        list[str], typer.Argument(metavar="CLUSTER=NAME...", help="For instance 3=seven 5=two.", show_default=False)
    ],
) -> None:
    """Name clusters after looking at them (`aae plot RUN`); from then on the model predicts these names."""
    from aaekit.runs.run import Run

    directory = Run.open(run)
    estimator: Any = directory.fitted()
    if not hasattr(estimator, "name_clusters"):
        raise InputError(
            f"{run}: expected clusters, got a {directory.config['system']}: make some by aae train clusters"
        )
    chosen: dict[int, str] = {}
    for text in names:
        number, _, meaning = (part.strip() for part in text.partition("="))
        cluster = whole_number(number)
        if cluster is None or cluster < 0 or not meaning:
            raise InputError(f"expected CLUSTER=NAME, got {text!r}: write for instance 3=seven")
        if chosen.setdefault(cluster, meaning) != meaning:
            raise InputError(f"expected one name of cluster {cluster}, got {chosen[cluster]} and {meaning}: give one")
    with locked(run):
        estimator.name_clusters(chosen).save(directory.path / "model.safetensors")
    n_named, n_clusters = len(estimator.cluster_names_), estimator.n_clusters
    others = "" if n_named == n_clusters else "; rows of the other clusters get the likeliest of these"
    typer.echo(f"{n_named} of {n_clusters} clusters have names: {', '.join(map(str, estimator.classes_))}{others}")
