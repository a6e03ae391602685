"""Style apart from content, the label being known: system S6."""

import itertools
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from pydantic import Field
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from aaekit.core.loop import Callback
from aaekit.core.phase import Step
from aaekit.errors import InputError
from aaekit.estimators._base import UNLABELLED, EmaDecay, Labelled, RatesOverTime, numbers
from aaekit.estimators._hyperparameters import Positive, Rate, Weight, hyperparameters
from aaekit.estimators.autoencoder import Autoencoder, seeded
from aaekit.evaluation.metrics import as_labels
from aaekit.nn.encoder import Code, Decoder, one_hot


@hyperparameters
class SupervisedAAE(Labelled, Autoencoder):
    """Supervised adversarial autoencoder: the label goes into the decoder, so that z keeps the style alone.

    What a row's label says need not be in its code, and the prior leaves no room to say it twice (Makhzani et al.,
    arXiv:1511.05644, section 2.4; Sheet, lecture 53). Matching the codes of all rows together (``"aggregate"``) only
    discourages it: each class may still sit in its own part of the prior. Matching them class by class (``"class"``,
    the discriminator being shown the label) makes z independent of the label. The label can be any condition: a digit,
    the domain a row is from, or several at once, a column of y each.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,), or a list of them
        The labels, sorted; a list if y has several columns.
    networks_ : torch.nn.ModuleDict
        "encoder", "decoder" and "z_discriminator".
    history_ : list of dict
        Losses, rates and times, epoch by epoch.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> model = SupervisedAAE(max_steps=30, hidden=(64,), random_state=0).fit(X / 16, y)
    >>> model.translate(X[:3] / 16, 7).shape
    (3, 64)
    """

    style_matching: Annotated[
        Literal["per_class", "marginal"],
        Field(description="z is matched to the prior class by class (it tells nothing of the label), or all together"),
    ] = "per_class"
    latent_dim: Annotated[
        Positive, Field(description="dimensions of the style code z; the fewer, the surer the label is kept out of it")
    ] = 6
    batch_norm: Annotated[
        bool, Field(description="batch normalisation in a fully connected encoder (convolutional ones always have it)")
    ] = True
    adversarial_weight: Annotated[Weight, Field(description="weight of fooling the discriminators")] = 1.0
    learning_rate: Annotated[Rate, Field(description="learning rate of the reconstruction")] = 2e-3
    generator_rate: Annotated[Rate, Field(description="learning rate of fooling the discriminators")] = 2e-3
    discriminator_learning_rate: Annotated[Rate, Field(description="learning rate of the discriminators")] = 3e-3
    learning_rate_schedule: RatesOverTime = "cosine"
    discriminator_decay: Annotated[
        bool,
        Field(description="let learning_rate_schedule lower the discriminators' rate, too; else it stays constant"),
    ] = False
    ema_decay: EmaDecay = 0.995

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        callbacks: Sequence[Callback] = (),
        eval_set: tuple[Any, Any] | None = None,
    ) -> Self:
        """Train on labelled rows; rows without a label (-1, or None among objects) are left out.

        Parameters
        ----------
        X : array-like (n, n_features) or (n, channels, height, width)
            Numbers of any range (they are standardised), in [0, 1], or bytes: pixels, but in a table numbers if all
            are below 128.
        y : array-like (n,) or (n, n_conditions)
            Labels of any kind; with several columns, each is a condition of its own.
        callbacks : sequence of Callback
            Told of each step and epoch, for instance a run directory.
        eval_set : (X, y), optional
            Rows whose error is put into `history_` each epoch, those without a label left out. They never train, choose
            or stop anything.

        Raises
        ------
        InputError (a ValueError)
            For parameters, rows or labels that are not as declared, or labels of a single class.
        TrainingError
            When a loss stops being finite.
        """
        if y is None:
            raise InputError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        rows = self._learn_rows(X)
        codes = self._learn_conditions(y)
        check_consistent_length(rows, codes)
        known = (codes != UNLABELLED).all(1)
        self.condition_counts_ = [np.bincount(c[known]).tolist() for c in codes.T]
        return self._fit(rows[known], codes[known], callbacks, eval_set)

    # --- labels: a column for each condition -----------------------------------------------------------------------
    def _learn_conditions(self, y: Any) -> np.ndarray:
        """Labels `(n, n_conditions)` as 0, 1, ... and -1; learns `classes_`."""
        columns, found, codes = _columns(y), [], []
        for column in columns:
            codes.append(self._learn_labels(column))
            found.append(self.classes_)
        self.classes_ = found[0] if len(found) == 1 else found
        del self.class_counts_, self.n_unlabelled_  # counted for each condition instead
        return np.stack(codes, 1)

    @property
    def _conditions(self) -> list[np.ndarray]:
        """The labels of each condition."""
        return self.classes_ if isinstance(self.classes_, list) else [self.classes_]

    @property
    def conditions_(self) -> list[np.ndarray]:
        return self._conditions

    def _codes_of(self, y: Any) -> np.ndarray:
        columns = _columns(y)
        if len(columns) != len(self._conditions):
            raise InputError(f"expected {len(self._conditions)} label(s) a row as in fit, got {len(columns)}")
        return np.stack([numbers(column, c) for column, c in zip(columns, self._conditions, strict=True)], 1)

    def _spread(self, label: Any, n: int, unlabelled: bool = False) -> np.ndarray:
        """One label for all rows, or one each, as numbers `(n, n_conditions)`; -1 is refused unless `unlabelled`."""
        label, k = np.asarray(label, dtype=object if isinstance(label, (tuple, list)) else None), len(self._conditions)
        if label.ndim == 0 or (label.shape == (k,) and k > 1):
            label = np.tile(label.reshape(1, -1), (n, 1))
        codes = self._codes_of(label.ravel() if k == 1 else label)
        if len(codes) != n:
            raise InputError(f"expected one label, or one for each of the {n} rows, got {len(codes)}")
        if not unlabelled and (codes == UNLABELLED).any():
            raise InputError(f"expected a label for each row, of {[c.tolist() for c in self._conditions]}")
        return codes

    # --- networks and phases ---------------------------------------------------------------------------------------
    @property
    def _n_classes(self) -> int:
        return sum(map(len, self._conditions))

    def _hot(self, labels: Tensor) -> Tensor:
        """Labels `(n, n_conditions)` as one-hot groups `(n, _n_classes)`."""
        return torch.cat([one_hot(y, len(c)) for y, c in zip(labels.T, self._conditions, strict=True)], 1)

    def _join(self, nets: nn.ModuleDict, code: Code, labels: Tensor | None) -> Tensor:
        assert labels is not None, "the decoder needs the label"
        return torch.cat([self._hot(labels), code.z.float()], 1)

    def _encoder(self, latent_dim: int, n_classes: int, posterior: Any = "deterministic") -> Any:
        return super()._encoder(latent_dim, 0, posterior)  # the label is given, not found

    @property
    def _n_shown(self) -> int:
        return self._n_classes if self.style_matching == "per_class" else 0

    def _shown(self, step: Step) -> Tensor:
        return self._hot(step.labels["unlabelled"])

    def _sources(self, X: Tensor, y: np.ndarray | None) -> dict[str, list[Tensor]]:
        assert y is not None
        return {"unlabelled": [X, torch.from_numpy(y)]}

    def _held_out(self, y: np.ndarray | None, n: int) -> tuple[np.ndarray, np.ndarray]:
        return super()._held_out(None if y is None else y[:, 0], n)

    def _score(self, nets: nn.ModuleDict, X: Tensor, y: np.ndarray | None) -> dict[str, float]:
        known = np.zeros(len(X), bool) if y is None else (y != UNLABELLED).all(1)
        if y is None or not known.any():
            return {}
        error = self._reconstruction_score(nets, X[torch.from_numpy(known)], torch.from_numpy(y[known]))
        return {"reconstruction": error, "score": error}

    def _auto_steps(self, n_rows: int) -> int:
        """The discriminator needs long to find what is left of the label in z."""
        return min(1500 + n_rows // 40, 5000)

    # --- what it can do --------------------------------------------------------------------------------------------
    def generate(self, style: Any, label: Any) -> np.ndarray:
        """Rows of the given styles `(n, latent_dim)` with a label each `(n,)`, or one for all.

        Raises
        ------
        InputError
            For styles of another shape, or labels that were not seen in fit.
        """
        check_is_fitted(self)
        Z = np.asarray(style, dtype=np.float32)
        if Z.ndim != 2 or Z.shape[1] != self.latent_dim:
            raise InputError(f"expected styles of shape (n, {self.latent_dim}), got {Z.shape}")
        hot = self._hot(torch.from_numpy(self._spread(label, len(Z)))).numpy()
        return self._decode(np.concatenate([hot, Z], 1))

    def translate(self, X: Any, label: Any) -> np.ndarray:
        """Rows in the style of X with another label: one for all, or one each `(n,)`."""
        return self.generate(self.transform(X), label)

    def reconstruct(self, X: Any, y: Any = None) -> np.ndarray:
        """Rows as the autoencoder gives them back, by their labels; those that lack one, by what fits best."""
        check_is_fitted(self)
        rows = self._rows(X)
        if y is None:
            labels = np.full((len(rows), len(self._conditions)), UNLABELLED)
        else:
            labels = self._spread(y, len(rows), unlabelled=True)
        missing = (labels == UNLABELLED).any(1)
        if missing.any():
            labels[missing] = self._in_batches(self._best_labels, rows[missing])
        return self._decode(np.concatenate([self._hot(torch.from_numpy(labels)).numpy(), self.transform(X)], 1))

    def _best_labels(self, x: Tensor) -> Tensor:
        """The labels `(n, n_conditions)` under which rows are reconstructed best."""
        decoder, z, every = self.networks_["decoder"], self.networks_["encoder"](x).z, []
        assert isinstance(decoder, Decoder)
        choices = list(itertools.product(*(range(len(c)) for c in self._conditions)))
        for choice in choices:
            hot = self._hot(torch.tensor([choice])).expand(len(x), -1)
            every.append((decoder.mean(torch.cat([hot, z], 1)) - x).flatten(1).square().sum(1))
        return torch.tensor(choices)[torch.stack(every, 1).argmin(1)]

    def _component(self, label: Any) -> Any:
        return None if label is None else self._spread(label, 1)[0]

    def _draw_codes(self, n: int, component: Any, random_state: Any) -> np.ndarray:
        with seeded(random_state):
            z = self._prior().sample(n).float()
            if component is None:
                shares = [torch.tensor(c, dtype=torch.float64) for c in self.condition_counts_]
                labels = torch.stack([torch.multinomial(c, n, replacement=True) for c in shares], 1)
            else:
                labels = torch.from_numpy(component).expand(n, -1)
            return torch.cat([self._hot(labels), z], 1).numpy()

    def _more_facts(self) -> dict[str, Any]:
        return {
            "conditions": [c.tolist() for c in self._conditions],
            "dtypes": [str(c.dtype) for c in self._conditions],
            "condition_counts_": self.condition_counts_,
        }

    def _restore_facts(self) -> None:
        lists, dtypes = self.__dict__.pop("conditions"), self.__dict__.pop("dtypes")
        found = [np.array(c, dtype=d) for c, d in zip(lists, dtypes, strict=True)]
        self.classes_ = found[0] if len(found) == 1 else found


def _columns(y: Any) -> list[np.ndarray]:
    """The columns of labels `(n,)` or `(n, k)`."""
    y = as_labels(y)
    if y.ndim == 2 and y.shape[1] > 1:
        return list(y.T)
    return [y]
