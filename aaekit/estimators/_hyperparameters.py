"""Hyper-parameters are declared once, as fields of an estimator: type, group, bounds, default and meaning.

The constructor, its documentation, the validation, the command line's options, the YAML keys and the space that
`aae search` looks through follow from the field.
"""

import inspect
import textwrap
import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Annotated, Any, TypeVar, dataclass_transform

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo

from aaekit.errors import InputError, nearest

Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, le=10)]
Length = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]

GROUPS = ("Data", "Networks", "Codes and priors", "Losses", "Training", "Score", "Machine")  # in this order

C = TypeVar("C", bound=type)


@dataclass(frozen=True)
class Searched:
    """Marks a parameter that `aae search` varies: numbers from `low` to `high`, without them all of its choices."""

    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Hyperparameter:
    """One constructor argument: `kind` is its annotation, bounds included, `group` what it is about."""

    name: str
    kind: Any
    default: Any
    description: str
    group: str
    searched: Searched | None = None

    @property
    def choices(self) -> tuple[str, ...]:
        """The names it can take, where it is chosen by name."""
        literals = [part for part in self.types if typing.get_origin(part) is typing.Literal]
        return tuple(choice for part in literals for choice in typing.get_args(part))

    @property
    def types(self) -> tuple[Any, ...]:
        """The members of its annotation, without their bounds."""
        return tuple(_parts(self.kind))

    @property
    def is_mapping(self) -> bool:
        """Whether it maps names to numbers."""
        return any(typing.get_origin(part) is Mapping for part in self.types)

    @property
    def from_text(self) -> bool:
        """Whether a command line or a YAML file can give it."""
        origins = (typing.Literal, tuple)
        plain = any(part in (int, float, bool, str) or typing.get_origin(part) in origins for part in self.types)
        return plain or self.is_mapping

    @property
    def model_field(self) -> tuple[Any, Any]:
        """Type and default, as pydantic takes them."""
        return self.kind, self.default


def _parts(kind: Any) -> list[Any]:
    """The members of a union, without their annotations."""
    if typing.get_origin(kind) is Annotated:
        return _parts(typing.get_args(kind)[0])
    if typing.get_origin(kind) is typing.Union or type(kind).__name__ == "UnionType":
        return [p for member in typing.get_args(kind) for p in _parts(member)]
    return [kind]


def hyperparameters_of(estimator: type) -> dict[str, Hyperparameter]:
    """All hyper-parameters of an estimator class by name, group after group."""
    hints = typing.get_type_hints(estimator, include_extras=True)
    described: dict[str, Hyperparameter] = {}
    for field in fields(estimator):
        kind = hints[field.name]
        metadata = typing.get_args(kind)[1:] if typing.get_origin(kind) is Annotated else ()
        text = next((m.description for m in metadata if isinstance(m, FieldInfo) and m.description), "")
        group = next((m for m in metadata if isinstance(m, str)), "Training")
        searched = next((m for m in metadata if isinstance(m, Searched)), None)
        described[field.name] = Hyperparameter(field.name, kind, field.default, text, group, searched)
    place = {group: k for k, group in enumerate(GROUPS)}
    ordered = sorted(described.values(), key=lambda h: place.get(h.group, len(GROUPS)))
    return {h.name: h for h in ordered}


@dataclass_transform(kw_only_default=True, eq_default=False)
def hyperparameters(cls: C) -> C:
    """Class decorator: turn annotated fields into keyword arguments of the constructor and document them.

    A subclass changes a default by `name = value` alone.
    """
    inherited = {name: base for base in reversed(cls.__mro__[1:]) for name in base.__dict__.get("__annotations__", {})}
    own = cls.__dict__.get("__annotations__", {})
    hints = {name: base.__annotations__[name] for name, base in inherited.items()}
    changed = {name: hints[name] for name in hints if name in cls.__dict__ and name not in own}
    cls.__annotations__ = {**changed, **own}
    cls = dataclass(kw_only=True, eq=False, repr=False)(cls)
    head, *sections = inspect.cleandoc(cls.__doc__ or "").split("\n\nAttributes\n")
    lines, group = ["", "", "Parameters", "----------"], ""
    for h in hyperparameters_of(cls).values():
        if h.group != group:
            group = h.group
            lines.append(f"**{group}**")
        lines.append(f"{h.name} : {_type_text(h)}, default={h.default!r}")
        lines += textwrap.wrap(h.description, 110, initial_indent="    ", subsequent_indent="    ")
    tail = "".join(f"\n\nAttributes\n{s}" for s in sections)
    cls.__doc__ = head + "\n".join(lines) + tail
    return cls


def _type_text(h: Hyperparameter) -> str:
    names = [repr(choice) for choice in h.choices]
    return " | ".join([*names, *_plain_types(h)]).replace("NoneType", "None")


def _plain_types(h: Hyperparameter) -> list[str]:
    """The types it can have besides names, in words."""
    plain = [part for part in h.types if typing.get_origin(part) is not typing.Literal]
    return ["mapping" if typing.get_origin(part) is Mapping else getattr(part, "__name__", str(part)) for part in plain]


def validated(estimator: type, values: Mapping[str, Any], source: str = "") -> dict[str, Any]:
    """`values` converted to the declared types.

    Raises
    ------
    InputError
        For unknown names and values out of bounds or of another type: all of them, one line each.
    """
    declared = hyperparameters_of(estimator)
    where = f"{source}: " if source else ""
    problems = [
        f"{where}expected a parameter of {estimator.__name__}, got {_short(name)}{nearest(name[:80], declared)}"
        for name in values
        if name not in declared
    ]
    model, parsed = _model(estimator), None
    try:
        parsed = model(**{k: v for k, v in values.items() if k in declared})
    except ValidationError as error:
        by_name: dict[str, list[Any]] = {}
        for e in error.errors():
            by_name.setdefault(str(e["loc"][0]), []).append(e)
        for name, errors in by_name.items():  # of the members of a union, one whose bounds or items are wrong says most
            clearest = next((e for e in errors if _out_of_bounds(e) or _of_an_item(e)), errors[0])
            h = declared[name]
            problems.append(f"{where}{name}: {_expected(h, clearest)}, got {_short(values[name])}{_hint(h, clearest)}")
    if problems:
        raise InputError("\n".join(problems))
    return {name: getattr(parsed, name) for name in values}


def _short(value: Any) -> str:
    """A value as Python writes it, cut where it is long."""
    try:
        text = " ".join(repr(value).split())
    except RecursionError:
        text = f"a nested {type(value).__name__}"
    return text if len(text) <= 200 else f"{text[:200]}..."


@cache
def _model(estimator: type) -> type[BaseModel]:
    declared: dict[str, Any] = {name: h.model_field for name, h in hyperparameters_of(estimator).items()}
    settings = ConfigDict(extra="forbid", arbitrary_types_allowed=True, protected_namespaces=())
    return create_model(estimator.__name__, __config__=settings, **declared)


def _out_of_bounds(error: Any) -> bool:
    return error["type"].startswith(("greater_than", "less_than"))


def _of_an_item(error: Any) -> bool:
    return isinstance(error["loc"][-1], int)


def _expected(h: Hyperparameter, error: Any) -> str:
    """What a value should have been."""
    names = " or ".join(repr(choice) for choice in h.choices)
    if _of_an_item(error) and error["type"].startswith("int_"):
        return f"expected {names + ' or ' if names else ''}whole numbers separated by commas"
    if h.choices and isinstance(error["input"], str) and not _out_of_bounds(error):
        others = [text for text in _plain_types(h) if text != "NoneType"]
        return f"expected {names}" + (f" or a value of type {' or '.join(others)}" if others else "")
    if isinstance(error["input"], int) and not _of_an_item(error) and not _out_of_bounds(error) and _takes_tuple(h):
        return f"expected {names + ' or ' if names else ''}a list, for instance [{error['input']}]"
    message = error["msg"].removeprefix("Input should be ").removeprefix("a valid ").removeprefix("Value error, ")
    number = "a number " if _out_of_bounds(error) else ""
    return f"expected {number}{message[0].lower() + message[1:]}"


def _hint(h: Hyperparameter, error: Any) -> str:
    """The nearest name, if a name was given; the default."""
    if h.choices and isinstance(error["input"], str) and (hint := nearest(error["input"], h.choices)):
        return hint
    return f" (default {h.default!r})"


def _takes_tuple(h: Hyperparameter) -> bool:
    return any(part is tuple or typing.get_origin(part) is tuple for part in h.types)
