"""Fitted estimators as files: safetensors, with parameters and facts as JSON in the header. Nothing is unpickled."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from pydantic import ConfigDict
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from typing_extensions import TypedDict

from aaekit._files import checked, parsed_json, write_atomically
from aaekit.columns import Schema
from aaekit.core.state import digest
from aaekit.errors import DamageError, InputError
from aaekit.estimators._hyperparameters import validated
from aaekit.estimators._plan import Plan
from aaekit.estimators._rows import Curve, RowScaler

__all__ = [
    "DAMAGE",
    "FACTS",
    "check_fitted",
    "check_shapes",
    "check_weights",
    "damaged",
    "decoded",
    "described",
    "encoded",
    "from_description",
    "json_value",
    "model_file",
    "read_model",
    "write_model",
]

FORMAT = 4
MAX_LAYERS = 64  # of a network, or as many as there are tensors in the file
MAX_TEXT = 10_000  # characters of a text in an array
DAMAGE = (
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    RuntimeError,
    ArithmeticError,
    AssertionError,
    MemoryError,
)


class Description(TypedDict):
    """An estimator in JSON: its class, and its parameters by name."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # pyright: ignore
    estimator: str
    parameters: dict[str, Any]


class Header(Description):
    """What a model file says besides the tensors."""

    format: int
    facts: dict[str, Any]


class Stem(TypedDict):
    """The encoder below a `PretrainedClassifier`."""

    parameters: dict[str, Any]
    plan: dict[str, Any]
    latent_dim: int
    n_classes: int
    posterior: str


Rows = list[dict[str, int | float | bool | None]]
FACTS: dict[str, Any] = {  # fitted attributes, each of a class or as pydantic takes it
    "scaler_": RowScaler,
    "plan_": Plan,
    "classes_": (np.ndarray, list),
    "class_counts_": list[int],
    "class_frequencies_": np.ndarray,
    "n_unlabelled_": int,
    "n_features_in_": int,
    "feature_names_in_": np.ndarray,
    "seed_": int,
    "history_": Rows,
    "n_steps_": int,
    "training_seconds_": float,
    "conditions_": list,
    "condition_counts_": list[list[int]],
    "teachers_": dict[str, dict[str, Any]],
    "labels_": np.ndarray,
    "cluster_counts_": np.ndarray,
    "n_used_clusters_": int,
    "marginal_entropy_": float,
    "cluster_names_": dict[int, Any],
    "sigma_": float,
    "density_": dict[str, int],
    "mixture_": dict,
    "errors_": np.ndarray,
    "standard_": np.ndarray,
    "neighbours_": np.ndarray,
    "forest_": dict,
    "usual_": np.ndarray,
    "offset_": float,
    "stem_": Stem,
}
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
        When labels are neither texts nor numbers, weights are not finite, or the file cannot be written.
    """
    try:
        text = json.dumps({"format": FORMAT, **header})
    except TypeError as error:
        raise InputError(
            f"expected labels that are texts or numbers, got others ({error}): a file cannot hold them"
        ) from error
    if bad := not_finite(tensors):
        raise InputError(f"expected weights that are finite, got NaN or infinity in {bad}: train again")
    contiguous = {k: v.contiguous() for k, v in tensors.items()}
    write_atomically(path, lambda temporary: save_file(contiguous, temporary, sealed(text, contiguous)))


def sealed(text: str, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """The metadata of a model file: its format, the checksum, and the header as JSON, in one value.

    safetensors writes several values in random order, so that the same model would be different files.
    """
    return {"aaekit": f"{FORMAT} {digest(text, tensors)} {text}"}


def not_finite(tensors: Mapping[str, Tensor]) -> str:
    """The name of a tensor of weights that are not all finite; "" if there is none."""
    of_weights = ((k, v) for k, v in tensors.items() if v.is_floating_point() and not k.startswith("facts/"))
    return next((k for k, v in of_weights if not torch.isfinite(v).all()), "")


def read_model(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of a saved model.

    Raises
    ------
    InputError
        When there is no such file, or it is damaged, or of another version.
    """
    from safetensors import safe_open

    if not Path(path).is_file():
        received = "a directory" if Path(path).is_dir() else "no such file"
        raise InputError(f"{path}: expected a model that `save` wrote, got {received}")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        checksum, text = _unsealed(path, metadata)
        tensors = load_file(path)
        if checksum != digest(text, tensors):
            raise DamageError("its checksum is wrong")
        header = parsed_json(text, Header)
        if header["format"] != FORMAT:
            raise DamageError("its two formats differ")
        if bad := not_finite(tensors):
            raise DamageError(f"NaN or infinity in {bad[:80]}")
        return header, tensors
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: expected a readable file, got {error.strerror or error}") from error
    except (SafetensorError, *DAMAGE) as error:
        raise damaged(path, error) from error


def damaged(path: str | os.PathLike[str], error: BaseException | str) -> InputError:
    """The error that says in one line that a model file is damaged."""
    problem = " ".join(str(error).split())[:300] or type(error).__name__
    return InputError(
        f"{path}: expected a model that aaekit saved, got a damaged or other file ({problem}): restore the file, or "
        "train again"
    )


def _unsealed(path: str | os.PathLike[str], metadata: Mapping[str, str]) -> tuple[str, str]:
    """Checksum and header; models of other versions, which may be whole, are refused."""
    if "aaekit" not in metadata:
        raise DamageError("it says nothing of aaekit")
    number, checksum, text = [*metadata["aaekit"].split(" ", 2), "", ""][:3]
    number = "3" if number.startswith("{") else number  # earlier versions wrote the header alone
    if not number.isdecimal() or len(number) > 9:
        raise DamageError("its format is no number")
    if int(number) != FORMAT:
        version, advice = (
            ("a later", "update aaekit") if int(number) > FORMAT else ("an earlier", "train it again, or load it there")
        )
        raise InputError(
            f"{path}: expected a model of format {FORMAT}, got format {int(number)}, of {version} version of aaekit: "
            f"{advice}"
        )
    return checksum, text


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
        raise InputError(f"{path}: expected a saved {cls.__name__}, got a {description['estimator'][:80]}")
    kind = kinds[description["estimator"]]
    parameters = dict(description["parameters"])
    for name, value in parameters.items():
        if isinstance(value, dict) and isinstance(value.get("object"), str):  # else numbers by class
            raise InputError(
                f"{path}: expected the object {name}={value['object']} again, got none: call load(..., {name}=...)"
            )
        if isinstance(value, dict) and isinstance(value.get("estimator"), str):
            checked(value, Description)
            inner = value["parameters"].items()
            objects = [k for k, v in inner if isinstance(v, dict) and isinstance(v.get("object"), str)]
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
    if isinstance(value, RowScaler | Curve):
        kind = "scaler" if isinstance(value, RowScaler) else "curve"
        return {kind: {f.name: encoded(getattr(value, f.name), f"{name}.{f.name}", arrays) for f in fields(value)}}
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
        return _array(value["array"], np.dtype(value["dtype"]), value.get("shape"))
    if "tuple" in value:
        return tuple(decoded(v, arrays) for v in value["tuple"])
    if "plan" in value:
        return Plan.from_dict(value["plan"])
    if "schema" in value:
        return Schema.from_dict(value["schema"])
    for key, kind in (("scaler", RowScaler), ("curve", Curve)):
        if key in value:
            return kind(**{k: decoded(v, arrays) for k, v in value[key].items()})
    if len(pairs := {k: None for k, _ in value["pairs"]}) < len(value["pairs"]):
        raise DamageError(f"keys twice, of {len(pairs)}")
    return {k: decoded(v, arrays) for k, v in value["pairs"]}


def _array(values: Any, dtype: np.dtype[Any], shape: list[int] | None) -> Any:
    """An array of plain values, or one of them."""
    items = np.array(values, dtype=object).ravel().tolist()
    if dtype.kind not in "biufUO" or dtype.itemsize > 4 * MAX_TEXT or dtype.names:
        raise DamageError(f"an array of {dtype}")
    if not all(item is None or isinstance(item, str | int | float) for item in items):
        raise DamageError("an array of other values than texts and numbers")
    if dtype.kind in "biuf" and any(isinstance(item, str) or item is None for item in items):
        raise DamageError("an array of numbers with other values")
    array = np.array(values, dtype=dtype)
    return array[()] if shape is None else array.reshape(checked(shape, list[int]))


# --- whether it all fits ---------------------------------------------------------------------------------------------
def check_fitted(model: Any) -> None:
    """Raise a ValueError where the facts of a loaded model are of other kinds, or do not fit each other."""
    for name, kind in FACTS.items():
        if hasattr(model, name):
            value = getattr(model, name)
            if kind in (RowScaler, Plan, np.ndarray) or isinstance(kind, tuple):
                if not isinstance(value, kind):
                    raise DamageError(f"{name}: a {type(value).__name__}")
            else:
                checked(value, kind)
    scaler, plan, n = model.scaler_, model.plan_, model.plan_.data.n_values
    _check_scaler(scaler)
    if scaler.shape != plan.data.shape or scaler.unit_range != plan.data.unit_range:
        raise DamageError(f"rows of shape {scaler.shape} in the scaler, of {plan.data.shape} in the plan")
    curve = scaler.curve
    arrays = [] if curve is None else [v for k in fields(curve) if isinstance(v := getattr(curve, k.name), np.ndarray)]
    if any(a.shape != (n,) for a in arrays) or (scaler.schema is not None and scaler.schema.n_values != n):
        raise DamageError(f"a scaler of other than {n} values")
    if scaler.groups != plan.data.groups and plan.data.groups:
        raise DamageError("other choices in the scaler than in the plan")
    neighbours = getattr(model, "neighbours_", np.empty((0, n)))
    if neighbours.ndim != 2 or neighbours.shape[1] != n:
        raise DamageError(f"neighbours of shape {neighbours.shape}, of rows with {n} values")
    classes, counts, K = getattr(model, "classes_", None), getattr(model, "class_counts_", None), plan.data.n_classes
    if isinstance(classes, np.ndarray):
        if classes.ndim != 1 or not len(classes):
            raise DamageError(f"classes of shape {classes.shape}")
        if counts is not None and not len(counts) == len(classes) == K:
            raise DamageError(f"{len(classes)} classes, {len(counts)} counts, {K} classes in the plan")


def _check_scaler(scaler: RowScaler) -> None:
    """Raise a ValueError where the parts of a scaler are of other kinds."""
    plain = {"shape": tuple[int, ...], "as_images": bool, "unit_range": bool, "unit": float, "data_radius": float,
             "source": str}  # fmt: skip
    for name, kind in plain.items():
        checked(getattr(scaler, name), kind)
    if not isinstance(scaler.curve, Curve | None) or not isinstance(scaler.schema, Schema | None):
        raise DamageError("a scaler of other parts")
    if scaler.curve is None and not scaler.unit_range:
        raise DamageError("a scaler without a curve")
    numbers = [scaler.unit, scaler.data_radius]
    if scaler.curve is not None:
        for field in fields(scaler.curve):
            value = getattr(scaler.curve, field.name)
            if value is not None and not (isinstance(value, float) or np.asarray(value).dtype.kind == "f"):
                raise DamageError(f"curve.{field.name}: a {type(value).__name__}")
            if field.name in ("scale", "deviation") and value is not None and not np.min(value, initial=1) > 0:
                raise DamageError(f"curve.{field.name}: numbers that are not above 0")
            numbers.append(0.0 if value is None or field.name == "reach" else np.abs(value).max(initial=0))
    if not np.isfinite(numbers).all():
        raise DamageError("a scaler that is not finite")


def check_weights(model: Any, tensors: Mapping[str, Tensor]) -> None:
    """Raise a ValueError where the networks that a loaded model describes are not those of its tensors.

    They are made without values, so that their size is known before memory is taken.
    """
    for owner, name in ((model, "hidden"), (model, "discriminator_hidden"), (model.plan_, "hidden")):
        if len(getattr(owner, name, ())) > max(MAX_LAYERS, len(tensors)):
            raise DamageError(f"{name}: {len(getattr(owner, name))} layers, and {len(tensors)} tensors")
    largest = max((max(v.shape, default=0) for v in tensors.values()), default=0)
    if model.plan_.n_classes > largest:
        raise DamageError(f"{model.plan_.n_classes} classes, and no tensor of more than {largest} rows or columns")
    if not isinstance(model.backbone, str) or not type(model).__module__.startswith("aaekit."):
        return  # made by somebody's own code
    check_shapes(lambda: model.networks(model.plan_), tensors)


def check_shapes(make: Callable[[], nn.Module], tensors: Mapping[str, Tensor]) -> None:
    """Raise a ValueError where tensors are not the weights of networks, which are made without values."""
    with torch.device("meta"):
        shapes = {k: (tuple(v.shape), v.dtype) for k, v in make().state_dict().items()}
    for name in (*shapes, *tensors):
        tensor = tensors.get(name)
        received = None if tensor is None else (tuple(tensor.shape), tensor.dtype)
        if shapes.get(name) != received:
            texts = ["no weights" if s is None else f"{s[1]} {s[0]}" for s in (shapes.get(name), received)]
            raise DamageError(f"expected weights that fit the parameters, {texts[0]} of {name[:80]}, got {texts[1]}")
