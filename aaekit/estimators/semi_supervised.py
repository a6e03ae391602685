"""Classification from a few labels and many rows: system S8."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field
from torch import Tensor, nn

from aaekit.core.loop import Callback
from aaekit.core.phase import Phase, Step
from aaekit.estimators._base import Classifier
from aaekit.estimators._hyperparameters import Positive, hyperparameters
from aaekit.estimators.categorical import PartlyLabelled

FIRM = 3.0  # how much harder the game of z is played class by class


@hyperparameters
class SemiSupervisedAAE(PartlyLabelled, Classifier):
    """Semi-supervised adversarial autoencoder: a classifier from a few labelled rows and many unlabelled ones.

    The encoder gives a class code y, matched to a categorical prior, and a style code z, matched to `prior`; the
    decoder makes the row again from both; cross entropy ties y to the labels (Makhzani et al., *Adversarial
    Autoencoders*, arXiv:1511.05644, section 4). Besides the paper's phases, `consistency` makes y hold still where the
    class cannot have changed: under the augmentation, or in the worst direction of a small ball. With
    ``style_matching="per_class"`` z keeps the style alone: its discriminator is shown y, as that of `SupervisedAAE` is shown
    the label.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    class_frequencies_ : list of float
        How frequent the classes turned out to be; only with class_prior="auto", and rows without a label.
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

    style_matching: Annotated[
        Literal["per_class", "marginal"],
        Field(description="z is matched to the prior class by class (it tells little of y, and rows can be made of a "
              "class; the game of z is played three times as hard for it), or all together, as in the paper"),
    ] = "marginal"  # fmt: skip
    n_init: Annotated[
        Literal["auto"] | Positive,
        Field(description="starts, of which the one goes on that is surest of the rows without a label, and finds "
              "classes as frequent as they should be, after a third of the steps or 600; 'auto' is 5 for up to "
              "5,000 rows with at most five labels a class on average, else 1; in trainings of fewer than 300 steps "
              "always 1"),
    ] = "auto"  # fmt: skip

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        callbacks: Sequence[Callback] = (),
        eval_set: tuple[Any, Any] | None = None,
    ) -> Self:
        """Train on rows and labels; rows without a label have -1 (or None, among objects).

        Parameters
        ----------
        X : array-like (n, n_features) or (n, channels, height, width)
            Numbers of any range (they are standardised), in [0, 1], or bytes: pixels, but in a table numbers if all
            are below 128.
        y : array-like (n,)
            Labels of any kind.
        callbacks : sequence of Callback
            Told of each step and epoch, for instance a run directory.
        eval_set : (X, y), optional
            Rows whose error is put into `history_` each epoch. They never train, choose or stop anything.

        Raises
        ------
        InputError (a ValueError)
            For parameters, rows or labels that are not as declared, or too few labels.
        TrainingError
            When a loss stops being finite.
        """
        rows, codes = self._learn_rows_and_labels(X, y)
        return self._fit(rows, codes, callbacks, eval_set)

    @property
    def _n_classes(self) -> int:
        return len(self.classes_)

    @property
    def _n_shown(self) -> int:
        return self._n_classes if self.style_matching == "per_class" else 0

    def _shown(self, step: Step) -> Tensor:
        return step.detached_code().y.float()

    def _match_z(self, nets: nn.ModuleDict) -> list[Phase]:
        """Ten priors are harder to match than one: discriminator and encoder move three times as fast."""
        listed = super()._match_z(nets)
        if not self._n_shown:
            return listed
        return [
            replace(p, rate=FIRM * p.rate, steady=True) if p.is_critic else replace(p, weight=FIRM * p.weight)
            for p in listed
        ]

    def _n_starts(self, n_rows: int) -> int:
        if not self.n_unlabelled_:
            return 1
        if self.n_init != "auto":
            return self.n_init
        return 5 if n_rows <= 5000 and sum(self.class_counts_) <= 5 * self._n_classes else 1

    def translate(self, X: Any, label: Any) -> np.ndarray:
        """Rows in the style of X as another class: one for all, or one each `(n,)`. For style_matching="per_class".

        Raises
        ------
        InputError
            For a class that was not seen in fit, or another number of classes than of rows.
        """
        Z, label = self.transform(X), np.asarray(label)
        return self.generate(np.repeat(label, len(Z)) if label.ndim == 0 else label, Z)

    def _auto_steps(self, n_rows: int) -> int:
        """What must hold under warps of images gets sharper for long: 8,000 steps for 60,000 images."""
        pays = self._agrees and len(self.shape_) == 3 and not self._all_augmented
        return super()._auto_steps(n_rows) + (min(max(0, n_rows - 10_000) // 10, 5000) if pays else 0)
