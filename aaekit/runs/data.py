"""The data of a run: which set, which rows are labelled or set aside, and what the estimator is given."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aaekit import data as datasets
from aaekit.columns import Schema
from aaekit.data import Dataset, Split
from aaekit.errors import InputError
from aaekit.estimators._labels import numbers_by_class
from aaekit.evaluation.heldout import HeldOut
from aaekit.labels import UNLABELLED
from aaekit.runs.config import yaml_values
from aaekit.systems import find

__all__ = [
    "by_class_number",
    "consecutive",
    "data_options",
    "held_out",
    "load_data",
    "split_of",
    "targets",
    "training_rows",
]


def load_data(config: Mapping[str, Any], schema: Schema | None = None) -> Dataset:
    """Load the data set of a configuration; with a schema, the columns of a table mean what they meant before."""
    options, shape, features = data_options(config["data_options"]), config.get("image_shape"), config.get("features")
    if features is not None and shape is not None:
        raise InputError(
            f"expected image_shape or features, got both: leave image_shape out, since {features} resizes images itself"
        )
    data = datasets.load(
        config["data"], config["data_dir"], image_shape=shape, schema=schema, features=features, **options
    )
    test = config.get("test")
    return data if test is None else datasets.with_test_rows(data, test, config["data_dir"], **options)


def data_options(texts: Sequence[str]) -> dict[str, Any]:
    """Read options of a data set from texts name=value; `drop` and `text` may be given several times.

    Raises
    ------
    InputError
        If a text has another form, or a name is given twice.
    """
    options: dict[str, Any] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            raise InputError(f"data_options: expected name=value, got {text!r}: write for instance target=COLUMN")
        if name in ("drop", "text"):
            options[name] = [*options.get(name, ()), value]
        elif name in options:
            raise InputError(f"data_options: expected {name} once, got it twice: leave one of them out")
        else:
            options[name] = value if name == "target" else _value(text, value)
    return options


def _value(text: str, value: str) -> Any:
    """Read a value as YAML."""
    return yaml_values(value, f"data_options: {text[:80]!r}")


def split_of(config: Mapping[str, Any], data: Dataset) -> Split:
    """Choose labelled, unlabelled and validation rows: as prepared with the data, or drawn by the configuration.

    Labelled rows are drawn among those that the data do not name for validation, unless others are set aside.

    Raises
    ------
    InputError
        If the system needs labels and there are none, or there are too few rows or labels.
    """
    n, seed, n_validation = len(data.X), config["split_random_state"], config["validation"]
    if data.split is not None and config["labels"] is None and not n_validation:
        return data.split
    no_labels = data.y is None or config["labels"] == 0
    labelled = np.flatnonzero(np.zeros(0) if no_labels else data.y != UNLABELLED)
    if find(config["system"]).needs_labels and not len(labelled):
        hidden = "labels: 0" if config["labels"] == 0 else f"-1 (unlabelled) in all {n} rows"
        advice = "label some rows, or train clusters, which need none"
        if data.y is None and data.schema is not None:
            names = [c.name for c in data.schema.columns if c.kind in ("category", "boolean")]
            advice = "choose their column by target=NAME (--data-options)" + (
                f", of {', '.join(names[:9])}" if names else ""
            )
        raise InputError(
            f"{data.name}: expected labels y to learn from, got {'none' if data.y is None else hidden}: {advice}"
        )
    if data.split is not None and len(held := data.split.validation) and not n_validation:
        left = np.full(len(data.X), UNLABELLED) if no_labels or data.y is None else data.y.copy()
        left[held] = UNLABELLED
        chosen = data.split.labelled[:0]
        if (left != UNLABELLED).any():
            chosen = datasets.split(left, config["labels"], 0, seed, config["label_draw"]).labelled
        return Split(chosen, data.split.unlabelled, held, seed)
    if data.y is not None and len(np.unique(data.y[labelled])) > 1:
        return datasets.split(data.y, config["labels"], n_validation, seed, config["label_draw"])
    if n_validation >= n:
        raise InputError(f"validation: expected fewer than the {n} rows, got {n_validation}: set fewer aside")
    order = np.random.default_rng(seed).permutation(n)
    validation, rest = np.sort(order[:n_validation]), np.sort(order[n_validation:])
    return Split(np.intersect1d(labelled, rest), rest, validation, seed)


def targets(config: Mapping[str, Any], y: np.ndarray | None, domain: np.ndarray | None) -> np.ndarray | None:
    """Return the labels that the estimator is given: classes, or those that `condition` names, a column each.

    Raises
    ------
    InputError
        If the data set has no domains.
    """
    condition = config.get("condition", "class")
    if condition == "class":
        return y
    if domain is None:
        raise InputError(
            f"condition={condition!r}: expected a set of several domains, got one: join sets, for instance data: "
            "mnist+fonts"
        )
    return domain if condition == "domain" else None if y is None else np.stack([domain, y], 1)


def training_rows(
    config: Mapping[str, Any], data: Dataset, split: Split
) -> tuple[np.ndarray, np.ndarray | None, tuple[np.ndarray, np.ndarray | None] | None]:
    """Return what `fit` is given: X, y with the labels that the split hides masked, and the validation rows or None."""
    rows = consecutive(split.unlabelled) if len(split.validation) else slice(None)
    y = targets(config, None if data.y is None else split.masked(data.y), data.domain)
    eval_set = None
    if len(split.validation):
        labels = targets(config, data.y, data.domain)
        held = consecutive(split.validation)
        eval_set = data.X[held], None if labels is None else labels[held]
    return data.X[rows], None if y is None else y[rows], eval_set


def consecutive(rows: np.ndarray) -> Any:
    """Return row numbers that follow each other as a slice, which copies nothing; others as they are."""
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows


def by_class_number(config: Mapping[str, Any], data: Dataset) -> dict[str, dict[int, float]]:
    """Return the parameters that name classes by the numbers that the estimator is given for them.

    Raises
    ------
    InputError
        For a class that the data set does not have.
    """
    number = {name: k for k, name in enumerate(data.classes)}
    by_name = {
        parameter: numbers_by_class(config[parameter], data.classes, parameter)
        for parameter in ("class_prior", "class_weight")
        if isinstance(config.get(parameter), Mapping)
    }
    return {parameter: {number[k]: v for k, v in numbers.items()} for parameter, numbers in by_name.items()}


def held_out(config: Mapping[str, Any], data: Dataset, split: Split | None = None) -> HeldOut:
    """Return the rows to evaluate on, with their name: test rows, else validation rows, else all."""
    sizes = {} if data.pictures is None else data.pictures.sizes
    size = max(sizes, key=lambda size: sizes[size], default=None)
    if data.X_test is not None:
        y = targets(config, data.y_test, data.domain_test)
        return HeldOut("test", data.X_test, y, data.originals_test, size)
    rows = HeldOut("given", data.X, targets(config, data.y, data.domain), data.originals, size)
    if split is None:
        return rows
    return (rows.at(consecutive(split.validation)) if len(split.validation) else rows)._replace(
        name="validation" if len(split.validation) else "training"
    )
