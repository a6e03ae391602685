"""The samples of a model as a density of rows, by a Parzen window."""

from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import NotFittedError

from aaekit.core.random import seed_of
from aaekit.errors import InputError
from aaekit.estimators._autoencoder import Autoencoder
from aaekit.estimators._base import RandomState
from aaekit.estimators._rows import in_batches
from aaekit.evaluation.metrics import choose_parzen_sigma, parzen_log_likelihood
from aaekit.nn.networks import AutoencoderNetworks

__all__ = ["ParzenDensity", "Samples"]

BLOCK = 2**21  # values in memory at a time: 8 MiB


class ParzenDensity(Autoencoder[AutoencoderNetworks]):
    """Mixin of autoencoders whose own samples are a density of rows."""

    def fit_density(self, X: ArrayLike, n_samples: int = 10_000, random_state: RandomState = None) -> Self:
        """Make the model's own samples a density, by a Parzen window whose width is chosen on validation rows.

        Parameters
        ----------
        X : array-like of shape (n, n_features) or (n, channels, height, width)
            Validation rows, in the units of fit, other than those that `score_samples` will judge. A thousand are
            enough.
        n_samples : int, default 10_000
            Windows: rows decoded from draws of the prior. They are drawn again in blocks whenever they are needed, so
            that there may be millions: memory does not grow with them.
        random_state : int, RandomState or None
            Of the draws.

        Returns
        -------
        self
            With ``sigma_``, the width, in the units of `score_samples`, and ``density_``, number and seed of the draws.

        Raises
        ------
        InputError
            For rows that are not like those of fit, or n_samples below 1.

        References
        ----------
        Makhzani et al., *Adversarial Autoencoders*, arXiv:1511.05644, section 3.
        """
        rows = self._rows(X)
        if not isinstance(n_samples, (int, np.integer)) or n_samples < 1:
            raise InputError(f"n_samples: expected a whole number of at least 1, for instance 10000, got {n_samples!r}")
        seed = seed_of(random_state)
        density = {"n_samples": int(n_samples), "random_state": seed}
        self.sigma_: float = choose_parzen_sigma(rows, Samples(self, **density))
        self.density_ = density
        return self

    def score_samples(self, X: ArrayLike) -> NDArray[np.float64]:
        """Parzen-window log-likelihood of rows, after `fit_density`.

        Parameters
        ----------
        X : array-like of shape (n, n_features) or (n, channels, height, width)
            Rows in the units of fit.

        Returns
        -------
        ndarray of shape (n,)
            In nats: the log of a density over the values of a row. Images count in [0, 1], table columns in standard
            deviations of those in fit. For its limits see `metrics.parzen_log_likelihood`.

        Raises
        ------
        NotFittedError
            Before `fit_density`.
        """
        if not hasattr(self, "density_"):
            raise NotFittedError(
                f"this {type(self).__name__} has no density yet: call fit_density(X) with validation rows first"
            )
        rows, samples = self._rows(X), Samples(self, **self.density_)
        size = 4 * samples.block  # rows in memory; for each such part all samples are drawn again
        parts = [rows[i : i + size] for i in range(0, len(rows), size)]
        return np.concatenate([parzen_log_likelihood(part, samples, self.sigma_) for part in parts])


class Samples:
    """Scaled rows `(n, d)` that a model makes, the same at each iteration, a block in memory at a time."""

    def __init__(self, model: Any, n_samples: int, random_state: int) -> None:
        self.model, self.n_samples, self.random_state = model, n_samples, random_state
        self.block = max(1, BLOCK // int(np.prod(model.shape_)))

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        random = np.random.RandomState(self.random_state)
        for i in range(0, self.n_samples, self.block):
            codes = self.model._draw_codes(min(self.block, self.n_samples - i), None, random)
            decoder = self.model.networks_.decoder
            yield in_batches(decoder, lambda decoder, z: decoder.mean(z), codes).reshape(len(codes), -1)
