"""Maps of the data in a few dimensions (Makhzani et al., *Adversarial Autoencoders*, section 6)."""

from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from aaekit import divergences, losses, priors
from aaekit.core.phase import Phase, match, when
from aaekit.errors import InputError
from aaekit.estimators._autoencoder import Autoencoder, broadcast, draw, reconstruction_score
from aaekit.estimators._base import Augmentation, RandomState, Sources
from aaekit.estimators._building import new_coders, new_critic
from aaekit.estimators._categorical import (
    ClassPrior,
    PseudoLabelThreshold,
    VatEpsilon,
    class_frequencies,
    partly_labelled_sources,
    prior_of_labels,
    steps_without_labels,
    vat_lengths,
)
from aaekit.estimators._fitting import rows_per_batch
from aaekit.estimators._hyperparameters import Length, Positive, Searched, hyperparameters
from aaekit.estimators._labels import learn_labels
from aaekit.estimators._plan import DataSummary, Plan, consistency
from aaekit.estimators._rows import in_batches, learn_rows, probabilities
from aaekit.estimators.clustering import check_n_clusters
from aaekit.evaluation.metrics import clustering_accuracy, error_rate
from aaekit.labels import UNLABELLED, label_indices, labelled_mask, split_labels
from aaekit.nn.encoder import Code, one_hot
from aaekit.nn.networks import Centroids, EmbeddingNetworks
from aaekit.nn.step import EncoderStep

__all__ = ["EmbeddingAAE"]

GENERATOR = 1.0  # weight of fooling the discriminators


@hyperparameters
class EmbeddingAAE(Autoencoder[EmbeddingNetworks]):
    """Dimensionality reduction: each row is at the centroid of its class plus a style, y W + z.

    The map has `latent_dim` dimensions. The centroids W (the paper's cluster heads) are learned and kept apart by a
    margin; the decoder sees the sum (Makhzani et al., arXiv:1511.05644, section 6). With labels, even a few, there is a
    centroid for each class; without, one for each of `n_clusters` clusters. `transform` gives the map,
    `inverse_transform` decodes any of its points.

    Attributes
    ----------
    centroids_ : ndarray of shape (n_classes, latent_dim)
        Where on the map the classes or clusters have their centres.
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted; only if there were any.
    plan_ : Plan
        What every "auto" stood for.
    networks_ : EmbeddingNetworks
        encoder, decoder, z_discriminator, y_discriminator, class_frequencies and centroids.
    history_ : list of dict
        Losses, learning rates and times, epoch by epoch.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> y[100:] = -1
    >>> model = EmbeddingAAE(max_steps=50, hidden=(64,), random_state=0).fit(X / 16, y)
    >>> model.transform(X[:3] / 16).shape, model.inverse_transform([[0, 0]]).shape
    ((3, 2), (1, 64))
    """

    n_clusters: Annotated[
        Positive, "Codes and priors", Field(description="number of centroids where there are no labels")
    ] = 20
    class_prior: ClassPrior = "auto"
    centroid_margin: Annotated[
        Length,
        "Codes and priors",
        Field(description="distance up to which centroids are pushed apart, in units of the prior of z"),
    ] = 6.0
    augmentation: Augmentation = "auto"
    consistency: Annotated[
        Literal["auto", "pseudo_labels", "virtual_adversarial", "both", "none"],
        "Losses",
        Field(
            description="what unlabelled rows teach about y: confident predictions are pseudo-labels of augmented rows "
            "(without labels: y must not change under the augmentation), y must not change in the worst direction "
            "nearby, or both; 'auto' depends on rows and labels"
        ),
        Searched(),
    ] = "auto"
    pseudo_label_threshold: PseudoLabelThreshold = 0.95
    vat_epsilon: VatEpsilon = 0.25
    batch_norm = True
    input_noise = "auto"
    discriminator_hidden = (200, 200)
    learning_rate = 2e-3
    discriminator_learning_rate = 3e-3
    learning_rate_schedule = "cosine"
    ema_decay = 0.995
    _makes_classes = True

    def plan(self, data: DataSummary) -> Plan:
        """What every "auto" stands for on such data."""
        has_labels = data.n_classes > 0
        y_keeps = consistency(self.consistency, self.augmentation, data, with_labels=has_labels)
        warps = y_keeps.augmentation and not data.is_table
        batch_sizes = {"unlabelled": rows_per_batch(self.batch_size, data.n_rows)}
        n_steps = steps_without_labels(data.n_rows)
        if has_labels:
            all_labelled = not data.is_table and self.augmentation != "none" and not data.n_unlabelled
            batch = rows_per_batch(self.batch_size, data.n_labelled, labelled=150 if all_labelled else 50)
            batch_sizes["labelled"] = batch
            n_steps = min(max(n_steps, (50 if all_labelled else 5) * data.n_labelled // batch), 5000)
            class_prior, is_guess = prior_of_labels(self.class_prior, data)
        else:
            n_steps = min(800 + n_steps, 5000)  # clusters settle late
            class_prior, is_guess = (1 / self.n_clusters,) * self.n_clusters, False
        plan = self._planned(
            data,
            n_steps,
            batch_sizes=batch_sizes,
            n_classes=len(class_prior),
            class_prior=class_prior,
            min_class_share=0.0 if is_guess else 1.0,
            uses_augmentation=y_keeps.augmentation,
            uses_virtual_adversarial=y_keeps.virtual_adversarial,
            **vat_lengths(self.vat_epsilon, data.data_radius, y_keeps.augmentation),
        )
        propagates = has_labels and (y_keeps.augmentation or y_keeps.virtual_adversarial) and not warps
        return replace(plan, propagates_labels=has_labels and plan.weight("soft_label", float(propagates)) > 0)

    def networks(self, plan: Plan) -> EmbeddingNetworks:
        """Encoder to y and z, decoder of places on the map, a critic of each, and the centroids."""
        K = plan.n_classes
        encoder, decoder = new_coders(self, plan, self.latent_dim, K)
        y_discriminator = new_critic(self, K, plan.weight("y/generator", GENERATOR))
        z_discriminator = new_critic(self, self.latent_dim, plan.weight("z/generator", GENERATOR))
        frequencies = class_frequencies(plan.class_prior, plan.min_class_share)
        centroids = Centroids(K, self.latent_dim, self.centroid_margin)
        return EmbeddingNetworks(encoder, decoder, z_discriminator, y_discriminator, frequencies, centroids)

    def phases(self, nets: EmbeddingNetworks, plan: Plan) -> list[Phase[EncoderStep]]:
        """Reconstruction from y W + z, regularisation of y and z, separation of W; labels or clusters teach y."""
        encoder, weight = (nets.encoder,), plan.weight
        divergence, prior = divergences.make(self.divergence), self.prior_
        class_prior = priors.Categorical(plan.n_classes, plan.class_prior)
        has_labels = plan.data.n_classes > 0
        # without labels, pressed harder, y would decide for clusters before it has found any
        z_generator, y_generator = (GENERATOR, GENERATOR) if has_labels else (0.1 * GENERATOR, 0.01 * GENERATOR)
        return [
            Phase(
                "reconstruction",
                partial(losses.reconstruction_loss, kind=plan.reconstruction),
                (nets.encoder, nets.decoder, nets.centroids),
                weight("reconstruction", 10 / plan.data.n_values),
            ),
            *match(
                "z",
                lambda step: step.code().z,
                lambda step: draw(prior, step),
                divergence,
                nets.z_discriminator,
                encoder,
                weight=weight("z/generator", z_generator),
                scheduled=False,
            ),
            *match(
                "y",
                lambda step: step.code().y,
                lambda step: draw(class_prior, step),
                divergence,
                nets.y_discriminator,
                encoder,
                weight=weight("y/generator", y_generator),
                scheduled=False,
            ),
            *when(
                has_labels,
                Phase("classification", losses.classification_loss, encoder, weight("classification", 1.0)),
            ),
            *when(
                not has_labels,
                Phase("conditional_entropy", losses.conditional_entropy, encoder, weight("conditional_entropy", 0.1)),
            ),
            *when(
                has_labels and plan.uses_augmentation,
                Phase(
                    "pseudo_label",
                    partial(losses.pseudo_label_loss, threshold=self.pseudo_label_threshold),
                    encoder,
                    weight("pseudo_label", 1.0),
                ),
            ),
            *when(
                not has_labels and plan.uses_augmentation,
                Phase("consistency_kl", losses.consistency_kl, encoder, weight("consistency_kl", 1.0)),
            ),
            *when(
                plan.propagates_labels,
                Phase(
                    "soft_label",
                    losses.soft_label_cross_entropy,
                    encoder,
                    weight("soft_label", 1.0),
                    anneal_steps=300,
                ),
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
                weight("marginal_kl", 10.0 if has_labels else 1.0),
            ),
            Phase(
                "centroid_separation",
                lambda step: losses.mode_separation(nets.centroids.weight, self.centroid_margin),
                (nets.centroids,),
                weight("centroid_separation", 1.0),
            ),
        ]

    def _learn(self, X: ArrayLike, y: ArrayLike | None) -> tuple[NDArray[Any], NDArray[np.int64] | None]:
        rows = learn_rows(self, X)
        if y is not None:
            check_consistent_length(rows, y)
            if labelled_mask(y).any():
                return rows, learn_labels(self, y)
        check_n_clusters(self.n_clusters, len(rows))
        return rows, None

    def _sources(self, X: Tensor, y: NDArray[np.int64] | None, plan: Plan) -> tuple[Sources, Plan]:
        if y is None:
            return {"unlabelled": {"rows": X}}, plan
        return partly_labelled_sources(X, y, plan, self.seed_)

    def _finish(self, rows: NDArray[Any], y: NDArray[np.int64] | None) -> None:
        if self.plan_.min_class_share < 1 and self.plan_.weights["marginal_kl"]:
            self.class_frequencies_: NDArray[Any] = self.networks_.class_frequencies.expected.numpy().astype(float)

    def _join(self, nets: EmbeddingNetworks, code: Code, labels: Tensor | None) -> Tensor:
        """The place on the map: the centroid of the likeliest y plus z. A mixture of centroids would lie among others.

        The reconstruction moves z and W, and y (as if it were not rounded) only where no other loss says what y is.
        """
        y, plan = one_hot(code.y.argmax(1), self.plan_.n_classes), self.plan_
        all_labelled = not plan.data.is_table and plan.data.n_classes > 0 and not plan.data.n_unlabelled
        is_taught = (
            plan.weights["pseudo_label"] or plan.weights["consistency_kl"] or plan.weights["virtual_adversarial"]
        )
        if not (is_taught or (all_labelled and self.augmentation != "none")):
            y = y + code.y - code.y.detach()
        return nets.centroids(y) + code.z.float()

    def _score(self, nets: EmbeddingNetworks, X: Tensor, y: NDArray[np.int64] | None) -> dict[str, float]:
        scores = reconstruction_score(self, nets, X)
        if y is not None and (y != UNLABELLED).any():
            nearest = _nearest(self._places(nets, X), nets.centroids)
            if hasattr(self, "classes_"):
                scores["error"] = scores["score"] = error_rate(y, nearest)
            else:
                scores["error"] = 100 - clustering_accuracy(y, nearest, "majority")
        return scores

    def _label_indices(self, y: ArrayLike) -> NDArray[np.int64]:
        labels, labelled = split_labels(y)
        return label_indices(y, self.classes_ if hasattr(self, "classes_") else np.unique(labels[labelled]))

    # --- what it can do ----------------------------------------------------------------------------------------------
    @property
    def n_code(self) -> int:
        """Dimensions of the map."""
        return self.latent_dim

    @property
    def centroids_(self) -> NDArray[np.float32]:
        """Where the classes or clusters have their centres, shape `(n_classes, latent_dim)`."""
        check_is_fitted(self)
        return self.networks_.centroids.weight.detach().cpu().numpy()

    def _places(self, nets: EmbeddingNetworks, rows: NDArray[Any] | Tensor) -> NDArray[np.float32]:
        """Scaled rows on the map."""
        return in_batches(nets, lambda nets, x: self._join(nets, nets.encoder(x), None), rows, self.device)

    def _encode(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        return self._places(self.networks_, rows)

    def cluster_proba(self, X: ArrayLike) -> NDArray[np.float32]:
        """q(y|x) of each row, shape `(n, n_classes)`: of the classes or, without labels, the clusters."""
        rows = self._rows(X)
        return probabilities(self.networks_, rows, self.device)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The class, or without labels the cluster, whose centroid is nearest on the map; shape `(n,)`."""
        nearest = _nearest(self._encode(self._rows(X)), self.networks_.centroids)
        return self.classes_[nearest] if hasattr(self, "classes_") else nearest

    def sample_prior(self, n_samples: int, random_state: RandomState = None) -> NDArray[np.float32]:
        """Draws of what the map should look like, `(n_samples, latent_dim)`: centroids by the class prior, plus z."""
        check_is_fitted(self)
        return np.asarray(self._draw_codes(n_samples, None, random_state))

    def _value_indices(self, y: ArrayLike, n: int | None) -> NDArray[np.int64]:
        if hasattr(self, "classes_"):
            indices = label_indices(broadcast(y, n), self.classes_)
            if (indices == UNLABELLED).any():
                raise InputError(f"y: expected a class for each row, of {self.classes_.tolist()}, got unlabelled rows")
            return indices
        clusters = np.asarray(broadcast(y, n))
        if clusters.ndim != 1 or clusters.dtype.kind not in "iu" or not self._exist(clusters):
            raise InputError(f"y: expected clusters (n,) from 0 to {self.n_clusters - 1}, got {y!r}")
        return clusters.astype(np.int64)

    def _exist(self, clusters: NDArray[Any]) -> bool:
        return bool(((clusters >= 0) & (clusters < self.n_clusters)).all())


def _nearest(places: NDArray[np.float32], centroids: Centroids) -> NDArray[np.intp]:
    """The nearest centroid of each place."""
    points = centroids.weight.detach().cpu().numpy()
    return ((places[:, None] - points) ** 2).sum(2).argmin(1)
