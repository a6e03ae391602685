"""Hyper-parameters are declared once, as fields of an estimator: type, bounds, default and meaning.

The constructor, its documentation, the validation, the command line's options and the YAML keys all come from there.
"""

import inspect
import textwrap
import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, dataclass_transform

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo

from aaekit.errors import InputError, nearest

Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, le=10)]
Length = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True)
class Hyperparameter:
    """One constructor argument: `kind` is its annotation, bounds included, `group` what it is about."""

    name: str
    kind: Any
    default: Any
    description: str
    group: str = "Training"

    @property
    def choices(self) -> tuple[str, ...]:
        """The names it can take, where it is chosen by name."""
        return tuple(c for part in _parts(self.kind) if typing.get_origin(part) is typing.Literal
                     for c in typing.get_args(part))  # fmt: skip

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
        return self.kind, self.default


def _parts(kind: Any) -> list[Any]:
    """The members of a union, without their annotations."""
    if typing.get_origin(kind) is Annotated:
        return _parts(typing.get_args(kind)[0])
    if typing.get_origin(kind) is typing.Union or type(kind).__name__ == "UnionType":
        return [p for member in typing.get_args(kind) for p in _parts(member)]
    return [kind]


def hyperparameters_of(estimator: type) -> dict[str, Hyperparameter]:
    """All hyper-parameters of an estimator class, by name, in the order of their declaration."""
    hints = typing.get_type_hints(estimator, include_extras=True)
    described = {}
    for field in fields(estimator):
        kind = hints[field.name]
        notes = typing.get_args(kind)[1:] if typing.get_origin(kind) is Annotated else ()
        text = next((n.description for n in reversed(notes) if isinstance(n, FieldInfo) and n.description), "")
        described[field.name] = Hyperparameter(field.name, kind, field.default, text)
    return described


@dataclass_transform(kw_only_default=True, eq_default=False)
def hyperparameters(cls: type) -> type:
    """Class decorator: turn annotated fields into keyword arguments of the constructor and document them."""
    cls = dataclass(kw_only=True, eq=False, repr=False)(cls)
    lines = ["", "", "Parameters", "----------"]
    for h in hyperparameters_of(cls).values():
        lines.append(f"{h.name} : {_type_text(h)}, default={h.default!r}")
        lines += textwrap.wrap(h.description, 110, initial_indent="    ", subsequent_indent="    ")
    head, *sections = inspect.cleandoc(cls.__doc__ or "").split("\n\nAttributes\n")
    tail = "".join(f"\n\nAttributes\n{s}" for s in sections)
    cls.__doc__ = head + "\n".join(lines) + tail
    return cls


def _type_text(h: Hyperparameter) -> str:
    names = [repr(c) for c in h.choices]
    names += [getattr(p, "__name__", str(p)) for p in _parts(h.kind) if typing.get_origin(p) is not typing.Literal]
    return " | ".join(names).replace("NoneType", "None")


def validated(estimator: type, values: Mapping[str, Any], source: str = "") -> dict[str, Any]:
    """`values` converted to the declared types; every error at once, one line each.

    Raises
    ------
    InputError
        For unknown names (with the nearest known one) and for values out of bounds or of another type.
    """
    known = hyperparameters_of(estimator)
    where = f"{source}: " if source else ""
    problems = [
        f"{where}{name!r} is not a parameter of {estimator.__name__}.{nearest(name, known)}"
        for name in values
        if name not in known
    ]
    model, parsed = _model(estimator), None
    try:
        parsed = model(**{k: v for k, v in values.items() if k in known})
    except ValidationError as error:
        found: dict[str, list[Any]] = {}
        for e in error.errors():
            found.setdefault(str(e["loc"][0]), []).append(e)
        for name, errors in found.items():  # of the members of a union, one whose bounds or items are wrong says most
            told = next((e for e in errors if _out_of_bounds(e) or _of_an_item(e)), errors[0])
            problems.append(f"{where}{name}={values[name]!r}: {_expected(known[name], told)}")
    if problems:
        raise InputError("\n".join(problems))
    return {name: getattr(parsed, name) for name in values}


def _model(estimator: type) -> type[BaseModel]:
    declared: dict[str, Any] = {name: h.model_field for name, h in hyperparameters_of(estimator).items()}
    settings = ConfigDict(extra="forbid", arbitrary_types_allowed=True, protected_namespaces=())
    return create_model(estimator.__name__, __config__=settings, **declared)


def _out_of_bounds(error: Any) -> bool:
    return error["type"].startswith(("greater_than", "less_than"))


def _of_an_item(error: Any) -> bool:
    return isinstance(error["loc"][-1], int)


def _expected(h: Hyperparameter, error: Any) -> str:
    if _of_an_item(error) and error["type"].startswith("int_"):
        names = "".join(f"{c!r} or " for c in h.choices)
        return f"expected {names}whole numbers, separated by commas; found {error['input']!r}"
    if h.choices and isinstance(error["input"], str) and not _out_of_bounds(error):
        names = ", ".join(repr(c) for c in h.choices)
        other = f" or a value of type {_plain(h)}" if _plain(h) else ""
        return f"expected {names}{other}.{nearest(error['input'], h.choices)}"
    if isinstance(error["input"], int) and not _of_an_item(error) and not _out_of_bounds(error) and _takes_tuple(h):
        return f"expected {''.join(f'{c!r} or ' for c in h.choices)}a list, for instance [{error['input']}]"
    return error["msg"][0].lower() + error["msg"][1:] + f" (default {h.default!r})"


def _takes_tuple(h: Hyperparameter) -> bool:
    return any(p is tuple or typing.get_origin(p) is tuple for p in h.types)


def _plain(h: Hyperparameter) -> str:
    return " | ".join(
        getattr(p, "__name__", str(p)) for p in _parts(h.kind) if typing.get_origin(p) is not typing.Literal
    )
