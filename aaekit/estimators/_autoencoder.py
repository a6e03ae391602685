"""What the estimators with a decoder share: codes, reconstructions, and new rows from draws of the prior."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, Literal, TypeVar, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from torch.distributions import Distribution

from aaekit import divergences, priors
from aaekit.core.random import RandomStream, seed_of
from aaekit.core.settings import Schedule
from aaekit.errors import InputError
from aaekit.estimators._base import Estimator, RandomState, Sources, by_view, views, with_noise
from aaekit.estimators._hyperparameters import Positive, Rate, Searched, Weight, hyperparameters
from aaekit.estimators._plan import DataSummary, Plan
from aaekit.estimators._rows import in_batches, rows_at_once
from aaekit.estimators._sklearn import TransformerMixin, available_if
from aaekit.labels import UNLABELLED, label_indices
from aaekit.losses import reconstruction_error
from aaekit.nn.encoder import Code, Decoder, one_hot
from aaekit.nn.networks import AutoencoderNetworks
from aaekit.nn.step import EncoderStep

__all__ = ["Autoencoder", "broadcast", "check_count", "draw", "reconstruction_score", "seeded"]

A = TypeVar("A", bound=AutoencoderNetworks)


@hyperparameters
class Autoencoder(TransformerMixin, Estimator[A]):
    """Base of the estimators with a decoder: codes are matched to a prior, and rows are made from codes."""

    latent_dim: Annotated[Positive, "Codes and priors", Field(description="dimensions of the continuous code z")] = 2
    prior: Annotated[
        Literal["gaussian", "mixture", "swiss_roll", "uniform"] | priors.Prior | Distribution | Callable[..., Any],
        "Codes and priors",
        Field(
            description="what z is matched to: a name, a Prior, a torch distribution or a callable n -> (n, latent_dim)"
        ),
    ] = "gaussian"
    divergence: Annotated[
        Literal["gan", "least_squares", "wasserstein", "mmd", "sliced_wasserstein"] | divergences.Divergence,
        "Codes and priors",
        Field(description="how codes are pulled towards the prior"),
    ] = "gan"
    discriminator_hidden: Annotated[
        tuple[Positive, ...], "Networks", Field(description="widths of the hidden layers of each discriminator")
    ] = (500, 500)
    loss_weights: Annotated[
        Mapping[str, Weight] | None,
        "Losses",
        Field(
            description="weights of losses in place of the defaults, by the name of the phase or the last part of it, "
            "such as generator=1; 0 turns a loss off. `--plan` lists the phases and their weights"
        ),
    ] = None
    discriminator_learning_rate: Annotated[
        Rate, "Training", Field(description="learning rate of the discriminators"), Searched(3e-5, 1e-2)
    ] = 1e-3
    schedule: Annotated[
        Schedule,
        "Training",
        Field(description="'joint' sums all phases into one update; 'alternating' takes turns, as in the papers"),
    ] = "joint"

    # --- networks and steps ------------------------------------------------------------------------------------------
    def _planned(self, data: DataSummary, n_steps: int, **decisions: Any) -> Plan:
        kind = decisions.pop("reconstruction", "auto")
        if kind == "auto":
            kind = "bernoulli" if data.unit_range else "mixed" if data.groups else "gaussian"
        if kind == "bernoulli" and not data.unit_range:
            raise InputError(
                "reconstruction: expected 'gaussian' for tables and values outside [0, 1], got 'bernoulli': change it, "
                "or give image_shape if rows are images"
            )
        return super()._planned(
            data,
            n_steps,
            schedule=self.schedule,
            reconstruction=kind,
            loss_weights=dict(self.loss_weights or {}),
            **decisions,
        )

    def _join(self, nets: A, code: Code, labels: Tensor | None) -> Tensor:
        """What the decoder sees of a code, and of the labels where they are known; shape `(n, n_code)`."""
        return code.joined

    def _make_step(self, nets: A, plan: Plan, batch: Sources) -> EncoderStep:
        return EncoderStep(
            views(batch, self._augment(plan), plan.uses_augmentation),
            nets.encoder,
            nets.decoder,
            **by_view(batch),
            corrupt=partial(with_noise, scale=plan.input_noise),
            join=lambda code, known: self._join(nets, code, known),
            together=plan.schedule == "joint",
        )

    # --- what it can do ----------------------------------------------------------------------------------------------
    @property
    def n_classes(self) -> int:
        """Values of the categorical code y, or of all conditions together; 0 without one."""
        check_is_fitted(self)
        return self.plan_.n_classes

    @property
    def n_code(self) -> int:
        """Columns of what the decoder sees."""
        return self.latent_dim + self.n_classes

    @property
    def prior_(self) -> priors.Prior:
        """The prior of z."""
        return priors.make(self.prior, self.latent_dim)

    @property
    def class_prior_(self) -> NDArray[np.float64]:
        """Frequencies of the values of y, shape `(n_classes,)`, in sum 1."""
        check_is_fitted(self)
        frequencies = getattr(self, "class_frequencies_", self.plan_.class_prior)
        return np.array(priors.Categorical(self.n_classes, frequencies).probabilities)

    def transform(self, X: ArrayLike) -> NDArray[np.float32]:
        """Codes z of rows, shape `(n, latent_dim)`, without the noise of the posterior."""
        return self._encode(self._rows(X))

    def _encode(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """Codes of scaled rows."""
        return in_batches(self.networks_, lambda nets, x: nets.encoder(x).z, rows, self.device)

    def inverse_transform(self, Z: ArrayLike) -> NDArray[Any]:
        """Rows made from codes, of the shape and in the units of those of fit.

        Parameters
        ----------
        Z : array-like of shape (n, n_code)
            z, preceded by the categorical code y where there is one.

        Returns
        -------
        ndarray of shape (n, n_features) or (n, channels, height, width)
            Bytes come back as floats in [0, 1].

        Raises
        ------
        InputError
            For codes of another shape.
        """
        check_is_fitted(self)
        codes = np.asarray(Z, dtype=np.float32)
        if codes.ndim != 2 or codes.shape[1] != self.n_code:
            raise InputError(f"expected codes of shape (n, {self.n_code}), got {codes.shape}")
        return self._decode(codes)

    def _decode(self, codes: NDArray[Any] | Tensor, decoder: Decoder | None = None) -> NDArray[Any]:
        """Rows, in the units of fit, made of what a decoder sees."""
        size = rows_at_once(self.shape_)
        rows = in_batches(
            decoder or self.networks_.decoder, lambda decoder, z: decoder.mean(z), codes, self.device, size
        )
        return self.scaler_.inverse_transform(rows)

    def reconstruct(self, X: ArrayLike) -> NDArray[Any]:
        """Rows as the autoencoder reconstructs them, of the shape and in the units of those of fit."""
        rows = self._rows(X)
        codes = in_batches(self.networks_, lambda nets, x: self._join(nets, nets.encoder(x), None), rows, self.device)
        return self._decode(codes)

    def sample(self, n_samples: int = 1, random_state: RandomState = None, *, label: object = None) -> NDArray[Any]:
        """New rows decoded from draws of the prior.

        Parameters
        ----------
        n_samples : int, default 1
            How many.
        random_state : int, RandomState or None
            Of the draws.
        label : optional
            The class, cluster or condition that they should show.

        Returns
        -------
        ndarray of shape (n_samples, n_features) or (n_samples, channels, height, width)

        Raises
        ------
        InputError
            For a label that the model has not learned, or less than one row.
        """
        check_is_fitted(self)
        check_count(n_samples)
        return self._decode(self._draw_codes(n_samples, self._component(label), random_state))

    def sample_prior(self, n_samples: int, random_state: RandomState = None) -> NDArray[np.float32]:
        """Draws of p(z), shape `(n_samples, latent_dim)`."""
        with seeded(random_state):
            return self.prior_.sample(n_samples).float().numpy()

    @available_if(lambda self: self._makes_classes)
    def generate(self, y: ArrayLike, z: ArrayLike | None = None, random_state: RandomState = None) -> NDArray[Any]:
        """Rows of given classes, clusters or conditions.

        Parameters
        ----------
        y : array-like of shape (n,) or (n, n_conditions)
            Classes as in fit, cluster numbers, or conditions; or one of them for all rows of `z`.
        z : array-like of shape (n, latent_dim), optional
            Styles; by default draws of the prior.
        random_state : int, RandomState or None
            Of the draws.

        Returns
        -------
        ndarray of shape (n, n_features) or (n, channels, height, width)

        Raises
        ------
        InputError
            For classes that were not seen in fit, unlabelled rows, or styles of another shape.
        """
        check_is_fitted(self)
        values = self._value_indices(y, None if z is None else len(np.asarray(z)))
        if z is None:
            with seeded(random_state):
                styles = self.prior_.sample(len(values))
        else:
            styles = torch.from_numpy(np.array(z, dtype=np.float32))
        if styles.shape != (len(values), self.latent_dim):
            raise InputError(f"z: expected shape ({len(values)}, {self.latent_dim}), got {tuple(styles.shape)}")
        return self._decode(self._joined(torch.as_tensor(values), styles))

    @available_if(lambda self: self._makes_classes and hasattr(self, "plan_") and self.plan_.class_prior)
    def modes(self) -> NDArray[Any]:
        """What the decoder makes of each value of y with a style of z = 0, shape `(n_classes, ...)`."""
        check_is_fitted(self)
        return self._decode(self._joined(torch.arange(self.n_classes), torch.zeros(self.n_classes, self.latent_dim)))

    _makes_classes = False  # whether the decoder is shown a class, a cluster or a condition

    def _value_indices(self, y: ArrayLike, n: int | None) -> NDArray[np.int64]:
        """Classes `(n,)`, or one for all of `n` rows, as indices."""
        y = broadcast(y, n)
        indices = label_indices(y, self.classes_)
        if (indices == UNLABELLED).any():
            raise InputError(f"y: expected a class for each row, of {self.classes_.tolist()}, got unlabelled rows")
        return indices

    def _joined(self, values: Tensor, z: Tensor) -> Tensor:
        """What the decoder sees of values of y, by their index, and styles."""
        logits = one_hot(values, self.n_classes).log() if values.ndim == 1 else None
        with torch.no_grad():
            return self._join(self.networks_, Code(z.float(), logits), values)

    def _draw_codes(self, n: int, component: Any, random_state: RandomState) -> NDArray[Any] | Tensor:
        """What the decoder makes new rows of, `(n, n_code)`; of one value of y, if its index is given."""
        if not self._makes_classes:
            return self.sample_prior(n, random_state)
        with seeded(random_state):
            chosen = None if component is None else torch.full((n,), component)
            y = priors.Categorical(self.n_classes, self.class_prior_.tolist()).sample(n, chosen)
            return self._joined(y.argmax(1), self.prior_.sample(n))

    def _component(self, label: object) -> Any:
        """The index of a class that new rows should show; None for any."""
        if label is None:
            return None
        if self._makes_classes and not hasattr(self, "classes_"):
            return int(self._value_indices(cast(Any, [label]), 1)[0])
        if not hasattr(self, "classes_"):
            raise InputError(f"label: expected none, as the model was trained without labels, got {label!r}")
        index = int(label_indices(cast(Any, [label]), self.classes_, "label")[0])
        return None if index == UNLABELLED else index

    @property
    def _n_features_out(self) -> int:
        return self.latent_dim

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Names of the columns of `transform`: z1, z2, ..."""
        check_is_fitted(self)
        return np.array([f"z{i + 1}" for i in range(self.latent_dim)], dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.non_deterministic = False
        return tags


def reconstruction_score(
    estimator: Autoencoder[Any], nets: AutoencoderNetworks, X: Tensor, labels: Tensor | None = None
) -> dict[str, float]:
    """Mean reconstruction error of rows, from clean codes."""
    plan, batches = estimator.plan_, iter(() if labels is None else labels.split(1000))

    def errors(nets: AutoencoderNetworks, x: Tensor) -> Tensor:
        y, decoder = next(batches, None), nets.decoder
        out = decoder(estimator._join(nets, nets.encoder(x), None if y is None else y.to(x.device)))
        return reconstruction_error(out, x, plan.reconstruction, decoder.unit_range, decoder.groups).expand(len(x))

    error = float(in_batches(nets, errors, X).mean())
    return {"score": error, "reconstruction": error}


def broadcast(y: ArrayLike, n: int | None) -> Any:
    """One label for each of `n` rows, if a single one was given."""
    is_single = isinstance(y, str) or np.ndim(np.asarray(y, dtype=object)) == 0
    return [y] * (1 if n is None else n) if is_single else y


def draw(prior: priors.Prior, step: EncoderStep) -> Tensor:
    """As many draws of a prior as the step has unlabelled rows."""
    x = step.rows["unlabelled"]
    return prior.sample(len(x), device=x.device)


def check_count(n_samples: int) -> None:
    """Refuse numbers of rows that cannot be made."""
    if not isinstance(n_samples, (int, np.integer)) or n_samples < 1:
        raise InputError(f"n_samples: expected a whole number of at least 1, got {n_samples!r}")


def seeded(random_state: RandomState) -> RandomStream:
    """While it lasts, torch draws from a given random state; afterwards it continues as before."""
    return RandomStream(seed_of(random_state))
