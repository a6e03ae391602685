"""Clusters without a single label, and names for them: system S10."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, Self
from weakref import WeakSet

import numpy as np
import torch
from pydantic import Field
from sklearn.base import ClusterMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from aaekit import losses
from aaekit.augment import AffineImages
from aaekit.core import phase
from aaekit.core.loop import Callback
from aaekit.core.phase import Phase, Step
from aaekit.errors import InputError
from aaekit.estimators._base import UNLABELLED, _labelled, numbers
from aaekit.estimators._hyperparameters import Length, Positive, Rate, Weight, hyperparameters
from aaekit.estimators.categorical import CategoricalAutoencoder
from aaekit.evaluation.metrics import cluster_use, clustering_accuracy
from aaekit.nn import backbones, context
from aaekit.nn.encoder import Code, Decoder, one_hot


@hyperparameters
class ClusteringAAE(ClusterMixin, CategoricalAutoencoder):
    """Clustering adversarial autoencoder: y has a value for each cluster, z the style; no labels.

    y is matched to a categorical prior and z to `prior`, as with labels (Makhzani et al., arXiv:1511.05644, section 5).
    Five additions of Azulay's *adversarial-autoencoder-classifier* (2019) can be switched on or off, one by one, by
    `cyclic_weight`, `style_weight`, `mode_weight`, `separation_weight` and `adversarial_prior`. What makes the clusters
    classes is mostly something else: y must hold still under small changes of a row (`consistency`), decide
    (`decision_weight`), and use every cluster (`balance_weight`), as in Hu et al., *Learning Discrete Representations
    via Information Maximizing Self-Augmented Training*, arXiv:1702.08720.

    Attributes
    ----------
    labels_ : ndarray of shape (n,)
        The cluster of each row of fit.
    cluster_counts_ : list of int
        Rows of fit in each cluster.
    n_used_clusters_ : int
        Clusters that have at least a twentieth of an even share.
    marginal_entropy_ : float
        Of the mean of y over the rows of fit; 1 when all clusters are as large, 0 when there is one.
    cluster_names_ : dict
        From cluster to name, after `name_clusters`.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X = load_digits(return_X_y=True)[0] / 16
    >>> model = ClusteringAAE(n_clusters=10, max_steps=300, hidden=(64,), random_state=0).fit(X)
    >>> model.modes().shape
    (10, 64)
    >>> model.name_clusters({k: f"shape {k}" for k in range(10)}).predict(X[:2]).shape
    (2,)
    """

    n_clusters: Annotated[Positive, Field(description="values of y; more than there are classes make purer ones")] = 16
    consistency: Annotated[
        Literal["auto", "augmentation", "virtual_adversarial", "both", "none"],
        Field(description="what must not change y: the augmentation, the worst direction nearby, or both; 'auto' is "
              "the first for images, both for tables, and the second where there is no augmentation"),
    ] = "auto"  # fmt: skip
    balance_weight: Annotated[
        Weight,
        Field(description="weight of keeping clusters alike in size; 10 where each is to be one of as many classes, "
              "alike in size themselves"),
    ] = 1.0  # fmt: skip
    least_share: Annotated[
        Literal["auto"] | Annotated[float, Field(ge=0, le=1)],
        Field(description="clusters begin as alike in size; from the 600th step on balance lets their sizes give way, "
              "but wants no cluster smaller than this part of an even share; 1 wants all alike throughout, and 'auto' "
              "is 0.5 for images that are warped, else 1"),
    ] = "auto"  # fmt: skip
    decision_weight: Annotated[Weight, Field(description="weight of the entropy of y given a row")] = 0.1
    cyclic_weight: Annotated[
        Weight, Field(description="weight of y and z coming back when the reconstruction is encoded again")
    ] = 0.0
    style_weight: Annotated[
        Weight, Field(description="weight of the mean squared length of z, which pushes information into y")
    ] = 0.0
    mode_weight: Annotated[
        Weight, Field(description="weight of the reconstruction by a second decoder that sees y alone")
    ] = 0.0
    separation_weight: Annotated[
        Weight, Field(description="weight of keeping the decoder's modes (z = 0) of the clusters apart")
    ] = 0.0
    separation_margin: Annotated[
        Length, Field(description="distance from which modes are apart; 1 is the rows' distance from their mean")
    ] = 0.5
    adversarial_prior: Annotated[
        bool, Field(description="draw clusters from the prior more often if the encoder uses them less")
    ] = True
    n_init: Annotated[
        Literal["auto"] | Positive,
        Field(description="starts, of which the one goes on that is surest of the rows, and whose clusters are as "
              "alike in size as balance_weight asks, after a third of the steps or 600; 'auto' is 6 for images that "
              "are warped, else 1; in trainings of fewer than 300 steps always 1"),
    ] = "auto"  # fmt: skip
    cyclic_rate: Annotated[Rate, Field(description="learning rate of the cyclic loss")] = 2e-3
    mode_rate: Annotated[Rate, Field(description="learning rate of the mode decoder")] = 2e-3
    separation_rate: Annotated[Rate, Field(description="learning rate of keeping the modes apart")] = 2e-3

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        callbacks: Sequence[Callback] = (),
        eval_set: tuple[Any, Any] | None = None,
    ) -> Self:
        """Find clusters of rows `(n, n_features)` or images `(n, channels, height, width)`; y is ignored.

        Parameters
        ----------
        X : array-like
            Numbers of any range (they are standardised), in [0, 1], or bytes: pixels, but in a table numbers if all
            are below 128.
        y : ignored
        callbacks : sequence of Callback
            Told of each step and epoch, for instance a run directory.
        eval_set : (X, y), optional
            Rows whose error by the majority rule is put into `history_` each epoch. They never train, choose or stop
            anything.

        Raises
        ------
        InputError (a ValueError)
            For parameters or rows that are not as declared, or more clusters than rows.
        TrainingError
            When a loss stops being finite.

        Warns
        -----
        ConvergenceWarning
            When clusters stayed unused or a few took most rows.
        """
        rows = self._learn_rows(X)
        self._check_clusters(self.n_clusters, len(rows))
        for name in ("classes_", "cluster_names_"):
            self.__dict__.pop(name, None)
        self._fit(rows, None, callbacks, eval_set)
        p = self._probabilities(self.networks_, rows)
        self.labels_ = p.argmax(1)
        self._take_stock(p)
        return self

    def _take_stock(self, p: np.ndarray) -> None:
        """Count the clusters that are used, and warn of a collapse."""
        use = cluster_use(p)
        self.cluster_counts_, self.n_used_clusters_ = use.counts.tolist(), int(use.used.sum())
        self.marginal_entropy_ = use.entropy
        if use.collapsed:
            warnings.warn(
                f"only {self.n_used_clusters_} of {self.n_clusters} clusters are used, and the entropy of their shares "
                f"is {self.marginal_entropy_:.2f} of its largest value: train longer, raise balance_weight "
                f"(now {self.balance_weight:g}), or ask for fewer clusters",
                ConvergenceWarning,
                stacklevel=3,
            )

    # --- networks and phases ---------------------------------------------------------------------------------------
    @property
    def _n_classes(self) -> int:
        return self.n_clusters

    @property
    def _consistency(self) -> str:
        return self._consistency_without_labels if self.consistency == "auto" else self.consistency

    @property
    def _warps(self) -> bool:
        """Whether warps of images say what stays in a cluster."""
        return len(self.shape_) == 3 and self._agrees

    @property
    def _least_share(self) -> float:
        if self.least_share != "auto":
            return self.least_share
        return 0.5 if self._warps else 1.0

    def _n_starts(self, n_rows: int) -> int:
        if self.n_init != "auto":
            return self.n_init
        return 6 if self._warps else 1

    def _augmentation(self) -> Callable[[Tensor], Tensor]:
        """Warps do not bend here: no label says that a four whose top is bent shut is no nine."""
        vary = super()._augmentation()
        named = isinstance(self.augmentation, str)
        return replace(vary, bend=0.0) if named and isinstance(vary, AffineImages) else vary

    def _auto_steps(self, n_rows: int) -> int:
        """Clusters settle late: longer than with labels."""
        return min(800 + super()._auto_steps(n_rows), 5000)

    def _networks(self) -> dict[str, nn.Module]:
        nets = super()._networks()
        if self.mode_weight:
            backbone = backbones.decoder_backbone(
                self.backbone if isinstance(self.backbone, str) else "auto",
                self.n_clusters,
                self.shape_,
                hidden=self.hidden,
                channels=self.channels,
                dropout=self.dropout,
            )
            nets["mode_decoder"] = Decoder(backbone, self.unit_range_)
        if self.adversarial_prior and self._matches:
            nets["cluster_usage"] = losses.ClassFrequencies(self._class_prior().mean, decay=0.8)
        return nets

    def _join(self, nets: nn.ModuleDict, code: Code, labels: Tensor | None) -> Tensor:
        """`[y, z]`. Where clusters follow from smoothness alone, the reconstruction leaves y as it is."""
        return (code.with_fixed_y() if self._only_smooths else code).joined

    def _class_losses(self, nets: nn.ModuleDict) -> dict[str, tuple[Callable[[Step], Tensor], float]]:
        return self._without_labels(self.decision_weight)

    def _phases(self, nets: nn.ModuleDict) -> list[Phase]:
        listed, kind, momentum = super()._phases(nets), self._reconstruction_kind(), self.momentum
        if self._only_smooths:  # pressed harder, y would decide for clusters before it has found any
            listed = phase.softened(listed, {"y/generator": 0.1})
        encoder, decoder, scale = nets["encoder"], nets["decoder"], self._reconstruction_weight()
        if self.cyclic_weight:
            both = (encoder, decoder)
            listed += [Phase("cyclic", losses.cyclic_loss, both, self.cyclic_rate, momentum, self.cyclic_weight)]
        if self.style_weight:
            rate, weight = self.learning_rate, self.style_weight
            listed += [Phase("style", losses.style_l2, (encoder,), rate, momentum, weight)]
        if self.mode_weight:
            modes = nets["mode_decoder"]
            assert isinstance(modes, Decoder)
            listed += [
                Phase(
                    "mode",
                    lambda step: losses.mode_reconstruction_loss(step, modes, kind),
                    (encoder, modes),
                    self.mode_rate,
                    momentum,
                    self.mode_weight * scale,
                )
            ]
        if self.separation_weight:
            assert isinstance(decoder, Decoder)
            listed += [
                Phase(
                    "separation",
                    lambda step: losses.mode_separation(self._spread_modes(decoder), self.separation_margin),
                    (decoder,),
                    self.separation_rate,
                    momentum,
                    self.separation_weight,
                )
            ]
        return listed

    def _spread_modes(self, decoder: Decoder) -> Tensor:
        """The decoder's modes `(K, n_features)`, in units of the rows' distance from their mean."""
        device = next(decoder.parameters()).device
        with context.evaluating(decoder):  # a few modes are no minibatch to take statistics from
            return decoder.mean(self._mode_codes(device)).flatten(1) / self.data_radius_

    def _mode_codes(self, device: torch.device | str = "cpu") -> Tensor:
        """What the decoder sees for each cluster's mode: `[one-hot k, z = 0]`, shape `(K, n_code)`."""
        K = self.n_clusters
        return torch.cat([torch.eye(K, device=device), torch.zeros(K, self.latent_dim, device=device)], 1)

    def _real_y(self, nets: nn.ModuleDict) -> Callable[[Step], Tensor] | None:
        if not self.adversarial_prior:
            return None
        usage, K = nets["cluster_usage"], self.n_clusters
        assert isinstance(usage, losses.ClassFrequencies)
        counted: WeakSet[Step] = WeakSet()  # both phases of the game draw

        def draw(step: Step) -> Tensor:
            y = step.detached_code().y
            if step not in counted:
                counted.add(step)
                usage.count(y.mean(0))
            wanted = usage.expected / usage.running.clamp_min(0.1 / K)
            return one_hot(torch.multinomial(wanted, len(y), replacement=True), K)

        return draw

    def _score(self, nets: nn.ModuleDict, X: Tensor, y: np.ndarray | None) -> dict[str, float]:
        found = {"score": self._reconstruction_score(nets, X)}
        found["reconstruction"] = found["score"]
        if y is not None and (y != UNLABELLED).any():
            clusters = self._probabilities(nets, X).argmax(1)
            found["error"] = 100 - clustering_accuracy(y, clusters, "majority")
        return found

    def _codes_of(self, y: Any) -> np.ndarray | None:
        """Labels to measure by, as they are; or names, once clusters have some."""
        if hasattr(self, "classes_"):
            return super()._codes_of(y)
        y, labelled = _labelled(y)
        return numbers(y, np.unique(y[labelled]))

    # --- what it can do --------------------------------------------------------------------------------------------
    def predict(self, X: Any) -> np.ndarray:
        """The cluster of each row, shape `(n,)`; once clusters have names, the most probable name."""
        p = self.cluster_proba(X)
        return p.argmax(1) if not hasattr(self, "cluster_names_") else self.classes_[self._by_name(p).argmax(1)]

    @available_if(lambda self: hasattr(self, "cluster_names_"))
    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each name, in the order of `classes_`; shape `(n, n_names)`. Only after `name_clusters`.

        Clusters without a name are left out, and the rest is scaled to sum to 1; where nothing is left, all names are
        alike.
        """
        return self._by_name(self.cluster_proba(X))

    def _by_name(self, p: np.ndarray) -> np.ndarray:
        found = np.zeros((len(p), len(self.classes_)), dtype=p.dtype)
        for cluster, name in self.cluster_names_.items():
            found[:, np.flatnonzero(self.classes_ == name)[0]] += p[:, cluster]
        left, alike = found.sum(1, keepdims=True), np.full_like(found, 1 / found.shape[1])
        return np.divide(found, left, out=alike, where=left > 0)

    def name_clusters(self, names: Mapping[int, Any]) -> Self:
        """Say what clusters are: from then on it predicts names. Several clusters may have one name.

        Parameters
        ----------
        names : mapping from cluster (0 ... n_clusters - 1) to name
            Adds to names that were given before.

        Raises
        ------
        InputError
            For a cluster that does not exist, or no names at all.
        """
        check_is_fitted(self)
        unknown = [k for k in names if not isinstance(k, (int, np.integer)) or not 0 <= k < self.n_clusters]
        if unknown:
            raise InputError(f"there is no cluster {unknown[0]!r}: expected numbers from 0 to {self.n_clusters - 1}")
        known = getattr(self, "cluster_names_", {}) | {int(k): names[k] for k in names}
        if not known:
            raise InputError("expected a name for at least one cluster, got none")
        self.classes_ = np.unique(np.array(list(known.values())))
        self.cluster_names_ = {k: self.classes_.dtype.type(known[k]) for k in sorted(known)}
        return self

    def learned_modes(self) -> np.ndarray:
        """What the mode decoder makes of each cluster, shape `(n_clusters, ...)`.

        Raises
        ------
        InputError
            If there is no mode decoder.
        """
        check_is_fitted(self)
        if not self.mode_weight:
            raise InputError("there is no mode decoder: train with mode_weight above 0")
        return self._decode(torch.eye(self.n_clusters), self.networks_["mode_decoder"])

    def generate(self, clusters: Any, Z: Any = None, random_state: Any = None) -> np.ndarray:
        """Rows of the given clusters `(n,)`, with styles `Z` `(n, latent_dim)` or, without, draws of the prior.

        Raises
        ------
        InputError
            For clusters that do not exist, or styles of another shape.
        """
        check_is_fitted(self)
        k = np.asarray(clusters)
        if k.ndim != 1 or k.dtype.kind not in "iu" or not ((k >= 0) & (k < self.n_clusters)).all():
            raise InputError(f"expected clusters (n,) from 0 to {self.n_clusters - 1}, got {clusters!r}")
        return self._generate(k, Z, random_state)

    def _component(self, label: Any) -> int | None:
        if label is None:
            return None
        clusters = [k for k, name in getattr(self, "cluster_names_", {}).items() if name == label]
        if clusters:  # of the clusters of a name, the largest
            return max(clusters, key=lambda k: self.cluster_counts_[k])
        if not isinstance(label, (int, np.integer)) or not 0 <= label < self.n_clusters:
            raise InputError(f"there is no cluster {label!r}: expected numbers from 0 to {self.n_clusters - 1}")
        return int(label)

    def _more_facts(self) -> dict[str, Any]:
        found = super()._more_facts()
        found |= {k: getattr(self, k) for k in ("cluster_counts_", "n_used_clusters_", "marginal_entropy_")}
        if hasattr(self, "cluster_names_"):
            found["cluster_names_"] = [[k, np.asarray(name).item()] for k, name in self.cluster_names_.items()]
        return found

    def _restore_facts(self) -> None:
        super()._restore_facts()
        if hasattr(self, "cluster_names_"):
            pairs: Any = self.cluster_names_
            self.cluster_names_ = {k: self.classes_.dtype.type(name) for k, name in pairs}
