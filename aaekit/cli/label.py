"""The commands `aae label ...`: which rows to label, and what was learned of all of them.

torch is loaded only by the commands that need it.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from aaekit.cli.options import (
    DataDir,
    DataOptions,
    Quiet,
    callbacks,
    column_names,
    new_app,
    notes,
    with_files,
    write_csv,
    written,
)
from aaekit.data.formats import read_filled
from aaekit.errors import InputError
from aaekit.evaluation import heldout

SURE = 0.95  # the probability from which a row counts as called surely
N_FEATURES = 40  # of a table, at most, that are shown beside a question

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the session is, or will be.", show_default=False)]

label_app = new_app(
    help="Label as few rows as possible: it asks for those that help most, and learns all others from them."
)


@label_app.command()
def ask(
    folder: Folder,
    n: Annotated[int, typer.Option("--n", "-n", min=1, help="How many rows to ask for.")] = 10,
    data: Annotated[
        str | None,
        typer.Option(
            help="A named set, a .npz, .npy or .csv file, or a folder of images; at the first call.",
            show_default="that of the session",
        ),
    ] = None,
    data_options: DataOptions = None,
    image_shape: Annotated[
        str | None,
        typer.Option(
            help="Channels, height, width of images in flattened rows, or for those of a folder; at the first call.",
            metavar="A,B,...",
            show_default=False,
        ),
    ] = None,
    clusters: Annotated[
        int, typer.Option(min=2, help="How many clusters to find at the first call; each should be of one class.")
    ] = 20,
    max_steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of each training, at the first call.", show_default="by the rows")
    ] = None,
    random_state: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed, at the first call.")] = 0,
    data_dir: DataDir = None,
    quiet: Quiet = False,
) -> None:
    """Write the rows to label into FOLDER: a CSV file to fill in and, of images, a picture to look at."""
    from aaekit import plots
    from aaekit._files import write_json
    from aaekit.data import whole_path

    if not (folder / "settings.json").exists():
        if data is None:
            raise InputError(f"{folder}: no session there yet: give --data to begin one")
        settings = {
            "data": whole_path(data),
            "data_options": data_options.split(",") if data_options is not None else [],
            "image_shape": None if image_shape is None else _shape(image_shape),
            "clusters": clusters,
            "max_steps": max_steps,
            "random_state": random_state,
        }
        settings["data_dir"] = None if data_dir is None else str(data_dir.expanduser().resolve())
    else:
        settings = _settings(folder)
        if data is not None and whole_path(data) != settings["data"]:
            raise InputError(f"{folder} is a session on {settings['data']}: leave --data out, or take another folder")
    session, found = _session(folder, settings)
    if not (folder / "settings.json").exists() and found.y is not None and (n_known := int((found.y >= 0).sum())):
        typer.echo(
            f"note: the {n_known} labels in {settings['data']} are not used: whoever answers gives them", err=True
        )
    waiting = _questions(folder)[-1:]
    if waiting and not {row for row, _ in _lines(waiting[0])} & set(session.labels):
        raise InputError(f"{waiting[0]} waits for answers: fill them in and tell them, or delete it to be asked anew")
    with notes():
        rows = session.ask(n, callbacks(quiet))
    session.save(folder)
    if not (folder / "settings.json").exists():
        write_json(folder / "settings.json", settings)
    path = folder / f"questions-{_number(waiting[0]) + 1 if waiting else 1}.csv"
    images = found.X.ndim == 4
    features = [] if images else column_names(found.columns, found.X)[:N_FEATURES]
    values = [[]] * len(rows) if images else written(found.X[rows, :N_FEATURES])
    lines = [[row, "", *shown] for row, shown in zip(rows, values, strict=True)]
    write_csv(path, with_files([["row", "label", *features], *lines], found.files))
    if images:
        X = heldout.as_samples(session.model or session.clusters_, found.X[rows])
        typer.echo(f"look at: {plots.save(plots.questions(X, rows.tolist()), path.with_suffix('.png'))}")
    typer.echo(f"fill in the labels in {path}, then: aae label tell {folder}")


@label_app.command()
def tell(
    folder: Folder,
    answers: Annotated[
        Path | None,
        typer.Argument(metavar="[ANSWERS]", help="CSV file of row and label.", show_default="the newest questions"),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Learn the labels that were filled in, and write those of all rows into FOLDER/labels.csv."""
    settings = _settings(folder)
    asked = _questions(folder)
    if answers is None and not asked:
        raise InputError(f"{folder}: nothing was asked yet: aae label ask {folder}")
    answers = answers or asked[-1]
    told = _answers(answers)
    session, found = _session(folder, settings)
    session.tell(list(told), list(told.values()), callbacks(quiet))
    session.save(folder)
    called = _called(session.model, found.X)
    lines = [[*line, "told" if line[0] in session.labels else ""] for line in called]
    write_csv(folder / "labels.csv", with_files([["row", "label", "probability", "told"], *lines], found.files))
    sure = sum(float(p) >= SURE for _, _, p in called) / len(called)
    typer.echo(f"{len(session.labels)} labels; {sure:.0%} of the rows are called with a probability of {SURE} or more")
    typer.echo(f"all rows: {folder / 'labels.csv'}; ask on: aae label ask {folder}")


@label_app.command()
def predict(
    folder: Folder,
    rows: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="A .npy, .npz or .csv file, a folder of images, or a named set: its test rows, if any.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="CSV file to write.")] = Path("predictions.csv"),
    data_dir: DataDir = None,
) -> None:
    """Write labels and probabilities of other rows into a CSV file."""
    from aaekit.estimators import SemiSupervisedAAE
    from aaekit.evaluation.heldout import to_training_units
    from aaekit.runs import run as runs

    path = folder / "model.safetensors"
    if not path.exists():
        raise InputError(f"{folder} has learned nothing yet: aae label ask {folder}, then aae label tell {folder}")
    model, settings = SemiSupervisedAAE.load(path), _settings(folder)
    shape = model.shape_ if len(model.shape_) == 3 else None
    options = {"empty": settings["means"]} if "empty" in runs.datasets.options_of(rows) else {}
    with notes():
        found = runs.datasets.load(
            rows, data_dir, image_shape=shape, columns=settings["columns"], classes=(), **options
        )
        lines = _called(model, to_training_units(model, runs.held_out({}, found).X))
    files = found.files if found.X_test is None else found.files_test
    write_csv(out, with_files([["row", "label", "probability"], *lines], files))
    typer.echo(f"{len(lines)} rows: {out}")


def _called(model: Any, X: Any) -> list[tuple[int, Any, str]]:
    """Number, label and probability of each row."""
    p = model.predict_proba(X)
    return [(row, model.classes_[best], f"{p[row, best]:.4f}") for row, best in enumerate(p.argmax(1))]


# --- the folder ------------------------------------------------------------------------------------------------------
def _session(folder: Path, settings: dict[str, Any]) -> tuple[Any, Any]:
    """The session of a folder, or a new one, and its data."""
    from aaekit import data
    from aaekit.active import ActiveLearner
    from aaekit.estimators import ClusteringAAE, SemiSupervisedAAE
    from aaekit.runs.run import data_options

    options = data_options(settings["data_options"])
    found = data.load(settings["data"], settings["data_dir"], image_shape=settings["image_shape"], **options)
    settings["columns"] = found.columns or None
    settings["means"] = found.means
    common = {"random_state": settings["random_state"], "max_steps": settings["max_steps"]}
    classifier = SemiSupervisedAAE(**common)
    if (folder / "session.json").exists():
        return ActiveLearner.load(folder, found.X, classifier=classifier), found
    clusters = ClusteringAAE(n_clusters=settings["clusters"], **common)
    return ActiveLearner(
        found.X, clusters=clusters, classifier=classifier, random_state=settings["random_state"]
    ), found


def _shape(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 3 or not all(part.isdecimal() and int(part) for part in parts):
        raise InputError(f"--image-shape {text}: expected channels, height and width, for instance 1,28,28")
    return [int(part) for part in parts]


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / "settings.json"
    if not path.exists():
        raise InputError(f"{folder}: no session there: begin one with: aae label ask {folder} --data YOURS")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        known = {k: found[k] for k in ("data", "clusters", "max_steps", "random_state", "data_dir")}
        later = {"data_options": [], "image_shape": None, "columns": None, "means": None}
        return known | {k: found.get(k, default) for k, default in later.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: damaged ({error})") from error


def _questions(folder: Path) -> list[Path]:
    """The files of questions, in the order in which they were asked."""
    return sorted((p for p in folder.glob("questions-*.csv") if p.stem[10:].isdecimal()), key=_number)


def _number(path: Path) -> int:
    return int(path.stem.removeprefix("questions-"))


def _lines(path: Path) -> list[tuple[int, str]]:
    """The number of a row and its label, which may be empty, from each line of a CSV file."""
    lines = read_filled(path, ("row", "label"))
    for at, line in enumerate(lines, 2):
        if not (line["row"] or "").strip().isdecimal():
            raise InputError(f"{path}, line {at}: expected the number of a row, found {line['row']!r}")
    return [(int(line["row"] or ""), (line["label"] or "").strip()) for line in lines]


def _answers(path: Path) -> dict[int, str]:
    """The labels that were filled in, by row."""
    told: dict[int, str] = {}
    for row, label in _lines(path):
        if label and told.setdefault(row, label) != label:
            raise InputError(f"{path}: row {row} has two labels, {told[row]} and {label}: leave one")
    if not told:
        raise InputError(f"{path}: expected labels in the column label, found none: fill some in")
    return told
