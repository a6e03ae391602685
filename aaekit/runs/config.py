"""The configuration of a run: its options, read from a YAML file and the command line, checked all at once."""

import os
import platform
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import torch
from pydantic import Field

import aaekit
from aaekit._extras import require
from aaekit._files import whole_number
from aaekit.core.distributed import rank_and_world_size
from aaekit.errors import DamageError, InputError, nearest
from aaekit.estimators._hyperparameters import Hyperparameter, hyperparameters, hyperparameters_of, validated
from aaekit.estimators._io import json_value
from aaekit.systems import find

__all__ = [
    "DataOptions",
    "completed",
    "config_text",
    "config_values",
    "configuration",
    "estimator_of",
    "machine",
    "options_of",
    "read_config",
    "versions",
    "yaml_values",
]

MAX_YAML, MAX_DEPTH = 2**18, 8  # characters of a YAML text, and levels of its values
YES, NO = ("true", "yes", "on"), ("false", "no", "off")


@hyperparameters
class DataOptions:
    """Options of a run besides the parameters of its estimator."""

    system: Annotated[str, Field(description="what to train")] = "classifier"
    data: Annotated[
        str,
        Field(
            description="a named data set (`aae data list`), several joined by +, a .npz, .npy or .csv file, or a "
            "folder of images with one subfolder per class"
        ),
    ] = "digits"
    test: Annotated[
        str | None,
        Field(
            description="labelled test rows, with the columns or the size of data: a table, a .npz or a folder; they "
            "are used for evaluation only"
        ),
    ] = None
    data_dir: Annotated[
        str | None,
        Field(description="folder of the named data sets; else AAE_DATA_DIR, else the user's cache directory"),
    ] = None
    data_options: Annotated[
        tuple[str, ...],
        Field(
            description="options of the data set as name=value: for digits test_random_state=1, for tables "
            "target=COLUMN"
        ),
    ] = ()
    features: Annotated[
        str | None,
        Field(
            description="pretrained encoder of photos or texts, whose features are the rows: efficientnet-lite0, "
            "minilm, a .onnx file, or OWNER/MODEL of Hugging Face; @160 behind it is the size of photos"
        ),
    ] = None
    labels: Annotated[
        int | None,
        Field(ge=0, description="number of labelled rows, drawn by label_draw; none uses all labels, 0 uses no label"),
    ] = None
    label_draw: Annotated[
        Literal["balanced", "proportional"],
        Field(
            description="how the labelled rows are drawn: as many of each class, or in proportion to the classes, with "
            "at least one of each"
        ),
    ] = "balanced"
    condition: Annotated[
        Literal["class", "domain", "domain,class"],
        Field(description="labels that the decoder receives: the class, or, for joined sets, the domain, or both"),
    ] = "class"
    validation: Annotated[
        int,
        Field(
            ge=0,
            description="number of rows set aside and scored after each epoch; they are not used for training, model "
            "selection or early stopping",
        ),
    ] = 0
    split_random_state: Annotated[
        int | None,
        Field(ge=0, description="seed of the choice of labelled and validation rows; none uses random_state"),
    ] = None
    deterministic: Annotated[
        bool,
        "Machine",
        Field(
            description="deterministic algorithms, and always as many threads as at the start: the same bits on a busy "
            "machine, too, but slower there"
        ),
    ] = False


def options_of(system: str) -> dict[str, Hyperparameter]:
    """Return all options of a run by name: those of the data, then the estimator's parameters that text can express."""
    options = hyperparameters_of(DataOptions)
    if not find(system).conditional:
        del options["condition"]
    parameters = hyperparameters_of(find(system).load())
    return options | {name: h for name, h in parameters.items() if h.from_text and name != "verbose"}


def configuration(system: str, options: Mapping[str, Any] = {}, source: str = "") -> dict[str, Any]:
    """Check options and convert them to their declared types.

    Parameters
    ----------
    system : str
        Name of the system, see `aaekit.systems`.
    options : mapping of str to value
        Texts as typed on a command line, or values as read from YAML.
    source : str, optional
        Where the options come from; errors begin with it.

    Raises
    ------
    InputError
        For unknown names and wrong values: all of them at once, one a line, with the nearest name.
    """
    allowed, problems, texts, values = options_of(system), [], {}, {}
    prefix = f"{source}: " if source else ""
    for name, value in options.items():
        if name not in allowed:
            problems.append(f"{prefix}expected an option of a {system}, got {name!r}{nearest(name, allowed)}")
            continue
        try:
            texts[name] = _parsed(allowed[name], value)
        except InputError as error:
            problems.append(f"{prefix}{error}")
    for part in (DataOptions, find(system).load()):
        try:
            values |= validated(part, {k: v for k, v in texts.items() if k in hyperparameters_of(part)}, source)
        except InputError as error:
            problems += str(error).splitlines()
    if problems:
        raise InputError("\n".join(problems))
    if values.get("system", system) != system:
        other = find(values["system"]).name
        raise InputError(f"{prefix}expected options of a {system}, got those of a {other}: use `aae train {other}`")
    return values


def _parsed(h: Hyperparameter, value: Any) -> Any:
    """Convert the text of an option as far as its type says how; types and bounds are checked later, all at once."""
    if not isinstance(value, str) or value in h.choices:
        return value
    if value.lower() == "none" and type(None) in h.types:
        return None
    if bool in h.types and value.lower() in (*YES, *NO):
        return value.lower() in YES
    if bool in h.types and int in h.types and (number := whole_number(value)) is not None:
        return number  # "1" is one epoch rather than yes
    if h.is_mapping and ("=" in value or not any(get_origin(t) is tuple for t in h.types)):
        return _mapping(h.name, value)
    parts = tuple(part.strip() for part in value.split(",") if part.strip())
    if len(parts) > 1 and any(get_origin(t) is tuple for t in h.types):
        return parts
    return parts if any(_any_length(t) for t in h.types) else value


def _any_length(kind: Any) -> bool:
    """Whether a type is a tuple of any length."""
    return get_origin(kind) is tuple and get_args(kind)[1:] == (...,)


def _mapping(name: str, text: str) -> dict[str, float]:
    """Read `generator=1,cyclic=0.5`."""
    pairs: dict[str, float] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        key, _, number = map(str.strip, part.partition("="))
        if not key or key in pairs:
            problem = f"{key} twice: give it once" if key else f"{part!r}: write the name first"
            raise InputError(f"{name}={text!r}: expected name=number once for each name, got {problem}")
        try:
            pairs[key] = float(number)
        except ValueError:
            raise InputError(
                f"{name}={text!r}: expected name=number, got {part!r}: write for instance {key}=0.5"
            ) from None
    return pairs


def completed(system: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Add the defaults to checked options; random states become numbers, so that the run can be repeated."""
    config = {name: h.default for name, h in options_of(system).items()} | dict(options) | {"system": system}
    if config["random_state"] is None:
        config["random_state"] = 0
    if config["split_random_state"] is None:
        config["split_random_state"] = config["random_state"]
    return config


def read_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the mapping in a YAML file.

    Raises
    ------
    InputError
        If it cannot be read, or is no mapping; otherwise as in `yaml_values`.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        problem = " ".join(str(error).split())
        raise InputError(f"{path}: expected a YAML file that can be read, got ({problem}): correct the file") from error
    return config_values(text, str(path))


def config_values(text: str, source: str) -> dict[str, Any]:
    """Return the options in a YAML text; errors as in `read_config`."""
    values = yaml_values(text, source)
    if not isinstance(values, dict):
        raise InputError(
            f"{source}: expected lines `name: value`, got {type(values).__name__}: write one option a line"
        )
    return {str(k): tuple(v) if isinstance(v, list) else v for k, v in values.items()}


def yaml_values(text: str, source: str) -> Any:
    """Return the values of a YAML text whose keys are texts as written: `yes: 0.1` names the class yes, not True.

    Raises
    ------
    InputError
        If it is no YAML, has a key twice, or values of more than 8 levels, or is longer than 256 KiB; for aliases
        (`*name`), by which a short text stands for a huge one. The message begins with `source`.
    """
    yaml = require("yaml", extra="cli")
    if len(text) > MAX_YAML:
        raise InputError(f"{source}: expected at most {MAX_YAML:,} characters, got {len(text):,}: shorten it")
    loader = None
    try:
        _check_events(yaml, text)
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        nodes = [root] if root is not None else []
        while nodes:
            node = nodes.pop()
            if isinstance(node, yaml.MappingNode):
                _use_texts_as_keys(yaml, node)
                nodes += [value for _, value in node.value]
            elif isinstance(node, yaml.SequenceNode):
                nodes += node.value
        return None if root is None else loader.construct_document(root)
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        problem = " ".join(str(error).split())[:300]
        raise InputError(f"{source}: expected YAML, got ({problem}): correct it") from error
    finally:
        if loader is not None:
            loader.dispose()


def _check_events(yaml: Any, text: str) -> None:
    """Raise a ValueError for aliases and for values too deep within each other, before anything is built of them."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH or isinstance(event, yaml.AliasEvent):
            problem = f"values of more than {MAX_DEPTH} levels" if depth > MAX_DEPTH else f"the alias *{event.anchor}"
            raise DamageError(f"{problem} in line {event.start_mark.line + 1}")


def _use_texts_as_keys(yaml: Any, node: Any) -> None:
    """Let the keys of a mapping be texts, each of which is there once."""
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            key.tag = "tag:yaml.org,2002:str"
            line = key.start_mark.line + 1
            if key.value in lines:
                raise DamageError(f"the key {key.value!r} twice, in lines {lines[key.value]} and {line}")
            lines[key.value] = line


def config_text(config: Mapping[str, Any]) -> str:
    """Write a configuration as YAML, each option with its description."""
    yaml = require("yaml", extra="cli")
    options, lines = options_of(config["system"]), []
    for name, value in config.items():
        text = yaml.safe_dump([json_value(value)], default_flow_style=True, sort_keys=False, width=10**6).strip()[1:-1]
        lines.append(f"{name + ': ' + text:<32}  # {options[name].description}")
    return "\n".join(lines) + "\n"


def estimator_of(config: Mapping[str, Any], **parameters: Any) -> Any:
    """Make the estimator that a configuration describes."""
    kind = find(config["system"]).load()
    return kind(**{k: v for k, v in config.items() if k in hyperparameters_of(kind)} | parameters)


def versions() -> dict[str, Any]:
    """Return what a result depends on besides the configuration: versions, machine, threads, commit."""
    facts: dict[str, Any] = {"aaekit": aaekit.__version__, "python": platform.python_version()}
    for name in ("torch", "numpy", "scikit-learn"):
        with suppress(PackageNotFoundError):
            facts[name] = version(name)
    facts |= {"platform": platform.platform(), "cpus": os.cpu_count(), "threads": torch.get_num_threads()}
    if (world_size := rank_and_world_size()[1]) > 1:
        facts["processes"] = world_size
    if torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
    package = Path(aaekit.__file__).parent
    with suppress(OSError, subprocess.SubprocessError):
        root, commit, *_ = subprocess.run(
            ["git", "-C", str(package), "rev-parse", "--show-toplevel", "HEAD"],
            capture_output=True, text=True, check=True, timeout=10,
        ).stdout.split("\n")  # fmt: skip
        if Path(root).resolve() == package.parent.resolve():  # not the project around somebody's environment
            facts["git"] = commit
    return facts


def machine() -> dict[str, Any]:
    """Return the processor and the number of cores of this machine."""
    model = platform.processor()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            model = next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"processor": model, "cores": cores}
