"""aaekit: adversarial autoencoders for generation and for classification from few labels."""

import importlib
from typing import Any

__version__ = "0.1.0"

_LAZY = {
    "AAEOutlierDetector": "aaekit.estimators",
    "AdversarialAutoencoder": "aaekit.estimators",
    "ClusteringAAE": "aaekit.estimators",
    "EmbeddingAAE": "aaekit.estimators",
    "ActiveLearner": "aaekit.active",
    "PretrainedClassifier": "aaekit.estimators",
    "SupervisedAAE": "aaekit.estimators",
    "SemiSupervisedAAE": "aaekit.estimators",
    "SupervisedBaseline": "aaekit.estimators",
    "TwoStageSimulator": "aaekit.ultrasound.simulator",
    "InputError": "aaekit.errors",
    "TrainingError": "aaekit.errors",
}
__all__ = ["__version__", *sorted(_LAZY)]


def __getattr__(name: str) -> Any:
    """Load public names when they are first used, so that `import aaekit` stays cheap."""
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'aaekit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
