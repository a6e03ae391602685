"""Classification from a few labels and many rows: system S8."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from aaekit import augment, networks, phases, priors
from aaekit.errors import InputError
from aaekit.estimators.autoencoder import Autoencoder, seeded
from aaekit.estimators.base import UNLABELLED, Classifier
from aaekit.parameters import Positive, Rate, Share, Weight, hyperparameters
from aaekit.phases import Phase, Step
from aaekit.training import Listener, RateSchedule


@hyperparameters
class SemiSupervisedAAE(Classifier, Autoencoder):
    """Semi-supervised adversarial autoencoder: a classifier from a few labelled rows and many unlabelled ones.

    The encoder gives a class code y, matched to a categorical prior, and a style code z, matched to `prior`; the
    decoder makes the row again from both; cross entropy ties y to the labels (Makhzani et al., *Adversarial
    Autoencoders*, arXiv:1511.05644, section 4). Besides the paper's phases, `consistency` makes y hold still where the
    class cannot have changed: under the augmentation, or in the worst direction of a small ball.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    networks_ : torch.nn.ModuleDict
        "encoder", "decoder", "y_discriminator" and "z_discriminator".
    history_ : list of dict
        Losses, rates and times, epoch by epoch.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> y[100:] = -1
    >>> model = SemiSupervisedAAE(max_steps=50, hidden=(64,), random_state=0).fit(X / 16, y)
    >>> model.predict_proba(X[:3] / 16).shape
    (3, 10)
    """

    n_style: Annotated[Positive, Field(description="dimensions of the style code z")] = 10
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
        Field(description="what leaves the class as it is: small affine warps (images), feature noise (tables), none, "
              "or a callable on batches; 'auto' goes by the shape of the rows"),
    ] = "auto"  # fmt: skip
    consistency: Annotated[
        Literal["auto", "pseudo_labels", "virtual_adversarial", "both", "none"],
        Field(description="what unlabelled rows teach about y: confident classes hold under augmentation, in the worst "
              "direction nearby, or both; 'auto' is both, but the first for images of less than 16 pixels a "
              "side, and the second where there is no augmentation"),
    ] = "auto"  # fmt: skip
    confidence: Annotated[float, Field(gt=0, lt=1, description="probability from which a pseudo-label counts")] = 0.95
    radius: Annotated[
        float, Field(gt=0, description="length of virtual adversarial shifts; 1 is the rows' distance from their mean")
    ] = 0.25
    class_prior: Annotated[
        Literal["labelled", "uniform"] | tuple[float, ...],
        Field(description="frequencies of the classes: as among the labelled rows, all alike, or given"),
    ] = "labelled"
    classification_weight: Annotated[Weight, Field(description="weight of the cross entropy on labelled rows")] = 1.0
    consistency_weight: Annotated[Weight, Field(description="weight of each consistency")] = 1.0
    balance_weight: Annotated[Weight, Field(description="weight of keeping the mean of y at the class prior")] = 10.0
    reconstruction_rate: Annotated[Rate, Field(description="learning rate of the reconstruction")] = 2e-3
    generator_rate: Annotated[Rate, Field(description="learning rate of fooling the discriminators")] = 2e-3
    classification_rate: Annotated[Rate, Field(description="learning rate of classification and consistency")] = 2e-3
    labelled_batch_size: Annotated[
        Literal["auto"] | Positive, Field(description="labelled rows in a step; 'auto' is 50, or all if fewer")
    ] = "auto"
    rate_schedule: Annotated[
        RateSchedule, Field(description="learning rates: constant, falling as a cosine, or divided by 10 at milestones")
    ] = "cosine"
    averaging: Annotated[
        Share, Field(description="decay per step of the moving average of the weights that is used in the end; 0: none")
    ] = 0.995

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        listeners: Sequence[Listener] = (),
        evaluation: tuple[Any, Any] | None = None,
    ) -> Self:
        """Train on rows and labels; rows without a label have -1 (or None, among objects).

        Parameters
        ----------
        X : array-like (n, n_features) or (n, channels, height, width)
            Numbers of any range (they are standardised), in [0, 1], or bytes.
        y : array-like (n,)
            Labels of any kind.
        listeners : sequence of Listener
            Told of each step and epoch, for instance a run directory.
        evaluation : (X, y), optional
            Rows whose error is put into `history_` each epoch. They never train, choose or stop anything.

        Raises
        ------
        InputError (a ValueError)
            For parameters, rows or labels that are not as declared, or too few labels.
        TrainingError
            When a loss stops being finite.
        """
        rows, codes = self._learn_rows_and_labels(X, y)
        return self._fit(rows, codes, listeners, evaluation)

    # --- networks and phases ---------------------------------------------------------------------------------------
    @property
    def _n_classes(self) -> int:
        return len(self.classes_)

    def _auto_steps(self, n_rows: int) -> int:
        """More rows have more to teach; fully connected steps are cheaper and teach less."""
        named = isinstance(self.backbone, str) and networks.backbone_name(self.backbone, self.shape_)
        return min(800 + n_rows // (27 if named == "mlp" else 100), 5000)

    def _codes_matched(self) -> dict[str, int]:
        return {"y": self._n_classes, "z": self.n_style}

    def _networks(self) -> dict[str, nn.Module]:
        nets = super()._networks()
        if self.balance_weight:
            nets["class_frequencies"] = phases.ClassFrequencies(self._class_prior().mean)
        return nets

    def _class_prior(self) -> priors.Categorical:
        if self.class_prior == "uniform":
            return priors.Categorical(self._n_classes)
        if self.class_prior == "labelled":
            return priors.Categorical(self._n_classes, self.class_counts_)
        if len(self.class_prior) != self._n_classes:
            raise InputError(f"class_prior has {len(self.class_prior)} numbers for {self._n_classes} classes")
        return priors.Categorical(self._n_classes, self.class_prior)

    def _phases(self, nets: nn.ModuleDict) -> list[Phase]:
        listed = super()._phases(nets)
        if self._matches:
            listed += self._matching(nets, "y", self._fake_y, self._class_prior())
        encoder = (nets["encoder"],)
        rate, momentum = self.classification_rate, self.momentum
        listed += [Phase("classification", phases.classify, encoder, rate, momentum, self.classification_weight)]
        losses: dict[str, tuple[Callable[[Step], Tensor], float]] = {}
        if self._agrees:
            losses["agreement"] = lambda step: phases.agree(step, self.confidence), self.consistency_weight
        if self._smooths:
            radius = self.radius * self.spread_
            losses["smoothness"] = lambda step: phases.smooth(step, radius), self.consistency_weight
        if self.balance_weight:
            frequencies = nets["class_frequencies"]
            assert isinstance(frequencies, phases.ClassFrequencies)
            losses["balance"] = lambda step: phases.balance(step, frequencies), self.balance_weight
        return listed + [Phase(name, loss, encoder, rate, momentum, w) for name, (loss, w) in losses.items()]

    @staticmethod
    def _fake_y(step: Step, gradient: bool) -> Tensor:
        return (step.code() if gradient else step.detached_code()).y

    def _augmentation(self) -> Callable[[Tensor], Tensor]:
        return augment.make(self.augmentation, self.shape_)

    @property
    def _agrees(self) -> bool:
        """Whether confident classes must hold under the augmentation."""
        if self.consistency in ("pseudo_labels", "both") and self.augmentation == "none":
            raise InputError(
                f"consistency={self.consistency!r} needs an augmentation: choose one, or 'virtual_adversarial'"
            )
        wanted = self.consistency in ("pseudo_labels", "both", "auto") and self.augmentation != "none"
        return wanted and self.consistency_weight > 0

    @property
    def _smooths(self) -> bool:
        """Whether classes must hold in the worst direction nearby."""
        wanted = self.consistency in ("virtual_adversarial", "both")
        if self.consistency == "auto":
            # a ball that leaves the class of 28x28 digits alone holds other classes at 8x8
            wanted = self.augmentation == "none" or len(self.shape_) == 1 or min(self.shape_[1:]) >= 16
        return wanted and self.consistency_weight > 0

    def _sources(self, X: Tensor, y: np.ndarray | None) -> dict[str, list[Tensor]]:
        assert y is not None
        labelled = np.flatnonzero(y != UNLABELLED)
        return {"unlabelled": [X], "labelled": [X[labelled], torch.from_numpy(y[labelled])]}

    def _batch_size(self, name: str, n: int) -> int:
        if name != "labelled":
            return super()._batch_size(name, n)
        if self.labelled_batch_size == "auto":
            return min(50, n)
        if self.labelled_batch_size > n:
            raise InputError(f"labelled_batch_size={self.labelled_batch_size} is larger than the {n} labelled rows")
        return self.labelled_batch_size

    def _make_step(self, nets: nn.ModuleDict, batch: dict[str, list[Tensor]], together: bool) -> Step:
        (x,), (x_labelled, y) = batch["unlabelled"], batch["labelled"]
        x, vary = self._floats(x), self._augmentation()
        rows = {"unlabelled": x, "labelled": vary(self._floats(x_labelled))}
        if self._agrees:
            rows["augmented"] = vary(x)
        return Step(rows, nets["encoder"], nets["decoder"], labels=y, corrupt=self._corrupt, together=together)

    # --- what it can do --------------------------------------------------------------------------------------------
    def generate(self, y: Any, Z: Any = None, random_state: Any = None) -> np.ndarray:
        """Rows of the given classes `(n,)`, with styles `Z` `(n, n_style)` or, without, draws of the prior."""
        codes = self._codes_of(y)
        if (codes == UNLABELLED).any():
            raise InputError(f"expected a class for each row, of {self.classes_.tolist()}")
        Z = self.sample_prior(len(codes), random_state) if Z is None else np.asarray(Z, dtype=np.float32)
        if Z.shape != (len(codes), self.n_style):
            raise InputError(f"expected styles of shape ({len(codes)}, {self.n_style}), got {Z.shape}")
        return self._decode(np.concatenate([np.eye(self._n_classes, dtype=np.float32)[codes], Z], 1))

    def _draw_codes(self, n: int, random_state: Any) -> np.ndarray:
        with seeded(random_state):
            return torch.cat([self._class_prior().sample(n), self._prior().sample(n).float()], 1).numpy()

    def _more_facts(self) -> dict[str, Any]:
        return {**super()._more_facts(), "class_counts_": self.class_counts_}
