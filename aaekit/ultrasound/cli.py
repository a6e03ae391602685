"""The commands `aae simulate ...`: ultrasound frames from tissue maps, and the visual Turing test.

torch is loaded only by the commands that need it.
"""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from aaekit.cli.options import RandomState, callbacks, new_app, option_of, print_table
from aaekit.errors import InputError, nearest

TRAIN_HELP = "Train a simulator from tissue maps and real frames into a new run directory."
CAPTIONS = {
    "strip": "Maps that were not trained on, and what each stage makes of them, beside the real frame of the same map. "
    "Speckle is random: it should be of the same kind, not the same. Shadows behind calcium should be in both.",
    "intensities": "Filled: real. The curve of each later stage should lie closer to it.",
    "divergences": "Each stage should lower the bars. The last group is the mean over tissues.",
    "curves": "D(real) and D(fake) near 0.5: the discriminator cannot tell the refined from the real.",
    "turing": "One of each pair is real, one simulated, both of the same tissue map.",
}
TITLES = {
    "strip": "From map to frame",
    "intensities": "Intensities by tissue",
    "divergences": "Divergence from real intensities",
    "curves": "Learning curves",
    "turing": "Pairs for a visual Turing test",
}

RunPath = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="A run directory, made by `aae simulate train`.", show_default=False),
]
Maps = Annotated[
    Path,
    typer.Argument(metavar="MAPS", help="Folder of tissue maps: PNG files of 8-bit codes.", show_default=False),
]
Frames = Annotated[
    Path,
    typer.Argument(metavar="FRAMES", help="Folder of real frames: grey PNG files.", show_default=False),
]


class SimulateGroup(TyperGroup):
    """Gives `train` its options once it is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, _train_command() if name == "train" else command, rest


simulate_app = new_app(
    cls=SimulateGroup,
    help="Ultrasound frames of arteries from tissue maps, in two adversarial stages, and the visual Turing test.",
)


@simulate_app.command()
def phantoms(
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where maps/ and frames/ go.", show_default=False)],
    n: Annotated[int, typer.Option("--n", min=1, help="How many.")] = 240,
    size: Annotated[int, typer.Option(min=32, help="Pixels a side.")] = 256,
    geometry: Annotated[str, typer.Option(help="cartesian or polar.")] = "cartesian",
    random_state: RandomState = 0,
) -> None:
    """Write made-up arteries: maps, the codes, and frames by a richer physics than stage 0 for real ones."""
    from aaekit._files import write_json
    from aaekit.ultrasound import physics as ultrasound

    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out} exists already and is not empty: choose another folder")
    maps = ultrasound.phantoms(n, size, geometry=_geometry(geometry), random_state=random_state)
    polar = maps if geometry == "polar" else ultrasound.phantoms(n, size, geometry="polar", random_state=random_state)
    frames = ultrasound.simulate_rich(polar, random_state + 1)
    if geometry == "cartesian":
        frames = ultrasound.to_cartesian(frames, size)
    names = [f"{k + 1:04d}.png" for k in range(n)]
    ultrasound.write_images(out / "maps", maps, names)
    ultrasound.write_images(out / "frames", frames, names)
    write_json(out / "tissues.json", {t.name: t.code for t in ultrasound.TISSUES})
    typer.echo(f"{n} maps and frames: {out}")


def _geometry(text: str) -> Any:
    if text not in ("cartesian", "polar"):
        close = nearest(text, ("cartesian", "polar"))
        raise InputError(f"geometry={text!r}: expected 'cartesian' or 'polar'.{close}")
    return text


@simulate_app.command(help=TRAIN_HELP)
def train() -> None:
    """Stand for the command that `_train_command` makes."""


def _train_command() -> Any:
    """The command `train`, with an option for each parameter of the simulator."""
    from aaekit.estimators._hyperparameters import hyperparameters_of
    from aaekit.ultrasound.simulator import TwoStageSimulator

    def run(**given: Any) -> None:
        _train(**given)

    own: dict[str, tuple[Any, Any, Any]] = {
        "maps": (Path, typer.Argument(metavar="MAPS", help="Folder of tissue maps: PNG files of 8-bit codes."), None),
        "frames": (Path, typer.Argument(metavar="FRAMES", help="Folder of real frames: grey PNG files."), None),
        "out": (Path, typer.Option(help="Directory to make for the run.", show_default=False), None),
        "config": (Path | None, typer.Option(help="YAML file of options; the command line goes on top."), None),
        "test_share": (float, typer.Option(min=0, max=0.9, help="Share of the pairs kept apart to judge by."), 0.2),
        "log": (Path | None, typer.Option(help="JSON file for what was measured, and how.", show_default="none"), None),
        "quiet": (bool, typer.Option("--quiet", "-q", help="No progress bar and no table."), False),
    }  # fmt: skip
    parameters = []
    for name, (kind, option, default) in own.items():
        needed = {"default": inspect.Parameter.empty} if name in ("maps", "frames", "out") else {"default": default}
        parameters.append(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[kind, option], **needed)
        )
    known = hyperparameters_of(TwoStageSimulator)
    parameters += [
        option_of(h, "Simulator", "0" if name == "random_state" else None)
        for name, h in known.items()
        if h.from_text and name != "verbose"
    ]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    alone = typer.Typer(
        add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )  # fmt: skip
    alone.command("train", help=TRAIN_HELP)(run)
    return typer.main.get_command(alone)


def _train(
    maps: Path, frames: Path, out: Path, config: Path | None, test_share: float, log: Path | None, quiet: bool,
    **given: Any,
) -> None:  # fmt: skip
    import time

    from aaekit._files import write_json

    estimator = _simulator(config, given)
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"{out} exists already: choose another directory")
    found, kept, test = _pairs(maps, frames, estimator, test_share)
    real = found.frames[kept] if estimator.paired else found.frames
    began = time.process_time()
    with _made(out):
        estimator.fit(found.maps[kept], real, callbacks=callbacks(quiet))
    results: dict[str, Any] = {
        "training": {"maps": len(kept), "frames": len(real), "steps": estimator.n_steps_,
                     "seconds": estimator.training_seconds_, "cpu_seconds": time.process_time() - began}
    }  # fmt: skip
    if len(test):
        results["test"] = _judged(estimator, found, test)
    versions = _write_run(out, estimator, results)
    shown = test if len(test) else kept
    _report(out, estimator, found.maps[shown], found.frames[shown] if estimator.paired else None, results, versions)
    if log is not None:
        command = f"aae simulate train MAPS FRAMES --out RUN --test-share {test_share:g}"
        command += "".join(_as_typed(k, v) for k, v in given.items() if v is not None)
        write_json(
            log,
            {"command": command, "configuration": estimator.get_params(deep=False), "seed": estimator.seed_,
             "results": results, "history": estimator.history_, "versions": versions},
        )  # fmt: skip
    if not quiet:
        for table in _tables(results):
            print_table(table)
        typer.echo(f"report: {out / 'report.html'}")


def _simulator(config: Path | None, given: Mapping[str, Any]) -> Any:
    """The simulator that a file and the command line, which goes on top, describe."""
    from aaekit.estimators._hyperparameters import validated
    from aaekit.runs.config import read_config
    from aaekit.ultrasound.simulator import TwoStageSimulator

    values = validated(TwoStageSimulator, read_config(config) if config else {}, str(config) if config else "")
    values |= validated(TwoStageSimulator, {k: v for k, v in given.items() if v is not None})
    values.setdefault("random_state", 0)
    estimator = TwoStageSimulator(**values)
    estimator._check()
    return estimator


def _pairs(maps: Path, frames: Path, estimator: Any, test_share: float) -> tuple[Any, Any, Any]:
    """The images of both folders, and the numbers of the maps to train on and of the pairs to judge by."""
    import numpy as np

    from aaekit.ultrasound import physics as ultrasound

    found = ultrasound.read_folders(maps, frames, paired=estimator.paired)
    assert found.frames is not None
    order = np.random.default_rng(estimator.random_state).permutation(len(found.maps))
    n_test = round(test_share * len(found.maps)) if estimator.paired else 0
    test, kept = np.sort(order[:n_test]), np.sort(order[n_test:])
    n_real = len(kept) if estimator.paired else len(found.frames)
    if min(len(kept), n_real) < 2:
        raise InputError(
            f"expected at least 2 maps and 2 frames to train on, got {len(kept)} and {n_real} "
            f"(and {n_test} pairs set aside): give more, or a smaller --test-share"
        )
    return found, kept, test


def _judged(estimator: Any, found: Any, test: Any) -> dict[str, Any]:
    """The divergences of pairs that were kept apart, at both sizes."""
    judged: dict[str, Any] = {"files": [found.map_names[k] for k in test]}
    for resolution, size in (("high", estimator.size), ("low", estimator.low_size)):
        divergences = estimator.divergences(found.maps[test], found.frames[test], resolution=resolution)
        judged[f"divergences_{size}"] = divergences
    return judged


def _write_run(out: Path, estimator: Any, results: Mapping[str, Any]) -> dict[str, Any]:
    """Everything about a run but its report; returns the versions."""
    import yaml

    from aaekit._files import write_history, write_json, write_text
    from aaekit.runs.config import versions

    parameters = {k: v for k, v in estimator.get_params(deep=False).items() if k != "verbose"}
    write_text(out / "config.yaml", yaml.safe_dump(parameters, sort_keys=False))
    estimator.save(out / "model.safetensors")
    write_history(out / "metrics.csv", estimator.history_)
    write_json(out / "results.json", results)
    write_json(out / "versions.json", found := versions())
    return found


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """A new folder, which is gone again if the block fails."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):
            folder.rmdir()
        raise


def _as_typed(name: str, value: Any) -> str:
    option = name.replace("_", "-")
    return f" --{'' if value else 'no-'}{option}" if isinstance(value, bool) else f" --{option} {value}"


def _report(
    out: Path, estimator: Any, maps: Any, frames: Any, results: Mapping[str, Any], versions: Mapping[str, Any]
) -> None:
    """Draw what there is to see into figures/ and report.html."""
    from aaekit import plots
    from aaekit.report import FigureEntry, write_report
    from aaekit.ultrasound import physics as ultrasound
    from aaekit.ultrasound import plots as drawings
    from aaekit.ultrasound.simulator import STAGES

    made = {name: estimator.simulate(maps, stage, random_state=0) for stage, name in enumerate(STAGES)}
    some = _spread(len(maps), 4)
    drawn = {}
    if frames is not None:
        made["real"] = estimator.shown_real(frames)
    drawn["strip"] = drawings.stage_strip(maps[some], {name: f[some] for name, f in made.items()}, ultrasound.COLOURS)
    drawn["intensities"] = drawings.intensity_histograms(
        {name: ultrasound.tissue_histograms(f, maps) for name, f in made.items()}
    )
    for name, found in _divergences(results).items():
        if name == str(estimator.size):
            drawn["divergences"] = drawings.divergence_bars(found)
    drawn["curves"] = plots.learning_curves(_columns(estimator.history_))
    if frames is not None:
        pairs = ultrasound.turing_test(made["real"][some], made["stage II"][some], 0)
        drawn["turing"] = drawings.turing_sheet(pairs.a, pairs.b, pairs.names)
    entries = [
        FigureEntry(TITLES[name], CAPTIONS[name], plots.save(figure, out / "figures" / f"{name}.png"))
        for name, figure in drawn.items()
    ]
    training = results["training"]
    cards = [(f"divergence, {s}", f"{found[s]['mean']:.3f}") for found in _divergences(results).values() for s in found]
    cards = cards[: len(STAGES)] + [("training", f"{training['seconds'] / 60:.0f} min")]
    write_report(
        out / "report.html",
        "Two-stage ultrasound simulator",
        cards,
        _tables(results),
        entries,
        settings=estimator.get_params(deep=False),
        versions=versions,
        subtitle=f"trained on {training['maps']} maps and {training['frames']} frames; shown: {len(maps)} "
        + ("pairs kept apart" if "test" in results else "maps of the training"),
    )


def _spread(n: int, wanted: int) -> list[int]:
    """Up to `wanted` places, evenly over n."""
    return sorted({round(k * (n - 1) / max(1, min(wanted, n) - 1)) for k in range(min(wanted, n))})


def _divergences(results: Mapping[str, Any]) -> dict[str, Any]:
    """By the size at which they were measured, the largest first."""
    found = results.get("test", {})
    return {name.rpartition("_")[2]: found[name] for name in found if name.startswith("divergences_")}


def _tables(results: Mapping[str, Any]) -> list[Any]:
    from aaekit.report import Table

    tables = []
    for size, found in _divergences(results).items():
        stages = list(found)
        drops = [f"{b} lowers it by" for b in stages[1:]]
        rows = []
        for tissue in found[stages[0]]:
            values = [found[s][tissue] for s in stages]
            falls = [f"{100 * (a - b) / a:.0f} %" if a > 0 else "0 %" for a, b in zip(values, values[1:], strict=False)]
            rows.append([tissue, *(f"{v:.4f}" for v in values), *falls])
        title = f"Jensen-Shannon divergence from real intensities at {size}x{size}, in bits"
        tables.append(Table(title, ["tissue", *stages, *drops], rows, "Of pairs that were kept apart from training."))
    return tables


def _columns(history: list[dict[str, float]]) -> dict[str, Any]:
    """The history by series; what an epoch does not have is None."""
    names = list(dict.fromkeys(name for row in history for name in row))
    return {name: [row.get(name) for row in history] for name in names}


def _fitted(run: Path) -> Any:
    from aaekit.ultrasound.simulator import TwoStageSimulator

    if not (run / "model.safetensors").is_file():
        raise InputError(f"{run} has no model.safetensors: expected a run directory that `aae simulate train` finished")
    return TwoStageSimulator.load(run / "model.safetensors")


@simulate_app.command()
def apply(
    run: RunPath,
    maps: Maps,
    out: Annotated[Path, typer.Option(help="Folder for the frames.", show_default=False)],
    stage: Annotated[int, typer.Option(min=0, max=2, help="How far to go.")] = 2,
    random_state: RandomState = 0,
) -> None:
    """Make a frame of each tissue map in a folder, under the same file name."""
    from aaekit.ultrasound import physics as ultrasound

    estimator, found = _fitted(run), ultrasound.read_folders(maps)
    if there := next((out / name for name in found.map_names if (out / name).exists()), None):
        raise InputError(f"{there} exists already and would be overwritten: choose another folder")
    frames = estimator.simulate(found.maps, stage=stage, random_state=random_state)
    ultrasound.write_images(out, frames, found.map_names)
    typer.echo(f"{len(frames)} frames: {out}")


@simulate_app.command()
def pairs(
    run: RunPath,
    maps: Maps,
    frames: Frames,
    out: Annotated[Path, typer.Option(help="Folder that the viewer gets.", show_default=False)],
    n: Annotated[int, typer.Option("--n", min=1, help="How many pairs, drawn from all there are.")] = 20,
    key: Annotated[
        Path | None, typer.Option(help="File for the answers, outside of --out.", show_default="OUT-key.json")
    ] = None,
    random_state: RandomState = 0,
) -> None:
    """Export a visual Turing test: pairs of frames, one real, one simulated; a sheet, an empty answers.csv, the key."""
    import numpy as np

    from aaekit import plots
    from aaekit.ultrasound import physics as ultrasound
    from aaekit.ultrasound import plots as drawings

    estimator, found = _fitted(run), ultrasound.read_folders(maps, frames)
    assert found.frames is not None
    if n > len(found.maps):
        raise InputError(f"--n {n}: there are only {len(found.maps)} pairs of map and frame; choose at most that many")
    random = np.random.default_rng(random_state)
    chosen = random.choice(len(found.maps), n, replace=False)
    made = estimator.simulate(found.maps[chosen], random_state=random)
    test = ultrasound.turing_test(estimator.shown_real(found.frames[chosen]), made, random)
    where = key or out.with_name(f"{out.name}-key.json")
    test.write(out, where)
    plots.save(drawings.turing_sheet(test.a, test.b, test.names), out / "sheet.png")
    typer.echo(f"{n} pairs: {out}\nkey, not for the viewer: {where}")


@simulate_app.command()
def score(
    answers: Annotated[Path, typer.Argument(metavar="ANSWERS", help="The filled answers.csv.", show_default=False)],
    key: Annotated[Path, typer.Option(help="The key that `aae simulate pairs` wrote.", show_default=False)],
    confidence: Annotated[float, typer.Option(min=0.5, max=0.999, help="Of the interval.")] = 0.95,
) -> None:
    """Score a visual Turing test: share correct with its exact binomial interval. At chance is passed."""
    from aaekit.ultrasound import physics as ultrasound

    found = ultrasound.score_answers(answers, key, confidence)
    typer.echo(
        f"{found.correct} of {found.n} correct: {100 * found.share:.1f} % "
        f"({100 * confidence:g} % interval {100 * found.low:.1f} to {100 * found.high:.1f} %)"
    )
    if found.passed:
        typer.echo(f"passed: chance, 50 %, lies within; this viewer cannot tell, as far as {found.n} pairs show")
    elif found.low > 0.5:
        typer.echo("not passed: the real ones were found more often than by chance")
    else:
        typer.echo("not at chance: the simulated ones were taken for real more often than not")
