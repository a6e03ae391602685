"""The protocol `simulation`: how far simulated frames are from synthetic "real" ones after each stage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aaekit import ultrasound
from aaekit.core.callbacks import Callback
from aaekit.errors import InputError, nearest
from aaekit.estimators._hyperparameters import hyperparameters_of, validated
from aaekit.ultrasound import plots
from aaekit.ultrasound.geometry import Geometry
from aaekit.ultrasound.simulator import STAGES, TwoStageSimulator
from aaekit.ultrasound.tissues import ADVENTITIA, CALCIUM
from reproduction.trials import TrialResults

SIZES = {"pairs": 240, "test_pairs": 60}  # default numbers of pairs


@dataclass
class SimulationTrial(TrialResults):
    """One seed of the experiment, with its settings and callbacks."""

    config: Mapping[str, Any]
    callbacks: Sequence[Callback]

    @property
    def seed(self) -> int:
        """The seed of everything random."""
        return self.config["random_state"]


def configuration(given: Mapping[str, Any], source: str = "") -> dict[str, Any]:
    """All settings, those not given at their defaults.

    Raises
    ------
    InputError
        For unknown names and invalid values.
    """
    declared = hyperparameters_of(TwoStageSimulator)
    names = [*SIZES, *(name for name, h in declared.items() if h.from_text and name != "verbose")]
    for name in given:
        if name not in (*names, "system"):
            raise InputError(f"{source}: expected an option of a simulator, got {name!r}{nearest(name, names)}")
    sizes = SIZES | {k: v for k, v in given.items() if k in SIZES}
    for name, n in sizes.items():
        if not isinstance(n, int) or n < 2:
            raise InputError(f"{source}: {name}: expected a whole number of at least 2, got {n!r}")
    parameters = validated(TwoStageSimulator, {k: v for k, v in given.items() if k in declared}, source)
    config = {name: declared[name].default for name in names if name in declared} | parameters
    config["random_state"] = config["random_state"] or 0
    return {"system": "simulator"} | sizes | config


def pairs(n: int, part: int, seed: int, size: int, geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Maps and synthetic "real" frames of n synthetic arteries, which differ between parts and between seeds."""
    polar_maps = ultrasound.make_phantoms(
        n, size, geometry="polar", random_state=np.random.default_rng([part, 0, seed])
    )
    frames = ultrasound.simulate_rich(polar_maps, np.random.default_rng([part, 1, seed]))
    if geometry == "polar":
        return polar_maps, frames
    maps = ultrasound.make_phantoms(n, size, random_state=np.random.default_rng([part, 0, seed]))
    return maps, ultrasound.to_cartesian(frames, size)


def simulation(trial: SimulationTrial) -> None:
    """Divergence of each stage on held-out pairs, acoustic shadows, and the smallest divergence possible.

    The "real" frames are those of `ultrasound.simulate_rich`; no patient data are used.
    """
    config = trial.config
    parameters = hyperparameters_of(TwoStageSimulator)
    estimator = TwoStageSimulator(**{k: v for k, v in config.items() if k in parameters})
    size, low = estimator.size, estimator.low_size
    maps, frames = pairs(config["pairs"], 1, trial.seed, size, estimator.geometry)
    estimator.fit(maps, frames, callbacks=trial.callbacks)
    trial.note_training(estimator)
    trial.numbers["history"] = [{k: float(f"{v:.4g}") for k, v in row.items()} for row in estimator.history_]

    maps, frames = pairs(config["test_pairs"], 2, trial.seed, size, estimator.geometry)
    for side in (size, low):
        by_stage = estimator.divergences(maps, frames, resolution="high" if side == size else "low")
        for stage, row in by_stage.items():
            trial.note(**{f"{stage} {side} {tissue} jsd".replace(" mean", ""): v for tissue, v in row.items()})
        for a, b in zip(by_stage, list(by_stage)[1:], strict=False):
            trial.note(**{f"{b} {side} lowers": 100 * (1 - by_stage[b]["mean"] / by_stage[a]["mean"])})
            worse = [t for t in by_stage[a] if by_stage[b][t] >= by_stage[a][t]]
            trial.note(**{f"{b} {side} tissues not lowered": len(worse)})
    trial.note(jsd=trial.numbers[f"stage II {size} jsd"])

    polar_maps = ultrasound.make_phantoms(
        config["test_pairs"], size, geometry="polar", random_state=np.random.default_rng([2, 0, trial.seed])
    )
    one, other = (ultrasound.simulate_rich(polar_maps, np.random.default_rng([3, k, trial.seed])) for k in (0, 1))
    for side in (size, low):
        tissue = polar_maps if side == size else ultrasound.resize(polar_maps, side, side, interpolate=False)
        a, b = (f if side == size else ultrasound.resize(f, side, side) for f in (one, other))
        trial.note(**{f"floor {side} jsd": ultrasound.tissue_divergences(a, tissue, b, tissue)["mean"]})

    by_source = {name: estimator.simulate(maps, k, random_state=0) for k, name in enumerate(STAGES)}  # type: ignore[arg-type]
    by_source["real"] = estimator.resample(frames)
    polar = estimator.geometry == "polar"
    for name, images in by_source.items():
        darker = shadow(images if polar else ultrasound.to_polar(images, size), polar_maps)
        if darker is not None:
            trial.note(**{f"{name} shadow": 100 * darker})
    chosen = np.linspace(0, len(maps) - 1, 4).astype(int)
    trial.pictures["strip"] = plots.stage_strip(maps[chosen], {k: f[chosen] for k, f in by_source.items()})
    trial.pictures["intensities"] = plots.intensity_histograms(
        {name: ultrasound.tissue_histograms(f, maps) for name, f in by_source.items()}
    )


def shadow(frames: np.ndarray, maps: np.ndarray) -> float | None:
    """Mean difference of intensity between adventitia beside and behind calcium, at equal depth; None without any."""
    calcium = maps == CALCIUM
    passed, outer = calcium.cumsum(-1), maps == ADVENTITIA
    behind = outer & (passed >= max(1, maps.shape[-1] // 64))
    beside = outer & (passed == 0) & calcium.any((1, 2))[:, None, None]
    gaps, weights = [], []
    for at in np.array_split(np.arange(maps.shape[-1]), 32):
        a, b = frames[..., at][beside[..., at]], frames[..., at][behind[..., at]]
        if min(len(a), len(b)) >= 20:
            gaps.append(float(a.mean() - b.mean()))
            weights.append(len(b))
    return float(np.average(gaps, weights=weights)) if gaps else None
