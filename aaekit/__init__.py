"""aaekit: adversarial autoencoders for generation and for classification from few labels."""

from typing import Any

from aaekit._imports import load as _load

__version__ = "0.1.0"

_LAZY = {  # `__init__.pyi` has the same names for type checkers
    "AAEOutlierDetector": "aaekit.estimators",
    "ActiveLearner": "aaekit.active",
    "AdversarialAutoencoder": "aaekit.estimators",
    "ClusteringAAE": "aaekit.estimators",
    "EmbeddingAAE": "aaekit.estimators",
    "InputError": "aaekit.errors",
    "PretrainedClassifier": "aaekit.estimators",
    "SemiSupervisedAAE": "aaekit.estimators",
    "SupervisedAAE": "aaekit.estimators",
    "SupervisedBaseline": "aaekit.estimators",
    "TrainingError": "aaekit.errors",
    "TwoStageSimulator": "aaekit.ultrasound.simulator",
}
__all__ = ["__version__", *sorted(_LAZY)]


def __getattr__(name: str) -> Any:
    """Import public names when they are first used, so that `import aaekit` stays cheap."""
    if name in _LAZY:
        return getattr(_load(_LAZY[name]), name)
    raise AttributeError(f"module 'aaekit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
