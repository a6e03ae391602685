"""Rows that are unlike those of fit, by how they are encoded and how they come back."""

import copy
import warnings
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from pydantic import Field
from sklearn.base import OutlierMixin
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from aaekit.core.loop import Callback, Schedule
from aaekit.errors import InputError
from aaekit.estimators._base import EmaDecay, RatesOverTime
from aaekit.estimators._hyperparameters import Positive, Rate, Share, Weight, hyperparameters
from aaekit.estimators.autoencoder import AdversarialAutoencoder
from aaekit.nn.encoder import Decoder

FARTHEST = 1e6  # standard deviations: beyond it, a row is an outlier as sure as can be
N_JUDGED = 20_000  # rows of fit, at most, that say what is usual


@hyperparameters
class AAEOutlierDetector(OutlierMixin, AdversarialAutoencoder):
    """Outlier detection by an adversarial autoencoder: where a row is encoded, and how well it comes back.

    The prior keeps codes together in a few dimensions, where a mixture of Gaussians can tell how dense they are. A row
    is unusual if its code is improbable, by -log p(z) under that mixture, or if it comes back worse than rows that are
    encoded nearby, by log |x - x'|^2 in standard deviations about its mean in that region. Only the comparison with
    neighbours makes errors tell something: a 1 has few strokes, so that its error is small whatever the training.
    Both parts are standardised on the training rows; the score is minus their weighted sum.

    It learns from rows without labels; a few outliers among them do little harm. Labels given to `fit` are not used.

    Attributes
    ----------
    offset_ : float
        Rows with a score below it are outliers: `decision_function` is `score_samples` minus this.
    networks_ : torch.nn.ModuleDict
        "encoder", "decoder" and, for divergences that need one, "z_discriminator".
    history_ : list of dict
        Losses, rates and times, epoch by epoch.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> model = AAEOutlierDetector(max_steps=30, hidden=(64,), random_state=0).fit(X[y != 0] / 16)
    >>> model.predict(X[:3] / 16).shape, model.score_samples(X[:3] / 16).shape
    ((3,), (3,))
    """

    contamination: Annotated[
        Literal["auto"] | Annotated[float, Field(gt=0, le=0.5)],
        Field(description="share of outliers among the rows of fit, which sets the threshold; 'auto' takes them to be "
              "clean, and calls outliers what is more unusual than 99 % of them"),
    ] = "auto"  # fmt: skip
    n_components: Annotated[
        Positive, Field(description="Gaussians of the density of codes; fewer where there are few rows")
    ] = 30
    reconstruction_share: Annotated[
        float, Field(ge=0, le=1, description="part of the reconstruction in the score; the rest is the code's density")
    ] = 0.2
    latent_dim: Annotated[Positive, Field(description="dimensions of the continuous code z")] = 16
    hidden: Annotated[
        Literal["auto"] | tuple[Positive, ...],
        Field(description="widths of the hidden layers of fully connected encoders and decoders"),
    ] = (500, 500)
    dropout: Annotated[Share, Field(description="share of hidden units dropped in encoder and decoder")] = 0.0
    momentum: Annotated[Share, Field(description="momentum of SGD, or beta_1 of Adam")] = 0.5
    learning_rate: Annotated[Rate, Field(description="learning rate of the reconstruction")] = 2e-3
    generator_rate: Annotated[Rate, Field(description="learning rate of fooling the discriminators")] = 2e-3
    discriminator_learning_rate: Annotated[Rate, Field(description="learning rate of the discriminators")] = 2e-3
    adversarial_weight: Annotated[Weight, Field(description="weight of fooling the discriminators")] = 0.1
    learning_rate_schedule: RatesOverTime = "cosine"
    ema_decay: EmaDecay = 0.99
    schedule: Annotated[
        Schedule,
        Field(description="'alternating' runs phase after phase as in the papers; 'joint' sums them into one update"),
    ] = "joint"

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        callbacks: Sequence[Callback] = (),
        eval_set: tuple[Any, Any] | None = None,
    ) -> Self:
        """Train on rows `(n, n_features)` or images `(n, channels, height, width)`, then learn what is usual.

        Parameters
        ----------
        X : array-like
            Numbers of any range (they are standardised), in [0, 1], or bytes: pixels, but in a table numbers if all
            are below 128.
        y : ignored
        callbacks : sequence of Callback
            Told of each step and epoch, for instance a run directory.
        eval_set : (X, y), optional
            Rows whose reconstruction error is put into `history_` each epoch.

        Raises
        ------
        InputError (a ValueError)
            For parameters or rows that are not as declared.
        TrainingError
            When a loss stops being finite.
        """
        super().fit(X, None, callbacks=callbacks, eval_set=eval_set)
        rows = self._rows(X)
        z, e = self._seen(rows[np.random.default_rng(self.seed_).permutation(len(rows))[:N_JUDGED]])
        self._learn_density(z, e)
        found = self._novelties(z, e)
        self.standard_ = [[float(v.mean()), max(float(v.std()), 0.1)] for v in found]
        share = 0.01 if self.contamination == "auto" else self.contamination
        self.offset_ = float(np.percentile(self._normality(z, e), 100 * share))
        return self

    def _auto_steps(self, n_rows: int) -> int:
        return 1000

    def _seen(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Code `(n, latent_dim)` and log squared error of the reconstruction `(n,)` of scaled rows."""
        nets = copy.deepcopy(self.networks_).double()  # single ones round by what rows come together; scores magnify it
        encoder, decoder = nets["encoder"], nets["decoder"]
        assert isinstance(decoder, Decoder)

        def see(x: Tensor) -> Tensor:
            x = x.double()
            z = encoder(x).z
            e = (decoder.mean(z) - x).flatten(1).square().sum(1, keepdim=True)
            return torch.cat([z, torch.log(e + 1e-12)], 1)

        if rows.dtype != np.uint8:
            rows = rows.clip(-FARTHEST, FARTHEST)
        found = self._in_batches(see, rows).astype(np.float64)
        return found[:, :-1], found[:, -1]

    def _learn_density(self, z: np.ndarray, e: np.ndarray) -> None:
        """A mixture of Gaussians over codes, and in each of them the mean and variance of the log error."""
        from sklearn.mixture import GaussianMixture

        K = max(1, min(self.n_components, len(z) // (10 * z.shape[1])))
        floor = 1e-3 * float(z.var(0).mean()) + 1e-9
        mixture = GaussianMixture(K, reg_covar=floor, max_iter=50, random_state=self.seed_)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a density that could be a little better will do
            self.mixture_ = mixture.fit(z)
        r = self.mixture_.predict_proba(z)
        n = r.sum(0) + 1e-9
        mean = (e @ r + 1e-9 * e.mean()) / n
        variance = np.square(e) @ r / n - mean**2
        self.errors_ = np.stack([mean, np.maximum(variance, 0.01 * e.var()) + 1e-9])  # of equal rows it would be 0

    def _novelties(self, z: np.ndarray, e: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How improbable codes are, and how much worse rows come back than others from nearby."""
        mean, variance = self.errors_ @ self.mixture_.predict_proba(z).T
        return -self.mixture_.score_samples(z), (e - mean) / np.sqrt(variance)

    def _normality(self, z: np.ndarray, e: np.ndarray) -> np.ndarray:
        """The score of codes and log errors."""
        density, error = ((v - mean) / sd for v, (mean, sd) in zip(self._novelties(z, e), self.standard_, strict=True))
        return -(1 - self.reconstruction_share) * density - self.reconstruction_share * error

    # --- what it can do --------------------------------------------------------------------------------------------
    def score_samples(self, X: Any) -> np.ndarray:  # pyright: ignore[reportIncompatibleVariableOverride]
        """How normal each row is, shape `(n,)`: about 0 for a row like those of fit, lower for a more unusual one."""
        return self._normality(*self._seen(self._rows(X)))

    def decision_function(self, X: Any) -> np.ndarray:
        """`score_samples` minus `offset_`, shape `(n,)`: below 0 for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """-1 for outliers and 1 for the others, shape `(n,)`."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def fit_density(self, X: Any, n_samples: int = 10_000, random_state: Any = None) -> Self:
        """Refused: `score_samples` is a score of its own here.

        Raises
        ------
        InputError
            Always.
        """
        raise InputError(
            "an AAEOutlierDetector has its own score_samples after fit: for a likelihood, "
            "call fit_density of an AdversarialAutoencoder"
        )

    # --- saving ----------------------------------------------------------------------------------------------------
    def _more_facts(self) -> dict[str, Any]:
        mixture = {name: getattr(self.mixture_, name).tolist() for name in _OF_MIXTURE}
        facts = {"offset_": self.offset_, "standard_": self.standard_, "errors_": self.errors_.tolist()}
        return {**super()._more_facts(), **facts, "mixture_": mixture}

    def _restore_facts(self) -> None:
        from sklearn.mixture import GaussianMixture

        super()._restore_facts()
        known: Any = self.mixture_
        self.mixture_ = GaussianMixture(len(known["weights_"]))
        for name, value in known.items():
            setattr(self.mixture_, name, np.array(value))
        self.errors_ = np.array(self.errors_)


_OF_MIXTURE = ("weights_", "means_", "covariances_", "precisions_cholesky_")
