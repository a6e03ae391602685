"""Plain, basic and label-regularised adversarial autoencoders (Makhzani et al., sections 2 and 2.3)."""

from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from aaekit import divergences, losses, priors
from aaekit.core.phase import Phase, match
from aaekit.errors import InputError
from aaekit.estimators._autoencoder import check_count, draw, reconstruction_score, seeded
from aaekit.estimators._base import RandomState, Sources
from aaekit.estimators._building import new_coders, new_critic
from aaekit.estimators._density import ParzenDensity
from aaekit.estimators._fitting import rows_per_batch
from aaekit.estimators._hyperparameters import Searched, Share, hyperparameters
from aaekit.estimators._labels import learn_labels
from aaekit.estimators._plan import DataSummary, Plan
from aaekit.estimators._rows import learn_rows
from aaekit.labels import UNLABELLED, label_indices, labelled_mask
from aaekit.nn.encoder import Posterior, one_hot
from aaekit.nn.networks import AutoencoderNetworks
from aaekit.nn.step import EncoderStep

__all__ = ["AdversarialAutoencoder"]

GENERATOR = 0.1  # weight of fooling the discriminator
FEW_LABELS = 0.2  # share of labelled rows below which they get minibatches of their own


@hyperparameters
class AdversarialAutoencoder(ParzenDensity):
    """Adversarial autoencoder: codes that follow a prior, and new rows from draws of it.

    The defaults are those of Sheet, *Deep Learning for Visual Computing* (NPTEL), lecture 54, with two code dimensions;
    lecture 55 has ``latent_dim=100``. With ``adversarial=False`` it is a plain autoencoder, whose latent space has
    holes. See Makhzani et al., *Adversarial Autoencoders*, arXiv:1511.05644, section 2.

    With a class-conditional prior ("mixture", "swiss_roll") and labels it is label-regularised (section 2.3; lecture
    53): the discriminator is shown the label, or that there is none, so that each class gets its own part of the prior.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted; only where labels play a part.
    plan_ : Plan
        What every "auto" stood for.
    networks_ : AutoencoderNetworks
        encoder, decoder and, for divergences that need one, z_discriminator.
    history_ : list of dict
        Losses, learning rates and times, epoch by epoch.
    n_steps_ : int
        Steps that were made.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X = load_digits(return_X_y=True)[0] / 16
    >>> model = AdversarialAutoencoder(max_steps=20, hidden=(64,), random_state=0).fit(X)
    >>> model.transform(X[:3]).shape, model.sample(5, random_state=0).shape
    ((3, 2), (5, 64))
    """

    posterior: Annotated[
        Posterior,
        "Networks",
        Field(description="z given x: deterministic, Gaussian, or from noise that is fed in (universal approximator)"),
    ] = "deterministic"
    discriminator_dropout: Annotated[
        Share, "Networks", Field(description="share of hidden units dropped in the discriminator"), Searched(0, 0.5)
    ] = 0.2
    adversarial: Annotated[
        bool,
        "Codes and priors",
        Field(description="match the codes to the prior; without it, a plain autoencoder"),
    ] = True
    reconstruction: Annotated[
        Literal["auto", "bernoulli", "gaussian"],
        "Losses",
        Field(
            description="reconstruction error: Bernoulli for values in [0, 1], or half the summed squared error; "
            "'auto' depends on the values"
        ),
    ] = "auto"
    discriminator_decay: Annotated[
        bool,
        "Training",
        Field(description="let learning_rate_schedule lower the discriminator's learning rate, too"),
    ] = True
    backbone = "mlp"
    dropout = 0.25
    learning_rate = 1e-4
    discriminator_learning_rate = 5e-5
    optimizer = ("adam", 0.9)
    schedule = "alternating"

    def plan(self, data: DataSummary) -> Plan:
        """What every "auto" stands for; 5,000 steps as in lecture 54."""
        batch_sizes = {"unlabelled": rows_per_batch(self.batch_size, data.n_rows)}
        if data.n_classes:  # rare labels get minibatches of their own, or the discriminator would hardly see any
            size = 100 if self.batch_size == "auto" else batch_sizes["unlabelled"]
            batch_sizes["labelled"] = min(size, data.n_labelled)
        return self._planned(data, 5000, batch_sizes=batch_sizes, reconstruction=self.reconstruction)

    def networks(self, plan: Plan) -> AutoencoderNetworks:
        """Encoder, decoder and a critic of z, which may be shown the label."""
        encoder, decoder = new_coders(self, plan, self.latent_dim, posterior=self.posterior)
        weight = plan.weight("z/generator", GENERATOR) if self.adversarial else 0.0
        n_shown = plan.data.n_classes + 1 if plan.data.n_classes else 0
        z_discriminator = new_critic(self, self.latent_dim + n_shown, weight, self.discriminator_dropout)
        return AutoencoderNetworks(encoder, decoder, z_discriminator)

    def phases(self, nets: AutoencoderNetworks, plan: Plan) -> list[Phase[EncoderStep]]:
        """Reconstruction, and regularisation of z, to the component of the label where there are labels."""
        prior, K = self.prior_, plan.data.n_classes

        def with_label(z: Tensor, labels: Tensor) -> Tensor:
            """[z, one-hot label], the last class being "unlabelled"."""
            return torch.cat([z.float(), one_hot(labels.where(labels >= 0, K), K + 1)], 1)

        def z_of_rows(step: EncoderStep) -> Tensor:
            if not K:
                return step.code().z
            return with_label(torch.cat([step.code(view).z for view in step.rows]), torch.cat([*step.labels.values()]))

        def z_of_prior(step: EncoderStep) -> Tensor:
            if not K:
                return draw(prior, step)
            labels = torch.cat([*step.labels.values()])
            return with_label(prior.sample(len(labels), labels, labels.device), labels)

        return [
            Phase(
                "reconstruction",
                partial(losses.reconstruction_loss, kind=plan.reconstruction),
                (nets.encoder, nets.decoder),
                plan.weight("reconstruction", 10 / plan.data.n_values),
            ),
            *match(
                "z",
                z_of_rows,
                z_of_prior,
                divergences.make(self.divergence),
                nets.z_discriminator,
                (nets.encoder,),
                weight=plan.weight("z/generator", GENERATOR) if self.adversarial else 0.0,
                generator_rate=self.learning_rate / 2,  # as in lecture 54
                scheduled=self.discriminator_decay,
            ),
        ]

    def _learn(self, X: ArrayLike, y: ArrayLike | None) -> tuple[NDArray[Any], NDArray[np.int64] | None]:
        rows = learn_rows(self, X)
        is_conditional = priors.make(self.prior, self.latent_dim).n_components is not None
        if y is not None and self.adversarial and is_conditional:
            check_consistent_length(rows, y)
            if labelled_mask(y).any():
                labels, K = learn_labels(self, y), len(self.classes_)
                if self.prior_.n_components != K:
                    raise InputError(
                        f"prior: expected as many components as the labels have classes, {K}, got "
                        f"{self.prior_.n_components} in {self.prior_!r}: make them equal, or give the name of the prior"
                    )
                return rows, labels
        return rows, None

    @property
    def prior_(self) -> priors.Prior:
        """The prior of z; a named one has a component for each class."""
        return priors.make(self.prior, self.latent_dim, len(self.classes_) if hasattr(self, "classes_") else None)

    def _sources(self, X: Tensor, y: NDArray[np.int64] | None, plan: Plan) -> tuple[Sources, Plan]:
        if y is None:
            return {"unlabelled": {"rows": X}}, plan
        labelled = np.flatnonzero(y != UNLABELLED)
        sources: Sources = {"unlabelled": {"rows": X, "labels": torch.from_numpy(y)}}
        if len(labelled) <= FEW_LABELS * len(y):
            sources["labelled"] = {"rows": X[labelled], "labels": torch.from_numpy(y[labelled])}
        return sources, plan

    def _score(self, nets: AutoencoderNetworks, X: Tensor, y: NDArray[np.int64] | None) -> dict[str, float]:
        return reconstruction_score(self, nets, X)

    def _label_indices(self, y: ArrayLike) -> NDArray[np.int64] | None:
        return label_indices(y, self.classes_) if hasattr(self, "classes_") else None

    def _draw_codes(self, n: int, component: int | None, random_state: RandomState) -> NDArray[np.float32]:
        with seeded(random_state):
            labels = None if component is None else torch.full((n,), component)
            return self.prior_.sample(n, labels).float().numpy()

    def walk(self, n_samples: int = 100) -> NDArray[Any]:
        """Rows decoded at even steps along a Swiss roll, from its centre outwards, shape `(n_samples, ...)`.

        Raises
        ------
        InputError
            If the prior is another.
        """
        check_is_fitted(self)
        prior = self.prior_
        if not isinstance(prior, priors.SwissRoll):
            raise InputError(
                f"prior: expected a Swiss roll to walk along, got {prior!r}: train with prior='swiss_roll'"
            )
        check_count(n_samples)
        return self._decode(prior.at((torch.arange(n_samples) + 0.5) / n_samples).float())
