"""Classification from a few labels and many rows (Makhzani et al., *Adversarial Autoencoders*, section 4)."""

from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from torch import Tensor

from aaekit import divergences, losses, priors
from aaekit.core.phase import Phase, match, when
from aaekit.estimators._autoencoder import Autoencoder, broadcast, draw
from aaekit.estimators._base import Augmentation, Sources
from aaekit.estimators._building import new_coders, new_critic
from aaekit.estimators._categorical import (
    ClassPrior,
    PseudoLabelThreshold,
    VatEpsilon,
    class_frequencies,
    partly_labelled_sources,
    prior_mean,
    prior_of_labels,
    steps_without_labels,
    taught_steps,
    vat_lengths,
)
from aaekit.estimators._classifier import Classifier, ClassWeight
from aaekit.estimators._fitting import rows_per_batch
from aaekit.estimators._hyperparameters import Positive, Searched, hyperparameters
from aaekit.estimators._labels import warn_of_lost_classes, warn_of_unsure_frequencies
from aaekit.estimators._plan import DataSummary, Plan, consistency
from aaekit.estimators._teachers import calibrate, teach
from aaekit.labels import UNLABELLED
from aaekit.nn.networks import CategoricalNetworks
from aaekit.nn.step import EncoderStep

__all__ = ["SemiSupervisedAAE"]

GENERATOR = 0.1  # weight of fooling the discriminators
N_JUDGED = 5000  # unlabelled rows by which predictions are judged after training
TAUGHT_SHARE = 0.5  # of what its teachers expect of a class, below which it must not fall
PER_CLASS = 3.0  # factor of the adversarial weight and of the discriminator's rate of z if it is matched per class


@hyperparameters
class SemiSupervisedAAE(Autoencoder[CategoricalNetworks], Classifier[CategoricalNetworks]):
    """Semi-supervised adversarial autoencoder: a classifier from a few labelled rows and many unlabelled ones.

    The encoder gives a class code y, matched to a categorical prior, and a style code z, matched to `prior`; the
    decoder reconstructs the row from both; cross entropy ties y to the labels (Makhzani et al., *Adversarial
    Autoencoders*, arXiv:1511.05644, section 4). Besides the paper's phases, y must not change where the class cannot
    have changed (`consistency`), and its mean stays at the class frequencies. With ``style_matching="per_class"`` z
    keeps the style alone: its discriminator is shown y, as that of `SupervisedAAE` is shown the label.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    class_frequencies_ : ndarray of shape (n_classes,)
        How frequent the classes turned out to be; with class_prior="auto" and unlabelled rows.
    teachers_ : dict of str to dict
        Of each simple method, and of their mean, "weight" in the mean and "error" in percent on labels that were held
        out from it; with guard.
    plan_ : Plan
        What every "auto" stood for.
    networks_ : CategoricalNetworks
        encoder, decoder, z_discriminator, y_discriminator and class_frequencies.
    history_ : list of dict
        Losses, learning rates and times, epoch by epoch.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> y[100:] = -1
    >>> model = SemiSupervisedAAE(max_steps=50, hidden=(64,), random_state=0).fit(X / 16, y)
    >>> model.predict_proba(X[:3] / 16).shape
    (3, 10)
    """

    style_matching: Annotated[
        Literal["per_class", "marginal"],
        "Codes and priors",
        Field(
            description="z is matched to its prior class by class (it says little about y, and rows can be made of a "
            "class; the adversarial weight and the discriminator's learning rate of z are tripled), or for all rows "
            "together, as in the paper"
        ),
        Searched(),
    ] = "marginal"
    class_prior: ClassPrior = "auto"
    class_weight: ClassWeight = None
    augmentation: Augmentation = "auto"
    consistency: Annotated[
        Literal["auto", "pseudo_labels", "virtual_adversarial", "both", "none"],
        "Losses",
        Field(
            description="what unlabelled rows teach about y: confident predictions are pseudo-labels of augmented "
            "rows, y must not change in the worst direction nearby, or both; 'auto' is both, but the first for images "
            "of less than 16 pixels a side, the second without an augmentation, and none where each image has a label"
        ),
        Searched(),
    ] = "auto"
    pseudo_label_threshold: PseudoLabelThreshold = 0.95
    vat_epsilon: VatEpsilon = 0.25
    guard: Annotated[
        bool,
        "Losses",
        Field(
            description="tables: a logistic regression, a forest and label propagation learn from the same labels, and "
            "the encoder learns their weighted opinion of the unlabelled rows throughout, so that it is not worse than "
            "they are, and says how sure it may be; false is the method of the paper"
        ),
    ] = True
    n_init: Annotated[
        Literal["auto"] | Positive,
        "Training",
        Field(
            description="number of random initialisations; the one with the most certain predictions and the most "
            "plausible class frequencies on unlabelled rows after a third of the steps, at most 600, is trained to "
            "completion; 'auto' is 5 for up to 5,000 rows with at most five labels a class on average and without "
            "guard, else 1"
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
        all_labelled = not data.is_table and self.augmentation != "none" and not data.n_unlabelled
        y_keeps = consistency(self.consistency, self.augmentation, data, with_labels=True)
        warps = y_keeps.augmentation and not data.is_table
        has_teachers = self.guard and data.is_table and data.n_unlabelled > 0
        batch = rows_per_batch(self.batch_size, data.n_labelled, labelled=150 if all_labelled else 50)
        passes, most = (50, 20_000) if all_labelled else (5, 5000)  # over the labelled rows
        without_labels = (taught_steps if has_teachers else steps_without_labels)(data.n_rows)
        n_steps = min(max(without_labels, passes * data.n_labelled // batch), most)
        if warps and not all_labelled:  # what must hold under warps of images improves for long
            n_steps += min(max(0, data.n_rows - 10_000) // 10, 5000)
        few_labels = data.n_rows <= 5000 and data.n_labelled <= 5 * data.n_classes and not has_teachers
        class_prior, is_guess = prior_of_labels(self.class_prior, data)
        plan = self._planned(
            data,
            n_steps,
            batch_sizes={"unlabelled": rows_per_batch(self.batch_size, data.n_rows), "labelled": batch},
            n_init=1 if not data.n_unlabelled else (5 if few_labels else 1) if self.n_init == "auto" else self.n_init,
            n_classes=data.n_classes,
            class_prior=class_prior,
            min_class_share=(TAUGHT_SHARE if has_teachers else 0.0) if is_guess else 1.0,
            uses_augmentation=y_keeps.augmentation,
            uses_virtual_adversarial=y_keeps.virtual_adversarial,
            **vat_lengths(self.vat_epsilon, data.data_radius, y_keeps.augmentation),
        )
        propagates = has_teachers or ((y_keeps.augmentation or y_keeps.virtual_adversarial) and not warps)
        propagates = plan.weight("soft_label", float(propagates)) > 0
        return replace(plan, propagates_labels=propagates, has_teachers=has_teachers and propagates)

    def networks(self, plan: Plan) -> CategoricalNetworks:
        """Encoder to y and z, decoder of both, and a critic of each."""
        K, weight = plan.n_classes, plan.weight("z/generator", GENERATOR)
        encoder, decoder = new_coders(self, plan, K + self.latent_dim, K)
        y_discriminator = new_critic(self, K, plan.weight("y/generator", GENERATOR))
        n_shown = K if self.style_matching == "per_class" else 0
        z_discriminator = new_critic(self, self.latent_dim + n_shown, weight)
        frequencies = class_frequencies(plan.class_prior, plan.min_class_share)
        return CategoricalNetworks(encoder, decoder, z_discriminator, y_discriminator, frequencies)

    def phases(self, nets: CategoricalNetworks, plan: Plan) -> list[Phase[EncoderStep]]:
        """The paper's reconstruction, regularisation and classification; then what unlabelled rows teach about y."""
        encoder, weight = (nets.encoder,), plan.weight
        divergence, prior = divergences.make(self.divergence), self.prior_
        class_prior = priors.Categorical(plan.n_classes, plan.class_prior)
        per_class = self.style_matching == "per_class"
        factor = PER_CLASS if per_class else 1.0

        def z_of_rows(step: EncoderStep) -> Tensor:
            z = step.code().z
            return torch.cat([z.float(), step.detached_code().y], 1) if per_class else z

        def z_of_prior(step: EncoderStep) -> Tensor:
            y = step.detached_code().y if per_class else None
            z = draw(prior, step)
            return z if y is None else torch.cat([z.float(), y], 1)

        return [
            Phase(
                "reconstruction",
                partial(losses.reconstruction_loss, kind=plan.reconstruction),
                (nets.encoder, nets.decoder),
                weight("reconstruction", 10 / plan.data.n_values),
            ),
            *match(
                "z",
                z_of_rows,
                z_of_prior,
                divergence,
                nets.z_discriminator,
                encoder,
                weight=factor * weight("z/generator", GENERATOR),
                critic_rate=factor * self.discriminator_learning_rate,
                scheduled=not per_class,
            ),
            *match(
                "y",
                lambda step: step.code().y,
                lambda step: draw(class_prior, step),
                divergence,
                nets.y_discriminator,
                encoder,
                weight=weight("y/generator", GENERATOR * plan.prior_certainty),
            ),
            Phase("classification", losses.classification_loss, encoder, weight("classification", 1.0)),
            *when(
                plan.uses_augmentation,
                Phase(
                    "pseudo_label",
                    partial(losses.pseudo_label_loss, threshold=self.pseudo_label_threshold),
                    encoder,
                    weight("pseudo_label", plan.room),
                ),
            ),
            *when(
                plan.propagates_labels,
                Phase(
                    "soft_label",
                    losses.soft_label_cross_entropy,
                    encoder,
                    weight("soft_label", 1.0),
                    anneal_steps=int(plan.n_steps / plan.room) if plan.has_teachers else 300,
                ),
            ),
            *when(
                plan.uses_virtual_adversarial,
                Phase(
                    "virtual_adversarial",
                    partial(losses.virtual_adversarial_loss, vat_epsilon=plan.vat_epsilon, vat_xi=plan.vat_xi),
                    encoder,
                    weight("virtual_adversarial", plan.room),
                ),
            ),
            Phase(
                "marginal_kl",
                partial(losses.marginal_kl, frequencies=nets.class_frequencies),
                encoder,
                weight("marginal_kl", 10 * plan.prior_certainty * plan.room),
            ),
        ]

    def _sources(self, X: Tensor, y: NDArray[np.int64] | None, plan: Plan) -> tuple[Sources, Plan]:
        assert y is not None
        if not plan.has_teachers:
            return partly_labelled_sources(X, y, plan, self.seed_)
        teaching = teach(X.numpy(), y, prior_mean(plan), self.seed_)
        self.teachers_: dict[str, dict[str, float]] = teaching.methods
        if self.class_prior == "auto":
            warn_of_unsure_frequencies(plan.data, teaching.certainty)
        return partly_labelled_sources(X, y, plan, self.seed_, teaching)

    def _finish(self, rows: NDArray[Any], y: NDArray[np.int64] | None) -> None:
        assert y is not None
        expected = self.networks_.class_frequencies.expected.numpy().astype(float)
        if self.plan_.min_class_share < 1 and self.plan_.weights["marginal_kl"]:
            self.class_frequencies_: NDArray[Any] = expected
        if self.plan_.data.n_unlabelled:
            p = self._class_probabilities(self.networks_, rows[y == UNLABELLED][:N_JUDGED])
            if self.plan_.has_teachers:
                assert self.networks_.encoder.head_y is not None
                calibrate(self.networks_.encoder.head_y, p, self.teachers_["mean"]["error"], self.plan_.data.n_labelled)
            warn_of_lost_classes(self.classes_, p, expected)

    def translate(self, X: ArrayLike, y: ArrayLike) -> NDArray[Any]:
        """Rows in the style of X as another class: one for all, or one each `(n,)`. For style_matching="per_class".

        Raises
        ------
        InputError
            For a class that was not seen in fit, or another number of classes than of rows.
        """
        z = self._encode(self._rows(X))
        return self.generate(broadcast(y, len(z)), z)
