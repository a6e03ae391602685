"""What all estimators share: rows and labels in, networks trained by phases, and files."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Generic, Literal, Self, TypedDict, TypeVar, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from aaekit import augment
from aaekit.core.callbacks import Callback, Progress
from aaekit.core.distributed import alone, from_rank_zero, rank_and_world_size
from aaekit.core.loop import Training
from aaekit.core.phase import Phase
from aaekit.core.random import RandomStream
from aaekit.core.settings import Precision
from aaekit.errors import DamageError, InputError
from aaekit.estimators._fitting import (
    best_initialisation,
    check_parameters,
    initial_weights,
    initialised,
    prepared,
    rows_per_batch,
    training_of,
    with_phases,
)
from aaekit.estimators._hyperparameters import Positive, Rate, Searched, Share, Weight, hyperparameters
from aaekit.estimators._io import (
    DAMAGE,
    FACTS,
    check_fitted,
    check_weights,
    damaged,
    decoded,
    described,
    encoded,
    from_description,
    read_model,
    write_model,
)
from aaekit.estimators._plan import DataSummary, Plan
from aaekit.estimators._rows import RowScaler, as_float
from aaekit.estimators._sklearn import BaseEstimator, clone
from aaekit.nn import backbones
from aaekit.nn.context import update_batch_norm_statistics
from aaekit.nn.networks import Networks
from aaekit.nn.step import EncoderStep

__all__ = ["Estimator", "RandomState", "Sources"]

RandomState = int | np.random.RandomState | None
Sources = dict[str, dict[str, Tensor]]  # by view: "rows" and, where there are any, "labels", "weights", "soft_labels"
N = TypeVar("N", bound=Networks)

NOISE = 0.1  # standard deviation, in the units of scaled rows
N_FOR_STATISTICS = 10_000  # about as many rows give batch normalisation its statistics

BatchNorm = Annotated[
    bool,
    "Networks",
    Field(description="batch normalisation in a fully connected encoder (convolutional ones always have it)"),
]
Augmentation = Annotated[
    str | Callable[[Tensor], Tensor],
    "Losses",
    Field(
        description="what does not change the class of a row: names joined by +, from 'affine' (small warps, into "
        "black; without bending in ClusteringAAE), 'affine_edge' (into the colour of the edge), 'light', 'flip', "
        "'flip_vertical', 'transpose' (all images), 'time' (shifts and stretches), 'amplitude', 'jitter' (all "
        "signals), 'noise' (tables), or 'none'; or a callable on batches. 'auto' is noise for tables, all three for "
        "signals, affine for drawings; for photos light, affine_edge, and the flips that leave the class alone"
    ),
]


class Targets(TypedDict):
    """What belongs to the rows of a step, each by view."""

    labels: dict[str, Tensor]
    weights: dict[str, Tensor]
    soft_labels: dict[str, Tensor]


@hyperparameters
class Estimator(BaseEstimator, Generic[N]):
    """Base of all estimators: an encoder of images or table rows, trained by phases.

    A variant says what it does in three public methods: `plan`, `networks` and `phases`.
    """

    image_shape: Annotated[
        tuple[Positive, ...] | None,
        "Data",
        Field(
            description="(channels, height, width) of the images in flat rows, or (channels, length) of signals; None "
            "takes the shape of X"
        ),
    ] = None
    backbone: Annotated[
        Literal["auto", "mlp", "conv", "resnet"] | nn.Module | tuple[nn.Module, nn.Module],
        "Networks",
        Field(
            description="encoder and decoder: fully connected, convolutional (in images larger than 32 pixels a side, "
            "and in longer signals, features are pooled), 'resnet' (residual blocks in the encoder), or by the shape "
            "of the rows; or a torch module as the encoder, or a pair of modules, the second from codes (n, n_code) to "
            "rows"
        ),
    ] = "auto"
    hidden: Annotated[
        Literal["auto"] | tuple[Positive, ...],
        "Networks",
        Field(
            description="widths of the hidden layers of encoder and decoder, in convolutional networks the channels "
            "of their layers, of which the last repeats; 'auto' is 1000,1000, or 256,256 for tables and images of up "
            "to 256 values, and 32,64,64 in convolutional networks"
        ),
    ] = "auto"
    batch_norm: BatchNorm = False
    dropout: Annotated[
        Share, "Networks", Field(description="share of hidden units dropped in encoder and decoder"), Searched(0, 0.5)
    ] = 0.0
    input_noise: Annotated[
        Literal["auto"] | Weight,
        "Losses",
        Field(
            description="standard deviation of the noise added to the encoder's input during training; 'auto' is 0.1, "
            "or 0 for photos, whose texture it hides"
        ),
    ] = 0.0
    learning_rate: Annotated[
        Rate, "Training", Field(description="learning rate of encoder and decoder"), Searched(3e-5, 1e-2)
    ] = 1e-3
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

    _learns_from_labelled_only = False

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

        Everything that an earlier fit has learned is forgotten. A fit that fails or is interrupted leaves the estimator
        as it was.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n, n_features), or array (n, channels, ...)
            Tables hold numbers of any range, which are standardised, and NaN for empty cells; data frames also texts,
            booleans, dates and categories. Images (n, channels, height, width) hold numbers in [0, 1] or bytes. Signals
            (n, channels, length) hold numbers of any range, which are standardised by channel. Flat rows are images or
            signals with `image_shape`, and images if they are bytes, some of at least 128.
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
        return self._fit(X, y, callbacks, eval_set)

    def _fit(
        self,
        X: ArrayLike,
        y: ArrayLike | None,
        callbacks: Sequence[Callback],
        eval_set: tuple[ArrayLike, ArrayLike | None] | None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Train, or leave the estimator as it was."""
        before = vars(self).copy()
        try:
            callbacks = [*callbacks, Progress()] if self.verbose else list(callbacks)
            return self._train(X, y, callbacks, eval_set, sample_weight)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    def _train(
        self,
        X: ArrayLike,
        y: ArrayLike | None,
        callbacks: list[Callback],
        eval_set: tuple[ArrayLike, ArrayLike | None] | None,
        sample_weight: ArrayLike | None,
    ) -> Self:
        self.scaler_: RowScaler
        self.plan_: Plan
        self.classes_: Any
        self.class_counts_: list[int]
        self.n_unlabelled_: int
        self.seed_: int
        start = prepared(self, X, y, eval_set, sample_weight)
        X_train, plan = start.X_train, start.plan

        def evaluate(nets: Any) -> dict[str, float]:
            self._recalibrate_batch_norm(nets, X_train)
            return {f"{name}/{k}": v for name, s in start.sets.items() for k, v in self._score(nets, *s).items()}

        def announce(what: str) -> None:
            for callback in callbacks if rank_and_world_size()[0] == 0 else ():
                callback.prepare(what)

        if plan.propagates_labels and len(X_train) >= 10_000 and plan.data.n_unlabelled:
            announce("finding nearest neighbours, to which labels are propagated")
        if torch.cuda.is_available():
            torch.cuda.init()
        with RandomStream(self.seed_):
            sources, plan = self._sources(X_train, start.y_train, plan)
            if start.weights is not None:
                sources["labelled"]["weights"] = torch.from_numpy(start.weights)
            initial = initial_weights(self.warm_start_from, Estimator.load)

            def begin(k: int) -> Training:
                return training_of(self, k, sources, plan, initial, evaluate if start.sets else None)

            training = begin(0)
            self.plan_ = with_phases(plan, training.networks, training.listed, training.settings)
            if not initial and not from_rank_zero(lambda: any(callback.restores() for callback in callbacks)):
                training = best_initialisation(self, begin, training, X_train, start.y_train, announce, callbacks)
            training.run(callbacks)
            if not start.sets:  # else the statistics are those of the last score
                with alone():
                    self._recalibrate_batch_norm(cast(N, training.averaged), X_train)
        self.networks_: N = cast(N, training.averaged.cpu().eval())
        self.history_: list[dict[str, float]] = training.history
        self.n_steps_: int = training.n_done
        self.training_seconds_: float = training.seconds
        self._finish(start.rows, start.labels)
        return self

    def plan_for(self, X: ArrayLike, y: ArrayLike | None = None) -> Plan:
        """What `fit` would do with such rows and labels, without training; parameters and errors are those of `fit`."""
        return initialised(cast(Self, clone(self)), X, y).plan_

    def _planned(
        self,
        data: DataSummary,
        n_steps: int,
        *,
        batch_sizes: Mapping[str, int] | None = None,
        dense_widths: Sequence[int] | None = None,
        **decisions: Any,
    ) -> Plan:
        """A plan with what all variants decide alike.

        `n_steps` are used where neither steps nor epochs are given, `dense_widths` where `hidden` is "auto" and the
        layers are fully connected.
        """
        batch_sizes = batch_sizes or {"unlabelled": rows_per_batch(self.batch_size, data.n_rows)}
        if self.max_steps is not None:
            n_steps = self.max_steps
        elif self.max_epochs != "auto":
            n_steps = self.max_epochs * (data.n_rows // next(iter(batch_sizes.values())))
        augmentation = getattr(self, "augmentation", "none") or "none"
        if augmentation == "auto":
            augmentation = augment.automatic(data.shape, data.symmetries, data.is_photo)
        augment.make(augmentation, data.shape)  # refuses what does not exist
        named = self.backbone if isinstance(self.backbone, str) else "auto"
        backbone = backbones.backbone_name(named, data.shape)
        return Plan(
            data=data,
            backbone=backbone if named == self.backbone else "module",
            hidden=tuple(backbones.hidden_widths(self.hidden, data.shape, backbone, dense_widths)),
            batch_sizes=batch_sizes,
            n_steps=n_steps,
            augmentation=augmentation if isinstance(augmentation, str) else "callable",
            input_noise=(0.0 if data.is_photo else NOISE) if self.input_noise == "auto" else self.input_noise,
            warmup_steps=min(200, n_steps // 10) if self.learning_rate_schedule == "cosine" else 0,
            **decisions,
        )

    # --- rows and networks -------------------------------------------------------------------------------------------
    def _rows(self, X: ArrayLike) -> NDArray[Any]:
        """Valid, scaled rows `(n, *shape)` for the fitted networks."""
        check_is_fitted(self)
        return self.scaler_.transform(self, X)

    def _make_step(self, nets: N, plan: Plan, batch: Sources) -> EncoderStep:
        """The step of a batch: each source is a view; labelled rows are augmented, others beside their plain view."""
        return EncoderStep(
            views(batch, self._augment(plan), plan.uses_augmentation),
            nets.encoder,
            **by_view(batch),
            corrupt=partial(with_noise, scale=plan.input_noise),
            together=plan.schedule == "joint",
        )

    def _augment(self, plan: Plan) -> Callable[[Tensor], Tensor]:
        """What does not change the class of a row."""
        spec: Any = getattr(self, "augmentation", "none")
        return augment.make(plan.augmentation if spec is None or isinstance(spec, str) else spec, plan.data.shape)

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
    def center_(self) -> NDArray[Any] | np.float32:
        """What is subtracted from rows before they are scaled, shape `(n_features,)`, or 0."""
        return self.scaler_.center

    @property
    def scale_(self) -> NDArray[np.float32] | np.float32:
        """What one unit of scaled rows is in the units of X, shape `(n_features,)`, or one number for all."""
        return self.scaler_.scale

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
            When parameters were changed after `fit` to values that are not valid or need other networks, or the file
            cannot be written.
        """
        check_is_fitted(self)
        check_parameters(self)
        tensors = {k: v for k, v in self.networks_.state_dict().items()}
        with RandomStream(0):
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
        try:
            header["parameters"] |= objects
            model = from_description(cls, header, str(path))
            arrays = {k: tensors.pop(k) for k in list(tensors) if k.startswith("facts/")}
            is_ours = type(model).__module__.startswith("aaekit.")
            for name, value in header["facts"].items():
                is_fact = name.isidentifier() and name.endswith("_") and not hasattr(type(model), name)
                if not is_fact or (is_ours and name not in FACTS) or name == "networks_":
                    raise DamageError(f"{name[:80]!r} is no fact of a fitted {type(model).__name__}")
                setattr(model, name, decoded(value, arrays))
            check_fitted(model)
            check_weights(model, tensors)
            with RandomStream(0):
                nets = model.networks(model.plan_)
            nets.load_state_dict(tensors)
        except InputError:
            raise
        except (*DAMAGE, RecursionError) as error:
            raise damaged(path, error) from error
        model.networks_ = nets.eval()
        return model

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # pyright: ignore
        tags.input_tags.allow_nan = tags.input_tags.sparse = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "networks_")

    def __sklearn_clone__(self) -> Self:
        """A twin that is not fitted, with the same `warm_start_from`, which stays fitted."""
        parameters = self.get_params(deep=False)
        copies: dict[str, Any] = {
            k: v if k == "warm_start_from" else clone(v, safe=False) for k, v in parameters.items()
        }
        twin = type(self)(**copies)
        for name in ("_sklearn_output_config", "_metadata_request"):
            if hasattr(self, name):
                setattr(twin, name, getattr(self, name))
        return twin


def views(batch: Sources, augmented: Callable[[Tensor], Tensor], with_augmented: bool) -> dict[str, Tensor]:
    """Rows by view; labelled rows are augmented, others have an augmented view if wanted."""
    rows = {view: as_float(arrays["rows"]) for view, arrays in batch.items()}
    if "labelled" in rows:
        rows["labelled"] = augmented(rows["labelled"])
    if with_augmented:
        rows["augmented"] = augmented(rows["unlabelled"].clone())  # it may work in place
    return rows


def by_view(batch: Sources) -> Targets:
    """What belongs to the rows, each by view."""

    def of(name: str) -> dict[str, Tensor]:
        return {view: arrays[name] for view, arrays in batch.items() if name in arrays}

    return Targets(labels=of("labels"), weights=of("weights"), soft_labels=of("soft_labels"))


def with_noise(x: Tensor, scale: float) -> Tensor:
    """A minibatch with Gaussian noise."""
    return x + scale * torch.randn_like(x) if scale else x
