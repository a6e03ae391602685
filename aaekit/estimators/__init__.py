"""One class per system: an estimator builds its networks, lists its phases and says how to predict."""

from aaekit.estimators.autoencoder import AdversarialAutoencoder
from aaekit.estimators.baseline import SupervisedBaseline
from aaekit.estimators.clustering import ClusteringAAE
from aaekit.estimators.embedding import EmbeddingAAE
from aaekit.estimators.outliers import AAEOutlierDetector
from aaekit.estimators.pretrained import PretrainedClassifier
from aaekit.estimators.semi_supervised import SemiSupervisedAAE
from aaekit.estimators.supervised import SupervisedAAE

__all__ = [
    "AAEOutlierDetector",
    "AdversarialAutoencoder",
    "ClusteringAAE",
    "EmbeddingAAE",
    "PretrainedClassifier",
    "SemiSupervisedAAE",
    "SupervisedAAE",
    "SupervisedBaseline",
]
