"""What the estimators with a categorical code y decide and prepare alike."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from aaekit import priors
from aaekit.errors import InputError
from aaekit.estimators._base import Sources
from aaekit.estimators._hyperparameters import Length, Searched, Weight
from aaekit.estimators._label_propagation import Neighbourhood
from aaekit.estimators._labels import numbers_by_class
from aaekit.estimators._plan import DataSummary, Plan
from aaekit.estimators._teachers import Teaching
from aaekit.labels import UNLABELLED
from aaekit.nn.frequencies import ClassFrequencies

__all__ = [
    "ClassPrior",
    "PseudoLabelThreshold",
    "VatEpsilon",
    "class_frequencies",
    "partly_labelled_sources",
    "prior_mean",
    "prior_of_labels",
    "steps_without_labels",
    "taught_steps",
    "vat_lengths",
]

CORRECTION = 0.01  # share of its distance by which a guessed class prior is corrected at each minibatch

VatEpsilon = Annotated[
    Length | tuple[Length, Length],
    "Losses",
    Field(
        description="radius of virtual adversarial training (epsilon), in units of the rows' distance from their mean, "
        "or the radius and the finite-difference step (xi) in units of the radius; the step is 10 by default, or, "
        "where an augmentation is used as well, 0.1 in the units of the rows"
    ),
    Searched(0.05, 1),
]
PseudoLabelThreshold = Annotated[
    float,
    "Losses",
    Field(gt=0, lt=1, description="probability above which a prediction is used as a pseudo-label (tau of FixMatch)"),
    Searched(0.7, 0.99),
]
ClassPrior = Annotated[
    Literal["auto", "labelled", "uniform"] | tuple[Literal["auto"] | float, ...] | Mapping[Any, Weight],
    "Codes and priors",
    Field(
        description="class frequencies: as among the labelled rows, uniform, or given by class (no=0.9,yes=0.1) or in "
        "the order of the classes (0.9,0.1); 'auto' starts as among the labelled rows, or from an estimate by nearest "
        "neighbours where labels are propagated, and is corrected by what the unlabelled rows turn out to be; "
        "auto,0.2,0.8 starts from the numbers"
    ),
]


def steps_without_labels(n_rows: int) -> int:
    """Steps that teach what unlabelled rows can teach: 3,000 for 60,000 rows."""
    return min(800 + n_rows // 27, 5000)


def taught_steps(n_rows: int) -> int:
    """Steps that teach what unlabelled rows can teach besides simple methods: 300, and 1,000 for 10,000 rows."""
    return min(300 + n_rows * 7 // 100, steps_without_labels(n_rows))


def vat_lengths(
    vat_epsilon: float | tuple[float, float], data_radius: float, uses_augmentation: bool
) -> dict[str, float]:
    """Radius and finite-difference step of virtual adversarial training, in the units of the rows."""
    epsilon, xi = vat_epsilon if isinstance(vat_epsilon, tuple | list) else (vat_epsilon, None)
    radius = epsilon * data_radius
    if xi is None:
        return {"vat_epsilon": radius, "vat_xi": 0.1 if uses_augmentation else 10 * radius}
    return {"vat_epsilon": radius, "vat_xi": xi * radius}


def prior_of_labels(class_prior: Any, data: DataSummary) -> tuple[tuple[float, ...], bool]:
    """Class frequencies at first, and whether they are a guess that unlabelled rows may correct.

    Raises
    ------
    InputError
        For frequencies that are not one for each class, or not in sum 1, or a guess that could not be corrected.
    """
    K = data.n_classes
    if isinstance(class_prior, Mapping):
        class_prior = _in_order(class_prior, data.classes)
    is_guess = class_prior == "auto" or (not isinstance(class_prior, str) and class_prior[:1] == ("auto",))
    if class_prior == "uniform":
        frequencies: Any = None
    elif class_prior in ("auto", "labelled"):
        frequencies = data.class_counts
    else:
        frequencies = tuple(class_prior[1:]) if is_guess else tuple(class_prior)
        if len(frequencies) != K or "auto" in frequencies:
            raise InputError(f"class_prior: expected {K} numbers, one for each class, got {class_prior!r}")
        in_range = min(frequencies) > 0 if is_guess else min(frequencies) >= 0
        if not (in_range and abs(sum(frequencies) - 1) < 1e-3):
            numbers = "numbers above 0 in sum 1 after 'auto'" if is_guess else "numbers of at least 0 in sum 1"
            raise InputError(
                f"class_prior: expected {numbers}, got {class_prior!r} in sum {sum(frequencies):.6g}: correct them"
            )
    return tuple(priors.Categorical(K, frequencies).probabilities), is_guess and data.n_unlabelled > 0


def _in_order(class_prior: Mapping[Any, float], classes: tuple[str, ...]) -> tuple[float, ...]:
    """Frequencies by class in the order of the classes."""
    by_class = numbers_by_class(class_prior, classes, "class_prior")
    if missing := [name for name in classes if name not in by_class]:
        raise InputError(f"class_prior: expected a frequency for each class, got none for {missing[0]!r}: add it")
    return tuple(by_class[name] for name in classes)


def partly_labelled_sources(
    X: Tensor, y: NDArray[np.int64], plan: Plan, seed: int, teaching: Teaching | None = None
) -> tuple[Sources, Plan]:
    """All rows, and the labelled ones by themselves; soft labels and class frequencies.

    Both come from teachers if there are any, else from label propagation if the plan has it.
    """
    labelled = np.flatnonzero(y != UNLABELLED)
    sources: Sources = {
        "unlabelled": {"rows": X},
        "labelled": {
            "rows": X if len(labelled) == len(X) else X[labelled],  # rows of a file need not fit into the memory
            "labels": torch.from_numpy(y[labelled]),
        },
    }
    if not plan.propagates_labels:
        return sources, plan
    frequencies, is_guess = prior_mean(plan), plan.min_class_share < 1
    if teaching is not None:
        soft_labels, plan = teaching.soft_labels, replace(plan, room=teaching.room)
        if is_guess:
            frequencies, plan = teaching.frequencies, replace(plan, prior_certainty=teaching.certainty)
    else:
        neighbourhood = Neighbourhood(X.numpy(), y, plan.n_classes, seed)
        frequencies = neighbourhood.estimate_frequencies(frequencies) if is_guess else frequencies
        soft_labels = neighbourhood.propagate(frequencies)
    sources["unlabelled"]["soft_labels"] = torch.from_numpy(soft_labels)
    return sources, replace(plan, class_prior=tuple(float(f) for f in frequencies))


def prior_mean(plan: Plan) -> NDArray[np.floating]:
    """The class prior of a plan, shape `(n_classes,)`."""
    return priors.Categorical(plan.n_classes, plan.class_prior).mean.numpy()


def class_frequencies(class_prior: tuple[float, ...], min_share: float) -> ClassFrequencies:
    """The running mean of y beside the class prior, which it corrects down to `min_share` of it."""
    expected = priors.Categorical(len(class_prior), class_prior).mean
    return ClassFrequencies(expected, correction=CORRECTION if min_share < 1 else 0.0, min_share=min_share)
