"""Fitted estimators as files: safetensors, with parameters and facts as JSON in the header. Nothing is unpickled."""

import json
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from aaekit._files import write_atomically
from aaekit.columns import Schema
from aaekit.errors import InputError
from aaekit.estimators._hyperparameters import validated
from aaekit.estimators._plan import Plan
from aaekit.estimators._rows import RowScaler

__all__ = [
    "decoded",
    "described",
    "encoded",
    "from_description",
    "json_value",
    "model_file",
    "read_model",
    "write_model",
]

FORMAT = 3
E = TypeVar("E")


def json_value(value: object) -> Any:
    """A parameter as JSON holds it, or NotImplemented for objects."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list)):
        items = [json_value(v) for v in value]
        return NotImplemented if NotImplemented in items else items
    if isinstance(value, Mapping):
        pairs = {str(k): json_value(v) for k, v in value.items()}
        return NotImplemented if NotImplemented in pairs.values() else pairs
    return NotImplemented


def model_file(path: str) -> Path:
    """The file of a saved model, or of the model of a run directory."""
    return Path(path) / "model.safetensors" if Path(path).is_dir() else Path(path)


def write_model(path: str | os.PathLike[str], header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write a model, whole or not at all.

    Raises
    ------
    InputError
        When labels are neither texts nor numbers, or the file cannot be written.
    """
    try:
        text = json.dumps({"format": FORMAT, **header})
    except TypeError as error:
        raise InputError(
            f"expected labels that are texts or numbers, got others ({error}): a file cannot hold them"
        ) from error
    contiguous = {k: v.contiguous() for k, v in tensors.items()}
    write_atomically(path, lambda temporary: save_file(contiguous, temporary, {"aaekit": text}))


def read_model(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of a saved model.

    Raises
    ------
    InputError
        When there is no such file, or it is damaged, or of another format.
    """
    from safetensors import safe_open

    if not Path(path).is_file():
        received = "a directory" if Path(path).is_dir() else "no such file"
        raise InputError(f"{path}: expected a model that `save` wrote, got {received}")
    damaged = f"{path}: expected a model that aaekit saved, got a damaged or other file"
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {})["aaekit"])
        if "format" not in header:
            raise InputError(f"{damaged}: its header has no format")
        if header["format"] != FORMAT:
            raise InputError(
                f"{path}: expected a model of format {FORMAT}, got {header['format']}: load it with the version of "
                "aaekit that saved it"
            )
        missing = [k for k in ("estimator", "parameters", "facts") if k not in header]
        if missing:
            raise InputError(f"{damaged}: its header has no {', '.join(missing)}")
        return header, load_file(path)
    except OSError as error:
        raise InputError(f"{path}: expected a readable file, got {error.strerror or error}") from error
    except InputError:
        raise
    except (SafetensorError, KeyError, ValueError, AttributeError) as error:
        raise InputError(f"{damaged}: {error}") from error


# --- parameters ------------------------------------------------------------------------------------------------------
def described(estimator: Any) -> dict[str, Any]:
    """The class and the parameters of an estimator as JSON holds them."""
    parameters: dict[str, Any] = {}
    for name, value in estimator.get_params(deep=False).items():
        if name == "warm_start_from" and not isinstance(value, str):
            value = None  # weights, which are not needed any more
        plain = described(value) if hasattr(value, "get_params") else json_value(value)
        parameters[name] = {"object": repr(value)[:80]} if plain is NotImplemented else plain
    return {"estimator": type(estimator).__name__, "parameters": parameters}


def from_description(cls: type[E], description: Mapping[str, Any], path: str) -> E:
    """An estimator, not fitted, as `described` gave it; of the class or a subclass.

    Raises
    ------
    InputError
        When it is of another class, or needs objects that only the user has.
    """
    kinds = {c.__name__: c for c in _subclasses(cls)}
    if description["estimator"] not in kinds:
        raise InputError(f"{path}: expected a saved {cls.__name__}, got a {description['estimator']}")
    kind = kinds[description["estimator"]]
    parameters = dict(description["parameters"])
    for name, value in parameters.items():
        if isinstance(value, dict) and "object" in value:
            raise InputError(
                f"{path}: expected the object {name}={value['object']} again, got none: call load(..., {name}=...)"
            )
        if isinstance(value, dict) and "estimator" in value:
            objects = [k for k, v in value["parameters"].items() if isinstance(v, dict) and "object" in v]
            if objects:
                again = ", ".join(f"{k}=..." for k in objects)
                raise InputError(
                    f"{path}: expected the objects of {name} again ({', '.join(objects)}), got none: "
                    f"call load(..., {name}=None, {again})"
                )
            parameters[name] = from_description(_root(cls), value, path)
        if isinstance(value, list):
            parameters[name] = tuple(value)
    validated(kind, parameters, path)
    return kind(**parameters)


def _subclasses(cls: type[E]) -> list[type[E]]:
    return [cls, *(s for c in cls.__subclasses__() for s in _subclasses(c))]


def _root(cls: type) -> type:
    """The base of all estimators."""
    return next(base for base in reversed(cls.__mro__) if base.__name__ == "Estimator")


# --- fitted facts ----------------------------------------------------------------------------------------------------
def encoded(value: Any, name: str, arrays: dict[str, Tensor]) -> Any:
    """A fitted attribute as JSON holds it; large arrays of numbers go into `arrays`."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "fiub" and value.size > 100:
            arrays[name] = torch.from_numpy(value)
            return {"tensor": name}
        return {"array": value.tolist(), "dtype": str(value.dtype), "shape": value.shape}
    if isinstance(value, np.generic):
        return {"array": value.item(), "dtype": str(value.dtype)}
    if isinstance(value, Plan):
        return {"plan": value.as_dict()}
    if isinstance(value, Schema):
        return {"schema": value.as_dict()}
    if isinstance(value, RowScaler):
        return {"scaler": {f.name: encoded(getattr(value, f.name), f"{name}.{f.name}", arrays) for f in fields(value)}}
    if isinstance(value, dict):
        return {"pairs": [[k, encoded(v, f"{name}.{k}", arrays)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        items = [encoded(v, f"{name}.{k}", arrays) for k, v in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else items
    return value


def decoded(value: Any, arrays: Mapping[str, Tensor]) -> Any:
    """What `encoded` was given."""
    if isinstance(value, list):
        return [decoded(v, arrays) for v in value]
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return arrays[value["tensor"]].numpy()
    if "array" in value:
        array = np.array(value["array"], dtype=value["dtype"])
        return array.reshape(value["shape"]) if "shape" in value else array[()]
    if "tuple" in value:
        return tuple(decoded(v, arrays) for v in value["tuple"])
    if "plan" in value:
        return Plan.from_dict(value["plan"])
    if "schema" in value:
        return Schema.from_dict(value["schema"])
    if "scaler" in value:
        parts: dict[str, Any] = {k: decoded(v, arrays) for k, v in value["scaler"].items()}
        return RowScaler(**parts)
    return {k: decoded(v, arrays) for k, v in value["pairs"]}
