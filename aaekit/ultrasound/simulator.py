"""Frames of intravascular ultrasound from tissue maps, in two adversarial stages: system S7."""

import json
import os
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field
from safetensors.torch import save_file
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from aaekit import divergences
from aaekit._files import write_atomically
from aaekit.core.loop import Callback, Precision, Rows, Settings, Training
from aaekit.core.phase import Phase, Step, matching
from aaekit.errors import InputError
from aaekit.estimators._base import FORMAT, EmaDecay, drawn_seed, json_value, read_model
from aaekit.estimators._hyperparameters import Positive, Rate, Share, Weight, hyperparameters, validated
from aaekit.ultrasound import physics as ultrasound
from aaekit.ultrasound.physics import TISSUES, Physics

STAGES = ("stage 0", "stage I", "stage II")
N_TISSUES = len(TISSUES)
FURTHEST = 6.0  # what a refiner can add to a logit, at most
MARGIN = 4  # scan lines at either side of a strip that the discriminator does not see: there the strip was cut


# --- networks --------------------------------------------------------------------------------------------------------
class _Convolution(nn.Module):
    """3x3 on polar images: scan lines go round, depth ends."""

    def __init__(self, n_in: int, n_out: int, stride: int = 1) -> None:
        super().__init__()
        self.inner = nn.Conv2d(n_in, n_out, 3, stride, (0, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(F.pad(x, (0, 0, 1, 1), mode="circular"))


class Refiner(nn.Module):
    """R: `(n, 1, lines, depths)` of the stage below and `(n, k, lines, depths)` beside it to a frame of the same size.

    A small U-Net that adds to the logit of what it is given, so that frames stay in [0, 1]; it begins as the identity.
    What it adds is bounded: a discriminator that runs ahead could else drive all to black, for good.
    It knows depth, and sees `2^n_halvings` samples at once at its narrowest.
    """

    def __init__(self, n_beside: int, channels: int, n_halvings: int) -> None:
        super().__init__()
        widths = [min(channels * 2**k, 4 * channels) for k in range(n_halvings + 1)]
        self.stem = _Convolution(2 + n_beside, channels)
        self.down = nn.ModuleList(_Convolution(a, b, 2) for a, b in zip(widths, widths[1:], strict=False))
        self.up = nn.ModuleList(_Convolution(a + b, a) for a, b in zip(widths, widths[1:], strict=False))
        self.last = _Convolution(channels, 1)
        nn.init.zeros_(self.last.inner.weight)
        assert self.last.inner.bias is not None
        nn.init.zeros_(self.last.inner.bias)

    def forward(self, below: Tensor, beside: Tensor) -> Tensor:
        x = F.leaky_relu(self.stem(torch.cat([2 * below - 1, _depth(below), beside], 1)), 0.2)
        kept = [x]
        for layer in self.down:
            x = F.leaky_relu(layer(x), 0.2)
            kept.append(x)
        for layer, skip in zip(reversed(self.up), reversed(kept[:-1]), strict=True):
            x = F.leaky_relu(layer(torch.cat([skip, F.interpolate(x, scale_factor=2, mode="nearest")], 1)), 0.2)
        change = FURTHEST * torch.tanh(self.last(x).float() / FURTHEST)
        return (below.clamp(0.01, 0.99).logit() + change).sigmoid()


def patch_discriminator(n_in: int, channels: int) -> nn.Module:
    """D: `(n, n_in, lines, depths)` to logits `(n, 1, lines / 8, depths / 8)`, one for each overlapping patch.

    Its layers are normalised by their largest singular value (Miyato et al., arXiv:1802.05957), lest it run ahead.
    """
    widths = [n_in, channels, 2 * channels, 4 * channels]
    layers: list[nn.Module] = []
    for a, b in zip(widths, widths[1:], strict=False):
        layers += [spectral_norm(nn.Conv2d(a, b, 4, 2, 1)), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, spectral_norm(nn.Conv2d(widths[-1], 1, 3, 1, 1)))


def _depth(images: Tensor) -> Tensor:
    """A channel that says how deep each sample lies, -1 ... 1."""
    depth = torch.linspace(-1, 1, images.shape[-1], device=images.device, dtype=images.dtype)
    return depth.expand_as(images[:, :1])


def upsampled(low: Tensor, factor: int) -> Tensor:
    """Polar images enlarged by cubic interpolation; scan lines go round."""
    padded = F.pad(low, (0, 0, 2, 2), mode="circular")
    big = F.interpolate(padded, scale_factor=factor, mode="bicubic", align_corners=False)
    return big[:, :, 2 * factor : -2 * factor].clamp(0, 1)


# --- what a minibatch holds ------------------------------------------------------------------------------------------
class RefineStep(Step):
    """Frames of the stage below, what the refiner sees beside them, tissues; and real frames, with theirs if known.

    Parameters
    ----------
    below, beside, tissues : Tensor of shape (n, 1, h, w), (n, k, h, w) and (n, l, h, w)
        What the refiner is given, and what the discriminator is told of the tissues: the first channels are theirs.
    real, real_tissues : Tensor of shape (m, 1, h, w) and (m, l, h, w) or None
        Real frames; without their tissues the discriminator is not told the others' either.
    margin : int
        Scan lines to cut off at both sides before the discriminator looks.
    """

    def __init__(
        self,
        refiner: nn.Module,
        below: Tensor,
        beside: Tensor,
        tissues: Tensor,
        real: Tensor,
        real_tissues: Tensor | None,
        margin: int = 0,
    ) -> None:
        super().__init__({}, refiner)
        self.below, self.beside, self.tissues = below, beside, tissues
        self.real, self.real_tissues, self.margin = real, real_tissues, margin
        self._refined: Tensor | None = None

    def refined(self) -> Tensor:
        """The refiner's frames, with the graph behind them."""
        if self._refined is None:
            self._refined = self.encoder(self.below, self.beside)  # pyright: ignore[reportCallIssue]
        assert self._refined is not None
        return self._refined

    def forget(self) -> None:
        """Drop what was computed from parameters that have moved."""
        super().forget()
        self._refined = None

    def judged(self, fake: bool) -> Tensor:
        """What the discriminator sees: frames, depth and, if known of the real ones, tissues."""
        frames, tissues = (self.refined(), self.tissues) if fake else (self.real, self.real_tissues)
        parts = [2 * frames - 1, _depth(frames)]
        if self.real_tissues is not None:
            assert tissues is not None
            parts.append(tissues)
        whole = torch.cat(parts, 1)
        return whole[:, :, self.margin : whole.shape[2] - self.margin]


def hold_on(step: Step, pool: int) -> Tensor:
    """Self-regularisation: mean |difference| from the stage below, of means over `pool x pool` samples.

    The means leave speckle free to change, but not what lies where (after Tom & Sheet, arXiv:1712.07881).
    """
    assert isinstance(step, RefineStep)
    return F.l1_loss(F.avg_pool2d(step.refined(), pool), F.avg_pool2d(step.below, pool))


def match_intensities(step: Step) -> Tensor:
    """Squared Wasserstein-2 distance between real and refined intensities of a tissue, its mean over tissues."""
    assert isinstance(step, RefineStep) and step.real_tissues is not None
    cut = slice(step.margin, step.real.shape[2] - step.margin)
    fake, real = step.refined()[:, 0, cut], step.real[:, 0, cut]
    losses = []
    for k in range(1, N_TISSUES):
        x, y = fake[step.tissues[:, k, cut] > 0.5], real[step.real_tissues[:, k, cut] > 0.5]
        if min(len(x), len(y)) >= 16:
            at = torch.linspace(0, 1, min(len(x), len(y), 512), device=x.device)
            losses.append((_quantiles(x, at) - _quantiles(y, at)).square().mean())
    return torch.stack(losses).mean() if losses else step.refined().sum() * 0


def _quantiles(x: Tensor, at: Tensor) -> Tensor:
    """Values of x `(n,)` at shares of its order, the nearest there is."""
    return x.sort().values[(at * (len(x) - 1)).round().long()]


# --- the estimator ---------------------------------------------------------------------------------------------------
@hyperparameters
class TwoStageSimulator(BaseEstimator):
    """Realistic ultrasound frames of arteries from tissue maps, learned from real frames.

    *Stage 0* is physics: scatterers, a point-spread function, logarithmic compression (`ultrasound.simulate`).
    *Stage I* refines it at low resolution, so that each tissue has the intensities it has in real frames. *Stage II*
    takes that to full resolution, with the speckle of stage 0 beside it to make real speckle from. Both learn against
    a discriminator of patches, and hold on to the stage below by an L1 loss. All of it happens in polar geometry.

    Source: Tom & Sheet, *Simulating patho-realistic ultrasound images using deep generative networks with adversarial
    learning*, arXiv:1712.07881; Sheet, *Deep Learning for Visual Computing* (NPTEL), lecture 53.

    Attributes
    ----------
    networks_ : torch.nn.ModuleDict
        The refiners, "stage1" and "stage2".
    history_ : list of dict
        Mean losses, a line an epoch; stage I first.
    n_steps_, training_seconds_ : int, float
        Steps of both stages together, and how long they took.
    seed_ : int
        What everything random was drawn from.
    """

    geometry: Annotated[
        ultrasound.Geometry,
        Field(description="of maps and frames: 'cartesian' discs around the catheter, or 'polar' scan lines by depth"),
    ] = "cartesian"
    paired: Annotated[
        bool,
        Field(description="whether map k belongs to frame k: then the discriminators are told the tissues, too"),
    ] = True
    low_size: Annotated[int, Field(ge=16, le=512, multiple_of=8, description="lines and depths of stage I")] = 64
    size: Annotated[int, Field(ge=32, le=2048, multiple_of=8, description="lines and depths of stage II")] = 256
    channels: Annotated[Positive, Field(description="width of the refiners' and discriminators' first layers")] = 16
    draws: Annotated[Positive, Field(description="frames of stage 0 for each map, each with speckle of its own")] = 2
    axial: Annotated[float, Field(gt=0, le=32, description="stage 0: length of the pulse, in 1/256 of the depth")] = 2.0
    lateral: Annotated[float, Field(gt=0, le=32, description="stage 0: width of the beam, in 1/256 of a turn")] = 1.6
    wavelength: Annotated[float, Field(ge=2, le=64, description="stage 0: of the pulse, in 1/256 of the depth")] = 4.0
    dynamic_range: Annotated[float, Field(ge=10, le=120, description="stage 0: decibels from black to white")] = 50.0
    divergence: Annotated[
        Literal["gan", "least_squares", "wasserstein"] | divergences.Divergence,
        Field(description="loss between real and refined patches"),
    ] = "gan"
    adversarial_weight: Annotated[Weight, Field(description="weight of the discriminators' verdict")] = 1.0
    holding_weight: Annotated[Weight, Field(description="stage I: weight of the L1 distance from stage 0")] = 0.1
    holding_weight_2: Annotated[Weight, Field(description="stage II: weight of the L1 distance from stage I")] = 5.0
    intensity_weight: Annotated[
        Weight,
        Field(description="weight of the distance between intensities, tissue by tissue (pairs only); 0: none"),
    ] = 0.0
    rate: Annotated[Rate, Field(description="learning rate of the refiners")] = 1e-3
    discriminator_learning_rate: Annotated[Rate, Field(description="learning rate of the discriminators")] = 5e-4
    momentum: Annotated[Share, Field(description="beta_1 of Adam")] = 0.5
    steps: Annotated[Positive, Field(description="steps of stage I")] = 1500
    steps_2: Annotated[Positive, Field(description="steps of stage II")] = 1200
    batch_size: Annotated[Positive, Field(description="frames in a minibatch of stage I")] = 8
    batch_size_2: Annotated[Positive, Field(description="strips in a minibatch of stage II")] = 4
    lines: Annotated[
        int, Field(ge=8, multiple_of=8, description="scan lines of a strip in stage II; more than there are: all")
    ] = 32
    ema_decay: EmaDecay = 0.99
    precision: Annotated[
        Precision, Field(description="arithmetic: 'auto' takes bfloat16 where the machine has it in hardware")
    ] = "auto"
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], Field(description="where to train")] = "auto"
    random_state: Annotated[
        int | None | np.random.RandomState, Field(description="seed of everything random; None draws a new one")
    ] = None
    verbose: Annotated[int, Field(ge=0, description="1 shows a progress bar with the losses and the time left")] = 0

    _facts: ClassVar[tuple[str, ...]] = ("seed_", "history_", "n_steps_", "training_seconds_")

    # --- fitting -----------------------------------------------------------------------------------------------------
    def fit(self, maps: Any, frames: Any, *, callbacks: Sequence[Callback] = ()) -> Self:
        """Learn from tissue maps and real frames, stage after stage.

        Parameters
        ----------
        maps : array-like of shape (n, height, width)
            Codes of `ultrasound.TISSUES`.
        frames : array-like of shape (m, height, width)
            Real frames, bytes or in [0, 1]; with `paired`, frame k is of map k, else any frames of the same kind.
        callbacks : sequence of Callback
            Told of each step, of each stage in turn.

        Raises
        ------
        InputError
            For unknown tissue codes, values outside [0, 1], and pairs that do not match in number or size.
        """
        self._check()
        maps, frames = ultrasound.check_maps(maps), ultrasound.check_frames(frames)
        if self.paired:
            ultrasound.check_pairs(maps, frames)
        if min(len(maps), len(frames)) < 2:
            raise InputError(f"expected at least 2 maps and 2 frames, got {len(maps)} and {len(frames)}")
        self.seed_ = drawn_seed(self.random_state)
        if self.verbose:
            from aaekit.core.progress import Progress

            callbacks = [*callbacks, Progress()]
        codes = self._polar(maps, codes=True)
        real = torch.from_numpy(self._polar(frames))[:, None]
        drawn = np.concatenate([codes] * self.draws)
        stage0 = torch.from_numpy(self._stage0(drawn, self.seed_))[:, None]
        codes, drawn = torch.from_numpy(codes), torch.from_numpy(drawn)
        soft = self._memberships(codes)
        low = self._pooled(stage0)

        self.history_, self.n_steps_, self.training_seconds_ = [], 0, 0.0
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(self.seed_)
            first, second = self._refiners().values()
            sources = {"made": [low, soft.repeat(self.draws, 1, 1, 1)], "real": [self._pooled(real), soft]}
            if not self.paired:
                sources["real"].pop()
            first = self._trained("stage1", first, sources, self.steps, self.batch_size, self._step1, callbacks)
            below = self._first(first, low, soft.repeat(self.draws, 1, 1, 1))
            sources = {"made": [below, stage0, drawn], "real": [real, codes]}
            if not self.paired:
                sources["real"].pop()
            second = self._trained("stage2", second, sources, self.steps_2, self.batch_size_2, self._step2, callbacks)
        self.networks_ = nn.ModuleDict({"stage1": first, "stage2": second}).eval()
        return self

    def _trained(
        self,
        name: str,
        refiner: nn.Module,
        sources: dict[str, list[Tensor]],
        n_steps: int,
        batch_size: int,
        make_step: Any,
        callbacks: Sequence[Callback],
    ) -> nn.Module:
        """A refiner after its training; the discriminator is left behind."""
        n_known = 2 * N_TISSUES if name == "stage1" else N_TISSUES
        n_judged = 2 + (n_known if self.paired else 0)
        nets = nn.ModuleDict({"refiner": refiner, "discriminator": patch_discriminator(n_judged, self.channels)})
        nets.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        settings = Settings(
            n_steps=n_steps,
            ema_decay=self.ema_decay,
            precision=self.precision,
            device=self.device,
            random_state=self.seed_,
        )
        rows = {k: Rows(v, min(batch_size, len(v[0])), self.seed_ + i) for i, (k, v) in enumerate(sources.items())}

        def step_of(batch: dict[str, list[Tensor]], together: bool) -> Step:
            return make_step(nets["refiner"], batch)

        training = Training(nets, self._phases(name, nets), rows, step_of, settings)
        training.run(callbacks)
        last = self.history_[-1]["epoch"] if self.history_ else 0
        self.history_ += [row | {"epoch": row["epoch"] + last, "step": row["step"] + self.n_steps_,
                                 "seconds": row["seconds"] + self.training_seconds_}
                          for row in training.history]  # fmt: skip
        self.n_steps_ += training.n_done
        self.training_seconds_ += training.seconds
        return training.averaged.cpu().eval()["refiner"]  # pyright: ignore[reportIndexIssue]

    def _phases(self, name: str, nets: nn.ModuleDict) -> list[Phase]:
        """Hold on to the stage below, look like the real thing and, if asked for, match intensities."""
        refiner, discriminator = nets["refiner"], nets["discriminator"]
        first = name == "stage1"
        pool, weight = (4, self.holding_weight) if first else (2 * self._factor, self.holding_weight_2)
        phases = [
            Phase(
                f"{name}/holding",
                lambda step: hold_on(step, pool),
                (refiner,),
                self.rate,
                self.momentum,
                weight,
            )
        ]
        phases += matching(
            name,
            lambda step, gradient: step.judged(fake=True),  # pyright: ignore[reportAttributeAccessIssue]
            lambda step: step.judged(fake=False),  # pyright: ignore[reportAttributeAccessIssue]
            divergences.make(self.divergence),
            discriminator,
            (refiner,),
            discriminator_learning_rate=self.discriminator_learning_rate,
            generator_rate=self.rate,
            weight=self.adversarial_weight,
            momentum=self.momentum,
        )
        if self.intensity_weight and self.paired:
            phases.append(
                Phase(
                    f"{name}/intensity",
                    match_intensities,
                    (refiner,),
                    self.rate,
                    self.momentum,
                    self.intensity_weight,
                )
            )
        return phases

    def _step1(self, refiner: nn.Module, batch: dict[str, list[Tensor]]) -> RefineStep:
        """Whole frames, turned about the catheter by chance, half of them mirrored."""
        low, soft = _turned(*batch["made"])
        real, *tissues = _turned(*batch["real"])
        known, *known_real = (with_way(x.float() / 255) for x in (soft, *tissues))
        return RefineStep(refiner, low, known, known, real, known_real[0] if known_real else None)

    def _step2(self, refiner: nn.Module, batch: dict[str, list[Tensor]]) -> RefineStep:
        """Strips of scan lines, in all their depth."""
        below, stage0, codes = batch["made"]
        keep = min(self.lines + 2 * MARGIN, self.size) // 8 * 8
        below, stage0, codes = _turned(upsampled(below, self._factor), stage0, codes, keep=keep)
        real, *tissues = _turned(*batch["real"], keep=keep)
        known = one_hot(codes)
        beside = torch.cat([2 * stage0 - 1, known], 1)
        margin = MARGIN if keep < self.size else 0
        return RefineStep(refiner, below, beside, known, real, one_hot(tissues[0]) if tissues else None, margin)

    # --- what comes out ----------------------------------------------------------------------------------------------
    def simulate(
        self, maps: Any, stage: Literal[0, 1, 2] = 2, random_state: int | np.random.Generator | None = None
    ) -> np.ndarray:
        """Frames of tissue maps.

        Parameters
        ----------
        maps : array-like of shape (n, height, width)
            Codes of `ultrasound.TISSUES`, in the geometry of the fitted ones.
        stage : 0, 1 or 2, default 2
            How far to go. Stage I is enlarged to the size of the others.
        random_state : int, Generator or None, default None
            Seed of the speckle; the same one gives the same speckle to every stage.

        Returns
        -------
        ndarray of shape (n, height, width), float32
            Intensities in [0, 1].

        Raises
        ------
        InputError
            For unknown tissue codes, or another stage.
        """
        maps = ultrasound.check_maps(maps)
        if stage not in (0, 1, 2):
            raise InputError(f"stage={stage!r}: expected 0, 1 or 2")
        if stage:
            check_is_fitted(self)
        frames = self._stages(self._polar(maps, codes=True), random_state, stage)[stage]
        return self._as_given(frames, maps.shape[1:])

    def divergences(
        self, maps: Any, frames: Any, *, resolution: Literal["high", "low"] = "high", random_state: int | None = 0
    ) -> dict[str, dict[str, float]]:
        """Jensen-Shannon divergence of intensities from real ones after each stage, tissue by tissue, in bits.

        Parameters
        ----------
        maps, frames : array-like of shape (n, height, width)
            Real pairs, best such as were not trained on.
        resolution : "high" or "low", default "high"
            Where to compare: at full size, or at stage I's own, where there is no stage II.
        random_state : int or None, default 0
            Seed of the speckle.

        Returns
        -------
        dict of str to dict
            By "stage 0", "stage I" and "stage II"; see `ultrasound.tissue_divergences`.
        """
        check_is_fitted(self)
        maps, frames = ultrasound.check_maps(maps), ultrasound.check_frames(frames)
        ultrasound.check_pairs(maps, frames)
        codes, real = self._polar(maps, codes=True), self._polar(frames)
        made = self._stages(codes, random_state, 2)
        if resolution == "low":
            low = self.low_size
            codes = ultrasound.resized(codes, low, low, codes=True)
            real, *made = (ultrasound.resized(f, low, low) for f in (real, *made[:2]))
        return {
            name: ultrasound.tissue_divergences(real, codes, f, codes) for name, f in zip(STAGES, made, strict=False)
        }

    def shown_real(self, frames: Any) -> np.ndarray:
        """Real frames, taken to polar geometry and back like simulated ones, so that this gives nothing away."""
        frames = ultrasound.check_frames(frames)
        return self._as_given(self._polar(frames), frames.shape[1:])

    def _stages(self, codes: np.ndarray, random_state: Any, last: int) -> list[np.ndarray]:
        """Polar frames `(n, size, size)` of stage 0 up to the `last`, stage I enlarged."""
        stage0 = self._stage0(codes, random_state)
        if last == 0:
            return [stage0]
        first, second = self.networks_["stage1"], self.networks_["stage2"]
        tissue, below = torch.from_numpy(codes), torch.from_numpy(stage0)[:, None]
        low = self._first(first, self._pooled(below), self._memberships(tissue))
        stages = [stage0, upsampled(low, self._factor)[:, 0].numpy()]
        if last == 2:
            with torch.inference_mode():
                out = []
                for k in range(len(codes)):
                    beside = torch.cat([2 * below[k : k + 1] - 1, one_hot(tissue[k : k + 1])], 1)
                    out.append(second(upsampled(low[k : k + 1], self._factor), beside)[:, 0].numpy())
            stages.append(np.concatenate(out))
        return stages

    def _first(self, refiner: nn.Module, low: Tensor, soft: Tensor) -> Tensor:
        """Stage I of pooled frames, at its own size."""
        with torch.inference_mode():
            some = [slice(k, k + 16) for k in range(0, len(low), 16)]
            parts = [refiner(low[part], with_way(soft[part].float() / 255)) for part in some]
        return torch.cat(parts).clone()

    # --- geometry and sizes ------------------------------------------------------------------------------------------
    @property
    def _factor(self) -> int:
        return self.size // self.low_size

    def _polar(self, images: np.ndarray, codes: bool = False) -> np.ndarray:
        if self.geometry == "cartesian":
            return ultrasound.to_polar(images, self.size, codes=codes)
        return ultrasound.resized(images, self.size, self.size, codes=codes)

    def _as_given(self, frames: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        if self.geometry == "cartesian":
            return ultrasound.to_cartesian(frames, shape[0])
        return ultrasound.resized(frames, *shape)

    def _stage0(self, codes: np.ndarray, random_state: Any) -> np.ndarray:
        physics = Physics(self.axial, self.lateral, self.wavelength, self.dynamic_range)
        return ultrasound.simulate(codes, physics, random_state)

    def _pooled(self, frames: Tensor) -> Tensor:
        return F.avg_pool2d(frames, self._factor)

    def _memberships(self, codes: Tensor) -> Tensor:
        """How much of each low-resolution sample is of which tissue: `(n, n_tissues, low, low)`, bytes."""
        return torch.cat([(255 * self._pooled(one_hot(c[None]))).round().byte() for c in codes])

    def _check(self) -> None:
        """Every parameter against its declaration, all errors at once."""
        validated(type(self), self.get_params(deep=False))
        if self.size % self.low_size:
            raise InputError(f"size={self.size}: expected a multiple of low_size={self.low_size}")

    # --- saving ------------------------------------------------------------------------------------------------------
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted simulator into one safetensors file, settings and facts as JSON in its header.

        Raises
        ------
        InputError
            When `divergence` or `random_state` is an object, which JSON cannot hold.
        """
        check_is_fitted(self)
        parameters = {name: json_value(value) for name, value in self.get_params(deep=False).items()}
        for name, value in parameters.items():
            if value is NotImplemented:
                raise InputError(f"{name} is an object, which cannot be saved: give its name or number instead")
        facts = {name: getattr(self, name) for name in self._facts}
        header = {"format": FORMAT, "estimator": type(self).__name__, "parameters": parameters, "facts": facts}
        tensors = {k: v.contiguous() for k, v in self.networks_.state_dict().items()}
        write_atomically(path, lambda p: save_file(tensors, p, {"aaekit": json.dumps(header)}))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        InputError
            When the file is not there, is damaged, or is of another estimator.
        """
        header, tensors = read_model(path)
        if header["estimator"] != cls.__name__:
            raise InputError(f"{path}: expected a saved {cls.__name__}, got a {header['estimator']}")
        self = cls(**validated(cls, header["parameters"], str(path)))
        for name in cls._facts:
            setattr(self, name, header["facts"][name])
        with torch.random.fork_rng([]):
            nets = self._refiners()
        try:
            nets.load_state_dict(tensors)
        except RuntimeError as error:
            raise InputError(f"{path}: its weights do not fit its settings: {str(error).splitlines()[0]}") from error
        self.networks_ = nets.eval()
        return self

    def _refiners(self) -> nn.ModuleDict:
        first, second = Refiner(2 * N_TISSUES, self.channels, 3), Refiner(1 + N_TISSUES, self.channels, 2)
        nets = nn.ModuleDict({"stage1": first, "stage2": second})
        return nets.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "networks_")


def one_hot(codes: Tensor) -> Tensor:
    """Tissue codes `(n, h, w)` as `(n, n_tissues, h, w)` of zeros and ones."""
    return F.one_hot(codes.long(), N_TISSUES).movedim(-1, 1).float()


def with_way(tissues: Tensor) -> Tensor:
    """Tissues `(n, k, lines, depths)` and how much of each lies on the way from the catheter: `(n, 2k, lines, depths)`.

    What lies on the way is what throws a shadow, too far off for the refiner's few layers. An eighth of the depth and
    more counts as 1.
    """
    way = 8 * tissues.cumsum(-1) / tissues.shape[-1]
    return torch.cat([tissues, way.clamp(max=1)], 1)


def _turned(*images: Tensor, keep: int | None = None) -> list[Tensor]:
    """Aligned polar images, turned by one random angle and, half the time, mirrored; the first `keep` lines of that."""
    lines = images[0].shape[-2]
    shift, mirrored = int(torch.randint(lines, ())), bool(torch.rand(()) < 0.5)
    out = []
    for x in images:
        x = x.roll(shift, -2)[..., : keep or lines, :]
        out.append(x.flip(-2) if mirrored else x)
    return out
