"""How far simulated frames are from stand-in real ones after each stage: the protocol `simulation`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from aaekit import ultrasound
from aaekit.core.loop import Callback
from aaekit.errors import InputError, nearest
from aaekit.estimators._hyperparameters import hyperparameters_of, validated
from aaekit.ultrasound import plots as drawings
from aaekit.ultrasound.geometry import Geometry
from aaekit.ultrasound.simulator import STAGES, TwoStageSimulator
from aaekit.ultrasound.tissues import ADVENTITIA, CALCIUM
from reproduction.trials import TrialResults

SYSTEM = "simulator"
SIZES = {"pairs": 240, "test_pairs": 60}  # defaults of what an experiment says of its data


@dataclass
class SimulationTrial(TrialResults):
    """One seed of the experiment: pairs to train on, pairs kept apart, and what was found."""

    config: Mapping[str, Any]
    callbacks: Sequence[Callback]
    numbers: dict[str, Any] = field(default_factory=dict)
    pictures: dict[str, Figure] = field(default_factory=dict)

    @property
    def seed(self) -> int:
        """Of everything random."""
        return self.config["random_state"]


def configuration(given: Mapping[str, Any], source: str = "") -> dict[str, Any]:
    """What is `given` over the defaults, in the declared types.

    Raises
    ------
    InputError
        For unknown names and wrong values.
    """
    declared = hyperparameters_of(TwoStageSimulator)
    known = [*SIZES, *(name for name, h in declared.items() if h.from_text and name != "verbose")]
    for name in given:
        if name not in (*known, "system"):
            raise InputError(f"{source}: unknown option {name!r} for a {SYSTEM}.{nearest(name, known)}")
    sizes = SIZES | {k: v for k, v in given.items() if k in SIZES}
    for name, n in sizes.items():
        if not isinstance(n, int) or n < 2:
            raise InputError(f"{source}: {name}: expected a whole number of at least 2, found {n!r}")
    mine = validated(TwoStageSimulator, {k: v for k, v in given.items() if k in declared}, source)
    config = {name: declared[name].default for name in known if name in declared} | mine
    config["random_state"] = config["random_state"] or 0
    return {"system": SYSTEM} | sizes | config


def pairs(n: int, part: int, seed: int, size: int, geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Maps and stand-in real frames of made-up arteries; parts share no artery, nor do seeds."""
    codes = ultrasound.make_phantoms(n, size, geometry="polar", random_state=np.random.default_rng([part, 0, seed]))
    frames = ultrasound.simulate_rich(codes, np.random.default_rng([part, 1, seed]))
    if geometry == "polar":
        return codes, frames
    maps = ultrasound.make_phantoms(n, size, random_state=np.random.default_rng([part, 0, seed]))
    return maps, ultrasound.to_cartesian(frames, size)


def simulation(trial: SimulationTrial) -> None:
    """Divergences of every stage, shadows, and the least divergence there can be, on pairs kept apart (S7).

    The real side is `ultrasound.simulate_rich`: no patient's frame is in it.
    """
    config = trial.config
    known = hyperparameters_of(TwoStageSimulator)
    estimator = TwoStageSimulator(**{k: v for k, v in config.items() if k in known})
    size, low = estimator.size, estimator.low_size
    maps, frames = pairs(config["pairs"], 1, trial.seed, size, estimator.geometry)
    estimator.fit(maps, frames, callbacks=trial.callbacks)
    trial.spent(estimator.training_seconds_, estimator.n_steps_)
    trial.numbers["history"] = [{k: float(f"{v:.4g}") for k, v in row.items()} for row in estimator.history_]

    maps, frames = pairs(config["test_pairs"], 2, trial.seed, size, estimator.geometry)
    for side in (size, low):
        found = estimator.divergences(maps, frames, resolution="high" if side == size else "low")
        for stage, row in found.items():
            trial.note(**{f"{stage} {side} {tissue} jsd".replace(" mean", ""): v for tissue, v in row.items()})
        for a, b in zip(found, list(found)[1:], strict=False):
            trial.note(**{f"{b} {side} lowers": 100 * (1 - found[b]["mean"] / found[a]["mean"])})
            worse = [t for t in found[a] if found[b][t] >= found[a][t]]
            trial.note(**{f"{b} {side} tissues not lowered": len(worse)})
    trial.note(jsd=trial.numbers[f"stage II {size} jsd"])

    codes = ultrasound.make_phantoms(
        config["test_pairs"], size, geometry="polar", random_state=np.random.default_rng([2, 0, trial.seed])
    )
    one, other = (ultrasound.simulate_rich(codes, np.random.default_rng([3, k, trial.seed])) for k in (0, 1))
    for side in (size, low):
        tissue = codes if side == size else ultrasound.resize(codes, side, side, interpolate=False)
        a, b = (f if side == size else ultrasound.resize(f, side, side) for f in (one, other))
        trial.note(**{f"floor {side} jsd": ultrasound.tissue_divergences(a, tissue, b, tissue)["mean"]})

    made = {name: estimator.simulate(maps, k, random_state=0) for k, name in enumerate(STAGES)}  # type: ignore[arg-type]
    made["real"] = estimator.resample(frames)
    polar = estimator.geometry == "polar"
    for name, shown in made.items():
        dark = shadow(shown if polar else ultrasound.to_polar(shown, size), codes)
        if dark is not None:
            trial.note(**{f"{name} shadow": 100 * dark})
    some = np.linspace(0, len(maps) - 1, 4).astype(int)
    trial.pictures["strip"] = drawings.stage_strip(maps[some], {k: f[some] for k, f in made.items()})
    trial.pictures["intensities"] = drawings.intensity_histograms(
        {name: ultrasound.tissue_histograms(f, maps) for name, f in made.items()}
    )


def shadow(frames: np.ndarray, codes: np.ndarray) -> float | None:
    """How much darker adventitia is behind calcium than at the same depth beside it, polar; None without any."""
    calcium = codes == CALCIUM
    passed, outer = calcium.cumsum(-1), codes == ADVENTITIA
    behind = outer & (passed >= max(1, codes.shape[-1] // 64))
    beside = outer & (passed == 0) & calcium.any((1, 2))[:, None, None]
    gaps, weights = [], []
    for at in np.array_split(np.arange(codes.shape[-1]), 32):
        a, b = frames[..., at][beside[..., at]], frames[..., at][behind[..., at]]
        if min(len(a), len(b)) >= 20:
            gaps.append(float(a.mean() - b.mean()))
            weights.append(len(b))
    return float(np.average(gaps, weights=weights)) if gaps else None
