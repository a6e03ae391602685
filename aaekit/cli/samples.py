"""Commands that decode: `aae sample`, `reconstruct` and `translate`."""

from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import typer

from aaekit._files import check_writable, write_atomically, write_csv
from aaekit.cli.options import DataDir, RandomState, RunPath, notes, say
from aaekit.errors import InputError, nearest

PairData = Annotated[
    str | None,
    typer.Option(help="A set, named or at a path; its test rows if it has some.", show_default="the run's own"),
]
PairsOut = Annotated[
    Path, typer.Option(help="File to write: .png for pairs, .npy for the rows, .csv for those of a table.")
]
FirstRows = Annotated[int, typer.Option("--n", min=1, help="Number of rows, the first ones.")]


def sample(
    run: RunPath,
    out: Annotated[
        Path, typer.Option(help="File to write: .png for a picture, .npy for the rows, .csv for those of a table.")
    ] = Path("samples.png"),
    n: Annotated[int, typer.Option("--n", min=1, help="Number of samples.")] = 100,
    label: Annotated[
        str | None,
        typer.Option(
            help="Only of this class or cluster; DOMAIN,CLASS for a style model of both.", show_default="all classes"
        ),
    ] = None,
    grid: Annotated[
        bool,
        typer.Option(
            "--grid", help="Instead of samples: 10x10 codes over \\[-1,1]^2; for a classifier, styles by class."
        ),
    ] = False,
    walk: Annotated[
        bool, typer.Option("--walk", help="Instead of samples: even steps along the Swiss roll, from its centre.")
    ] = False,
    random_state: RandomState = 0,
) -> None:
    """Draw new rows from the model: a picture, an array or a table."""
    from aaekit import plots
    from aaekit.evaluation import heldout
    from aaekit.plots import draw

    directory = _open(run)
    _check_out(out, directory)
    estimator = _decoding(directory)
    _refuse_pictures_of_features(directory, out)
    as_samples, for_plots = partial(heldout.as_samples, estimator), partial(heldout.for_plots, estimator)
    if grid and (label is not None or walk or out.suffix != ".png"):
        raise InputError(
            "--grid: expected neither --label nor --walk, and --out with .png, got other options: it draws all classes"
        )
    if walk and (label is not None or not hasattr(estimator, "walk")):
        raise InputError(
            "--walk: expected a generator with --prior swiss_roll, and no --label, got something else: leave it out"
        )
    if grid:
        plots.save(draw.grid(estimator, directory.held_out, directory.labels), out)
    elif walk:
        rows = as_samples(estimator.walk(n))
        _save(rows, out, lambda x: draw.roll_walk(estimator, for_plots(x), directory.labels), directory)
    else:
        y = None if label is None else _label_of(label, directory, estimator)
        if label is not None:
            _note_marginal_style(estimator)
        title = "Samples" if label is None else f"Samples of class {label}"
        rows = as_samples(estimator.sample(n, random_state, label=y))
        _save(rows, out, lambda x: plots.sample_grid(for_plots(x), title=title), directory)
    typer.echo(str(out))


def reconstruct(
    run: RunPath,
    data: PairData = None,
    data_dir: DataDir = None,
    out: PairsOut = Path("pairs.png"),
    n: FirstRows = 10,
) -> None:
    """Draw rows beside their reconstructions."""
    from aaekit import plots
    from aaekit.evaluation import heldout

    directory = _open(run)
    _check_out(out, directory)
    estimator = _decoding(directory)
    _refuse_pictures_of_features(directory, out)
    X, _ = _first_rows(directory, data, data_dir, n)
    with notes():
        rows = heldout.as_samples(estimator, estimator.reconstruct(heldout.to_training_units(estimator, X)))
    for_plots = partial(heldout.for_plots, estimator)
    _save(rows, out, lambda x: plots.reconstruction_pairs(for_plots(X), for_plots(x), len(x)), directory)
    typer.echo(str(out))


def translate(
    run: RunPath,
    to: Annotated[str, typer.Option("--to", help="Class or domain to translate to.", show_default=False)],
    data: PairData = None,
    data_dir: DataDir = None,
    out: PairsOut = Path("pairs.png"),
    n: FirstRows = 10,
) -> None:
    """Change the class or the domain of rows and keep their style; for style models and classifiers."""
    import numpy as np

    from aaekit import plots
    from aaekit.evaluation import heldout

    directory = _open(run)
    _check_out(out, directory)
    estimator: Any = directory.fitted()
    if not hasattr(estimator, "translate"):
        raise InputError(
            f"{run}: expected a style model or a classifier, got a {directory.config['system']}: train one by "
            "aae train style, or aae train classifier --style-matching per_class"
        )
    _refuse_pictures_of_features(directory, out)
    _note_marginal_style(estimator)
    X, y = _first_rows(directory, data, data_dir, n)
    label = _class_of(to, directory, estimator, "--to")
    if directory.config.get("condition") == "domain,class":  # each row keeps its class
        if y is None or (y == -1).any():
            raise InputError(
                f"{run}: expected rows with labels, since the model is conditioned on domain and class, got rows "
                "without: label them"
            )
        label = np.column_stack([np.full(len(X), label), y])
    with notes():
        rows = heldout.as_samples(estimator, estimator.translate(heldout.to_training_units(estimator, X), label))
    for_plots = partial(heldout.for_plots, estimator)
    _save(rows, out, lambda x: plots.domain_translation(for_plots(X), for_plots(x), "as they are", to), directory)
    typer.echo(str(out))


def _open(path: Path) -> Any:
    from aaekit.runs.run import Run

    return Run.open(path)


def _refuse_pictures_of_features(directory: Any, out: Path) -> None:
    """Refuse a picture, or a table without columns, where the model decodes features."""
    if directory.features is None:
        return
    is_text = directory.schema is not None
    has_cells = is_text and any(column.kind != "encoded text" for column in directory.schema.used)
    if out.suffix == ".png" or (is_text and out.suffix == ".csv" and not has_cells):
        what = "texts" if is_text else "pictures"
        raise InputError(
            f"{directory.path}: expected a name that ends in .npy, got {out}: the model decodes features by "
            f"{directory.features}, which are no {what}"
        )


def _decoding(directory: Any) -> Any:
    """Return the estimator of a run, which must have a decoder."""
    estimator = directory.fitted()
    if not hasattr(estimator, "reconstruct"):
        raise InputError(
            f"{directory.path}: expected a model with a decoder, got a {directory.config['system']}, which has no "
            "decoder: choose a generator or a classifier"
        )
    return estimator


def _label_of(label: str, directory: Any, estimator: Any) -> Any:
    """Return the label to sample: a class, or a domain and a class of a model that is conditioned on both."""
    if not isinstance(classes := getattr(estimator, "classes_", None), list):
        return _class_of(label, directory, estimator, "--label")
    domains, names = directory.class_names(estimator), [directory.class_labels[k] for k in classes[1]]
    pairs = dict(zip(map(",".join, product(domains, names)), product(*classes), strict=True))
    if label not in pairs:
        raise InputError(
            f"--label: expected DOMAIN,CLASS, for instance {next(iter(pairs))}, got {label}: choose a domain of "
            f"{', '.join(domains)} and a class of {', '.join(names)}"
        )
    return pairs[label]


def _class_of(label: str, directory: Any, estimator: Any, option: str) -> Any:
    """Return the class (or cluster) that a text on the command line names."""
    names = directory.class_names(estimator)
    if not names:
        raise InputError(
            f"{option}: expected a model that knows classes, got a {directory.config['system']} that knows no classes: "
            f"leave {option} out"
        )
    classes = getattr(estimator, "classes_", range(len(names)))
    values = list(classes[0] if isinstance(classes, list) else classes)  # of several conditions the first
    numbers = list(map(str, values))
    if label in names or label in numbers:
        return values[names.index(label) if label in names else numbers.index(label)]
    clusters = list(map(str, range(estimator.n_clusters))) if hasattr(estimator, "name_clusters") else []
    if label in clusters:
        return int(label)
    cluster = f", or a cluster from 0 to {clusters[-1]}" if clusters and names != clusters else ""
    raise InputError(f"{option}: expected one of {', '.join(names)}{cluster}, got {label}{nearest(label, names)}")


def _note_marginal_style(estimator: Any) -> None:
    """Say that samples of a class need not show it, where style and class are not independent."""
    if getattr(estimator, "style_matching", "per_class") == "marginal":
        say(
            "note: style and class are not independent in this model: for rows that show their class train with "
            "--style-matching per_class"
        )


def _first_rows(directory: Any, data: str | None, data_dir: Path | None, n: int) -> tuple[Any, Any]:
    """Return the first rows of a run's own data or of another set, and their classes if there are any."""
    from aaekit.data.domains import same_shape

    if data is None:
        X, y = directory.held_out.X, directory.held_out.y
        return X[:n], None if y is None else y[:n] if y.ndim == 1 else y[:n, -1]
    with notes():
        other = directory.other_data(data, data_dir)
    X, y = (other.X, other.y) if other.X_test is None else (other.X_test, other.y_test)
    X, y = X[:n], None if y is None else y[:n]
    joined = directory.config.get("condition", "class") != "class" and X.ndim == 4 and X.shape[1:] != directory.shape
    return same_shape(X, directory.shape, data) if joined else X, y


def _save(rows: Any, out: Path, figure: Callable[[Any], Any], directory: Any) -> None:
    """Save rows as a picture, an array or a table, by the suffix of the file's name."""
    import numpy as np

    from aaekit import plots
    from aaekit.columns import table_lines

    if out.suffix == ".png":
        plots.save(figure(rows), out)
    elif out.suffix == ".npy":

        def write(path: str) -> None:
            with open(path, "wb") as file:
                np.save(file, rows, allow_pickle=False)

        write_atomically(out, write)
    else:
        write_csv(out, table_lines(rows, directory.schema))


def _check_out(out: Path, directory: Any) -> None:
    """Refuse a file that could not be written, or of a kind that the rows of a run are not written as."""
    if out.suffix not in (".png", ".npy", *[".csv"] * (len(directory.shape) == 1)):
        raise InputError(
            f"--out: expected a name that ends in .png, .npy or, for a table, .csv, got {out}: choose another name"
        )
    check_writable(out)
