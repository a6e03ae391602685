"""What every "auto" stands for, decided once from the parameters and a summary of the data."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Self

from pydantic import Field
from typing_extensions import TypedDict

from aaekit._files import built, checked
from aaekit.core.settings import Schedule, named
from aaekit.errors import DamageError, InputError

__all__ = ["Consistency", "DataSummary", "Plan", "consistency"]


@dataclass(frozen=True)
class DataSummary:
    """All that a plan depends on besides the parameters.

    Attributes
    ----------
    shape : tuple of int
        Of a row: (channels, height, width), (channels, length) of signals, or (n_features,).
    n_rows : int
        Rows to train on.
    unit_range : bool
        Whether values are in [0, 1], as those of images are.
    data_radius : float
        Root mean squared distance of (scaled) rows from their mean.
    class_counts : tuple of int
        Labelled rows of each class; empty where labels play no part.
    n_unlabelled : int
        Rows without a label.
    classes : tuple of str
        The classes of `class_counts`, as texts.
    groups : tuple of (first, behind the last)
        Values that are one choice: those of a category, or one for yes or no.
    symmetries : tuple of str
        Flips that leave the class of images alone, see `aaekit.augment.SYMMETRIES`.
    is_photo : bool
        Whether images fill their frame.
    """

    shape: tuple[int, ...]
    n_rows: int
    unit_range: bool = True
    data_radius: float = 1.0
    class_counts: tuple[int, ...] = ()
    n_unlabelled: int = 0
    classes: tuple[str, ...] = ()
    groups: tuple[tuple[int, int], ...] = ()
    symmetries: tuple[str, ...] = ()
    is_photo: bool = False

    @property
    def n_values(self) -> int:
        """Values in a row."""
        return math.prod(self.shape)

    @property
    def is_table(self) -> bool:
        """Whether rows are neither images nor signals, which have warps."""
        return len(self.shape) == 1

    @property
    def n_labelled(self) -> int:
        """Rows with a label."""
        return sum(self.class_counts)

    @property
    def n_classes(self) -> int:
        """Classes among the labels."""
        return len(self.class_counts)


@dataclass(frozen=True)
class Plan:
    """What a training does; kept as `plan_`, in the run directory, in the report and in every log.

    Attributes
    ----------
    data : DataSummary
        What it was decided from.
    backbone : str
        "conv", "resnet", "mlp" or "module".
    hidden : tuple of int
        Widths of the hidden layers, or the channels of convolutional ones.
    batch_sizes : mapping from str to int
        Rows in a minibatch, by source.
    n_steps, warmup_steps, n_init : int
        Steps, steps in which learning rates rise, and random initialisations.
    schedule : "joint" or "alternating"
        Whether phases are summed into one update or take turns.
    reconstruction : str
        "bernoulli" or "gaussian"; empty without a decoder.
    n_classes : int
        Values of the categorical code or of the conditions; 0 without one.
    class_prior : tuple of float
        Frequencies that the values of y should have at first; empty without y.
    prior_certainty : float
        How sure the class prior is, in [0, 1]; the losses that compare y with it weigh as much.
    min_class_share : float
        The part of its `class_prior` below which a class must not fall; 1 keeps all of them as they are.
    augmentation : str
        The augmentation by name, or "callable".
    input_noise : float
        Standard deviation of the noise that is added to what the encoder sees.
    uses_augmentation, uses_virtual_adversarial : bool
        Whether y must not change under the augmentation, or within a small ball.
    vat_epsilon, vat_xi : float
        Radius of that ball, and the finite-difference step, in the units of (scaled) rows.
    propagates_labels : bool
        Whether y follows label propagation, or k-means where there are no labels, for the first steps.
    has_teachers : bool
        Whether simple methods teach throughout what labels mean for unlabelled rows.
    room : float
        What the teachers leave to gain, in (0, 1]; the losses by which unlabelled rows teach weigh as much.
    loss_weights : mapping from str to float
        What the user said of weights, by phase.
    weights, learning_rates : mapping from str to float
        Weight and learning rate of each phase.
    moves : mapping from str to tuple of str
        Networks that each phase moves.
    """

    data: DataSummary
    backbone: str
    hidden: tuple[int, ...]
    batch_sizes: Mapping[str, int]
    n_steps: int
    warmup_steps: int = 0
    n_init: int = 1
    schedule: Schedule = "joint"
    reconstruction: str = ""
    n_classes: int = 0
    class_prior: tuple[float, ...] = ()
    prior_certainty: float = 1.0
    min_class_share: float = 1.0
    augmentation: str = "none"
    input_noise: float = 0.0
    uses_augmentation: bool = False
    uses_virtual_adversarial: bool = False
    vat_epsilon: float = 0.0
    vat_xi: float = 0.0
    propagates_labels: bool = False
    has_teachers: bool = False
    room: float = 1.0
    loss_weights: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    learning_rates: Mapping[str, float] = field(default_factory=dict)
    moves: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def weight(self, phase: str, default: float) -> float:
        """The weight of a phase: what `loss_weights` says of it, else the default."""
        return named(self.loss_weights, phase, default)

    @property
    def steps_per_epoch(self) -> int:
        """Minibatches of the first source."""
        return self.data.n_rows // next(iter(self.batch_sizes.values()))

    @property
    def only_smoothness(self) -> bool:
        """Whether nothing but virtual adversarial training says how y continues beyond a row."""
        has_weight = self.weight("virtual_adversarial", 1.0) > 0
        return self.uses_virtual_adversarial and has_weight and not self.uses_augmentation

    def phase_table(self) -> list[dict[str, Any]]:
        """Name, weight, learning rate and networks of each phase."""
        return [
            {"name": p, "weight": w, "learning_rate": self.learning_rates[p], "moves": list(self.moves.get(p, ()))}
            for p, w in self.weights.items()
        ]

    def as_dict(self) -> dict[str, Any]:
        """The plan as JSON holds it, with `phases` in place of the mappings by phase."""
        plan = asdict(self)
        for name in ("weights", "learning_rates", "moves"):
            del plan[name]
        return plan | {"phases": self.phase_table()}

    @classmethod
    def from_dict(cls, plan: Mapping[str, Any]) -> Self:
        """What `as_dict` gave, as it comes out of JSON.

        Raises
        ------
        ValueError
            When a part of it is missing, unknown or of another type.
        """
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in plan.items()}
        data = {k: tuple(v) if isinstance(v, list) else v for k, v in checked(values.pop("data", None), dict).items()}
        pairs = [list(pair) for pair in checked(data.get("groups", ()), tuple[list | tuple, ...])]
        pairs = checked(pairs, list[Annotated[list[int], Field(min_length=2, max_length=2)]])
        phases = checked(list(checked(values.pop("phases", ()), tuple)), list[_PhaseRow])
        made = built(
            cls,
            values
            | {
                "data": built(DataSummary, data | {"groups": tuple((first, last) for first, last in pairs)}),
                "weights": {p["name"]: p["weight"] for p in phases},
                "learning_rates": {p["name"]: p["learning_rate"] for p in phases},
                "moves": {p["name"]: tuple(p["moves"]) for p in phases if p["moves"]},
            },
        )
        n, K = made.data.n_values, made.n_classes
        if not made.data.shape or min(made.data.shape) < 1 or len(made.data.shape) > 3:
            raise DamageError(f"data.shape: expected one to three numbers of at least 1, got {made.data.shape}")
        if not all(0 <= first < last <= n for first, last in made.data.groups):
            raise DamageError(f"data.groups: expected parts of {n} values, got others")
        if K < 0 or len(made.class_prior) not in (0, K) or not all(p >= 0 for p in made.class_prior):
            raise DamageError(f"class_prior: expected {K} frequencies, got {len(made.class_prior)} or negative ones")
        return made


class _PhaseRow(TypedDict):
    """A phase in JSON."""

    name: str
    weight: float
    learning_rate: float
    moves: list[str]


@dataclass(frozen=True)
class Consistency:
    """What must not change y."""

    augmentation: bool
    virtual_adversarial: bool


def consistency(choice: str, augmentation: object, data: DataSummary, *, with_labels: bool) -> Consistency:
    """What must not change y: the augmentation, small adversarial shifts, both or nothing.

    "auto" depends on what is known about a class. Without labels, warps of images and signals say most, tables need
    both, and without an augmentation small shifts are all there is. With labels it is the same, but small shifts help
    images, too, from 16 pixels a side (at 8x8 a ball that is harmless at 28x28 contains other classes), and where each
    image has a label, its warped copies leave nothing to guess.

    Raises
    ------
    InputError
        When an augmentation is needed and there is none.
    """
    has_augmentation = augmentation != "none"
    if choice in ("pseudo_labels", "augmentation", "both") and not has_augmentation:
        raise InputError(
            f"consistency: expected 'virtual_adversarial' or 'none' without an augmentation, got {choice!r}: "
            "choose one of these, or an augmentation"
        )
    if choice != "auto":
        by_augmentation = choice in ("pseudo_labels", "augmentation", "both")
        return Consistency(by_augmentation, choice in ("virtual_adversarial", "both"))
    if not has_augmentation:
        return Consistency(False, True)
    if not with_labels:
        return Consistency(True, data.is_table)
    if not data.is_table and not data.n_unlabelled:
        return Consistency(False, False)
    return Consistency(True, data.is_table or min(data.shape[1:]) >= 16)
