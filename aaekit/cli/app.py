"""The command line, `aae`. Its training options are the estimators' parameters: nothing is declared twice.

torch is loaded only by the commands that need it, so that help and mistakes in a command's name answer at once.
"""

import errno
import inspect
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from textwrap import fill
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from aaekit.cli.label import label_app
from aaekit.cli.options import (
    DataDir,
    DataOptions,
    Quiet,
    RandomState,
    Stopped,
    callbacks,
    column_names,
    new_app,
    notes,
    option_of,
    print_table,
    with_files,
    write_csv,
    written,
)
from aaekit.errors import InputError, TrainingError, nearest
from aaekit.evaluation import heldout
from aaekit.plots import draw
from aaekit.ultrasound.cli import simulate_app

USAGE_ERROR: Any = typer.BadParameter.__base__  # click's own, wherever this version of typer keeps it
SYSTEMS = {
    "generator": "New rows from a prior, and codes of rows: the adversarial autoencoder. Needs no labels.",
    "classifier": "A classifier from few labelled and many unlabelled rows: semi-supervised adversarial autoencoder.",
    "clusters": "Clusters without any label, which can be named afterwards: see `aae name`.",
    "embedding": "A map of the rows in two (or more) dimensions, from no, few or all labels.",
    "style": "Style apart from content: the label goes into the decoder. Also translates between domains.",
    "pretrained": "A classifier on top of an autoencoder: its encoder and a linear layer, fine-tuned or frozen.",
    "outliers": "A score of how unusual rows are, by reconstruction and density of codes. Needs no labels.",
    "baseline": "The classifier's encoder alone, trained on the labelled rows only, to compare with.",
}
PANELS = {  # where --help lists an estimator's parameters; what is not named here is about training
    "Networks": "image_shape backbone hidden channels batch_norm dropout decoder latent_dim n_clusters posterior "
    "discriminator_hidden discriminator_dropout",
    "Codes and their prior": "prior class_prior adversarial divergence style_matching centroid_margin adversarial_prior",
    "Losses": "input_noise augmentation consistency confidence radius probe reconstruction separation_margin "
    "reconstruction_weight adversarial_weight classification_weight consistency_weight balance_weight decision_weight "
    "cyclic_weight style_weight mode_weight separation_weight head_weight",
    "Score": "contamination n_components reconstruction_share",
    "Pretraining": "autoencoder frozen pretraining_epochs",
}
PANEL_OF = {name: panel for panel, names in PANELS.items() for name in names.split()}
COMPARED = ("classifier", "pretrained", "baseline")  # with other methods, on request
DEFAULTS = {"random_state": "0", "split_random_state": "random_state"}  # of a run, which must be repeatable
EPILOG = "Every option of model, data and training can also stand in a YAML file: see --print-config and --config."

Out = Annotated[Path, typer.Option(help="File to write.", show_default=False)]
RunPath = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run directory, made by `aae train`.", show_default=False)
]


class InOrder(TyperGroup):
    """Lists the commands in the order in which they are needed."""

    def list_commands(self, ctx: Any) -> list[str]:
        known = (
            "train resume evaluate doctor plot predict name label sample reconstruct translate simulate data reproduce"
        )
        return list(known.split())


app = new_app(
    cls=InOrder,
    help="Adversarial autoencoders: new samples, classification from few labels.\n\n"
    "A first try, about a minute: [bold]aae train classifier --data digits --labels 50 --out runs/first[/bold]",
)


# --- train -----------------------------------------------------------------------------------------------------------
class TrainGroup(TyperGroup):
    """Puts the command with all options in the place of its name once that is known."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command if name is None else _train_command(name), rest


trainers = new_app(cls=TrainGroup)
app.add_typer(trainers, name="train", help="Train a model into a new run directory.")
for _name, _help in SYSTEMS.items():
    trainers.command(_name, help=_help)(lambda: None)


def _train_command(system: str) -> Any:
    """The command that trains a system, with an option for each of its parameters."""
    from aaekit.estimators._hyperparameters import hyperparameters_of
    from aaekit.runs.run import DataOptions, options_of

    def run(**given: Any) -> None:
        _train(system, **given)

    options = options_of(system)
    ours = hyperparameters_of(DataOptions)
    own = {
        "out": (
            Path | None,
            typer.Option(help="Directory to make for the run. [red]Required[/red]", show_default=False),
        ),
        "config": (
            Path | None,
            typer.Option(help="YAML file of options; the command line goes on top.", show_default=False),
        ),
        "print_config": (
            bool,
            typer.Option("--print-config", help="Print all options as YAML for --config, and exit."),
        ),
        "compare": (bool, typer.Option("--compare", help="Afterwards, train other methods with the same labels.")),
        "quiet": (bool, typer.Option("--quiet", "-q", help="No progress bar and no table.")),
    }
    if system not in COMPARED:
        del own["compare"]
    parameters = [
        option_of(h, "Data", DEFAULTS.get(name)) for name, h in options.items() if name in ours and name != "system"
    ]
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False if kind is bool else None,
                          annotation=Annotated[kind, option])
        for name, (kind, option) in own.items()
    ]  # fmt: skip
    parameters += [
        option_of(h, PANEL_OF.get(name, "Training"), DEFAULTS.get(name))
        for name, h in options.items()
        if name not in ours
    ]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    alone = new_app()
    alone.command(system, help=SYSTEMS[system], epilog=EPILOG)(run)
    return typer.main.get_command(alone)


def _train(
    system: str,
    *,
    out: Path | None,
    config: Path | None,
    print_config: bool,
    quiet: bool,
    compare: bool = False,
    **given: Any,
) -> None:
    from aaekit.runs import run as runs

    from_line = {name: text for name, text in given.items() if text is not None}
    from_file = runs.read_config(config) if config is not None else {}
    values = runs.configuration(system, from_file, str(config)) | runs.configuration(system, from_line)
    complete = runs.completed(system, values)
    complete["data"] = runs.datasets.whole_path(complete["data"])
    for name in ("data_dir", "autoencoder"):  # the run is to find them from everywhere
        if complete.get(name) is not None:
            complete[name] = str(Path(complete[name]).expanduser().resolve())
    if print_config:
        typer.echo(runs.config_text(complete), nl=False)
        return
    if out is None:
        raise InputError("expected a directory for the run: give --out, for instance --out runs/first")
    _finish(runs.Run.create(out, complete), quiet, compare)


def _finish(run: Any, quiet: bool, compare: bool) -> None:
    """Train a run to its end and print what came of it."""
    try:
        with notes():
            estimator = run.train(callbacks(quiet))
        if compare:
            from aaekit.evaluation.compare import evaluate

            _compare(run, estimator, evaluate(estimator, run.held_out))
    except KeyboardInterrupt as stop:
        again = f"stopped; compare with: aae evaluate {run.path}" if run.complete else "stopped"
        resumed = " --compare" if compare and str(stop).endswith(f"aae resume {run.path}") else ""
        raise Stopped((str(stop) or again) + resumed) from None
    if not quiet:
        _print_results(run)


def _compare(run: Any, estimator: Any, results: dict[str, Any]) -> None:
    """Add other methods to the results of a run, if it is a classifier's."""
    from aaekit.evaluation.compare import compare

    if "error" in results:
        results["comparison"] = compare(run.config, run.data, run.split, estimator, run.held_out)
    run.conclude(estimator, results)


def _print_results(run: Any) -> None:
    from aaekit.evaluation.compare import tables

    results = json.loads((run.path / "results.json").read_text(encoding="utf-8"))
    for found in tables(results):
        print_table(found)
    if run.config["system"] in COMPARED and "error" not in results:
        _say("note: no error is known, nor can methods be compared: no labelled rows were kept apart; see --validation")
    names = ", ".join(f["name"] for f in results["findings"])
    typer.echo(f"health: {names}; more: aae doctor {run.path}" if names else "health: nothing looks wrong")
    typer.echo(f"report: {run.path / 'report.html'}")


# --- what can be done with a run -------------------------------------------------------------------------------------
@app.command()
def resume(
    run: RunPath,
    compare: Annotated[
        bool, typer.Option("--compare", help="Afterwards, train other methods with the same labels.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Go on with a training that was stopped, as if it had never been."""
    from aaekit.runs.run import Run

    found = Run.open(run)
    if found.complete:
        raise InputError(f"{run} is complete: there is nothing to resume. Its results are in {run / 'report.html'}")
    if compare and found.config["system"] not in COMPARED:
        raise InputError(f"{run} is a {found.config['system']}: only a {' or '.join(COMPARED)} can be compared")
    _finish(found, quiet, compare)


@app.command()
def evaluate(
    run: RunPath,
    data: Annotated[
        str | None,
        typer.Option(help="Another data set, named or at a path, to judge by.", show_default="the run's own"),
    ] = None,
    data_dir: DataDir = None,
    compare: Annotated[
        bool | None,
        typer.Option(
            "--compare/--no-compare", help="Train other methods with the same labels, too.", show_default="compare"
        ),
    ] = None,
) -> None:
    """Measure a trained model on test rows, beside other methods with the same labels; renews the report."""
    from aaekit.evaluation import compare as evaluation
    from aaekit.runs import run as runs

    found = runs.Run.open(run)
    estimator = found.fitted()
    if data is not None:
        if compare:
            raise InputError("--compare is for the run's own data: leave --data out, or --compare")
        with notes():
            rows = runs.held_out(found.config, found.other_data(data, data_dir))
            judged = evaluation.evaluate(estimator, rows)
        for table in evaluation.tables(judged):
            print_table(table)
        return
    results = evaluation.evaluate(estimator, found.held_out)
    if compare is not False:
        _compare(found, estimator, results)
    else:
        found.conclude(estimator, results)
    _print_results(found)


@app.command()
def doctor(run: RunPath) -> None:
    """Say what looks wrong with a run, by its own curves and codes: the evidence, what it means, what to try first."""
    from aaekit.evaluation.compare import diagnosis
    from aaekit.runs.run import Run

    found = Run.open(run)
    findings = diagnosis(found.fitted(), found.held_out)
    for f in findings:
        typer.echo(f"{f.severity}: {f.name}")
        for what, text in (("evidence", f.evidence), ("it means", f.meaning), ("try first", f.option)):
            typer.echo(fill(f"{what}: {text}", 100, initial_indent="  ", subsequent_indent="    "))
    if not findings:
        typer.echo("nothing looks wrong")


@app.command()
def plot(
    run: RunPath,
    out: Annotated[Path | None, typer.Option(help="Folder to write into.", show_default="RUN/figures")] = None,
) -> None:
    """Draw every picture of a trained model, also those that take a while: codes by t-SNE, modes beside real rows."""
    from aaekit import plots
    from aaekit.runs.run import Run

    found = Run.open(run)
    for name, (_, figure) in draw.draw_all(found.fitted(), found.held_out, found.labels, slow=True).items():
        typer.echo(str(plots.save(figure, (out or found.path / "figures") / f"{name}.png")))


@app.command()
def predict(
    run: RunPath,
    rows: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="A .npy, .npz or .csv file, a folder of images, or a named set: its test rows, if any.",
        ),
    ],
    out: Out = Path("predictions.csv"),
    data_dir: DataDir = None,
) -> None:
    """Write what a model says of each row into a CSV file: class, cluster or place, with probabilities; or outlier."""
    from aaekit.evaluation.compare import predictions
    from aaekit.evaluation.heldout import fitting
    from aaekit.runs import run as runs

    found = runs.Run.open(run)
    estimator = found.fitted()
    with notes():
        given = found.other_data(rows, data_dir, labelled=False)
        X = fitting(estimator, runs.held_out({}, given).X)
        header, lines = predictions(estimator, X, found.class_names(estimator))
    write_csv(out, with_files([header, *lines], given.files if given.X_test is None else given.files_test))
    typer.echo(f"{len(lines)} rows: {out}")


@app.command()
def name(
    run: RunPath,
    names: Annotated[
        list[str], typer.Argument(metavar="CLUSTER=NAME...", help="For instance 3=seven 5=two.", show_default=False)
    ],
) -> None:
    """Name clusters after looking at them (`aae plot RUN`): from then on the model predicts names."""
    from aaekit.estimators import ClusteringAAE
    from aaekit.runs.run import Run

    found = Run.open(run)
    estimator = found.fitted()
    if not isinstance(estimator, ClusteringAAE):
        raise InputError(f"{run} is a {found.config['system']}: only clusters can be named")
    given: dict[int, str] = {}
    for text in names:
        cluster, equals, meaning = text.partition("=")
        if not equals or not cluster.strip().isdecimal() or not meaning.strip():
            raise InputError(f"{text!r}: expected CLUSTER=NAME, for instance 3=seven")
        if given.setdefault(int(cluster), meaning.strip()) != meaning.strip():
            raise InputError(f"{text!r}: cluster {int(cluster)} is called {given[int(cluster)]} before: give one name")
    estimator.name_clusters(given).save(found.path / "model.safetensors")
    known = estimator.cluster_names_
    others = "" if len(known) == estimator.n_clusters else "; rows of the other clusters get the likeliest of these"
    typer.echo(
        f"{len(known)} of {estimator.n_clusters} clusters have names: {', '.join(map(str, estimator.classes_))}{others}"
    )


@app.command()
def sample(
    run: RunPath,
    out: Annotated[
        Path, typer.Option(help="File to write: .png for a picture, .npy for the rows, .csv for a table's.")
    ] = Path("samples.png"),
    n: Annotated[int, typer.Option("--n", min=1, help="How many.")] = 100,
    label: Annotated[
        str | None,
        typer.Option(
            help="Only of this class (or cluster), if the model knows any; of a model told both, DOMAIN,CLASS.",
            show_default="all classes",
        ),
    ] = None,
    grid: Annotated[
        bool,
        typer.Option("--grid", help="Instead of draws: 10x10 codes over \\[-1,1]^2; of a classifier, styles by class."),
    ] = False,
    walk: Annotated[
        bool, typer.Option("--walk", help="Instead of draws: even steps along the Swiss roll, from the centre on.")
    ] = False,
    random_state: RandomState = 0,
) -> None:
    """Make new rows: a picture or an array."""
    from aaekit import plots
    from aaekit.runs.run import Run

    found = Run.open(run)
    estimator = _autoencoder(found)
    if grid and (label is not None or walk or out.suffix != ".png"):
        raise InputError("--grid makes a picture of all classes: leave --label and --walk out, and end --out in .png")
    if walk and (label is not None or not hasattr(estimator, "walk")):
        raise InputError("--walk is for a generator with --prior swiss_roll, and takes no --label")
    if grid:
        plots.save(draw.grid(estimator, found.held_out, found.labels), out)
    elif walk:
        _save(
            heldout.pictures(estimator, estimator.walk(n)),
            out,
            lambda x: draw.walk(estimator, heldout.shown(estimator, x), found.labels),
            found,
        )
    else:
        y = None if label is None else _label_of(label, found, estimator)
        if label is not None:
            _note_of_style(estimator)
        title = "Samples" if label is None else f"Samples of class {label}"
        rows = heldout.pictures(estimator, estimator.sample(n, random_state, label=y))
        _save(rows, out, lambda x: plots.sample_grid(heldout.shown(estimator, x), title=title), found)
    typer.echo(str(out))


def _label_of(label: str, run: Any, estimator: Any) -> Any:
    """The label to make rows of: a class, or for a model of domains and classes one of each."""
    if not isinstance(classes := getattr(estimator, "classes_", None), list):
        return _class_of(label, run, estimator)
    names = [run.class_names(estimator), [run.class_labels[k] for k in classes[1]]]
    both = dict(zip(map(",".join, product(*names)), product(*classes), strict=True))
    if label not in both:
        raise InputError(
            f"--label {label}: expected DOMAIN,CLASS, for instance {next(iter(both))}: a domain of "
            f"{', '.join(names[0])} and a class of {', '.join(names[1])}"
        )
    return both[label]


def _class_of(label: str, run: Any, estimator: Any, option: str = "--label") -> Any:
    """The class (or cluster) that a text on the command line means."""
    names = run.class_names(estimator)
    if not names:
        raise InputError(f"{run.path} is a {run.config['system']} that knows no classes: leave {option} out")
    classes = getattr(estimator, "classes_", range(len(names)))
    values = list(classes[0] if isinstance(classes, list) else classes)  # of several conditions the first
    numbers = list(map(str, values))
    if label in names or label in numbers:
        return values[names.index(label) if label in names else numbers.index(label)]
    clusters = list(map(str, range(estimator.n_clusters))) if hasattr(estimator, "name_clusters") else []
    if label in clusters:
        return int(label)
    other = f", or a cluster from 0 to {clusters[-1]}" if clusters and names != clusters else ""
    raise InputError(f"{option} {label}: expected one of {', '.join(names)}{other}.{nearest(label, names)}")


@app.command()
def reconstruct(
    run: RunPath,
    data: Annotated[
        str | None,
        typer.Option(help="A set, named or at a path; its test rows if it has some.", show_default="the run's own"),
    ] = None,
    data_dir: DataDir = None,
    out: Annotated[
        Path, typer.Option(help="File to write: .png for pairs, .npy for the rows, .csv for a table's.")
    ] = Path("pairs.png"),
    n: Annotated[int, typer.Option("--n", min=1, help="How many of the first rows.")] = 10,
) -> None:
    """Put rows beside what the autoencoder gives back."""
    from aaekit import plots

    found = _run(run)
    estimator = _autoencoder(found)
    X, _ = _first_rows(found, data, data_dir, n)
    with notes():
        again = heldout.pictures(estimator, estimator.reconstruct(heldout.fitting(estimator, X)))
    shown = partial(heldout.shown, estimator)
    _save(again, out, lambda x: plots.reconstruction_pairs(shown(X), shown(x), len(x)), found)
    typer.echo(str(out))


@app.command()
def translate(
    run: RunPath,
    to: Annotated[str, typer.Option("--to", help="The class or domain to turn rows into.", show_default=False)],
    data: Annotated[
        str | None,
        typer.Option(help="A set, named or at a path; its test rows if it has some.", show_default="the run's own"),
    ] = None,
    data_dir: DataDir = None,
    out: Annotated[
        Path, typer.Option(help="File to write: .png for pairs, .npy for the rows, .csv for a table's.")
    ] = Path("pairs.png"),
    n: Annotated[int, typer.Option("--n", min=1, help="How many of the first rows.")] = 10,
) -> None:
    """Rows in their own style as another class, or from another domain, by a style model or a classifier."""
    import numpy as np

    from aaekit import plots
    from aaekit.estimators import SemiSupervisedAAE, SupervisedAAE

    found = _run(run)
    estimator = found.fitted()
    if not isinstance(estimator, (SupervisedAAE, SemiSupervisedAAE)):
        raise InputError(
            f"{run} is a {found.config['system']}: only style models translate (aae train style), and classifiers "
            "(aae train classifier --style-matching per_class)"
        )
    _note_of_style(estimator)
    X, y = _first_rows(found, data, data_dir, n)
    label = _class_of(to, found, estimator, "--to")
    if found.config.get("condition") == "domain,class":  # each row keeps its class
        if y is None or (y == -1).any():
            raise InputError(f"{run} is told domain and class: expected rows with labels, their classes; found none")
        label = np.column_stack([np.full(len(X), label), y])
    with notes():
        rows = estimator.translate(heldout.fitting(estimator, X), label)
    shown = partial(heldout.shown, estimator)
    made = heldout.pictures(estimator, rows)
    _save(made, out, lambda x: plots.domain_translation(shown(X), shown(x), "as they are", to), found)
    typer.echo(str(out))


def _note_of_style(estimator: Any) -> None:
    """Say so if rows that a classifier makes of a class need not show it."""
    if getattr(estimator, "style_matching", "per_class") == "marginal":
        _say(
            "note: style and class were not kept apart: for rows that show their class train with --style-matching per_class"
        )


def _run(path: Path) -> Any:
    from aaekit.runs.run import Run

    return Run.open(path)


def _first_rows(run: Any, data: str | None, data_dir: Path | None, n: int) -> tuple[Any, Any]:
    """The first rows to look at, of a run's own data or of another set, and their classes if there are any."""
    from aaekit.data.domains import same_shape

    if data is None:
        _, X, y = run.held_out
        return X[:n], None if y is None else y[:n] if y.ndim == 1 else y[:n, -1]
    with notes():
        found = run.other_data(data, data_dir)
    X, y = (found.X, found.y) if found.X_test is None else (found.X_test, found.y_test)
    X, y = X[:n], None if y is None else y[:n]
    joined = run.config.get("condition", "class") != "class" and X.ndim == 4 and X.shape[1:] != run.shape
    return same_shape(X, run.shape, data) if joined else X, y


def _autoencoder(run: Any) -> Any:
    from aaekit.estimators.autoencoder import Autoencoder

    estimator = run.fitted()
    if not isinstance(estimator, Autoencoder):
        raise InputError(
            f"{run.path} is a {run.config['system']}, which has no decoder: choose a generator or a classifier"
        )
    return estimator


def _save(rows: Any, out: Path, figure: Callable[[Any], Any], run: Any) -> None:
    """Rows that a run made as a picture, an array or a table, by the end of the file's name."""
    import numpy as np

    from aaekit import plots
    from aaekit._files import write_atomically

    if out.suffix == ".png":
        plots.save(figure(rows), out)
    elif out.suffix == ".npy":

        def write(path: str) -> None:
            with open(path, "wb") as file:
                np.save(file, rows, allow_pickle=False)

        write_atomically(out, write)
    elif out.suffix == ".csv" and rows.ndim == 2:
        write_csv(out, [column_names(run.columns, rows), *written(rows)])
    else:
        raise InputError(f"--out {out}: expected a name that ends in .png, .npy or, of a table, .csv")


# --- data ------------------------------------------------------------------------------------------------------------
app.add_typer(simulate_app, name="simulate")
app.add_typer(label_app, name="label")
data_app = new_app()
app.add_typer(data_app, name="data", help="What data sets there are, and how to prepare them.")


@data_app.command("list")
def list_sets(data_dir: DataDir = None) -> None:
    """List the named data sets."""
    from rich.console import Console
    from rich.table import Table

    from aaekit import data

    table = Table()
    for heading in ("name", "what", "download"):
        table.add_column(heading)
    for name in data.names():
        facts = data.info(name, data_dir)
        table.add_row(name, facts["summary"], "here" if facts["present"] else f"{facts['megabytes']} MB")
    Console().print(table)


@data_app.command()
def info(
    name: Annotated[
        str, typer.Argument(metavar="SET", help="A named set, a file or a folder of images, or several joined by +.")
    ],
    data_dir: DataDir = None,
    data_options: DataOptions = None,
) -> None:
    """Say what a data set is, and where its files are; nothing is downloaded."""
    from aaekit import data

    options = _data_options(data_options)
    if options or not set(name.split("+")) <= set(data.names()):
        facts = data.load(name, data_dir, download=False, **options).describe()
    else:
        facts = data.info(name, data_dir)
        for file in facts.pop("files"):
            facts[file["name"]] = f"{file['state']}{' at ' + str(file['path']) if file['path'] else ''}"
    for key, value in facts.items():
        text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        typer.echo(f"{key + ':':<12} {text}")


@data_app.command()
def prepare(
    name: Annotated[
        str, typer.Argument(metavar="SET", help="A named set, a file or a folder of images, or several joined by +.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for SET.npz (and SET-split.npz).")] = Path("."),
    labels: Annotated[
        int | None, typer.Option(help="Labelled rows, class-balanced: writes the split, too.", show_default="none")
    ] = None,
    validation: Annotated[int, typer.Option(help="Rows set aside for validation.")] = 0,
    random_state: RandomState = 0,
    data_dir: DataDir = None,
    data_options: DataOptions = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
) -> None:
    """Download a set, check it, and write it down as one .npz, with its split if asked for."""
    from aaekit import data

    options = _data_options(data_options)
    for path in data.prepare(name, data_dir, out, labels, validation, random_state, overwrite, **options):
        typer.echo(str(path))


def _data_options(text: str | None) -> dict[str, Any]:
    """What --data-options says."""
    if text is None:
        return {}
    from aaekit.runs.run import data_options

    return data_options(text.split(","))


# --- published figures -----------------------------------------------------------------------------------------------
@app.command()
def reproduce(
    name: Annotated[
        str | None, typer.Argument(metavar="[EXPERIMENT]", help="Which; without one, lists them.", show_default=False)
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many runs: random states 0, 1, ...")] = 5,
    jobs: Annotated[int, typer.Option(min=1, help="How many of them side by side, in processes.")] = 1,
    device: Annotated[
        str | None, typer.Option(help="Where to train: cpu, cuda, mps.", show_default="the experiment's, or auto")
    ] = None,
    table: Annotated[bool, typer.Option("--table", help="Print all logs as tables in Markdown.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the log.", show_default="the package's own, beside the others")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder for the pictures of the first seed.", show_default="none are drawn")
    ] = None,
    data_dir: DataDir = None,
    quiet: Quiet = False,
) -> None:
    """Run an experiment over several seeds, log it, and print ours beside the published figure.

    What the log has is not run again: a command that was stopped goes on where it was, and more seeds are added.
    """
    from aaekit.report import Table
    from reproduction import experiments, logs, measure

    folder, place = out or logs.FOLDER, None if data_dir is None else str(data_dir)
    columns = ["experiment", "published", "target", "ours", "a seed took"]
    if table:
        if name is not None:
            raise InputError(f"--table prints every log: leave out either it or {name!r}")
        typer.echo(logs.markdown(logs.read_all(folder)))
        return
    if name is None:
        print_table(Table("Experiments with a log", columns, logs.table(logs.read_all(folder))))
        typer.echo(f"all experiments: {', '.join(experiments.names())}")
        return
    changed = {} if device is None else {"device": device}
    try:
        log = measure.run(name, range(seeds), place, callbacks(quiet), folder, pictures, jobs, **changed)
    except KeyboardInterrupt:
        raise Stopped("stopped; the same command goes on where it was") from None
    print_table(Table(name, columns, logs.table([log])))
    typer.echo(f"log: {logs.path_of(name, folder)}")


# --- the entry point -------------------------------------------------------------------------------------------------
def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; mistakes are said in one line each, with exit code 2."""
    code: Any = 2
    try:
        code = typer.main.get_command(app).main(
            args=None if arguments is None else list(arguments), prog_name="aae", standalone_mode=False
        )
        if code == 130:  # typer's own answer to an interrupt
            _say("stopped")
    except USAGE_ERROR as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
        else:
            message = error.format_message()
            if possible := getattr(error, "possibilities", None):
                message = f"no such option {error.option_name}.{nearest(error.option_name, possible)}"
            place = f" (see `{error.ctx.command_path} --help`)" if error.ctx is not None else ""
            _say(f"error: {message.rstrip('.')}{place}")
    except (InputError, TrainingError) as error:
        for line in str(error).splitlines():
            _say(f"error: {line}")
    except (KeyboardInterrupt, typer.Abort):
        _say("stopped")
        code = 130
    except Stopped as stop:
        _say(str(stop))
        code = 130
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        hint = ". Free some space or choose another place" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        _say(f"error: {place}{error.strerror or error}{hint}")
    sys.exit(code if isinstance(code, int) else 0)


def _say(text: str) -> None:
    typer.echo(text, err=True)
