"""`aae reproduce`: the experiments behind the published results, which are in the repository beside the package."""

from pathlib import Path
from typing import Annotated

import typer

from aaekit.cli.options import DataDir, Quiet, ShardOption, Stopped, callbacks, print_table
from aaekit.errors import InputError


def reproduce(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[EXPERIMENT]", help="Its name; without one, lists them.", show_default=False),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of runs, with random states 0, 1, ...")] = 5,
    jobs: Annotated[int, typer.Option(min=1, help="Number of runs at the same time, in processes.")] = 1,
    device: Annotated[
        str | None, typer.Option(help="Where to train: cpu, cuda, mps.", show_default="the experiment's, or auto")
    ] = None,
    shard: ShardOption = None,
    table: Annotated[bool, typer.Option("--table", help="Print all logs as tables in Markdown.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the log.", show_default="the repository's, beside the others")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder for the figures of the first seed.", show_default="none are drawn")
    ] = None,
    data_dir: DataDir = None,
    quiet: Quiet = False,
) -> None:
    """Run an experiment with several seeds, log it, and print the result beside the published one.

    Runs in the log are not repeated: a command that was stopped can be given again, and more seeds are added. Each part
    (--shard) has a log of its own, in a folder beside the log; without --shard, the command joins them.
    """
    try:
        from reproduction import experiments, logs, measure
    except ModuleNotFoundError as error:
        if error.name != "reproduction":
            raise
        raise InputError(
            "expected the folder reproduction of the repository, got an installation without it: run aae reproduce in "
            "a clone of the repository, after make install"
        ) from None
    from aaekit.data.shards import Shard
    from aaekit.report import Table

    part = Shard.of(shard)
    folder, place = out or logs.FOLDER, None if data_dir is None else str(data_dir)
    columns = ["experiment", "published", "target", "ours", "a seed took"]
    if table:
        if name is not None:
            raise InputError(f"--table: expected no experiment, since it prints all logs, got {name!r}: leave one out")
        typer.echo(logs.markdown(logs.read_all(folder)))
        return
    if name is None:
        print_table(Table("Experiments with a log", columns, logs.table(logs.read_all(folder))))
        typer.echo(f"all experiments: {', '.join(experiments.names())}")
        return
    folder = folder if part.is_all else folder / part.name
    changes = {} if device is None else {"device": device}
    try:
        log = measure.run(name, part.items(range(seeds)), place, callbacks(quiet), folder, pictures, jobs, **changes)
    except KeyboardInterrupt:
        raise Stopped("stopped; give the same command again to continue") from None
    print_table(Table(name, columns, logs.table([log])))
    typer.echo(f"log: {logs.path_of(name, folder)}")
