"""One class per system: an estimator builds its networks, lists its phases and says how to predict."""

from aaekit.estimators.autoencoder import AdversarialAutoencoder
from aaekit.estimators.baseline import SupervisedBaseline
from aaekit.estimators.semi_supervised import SemiSupervisedAAE

__all__ = ["AdversarialAutoencoder", "SemiSupervisedAAE", "SupervisedBaseline"]
