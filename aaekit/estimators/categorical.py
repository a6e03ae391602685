"""What the systems share that give each row a class code y beside the style z: S8, S10 and S11."""

from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from pydantic import Field
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from aaekit import augment, losses, priors
from aaekit.core.phase import Phase, Step
from aaekit.errors import InputError
from aaekit.estimators import _label_propagation
from aaekit.estimators._base import UNLABELLED, EmaDecay, Labelled, RatesOverTime
from aaekit.estimators._hyperparameters import Length, Positive, Rate, Weight, hyperparameters
from aaekit.estimators.autoencoder import Autoencoder, seeded
from aaekit.nn.encoder import one_hot

N_DOUBTED = 5000  # rows by which a start is judged


@hyperparameters
class CategoricalAutoencoder(Labelled, Autoencoder):
    """Base of the estimators whose encoder gives a class code y besides z.

    The phases are reconstruction, matching of y and z, and what unlabelled rows can teach about y: it holds still under
    the augmentation or in the worst direction nearby (`consistency`), and every class has its share (`balance_weight`).
    """

    latent_dim: Annotated[Positive, Field(description="dimensions of the style code z")] = 10
    batch_norm: Annotated[
        bool, Field(description="batch normalisation in a fully connected encoder (convolutional ones always have it)")
    ] = True
    input_noise: Annotated[
        float,
        Field(
            ge=0,
            allow_inf_nan=False,
            description="standard deviation of the noise added to what the encoder sees while training",
        ),
    ] = 0.1
    discriminator_hidden: Annotated[
        tuple[Positive, ...], Field(description="widths of the hidden layers of each discriminator")
    ] = (200, 200)
    augmentation: Annotated[
        Literal["auto", "affine", "noise", "none"] | Callable[[Tensor], Tensor],
        Field(description="what leaves the class as it is: small warps (images; those of ClusteringAAE do not bend), "
              "feature noise (tables), none, or a callable on batches; 'auto' goes by the shape of the rows"),
    ] = "auto"  # fmt: skip
    vat_epsilon: Annotated[
        Length, Field(description="length of virtual adversarial shifts; 1 is the rows' distance from their mean")
    ] = 0.25
    vat_xi: Annotated[
        Literal["auto"] | Length,
        Field(description="length of the random shift at whose end the worst direction is sought, in radii; "
              "'auto' is 10, or next to none where an augmentation teaches, too"),
    ] = "auto"  # fmt: skip
    consistency_weight: Annotated[Weight, Field(description="weight of each consistency")] = 1.0
    balance_weight: Annotated[Weight, Field(description="weight of keeping the mean of y at the class prior")] = 10.0
    learning_rate: Annotated[Rate, Field(description="learning rate of the reconstruction")] = 2e-3
    generator_rate: Annotated[Rate, Field(description="learning rate of fooling the discriminators")] = 2e-3
    classification_rate: Annotated[Rate, Field(description="learning rate of classification and consistency")] = 2e-3
    learning_rate_schedule: RatesOverTime = "cosine"
    ema_decay: EmaDecay = 0.995

    # --- networks and phases ---------------------------------------------------------------------------------------
    def _codes_matched(self) -> dict[str, int]:
        return {"y": self._n_classes} | super()._codes_matched()

    def _networks(self) -> dict[str, nn.Module]:
        nets = super()._networks()
        if self._balance_weight():
            yields = 0.01 if self._least_share < 1 else 0.0
            prior = self._class_prior().mean
            nets["class_frequencies"] = losses.ClassFrequencies(prior, yields=yields, least=self._least_share)
        return nets

    def _class_prior(self) -> priors.Categorical:
        """How often each value of y is wanted: all alike."""
        return priors.Categorical(self._n_classes)

    @property
    def class_prior_(self) -> np.ndarray:
        return self._class_prior().mean.numpy()

    def _balance_weight(self) -> float:
        return self.balance_weight

    @property
    def _least_share(self) -> float:
        """Where the class prior is a guess: how much of it a class keeps at least; 1 where it is to be kept."""
        return 1.0

    def _phases(self, nets: nn.ModuleDict) -> list[Phase]:
        listed = super()._phases(nets)
        if self._matches:
            listed += self._matching(nets, "y", self._fake_y, self._class_prior(), self._real_y(nets))
        class_losses = self._class_losses(nets)
        if self._smooths:
            radius = self.vat_epsilon * self.data_radius_
            probe = self.vat_xi * radius if self.vat_xi != "auto" else 10 * radius if self._only_smooths else 0.1
            class_losses["smoothness"] = (
                lambda step: losses.virtual_adversarial_loss(step, radius, probe),
                self.consistency_weight,
            )
        if self._balance_weight():
            frequencies = nets["class_frequencies"]
            assert isinstance(frequencies, losses.ClassFrequencies)
            class_losses["balance"] = lambda step: losses.marginal_kl(step, frequencies), self._balance_weight()
        rate, momentum = self.classification_rate, self.momentum
        return listed + [
            Phase(k, loss, (nets["encoder"],), rate, momentum, w, anneal_steps=self._fading.get(k, 0))
            for k, (loss, w) in class_losses.items()
        ]

    @property
    def _fading(self) -> dict[str, int]:
        """Losses that are for the beginning, and in how many steps they fade away."""
        return {}

    def _class_losses(self, nets: nn.ModuleDict) -> dict[str, tuple[Callable[[Step], Tensor], float]]:
        """What else moves the encoder towards classes: class_losses with their weights, by name."""
        return {}

    @property
    def _consistency_without_labels(self) -> str:
        """Of what is automatic: warps say more than small balls of what a class is; table rows have no warps."""
        if self.augmentation == "none":
            return "virtual_adversarial"
        return "both" if len(self.shape_) == 1 else "augmentation"

    def _without_labels(self, decision_weight: float) -> dict[str, tuple[Callable[[Step], Tensor], float]]:
        """What makes clusters where no label says what the classes are: y decides, and holds under augmentation."""
        class_losses: dict[str, tuple[Callable[[Step], Tensor], float]] = {}
        if decision_weight:
            class_losses["decision"] = losses.conditional_entropy, decision_weight
        if self._agrees:
            class_losses["agreement"] = losses.consistency_kl, self.consistency_weight
        return class_losses

    def _check_clusters(self, n_clusters: int, n: int) -> None:
        """No more clusters than rows."""
        if n_clusters > n:
            raise InputError(f"n_clusters={n_clusters} is larger than the {n} rows given: choose at most {n}")

    def _real_y(self, nets: nn.ModuleDict) -> Callable[[Step], Tensor] | None:
        """Samples that y is matched to; None stands for draws of the class prior."""
        return None

    @staticmethod
    def _fake_y(step: Step, gradient: bool) -> Tensor:
        return (step.code() if gradient else step.detached_code()).y

    def _augmentation(self) -> Callable[[Tensor], Tensor]:
        return augment.make(self.augmentation, self.shape_)

    @property
    def _consistency(self) -> str:
        """What must not change y: "augmentation", "virtual_adversarial", "both" or "none"; or "auto"."""
        raise NotImplementedError

    @property
    def _agrees(self) -> bool:
        """Whether y must hold under the augmentation."""
        chosen = self._consistency
        if chosen in ("augmentation", "both") and self.augmentation == "none":
            given = getattr(self, "consistency", chosen)
            raise InputError(f"consistency={given!r} needs an augmentation: choose one, or 'virtual_adversarial'")
        wanted = chosen in ("augmentation", "both", "auto") and self.augmentation != "none"
        return wanted and self.consistency_weight > 0

    @property
    def _smooths(self) -> bool:
        """Whether y must hold in the worst direction nearby."""
        wanted = self._consistency in ("virtual_adversarial", "both")
        if self._consistency == "auto":
            # a ball that leaves the class of 28x28 digits alone holds other classes at 8x8
            wanted = self.augmentation == "none" or len(self.shape_) == 1 or min(self.shape_[1:]) >= 16
        return wanted and self.consistency_weight > 0

    @property
    def _only_smooths(self) -> bool:
        """Whether nothing but smoothness says how y goes on beyond a row."""
        return self._smooths and not self._agrees

    def _sources(self, X: Tensor, y: np.ndarray | None) -> dict[str, list[Tensor]]:
        return {"unlabelled": [X]}

    def _make_step(self, nets: nn.ModuleDict, batch: dict[str, list[Tensor]], together: bool) -> Step:
        (x, *beliefs), vary = batch["unlabelled"], self._augmentation()
        x = self._floats(x)
        rows, labels = {"unlabelled": x}, {}
        if "labelled" in batch:
            x_labelled, labels["labelled"] = batch["labelled"]
            rows["labelled"] = vary(self._floats(x_labelled))
        if self._agrees:
            rows["augmented"] = vary(x.clone())  # it may work in place
        return Step(
            rows,
            nets["encoder"],
            nets["decoder"],
            labels=labels,
            beliefs={"unlabelled": beliefs[0]} if beliefs else {},
            corrupt=self._corrupt,
            join=lambda code, known: self._join(nets, code, known),
            together=together,
        )

    def _auto_steps(self, n_rows: int) -> int:
        """More rows have more to teach: 3,000 steps for 60,000."""
        return min(800 + n_rows // 27, 5000)

    # --- what it can do --------------------------------------------------------------------------------------------
    def _doubt(self, nets: nn.ModuleDict, X: Tensor, y: np.ndarray | None) -> float:
        """Mean entropy of q(y|x) of rows without a label, in nats, and how far its mean is from the class prior.

        Where classes are mixed up, y stays unsure; where one has lost a part to another, they are not as frequent.
        """
        self._recalibrate_batch_norm(nets, X)
        unlabelled = np.arange(len(X)) if y is None else np.flatnonzero(y == UNLABELLED)
        p = self._probabilities(nets, X[unlabelled[:N_DOUBTED]]).clip(1e-12)
        mean, wanted = p.mean(0), self._class_prior().mean.numpy().clip(1e-12)
        entropy, divergence = -(p * np.log(p)).sum(1).mean(), (mean * np.log(mean / wanted)).sum()
        return float(entropy + self._balance_weight() * divergence)

    def cluster_proba(self, X: Any) -> np.ndarray:
        """q(y|x) of each row, shape `(n, n_classes)`: of classes or, without labels, clusters."""
        rows = self._rows(X)
        return self._probabilities(self.networks_, rows)

    def modes(self) -> np.ndarray:
        """What the decoder makes of each value of y without style (z = 0), shape `(n_classes, ...)`."""
        check_is_fitted(self)
        K = self._n_classes
        return self._decode(self._with_style(torch.eye(K), torch.zeros(K, self.latent_dim)))

    def _draw_codes(self, n: int, component: int | None, random_state: Any) -> np.ndarray:
        with seeded(random_state):
            chosen = None if component is None else torch.full((n,), component)
            return self._with_style(self._class_prior().sample(n, chosen), self._prior().sample(n)).numpy()

    def _generate(self, codes: np.ndarray, Z: Any, random_state: Any) -> np.ndarray:
        """Rows of the values of y `(n,)` with the given styles, or draws of the prior."""
        if Z is None:
            with seeded(random_state):
                Z = self._prior().sample(len(codes))
        Z = torch.as_tensor(np.asarray(Z, dtype=np.float32))
        if Z.shape != (len(codes), self.latent_dim):
            raise InputError(f"expected styles of shape ({len(codes)}, {self.latent_dim}), got {tuple(Z.shape)}")
        return self._decode(self._with_style(one_hot(torch.as_tensor(codes, dtype=torch.int64), self._n_classes), Z))

    def _with_style(self, y: Tensor, z: Tensor) -> Tensor:
        """What the decoder sees of y `(n, n_classes)` and z `(n, latent_dim)`."""
        return torch.cat([y, z.float()], 1)


@hyperparameters
class PartlyLabelled(CategoricalAutoencoder):
    """Base of the estimators that learn y from the labels of some rows, and from all rows besides."""

    consistency: Annotated[
        Literal["auto", "pseudo_labels", "virtual_adversarial", "both", "none"],
        Field(description="what unlabelled rows teach about y: confident classes hold under augmentation, in the worst "
              "direction nearby, or both; 'auto' is both, but the first for images of less than 16 pixels a "
              "side, the second where there is no augmentation, and none where each image has a label"),
    ] = "auto"  # fmt: skip
    pseudo_label_threshold: Annotated[
        float, Field(gt=0, lt=1, description="probability from which a pseudo-label counts")
    ] = 0.95
    class_prior: Annotated[
        Literal["auto", "labelled", "uniform"] | tuple[float, ...],
        Field(description="frequencies of the classes: as among the labelled rows, all alike, or given; 'auto' begins "
              "as among the labelled rows, or as nearest neighbours tell where labels spread, and gives way to what "
              "the rows without a label turn out to be"),
    ] = "auto"  # fmt: skip
    classification_weight: Annotated[Weight, Field(description="weight of the cross entropy on labelled rows")] = 1.0
    spreading_steps: Annotated[
        Literal["auto"] | Annotated[int, Field(ge=0)],
        Field(description="first steps in which labels also spread to nearest neighbours, ever more weakly; 'auto' is "
              "300, but 0 where an augmentation of images tells more, or with consistency='none'"),
    ] = "auto"  # fmt: skip
    labelled_batch_size: Annotated[
        Literal["auto"] | Annotated[int, Field(ge=2)],
        Field(description="labelled rows in a step; 'auto' is 50, 150 if each image has a label, or all if fewer"),
    ] = "auto"

    @property
    def _consistency(self) -> str:
        if self.consistency == "auto" and self._all_augmented:
            return "none"
        return "augmentation" if self.consistency == "pseudo_labels" else self.consistency

    @property
    def _all_augmented(self) -> bool:
        """Whether each row has a label, under which its image is warped: there is nothing to guess."""
        return len(self.shape_) == 3 and self.augmentation != "none" and not getattr(self, "n_unlabelled_", 1)

    def _class_prior(self) -> priors.Categorical:
        if self.class_prior == "uniform":
            return priors.Categorical(self._n_classes)
        if self.class_prior in ("auto", "labelled"):
            return priors.Categorical(self._n_classes, getattr(self, "class_frequencies_", self.class_counts_))
        if len(self.class_prior) != self._n_classes:
            raise InputError(f"class_prior has {len(self.class_prior)} numbers for {self._n_classes} classes")
        return priors.Categorical(self._n_classes, self.class_prior)

    @property
    def _least_share(self) -> float:
        return 0.0 if self.class_prior == "auto" and getattr(self, "n_unlabelled_", 0) else 1.0

    def guess_frequencies(self, guess: ArrayLike) -> Self:
        """With class_prior="auto", begin the next fit with these class frequencies, not those of the labels.

        One for each class, in the order of the sorted labels, in sum 1.

        Raises
        ------
        InputError
            For frequencies that are not above 0, or not 1 in sum.
        """
        frequencies = np.asarray(guess, dtype=float).ravel()
        if not (frequencies > 0).all() or not np.isclose(frequencies.sum(), 1):
            raise InputError(f"expected frequencies above 0 that are 1 in sum, got {frequencies.tolist()}")
        self._guess = frequencies.tolist()
        return self

    def _learn_labels(self, y: Any) -> np.ndarray:
        codes, guess = super()._learn_labels(y), self.__dict__.pop("_guess", None)
        if guess is not None and self.class_prior == "auto":
            if len(guess) != self._n_classes:
                raise InputError(f"expected a guess of {self._n_classes} frequencies, one a class, got {len(guess)}")
            self.class_frequencies_ = guess
        return codes

    def _fit(self, *given: Any) -> Self:
        super()._fit(*given)
        frequencies = dict(self.networks_.items()).get("class_frequencies")
        if self._least_share < 1 and isinstance(frequencies, losses.ClassFrequencies):
            self.class_frequencies_ = frequencies.expected.tolist()
        return self

    def _class_losses(self, nets: nn.ModuleDict) -> dict[str, tuple[Callable[[Step], Tensor], float]]:
        class_losses: dict[str, tuple[Callable[[Step], Tensor], float]] = {}
        class_losses["classification"] = losses.classification_loss, self.classification_weight
        if self._agrees:
            class_losses["agreement"] = (
                lambda step: losses.pseudo_label_loss(step, self.pseudo_label_threshold),
                self.consistency_weight,
            )
        if self._n_spreading:
            class_losses["spreading"] = losses.soft_label_cross_entropy, 1.0
        return class_losses

    @property
    def _fading(self) -> dict[str, int]:
        return {"spreading": self._n_spreading}

    @property
    def _n_spreading(self) -> int:
        if self.spreading_steps == "auto":
            return 0 if self._consistency == "none" or (self._agrees and len(self.shape_) == 3) else 300
        return self.spreading_steps

    def _sources(self, X: Tensor, y: np.ndarray | None) -> dict[str, list[Tensor]]:
        assert y is not None
        labelled = np.flatnonzero(y != UNLABELLED)
        sources = {"unlabelled": [X], "labelled": [X[labelled], torch.from_numpy(y[labelled])]}
        if self._n_spreading:
            wanted = self._class_prior().mean.numpy()  # first, for it may be refused
            near = _label_propagation.Neighbourhood(X.numpy(), y, self._n_classes, self.seed_)
            if self.class_prior == "auto":
                wanted = near.frequencies(wanted)
                self.class_frequencies_ = wanted.tolist()
            sources["unlabelled"].append(torch.from_numpy(near.spread(wanted)))
        return sources

    def _preparation(self, n_rows: int, y: np.ndarray | None) -> str | None:
        if y is None or not self._n_spreading or n_rows < 10_000 or (y != UNLABELLED).all():
            return None
        return f"finding the nearest neighbours of {min(n_rows, _label_propagation.N_ROWS):,} rows, along which labels spread"

    def _batch_size(self, name: str, n: int) -> int:
        if name != "labelled":
            return super()._batch_size(name, n)
        if self.labelled_batch_size == "auto":
            return min(150 if self._all_augmented else 50, n)
        if self.labelled_batch_size > n:
            raise InputError(f"labelled_batch_size={self.labelled_batch_size} is larger than the {n} labelled rows")
        return self.labelled_batch_size

    def _auto_steps(self, n_rows: int) -> int:
        """Many labels are worth five passes over them; fifty, of images that are warped anew in each pass."""
        n = sum(getattr(self, "class_counts_", ()))
        passes, at_most = (50, 20_000) if self._all_augmented else (5, 5000)
        steps = passes * n // self._batch_size("labelled", n) if n else 0
        return min(max(super()._auto_steps(n_rows), steps), at_most)

    def generate(self, y: Any, Z: Any = None, random_state: Any = None) -> np.ndarray:
        """Rows of the given classes `(n,)`, with styles `Z` `(n, latent_dim)` or, without, draws of the prior.

        Raises
        ------
        InputError
            For classes that were not seen in fit, rows without a class, or styles of another shape.
        """
        check_is_fitted(self)
        codes = self._codes_of(y)
        if (codes == UNLABELLED).any():
            raise InputError(f"expected a class for each row, of {self.classes_.tolist()}")
        return self._generate(codes, Z, random_state)
