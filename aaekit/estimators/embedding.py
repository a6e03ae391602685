"""Maps of the data in a few dimensions: system S11."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from pydantic import Field
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from aaekit import losses, priors
from aaekit.core import phase
from aaekit.core.loop import Callback
from aaekit.core.phase import Phase, Step
from aaekit.errors import InputError
from aaekit.estimators._base import UNLABELLED, _labelled, numbers
from aaekit.estimators._hyperparameters import Length, Positive, Rate, Weight, hyperparameters
from aaekit.estimators.categorical import PartlyLabelled
from aaekit.evaluation.metrics import clustering_accuracy, error_rate
from aaekit.nn.encoder import Code, one_hot


class Centroids(nn.Module):
    """W: a point `(K, d)` of the map for each value of y."""

    def __init__(self, n_heads: int, n_dims: int, margin: float) -> None:
        super().__init__()
        k = torch.arange(n_heads)
        if n_dims == 2:  # the seeds of a sunflower: even, and about `margin` apart
            angle, r = k * 2.39996, margin / 1.7 * (k + 0.5).sqrt()
            at = r[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
        elif n_dims == 1:
            at = margin * (k[:, None] - (n_heads - 1) / 2)
        else:
            at = torch.nn.functional.normalize(torch.randn(n_heads, n_dims), dim=1) * margin
        self.weight = nn.Parameter(at.float())

    def forward(self, y: Tensor) -> Tensor:
        return y @ self.weight


@hyperparameters
class EmbeddingAAE(PartlyLabelled):
    """Dimensionality reduction: each row is at the head of its cluster plus a style, y W + z, in `latent_dim` dimensions.

    The heads W are learned and kept apart by a margin; the decoder sees the sum (Makhzani et al., arXiv:1511.05644,
    section 6). With labels, even a few, there is a head for each class; without, one for each of `n_clusters` clusters.
    `transform` gives the map, `inverse_transform` leads back from any of its points.

    Attributes
    ----------
    centroids_ : ndarray of shape (n_heads, latent_dim)
        Where on the map the classes or clusters have their centres.
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted; only if there were any.
    networks_ : torch.nn.ModuleDict
        "encoder", "decoder", "heads", "y_discriminator" and "z_discriminator".
    history_ : list of dict
        Losses, rates and times, epoch by epoch.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> y[100:] = -1
    >>> model = EmbeddingAAE(max_steps=50, hidden=(64,), random_state=0).fit(X / 16, y)
    >>> model.transform(X[:3] / 16).shape, model.inverse_transform([[0, 0]]).shape
    ((3, 2), (1, 64))
    """

    latent_dim: Annotated[Positive, Field(description="dimensions of the map")] = 2
    n_clusters: Annotated[Positive, Field(description="heads, where there are no labels")] = 20
    decision_weight: Annotated[
        Weight, Field(description="weight of the entropy of y given a row, where there are no labels")
    ] = 0.1
    balance_weight: Annotated[
        Literal["auto"] | Weight,
        Field(description="weight of keeping the mean of y at the class prior; 'auto' is 10 with labels, 1 without: "
              "clusters need not be alike in size"),
    ] = "auto"  # fmt: skip
    adversarial_weight: Annotated[
        Weight,
        Field(description="weight of fooling the discriminators; without labels, a tenth of it for that of z, and a "
              "hundredth for that of y"),
    ] = 1.0  # fmt: skip
    discriminator_learning_rate: Annotated[Rate, Field(description="learning rate of the discriminators")] = 3e-3
    discriminator_decay: Annotated[
        bool,
        Field(description="let learning_rate_schedule lower the discriminators' rate, too; else it stays constant"),
    ] = False
    centroid_margin: Annotated[
        Length, Field(description="distance at which heads are kept apart, in units of the prior of z")
    ] = 6.0
    head_weight: Annotated[Weight, Field(description="weight of keeping the heads apart")] = 1.0
    head_rate: Annotated[Rate, Field(description="learning rate of keeping the heads apart")] = 2e-3

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        callbacks: Sequence[Callback] = (),
        eval_set: tuple[Any, Any] | None = None,
    ) -> Self:
        """Learn a map of rows `(n, n_features)` or images `(n, channels, height, width)`.

        Parameters
        ----------
        X : array-like
            Numbers of any range (they are standardised), in [0, 1], or bytes: pixels, but in a table numbers if all
            are below 128.
        y : array-like (n,), optional
            Labels of any kind, -1 (or None, among objects) where there is none. Without any, clusters are found.
        callbacks : sequence of Callback
            Told of each step and epoch, for instance a run directory.
        eval_set : (X, y), optional
            Rows whose error is put into `history_` each epoch. They never train, choose or stop anything.

        Raises
        ------
        InputError (a ValueError)
            For parameters, rows or labels that are not as declared, or more clusters than rows.
        TrainingError
            When a loss stops being finite.
        """
        rows, codes = self._learn_rows(X), None
        if y is not None:
            check_consistent_length(rows, y)
        if y is not None and _labelled(y)[1].any():
            codes = self._learn_labels(y)
        else:
            self._check_clusters(self.n_clusters, len(rows))
            for name in ("classes_", "class_counts_", "class_frequencies_", "n_unlabelled_", "_guess"):
                self.__dict__.pop(name, None)
        return self._fit(rows, codes, callbacks, eval_set)

    # --- networks and phases ---------------------------------------------------------------------------------------
    @property
    def _has_labels(self) -> bool:
        return hasattr(self, "classes_")

    @property
    def _n_classes(self) -> int:
        return len(self.classes_) if self._has_labels else self.n_clusters

    @property
    def _consistency(self) -> str:
        chosen = super()._consistency
        return chosen if self._has_labels or chosen != "auto" else self._consistency_without_labels

    def _auto_steps(self, n_rows: int) -> int:
        """Clusters settle late: longer than with labels."""
        return min((0 if self._has_labels else 800) + super()._auto_steps(n_rows), 5000)

    @property
    def _n_code(self) -> int:
        return self.latent_dim

    def _class_prior(self) -> priors.Categorical:
        return super()._class_prior() if self._has_labels else priors.Categorical(self.n_clusters)

    def _balance_weight(self) -> float:
        return (10.0 if self._has_labels else 1.0) if self.balance_weight == "auto" else self.balance_weight

    def _networks(self) -> dict[str, nn.Module]:
        return super()._networks() | {"heads": Centroids(self._n_classes, self.latent_dim, self.centroid_margin)}

    def _join(self, nets: nn.ModuleDict, code: Code, labels: Tensor | None) -> Tensor:
        """The place on the map: the head of the likeliest y plus z. A mixture of heads would lie among others.

        The reconstruction moves z and W; y only (as if it were not rounded) where no other loss says what y is.
        """
        y = one_hot(code.y.argmax(1), self._n_classes)
        if not (self._agrees or self._smooths or self._all_augmented):
            y = y + code.y - code.y.detach()
        return nets["heads"](y) + code.z.float()

    def _reconstructors(self, nets: nn.ModuleDict) -> tuple[nn.Module, ...]:
        return nets["encoder"], nets["decoder"], nets["heads"]

    def _class_losses(self, nets: nn.ModuleDict) -> dict[str, tuple[Callable[[Step], Tensor], float]]:
        return super()._class_losses(nets) if self._has_labels else self._without_labels(self.decision_weight)

    def _phases(self, nets: nn.ModuleDict) -> list[Phase]:
        heads, listed = nets["heads"], super()._phases(nets)
        if not self._has_labels:  # pressed harder, y would decide for clusters before it has found any
            listed = phase.softened(listed, {"z/generator": 0.1, "y/generator": 0.01})
        if self.head_weight:
            assert isinstance(heads, Centroids)
            apart: Callable[[Step], Tensor] = lambda step: losses.mode_separation(heads.weight, self.centroid_margin)
            listed += [Phase("heads", apart, (heads,), self.head_rate, self.momentum, self.head_weight)]
        return listed

    def _sources(self, X: Tensor, y: np.ndarray | None) -> dict[str, list[Tensor]]:
        return {"unlabelled": [X]} if y is None else super()._sources(X, y)

    def _score(self, nets: nn.ModuleDict, X: Tensor, y: np.ndarray | None) -> dict[str, float]:
        found = {"score": self._reconstruction_score(nets, X)}
        found["reconstruction"] = found["score"]
        if y is not None and (y != UNLABELLED).any():
            nearest = self._nearest(self._map(nets, X), self._points(nets))
            if self._has_labels:
                found["error"] = found["score"] = error_rate(y, nearest)
            else:
                found["error"] = 100 - clustering_accuracy(y, nearest, "majority")
        return found

    def _codes_of(self, y: Any) -> np.ndarray | None:
        if self._has_labels:
            return super()._codes_of(y)
        y, labelled = _labelled(y)
        return numbers(y, np.unique(y[labelled]))

    # --- what it can do --------------------------------------------------------------------------------------------
    def _map(self, nets: nn.ModuleDict, rows: np.ndarray | Tensor) -> np.ndarray:
        device = next(nets.parameters()).device
        return self._in_batches(lambda x: self._join(nets, nets["encoder"](x.to(device)), None), rows)

    @staticmethod
    def _points(nets: nn.ModuleDict) -> np.ndarray:
        heads = nets["heads"]
        assert isinstance(heads, Centroids)
        return heads.weight.detach().cpu().numpy()

    @staticmethod
    def _nearest(at: np.ndarray, heads: np.ndarray) -> np.ndarray:
        """The nearest head of each point."""
        return ((at[:, None] - heads) ** 2).sum(2).argmin(1)

    @property
    def centroids_(self) -> np.ndarray:
        """Where the classes or clusters have their centres, shape `(n_heads, latent_dim)`."""
        check_is_fitted(self)
        return self._points(self.networks_)

    def transform(self, X: Any) -> np.ndarray:
        """The place of each row on the map, y W + z; shape `(n, latent_dim)`."""
        rows = self._rows(X)
        return self._map(self.networks_, rows)

    def predict(self, X: Any) -> np.ndarray:
        """The class, or without labels the cluster, whose head is nearest on the map; shape `(n,)`."""
        nearest = self._nearest(self.transform(X), self.centroids_)
        return self.classes_[nearest] if self._has_labels else nearest

    def generate(self, y: Any, Z: Any = None, random_state: Any = None) -> np.ndarray:
        """Rows of the given classes `(n,)`, or without labels of the heads of these numbers.

        `Z` are styles `(n, latent_dim)`, places relative to the head; without, they are draws of the prior.

        Raises
        ------
        InputError
            For classes or heads that there are not, rows without a class, or styles of another shape.
        """
        check_is_fitted(self)
        if self._has_labels:
            return super().generate(y, Z, random_state)
        k = np.asarray(y)
        if k.ndim != 1 or k.dtype.kind not in "iu" or not ((k >= 0) & (k < self.n_clusters)).all():
            raise InputError(f"expected heads (n,) from 0 to {self.n_clusters - 1}, got {y!r}")
        return self._generate(k, Z, random_state)

    def sample_prior(self, n_samples: int, random_state: Any = None) -> np.ndarray:
        """Draws of what the map should be like, `(n_samples, latent_dim)`: a head by the class prior plus z by its own."""
        check_is_fitted(self)
        return self._draw_codes(n_samples, None, random_state)

    def _with_style(self, y: Tensor, z: Tensor) -> Tensor:
        return (self.networks_["heads"](y) + z.float()).detach()
