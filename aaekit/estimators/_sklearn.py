"""scikit-learn's base classes, with types: scikit-learn has none, and without them every estimator would be untyped."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TypeVar

E = TypeVar("E")
F = TypeVar("F", bound=Callable[..., Any])

if TYPE_CHECKING:

    class BaseEstimator:
        """What an estimator inherits from `sklearn.base.BaseEstimator`."""

        def get_params(self, deep: bool = True) -> dict[str, Any]: ...
        def set_params(self, **params: Any) -> Self: ...

    class ClassifierMixin:
        """A classifier."""

    class ClusterMixin:
        """Something that finds clusters."""

        def fit_predict(self, X: Any, y: Any = None, **kwargs: Any) -> Any: ...

    class OutlierMixin:
        """An outlier detector."""

        def fit_predict(self, X: Any, y: Any = None, **kwargs: Any) -> Any: ...

    class TransformerMixin:
        """A transformer."""

        def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> Any: ...
        def set_output(self, *, transform: str | None = None) -> Self: ...
        def __sklearn_tags__(self) -> Any: ...

    def clone(estimator: E, *, safe: bool = True) -> E: ...
    def available_if(check: Callable[[Any], object]) -> Callable[[F], F]: ...

else:
    from sklearn.base import BaseEstimator, ClassifierMixin, ClusterMixin, OutlierMixin, TransformerMixin, clone
    from sklearn.utils.metaestimators import available_if

__all__ = [
    "BaseEstimator",
    "ClassifierMixin",
    "ClusterMixin",
    "OutlierMixin",
    "TransformerMixin",
    "available_if",
    "clone",
]
