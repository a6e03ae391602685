"""The experiments: one YAML file each, with the settings that differ from the defaults of its system.

Besides those settings, a file has keys of its own:

- `title`: what is measured, as printed in the tables
- `published`: the published figure to compare with, in words
- `target`: the figure to reach, with its sign, for instance "<= 1.5"
- `family`: a key of `FAMILIES`; "ours" by default
- `protocol`: how it is measured, a key of `reproduction.protocols.PROTOCOLS`; "held_out" by default
- `measure`: the number to report; "error", in percent, by default
- `variants`: for an ablation, the settings that each variant replaces
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aaekit.errors import InputError, nearest
from aaekit.runs.config import completed, configuration, read_config

FOLDER = Path(__file__).parent / "experiments"
SIMULATOR = "simulator"  # a system of its own: pairs of images in place of a data set
OWN_KEYS = ("title", "family", "published", "target", "protocol", "measure", "variants")
FAMILIES = {  # a table each
    "ours": "the best setting with the same labels: the defaults, including convolutions and augmentation",
    "as published": "the networks of the source, no augmentation, no knowledge of images",
}


def names() -> list[str]:
    """The names of all experiments."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read(name: str) -> dict[str, Any]:
    """Read the file of an experiment; its settings are checked by `complete`.

    Raises
    ------
    InputError
        If there is no such experiment, its file is not valid YAML, or its family is unknown.
    """
    if name not in names():
        raise InputError(f"expected an experiment of {', '.join(names())}, got {name!r}{nearest(name, names())}")
    experiment = {"family": "ours"} | read_config(FOLDER / f"{name}.yaml")
    if experiment["family"] not in FAMILIES:
        raise InputError(f"{name}.yaml: family: expected {' or '.join(FAMILIES)}, got {experiment['family']!r}")
    return experiment


def settings(experiment: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the system in an experiment, without the keys of its own."""
    return {k: v for k, v in experiment.items() if k not in OWN_KEYS}


def complete(given: Mapping[str, Any], source: str = "") -> dict[str, Any]:
    """All settings of a system, those not given at their defaults.

    Raises
    ------
    InputError
        For unknown names and invalid values.
    """
    if given["system"] == SIMULATOR:
        from reproduction import simulation  # here because it imports the simulator

        return simulation.configuration(given, source)
    return completed(given["system"], configuration(given["system"], given, source))


def check(name: str) -> None:
    """Check the settings of an experiment and of its variants.

    Raises
    ------
    InputError
        For unknown names and invalid values.
    """
    experiment = read(name)
    for replaced in ({}, *(experiment.get("variants") or {}).values()):
        complete(settings(experiment) | replaced, f"{name}.yaml")
