"""What all estimators share: rows and labels in, networks trained by phases, and files."""

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, Self, TypeVar, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from aaekit import augment
from aaekit.core.batches import Minibatches, derived_seed
from aaekit.core.callbacks import Callback, Progress
from aaekit.core.distributed import broadcast_from_rank_zero, rank_and_world_size
from aaekit.core.loop import Training
from aaekit.core.phase import Phase
from aaekit.core.settings import Precision, Settings
from aaekit.errors import InputError, nearest
from aaekit.estimators._hyperparameters import Positive, Rate, Share, hyperparameters, validated
from aaekit.estimators._io import (
    decoded,
    described,
    encoded,
    from_description,
    read_model,
    write_model,
)
from aaekit.estimators._plan import DataSummary, Plan
from aaekit.estimators._rows import RowScaler, as_float
from aaekit.nn import backbones
from aaekit.nn.context import update_batch_norm_statistics
from aaekit.nn.encoder import Encoder, Posterior
from aaekit.nn.networks import Networks
from aaekit.nn.step import EncoderStep

__all__ = ["Estimator", "RandomState", "Sources"]

RandomState = int | np.random.RandomState | None
Sources = dict[str, dict[str, Tensor]]  # by view: "rows" and, where there are any, "labels" and "soft_labels"
N = TypeVar("N", bound=Networks)

N_FOR_STATISTICS = 10_000  # about as many rows give batch normalisation its statistics
MIN_TRIAL, MAX_TRIAL = 100, 600  # steps after which an initialisation is judged, at least and at most
VALIDATION_FRACTION = 0.1  # of the (labelled) rows, held out for early stopping
PATIENCE = 10  # epochs without improvement until early stopping
MOMENTUM = {"adam": 0.5, "sgd": 0.9}

BatchNorm = Annotated[
    bool,
    "Networks",
    Field(description="batch normalisation in a fully connected encoder (convolutional ones always have it)"),
]
Augmentation = Annotated[
    Literal["auto", "affine", "noise", "none"] | Callable[[Tensor], Tensor],
    "Losses",
    Field(
        description="what does not change the class of a row: small warps (images; without bending in ClusteringAAE), "
        "feature noise (tables), none, or a callable on batches; 'auto' goes by the shape of the rows"
    ),
]


@hyperparameters
class Estimator(BaseEstimator, Generic[N]):
    """Base of all estimators: an encoder of images or table rows, trained by phases.

    A variant says what it does in three public methods: `plan`, `networks` and `phases`.
    """

    image_shape: Annotated[
        tuple[Positive, ...] | None,
        "Data",
        Field(description="(channels, height, width) of the images in flat rows; None takes the shape of X"),
    ] = None
    backbone: Annotated[
        Literal["auto", "mlp", "conv"] | nn.Module | tuple[nn.Module, nn.Module],
        "Networks",
        Field(
            description="encoder and decoder: fully connected, convolutional, or by the shape of the rows; or a torch "
            "module as the encoder, or a pair of modules, the second from codes (n, n_code) to rows"
        ),
    ] = "auto"
    hidden: Annotated[
        Literal["auto"] | tuple[Positive, ...],
        "Networks",
        Field(
            description="widths of the hidden layers of fully connected encoders and decoders; 'auto' is 1000,1000, or "
            "256,256 for rows of up to 256 values"
        ),
    ] = "auto"
    channels: Annotated[
        tuple[Positive, ...],
        "Networks",
        Field(
            min_length=1, description="channels of the layers of convolutional encoders and decoders; the last repeats"
        ),
    ] = (32, 64, 64)
    batch_norm: BatchNorm = False
    dropout: Annotated[Share, "Networks", Field(description="share of hidden units dropped in encoder and decoder")] = (
        0.0
    )
    input_noise: Annotated[
        float,
        "Losses",
        Field(
            ge=0,
            allow_inf_nan=False,
            description="standard deviation of the noise added to the encoder's input during training",
        ),
    ] = 0.0
    learning_rate: Annotated[Rate, "Training", Field(description="learning rate of encoder and decoder")] = 1e-3
    learning_rates: Annotated[
        Mapping[str, Rate] | None,
        "Training",
        Field(
            description="learning rates of single phases in place of the other two, by the name of the phase or the "
            "last part of it, such as generator=5e-5; under the joint schedule they act as weights of the losses"
        ),
    ] = None
    learning_rate_schedule: Annotated[
        Literal["constant", "cosine"] | tuple[Positive, ...],
        "Training",
        Field(description="constant, falling as a cosine after a warm-up, or divided by 10 at the given epochs"),
    ] = "constant"
    optimizer: Annotated[
        Literal["adam", "sgd"] | tuple[Literal["adam", "sgd"], Share],
        "Training",
        Field(
            description="update rule, or the rule and its momentum (beta_1 of Adam); 'adam' is adam,0.5 and 'sgd' is "
            "sgd,0.9"
        ),
    ] = "adam"
    max_epochs: Annotated[
        Literal["auto"] | Positive,
        "Training",
        Field(description="passes over the rows; 'auto' depends on the system and the number of rows"),
    ] = "auto"
    max_steps: Annotated[Positive | None, "Training", Field(description="number of steps, in place of max_epochs")] = (
        None
    )
    batch_size: Annotated[
        Literal["auto"] | Annotated[int, Field(ge=2)] | tuple[Annotated[int, Field(ge=2)], Annotated[int, Field(ge=2)]],
        "Training",
        Field(
            description="rows in a minibatch; of two numbers the second is for labelled rows, where these have "
            "minibatches of their own; 'auto' is 100, of labelled rows 50 or, if each image has a label, 150; or all "
            "rows if fewer"
        ),
    ] = "auto"
    ema_decay: Annotated[
        Share,
        "Training",
        Field(description="decay per step of the moving average of the weights, which is used in the end; 0: none"),
    ] = 0.0
    early_stopping: Annotated[
        bool | Positive,
        "Training",
        Field(
            description="hold out a tenth of the (labelled) rows and stop after so many epochs without improvement on "
            "them; true is 10 epochs"
        ),
    ] = False
    warm_start_from: Annotated[
        str | BaseEstimator | None,
        "Training",
        Field(
            description="a fitted estimator, of any class, or a saved model, whose weights training starts from where "
            "names and shapes agree"
        ),
    ] = None
    precision: Annotated[
        Precision, "Machine", Field(description="arithmetic; 'auto' is bfloat16 where the machine has it in hardware")
    ] = "auto"
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], "Machine", Field(description="where to train")] = "auto"
    random_state: Annotated[
        Annotated[int, Field(ge=0, le=2**32 - 1)] | None | np.random.RandomState,
        "Machine",
        Field(description="seed of everything random; None draws a new one"),
    ] = None
    verbose: Annotated[
        int, "Machine", Field(ge=0, description="1 shows a progress bar with the losses and the time left")
    ] = 0

    # --- what a variant says -----------------------------------------------------------------------------------------
    def plan(self, data: DataSummary) -> Plan:
        """What every "auto" stands for on such data."""
        raise NotImplementedError

    def networks(self, plan: Plan) -> N:
        """New networks."""
        raise NotImplementedError

    def phases(self, nets: N, plan: Plan) -> list[Phase[EncoderStep]]:
        """The losses and the networks that each of them moves, the main one first."""
        raise NotImplementedError

    def _learn(self, X: ArrayLike, y: ArrayLike | None) -> tuple[NDArray[Any], NDArray[np.int64] | None]:
        """Valid, scaled rows and labels 0, 1, ... or -1 to train on; learns scaling and classes."""
        raise NotImplementedError

    def _sources(self, X: Tensor, y: NDArray[np.int64] | None, plan: Plan) -> tuple[Sources, Plan]:
        """Rows and what belongs to them, by view; and the plan, if they say more about it."""
        return {"unlabelled": {"rows": X}}, plan

    def _score(self, nets: N, X: Tensor, y: NDArray[np.int64] | None) -> dict[str, float]:
        """How good the networks are on rows, by name; "score" is what early stopping minimises."""
        raise NotImplementedError

    def _doubt(self, nets: N, X: Tensor, y: NDArray[np.int64] | None) -> float:
        """How uncertain the networks are of the rows that they are trained on, to choose an initialisation."""
        raise NotImplementedError

    def _label_indices(self, y: ArrayLike) -> NDArray[np.int64] | None:
        """Labels as `_score` takes them."""
        return None

    def _finish(self, rows: NDArray[Any], y: NDArray[np.int64] | None) -> None:
        """What is learned from the rows after training."""

    # --- fitting -----------------------------------------------------------------------------------------------------
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        callbacks: Sequence[Callback] = (),
        eval_set: tuple[ArrayLike, ArrayLike | None] | None = None,
    ) -> Self:
        """Train on rows, and on labels where the estimator learns from them.

        Parameters
        ----------
        X : array-like of shape (n, n_features) or (n, channels, height, width)
            Numbers of any range (they are standardised), in [0, 1], or bytes: pixels, but numbers in a table whose
            values are all below 128.
        y : array-like of shape (n,), optional
            Labels of any kind; -1, None or NaN in unlabelled rows. For `SupervisedAAE` also of shape (n,
            n_conditions). Ignored by estimators that learn without labels.
        callbacks : sequence of Callback
            Called at each step and epoch, for instance a run directory.
        eval_set : (X, y), optional
            Rows and labels that are scored each epoch, for `history_`. They are never used for training, model
            selection or early stopping.

        Returns
        -------
        self

        Raises
        ------
        InputError (a ValueError)
            For parameters, rows or labels that are not as declared, or too few of them.
        TrainingError
            When a loss is no longer finite.
        """
        self._check_and_reset()
        rows, labels = self._learn(X, y)
        if len(rows) < 2:
            raise InputError(f"expected at least 2 rows to train on, got n_samples = {len(rows)}")
        callbacks = [*callbacks, Progress()] if self.verbose else list(callbacks)
        self.seed_ = drawn_seed(self.random_state)
        X_train, y_train, sets = self._split(torch.from_numpy(rows), labels, eval_set)

        def evaluate(nets: Any) -> dict[str, float]:
            self._recalibrate_batch_norm(nets, X_train)
            return {f"{name}/{k}": v for name, s in sets.items() for k, v in self._score(nets, *s).items()}

        def announce(what: str) -> None:
            for callback in callbacks if rank_and_world_size()[0] == 0 else ():
                callback.prepare(what)

        plan = self.plan(self._summary(len(X_train)))
        if plan.propagates_labels and len(X_train) >= 10_000 and plan.data.n_unlabelled:
            announce("finding nearest neighbours, to which labels are propagated")
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(self.seed_)
            sources, plan = self._sources(X_train, y_train, plan)
            initial = self._initial_weights()

            def begin(k: int) -> Training:
                return self._begin(k, sources, plan, initial, evaluate if sets else None)

            training = begin(0)
            self.plan_ = with_phases(plan, training.networks, training.listed, training.settings)
            if not initial and not any(callback.restores() for callback in callbacks):
                training = self._best_initialisation(begin, training, plan, X_train, y_train, announce)
            training.run(callbacks)
            if not sets:  # else the statistics are those of the last score
                self._recalibrate_batch_norm(cast(N, training.averaged), X_train)
        self.networks_ = cast(N, training.averaged.cpu().eval())
        self.history_ = training.history
        self.n_steps_ = training.n_done
        self.training_seconds_ = training.seconds
        self._finish(rows, labels)
        return self

    def plan_for(self, X: ArrayLike, y: ArrayLike | None = None) -> Plan:
        """What `fit` would do with such rows and labels, without training; parameters and errors are those of `fit`."""
        twin = cast(Self, clone(self))
        twin._check_and_reset()
        rows, labels = twin._learn(X, y)
        twin.seed_ = drawn_seed(twin.random_state)
        X_train, _, _ = twin._split(torch.from_numpy(rows), labels, None)
        plan = twin.plan(twin._summary(len(X_train)))
        with torch.random.fork_rng([]):
            nets = twin.networks(plan)
        return with_phases(plan, nets, twin.phases(nets, plan), twin._settings(plan))

    def _check_and_reset(self) -> None:
        """Compare every parameter with its declaration, and forget an earlier fit."""
        self.scaler_: RowScaler
        self.networks_: N
        self.plan_: Plan
        self.history_: list[dict[str, float]]
        self.classes_: Any
        self.class_counts_: list[int]
        self.n_unlabelled_: int
        values = self.get_params(deep=False)
        parsed = validated(type(self), values)
        for name, value in values.items():
            kind = parsed[name]
            of_text = isinstance(value, str | Mapping) and kind != value
            if of_text or (isinstance(value, float) and isinstance(kind, int)):
                raise InputError(f"{name}: expected a {type(kind).__name__}, for instance {kind!r}, got {value!r}")
        if self.image_shape is not None and len(self.image_shape) != 3:
            raise InputError(f"image_shape: expected three numbers (channels, height, width), got {self.image_shape!r}")
        for name in [name for name in vars(self) if name.endswith("_") and not name.startswith("_")]:
            delattr(self, name)

    def _summary(self, n_rows: int) -> DataSummary:
        """What a plan is made from."""
        return DataSummary(
            self.scaler_.shape,
            n_rows,
            self.scaler_.unit_range,
            self.scaler_.data_radius,
            tuple(getattr(self, "class_counts_", ())),
            getattr(self, "n_unlabelled_", 0),
        )

    def _split(
        self, X: Tensor, y: NDArray[np.int64] | None, eval_set: tuple[Any, Any] | None
    ) -> tuple[Tensor, NDArray[np.int64] | None, dict[str, tuple[Tensor, NDArray[np.int64] | None]]]:
        """Rows and labels to train on, and those to score each epoch, by name."""
        sets: dict[str, tuple[Tensor, NDArray[np.int64] | None]] = {}
        if eval_set is not None:
            X_eval, y_eval = eval_set
            check_consistent_length(X_eval, y_eval)
            labels = None if y_eval is None else self._label_indices(y_eval)
            sets["eval"] = torch.from_numpy(self.scaler_.transform(self, X_eval)), labels
        if not self.early_stopping:
            return X, y, sets
        kept, held_out = _held_out(y, len(X), self.seed_)
        sets = {"validation": (X[held_out], None if y is None else y[held_out])} | sets
        return X[kept], None if y is None else y[kept], sets

    def _initial_weights(self) -> dict[str, Tensor]:
        """The weights of `warm_start_from`; how frequent its classes were does not matter here."""
        source = self.warm_start_from
        if source is None:
            return {}
        if isinstance(source, str):
            source = Estimator.load(Path(source) / "model.safetensors" if Path(source).is_dir() else source)
        if not hasattr(source, "networks_"):
            raise NotFittedError(f"warm_start_from: expected a fitted estimator, got {source!r}: call its fit first")
        tensors = cast(Estimator[Any], source).networks_.state_dict().items()
        return {k: v.clone() for k, v in tensors if not k.startswith("class_frequencies.")}

    def _begin(
        self,
        k: int,
        sources: Sources,
        plan: Plan,
        initial: Mapping[str, Tensor],
        evaluate: Callable[[nn.Module], dict[str, float]] | None,
    ) -> Training:
        """The `k`-th initialisation: other weights and other minibatches each; the `initial` weights are given."""
        torch.manual_seed(derived_seed(self.seed_, k) if k else self.seed_)
        nets = self.networks(plan)
        own = nets.state_dict()
        nets.load_state_dict({k: v for k, v in initial.items() if k in own and own[k].shape == v.shape}, strict=False)
        minibatches = {
            view: Minibatches(list(arrays.values()), plan.batch_sizes[view], self.seed_ + i)
            for i, (view, arrays) in enumerate(sources.items())
        }
        names = {view: list(arrays) for view, arrays in sources.items()}

        def make_step(batch: Mapping[str, Sequence[Tensor]]) -> EncoderStep:
            return self._make_step(
                nets, plan, {view: dict(zip(names[view], arrays, strict=True)) for view, arrays in batch.items()}
            )

        return Training(nets, self.phases(nets, plan), minibatches, make_step, self._settings(plan), evaluate)

    def _best_initialisation(
        self,
        begin: Callable[[int], Training],
        first: Training,
        plan: Plan,
        X: Tensor,
        y: NDArray[np.int64] | None,
        announce: Callable[[str], None],
    ) -> Training:
        """The least doubtful of `n_init` initialisations after a third of the steps, or `MAX_TRIAL` of them."""
        n_steps = min(plan.n_steps // 3, MAX_TRIAL)
        if plan.n_init == 1 or n_steps < MIN_TRIAL:
            return first

        def trainings() -> Iterator[Training]:
            start, total = time.monotonic(), plan.n_steps + (plan.n_init - 1) * n_steps
            for k in range(plan.n_init):
                left = f", {(time.monotonic() - start) * (total / (k * n_steps) - 1):.0f} s left" if k else ""
                announce(
                    f"initialisation {k + 1}/{plan.n_init} ({n_steps} steps); the best one is trained to completion"
                    + left
                )
                yield begin(k) if k else first

        best, lowest, seconds = first, math.inf, 0.0
        for training in trainings():
            training.run(until=n_steps)
            seconds += training.seconds
            doubt = torch.tensor(self._doubt(cast(N, training.averaged), X, y), device=training.device)
            broadcast_from_rank_zero([doubt])  # so that all processes choose the same one
            if doubt < lowest:
                best, lowest = training, float(doubt)
        best.seconds = seconds
        return best

    def _settings(self, plan: Plan) -> Settings:
        """How the loop trains."""
        name, momentum = self.optimizer if isinstance(self.optimizer, tuple | list) else (self.optimizer, None)
        schedule, patience = self.learning_rate_schedule, self.early_stopping
        return Settings(
            n_steps=plan.n_steps,
            learning_rate=self.learning_rate,
            critic_learning_rate=getattr(self, "discriminator_learning_rate", self.learning_rate),
            learning_rates=self.learning_rates or {},
            schedule=plan.schedule,
            optimizer=name,
            momentum=MOMENTUM[name] if momentum is None else momentum,
            cosine=schedule == "cosine",
            warmup_steps=plan.warmup_steps,
            milestones=() if isinstance(schedule, str) else tuple(m * plan.steps_per_epoch for m in schedule),
            ema_decay=self.ema_decay,
            patience=PATIENCE if patience is True else int(patience),
            precision=self.precision,
            device=self.device,
            random_state=self.seed_,
        )

    def _planned(
        self,
        data: DataSummary,
        n_steps: int,
        *,
        batch_sizes: Mapping[str, int] | None = None,
        **decisions: Any,
    ) -> Plan:
        """A plan with what all variants decide alike; `n_steps` are used where neither steps nor epochs are given."""
        batch_sizes = batch_sizes or {"unlabelled": self._batch_size(data.n_rows)}
        if self.max_steps is not None:
            n_steps = self.max_steps
        elif self.max_epochs != "auto":
            n_steps = self.max_epochs * (data.n_rows // next(iter(batch_sizes.values())))
        named = self.backbone if isinstance(self.backbone, str) else "auto"
        backbone = backbones.backbone_name(named, data.shape) if named == self.backbone else "module"
        return Plan(
            data=data,
            backbone=backbone,
            hidden=tuple(backbones.hidden_widths(self.hidden, data.shape)),
            batch_sizes=batch_sizes,
            n_steps=n_steps,
            warmup_steps=min(200, n_steps // 10) if self.learning_rate_schedule == "cosine" else 0,
            **decisions,
        )

    def _batch_size(self, n: int, labelled: int | None = None) -> int:
        """Rows in a minibatch of `n`; `labelled` is the default for a source of labelled rows."""
        sizes = self.batch_size if isinstance(self.batch_size, tuple | list) else (self.batch_size, "auto")
        size = sizes[0] if labelled is None else sizes[1]
        if size == "auto":
            return min(labelled or 100, n)
        if size > n:
            kind = "rows" if labelled is None else "labelled rows"
            raise InputError(f"batch_size: expected at most the {n} {kind} to train on, got {size}")
        return int(size)

    # --- rows and networks -------------------------------------------------------------------------------------------
    def _rows(self, X: ArrayLike) -> NDArray[Any]:
        """Valid, scaled rows `(n, *shape)` for the fitted networks."""
        check_is_fitted(self)
        return self.scaler_.transform(self, X)

    def _make_step(self, nets: N, plan: Plan, batch: Sources) -> EncoderStep:
        """The step of a batch: each source is a view; labelled rows are augmented, others beside their plain view."""
        rows, labels, soft_labels = views(batch, self._augment(plan.data.shape), plan.uses_augmentation)
        return EncoderStep(
            rows,
            nets.encoder,
            labels=labels,
            soft_labels=soft_labels,
            corrupt=self._corrupt,
            together=plan.schedule == "joint",
        )

    def _augment(self, shape: Sequence[int]) -> Callable[[Tensor], Tensor]:
        """What does not change the class of a row."""
        return augment.make(getattr(self, "augmentation", "none"), shape)

    def _corrupt(self, x: Tensor) -> Tensor:
        return x + self.input_noise * torch.randn_like(x) if self.input_noise else x

    def _encoder(self, plan: Plan, latent_dim: int, n_classes: int, posterior: Posterior = "deterministic") -> Encoder:
        """A new encoder."""
        spec = self.backbone[0] if isinstance(self.backbone, tuple | list) else self.backbone
        backbone, n_features = backbones.encoder_backbone(
            spec,
            plan.data.shape,
            hidden=plan.hidden,
            channels=self.channels,
            dropout=self.dropout,
            batch_norm=self.batch_norm,
        )
        return Encoder(backbone, n_features, latent_dim, n_classes, posterior)

    def _recalibrate_batch_norm(self, nets: N, X: Tensor) -> None:
        """Let the encoder normalise by clean rows: evenly chosen ones of those that it is trained on."""
        X = X[:: max(1, len(X) // N_FOR_STATISTICS)]
        device = next(nets.parameters()).device
        batches = X.tensor_split(max(1, len(X) // 500))
        update_batch_norm_statistics(nets.encoder, (as_float(x.to(device)) for x in batches))

    @property
    def shape_(self) -> tuple[int, ...]:
        """The shape of a row as the networks see it."""
        return self.scaler_.shape

    @property
    def unit_range_(self) -> bool:
        """Whether rows are in [0, 1], as those of images are."""
        return self.scaler_.unit_range

    @property
    def data_radius_(self) -> float:
        """Root mean squared distance of scaled rows from their mean."""
        return self.scaler_.data_radius

    # --- files -------------------------------------------------------------------------------------------------------
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted estimator into one safetensors file, parameters and facts as JSON in its header.

        A parameter that is an object, for instance a backbone, is only named: give it again to `load`. Of
        `warm_start_from` only a path is kept.

        Raises
        ------
        InputError
            When parameters were changed after `fit` so that the networks are others, or the file cannot be written.
        """
        check_is_fitted(self)
        tensors = {k: v for k, v in self.networks_.state_dict().items()}
        with torch.random.fork_rng([]):
            again = {k: v.shape for k, v in self.networks(self.plan_).state_dict().items()}
        if again != {k: v.shape for k, v in tensors.items()}:
            raise InputError(
                "expected the parameters of the networks as in fit, got others: call fit again, or set them back"
            )
        facts, arrays = {}, {}
        for name, value in vars(self).items():
            if name.endswith("_") and not name.startswith("_") and name not in ("networks_", "autoencoder_"):
                facts[name] = encoded(value, f"facts/{name}", arrays)
        write_model(path, {**described(self), "facts": facts}, tensors | arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str], **objects: Any) -> Self:
        """Read what `save` wrote; `objects` are the parameters that were objects, for instance a backbone.

        Raises
        ------
        InputError
            When the file is not there, is damaged, or is of another estimator.
        """
        header, tensors = read_model(path)
        header["parameters"] |= objects
        model = from_description(cls, header, str(path))
        arrays = {k: tensors.pop(k) for k in list(tensors) if k.startswith("facts/")}
        for name, value in header["facts"].items():
            if not name.isidentifier() or not name.endswith("_") or hasattr(cls, name):
                raise InputError(f"{path}: expected facts of a fitted estimator, got {name!r}: the file is damaged")
            setattr(model, name, decoded(value, arrays))
        with torch.random.fork_rng([]):
            nets = model.networks(model.plan_)
        try:
            nets.load_state_dict(tensors)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{path}: expected weights that fit the parameters, got others: {reason}") from error
        model.networks_ = nets.eval()
        return model

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "networks_")

    def __sklearn_clone__(self) -> Self:
        """A twin that is not fitted; fitted estimators among its parameters stay as they are."""
        parameters = self.get_params(deep=False)
        copies: dict[str, Any] = {
            k: v if hasattr(v, "networks_") else clone(v, safe=False) for k, v in parameters.items()
        }
        twin = type(self)(**copies)
        for name in ("_sklearn_output_config", "_metadata_request"):
            if hasattr(self, name):
                setattr(twin, name, getattr(self, name))
        return twin


def with_phases(plan: Plan, nets: nn.Module, phases: Sequence[Phase[Any]], settings: Settings) -> Plan:
    """The plan with weight, learning rate and networks of each phase.

    Raises
    ------
    InputError
        When `loss_weights` or `learning_rates` name a phase that the variant does not have.
    """
    for parameter, values in (("loss_weights", plan.loss_weights), ("learning_rates", settings.learning_rates)):
        for name, value in values.items():
            matching = [p for p in phases if name in (p.name, p.name.rsplit("/", 1)[-1])]
            known = list(dict.fromkeys(p.name for p in phases))
            if not matching:
                raise InputError(
                    f"{parameter}: expected phases of {', '.join(known)}, got {name!r}{nearest(name, known)}"
                )
            if parameter == "loss_weights" and value and not any(p.weight for p in matching):
                raise InputError(
                    f"loss_weights: expected 0 for {name!r}, which other parameters turn off, got {value:g}"
                )
    names = {module: name for name, module in nets.named_children()}
    return replace(
        plan,
        weights={p.name: p.weight for p in phases},
        learning_rates={p.name: settings.rate_of(p) for p in phases},
        moves={p.name: tuple(names[m] for m in p.moves) for p in phases if p.weight},
    )


def views(
    batch: Sources, augmented: Callable[[Tensor], Tensor], with_augmented: bool
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Rows, labels and soft labels by view; labelled rows are augmented, others have an augmented view if wanted."""
    rows = {view: as_float(arrays["rows"]) for view, arrays in batch.items()}
    if "labelled" in rows:
        rows["labelled"] = augmented(rows["labelled"])
    if with_augmented:
        rows["augmented"] = augmented(rows["unlabelled"].clone())  # it may work in place
    labels = {view: arrays["labels"] for view, arrays in batch.items() if "labels" in arrays}
    return rows, labels, {view: arrays["soft_labels"] for view, arrays in batch.items() if "soft_labels" in arrays}


def drawn_seed(random_state: RandomState) -> int:
    """The seed of everything random in a fit; processes that train together have the same."""
    seed = torch.tensor(check_random_state(random_state).randint(2**31 - 1))
    broadcast_from_rank_zero([seed])
    return int(seed)


def _held_out(y: NDArray[np.int64] | None, n: int, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices of the rows to train on and of those held out: labelled ones, each class in proportion."""
    random = np.random.default_rng(seed)
    y = None if y is None else y.reshape(len(y), -1)[:, 0]
    groups = [np.arange(n)] if y is None else [np.flatnonzero(y == k) for k in range(y.max() + 1)]
    out = [random.permutation(g)[: max(1, round(len(g) * VALIDATION_FRACTION))] for g in groups]
    if any(len(o) == len(g) for o, g in zip(out, groups, strict=True)):
        raise InputError(
            "early_stopping: expected at least two labelled rows of each class, got fewer: label more, or turn it off"
        )
    held_out = np.concatenate(out)
    return np.setdiff1d(np.arange(n), held_out), held_out
