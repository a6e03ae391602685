"""The commands `aae simulate ...`: ultrasound frames from tissue maps, and the visual Turing test.

torch is imported only by the commands that need it.
"""

import inspect
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from aaekit import ultrasound
from aaekit.cli.options import Option, RandomState, callbacks, new_app, option_of, print_table, recorded
from aaekit.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from aaekit.report import Table

TRAIN_HELP = "Train a simulator on tissue maps and real frames, into a new run directory."
CAPTIONS = {
    "strip": "Held-out maps, their frames after each stage, and the real frames of the same maps. Speckle is random: "
    "it should look alike, not be equal. Shadows behind calcium should be in both.",
    "intensities": "Filled: real. The curve of each later stage should be closer to it.",
    "divergences": "Each stage should lower the bars. The last group is the mean over tissues.",
    "curves": "D(real) and D(fake) near 0.5: the discriminator cannot tell refined from real frames.",
    "turing": "One frame of each pair is real, the other simulated, both from the same tissue map.",
}
TITLES = {
    "strip": "From map to frame",
    "intensities": "Intensities by tissue",
    "divergences": "Divergence from real intensities",
    "curves": "Learning curves",
    "turing": "Pairs of a visual Turing test",
}
N_EXAMPLES = 4  # maps in the strip and the sheet of a report

RunPath = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="Run directory of `aae simulate train`.", show_default=False),
]
Maps = Annotated[
    Path,
    typer.Argument(metavar="MAPS", help="Folder of tissue maps: PNG files of 8-bit ids.", show_default=False),
]
Frames = Annotated[
    Path,
    typer.Argument(metavar="FRAMES", help="Folder of real frames: grey PNG files.", show_default=False),
]


class SimulateGroup(TyperGroup):
    """Adds the options of `train`, which are those of the simulator, when it is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, _train_command() if name == "train" else command, rest


simulate_app: typer.Typer = new_app(
    cls=SimulateGroup,
    help="Simulate ultrasound frames of arteries from tissue maps, and run a visual Turing test.",
)


# --- phantoms --------------------------------------------------------------------------------------------------------
@simulate_app.command()
def phantoms(
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder for maps/ and frames/.", show_default=False)],
    n: Annotated[int, typer.Option("--n", min=1, help="Number of arteries.")] = 240,
    size: Annotated[int, typer.Option(min=32, help="Pixels per side.")] = 256,
    geometry: Annotated[str, typer.Option(help="'cartesian' or 'polar'.")] = "cartesian",
    random_state: RandomState = 0,
) -> None:
    """Write phantoms: tissue maps of random arteries, and frames of a rich physics simulation in place of real ones."""
    from aaekit._files import check_writable, write_json
    from aaekit.ultrasound.geometry import check_geometry

    check_writable(out, is_folder=True)
    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out}: expected an empty or new folder, got one that is not empty: choose another")
    maps = ultrasound.make_phantoms(n, size, geometry=check_geometry(geometry), random_state=random_state)
    polar = maps
    if geometry == "cartesian":
        polar = ultrasound.make_phantoms(n, size, geometry="polar", random_state=random_state)
    frames = ultrasound.simulate_rich(polar, random_state + 1)
    if geometry == "cartesian":
        frames = ultrasound.to_cartesian(frames, size)
    names = [f"{k + 1:04d}.png" for k in range(n)]
    ultrasound.write_images(out / "maps", maps, names)
    ultrasound.write_images(out / "frames", frames, names)
    write_json(out / "tissues.json", {t.name: t.tissue_id for t in ultrasound.TISSUES})
    typer.echo(f"wrote {n} maps and frames to {out}")


# --- train -----------------------------------------------------------------------------------------------------------
@simulate_app.command(help=TRAIN_HELP)
def train() -> None:
    """Stand in for the command that `_train_command` builds."""


def declared_options() -> list[Option]:
    """Return the options of the simulator as its declarations say them; this imports torch."""
    from aaekit.estimators._hyperparameters import hyperparameters_of

    return [
        option_of(h, "Simulator", "0" if name == "random_state" else None)
        for name, h in hyperparameters_of(ultrasound.TwoStageSimulator).items()
        if h.from_text and name != "verbose"
    ]


def _train_command() -> Any:
    """The command `train`, with an option for each parameter of the simulator."""

    def run(**values: Any) -> None:
        _train(**values)

    own: dict[str, tuple[Any, Any, Any]] = {
        "maps": (Path, typer.Argument(metavar="MAPS", help="Folder of tissue maps: PNG files of 8-bit ids."), None),
        "frames": (Path, typer.Argument(metavar="FRAMES", help="Folder of real frames: grey PNG files."), None),
        "out": (Path, typer.Option(help="Run directory to create.", show_default=False), None),
        "config": (Path | None, typer.Option(help="YAML file of options; the command line overrides it."), None),
        "test_share": (float, typer.Option(min=0, max=0.9, help="Share of the pairs held out for evaluation."), 0.2),
        "log": (Path | None, typer.Option(help="JSON file for settings and results.", show_default="none"), None),
        "quiet": (bool, typer.Option("--quiet", "-q", help="No progress bar and no table."), False),
    }  # fmt: skip
    parameters = []
    for name, (kind, option, default) in own.items():
        default = inspect.Parameter.empty if name in ("maps", "frames", "out") else default
        annotation = Annotated[kind, option]
        parameters.append(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
        )
    parameters += [option.parameter() for option in recorded("simulator") or declared_options()]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    app = typer.Typer(
        add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )  # fmt: skip
    app.command("train", help=TRAIN_HELP)(run)
    return typer.main.get_command(app)


def _train(
    maps: Path, frames: Path, out: Path, config: Path | None, test_share: float, log: Path | None, quiet: bool,
    **options: Any,
) -> None:  # fmt: skip
    from aaekit._files import check_writable
    from aaekit._locks import locked

    options = {name: value for name, value in options.items() if value is not None}
    simulator = _configured(config, options)
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"{out}: expected an empty or new directory, got a path that exists: choose another")
    check_writable(out, is_folder=True)
    if log is not None:
        check_writable(log)
    with locked(out):
        _train_into(out, simulator, maps, frames, test_share, log, options, quiet)


def _train_into(
    out: Path, simulator: "ultrasound.TwoStageSimulator", maps: Path, frames: Path, test_share: float,
    log: Path | None, options: Mapping[str, Any], quiet: bool,
) -> None:  # fmt: skip
    """Train a simulator and write its run directory."""
    import time

    from aaekit._files import write_json

    images, train_rows, test_rows = _read_and_split(maps, frames, simulator, test_share)
    assert images.frames is not None
    real = images.frames[train_rows] if simulator.paired else images.frames
    start = time.process_time()
    simulator.fit(images.maps[train_rows], real, callbacks=callbacks(quiet))
    results: dict[str, Any] = {
        "training": {"maps": len(train_rows), "frames": len(real), "steps": simulator.n_steps_,
                     "seconds": simulator.training_seconds_, "cpu_seconds": time.process_time() - start}
    }  # fmt: skip
    if len(test_rows):
        results["test"] = _evaluate(simulator, images, test_rows)
    versions = _write_run(out, simulator, results)
    rows = test_rows if len(test_rows) else train_rows
    _write_report(
        out, simulator, images.maps[rows], images.frames[rows] if simulator.paired else None, results, versions
    )
    if log is not None:
        command = f"aae simulate train MAPS FRAMES --out RUN --test-share {test_share:g}"
        command += "".join(_as_typed(name, value) for name, value in options.items())
        write_json(
            log,
            {"command": command, "configuration": simulator.get_params(deep=False), "seed": simulator.seed_,
             "results": results, "history": simulator.history_, "versions": versions},
        )  # fmt: skip
    if not quiet:
        for table in _tables(results):
            print_table(table)
        typer.echo(f"report: {out / 'report.html'}")


def _configured(config: Path | None, options: Mapping[str, Any]) -> "ultrasound.TwoStageSimulator":
    """The simulator that a file and the command line describe; the command line overrides the file."""
    from aaekit.estimators._hyperparameters import validated
    from aaekit.runs.config import read_config

    kind = ultrasound.TwoStageSimulator
    values = validated(kind, read_config(config) if config else {}, str(config) if config else "")
    values |= validated(kind, options)
    values.setdefault("random_state", 0)
    simulator = kind(**values)
    simulator.check_parameters()
    return simulator


def _read_and_split(
    maps: Path, frames: Path, simulator: "ultrasound.TwoStageSimulator", test_share: float
) -> "tuple[ultrasound.ImageFolders, NDArray[np.intp], NDArray[np.intp]]":
    """The images of both folders, and the rows of the maps to train on and of the held-out pairs."""
    import numpy as np

    images = ultrasound.read_folders(maps, frames, paired=simulator.paired)
    assert images.frames is not None
    order = np.random.default_rng(simulator.random_state).permutation(len(images.maps))
    n_test = round(test_share * len(images.maps)) if simulator.paired else 0
    test_rows, train_rows = np.sort(order[:n_test]), np.sort(order[n_test:])
    n_real = len(train_rows) if simulator.paired else len(images.frames)
    if min(len(train_rows), n_real) < 2:
        raise InputError(
            f"expected at least 2 maps and 2 frames to train on, got {len(train_rows)} and {n_real} "
            f"(and {n_test} held-out pairs): add images or lower --test-share"
        )
    return images, train_rows, test_rows


def _evaluate(
    simulator: "ultrasound.TwoStageSimulator", images: "ultrasound.ImageFolders", rows: "NDArray[np.intp]"
) -> dict[str, Any]:
    """Divergences of held-out pairs at both sizes."""
    assert images.frames is not None
    maps, frames = images.maps[rows], images.frames[rows]
    return {
        "files": [images.map_names[k] for k in rows],
        f"divergences_{simulator.size}": simulator.divergences(maps, frames, resolution="high"),
        f"divergences_{simulator.low_size}": simulator.divergences(maps, frames, resolution="low"),
    }


def _as_typed(name: str, value: Any) -> str:
    option = name.replace("_", "-")
    return f" --{'' if value else 'no-'}{option}" if isinstance(value, bool) else f" --{option} {value}"


# --- the run directory -----------------------------------------------------------------------------------------------
def _write_run(out: Path, simulator: "ultrasound.TwoStageSimulator", results: Mapping[str, Any]) -> dict[str, Any]:
    """Write everything but the report; return the versions."""
    import yaml

    from aaekit._files import write_history, write_json, write_text
    from aaekit.runs.config import versions

    parameters = {k: v for k, v in simulator.get_params(deep=False).items() if k != "verbose"}
    write_text(out / "config.yaml", yaml.safe_dump(parameters, sort_keys=False))
    simulator.save(out / "model.safetensors")
    write_history(out / "metrics.csv", simulator.history_)
    write_json(out / "results.json", results)
    installed = versions()
    write_json(out / "versions.json", installed)
    return installed


def _series(history: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """The history by name of the series; NaN in epochs that lack it."""
    names = list(dict.fromkeys(name for row in history for name in row))
    return {name: [row.get(name, math.nan) for row in history] for name in names}


def _write_report(
    out: Path,
    simulator: "ultrasound.TwoStageSimulator",
    maps: "NDArray[np.uint8]",
    frames: "NDArray[np.uint8] | None",
    results: Mapping[str, Any],
    versions: Mapping[str, Any],
) -> None:
    """Draw the figures into figures/ and write report.html."""
    import numpy as np

    from aaekit import plots
    from aaekit.report import FigureEntry, write_report
    from aaekit.ultrasound import plots as drawings
    from aaekit.ultrasound.simulator import STAGES

    columns = {
        name: simulator.simulate(maps, stage, random_state=0) for stage, name in zip((0, 1, 2), STAGES, strict=True)
    }
    if frames is not None:
        columns["real"] = simulator.resample(frames)
    examples = np.linspace(0, len(maps) - 1, min(N_EXAMPLES, len(maps))).round().astype(int)
    figures = {
        "strip": drawings.stage_strip(maps[examples], {name: f[examples] for name, f in columns.items()}),
        "intensities": drawings.intensity_histograms(
            {name: ultrasound.tissue_histograms(f, maps) for name, f in columns.items()}
        ),
    }
    divergences = _divergences(results)
    if divergences:
        figures["divergences"] = drawings.divergence_bars(divergences[str(simulator.size)])
    figures["curves"] = plots.learning_curves(_series(simulator.history_))
    if frames is not None:
        pairs = ultrasound.turing_test(columns["real"][examples], columns["stage II"][examples], 0)
        figures["turing"] = drawings.turing_sheet(pairs.a, pairs.b, pairs.names)
    entries = [
        FigureEntry(TITLES[name], CAPTIONS[name], plots.save(figure, out / "figures" / f"{name}.png"))
        for name, figure in figures.items()
    ]
    training = results["training"]
    cards = [
        (f"divergence, {stage}", f"{by_tissue['mean']:.3f}")
        for stage, by_tissue in divergences.get(str(simulator.size), {}).items()
    ]
    write_report(
        out / "report.html",
        "Two-stage ultrasound simulator",
        [*cards, ("training", f"{training['seconds'] / 60:.0f} min")],
        _tables(results),
        entries,
        settings=simulator.get_params(deep=False),
        versions=versions,
        subtitle=f"trained on {training['maps']} maps and {training['frames']} frames; evaluated on {len(maps)} "
        + ("held-out pairs" if "test" in results else "training maps"),
    )


def _divergences(results: Mapping[str, Any]) -> dict[str, dict[str, dict[str, float]]]:
    """Divergences on the held-out pairs, by size of the frames, then by stage and tissue."""
    prefix = "divergences_"
    return {k.removeprefix(prefix): v for k, v in results.get("test", {}).items() if k.startswith(prefix)}


def _tables(results: Mapping[str, Any]) -> "list[Table]":
    from aaekit.report import Table

    tables = []
    for size, by_stage in _divergences(results).items():
        stages = list(by_stage)
        rows = []
        for tissue in by_stage[stages[0]]:
            values = [by_stage[stage][tissue] for stage in stages]
            steps = zip(values, values[1:], strict=False)
            drops = [f"{100 * (a - b) / a:.0f} %" if a > 0 else "0 %" for a, b in steps]
            rows.append([tissue, *(f"{v:.4f}" for v in values), *drops])
        title = f"Jensen-Shannon divergence from real intensities at {size}x{size}, in bits"
        columns = ["tissue", *stages, *(f"{stage} lowers it by" for stage in stages[1:])]
        tables.append(Table(title, columns, rows, "On pairs held out from training."))
    return tables


# --- apply -----------------------------------------------------------------------------------------------------------
def _load(run: Path) -> "ultrasound.TwoStageSimulator":
    if not (run / "model.safetensors").is_file():
        raise InputError(
            f"{run}: expected a finished run of `aae simulate train`, got no model.safetensors in it: check the path"
        )
    return ultrasound.TwoStageSimulator.load(run / "model.safetensors")


@simulate_app.command()
def apply(
    run: RunPath,
    maps: Maps,
    out: Annotated[Path, typer.Option(help="Folder for the frames.", show_default=False)],
    stage: Annotated[int, typer.Option(min=0, max=2, help="Last stage to run.")] = 2,
    random_state: RandomState = 0,
) -> None:
    """Simulate a frame of each tissue map in a folder, under the same file name."""
    from aaekit._files import check_writable

    check_writable(out, is_folder=True)
    simulator, images = _load(run), ultrasound.read_folders(maps)
    existing = next((out / name for name in images.map_names if (out / name).exists()), None)
    if existing:
        raise InputError(f"{existing} exists already and would be overwritten: choose another folder")
    frames = simulator.simulate(images.maps, stage=stage, random_state=random_state)  # type: ignore[arg-type]
    ultrasound.write_images(out, frames, images.map_names)
    typer.echo(f"wrote {len(frames)} frames to {out}")


# --- the visual Turing test ------------------------------------------------------------------------------------------
@simulate_app.command()
def pairs(
    run: RunPath,
    maps: Maps,
    frames: Frames,
    out: Annotated[Path, typer.Option(help="Folder for the viewer.", show_default=False)],
    n: Annotated[int, typer.Option("--n", min=1, help="Number of pairs, drawn at random.")] = 20,
    key: Annotated[
        Path | None, typer.Option(help="File for the correct answers, outside of --out.", show_default="OUT-key.json")
    ] = None,
    random_state: RandomState = 0,
) -> None:
    """Write a visual Turing test: pairs of a real and a simulated frame, a sheet, an empty answers.csv and the key."""
    import numpy as np

    from aaekit import plots
    from aaekit._files import check_writable
    from aaekit.ultrasound import plots as drawings
    from aaekit.ultrasound.turing import key_of

    key = check_writable(key or key_of(out))
    check_writable(out, is_folder=True)
    simulator, images = _load(run), ultrasound.read_folders(maps, frames)
    assert images.frames is not None
    if n > len(images.maps):
        raise InputError(
            f"expected --n of at most {len(images.maps)}, the number of maps, got {n}: add maps or lower it"
        )
    rng = np.random.default_rng(random_state)
    rows = rng.choice(len(images.maps), n, replace=False)
    simulated = simulator.simulate(images.maps[rows], random_state=rng)
    test = ultrasound.turing_test(simulator.resample(images.frames[rows]), simulated, rng)
    test.write(out, key)
    plots.save(drawings.turing_sheet(test.a, test.b, test.names), out / "sheet.png")
    typer.echo(f"wrote {n} pairs to {out}\nwrote the key, which the viewer must not see, to {key}")


@simulate_app.command()
def score(
    answers: Annotated[Path, typer.Argument(metavar="ANSWERS", help="The filled answers.csv.", show_default=False)],
    key: Annotated[Path, typer.Option(help="The key that `aae simulate pairs` wrote.", show_default=False)],
    confidence: Annotated[float, typer.Option(min=0.5, max=0.999, help="Confidence level of the interval.")] = 0.95,
) -> None:
    """Score a visual Turing test: the share of correct answers with its exact binomial confidence interval."""
    result = ultrasound.score_answers(answers, key, confidence)
    typer.echo(
        f"{result.correct} of {result.n} correct: {100 * result.share:.1f} % "
        f"({100 * confidence:g} % interval {100 * result.low:.1f} to {100 * result.high:.1f} %)"
    )
    if result.passed:
        typer.echo(f"passed: the interval contains chance, 50 %: {result.n} pairs show no difference")
    elif result.low > 0.5:
        typer.echo("not passed: the viewer identified the real frames more often than by chance")
    else:
        typer.echo("not at chance: the viewer took the simulated frames for real more often than by chance")
