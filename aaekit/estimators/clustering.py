"""Clusters without a single label, and names for them (Makhzani et al., *Adversarial Autoencoders*, section 5)."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from aaekit import augment, divergences, losses, priors
from aaekit.core.phase import Phase, match, when
from aaekit.core.settings import named
from aaekit.errors import InputError
from aaekit.estimators._autoencoder import Autoencoder, broadcast, draw, reconstruction_score
from aaekit.estimators._base import Augmentation, Sources
from aaekit.estimators._building import new_coders, new_critic, new_decoder
from aaekit.estimators._categorical import (
    VatEpsilon,
    class_frequencies,
    steps_without_labels,
    vat_lengths,
)
from aaekit.estimators._hyperparameters import Length, Positive, Searched, hyperparameters
from aaekit.estimators._plan import DataSummary, Plan, consistency
from aaekit.estimators._rows import learn_rows, probabilities
from aaekit.estimators._sklearn import ClusterMixin, available_if
from aaekit.estimators._symmetries import gradient_histograms
from aaekit.evaluation.metrics import cluster_use, clustering_accuracy
from aaekit.labels import UNLABELLED, label_indices, split_labels
from aaekit.nn.context import evaluating
from aaekit.nn.encoder import Code, one_hot
from aaekit.nn.frequencies import ClassFrequencies
from aaekit.nn.networks import ClusteringNetworks
from aaekit.nn.step import EncoderStep

__all__ = ["ClusteringAAE"]

GENERATOR = 0.1  # weight of fooling the discriminators
N_KMEANS = 10  # initialisations of k-means
N_KMEANS_ROWS = 50_000
N_FOLLOWED = 300  # steps until k-means has no more weight
MIN_SHARE = 0.5  # of an even share, below which no cluster of warped images is pushed


@hyperparameters
class ClusteringAAE(ClusterMixin, Autoencoder[ClusteringNetworks]):
    """Clustering adversarial autoencoder: y has a value for each cluster, z is the style; no labels.

    y is matched to a categorical prior and z to `prior`, as with labels (Makhzani et al., arXiv:1511.05644, section 5).
    Azulay's *adversarial-autoencoder-classifier* (2019) has five additions: `loss_weights` turns on the phases cyclic,
    style_l2, mode_reconstruction and mode_separation, which are off by default, and `adversarial_prior` is the fifth.
    What makes clusters agree with classes is mostly something else: y must not change under small changes of a row
    (`consistency`), be certain (conditional_entropy), and use all clusters (marginal_kl), as in Hu et al., *Learning
    Discrete Representations via Information Maximizing Self-Augmented Training*, arXiv:1702.08720. Many divisions of a
    table are as certain and as even, so there y follows k-means at first (soft_label), for 300 steps. So it does for
    photos, with k-means on their histograms of gradients, since their clusters do not form by themselves.

    Attributes
    ----------
    labels_ : ndarray of shape (n,)
        The cluster of each row of fit.
    cluster_counts_ : ndarray of shape (n_clusters,)
        Rows of fit in each cluster.
    n_used_clusters_ : int
        Clusters that have at least a twentieth of an even share.
    marginal_entropy_ : float
        Of the mean of y over the rows of fit; 1 when all clusters have the same size, 0 when there is one.
    cluster_names_ : dict
        From cluster to name, after `name_clusters`.
    plan_ : Plan
        What every "auto" stood for.
    networks_ : ClusteringNetworks
        encoder, decoder, z_discriminator, y_discriminator, class_frequencies, mode_decoder and cluster_usage.

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

    n_clusters: Annotated[
        Positive,
        "Codes and priors",
        Field(description="values of y; with more clusters than classes, clusters are purer"),
    ] = 16
    adversarial_prior: Annotated[
        bool,
        "Codes and priors",
        Field(description="draw clusters from the prior more often if the encoder uses them less"),
    ] = True
    augmentation: Augmentation = "auto"
    consistency: Annotated[
        Literal["auto", "augmentation", "virtual_adversarial", "both", "none"],
        "Losses",
        Field(
            description="what must not change y: the augmentation, the worst direction nearby, or both; 'auto' is the "
            "first for images, both for tables, and the second without an augmentation"
        ),
        Searched(),
    ] = "auto"
    vat_epsilon: VatEpsilon = 0.25
    mode_separation_margin: Annotated[
        Length,
        "Losses",
        Field(
            description="distance up to which mode_separation pushes the modes of clusters (z = 0) apart, in units of "
            "the rows' distance from their mean"
        ),
    ] = 0.5
    n_init: Annotated[
        Literal["auto"] | Positive,
        "Training",
        Field(
            description="number of random initialisations; the one with the most certain predictions and the most even "
            "clusters after a third of the steps, at most 600, is trained to completion; 'auto' is 6 for images that "
            "are warped and no photos, else 1"
        ),
    ] = "auto"
    latent_dim = 10
    batch_norm = True
    input_noise = "auto"
    discriminator_hidden = (200, 200)
    learning_rate = 2e-3
    learning_rate_schedule = "cosine"
    ema_decay = 0.995
    _makes_classes = True

    def plan(self, data: DataSummary) -> Plan:
        """What every "auto" stands for on such data."""
        y_keeps = consistency(self.consistency, self.augmentation, data, with_labels=False)
        warps = y_keeps.augmentation and not data.is_table
        may_follow = (data.is_table or data.is_photo) and self.warm_start_from is None
        follows = may_follow and named(self.loss_weights or {}, "soft_label", 1.0) > 0
        plan = self._planned(
            data,
            min(800 + steps_without_labels(data.n_rows), 5000),  # clusters settle late
            n_init=(6 if warps and not follows else 1) if self.n_init == "auto" else self.n_init,
            n_classes=self.n_clusters,
            class_prior=(1 / self.n_clusters,) * self.n_clusters,
            min_class_share=MIN_SHARE if warps else 1.0,
            uses_augmentation=y_keeps.augmentation,
            uses_virtual_adversarial=y_keeps.virtual_adversarial,
            **vat_lengths(self.vat_epsilon, data.data_radius, y_keeps.augmentation),
        )
        return replace(plan, propagates_labels=plan.weight("soft_label", float(follows)) > 0)

    def networks(self, plan: Plan) -> ClusteringNetworks:
        """Encoder to y and z, decoder of both, a critic of each, and what the additions need."""
        K = self.n_clusters
        encoder, decoder = new_coders(self, plan, K + self.latent_dim, K)
        y_discriminator = new_critic(self, K, plan.weight("y/generator", GENERATOR))
        z_discriminator = new_critic(self, self.latent_dim, plan.weight("z/generator", GENERATOR))
        return ClusteringNetworks(
            encoder,
            decoder,
            z_discriminator,
            y_discriminator,
            class_frequencies(plan.class_prior, plan.min_class_share),
            new_decoder(self, plan, K) if plan.weight("mode_reconstruction", 0.0) else None,
            ClassFrequencies(torch.full((K,), 1 / K), decay=0.8) if self.adversarial_prior else None,
        )

    def phases(self, nets: ClusteringNetworks, plan: Plan) -> list[Phase[EncoderStep]]:
        """The paper's reconstruction and regularisation, information maximisation (Hu et al.), Azulay's additions."""
        encoder, weight = (nets.encoder,), plan.weight
        divergence, prior, n_values = divergences.make(self.divergence), self.prior_, plan.data.n_values
        class_prior = priors.Categorical(self.n_clusters)
        modes = nets.mode_decoder
        # pressed harder, y would decide for clusters before it has found any
        y_generator = 0.1 * GENERATOR if plan.only_smoothness else GENERATOR

        def y_of_prior(step: EncoderStep) -> Tensor:
            return (
                draw(class_prior, step) if nets.cluster_usage is None else self._rare_clusters(nets.cluster_usage, step)
            )

        def separation(step: EncoderStep) -> Tensor:
            with evaluating(nets.decoder):  # a few modes are no minibatch to take statistics from
                codes = self._mode_codes(next(nets.decoder.parameters()).device)
                points = nets.decoder.mean(codes).flatten(1) / plan.data.data_radius
            return losses.mode_separation(points, self.mode_separation_margin)

        return [
            Phase(
                "reconstruction",
                partial(losses.reconstruction_loss, kind=plan.reconstruction),
                (nets.encoder, nets.decoder),
                weight("reconstruction", 10 / n_values),
            ),
            *match(
                "z",
                lambda step: step.code().z,
                lambda step: draw(prior, step),
                divergence,
                nets.z_discriminator,
                encoder,
                weight=weight("z/generator", GENERATOR),
            ),
            *match(
                "y",
                lambda step: step.code().y,
                y_of_prior,
                divergence,
                nets.y_discriminator,
                encoder,
                weight=weight("y/generator", y_generator),
            ),
            *when(
                plan.propagates_labels,
                Phase(
                    "soft_label",
                    losses.soft_label_cross_entropy,
                    encoder,
                    weight("soft_label", 1.0),
                    anneal_steps=N_FOLLOWED,
                ),
            ),
            Phase("conditional_entropy", losses.conditional_entropy, encoder, weight("conditional_entropy", 0.1)),
            *when(
                plan.uses_augmentation,
                Phase("consistency_kl", losses.consistency_kl, encoder, weight("consistency_kl", 1.0)),
            ),
            *when(
                plan.uses_virtual_adversarial,
                Phase(
                    "virtual_adversarial",
                    partial(losses.virtual_adversarial_loss, vat_epsilon=plan.vat_epsilon, vat_xi=plan.vat_xi),
                    encoder,
                    weight("virtual_adversarial", 1.0),
                ),
            ),
            Phase(
                "marginal_kl",
                partial(losses.marginal_kl, frequencies=nets.class_frequencies),
                encoder,
                weight("marginal_kl", 1.0),
            ),
            Phase("cyclic", losses.cyclic_loss, (nets.encoder, nets.decoder), weight("cyclic", 0.0)),
            Phase("style_l2", losses.style_l2, encoder, weight("style_l2", 0.0)),
            Phase(
                "mode_reconstruction",
                lambda step: losses.mode_reconstruction_loss(step, modes, plan.reconstruction),
                (nets.encoder,) if modes is None else (nets.encoder, modes),
                weight("mode_reconstruction", 0.0) * 10 / n_values,
            ),
            Phase("mode_separation", separation, (nets.decoder,), weight("mode_separation", 0.0)),
        ]

    def _learn(self, X: ArrayLike, y: ArrayLike | None) -> tuple[NDArray[Any], None]:
        rows = learn_rows(self, X)
        check_n_clusters(self.n_clusters, len(rows))
        return rows, None

    def _sources(self, X: Tensor, y: NDArray[np.int64] | None, plan: Plan) -> tuple[Sources, Plan]:
        sources, plan = super()._sources(X, y, plan)
        if plan.propagates_labels:
            data = plan.data
            rows = gradient_histograms(X.numpy(), data.symmetries) if data.is_photo else X.flatten(1).numpy()
            clusters = torch.from_numpy(k_means_clusters(rows, self.n_clusters, self.seed_))
            sources["unlabelled"]["soft_labels"] = one_hot(clusters, self.n_clusters)
        return sources, plan

    def _augment(self, plan: Plan) -> Callable[[Tensor], Tensor]:
        """Warps do not bend here: no label says that a four whose top is bent shut is not a nine."""
        transform = super()._augment(plan)
        return augment.without_bending(transform) if isinstance(self.augmentation, str) else transform

    def _join(self, nets: ClusteringNetworks, code: Code, labels: Tensor | None) -> Tensor:
        """[y, z]. Where clusters follow from smoothness alone, the reconstruction does not move y."""
        return (code.with_fixed_y() if self.plan_.only_smoothness else code).joined

    def _mode_codes(self, device: torch.device) -> Tensor:
        """What the decoder sees for each cluster's mode: [one-hot k, z = 0], shape `(K, n_code)`."""
        K = self.n_clusters
        return torch.cat([torch.eye(K, device=device), torch.zeros(K, self.latent_dim, device=device)], 1)

    def _rare_clusters(self, usage: ClassFrequencies, step: EncoderStep) -> Tensor:
        """Draws of clusters, the more often the less they were used lately."""
        y = step.detached_code().y
        step.once("usage", lambda: usage.update(y.mean(0)), is_input=True)  # both phases of the game draw
        frequencies = usage.expected / usage.running.clamp_min(0.1 / self.n_clusters)
        return one_hot(torch.multinomial(frequencies, len(y), replacement=True), self.n_clusters)

    def _score(self, nets: ClusteringNetworks, X: Tensor, y: NDArray[np.int64] | None) -> dict[str, float]:
        scores = reconstruction_score(self, nets, X)
        if y is not None and (y != UNLABELLED).any():
            clusters = probabilities(nets, X).argmax(1)
            scores["error"] = 100 - clustering_accuracy(y, clusters, "majority")
        return scores

    def _label_indices(self, y: ArrayLike) -> NDArray[np.int64]:
        labels, labelled = split_labels(y)
        return label_indices(y, np.unique(labels[labelled]))

    def _finish(self, rows: NDArray[Any], y: NDArray[np.int64] | None) -> None:
        """Assign the rows of fit, count the clusters in use, and warn of a collapse."""
        p = probabilities(self.networks_, rows, self.device)
        self.labels_: Any = p.argmax(1)
        use = cluster_use(p)
        self.cluster_counts_: NDArray[np.int64] = np.asarray(use.counts)
        self.n_used_clusters_: int = int(use.used.sum())
        self.marginal_entropy_: float = float(use.entropy)
        if use.collapsed:
            warnings.warn(
                f"expected {self.n_clusters} clusters, got {self.n_used_clusters_} in use, whose shares have "
                f"{self.marginal_entropy_:.2f} of the largest entropy: train longer, raise loss_weights of marginal_kl "
                f"(now {self.plan_.weights['marginal_kl']:g}), or ask for fewer clusters",
                ConvergenceWarning,
                stacklevel=3,
            )

    # --- what it can do ----------------------------------------------------------------------------------------------
    def cluster_proba(self, X: ArrayLike) -> NDArray[np.float32]:
        """q(y|x) of each row, shape `(n, n_clusters)`."""
        rows = self._rows(X)
        return probabilities(self.networks_, rows, self.device)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The cluster of each row, shape `(n,)`; once clusters have names, the most probable name."""
        p = self.cluster_proba(X)
        return self.classes_[self._by_name(p).argmax(1)] if hasattr(self, "cluster_names_") else p.argmax(1)

    @available_if(lambda self: hasattr(self, "cluster_names_"))
    def predict_proba(self, X: ArrayLike) -> NDArray[np.float32]:
        """The probability of each name, in the order of `classes_`; shape `(n, n_names)`. Only after `name_clusters`.

        Clusters without a name are left out and the rest is scaled to sum to 1; where nothing is left, all names have
        the same probability.
        """
        return self._by_name(self.cluster_proba(X))

    def _by_name(self, p: NDArray[np.float32]) -> NDArray[np.float32]:
        by_name = np.zeros((len(p), len(self.classes_)), dtype=p.dtype)
        for cluster, name in self.cluster_names_.items():
            by_name[:, np.flatnonzero(self.classes_ == name)[0]] += p[:, cluster]
        total, uniform = by_name.sum(1, keepdims=True), np.full_like(by_name, 1 / by_name.shape[1])
        return np.divide(by_name, total, out=uniform, where=total > 0)

    def name_clusters(self, names: Mapping[int, Any]) -> Self:
        """Name clusters: from then on names are predicted. Several clusters may have one name.

        Parameters
        ----------
        names : mapping from cluster (0 ... n_clusters - 1) to name
            Added to names that were given before.

        Returns
        -------
        self

        Raises
        ------
        InputError
            For a cluster that does not exist, no names at all, or names that are not all texts or all numbers.
        """
        check_is_fitted(self)
        for k in names:
            self._check_cluster(k, "names")
        named = getattr(self, "cluster_names_", {}) | {int(k): names[k] for k in names}
        if not named:
            raise InputError("names: expected a name for at least one cluster, got none")
        values = list(named.values())
        all_texts = all(isinstance(value, str) for value in values)
        all_numbers = all(isinstance(value, (int, float, np.number)) and value == value for value in values)
        if not (all_texts or all_numbers):
            raise InputError(f"names: expected all texts or all numbers, got {values}: convert them")
        self.classes_ = np.unique(np.array(list(named.values())))
        self.cluster_names_: dict[int, Any] = {k: self.classes_.dtype.type(named[k]) for k in sorted(named)}
        return self

    def learned_modes(self) -> NDArray[Any]:
        """What the mode decoder makes of each cluster, shape `(n_clusters, ...)`.

        Raises
        ------
        InputError
            If there is no mode decoder.
        """
        check_is_fitted(self)
        if self.networks_.mode_decoder is None:
            raise InputError(
                "loss_weights: expected mode_reconstruction above 0 for a mode decoder, got 0: train with, for "
                "instance, loss_weights={'mode_reconstruction': 1}"
            )
        return self._decode(torch.eye(self.n_clusters), self.networks_.mode_decoder)

    def _check_cluster(self, k: object, name: str) -> None:
        if not isinstance(k, (int, np.integer)) or not 0 <= k < self.n_clusters:
            raise InputError(f"{name}: expected clusters from 0 to {self.n_clusters - 1}, got {k!r}")

    def _value_indices(self, y: ArrayLike, n: int | None) -> NDArray[np.int64]:
        clusters = np.asarray(broadcast(y, n))
        if clusters.ndim != 1 or clusters.dtype.kind not in "iu":
            raise InputError(f"y: expected clusters (n,) from 0 to {self.n_clusters - 1}, got {y!r}")
        for k in clusters:
            self._check_cluster(k, "y")
        return clusters.astype(np.int64)

    def _component(self, label: object) -> int | None:
        if label is None:
            return None
        clusters = [k for k, name in getattr(self, "cluster_names_", {}).items() if name == label]
        if clusters:  # of the clusters of a name, the largest
            return max(clusters, key=lambda k: self.cluster_counts_[k])
        self._check_cluster(label, "label")
        return int(label)  # pyright: ignore[reportArgumentType]


def k_means_clusters(X: NDArray[np.floating], n_clusters: int, random_state: int) -> NDArray[np.int64]:
    """The cluster of each row `(n,)` by k-means, whose centres at most 50,000 rows decide."""
    from sklearn.cluster import KMeans

    k_means = KMeans(n_clusters, n_init=N_KMEANS, random_state=random_state)  # pyright: ignore[reportArgumentType]
    chosen = np.random.default_rng(random_state).permutation(len(X))[:N_KMEANS_ROWS]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of fewer different rows than clusters
        return np.asarray(k_means.fit(X[np.sort(chosen)]).predict(X), np.int64)


def check_n_clusters(n_clusters: int, n_rows: int) -> None:
    """Refuse more clusters than rows."""
    if n_clusters > n_rows:
        raise InputError(f"n_clusters: expected at most the {n_rows} rows, got {n_clusters}")
