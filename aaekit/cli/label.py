"""The commands `aae label ...`: active learning, which asks for the labels that help most.

torch is loaded only by the commands that need it.
"""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from aaekit._files import check_writable, whole_number, write_csv, write_json
from aaekit._locks import locked
from aaekit.cli.options import (
    DataDir,
    Features,
    InputRows,
    Predictions,
    Quiet,
    SetOptions,
    callbacks,
    image_shape_of,
    new_app,
    notes,
    say,
    with_files,
)
from aaekit.cli.studio import check_studio, studio
from aaekit.errors import InputError
from aaekit.labelling import LOG, SETTINGS, Answers, Settings, load, read_settings

SURE = 0.95  # the probability from which a prediction counts as sure
N_FEATURES = 40  # of a table, at most, that are written beside a question

Folder = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="Folder of the session; `ask` makes it.", show_default=False)
]


class LabelGroup(TyperGroup):
    """Takes `aae label FOLDER --studio` for `aae label ask FOLDER --studio`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        in_studio = "--studio" in args and args[0] not in self.commands
        return super().resolve_command(ctx, ["ask", *args] if in_studio else args)


label_app: typer.Typer = new_app(
    cls=LabelGroup,
    help="Label few rows: it asks for the labels that help most, and predicts the others.\n\n"
    "In the browser: [bold]aae label FOLDER --studio[/bold], with the options of `ask`.",
)


@label_app.command()
def ask(
    folder: Folder,
    n: Annotated[int, typer.Option("--n", "-n", min=1, help="Number of rows to ask for.")] = 10,
    data: Annotated[
        str | None,
        typer.Option(
            help="A named set, a .npz, .npy or .csv file, or a folder of images; in the first call.",
            show_default="that of the session",
        ),
    ] = None,
    data_options: SetOptions = None,
    image_shape: Annotated[
        str | None,
        typer.Option(
            help="Channels, height and width of images: of flattened rows, or to resize to; in the first call.",
            metavar="A,B,...",
            show_default=False,
        ),
    ] = None,
    features: Features = None,
    clusters: Annotated[
        int, typer.Option(min=2, help="Number of clusters of the first call; each should contain one class.")
    ] = 20,
    max_steps: Annotated[
        int | None,
        typer.Option(min=1, help="Steps of each training, in the first call.", show_default="by the number of rows"),
    ] = None,
    random_state: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed, in the first call.")] = 0,
    data_dir: DataDir = None,
    in_studio: Annotated[
        bool,
        typer.Option("--studio", help="Label in the browser instead; later, aae studio FOLDER opens it again."),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Write the rows to label to FOLDER: a CSV file to fill in and, for images, a picture of them."""
    from aaekit.data import chosen_folder, whole_path
    from aaekit.encoders import absolute

    if in_studio:
        check_studio()
    check_writable(folder, is_folder=True)
    is_new = not (folder / SETTINGS).exists()
    if is_new:
        if data is None:
            raise InputError(f"{folder}: expected a session, got none: give --data to start one")
        settings: Settings = {
            "data": whole_path(data),
            "data_options": data_options.split(",") if data_options is not None else [],
            "image_shape": None if image_shape is None else image_shape_of(image_shape),
            "features": None if features is None else absolute(features),
            "clusters": clusters,
            "max_steps": max_steps,
            "random_state": random_state,
            "data_dir": chosen_folder(data_dir),
            "schema": None,
            "checksum": "",
        }
    else:
        settings = read_settings(folder)
        if data is not None and whole_path(data) != settings["data"]:
            raise InputError(
                f"{folder}: expected the data of the session, {settings['data']}, got {data}: leave --data out, or "
                "choose another folder"
            )
    if not in_studio or is_new:
        with locked(folder):
            _ask(folder, settings, n, is_new, quiet, in_studio)
    if in_studio:
        studio(folder)


def _ask(folder: Path, settings: Settings, n: int, is_new: bool, quiet: bool, in_studio: bool) -> None:
    """Write the questions of a session, unless they are asked in the studio, and the session."""
    session, dataset = load(folder, settings)
    session.labels |= Answers(folder, len(dataset.X)).labels
    if is_new and dataset.y is not None and (n_labels := int((dataset.y >= 0).sum())):
        say(f"note: the {n_labels} labels in {settings['data']} are not used: those that you give are")
    unanswered = _questions(folder)[-1:]
    if unanswered and not {row for row, _ in _lines(unanswered[0])} & set(session.labels):
        raise InputError(
            f"{unanswered[0]} has unanswered questions: fill in the labels, then run `aae label tell {folder}`, or "
            "delete the file to get new questions"
        )
    with notes():
        rows = session.query(n, callbacks(quiet))
    session.save(folder)
    if is_new:
        write_json(folder / SETTINGS, settings)
    if in_studio:
        return
    path = folder / f"questions-{max(_numbers(folder).values(), default=0) + 1}.csv"
    _write_questions(path, session, dataset, rows)
    typer.echo(f"fill in the labels in {path}, then: aae label tell {folder}")


def _write_questions(path: Path, session: Any, dataset: Any, rows: Any) -> None:
    """Write the CSV file to fill in, with the values of a table, or a picture of images or signals."""
    from aaekit import plots
    from aaekit.columns import table_lines
    from aaekit.evaluation import heldout

    of = heldout.HeldOut("", dataset.X, None, dataset.originals).at(rows)
    if of.of_images or dataset.X.ndim > 2:
        columns, *values = [[]] * (1 + len(rows))
    else:
        columns, *values = table_lines(of.X, dataset.schema)
        if of.originals is not None:
            columns, values = (
                ["text", *columns],
                [[text, *cells] for text, cells in zip(of.originals, values, strict=True)],
            )
    lines = [[row, "", *cells[:N_FEATURES]] for row, cells in zip(rows, values, strict=True)]
    write_csv(path, with_files([["row", "label", *columns[:N_FEATURES]], *lines], dataset.files))
    if of.of_images or dataset.X.ndim > 2:
        X = heldout.rows_for_plots(session.model or session.clusters_, of)
        typer.echo(f"look at: {plots.save(plots.questions(X, rows.tolist()), path.with_suffix('.png'))}")


@label_app.command()
def tell(
    folder: Folder,
    answers: Annotated[
        Path | None,
        typer.Argument(
            metavar="[ANSWERS]",
            help="CSV file of row and label.",
            show_default="the newest questions, else answers.csv",
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Train on the labels that were filled in, and write predictions for all rows to FOLDER/labels.csv."""
    settings = read_settings(folder)
    with locked(folder):
        _tell(folder, settings, answers, quiet)


def _tell(folder: Path, settings: Settings, answers: Path | None, quiet: bool) -> None:
    """Train on the answers of a session, and write the session and the predictions."""
    filled, log = _filled(folder, answers), folder / LOG
    labels = {} if filled == log else _answers(filled)
    session, dataset = load(folder, settings)
    all_answers = Answers(folder, len(dataset.X), session.labels)
    if new := {row: label for row, label in labels.items() if all_answers.labels.get(row) != label}:
        all_answers.add("", "file", new)
    taught = all_answers.labels
    if not taught:
        raise InputError(f"{log}: expected labels, got none: give some in aae studio {folder}")
    if not (session.is_taught and session.labels == taught):  # else an earlier command was interrupted after it
        session.labels = {}  # some may have been withdrawn
        session.teach(list(taught), list(taught.values()), callbacks(quiet))
    session.save(folder)
    predictions = _predictions(session.model, dataset.X)
    lines = [[*line, "yes" if line[0] in session.labels else ""] for line in predictions]
    header = ["row", "label", "probability", "answered"]
    write_csv(folder / "labels.csv", with_files([header, *lines], dataset.files))
    sure = sum(float(p) >= SURE for _, _, p in predictions) / len(predictions)
    typer.echo(f"{len(session.labels)} labels; {sure:.0%} of the rows are predicted with probability {SURE} or more")
    typer.echo(f"all rows: {folder / 'labels.csv'}; more questions: aae label ask {folder}")


@label_app.command()
def predict(
    folder: Folder,
    rows: InputRows,
    out: Predictions = Path("predictions.csv"),
    data_dir: DataDir = None,
) -> None:
    """Write labels and probabilities of other rows to a CSV file."""
    from aaekit import data
    from aaekit.columns import Schema
    from aaekit.estimators import SemiSupervisedAAE
    from aaekit.evaluation.heldout import to_training_units
    from aaekit.runs.data import held_out

    check_writable(out)
    path = folder / "model.safetensors"
    if not path.exists():
        raise InputError(
            f"{folder}: expected a trained model, got none: run aae label ask {folder}, then aae label tell {folder}"
        )
    model, settings = SemiSupervisedAAE.load(path), read_settings(folder)
    shape = model.shape_ if len(model.shape_) > 1 else None
    schema = Schema.from_dict(settings["schema"]) if settings["schema"] else None
    with notes():
        dataset = data.load(rows, data_dir, image_shape=shape, schema=schema, classes=(), features=settings["features"])
    if dataset.checksum != settings["checksum"]:
        raise InputError(
            f"{folder}: expected the encoder {settings['features']} of the session, got another: install the same one"
        )
    with notes():
        lines = _predictions(model, to_training_units(model, held_out({}, dataset).X))
    files = dataset.files if dataset.X_test is None else dataset.files_test
    write_csv(out, with_files([["row", "label", "probability"], *lines], files))
    typer.echo(f"{len(lines)} rows: {out}")


def _predictions(model: Any, X: Any) -> list[tuple[int, Any, str]]:
    """Return number, label and probability of each row."""
    p = model.predict_proba(X)
    return [(row, model.classes_[best], f"{p[row, best]:.4f}") for row, best in enumerate(p.argmax(1))]


# --- the folder ------------------------------------------------------------------------------------------------------
def _numbers(folder: Path) -> dict[Path, int]:
    """Return the files of questions with their numbers."""
    names = {path: whole_number(path.stem.removeprefix("questions-")) for path in folder.glob("questions-*.csv")}
    return {path: number for path, number in names.items() if number is not None}


def _questions(folder: Path) -> list[Path]:
    """Return the files of questions, in the order in which they were asked."""
    numbers = _numbers(folder)
    return sorted(numbers, key=lambda path: numbers[path])


def _filled(folder: Path, answers: Path | None) -> Path:
    """Return the file to take labels from: the one that is named, the newest questions, or the log of answers."""
    if answers is not None:
        return answers
    questions = _questions(folder)
    has_log = (folder / LOG).exists()
    if questions and not (has_log and not any(label for _, label in _lines(questions[-1]))):
        return questions[-1]
    if not has_log:
        raise InputError(f"{folder}: expected a file of questions, got none: run aae label ask {folder}")
    return folder / LOG


def _lines(path: Path) -> list[tuple[int, str]]:
    """Return the number of a row and its label, which may be empty, from each line of a CSV file."""
    from aaekit.data.formats import read_filled

    lines = []
    for number, line in enumerate(read_filled(path, ("row", "label")), 2):
        row = whole_number((line["row"] or "").strip())
        if row is None or row < 0:
            raise InputError(
                f"{path}, line {number}: expected the number of a row, got {(line['row'] or '')[:80]!r}: restore the "
                "file's first column"
            )
        lines.append((row, (line["label"] or "").strip()))
    return lines


def _answers(path: Path) -> dict[int, str]:
    """Return the labels that were filled in, by row."""
    labels: dict[int, str] = {}
    for row, label in _lines(path):
        if label and labels.setdefault(row, label) != label:
            raise InputError(f"{path}: expected one label of row {row}, got {labels[row]} and {label}: leave one")
    if not labels:
        raise InputError(f"{path}: expected labels in the column label, got none: fill in some")
    return labels
