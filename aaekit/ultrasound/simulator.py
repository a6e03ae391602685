"""Ultrasound frames of arteries from tissue maps: physics and two adversarial refiners."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.nn import functional as F

from aaekit import divergences
from aaekit._files import checked
from aaekit.core.batches import Minibatches
from aaekit.core.callbacks import Callback, Progress
from aaekit.core.loop import Training
from aaekit.core.phase import Phase, Step, match, when
from aaekit.core.random import RandomStream
from aaekit.core.settings import Precision, Settings
from aaekit.errors import DamageError, InputError
from aaekit.estimators._fitting import drawn_seed
from aaekit.estimators._hyperparameters import Positive, Rate, Share, Weight, hyperparameters, validated
from aaekit.estimators._io import DAMAGE, FACTS, check_shapes, damaged, described, read_model, write_model
from aaekit.estimators._sklearn import BaseEstimator
from aaekit.ultrasound import physics
from aaekit.ultrasound.checks import check_frames, check_maps, check_pairs
from aaekit.ultrasound.geometry import Geometry, resize, to_cartesian, to_polar
from aaekit.ultrasound.metrics import tissue_divergences
from aaekit.ultrasound.networks import (
    Refiner,
    Refiners,
    depth_channel,
    one_hot,
    patch_discriminator,
    random_rotation,
    upsample,
    with_path,
)
from aaekit.ultrasound.tissues import N_TISSUES

STAGES = ("stage 0", "stage I", "stage II")
STRIP_MARGIN = 4  # scan lines at both sides of a strip, next to the cut, that the discriminator does not see

T = TypeVar("T")


def _one_or_two(value: Any) -> Any:
    """Split a text at its comma, and refuse lists that are not pairs."""
    if isinstance(value, str) and "," in value:
        value = [part.strip() for part in value.split(",")]
    if isinstance(value, (tuple, list)) and len(value) != 2:
        raise PydanticCustomError("pair", "expected one number, or two for stage I and stage II")
    return value


def _pair(value: T | tuple[T, T]) -> tuple[T, T]:
    """The values for stage I and stage II."""
    return (value[0], value[1]) if isinstance(value, (tuple, list)) else (value, value)


PositivePair = Annotated[Positive | tuple[Positive, Positive], BeforeValidator(_one_or_two)]
WeightPair = Annotated[Weight | tuple[Weight, Weight], BeforeValidator(_one_or_two)]


# --- losses ----------------------------------------------------------------------------------------------------------
class RefineStep(Step):
    """One minibatch: frames of the previous stage with their conditions, and real frames.

    Parameters
    ----------
    previous : Tensor of shape (n, 1, h, w)
        Frames of the previous stage.
    conditions : Tensor of shape (n, k, h, w)
        What the refiner sees besides.
    tissues : Tensor of shape (n, l, h, w)
        What the discriminator sees of the tissues.
    real : Tensor of shape (m, 1, h, w)
        Real frames.
    real_tissues : Tensor of shape (m, l, h, w) or None
        Their tissues; if None, the discriminator does not see `tissues` either.
    margin : int
        Scan lines at both sides that the discriminator does not see.
    """

    def __init__(
        self,
        refiner: Refiner,
        previous: Tensor,
        conditions: Tensor,
        tissues: Tensor,
        real: Tensor,
        real_tissues: Tensor | None,
        margin: int = 0,
    ) -> None:
        super().__init__()
        self.refiner: Refiner = refiner
        self.previous: Tensor = previous
        self.conditions: Tensor = conditions
        self.tissues: Tensor = tissues
        self.real: Tensor = real
        self.real_tissues: Tensor | None = real_tissues
        self.margin: int = margin

    def refined(self) -> Tensor:
        """Return the refiner's frames, with their graph unless gradients are disabled."""
        with torch.enable_grad():
            frames = self.once("refined", lambda: self.refiner(self.previous, self.conditions))
        return frames if torch.is_grad_enabled() else frames.detach()

    def judged(self, fake: bool) -> Tensor:
        """Return what the discriminator sees: frames, depth and, for pairs, tissues."""
        frames, tissues = (self.refined(), self.tissues) if fake else (self.real, self.real_tissues)
        parts = [2 * frames - 1, depth_channel(frames)]
        if self.real_tissues is not None:
            assert tissues is not None
            parts.append(tissues)
        seen = torch.cat(parts, 1)
        return seen[:, :, self.margin : seen.shape[2] - self.margin]


def self_regularisation(step: RefineStep, pool: int) -> Tensor:
    """L1 distance between refined frames and those of the previous stage, after means over `pool x pool` samples.

    The means leave speckle free to change, but not the anatomy (after Tom & Sheet, arXiv:1712.07881).
    """
    return F.l1_loss(F.avg_pool2d(step.refined(), pool), F.avg_pool2d(step.previous, pool))


def intensity_distance(step: RefineStep) -> Tensor:
    """Squared Wasserstein-2 distance between real and refined intensities of a tissue, averaged over tissues."""
    assert step.real_tissues is not None
    lines = slice(step.margin, step.real.shape[2] - step.margin)
    fake, real = step.refined()[:, 0, lines], step.real[:, 0, lines]
    losses = []
    for k in range(1, N_TISSUES):
        x, y = fake[step.tissues[:, k, lines] > 0.5], real[step.real_tissues[:, k, lines] > 0.5]
        if min(len(x), len(y)) >= 16:
            q = torch.linspace(0, 1, min(len(x), len(y), 512), device=x.device)
            a, b = (torch.quantile(side, q, interpolation="nearest") for side in (x, y))
            losses.append((a - b).square().mean())
    return torch.stack(losses).mean() if losses else step.refined().sum() * 0


class _StageNetworks(nn.Module):
    """A refiner and the discriminator that it is trained against."""

    def __init__(self, refiner: Refiner, discriminator: nn.Module) -> None:
        super().__init__()
        self.refiner, self.discriminator = refiner, discriminator
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


# --- the estimator ---------------------------------------------------------------------------------------------------
@hyperparameters
class TwoStageSimulator(BaseEstimator):
    """Realistic ultrasound frames of arteries from tissue maps, learned from real frames.

    *Stage 0* is physics: scatterers, a point-spread function and logarithmic compression (`ultrasound.simulate`).
    *Stage I* refines it at low resolution, so that each tissue has the intensities of real frames. *Stage II* refines
    the result at full resolution and turns the speckle of stage 0 into realistic speckle. Each stage is trained against
    a discriminator of patches; an L1 loss (self-regularisation) keeps it close to the previous one. All stages work in
    polar geometry.

    Source: Tom & Sheet, *Simulating patho-realistic ultrasound images using deep generative networks with adversarial
    learning*, arXiv:1712.07881; Sheet, *Deep Learning for Visual Computing* (NPTEL), lecture 53.

    Attributes
    ----------
    networks_ : Refiners
        The refiners `stage1` and `stage2`.
    history_ : list of dict
        Mean losses of each epoch, first of stage I, then of stage II.
    n_steps_, training_seconds_ : int, float
        Steps of both stages together, and the time that they took.
    seed_ : int
        Seed of the fit.
    """

    geometry: Annotated[
        Geometry,
        Field(description="of maps and frames: 'cartesian' discs around the catheter, or 'polar' scan lines by depth"),
    ] = "cartesian"
    paired: Annotated[
        bool,
        Field(description="whether map k belongs to frame k; the discriminators of pairs also see the tissues"),
    ] = True
    low_size: Annotated[int, Field(ge=16, le=512, multiple_of=8, description="lines and depths of stage I")] = 64
    size: Annotated[int, Field(ge=32, le=2048, multiple_of=8, description="lines and depths of stage II")] = 256
    channels: Annotated[Positive, Field(description="width of the first layer of refiners and discriminators")] = 16
    draws: Annotated[Positive, Field(description="frames of stage 0 per map, each with its own speckle")] = 2
    axial: Annotated[float, Field(gt=0, le=32, description="stage 0: length of the pulse, in 1/256 of the depth")] = 2.0
    lateral: Annotated[float, Field(gt=0, le=32, description="stage 0: width of the beam, in 1/256 of a turn")] = 1.6
    wavelength: Annotated[float, Field(ge=2, le=64, description="stage 0: of the pulse, in 1/256 of the depth")] = 4.0
    dynamic_range: Annotated[float, Field(ge=10, le=120, description="stage 0: decibels from black to white")] = 50.0
    divergence: Annotated[
        Literal["gan", "least_squares", "wasserstein"] | divergences.Divergence,
        Field(description="loss between real and refined patches"),
    ] = "gan"
    adversarial_weight: Annotated[Weight, Field(description="weight of the adversarial loss")] = 1.0
    self_regularisation_weight: Annotated[
        WeightPair, Field(description="weight of the L1 distance from the previous stage, in stage I and stage II")
    ] = (0.1, 5.0)
    intensity_weight: Annotated[
        Weight,
        Field(description="weight of the distance of intensities, tissue by tissue, for pairs; 0 turns it off"),
    ] = 0.0
    learning_rate: Annotated[Rate, Field(description="learning rate of the refiners")] = 1e-3
    discriminator_learning_rate: Annotated[Rate, Field(description="learning rate of the discriminators")] = 5e-4
    momentum: Annotated[Share, Field(description="beta_1 of Adam")] = 0.5
    steps: Annotated[PositivePair, Field(description="training steps of stage I and stage II")] = (1500, 1200)
    batch_size: Annotated[
        PositivePair, Field(description="frames per minibatch of stage I, and strips per minibatch of stage II")
    ] = (8, 4)
    lines: Annotated[
        int, Field(ge=8, multiple_of=8, description="scan lines per strip of stage II; `size` or more: whole frames")
    ] = 32
    ema_decay: Annotated[
        Share,
        Field(description="decay per step of the moving average of the weights, which is used in the end; 0: none"),
    ] = 0.99
    precision: Annotated[
        Precision, Field(description="arithmetic: 'auto' takes bfloat16 where the machine has it in hardware")
    ] = "auto"
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], Field(description="where to train")] = "auto"
    random_state: Annotated[
        int | None | np.random.RandomState, Field(description="seed; None draws a new one for each fit")
    ] = None
    verbose: Annotated[int, Field(ge=0, description="1 shows a progress bar with the losses and the time left")] = 0

    _facts: ClassVar[tuple[str, ...]] = ("seed_", "history_", "n_steps_", "training_seconds_")

    # --- fitting -----------------------------------------------------------------------------------------------------
    def fit(self, maps: ArrayLike, frames: ArrayLike, *, callbacks: Sequence[Callback] = ()) -> Self:
        """Train both stages on tissue maps and real frames.

        Parameters
        ----------
        maps : array-like of shape (n, height, width)
            Ids of `ultrasound.TISSUES`.
        frames : array-like of shape (m, height, width)
            Real frames, bytes or intensities in [0, 1]. If `paired`, frame k shows map k; otherwise any frames.
        callbacks : sequence of Callback
            Called during the training of each stage.

        Returns
        -------
        TwoStageSimulator
            The fitted simulator itself.

        Raises
        ------
        InputError
            If a parameter is invalid, a tissue id is unknown, an intensity is outside [0, 1], or pairs differ in number
            or size.
        TrainingError
            If a loss stops being finite.
        """
        self.check_parameters()
        maps, frames = check_maps(maps), check_frames(frames)
        if self.paired:
            check_pairs(maps, frames)
        if min(len(maps), len(frames)) < 2:
            raise InputError(f"expected at least 2 maps and 2 frames, got {len(maps)} and {len(frames)}")
        self.seed_: int = drawn_seed(self.random_state)
        callbacks = [*callbacks, Progress()] if self.verbose else callbacks
        polar_maps, real = self._polar_maps(maps), torch.from_numpy(self._polar_frames(frames))[:, None]
        repeated = np.concatenate([polar_maps] * self.draws)
        stage0 = torch.from_numpy(self._stage0(repeated, self.seed_))[:, None]
        tissue_ids, repeated = torch.from_numpy(polar_maps), torch.from_numpy(repeated)
        memberships = self._memberships(tissue_ids)
        repeated_memberships = memberships.repeat(self.draws, 1, 1, 1)
        low = self._pool(stage0)

        self.history_: list[dict[str, float]] = []
        self.n_steps_: int = 0
        self.training_seconds_: float = 0.0
        with RandomStream(self.seed_):
            nets = Refiners(self.channels)
            real_low = [self._pool(real), memberships] if self.paired else [self._pool(real)]
            nets.stage1 = self._train_stage(1, nets.stage1, [low, repeated_memberships], real_low, callbacks)
            previous = self._refine_low(nets.stage1, low, repeated_memberships)
            real_high = [real, tissue_ids] if self.paired else [real]
            nets.stage2 = self._train_stage(2, nets.stage2, [previous, stage0, repeated], real_high, callbacks)
        self.networks_: Refiners = nets.eval()
        return self

    def check_parameters(self) -> None:
        """Check all parameters.

        Raises
        ------
        InputError
            If a parameter is invalid; the message has one line per parameter.
        """
        validated(type(self), self.get_params(deep=False))
        if self.size % self.low_size:
            raise InputError(
                f"expected size as a multiple of low_size={self.low_size}, got {self.size}: change one of them"
            )

    # --- one stage ---------------------------------------------------------------------------------------------------
    def _train_stage(
        self,
        stage: Literal[1, 2],
        refiner: Refiner,
        simulated: list[Tensor],
        real: list[Tensor],
        callbacks: Sequence[Callback],
    ) -> Refiner:
        """Train a refiner against a discriminator of its own, and return it."""
        n_tissue_channels = 2 * N_TISSUES if stage == 1 else N_TISSUES
        discriminator = patch_discriminator(2 + (n_tissue_channels if self.paired else 0), self.channels)
        nets = _StageNetworks(refiner, discriminator)
        settings = Settings(
            n_steps=_pair(self.steps)[stage - 1],
            learning_rate=self.learning_rate,
            critic_learning_rate=self.discriminator_learning_rate,
            momentum=self.momentum,
            ema_decay=self.ema_decay,
            precision=self.precision,
            device=self.device,
            random_state=self.seed_,
        )
        batch_size, make_step = (
            _pair(self.batch_size)[stage - 1],
            self._stage1_step if stage == 1 else self._stage2_step,
        )
        minibatches = {
            name: Minibatches(arrays, min(batch_size, len(arrays[0])), self.seed_ + k)
            for k, (name, arrays) in enumerate({"simulated": simulated, "real": real}.items())
        }
        phases = self._phases(stage, nets)
        training = Training(nets, phases, minibatches, lambda batch: make_step(nets.refiner, batch), settings)
        training.run(callbacks)
        last = self.history_[-1]["epoch"] if self.history_ else 0
        self.history_ += [row | {"epoch": row["epoch"] + last, "step": row["step"] + self.n_steps_,
                                 "seconds": row["seconds"] + self.training_seconds_}
                          for row in training.history]  # fmt: skip
        self.n_steps_ += training.n_done
        self.training_seconds_ += training.seconds
        averaged = training.averaged.cpu().eval()
        assert isinstance(averaged, _StageNetworks)
        return averaged.refiner

    def _phases(self, stage: Literal[1, 2], nets: "_StageNetworks") -> list[Phase[RefineStep]]:
        """Self-regularisation, the adversarial game and, if weighted, the intensities."""
        name, pool = f"stage{stage}", (4, 2 * self._factor)[stage - 1]
        return [
            Phase(
                f"{name}/self_regularisation",
                partial(self_regularisation, pool=pool),
                (nets.refiner,),
                _pair(self.self_regularisation_weight)[stage - 1],
            ),
            *match(
                name,
                lambda step: step.judged(fake=True),
                lambda step: step.judged(fake=False),
                divergences.make(self.divergence),
                nets.discriminator,
                (nets.refiner,),
                weight=self.adversarial_weight,
            ),
            *when(
                self.paired,
                Phase(f"{name}/intensity", intensity_distance, (nets.refiner,), self.intensity_weight),
            ),
        ]

    def _stage1_step(self, refiner: Refiner, batch: Mapping[str, Sequence[Tensor]]) -> RefineStep:
        """Whole frames at low resolution, randomly rotated and mirrored."""
        low, memberships = random_rotation(*batch["simulated"])
        real, *real_memberships = random_rotation(*batch["real"])
        tissues, *real_tissues = (with_path(x.float() / 255) for x in (memberships, *real_memberships))
        return RefineStep(refiner, low, tissues, tissues, real, real_tissues[0] if real_tissues else None)

    def _stage2_step(self, refiner: Refiner, batch: Mapping[str, Sequence[Tensor]]) -> RefineStep:
        """Strips of scan lines at full depth."""
        low, stage0, tissue_ids = batch["simulated"]
        n_lines = min(self.lines + 2 * STRIP_MARGIN, self.size) // 8 * 8
        enlarged = upsample(low, self._factor)
        previous, stage0, tissue_ids = random_rotation(enlarged, stage0, tissue_ids, n_lines=n_lines)
        real, *real_ids = random_rotation(*batch["real"], n_lines=n_lines)
        tissues = one_hot(tissue_ids)
        conditions = torch.cat([2 * stage0 - 1, tissues], 1)
        real_tissues = one_hot(real_ids[0]) if real_ids else None
        margin = STRIP_MARGIN if n_lines < self.size else 0
        return RefineStep(refiner, previous, conditions, tissues, real, real_tissues, margin)

    # --- simulation --------------------------------------------------------------------------------------------------
    def simulate(
        self, maps: ArrayLike, stage: Literal[0, 1, 2] = 2, random_state: int | np.random.Generator | None = None
    ) -> NDArray[np.float32]:
        """Simulate a frame of each tissue map.

        Parameters
        ----------
        maps : array-like of shape (n, height, width)
            Ids of `ultrasound.TISSUES`, in the geometry of the fitted maps.
        stage : 0, 1 or 2, default 2
            The last stage to run. Frames of stage I are enlarged to full size. Stage 0 needs no fit.
        random_state : int, Generator or None, default None
            Seed of the speckle; the same seed gives the same speckle to all stages.

        Returns
        -------
        ndarray of shape (n, height, width), float32
            Intensities in [0, 1].

        Raises
        ------
        InputError
            If a tissue id or the stage is unknown.
        NotFittedError
            If the simulator is not fitted and `stage` is not 0.
        """
        maps = check_maps(maps)
        if stage not in (0, 1, 2):
            raise InputError(f"expected stage 0, 1 or 2, got {stage!r}")
        if stage:
            check_is_fitted(self)
        frames = self._stages(self._polar_maps(maps), random_state, stage)[stage]
        return self._in_geometry(frames, maps.shape[1:])

    def divergences(
        self,
        maps: ArrayLike,
        frames: ArrayLike,
        *,
        resolution: Literal["high", "low"] = "high",
        random_state: int | np.random.Generator | None = 0,
    ) -> dict[str, dict[str, float]]:
        """Jensen-Shannon divergence between real and simulated intensities after each stage, tissue by tissue.

        Parameters
        ----------
        maps, frames : array-like of shape (n, height, width)
            Real pairs, preferably held out from training.
        resolution : "high" or "low", default "high"
            Size of the compared frames: full size, or that of stage I (without stage II).
        random_state : int, Generator or None, default 0
            Seed of the speckle.

        Returns
        -------
        dict of str to dict of str to float
            In bits, by "stage 0", "stage I" and "stage II", then by tissue; see `ultrasound.tissue_divergences`.

        Raises
        ------
        InputError
            If maps or frames are invalid or do not match.
        NotFittedError
            If the simulator is not fitted.
        """
        check_is_fitted(self)
        maps, frames = check_maps(maps), check_frames(frames)
        check_pairs(maps, frames)
        tissue_ids, real = self._polar_maps(maps), self._polar_frames(frames)
        simulated = self._stages(tissue_ids, random_state, 2)
        if resolution == "low":
            size = self.low_size
            tissue_ids = resize(tissue_ids, size, size, interpolate=False)
            real, *simulated = (resize(f, size, size) for f in (real, *simulated[:2]))
        return {
            name: tissue_divergences(real, tissue_ids, f, tissue_ids)
            for name, f in zip(STAGES, simulated, strict=False)
        }

    def resample(self, frames: ArrayLike) -> NDArray[np.float32]:
        """Convert frames to polar geometry at full size and back.

        Real frames then have the same interpolation artefacts as simulated ones, which do not reveal which is which.

        Parameters
        ----------
        frames : array-like of shape (n, height, width)
            Frames, bytes or intensities in [0, 1].

        Returns
        -------
        ndarray of shape (n, height, width), float32
            Intensities in [0, 1].

        Raises
        ------
        InputError
            If the frames are invalid.
        """
        frames = check_frames(frames)
        return self._in_geometry(self._polar_frames(frames), frames.shape[1:])

    def _stages(
        self, tissue_ids: NDArray[np.uint8], random_state: int | np.random.Generator | None, last: int
    ) -> list[NDArray[np.float32]]:
        """Polar frames `(n, size, size)` of all stages up to the `last`, stage I enlarged."""
        frames = self._stage0(tissue_ids, random_state)
        if last == 0:
            return [frames]
        ids, stage0 = torch.from_numpy(tissue_ids), torch.from_numpy(frames)[:, None]
        low = self._refine_low(self.networks_.stage1, self._pool(stage0), self._memberships(ids))
        stages = [frames, upsample(low, self._factor)[:, 0].numpy()]
        if last == 2:
            refined = []
            with torch.inference_mode():
                for k in range(len(ids)):  # one at a time: a frame at full size needs much memory
                    conditions = torch.cat([2 * stage0[k : k + 1] - 1, one_hot(ids[k : k + 1])], 1)
                    refined.append(self.networks_.stage2(upsample(low[k : k + 1], self._factor), conditions))
            stages.append(torch.cat(refined)[:, 0].numpy())
        return stages

    def _refine_low(self, refiner: Refiner, low: Tensor, memberships: Tensor) -> Tensor:
        """Frames of stage I at low resolution."""
        batches = zip(low.split(16), memberships.split(16), strict=True)
        with torch.inference_mode():
            refined = [refiner(x, with_path(m.float() / 255)) for x, m in batches]
        return torch.cat(refined).clone()  # outside of inference mode: stage II trains on it

    # --- geometry and sizes ------------------------------------------------------------------------------------------
    @property
    def _factor(self) -> int:
        return self.size // self.low_size

    def _polar_maps(self, maps: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self.geometry == "cartesian":
            return to_polar(maps, self.size, interpolate=False)
        return resize(maps, self.size, self.size, interpolate=False)

    def _polar_frames(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.geometry == "cartesian":
            return to_polar(frames, self.size)
        return resize(frames, self.size, self.size)

    def _in_geometry(self, frames: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Polar frames in the geometry and size of the user's images."""
        if self.geometry == "cartesian":
            return to_cartesian(frames, shape[0])
        return resize(frames, *shape)

    def _stage0(
        self, tissue_ids: NDArray[np.uint8], random_state: int | np.random.Generator | None
    ) -> NDArray[np.float32]:
        scanner = physics.Physics(self.axial, self.lateral, self.wavelength, self.dynamic_range)
        return physics.simulate(tissue_ids, scanner, random_state)

    def _pool(self, frames: Tensor) -> Tensor:
        return F.avg_pool2d(frames, self._factor)

    def _memberships(self, tissue_ids: Tensor) -> Tensor:
        """Share of each tissue in each low-resolution sample, 0 ... 255: `(n, n_tissues, low, low)`, bytes."""
        return torch.cat([(255 * self._pool(one_hot(ids[None]))).round().byte() for ids in tissue_ids])

    # --- saving ------------------------------------------------------------------------------------------------------
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted simulator into one safetensors file, its parameters as JSON in the header.

        Raises
        ------
        InputError
            If a parameter is an object, which JSON cannot hold, or the file cannot be written.
        NotFittedError
            If the simulator is not fitted.
        """
        check_is_fitted(self)
        description = described(self)
        for name, value in description["parameters"].items():
            if isinstance(value, dict):
                raise InputError(f"{name}: expected a name or number, which can be saved, got an object: change it")
        facts = {name: getattr(self, name) for name in self._facts}
        write_model(path, {**description, "facts": facts}, self.networks_.state_dict())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a simulator that `save` wrote.

        Raises
        ------
        InputError
            If the file does not exist, is damaged, or holds another estimator.
        """
        header, tensors = read_model(path)
        if header["estimator"] != cls.__name__:
            raise InputError(f"{path}: expected a saved {cls.__name__}, got a {header['estimator']}")
        self = cls(**validated(cls, header["parameters"], str(path)))
        try:
            if set(header["facts"]) != set(cls._facts):
                raise DamageError(f"facts {sorted(header['facts'])[:9]}")
            for name in cls._facts:
                setattr(self, name, checked(header["facts"][name], FACTS[name]))
            check_shapes(lambda: Refiners(self.channels), tensors)
            with RandomStream(0):
                nets = Refiners(self.channels)
            nets.load_state_dict(tensors)
        except DAMAGE as error:
            raise damaged(path, error) from error
        self.networks_ = nets.eval()
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "networks_")
