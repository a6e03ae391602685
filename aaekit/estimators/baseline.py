"""The supervised classifier that every semi-supervised result is held against: system S9."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from aaekit import augment, losses
from aaekit.core.loop import Callback
from aaekit.core.phase import Phase, Step
from aaekit.estimators._base import UNLABELLED, Classifier, EmaDecay, RatesOverTime
from aaekit.estimators._hyperparameters import Rate, hyperparameters


@hyperparameters
class SupervisedBaseline(Classifier):
    """The encoder of `SemiSupervisedAAE` alone, trained on the labelled rows only.

    See Nagabushan, *A Wizard's Guide to Adversarial Autoencoders*, part 4 (2017): the difference to it is what the
    unlabelled rows are worth. Rows labelled -1 (or None) are left out.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    networks_ : torch.nn.ModuleDict
        "encoder".
    history_ : list of dict
        Losses, rates and times, epoch by epoch.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> SupervisedBaseline(max_steps=30, hidden=(64,), random_state=0).fit(X / 16, y).predict(X[:3] / 16).shape
    (3,)
    """

    batch_norm: Annotated[
        bool, Field(description="batch normalisation in a fully connected encoder (convolutional ones always have it)")
    ] = True
    augmentation: Annotated[
        Literal["auto", "affine", "noise", "none"] | Callable[[Tensor], Tensor],
        Field(description="what leaves the class as it is: small warps (images), feature noise (tables), none, "
              "or a callable on batches; 'auto' goes by the shape of the rows"),
    ] = "none"  # fmt: skip
    classification_rate: Annotated[Rate, Field(description="learning rate")] = 1e-3
    learning_rate_schedule: RatesOverTime = "cosine"
    ema_decay: EmaDecay = 0.99

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        callbacks: Sequence[Callback] = (),
        eval_set: tuple[Any, Any] | None = None,
    ) -> Self:
        """Train on the labelled rows; parameters and errors as for `SemiSupervisedAAE.fit`."""
        rows, codes = self._learn_rows_and_labels(X, y)
        labelled = codes != UNLABELLED
        return self._fit(rows[labelled], codes[labelled], callbacks, eval_set)

    def _auto_steps(self, n_rows: int) -> int:
        return 500

    def _networks(self) -> dict[str, nn.Module]:
        return {"encoder": self._encoder(0, len(self.classes_))}

    def _phases(self, nets: nn.ModuleDict) -> list[Phase]:
        encoder = (nets["encoder"],)
        return [Phase("classification", losses.classification_loss, encoder, self.classification_rate, self.momentum)]

    def _sources(self, X: Tensor, y: np.ndarray | None) -> dict[str, list[Tensor]]:
        assert y is not None
        return {"labelled": [X, torch.from_numpy(y)]}

    def _make_step(self, nets: nn.ModuleDict, batch: dict[str, list[Tensor]], together: bool) -> Step:
        x, y = batch["labelled"]
        vary = augment.make(self.augmentation, self.shape_)
        rows = {"labelled": vary(self._floats(x))}
        return Step(rows, nets["encoder"], labels={"labelled": y}, corrupt=self._corrupt, together=together)
