from aaekit.active import ActiveLearner as ActiveLearner
from aaekit.errors import InputError as InputError
from aaekit.errors import TrainingError as TrainingError
from aaekit.estimators import AAEOutlierDetector as AAEOutlierDetector
from aaekit.estimators import AdversarialAutoencoder as AdversarialAutoencoder
from aaekit.estimators import ClusteringAAE as ClusteringAAE
from aaekit.estimators import EmbeddingAAE as EmbeddingAAE
from aaekit.estimators import PretrainedClassifier as PretrainedClassifier
from aaekit.estimators import SemiSupervisedAAE as SemiSupervisedAAE
from aaekit.estimators import SupervisedAAE as SupervisedAAE
from aaekit.estimators import SupervisedBaseline as SupervisedBaseline
from aaekit.ultrasound.simulator import TwoStageSimulator as TwoStageSimulator

__version__: str

__all__ = [
    "AAEOutlierDetector",
    "ActiveLearner",
    "AdversarialAutoencoder",
    "ClusteringAAE",
    "EmbeddingAAE",
    "InputError",
    "PretrainedClassifier",
    "SemiSupervisedAAE",
    "SupervisedAAE",
    "SupervisedBaseline",
    "TrainingError",
    "TwoStageSimulator",
    "__version__",
]
