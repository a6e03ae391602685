"""What all estimators share: rows and labels in, networks trained by phases, predictions out, saving and loading."""

import json
import math
import os
import time
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import DataConversionWarning
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from aaekit._files import write_atomically
from aaekit.core.loop import (
    Callback,
    LearningRateSchedule,
    Optimizer,
    Precision,
    Rows,
    Settings,
    Training,
    best_start,
    broadcast_from_rank_zero,
    derived_seed,
    rank_and_world_size,
)
from aaekit.core.phase import Phase, Step
from aaekit.errors import InputError, RangeWarning
from aaekit.estimators._hyperparameters import Positive, Share, hyperparameters, validated
from aaekit.evaluation.metrics import as_labels
from aaekit.nn import backbones, context
from aaekit.nn.encoder import Encoder

UNLABELLED = -1
N_SETTLING = 10_000  # about as many rows give batch normalisation its statistics
N_TELLING = 100  # steps, at least, after which a start tells how good it is
N_TOLD = 600  # and at most
FORMAT = 1

RatesOverTime = Annotated[
    LearningRateSchedule,
    Field(description="learning rates: constant, falling as a cosine, or divided by 10 at milestones"),
]
EmaDecay = Annotated[
    Share, Field(description="decay per step of the moving average of the weights that is used in the end; 0: none")
]


@hyperparameters
class Estimator(BaseEstimator):
    """Base of all estimators: an encoder of images or table rows, trained by phases.

    A subclass says which networks there are (`_networks`), which phases move them (`_phases`), and how to predict.
    """

    image_shape: Annotated[
        tuple[Positive, ...] | None,
        Field(description="(channels, height, width) of the images that flat rows hold; None takes the shape of X"),
    ] = None
    backbone: Annotated[
        Literal["auto", "mlp", "conv"] | nn.Module,
        Field(description="encoder: convolutional, fully connected, by the shape of the data, or any torch module"),
    ] = "auto"
    hidden: Annotated[
        Literal["auto"] | tuple[Positive, ...],
        Field(description="widths of the hidden layers of fully connected encoders and decoders; 'auto' is 1000,1000, "
              "or 256,256 for rows of up to 256 values"),
    ] = "auto"  # fmt: skip
    channels: Annotated[
        tuple[Positive, ...],
        Field(
            min_length=1, description="widths of the layers of convolutional encoders and decoders; the last repeats"
        ),
    ] = (32, 64, 64)
    batch_norm: Annotated[
        bool, Field(description="batch normalisation in a fully connected encoder (convolutional ones always have it)")
    ] = False
    dropout: Annotated[Share, Field(description="share of hidden units dropped in encoder and decoder")] = 0.0
    input_noise: Annotated[
        float,
        Field(
            ge=0,
            allow_inf_nan=False,
            description="standard deviation of the noise added to what the encoder sees while training",
        ),
    ] = 0.0
    optimizer: Annotated[Optimizer, Field(description="update rule")] = "adam"
    momentum: Annotated[Share, Field(description="momentum of SGD, or beta_1 of Adam")] = 0.5
    learning_rate_schedule: RatesOverTime = "constant"
    milestones: Annotated[
        tuple[Positive, ...], Field(description="epochs at which learning_rate_schedule='step' divides the rates by 10")
    ] = ()
    max_epochs: Annotated[
        Literal["auto"] | Positive, Field(description="passes over the rows; 'auto' goes by the system and the rows")
    ] = "auto"
    max_steps: Annotated[Positive | None, Field(description="steps to make, whatever the number of epochs")] = None
    batch_size: Annotated[
        Literal["auto"] | Annotated[int, Field(ge=2)],
        Field(description="rows in a minibatch; 'auto' is 100, or all rows if fewer"),
    ] = "auto"
    ema_decay: EmaDecay = 0.0
    early_stopping: Annotated[
        bool, Field(description="hold out validation_fraction of what is given and stop when it gets no better")
    ] = False
    validation_fraction: Annotated[
        float, Field(gt=0, lt=1, description="share of the (labelled) rows held out for early stopping")
    ] = 0.1
    patience: Annotated[Positive, Field(description="epochs without improvement before early stopping")] = 10
    precision: Annotated[
        Precision, Field(description="arithmetic: 'auto' takes bfloat16 where the machine has it in hardware")
    ] = "auto"
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], Field(description="where to train")] = "auto"
    random_state: Annotated[
        Annotated[int, Field(ge=0, le=2**32 - 1)] | None | np.random.RandomState,
        Field(description="seed of everything random; None draws a new one"),
    ] = None
    verbose: Annotated[int, Field(ge=0, description="1 shows a progress bar with the losses and the time left")] = 0

    # --- what a subclass says --------------------------------------------------------------------------------------
    @abstractmethod
    def _networks(self) -> dict[str, nn.Module]:
        """The networks by name; one named "encoder"."""

    @abstractmethod
    def _phases(self, nets: nn.ModuleDict) -> list[Phase]:
        """The phases over these networks, the main one first."""

    @abstractmethod
    def _auto_steps(self, n_rows: int) -> int:
        """How many steps are enough by default."""

    @abstractmethod
    def _sources(self, X: Tensor, y: np.ndarray | None) -> dict[str, list[Tensor]]:
        """Aligned arrays of training rows by name, the first of which counts the epochs."""

    def _preparation(self, n_rows: int, y: np.ndarray | None) -> str | None:
        """What `_sources` takes long for, if anything."""
        return None

    def _n_starts(self, n_rows: int) -> int:
        """How often to begin: the start with the least `_doubt` after a third of the steps, or `N_TOLD`, goes on."""
        return 1

    def _doubt(self, nets: nn.ModuleDict, X: Tensor, y: np.ndarray | None) -> float:
        """How unsure the networks are of the rows they are trained on."""
        raise NotImplementedError

    @abstractmethod
    def _make_step(self, nets: nn.ModuleDict, batch: dict[str, list[Tensor]], together: bool) -> Step:
        """The step of a batch of `_sources`."""

    @abstractmethod
    def _score(self, nets: nn.ModuleDict, X: Tensor, y: np.ndarray | None) -> dict[str, float]:
        """How good the networks are on rows; "score" is what early stopping minimises."""

    @abstractmethod
    def _codes_of(self, y: Any) -> np.ndarray | None:
        """Labels as `_score` takes them."""

    # --- fitting ---------------------------------------------------------------------------------------------------
    def start_from(self, other: "Estimator") -> Self:
        """Let the next fit, and only that, begin with another's networks, where their names and shapes agree.

        Parameters
        ----------
        other : Estimator
            Fitted; it may be of another class, for instance clusters that a classifier is to start from.

        Raises
        ------
        NotFittedError
            When the other is not fitted.
        """
        check_is_fitted(other)
        tensors = other.networks_.state_dict().items()  # but how frequent classes should be is for fit to say
        self._start = {k: v.clone() for k, v in tensors if not k.startswith("class_frequencies.")}
        return self

    def _fit(
        self,
        rows: np.ndarray,
        y: np.ndarray | None,
        callbacks: Sequence[Callback],
        eval_set: tuple[Any, Any] | None,
    ) -> Self:
        """Train on validated rows `(n, *shape)`, or flat ones that `shape_` describes, and labels -1, 0, 1, ..."""
        if len(rows) < 2:
            raise InputError(f"expected at least 2 rows to train on, got n_samples = {len(rows)}")
        self.seed_ = drawn_seed(self.random_state)
        X, y, sets = self._apart(torch.from_numpy(rows), y, eval_set)
        if self.verbose:
            from aaekit.core.progress import Progress

            callbacks = [*callbacks, Progress()]

        def announce(what: str) -> None:
            for callback in callbacks if rank_and_world_size()[0] == 0 else ():
                callback.prepare(what)

        def evaluate(nets: nn.ModuleDict) -> dict[str, float]:
            self._recalibrate_batch_norm(nets, X)
            return {f"{name}/{k}": v for name, s in sets.items() for k, v in self._score(nets, *s).items()}

        if what := self._preparation(len(X), y):
            announce(what)
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(self.seed_)
            arrays = self._sources(X, y)  # first, for networks hold what it sees of class frequencies
            start = self.__dict__.pop("_start", {})

            def begin(k: int) -> Training:
                return self._beginning(k, arrays, start, evaluate if sets else None, len(X))

            training = begin(0)
            if not (start or any(callback.restores() for callback in callbacks)):
                training = self._best_start(begin, training, X, y, announce)
            training.run(callbacks)
            if not sets:  # else it is as it was scored last
                self._recalibrate_batch_norm(training.averaged, X)
        self.networks_ = training.averaged.cpu().eval()
        self.history_ = training.history
        self.n_steps_ = training.n_done
        self.training_seconds_ = training.seconds
        return self

    def _apart(
        self, X: Tensor, y: np.ndarray | None, eval_set: tuple[Any, Any] | None
    ) -> tuple[Tensor, np.ndarray | None, dict[str, tuple[Tensor, np.ndarray | None]]]:
        """Rows and labels to train on, and those to score each epoch, by what they are called."""
        sets = {}
        if eval_set is not None:
            X_e, y_e = eval_set
            check_consistent_length(X_e, y_e)
            sets["eval"] = torch.from_numpy(self._as_in_fit(X_e)), None if y_e is None else self._codes_of(y_e)
        if not self.early_stopping:
            return X, y, sets
        kept, held_out = self._held_out(y, len(X))
        sets = {"validation": (X[held_out], None if y is None else y[held_out])} | sets
        return X[kept], None if y is None else y[kept], sets

    def _beginning(
        self,
        k: int,
        arrays: Mapping[str, list[Tensor]],
        start: Mapping[str, Tensor],
        evaluate: Callable[[nn.ModuleDict], dict[str, float]] | None,
        n_rows: int,
    ) -> Training:
        """The `k`-th start of a training, from other weights and minibatches each; those in `start` are given."""
        torch.manual_seed(derived_seed(self.seed_, k) if k else self.seed_)
        nets = nn.ModuleDict(self._networks())
        own = nets.state_dict()
        agreeing = {name: v for name, v in start.items() if name in own and own[name].shape == v.shape}
        nets.load_state_dict(agreeing, strict=False)
        sources = {
            name: Rows(aligned, self._batch_size(name, len(aligned[0])), self.seed_ + i)
            for i, (name, aligned) in enumerate(arrays.items())
        }
        return Training(
            nets,
            self._phases(nets),
            sources,
            lambda batch, together: self._make_step(nets, batch, together),
            self._settings(next(iter(sources.values())).steps_per_epoch, n_rows),
            evaluate,
        )

    def _best_start(
        self,
        begin: Callable[[int], Training],
        first: Training,
        X: Tensor,
        y: np.ndarray | None,
        announce: Callable[[str], None],
    ) -> Training:
        """The start that goes on, of `first` and as many more as the labels call for."""
        n_starts, n_steps = self._n_starts(len(X)), min(first.settings.n_steps // 3, N_TOLD)
        if n_starts == 1 or n_steps < N_TELLING:
            return first

        def starts() -> Iterator[Training]:
            began, in_all = time.monotonic(), first.settings.n_steps + (n_starts - 1) * n_steps
            for k in range(n_starts):
                left = f", {(time.monotonic() - began) * (in_all / (k * n_steps) - 1):.0f} s left" if k else ""
                announce(f"start {k + 1} of {n_starts}, {n_steps} steps; the best of them will go on{left}")
                yield begin(k) if k else first

        return best_start(starts(), n_steps, lambda nets: self._doubt(nets, X, y))

    def _settings(self, steps_per_epoch: int, n_rows: int) -> Settings:
        if self.max_steps is not None:
            n_steps = self.max_steps
        elif self.max_epochs == "auto":
            n_steps = self._auto_steps(n_rows)
        else:
            n_steps = self.max_epochs * steps_per_epoch
        return Settings(
            n_steps=n_steps,
            schedule=getattr(self, "schedule", "joint"),
            optimizer=self.optimizer,
            learning_rate_schedule=self.learning_rate_schedule,
            warmup_steps=min(200, n_steps // 10) if self.learning_rate_schedule == "cosine" else 0,
            milestones=tuple(m * steps_per_epoch for m in self.milestones),
            ema_decay=self.ema_decay,
            patience=self.patience if self.early_stopping else 0,
            precision=self.precision,
            device=self.device,
            random_state=self.seed_,
        )

    def _batch_size(self, name: str, n: int) -> int:
        """Rows of a source in one minibatch."""
        if self.batch_size == "auto":
            return min(100, n)
        if self.batch_size > n:
            raise InputError(
                f"batch_size={self.batch_size} is larger than the {n} rows to train on: choose at most {n}"
            )
        return self.batch_size

    def _held_out(self, y: np.ndarray | None, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the rows to train on and of those held out: labelled ones, each class in proportion."""
        random = np.random.default_rng(self.seed_)
        groups = [np.arange(n)] if y is None else [np.flatnonzero(y == k) for k in range(y.max() + 1)]
        out = [random.permutation(g)[: max(1, round(len(g) * self.validation_fraction))] for g in groups]
        if any(len(o) == len(g) for o, g in zip(out, groups, strict=True)):
            raise InputError("early_stopping=True needs at least two rows of each class: give more, or turn it off")
        held_out = np.concatenate(out)
        return np.setdiff1d(np.arange(n), held_out), held_out

    def _check(self) -> None:
        """Every parameter against its declaration, all errors at once."""
        given = self.get_params(deep=False)
        values = validated(type(self), given)
        for name, value in given.items():
            taken = values[name]
            if (isinstance(value, str) and taken != value) or (isinstance(value, float) and isinstance(taken, int)):
                raise InputError(f"{name}={value!r}: expected a {type(taken).__name__}, for instance {taken!r}")
        if values["image_shape"] is not None and len(values["image_shape"]) != 3:
            raise InputError(f"image_shape={self.image_shape!r}: expected three numbers (channels, height, width)")

    # --- rows ------------------------------------------------------------------------------------------------------
    def _learn_rows(self, X: Any, y: Any = None) -> np.ndarray:
        """Validate the rows to fit and learn their shape and range; `(n, n_features)`, contiguous."""
        self._check()
        shape = _shape(X)[1:] if len(_shape(X)) == 4 else None
        self.as_images_ = shape is not None
        if shape and shape[0] > 4 and shape[2] in (1, 3, 4):
            raise InputError(
                f"expected images (n, channels, height, width), got {_shape(X)}, which looks like channels last: "
                "transpose it by (0, 3, 1, 2)"
            )
        X = self._flat(X, reset=True)
        shape = shape or self.image_shape or X.shape[1:]
        if math.prod(shape) != X.shape[1]:
            raise InputError(f"image_shape={tuple(shape)} holds {math.prod(shape)} values, but rows have {X.shape[1]}")
        self.shape_ = tuple(int(s) for s in shape)
        if X.dtype == np.uint8 and len(self.shape_) == 1 and X.max() < 128:
            X = X.astype(np.float32)  # a table of small whole numbers, not of pixels
        backbones.backbone_name("auto" if isinstance(self.backbone, nn.Module) else self.backbone, self.shape_)
        self.unit_range_ = bool(X.dtype == np.uint8 or (X.min() >= 0 and X.max() <= 1))
        if self.unit_range_:
            self.center_, self.scale_ = np.float32(0), np.float32(255 if X.dtype == np.uint8 and X.max() > 1 else 1)
        else:
            self.center_ = X.mean(0, dtype=np.float64)
            scale = X.std(0, dtype=np.float64).astype(np.float32)
            rounding = 1e-6 if X.dtype == np.float32 else 1e-12  # a column that is constant but for it stays so
            self.scale_ = np.where(scale > rounding * np.abs(self.center_).clip(1e-30), scale, np.float32(1))
            self.center_ = self.center_.astype(X.dtype)
        rows = self._scaled(X)
        some = self._floats(torch.from_numpy(rows[:: max(1, len(rows) // 5000)])).flatten(1)
        self.data_radius_ = float((some - some.mean(0)).square().sum(1).mean().sqrt()) or 1.0
        return rows

    def _rows(self, X: Any) -> np.ndarray:
        """Validated, scaled rows `(n, *shape)` for the fitted networks."""
        check_is_fitted(self)
        return self._as_in_fit(X)

    def _as_in_fit(self, X: Any) -> np.ndarray:
        """Rows like those whose shape and range were learned."""
        if len(_shape(X)) == 4 and _shape(X)[1:] != self.shape_:
            raise InputError(f"expected images of shape {self.shape_} as in fit, got {_shape(X)[1:]}")
        rows = self._scaled(self._flat(X, reset=False))
        low, high = (-0.5, 1.5) if self.unit_range_ else (-10, 10)
        far = 0 if rows.dtype == np.uint8 or not rows.size else 1 - np.mean((rows > low) & (rows < high))
        if far > 0.01:  # beyond ten standard deviations lies at most a hundredth of whatever was trained on
            warnings.warn(
                f"{far:.0%} of the values are far from those trained on ("
                + (f"0 to {self.scale_:g}" if self.unit_range_ else "by more than ten standard deviations")
                + "): are the rows in the same units?",
                RangeWarning,
                stacklevel=2,
            )
        return rows

    def _flat(self, X: Any, reset: bool) -> np.ndarray:
        shape = _shape(X)
        if len(shape) == 4:
            X = np.asarray(X).reshape(shape[0], math.prod(shape[1:]))
        elif len(shape) == 3:
            raise InputError(
                f"expected X of shape (n, n_features) or (n, channels, height, width), got {shape}: "
                "for grey images add the channel, X[:, None]"
            )
        return validate_data(self, X, reset=reset, dtype=[np.float64, np.float32, np.uint8])  # pyright: ignore

    def _scaled(self, X: np.ndarray) -> np.ndarray:
        """Rows as the networks take them, but bytes stay bytes until they are in a minibatch.

        Where bytes were fitted, floats up to 1 are what `sample` and `reconstruct` give, larger ones are bytes as
        floats. Where 0 to 1 was fitted, bytes above 1 are those of images.
        """
        if not self.unit_range_:
            X = ((X - self.center_) / self.scale_).astype(np.float32)
        elif X.dtype != np.uint8:
            if self.scale_ == 255 and X.size and X.max() > 1:
                X = X / np.float32(255)  # bytes were fitted; the same values may come as floats
            X = X.astype(np.float32, copy=False)
        elif self.scale_ == 1 and (not X.size or X.max() <= 1):
            X = X.astype(np.float32)  # 0 and 1 are these numbers, in bytes too
        return np.ascontiguousarray(X).reshape(len(X), *self.shape_)

    @staticmethod
    def _floats(rows: Tensor) -> Tensor:
        """A minibatch in float32; bytes become the interval [0, 1]."""
        return rows.float().div_(255) if rows.dtype == torch.uint8 else rows.float()

    def _unscaled(self, rows: np.ndarray) -> np.ndarray:
        """Rows of the networks in the units of X; images that were bytes come as floats in [0, 1]."""
        return rows if self.unit_range_ else rows * self.scale_.reshape(self.shape_) + self.center_.reshape(self.shape_)

    def _in_batches(
        self, function: Callable[[Tensor], Tensor], rows: np.ndarray | Tensor, size: int = 1000
    ) -> np.ndarray:
        """`function` of minibatches of rows, which gives something of each row, without gradients, stacked."""
        X = torch.as_tensor(rows)
        found = np.empty(0, np.float32)
        with torch.inference_mode():
            for i in range(0, max(1, len(X)), size):
                some = self._floats(X[i : i + size])
                part = function(some).float().cpu().numpy()
                assert len(part) == len(some), (part.shape, len(some))
                if i == 0:  # in one piece: small arrays between freed large ones keep these from being used again
                    found = np.empty((len(X), *part.shape[1:]), np.float32)
                found[i : i + size] = part
        return found

    # --- networks --------------------------------------------------------------------------------------------------
    def _encoder(self, latent_dim: int, n_classes: int, posterior: Any = "deterministic") -> Encoder:
        backbone, n_features = backbones.encoder_backbone(
            self.backbone,
            self.shape_,
            hidden=self.hidden,
            channels=self.channels,
            dropout=self.dropout,
            batch_norm=self.batch_norm,
        )
        return Encoder(backbone, n_features, latent_dim, n_classes, posterior)

    def _recalibrate_batch_norm(self, nets: nn.ModuleDict, X: Tensor) -> None:
        """Let the encoder normalise by clean rows: evenly chosen ones of those it is trained on."""
        X = X[:: max(1, len(X) // N_SETTLING)]
        device = next(nets.parameters()).device
        parts = X.tensor_split(max(1, len(X) // 500))
        context.update_batch_norm_statistics(nets["encoder"], (self._floats(x.to(device)) for x in parts))

    def _corrupt(self, x: Tensor) -> Tensor:
        return x + self.input_noise * torch.randn_like(x) if self.input_noise else x

    # --- saving ----------------------------------------------------------------------------------------------------
    _facts: ClassVar[tuple[str, ...]] = (
        "shape_",
        "as_images_",
        "data_radius_",
        "unit_range_",
        "n_features_in_",
        "seed_",
        "history_",
        "n_steps_",
        "training_seconds_",
    )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted estimator into one safetensors file, settings and facts as JSON in its header.

        A parameter that was given as an object, for instance a backbone, is only named: give it again to `load`.

        Raises
        ------
        InputError
            When the file cannot be written.
        """
        check_is_fitted(self)
        tensors = {k: v.contiguous() for k, v in self.networks_.state_dict().items()}
        for name in ("center_", "scale_", "labels_"):
            if hasattr(self, name):
                tensors[f"rows/{name}"] = torch.from_numpy(np.atleast_1d(np.asarray(getattr(self, name))))
        facts = {k: getattr(self, k) for k in self._facts}
        facts["feature_names_in_"] = list(map(str, getattr(self, "feature_names_in_", []))) or None
        facts |= self._more_facts()
        header = {"format": FORMAT, **self._described(), "facts": facts}
        write_atomically(path, lambda p: save_file(tensors, p, {"aaekit": json.dumps(header)}))

    @classmethod
    def load(cls, path: str | os.PathLike[str], **given: Any) -> Self:
        """Read what `save` wrote; `given` supplies parameters that were objects, for instance a backbone.

        Raises
        ------
        InputError
            When the file is not there, is damaged, or is of another estimator.
        """
        header, tensors = read_model(path)
        self = cls._from_description({**header, "parameters": {**header["parameters"], **given}}, str(path))
        facts = dict(header["facts"])
        names = facts.pop("feature_names_in_")
        if names:
            setattr(self, "feature_names_in_", np.array(names, dtype=object))  # noqa: B010 (scikit-learn declares it)
        facts["shape_"] = tuple(facts["shape_"])
        for name, value in facts.items():
            setattr(self, name, value)
        for name in ("center_", "scale_"):
            value = tensors.pop(f"rows/{name}").numpy()
            setattr(self, name, value[0] if self.unit_range_ else value)
        if "rows/labels_" in tensors:
            setattr(self, "labels_", tensors.pop("rows/labels_").numpy())  # noqa: B010 (clusters declare it)
        self._restore_facts()
        with torch.random.fork_rng([]):
            nets = nn.ModuleDict(self._networks())
        try:
            nets.load_state_dict(tensors)
        except RuntimeError as error:
            raise InputError(f"{path}: its weights do not fit its settings: {str(error).splitlines()[0]}") from error
        self.networks_ = nets.eval()
        return self

    def _described(self) -> dict[str, Any]:
        """The class and the parameters as JSON holds them."""
        parameters: dict[str, Any] = {}
        for name, value in self.get_params(deep=False).items():
            plain = value._described() if isinstance(value, Estimator) else json_value(value)
            parameters[name] = {"object": repr(value)[:80]} if plain is NotImplemented else plain
        return {"estimator": type(self).__name__, "parameters": parameters}

    @classmethod
    def _from_description(cls, description: dict[str, Any], path: str) -> Self:
        """An estimator, not fitted, as `_described` gave it."""
        kinds = {c.__name__: c for c in _subclasses(cls)}
        if description["estimator"] not in kinds:
            raise InputError(f"{path}: expected a saved {cls.__name__}, got a {description['estimator']}")
        parameters = dict(description["parameters"])
        for name, value in parameters.items():
            if isinstance(value, dict) and "object" in value:
                raise InputError(
                    f"{path}: {name} was the object {value['object']}: give it again, load(..., {name}=...)"
                )
            if isinstance(value, dict) and "estimator" in value:
                held = [k for k, v in value["parameters"].items() if isinstance(v, dict) and "object" in v]
                if held:
                    again = ", ".join(f"{k}=..." for k in held)
                    raise InputError(
                        f"{path}: {name} was given objects ({', '.join(held)}): load(..., {name}=None, {again})"
                    )
                parameters[name] = Estimator._from_description(value, path)
            if isinstance(value, list):
                parameters[name] = tuple(value)
        kind = kinds[description["estimator"]]
        validated(kind, parameters, path)
        return kind(**parameters)

    def _more_facts(self) -> dict[str, Any]:
        """What else to save, as JSON."""
        return {}

    def _restore_facts(self) -> None:
        """Put what was read from JSON into the types that fit gave it."""

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "networks_")


class Labelled(Estimator):
    """What estimators share that learn of labels: those of any kind, of which -1, None and NaN say "unlabelled"."""

    def _learn_labels(self, y: Any) -> np.ndarray:
        """Labels as 0, 1, ... and -1; learns the classes and how often each is labelled."""
        y, labelled = _labelled(y)
        check_classification_targets(y[labelled])
        classes, codes = np.unique(y[labelled], return_inverse=True)
        if len(classes) < 2:
            raise InputError(
                f"expected labelled rows of at least 2 classes, got {len(classes)} class(es) in "
                f"{labelled.sum()} labelled of {len(y)} rows: label some of each class (-1 or None means unlabelled)"
            )
        self.classes_ = classes
        result = np.full(len(y), UNLABELLED, dtype=np.int64)
        result[labelled] = codes
        self.class_counts_: list[int] = np.bincount(codes).tolist()
        self.__dict__.pop("class_frequencies_", None)  # of an earlier fit
        self.n_unlabelled_ = int((~labelled).sum())
        return result

    def _codes_of(self, y: Any) -> np.ndarray:
        """Labels as numbers, in the order of the fitted classes."""
        return numbers(y, self.classes_)

    def _probabilities(self, nets: nn.ModuleDict, rows: np.ndarray | Tensor) -> np.ndarray:
        """q(y|x) of scaled rows."""
        device = next(nets.parameters()).device
        return self._in_batches(lambda x: nets["encoder"](x.to(device)).y, rows)

    def _more_facts(self) -> dict[str, Any]:
        known = getattr(self, "classes_", None)  # without any label there are no classes
        if known is None:
            return {}
        facts = {"classes_": known.tolist(), "classes_dtype": str(known.dtype)}
        return facts | {k: getattr(self, k) for k in ("class_counts_", "class_frequencies_") if hasattr(self, k)}

    def _restore_facts(self) -> None:
        if hasattr(self, "classes_"):
            self.classes_ = np.array(self.classes_, dtype=self.__dict__.pop("classes_dtype"))


class Classifier(ClassifierMixin, Labelled):
    """What classifiers share: each row has one class, of which some rows' are known."""

    def _learn_rows_and_labels(self, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """Validated rows and labels of the same length; learns the classes."""
        if y is None:
            raise InputError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        rows = self._learn_rows(X)
        codes = self._learn_labels(y)
        check_consistent_length(rows, codes)
        return rows, codes

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of rows that are predicted right, of those that have a label.

        Raises
        ------
        InputError
            When no row has one.
        """
        y, labelled = _labelled(y)
        check_consistent_length(X, y, sample_weight)
        if not labelled.any():
            raise InputError(f"expected labels to score by, got none (-1) in all {len(y)} rows")
        weight = None if sample_weight is None else np.asarray(sample_weight)[labelled]
        return float(np.average(self.predict(X)[labelled] == y[labelled], weights=weight))

    def _score(self, nets: nn.ModuleDict, X: Tensor, y: np.ndarray | None) -> dict[str, float]:
        known = np.zeros(len(X), bool) if y is None else y != UNLABELLED
        if y is None or not known.any():
            return {}
        p, y = self._probabilities(nets, X)[known], y[known]
        entropy = -np.log(np.clip(p[np.arange(len(y)), y], 1e-12, 1)).mean()
        return {"error": 100 * float((p.argmax(1) != y).mean()), "score": float(entropy)}

    def predict_proba(self, X: Any) -> np.ndarray:
        """q(y|x) for each row, shape `(n, n_classes)`, in the order of `classes_`."""
        rows = self._rows(X)
        return self._probabilities(self.networks_, rows)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row, shape `(n,)`."""
        rows = self._rows(X)
        return self.classes_[self._probabilities(self.networks_, rows).argmax(1)]


def numbers(y: Any, classes: np.ndarray) -> np.ndarray:
    """Labels as their places among the sorted `classes`, -1 where there is none."""
    y, labelled = _labelled(y)
    unknown = np.setdiff1d(y[labelled], classes)
    if len(unknown):
        raise InputError(f"labels {unknown[:5].tolist()} were not seen in fit: expected {classes.tolist()}")
    codes = np.full(len(y), UNLABELLED, dtype=np.int64)
    codes[labelled] = np.searchsorted(classes, y[labelled])
    return codes


def _shape(X: Any) -> tuple[int, ...]:
    """The shape of anything like an array; () where there is none."""
    if not hasattr(X, "shape"):
        try:
            X = np.asarray(X)
        except ValueError:
            return ()
    return tuple(X.shape)


def _missing(value: Any) -> bool:
    """Whether a label among objects says "unlabelled": -1, None, NaN, or the NA of pandas, which equals nothing."""
    try:
        return value is None or bool(value != value) or (not isinstance(value, str) and bool(value == UNLABELLED))
    except (TypeError, ValueError):
        return True


def _labelled(y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Labels and which of them are labels: not -1, None or (among objects) NaN."""
    y = as_labels(y)
    if y.ndim == 2 and y.shape[1] == 1:
        warnings.warn("A column-vector y was passed when a 1d array was expected.", DataConversionWarning, stacklevel=2)
        y = y[:, 0]
    if y.ndim != 1:
        raise InputError(f"expected labels of shape (n,), got {y.shape}")
    if y.dtype == object:
        labelled = np.array([not _missing(v) for v in y])
        kept = y[labelled].tolist()
        if all(isinstance(v, (int, np.integer)) for v in kept) and kept:
            y = np.array([v if ok else UNLABELLED for v, ok in zip(y, labelled, strict=True)], dtype=np.int64)
        return y, labelled.astype(bool)
    if y.dtype.kind in "fc" and not np.isfinite(y).all():
        raise InputError(
            f"Input y contains NaN or infinity (in {int((~np.isfinite(y)).sum())} of {len(y)} rows): "
            "expected labels, -1 for unlabelled"
        )
    if y.dtype.kind == "U" and (y == "-1").any() and not np.char.isdecimal(np.char.lstrip(y, "-")).all():
        raise InputError(
            "labels: '-1' in an array of texts is a text, and does not say \"unlabelled\": "
            "give a list, or an array of objects"
        )
    return y, (y != UNLABELLED) if y.dtype.kind in "iuf" else np.ones(len(y), bool)


def json_value(value: Any) -> Any:
    """A parameter as JSON holds it, or NotImplemented for objects."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list)):
        items = [json_value(v) for v in value]
        return NotImplemented if NotImplemented in items else items
    return NotImplemented


def drawn_seed(random_state: Any) -> int:
    """The seed of everything random in a fit; processes that train together have the same."""
    seed = torch.tensor(check_random_state(random_state).randint(2**31 - 1))
    broadcast_from_rank_zero([seed])
    return int(seed)


def read_model(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of a saved estimator."""
    from safetensors import safe_open

    if not Path(path).is_file():
        found = "it is a directory" if Path(path).is_dir() else "there is no such file"
        raise InputError(f"{path}: {found}; expected a model that `save` wrote")
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {})["aaekit"])
        missing = [k for k in ("estimator", "parameters", "facts") if k not in header]
        if missing:
            raise ValueError(f"its header has no {', '.join(missing)}")
        if header.get("format", FORMAT) != FORMAT:
            raise InputError(
                f"{path}: expected a model of format {FORMAT}, found {header['format']}: it was saved by another "
                "version of aaekit; load it with that"
            )
        return header, load_file(path)
    except OSError as error:
        raise InputError(f"{path}: cannot read ({error.strerror or error}); check its permissions") from error
    except (SafetensorError, KeyError, ValueError) as error:
        raise InputError(f"{path} is not a model that aaekit saved, or it is damaged: {error}") from error


def _subclasses(cls: type) -> list[type]:
    return [cls, *(s for c in cls.__subclasses__() for s in _subclasses(c))]
