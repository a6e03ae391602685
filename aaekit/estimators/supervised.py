"""Style separated from content, where the label is known (Makhzani et al., *Adversarial Autoencoders*, section 2.4)."""

import itertools
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from sklearn.utils import check_consistent_length
from torch import Tensor

from aaekit import divergences, losses
from aaekit.core.phase import Phase, match
from aaekit.errors import InputError
from aaekit.estimators._autoencoder import Autoencoder, draw, reconstruction_score, seeded
from aaekit.estimators._base import RandomState, Sources
from aaekit.estimators._building import new_coders, new_critic
from aaekit.estimators._hyperparameters import hyperparameters
from aaekit.estimators._labels import learn_labels
from aaekit.estimators._plan import DataSummary, Plan
from aaekit.estimators._rows import in_batches, learn_rows
from aaekit.labels import UNLABELLED, as_labels, label_indices
from aaekit.nn.encoder import Code, one_hot
from aaekit.nn.networks import AutoencoderNetworks
from aaekit.nn.step import EncoderStep

__all__ = ["SupervisedAAE"]

GENERATOR = 1.0  # weight of fooling the discriminator


@hyperparameters
class SupervisedAAE(Autoencoder[AutoencoderNetworks]):
    """Supervised adversarial autoencoder: the label goes into the decoder, so that z keeps the style alone.

    What the label says about a row need not be in its code, and the prior leaves no room to say it twice (Makhzani et
    al., arXiv:1511.05644, section 2.4; Sheet, *Deep Learning for Visual Computing* (NPTEL), lecture 53). Matching the
    codes of all rows together (``"marginal"``) only discourages it: each class may still occupy its own part of the
    prior. Matching them class by class (``"per_class"``, the discriminator being shown the label) makes z independent
    of the label. The label can be any condition: a digit, the domain of a row, or several at once, a column of y each.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,), or a list of them
        The labels, sorted; a list if y has several columns.
    conditions_ : list of ndarray
        The labels of each column.
    plan_ : Plan
        What every "auto" stood for.
    networks_ : AutoencoderNetworks
        encoder, decoder and z_discriminator.
    history_ : list of dict
        Losses, learning rates and times, epoch by epoch.

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
        "Codes and priors",
        Field(
            description="z is matched to its prior class by class (it says nothing about the label), or for all rows "
            "together, as in the paper"
        ),
    ] = "per_class"
    latent_dim = 6
    batch_norm = True
    learning_rate = 2e-3
    discriminator_learning_rate = 3e-3
    learning_rate_schedule = "cosine"
    ema_decay = 0.995
    _makes_classes = True

    def plan(self, data: DataSummary) -> Plan:
        """What every "auto" stands for; the discriminator takes long to find what z still says about the label."""
        n_classes = sum(map(len, self.conditions_))
        return self._planned(data, min(1500 + data.n_rows // 40, 5000), n_classes=n_classes)

    def networks(self, plan: Plan) -> AutoencoderNetworks:
        """Encoder to z, decoder of the labels and z, and a critic of z, which may be shown the labels."""
        encoder, decoder = new_coders(self, plan, plan.n_classes + self.latent_dim)
        n_shown = plan.n_classes if self.style_matching == "per_class" else 0
        z_discriminator = new_critic(self, self.latent_dim + n_shown, plan.weight("z/generator", GENERATOR))
        return AutoencoderNetworks(encoder, decoder, z_discriminator)

    def phases(self, nets: AutoencoderNetworks, plan: Plan) -> list[Phase[EncoderStep]]:
        """Reconstruction from z and the label, and regularisation of z, by default given the label."""
        prior, per_class = self.prior_, self.style_matching == "per_class"

        def with_label(step: EncoderStep, z: Tensor) -> Tensor:
            return torch.cat([z.float(), self._hot(step.labels["unlabelled"])], 1) if per_class else z

        return [
            Phase(
                "reconstruction",
                partial(losses.reconstruction_loss, kind=plan.reconstruction),
                (nets.encoder, nets.decoder),
                plan.weight("reconstruction", 10 / plan.data.n_values),
            ),
            *match(
                "z",
                lambda step: with_label(step, step.code().z),
                lambda step: with_label(step, draw(prior, step)),
                divergences.make(self.divergence),
                nets.z_discriminator,
                (nets.encoder,),
                weight=plan.weight("z/generator", GENERATOR),
                scheduled=False,
            ),
        ]

    # --- labels: a column for each condition -------------------------------------------------------------------------
    def _learn(self, X: ArrayLike, y: ArrayLike | None) -> tuple[NDArray[Any], NDArray[np.int64]]:
        if y is None:
            raise InputError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        rows = learn_rows(self, X)
        self.conditions_: list[Any] = []
        indices = []
        for column in _columns(y):
            indices.append(learn_labels(self, column))
            self.conditions_.append(self.classes_)
        self.classes_: Any = self.conditions_[0] if len(self.conditions_) == 1 else self.conditions_
        del self.class_counts_, self.n_unlabelled_  # counted for each condition instead
        labels = np.stack(indices, 1)
        check_consistent_length(rows, labels)
        labelled = (labels != UNLABELLED).all(1)
        self.condition_counts_: list[Any] = [np.bincount(column[labelled]).tolist() for column in labels.T]
        return rows[labelled], labels[labelled]

    def _label_indices(self, y: ArrayLike) -> NDArray[np.int64]:
        columns = _columns(y)
        if len(columns) != len(self.conditions_):
            raise InputError(f"y: expected {len(self.conditions_)} label(s) a row, as in fit, got {len(columns)}")
        return np.stack([label_indices(column, c) for column, c in zip(columns, self.conditions_, strict=True)], 1)

    def _broadcast_labels(self, y: Any, n: int | None, with_unlabelled: bool = False) -> NDArray[np.int64]:
        """One label for all of `n` rows, or one each, as indices `(n, n_conditions)`."""
        k = len(self.conditions_)
        labels = np.asarray(y, dtype=object if isinstance(y, tuple | list) else None)
        if labels.ndim == 0 or (labels.shape == (k,) and k > 1):
            labels = np.tile(labels.reshape(1, -1), (1 if n is None else n, 1))
        indices = self._label_indices(labels.ravel() if k == 1 else labels)
        if n is not None and len(indices) != n:
            raise InputError(f"y: expected one label, or one for each of the {n} rows, got {len(indices)}")
        if not with_unlabelled and (indices == UNLABELLED).any():
            classes = [c.tolist() for c in self.conditions_]
            raise InputError(f"y: expected a label for each row, of {classes}, got unlabelled rows")
        return indices

    def _hot(self, labels: Tensor) -> Tensor:
        """Labels `(n, n_conditions)` as one-hot groups `(n, n_classes)`."""
        return torch.cat([one_hot(y, len(c)) for y, c in zip(labels.T, self.conditions_, strict=True)], 1)

    def _join(self, nets: AutoencoderNetworks, code: Code, labels: Tensor | None) -> Tensor:
        assert labels is not None, "the decoder needs the label"
        return torch.cat([self._hot(labels), code.z.float()], 1)

    def _sources(self, X: Tensor, y: NDArray[np.int64] | None, plan: Plan) -> tuple[Sources, Plan]:
        assert y is not None
        return {"unlabelled": {"rows": X, "labels": torch.from_numpy(y)}}, plan

    def _score(self, nets: AutoencoderNetworks, X: Tensor, y: NDArray[np.int64] | None) -> dict[str, float]:
        if y is None or not (labelled := (y != UNLABELLED).all(1)).any():
            return {}
        return reconstruction_score(self, nets, X[torch.from_numpy(labelled)], torch.from_numpy(y[labelled]))

    # --- what it can do ----------------------------------------------------------------------------------------------
    def _value_indices(self, y: ArrayLike, n: int | None) -> NDArray[np.int64]:
        return self._broadcast_labels(y, n)

    def translate(self, X: ArrayLike, y: ArrayLike) -> NDArray[Any]:
        """Rows in the style of X with another label: one for all, or one each, `(n,)` or `(n, n_conditions)`.

        Raises
        ------
        InputError
            For labels that were not seen in fit, or another number of labels than of rows.
        """
        z = self._encode(self._rows(X))
        return self.generate(y, z)

    def reconstruct(self, X: ArrayLike, y: ArrayLike | None = None) -> NDArray[Any]:
        """Rows as the autoencoder reconstructs them from their labels; unlabelled rows by the label that fits best."""
        rows = self._rows(X)
        if y is None:
            labels = np.full((len(rows), len(self.conditions_)), UNLABELLED)
        else:
            labels = self._broadcast_labels(y, len(rows), with_unlabelled=True)
        missing = (labels == UNLABELLED).any(1)
        if missing.any():
            labels[missing] = in_batches(self.networks_, self._best_labels, rows[missing])
        return self._decode(self._joined(torch.from_numpy(labels), torch.from_numpy(self._encode(rows))))

    def _best_labels(self, nets: AutoencoderNetworks, x: Tensor) -> Tensor:
        """The labels `(n, n_conditions)` under which rows are reconstructed best."""
        z, errors = nets.encoder(x).z, []
        choices = list(itertools.product(*(range(len(c)) for c in self.conditions_)))
        for choice in choices:
            hot = self._hot(torch.tensor([choice])).expand(len(x), -1)
            errors.append((nets.decoder.mean(torch.cat([hot, z], 1)) - x).flatten(1).square().sum(1))
        return torch.tensor(choices)[torch.stack(errors, 1).argmin(1)]

    def _component(self, label: object) -> Any:
        return None if label is None else self._broadcast_labels(label, 1)[0]

    def _draw_codes(self, n: int, component: Any, random_state: RandomState) -> Tensor:
        with seeded(random_state):
            z = self.prior_.sample(n).float()
            if component is None:
                counts = [torch.tensor(c, dtype=torch.float64) for c in self.condition_counts_]
                labels = torch.stack([torch.multinomial(c, n, replacement=True) for c in counts], 1)
            else:
                labels = torch.from_numpy(component).expand(n, -1)
            return self._joined(labels, z)


def _columns(y: ArrayLike) -> list[NDArray[Any]]:
    """The columns of labels `(n,)` or `(n, k)`."""
    labels = as_labels(y)
    return list(labels.T) if labels.ndim == 2 and labels.shape[1] > 1 else [labels]
