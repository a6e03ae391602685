"""Configurations: options as texts, as YAML, and what is said about wrong ones."""

from collections.abc import Mapping
from typing import Annotated, Literal

import pytest
import yaml
from pydantic import Field

from aaekit import InputError, systems
from aaekit.estimators import SemiSupervisedAAE
from aaekit.estimators._hyperparameters import hyperparameters
from aaekit.runs.config import completed, config_text, configuration, options_of, read_config

Schedule = Literal["constant", "cosine"] | tuple[int, ...]


@hyperparameters
class Kinds:
    """One parameter of each kind that text can express."""

    loss_weights: Annotated[
        Mapping[str, Annotated[float, Field(ge=0)]] | None, Field(description="weights by phase")
    ] = None
    optimizer: Annotated[
        Literal["adam", "sgd"] | tuple[Literal["adam", "sgd"], float], Field(description="name, or name and momentum")
    ] = "adam"
    batch_size: Annotated[Literal["auto"] | int | tuple[int, int], Field(description="rows")] = "auto"
    learning_rate_schedule: Annotated[Schedule, Field(description="schedule")] = "constant"
    early_stopping: Annotated[bool | Annotated[int, Field(ge=1)], Field(description="epochs to wait")] = False
    hidden: Annotated[Literal["auto"] | tuple[int, ...], Field(description="widths")] = "auto"
    batch_norm: Annotated[bool, Field(description="whether to normalise")] = True
    max_steps: Annotated[int | None, Field(description="steps")] = None
    random_state: Annotated[int | None, Field(description="seed")] = None


@pytest.fixture
def kinds():
    systems.register(systems.System("kinds", f"{__name__}:Kinds", "One parameter of each kind."))
    yield "kinds"
    del systems.SYSTEMS["kinds"]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("loss_weights", "generator=1,cyclic=0.5", {"generator": 1.0, "cyclic": 0.5}),
        ("loss_weights", " z/generator = 2 ,", {"z/generator": 2.0}),
        ("loss_weights", "none", None),
        ("optimizer", "sgd", "sgd"),
        ("optimizer", "sgd,0.9", ("sgd", 0.9)),
        ("batch_size", "auto", "auto"),
        ("batch_size", "100", 100),
        ("batch_size", "100,50", (100, 50)),
        ("learning_rate_schedule", "cosine", "cosine"),
        ("learning_rate_schedule", "20", (20,)),
        ("learning_rate_schedule", "20,40", (20, 40)),
        ("early_stopping", "yes", True),
        ("early_stopping", "no", False),
        ("early_stopping", "true", True),
        ("early_stopping", "1", 1),
        ("early_stopping", "20", 20),
        ("hidden", "30", (30,)),
        ("hidden", "30,20", (30, 20)),
        ("batch_norm", "no", False),
        ("max_steps", "none", None),
        ("max_steps", "7", 7),
    ],
)
def test_text_is_read_by_type(name, text, value, kinds):
    read = configuration(kinds, {name: text})[name]
    assert read == value and type(read) is type(value)
    assert configuration(kinds, {name: value})[name] == value


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("loss_weights", "generator", ["expected name=number", "got 'generator'", "for instance generator=0.5"]),
        ("loss_weights", "generator=x", ["expected name=number", "got 'generator=x'"]),
        ("loss_weights", "=1", ["expected name=number", "got '=1'"]),
        ("loss_weights", "cyclic=1,cyclic=2", ["once", "got cyclic twice"]),
        ("loss_weights", "cyclic=-1", ["loss_weights", "greater than or equal to 0"]),
        ("loss_weights", {"cyclic": "much"}, ["loss_weights", "number"]),
        ("optimizer", "sdg", ["optimizer", "'sdg'", "'sgd'"]),
        ("batch_size", "many", ["batch_size", "'many'"]),
        ("learning_rate_schedule", "cosinus", ["learning_rate_schedule", "'cosinus'", "'cosine'"]),
        ("early_stopping", "later", ["early_stopping", "'later'"]),
        ("hidden", "30,x", ["hidden", "whole numbers", "'x'"]),
    ],
)
def test_wrong_values_are_refused_in_one_line(name, value, words, kinds):
    with pytest.raises(InputError) as caught:
        configuration(kinds, {name: value})
    (line,) = str(caught.value).splitlines()
    assert line.startswith(name)
    assert all(word in line for word in words), line


def test_all_problems_at_once():
    options = {"max_epoch": 3, "labels": -1, "learning_rate": 20, "system": "classifier"}
    with pytest.raises(InputError) as caught:
        configuration("classifier", options, "x.yaml")
    lines = str(caught.value).splitlines()
    assert len(lines) == 3 and all(line.startswith("x.yaml: ") for line in lines)
    assert "'max_epochs'" in lines[0] and "labels" in lines[1] and "learning_rate" in lines[2]


def test_options_of_another_system_are_refused():
    with pytest.raises(InputError, match="got those of a classifier: use `aae train classifier`"):
        configuration("generator", {"system": "classifier"}, "x.yaml")
    with pytest.raises(InputError, match="got 'clasifier'.*'classifier'"):
        configuration("generator", {"system": "clasifier"})
    assert "condition" in options_of("style") and "condition" not in options_of("classifier")


@pytest.mark.parametrize("system", ["generator", "classifier", "baseline"])
def test_configuration_survives_yaml(system):
    config = completed(system, configuration(system, {"labels": 7, "hidden": "3,4", "data_dir": "none"}))
    text = config_text(config)
    assert configuration(system, yaml.safe_load(text)) == config and config["hidden"] == (3, 4)
    assert all("  # " in line for line in text.splitlines())


def test_every_kind_survives_yaml(kinds, tmp_path):
    options = {
        "loss_weights": "generator=1,cyclic=0.5", "optimizer": "sgd,0.9", "batch_size": "100,50",
        "learning_rate_schedule": "20,40", "early_stopping": "5",
    }  # fmt: skip
    config = completed(kinds, configuration(kinds, options))
    (tmp_path / "c.yaml").write_text(config_text(config))
    assert "loss_weights: {generator: 1.0, cyclic: 0.5}" in config_text(config)
    assert configuration(kinds, read_config(tmp_path / "c.yaml")) == config


def test_random_states_are_numbers():
    config = completed("classifier", {"random_state": None})
    assert config["random_state"] == 0 and config["split_random_state"] == 0
    assert completed("classifier", {"random_state": 4})["split_random_state"] == 4
    assert SemiSupervisedAAE().random_state is None
