"""`aae suite`: methods compared on many data sets, or on a data set of one's own."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from aaekit._files import check_writable, whole_number
from aaekit._progress import time_text
from aaekit.cli.options import DataDir, Features, Quiet, SetOptions, ShardOption, Stopped, notes, print_table, say
from aaekit.errors import InputError, nearest

LIST = "A,B,..."


def suite(
    data: Annotated[
        str | None,
        typer.Option(help="A data set of your own: a table, a .npz or a folder of images.", show_default="the suite's"),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="The column of labels, if --data is a table.", show_default="as in aae train")
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(help="Labelled test rows, if --data has none.", show_default="cross-fitted, or rows held out"),
    ] = None,
    sets: Annotated[
        str | None, typer.Option(help="Named sets to compare on.", metavar=LIST, show_default="seven tables")
    ] = None,
    families: Annotated[
        str, typer.Option(help="What to compare: classes, rare, clusters, maps, outliers.", metavar=LIST)
    ] = "classes",
    methods: Annotated[
        str | None, typer.Option(help="Methods to compare, by name.", metavar=LIST, show_default="all")
    ] = None,
    k: Annotated[
        str | None,
        typer.Option(
            "--k", help="Numbers of labels per class to draw.", metavar=LIST, show_default="5,20; of --data all labels"
        ),
    ] = None,
    draws: Annotated[int, typer.Option(min=1, help="Number of draws of labels and random states.")] = 3,
    options: Annotated[
        str | None,
        typer.Option(help="Parameters of our own methods as name=value.", metavar=LIST, show_default="their defaults"),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Number of methods measured at the same time, in processes.")] = 1,
    shard: ShardOption = None,
    out: Annotated[Path, typer.Option(help="Folder for the logs and the page.")] = Path("suite"),
    data_options: SetOptions = None,
    features: Features = None,
    data_dir: DataDir = None,
    quiet: Quiet = False,
) -> None:
    """Compare methods for few labels on the data sets of the suite, or on your own, and say which one to use.

    What has a log in the folder is not measured again: a command that was stopped can be given again, and sets, draws
    and methods are added. Parts (--shard) share a folder; without --shard, the command then writes the page.
    """
    from aaekit._locks import locked
    from aaekit.data.sets import paths_of
    from aaekit.data.shards import Shard
    from aaekit.encoders import absolute
    from aaekit.evaluation import suite as suites
    from aaekit.evaluation.methods import check_options
    from aaekit.runs.config import machine, versions
    from aaekit.runs.data import data_options as as_options

    part = Shard.of(shard)
    check_writable(out, is_folder=True)
    if data is not None and sets is not None:
        raise InputError("expected --data or --sets, got both: leave one of them out")
    of_set = as_options([*_names(data_options), *([] if target is None else [f"target={target}"])])
    with_features = {} if features is None else {"features": absolute(features)}
    if data is None and (of_set or test is not None):
        raise InputError("expected --data with --target, --test or --data-options, got none: name your data set")
    numbers, of_ours = _numbers(k), as_options(_names(options))
    check_options(of_ours)
    if data is None:
        chosen = suites.tasks(_names(families), _names(sets) or suites.SETS, numbers or (5, 20), draws)
        for name in dict.fromkeys(task.data for task in chosen):
            paths_of(name, data_dir, download=True)  # before anything is measured
        chosen = [replace(task, options=(*task.options, *with_features.items())) for task in chosen]
        facts: dict[str, Any] = {}
    else:
        chosen, facts = _own_tasks(data, of_set | with_features, test, numbers, draws, data_dir)
    folder = None if data_dir is None else str(data_dir)
    # this also encodes features, if there are any, so that processes find them in the cache
    kinds = {task.data: suites.kind_of_task(task, folder) for task in {t.data: t for t in chosen}.values()}
    cells = [
        suites.Cell(task, method, of_ours, folder, facts)
        for task in chosen
        for method in _methods(suites.FAMILIES[task.family].methods, _names(methods), families, kinds[task.data])
    ]  # fmt: skip
    cells = part.items(cells)
    suitable = [m for t in chosen for m in suites.FAMILIES[t.family].methods if kinds[t.data] in m.kinds]
    for method in dict.fromkeys(suitable):  # in their order
        if not method.is_installed and (not methods or method.name in _names(methods)):
            say(f'note: {method.name} is left out, since it is not installed: pip install "aaekit[suite]"')
    records = {"versions": versions(), "machine": machine(), "side_by_side": jobs}
    try:
        with notes(), locked(out if part.is_all else out / part.name):
            logs, failures = suites.run(cells, out, jobs, records, lambda progress: None if quiet else _say(progress))
    except KeyboardInterrupt:
        raise Stopped(f"stopped; {out} has what was measured: give the same command again to continue") from None
    for failure in failures:
        say(f"error: {failure.cell}: {failure.reason}")
    if not logs and cells:
        raise InputError(f"{out}: expected at least one result, got none: see the errors above")
    if part.is_all:
        _conclude(logs, out, data, jobs)
    else:
        typer.echo(
            f"part {shard}: {len(logs)} results in {out}; give the command without --shard once all parts are done"
        )
    if failures:
        raise InputError(f"expected results of {len(cells)} trainings, got {len(logs)}: see the errors above")


def _own_tasks(
    data: str, options: dict[str, Any], test: str | None, k: tuple[int, ...], draws: int, data_dir: Path | None
) -> tuple[list[Any], dict[str, Any]]:
    """The tasks of a set of one's own, and what identifies its rows."""
    from aaekit import data as datasets
    from aaekit.evaluation import suite as suites

    data, test = datasets.whole_path(data), None if test is None else datasets.whole_path(test)
    with notes():
        loaded = datasets.load(data, data_dir, **options)
    if loaded.y is None:
        raise InputError(f"{data}: expected labels to compare methods by, got none: name their column by --target")
    own_test = loaded.X_test is not None and loaded.y_test is not None
    chosen = suites.own_tasks(data, options, k, draws, test, own_test)
    return chosen, {"rows": datasets.fingerprint(loaded.X), "labels": datasets.fingerprint(loaded.y, len(loaded.y))}


def _names(text: str | None) -> tuple[str, ...]:
    """The parts of a list."""
    return tuple(filter(None, (part.strip() for part in (text or "").split(","))))


def _numbers(text: str | None) -> tuple[int, ...]:
    """The parts of a list of numbers."""
    numbers = {part: whole_number(part) or 0 for part in _names(text)}
    for part, number in numbers.items():
        if number < 1:
            raise InputError(f"--k: expected numbers of labels per class, got {part!r}: write for instance 5,20")
    return tuple(numbers.values())


def _methods(methods: Any, chosen: tuple[str, ...], families: str, kind: Any) -> list[Any]:
    """The methods of a family that were chosen; none for other rows, or of packages that are not installed."""
    from aaekit.evaluation.methods import suited
    from aaekit.evaluation.suite import FAMILIES

    names = {method.name for family in _names(families) for method in FAMILIES[family].methods}
    for name in chosen:
        if name not in names:
            raise InputError(f"--methods: expected {', '.join(sorted(names))}, got {name!r}{nearest(name, names)}")
    return [method for method in suited(methods, kind) if not chosen or method.name in chosen]


def _say(progress: Any) -> None:
    """Print a line for a cell."""
    from aaekit.evaluation.suite import Failure

    left = progress.seconds_left
    outcome = progress.outcome
    result = (
        "failed" if isinstance(outcome, Failure) else f"{outcome['scores']['loss']:.1f} in {outcome['seconds']:.1f} s"
    )
    say(f"[{progress.n_done}/{progress.n_cells}] {progress.cell}: {result}; {time_text(left)} left")


def _conclude(logs: list[Any], out: Path, data: str | None, jobs: int) -> None:
    """Print the tables and the conclusion, and write the page."""
    from aaekit.evaluation import suite as suites

    settings = {"jobs": jobs}
    if data is None:
        print_table(suites.short_table(logs))
        conclusion, title, tables = suites.lines(logs), "The suite", []
    else:
        title, questions = f"Methods compared on {Path(data).name}", suites.questions(logs)
        tables = [suites.method_table(logs, question) for question in questions]
        for table in tables:
            print_table(table)
        conclusion = [f"{question}: {suites.verdict(logs, question)}" for question in questions]
    page = suites.write_page(out / "suite.html", logs, title, conclusion, tables, settings)
    for line in conclusion:
        typer.echo(line)
    typer.echo(f"page: {page}")
