"""The supervised classifier that every semi-supervised result is compared with."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aaekit import losses
from aaekit.core.phase import Phase
from aaekit.estimators._base import Augmentation, Sources
from aaekit.estimators._building import new_encoder
from aaekit.estimators._classifier import Classifier, ClassWeight
from aaekit.estimators._fitting import rows_per_batch
from aaekit.estimators._hyperparameters import hyperparameters
from aaekit.estimators._plan import DataSummary, Plan
from aaekit.nn.networks import Networks
from aaekit.nn.step import EncoderStep

__all__ = ["SupervisedBaseline"]


@hyperparameters
class SupervisedBaseline(Classifier[Networks]):
    """The encoder of `SemiSupervisedAAE` alone, trained on the labelled rows only.

    See Nagabushan, *A Wizard's Guide to Adversarial Autoencoders*, part 4 (2017): the difference to it is what the
    unlabelled rows are worth. Unlabelled rows are left out.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    plan_ : Plan
        What every "auto" stood for.
    networks_ : Networks
        encoder.
    history_ : list of dict
        Losses, learning rates and times, epoch by epoch.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> SupervisedBaseline(max_steps=30, hidden=(64,), random_state=0).fit(X / 16, y).predict(X[:3] / 16).shape
    (3,)
    """

    augmentation: Augmentation = "none"
    class_weight: ClassWeight = None
    batch_norm = True
    learning_rate_schedule = "cosine"
    ema_decay = 0.99
    _learns_from_labelled_only = True

    def plan(self, data: DataSummary) -> Plan:
        """What every "auto" stands for on such data."""
        batch_sizes = {"labelled": rows_per_batch(self.batch_size, data.n_rows)}
        return self._planned(data, 500, batch_sizes=batch_sizes, n_classes=data.n_classes)

    def networks(self, plan: Plan) -> Networks:
        """An encoder to logits."""
        return Networks(new_encoder(self, plan, 0, plan.n_classes))

    def phases(self, nets: Networks, plan: Plan) -> list[Phase[EncoderStep]]:
        """Cross entropy on the labelled rows."""
        return [Phase("classification", losses.classification_loss, (nets.encoder,))]

    def _sources(self, X: Tensor, y: NDArray[np.int64] | None, plan: Plan) -> tuple[Sources, Plan]:
        assert y is not None
        return {"labelled": {"rows": X, "labels": torch.from_numpy(y)}}, plan
