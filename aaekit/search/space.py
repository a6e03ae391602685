"""What a search varies: ranges and choices of parameters, as their estimator declares them or as a text says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aaekit.errors import InputError, nearest
from aaekit.estimators._hyperparameters import Hyperparameter, hyperparameters_of
from aaekit.runs.config import DataOptions, configuration, options_of

__all__ = ["Dimension", "space_of", "with_values"]

LOGARITHMIC = 10.0  # a range is searched on a logarithmic scale if its ends have such a ratio
DIGITS = 3  # of numbers that are tried


@dataclass(frozen=True)
class Dimension:
    """A parameter that is searched: a range of numbers, or choices.

    Parameters
    ----------
    name : str
        The parameter, or an entry of it if it maps names to numbers: ``loss_weights.generator``.
    low, high : float
        The range, both ends included.
    is_whole : bool
        Whether only whole numbers are tried.
    choices : tuple of str
        Texts as typed on a command line, in place of a range.
    """

    name: str
    low: float = 0.0
    high: float = 0.0
    is_whole: bool = False
    choices: tuple[str, ...] = ()

    @property
    def is_logarithmic(self) -> bool:
        """Whether numbers are drawn on a logarithmic scale."""
        return not self.choices and self.low > 0 and self.high >= LOGARITHMIC * self.low

    def suggest(self, trial: Any) -> Any:
        """Let a trial of Optuna choose."""
        if self.choices:
            return trial.suggest_categorical(self.name, self.choices)
        if self.is_whole:
            return trial.suggest_int(self.name, int(self.low), int(self.high), log=self.is_logarithmic)
        return trial.suggest_float(self.name, self.low, self.high, log=self.is_logarithmic)

    def value(self, suggested: Any) -> Any:
        """Return what is tried for what was suggested: numbers of three digits."""
        if self.choices or self.is_whole:
            return suggested
        return min(max(float(f"{suggested:.{DIGITS}g}"), self.low), self.high)

    def holds(self, value: Any) -> bool:
        """Whether a value, or the text of a choice, is in the space."""
        if self.choices:
            return value in self.choices
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and self.low <= value <= self.high

    def __str__(self) -> str:
        """As `--search` takes it."""
        if self.choices:
            return f"{self.name}={('/' if any(',' in c for c in self.choices) else ',').join(self.choices)}"
        return f"{self.name}={self.low:g}..{self.high:g}"


def space_of(system: str, texts: Sequence[str] = (), fixed: Sequence[str] = ()) -> tuple[Dimension, ...]:
    """Return the dimensions that a search of a system varies.

    Parameters
    ----------
    system : str
        Name of the system.
    texts : sequence of str
        What to vary: NAME as the estimator declares it, NAME=LOW..HIGH, or NAME=CHOICE,CHOICE (with commas in the
        choices, separated by slashes). Empty: all parameters that declare what a search varies.
    fixed : sequence of str
        Parameters whose values were chosen.

    Raises
    ------
    InputError
        For other texts, parameters that do not exist or are fixed, values out of bounds, and an empty space.
    """
    of_data = hyperparameters_of(DataOptions)
    options = {name: h for name, h in options_of(system).items() if name not in of_data}
    declared = {name: h for name, h in options.items() if h.searched is not None}
    if not texts:
        names = [name for name in declared if name not in fixed]
        if not names:
            raise InputError(
                f"expected a parameter to search, got values of all ({', '.join(declared)}): leave one out"
            )
        return tuple(_declared(options[name]) for name in names)
    space = [_dimension(system, text, options, declared) for text in texts]
    for k, dimension in enumerate(space):
        if dimension.name in {other.name for other in space[:k]}:
            raise InputError(f"--search: expected {dimension.name} once, got it twice: leave one of them out")
        if dimension.name in fixed:
            raise InputError(
                f"--search: expected {dimension.name} to search, got its value, too: leave one of them out"
            )
    return tuple(space)


def with_values(system: str, config: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with the values of dimensions in it."""
    changed = dict(config)
    for name, value in values.items():
        base, _, entry = name.partition(".")
        if entry:
            changed[base] = {**(changed[base] or {}), entry: value}
        else:
            changed |= configuration(system, {name: value})
    return changed


def _declared(h: Hyperparameter) -> Dimension:
    """What a parameter declares."""
    assert h.searched is not None
    if h.searched.low is None or h.searched.high is None:
        return Dimension(h.name, choices=h.choices)
    return Dimension(h.name, h.searched.low, h.searched.high, is_whole=float not in h.types)


def _dimension(
    system: str, text: str, options: Mapping[str, Hyperparameter], declared: Mapping[str, Hyperparameter]
) -> Dimension:
    """What a text says."""
    name, equals, values = (part.strip() for part in text.partition("="))
    name = name.replace("-", "_") if "." not in name else name
    base, _, entry = name.partition(".")
    if base not in options or bool(entry) and not options[base].is_mapping:
        raise InputError(f"--search: expected a parameter of a {system}, got {name!r}{nearest(name, options)}")
    h = options[base]
    if not equals:
        if name not in declared:
            raise InputError(
                f"--search: expected values of {name}, got none: write for instance {name}=LOW..HIGH, or choose one of "
                f"{', '.join(declared)}"
            )
        return _declared(h)
    if ".." in values and "/" not in values:
        low, high = (_number(system, h, entry, end.strip()) for end in values.split("..", 1))
        if not low < high:
            raise InputError(f"--search: expected {name}=LOW..HIGH, got {values!r}: write the smaller number first")
        is_whole = not entry and float not in h.types
        return Dimension(name, low, high, is_whole)
    choices = tuple(filter(None, (part.strip() for part in values.split("/" if "/" in values else ","))))
    if entry or len(choices) < 2 or len(set(choices)) < len(choices):
        raise InputError(
            f"--search: expected {name}=LOW..HIGH or at least two different choices, got {values!r}: write for "
            f"instance {name}={'0.1..10' if entry or not h.choices else ','.join(h.choices)}"
        )
    for choice in choices:
        configuration(system, {name: choice}, "--search")
    return Dimension(name, choices=choices)


def _number(system: str, h: Hyperparameter, entry: str, text: str) -> float:
    """An end of a range, within the bounds of its parameter."""
    value = configuration(system, {h.name: f"{entry}={text}" if entry else text}, "--search")[h.name]
    number = value[entry] if entry else value
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise InputError(f"--search: expected a number of {h.name}, got {text!r}: write LOW..HIGH")
    return float(number)
