"""What to try first against a finding: a parameter with a new value, in Python and on the command line."""

import math
from collections.abc import Mapping
from typing import Any

from aaekit.evaluation.health.evidence import Evidence
from aaekit.evaluation.health.measures import (
    is_adversarial,
    is_improving,
    is_stuck,
    is_undecided,
    learning_rate,
    n_steps,
    reconstruction_is_constant,
    requested,
    weight,
)
from aaekit.evaluation.health.thresholds import MAX_ADAM_RATE, MIN_STEPS, PHOTO


# --- by finding ------------------------------------------------------------------------------------------------------
def match_prior_more(e: Evidence) -> str:
    """What brings the codes closer to the prior."""
    if not e.parameters.get("adversarial", True):
        return set_parameter(e, "adversarial", True)
    if reconstruction_is_constant(e):
        return reconstruct_more(e)  # a code that need not represent anything collapses
    if is_stuck(e, "z"):
        return revive_discriminator(e, "z")  # the codes have not been matched yet
    if not _rates_decide(e) or not is_adversarial(e):
        return raise_weight(e, "z/generator", 1.0, 5)
    return train_longer(e, 4) if is_improving(e) else scale_rate(e, "z/generator", 3)


def learn_from_teachers(e: Evidence) -> str:
    """What keeps a classifier as good as simple methods; with it, to use one of them."""
    if e.parameters.get("guard") is False:
        return set_parameter(e, "guard", True)
    return "that method, or more labelled rows; on the command line: --no-guard shows what unlabelled rows alone give"


def beat_simple_methods(e: Evidence) -> str:
    """What makes a classifier better than methods that know as much; with it, to use one of them."""
    if n_steps(e) < MIN_STEPS or is_improving(e):
        return train_longer(e, 4)
    if e.image_shape is not None and max(e.image_shape[1:]) >= PHOTO:
        return _advice('features="efficientnet-lite0" in aaekit.data.load', "--features efficientnet-lite0")
    return _advice("that method, or more labelled rows", "--labels")


def revive_discriminator(e: Evidence, code: str) -> str:
    """What makes a constant discriminator learn."""
    rate = learning_rate(e, f"{code}/discriminator") or 0.0
    return set_rate(e, f"{code}/discriminator", 1e-3 if rate > MAX_ADAM_RATE and _adam(e) else max(1e-3, 10 * rate))


def weaken_discriminator(e: Evidence, code: str) -> str:
    """What helps the encoder against the discriminator of a code."""
    critic, generator = (learning_rate(e, f"{code}/{side}") for side in ("discriminator", "generator"))
    if critic is not None and critic > 2 * (generator or 1e-3):
        return set_rate(e, f"{code}/discriminator", generator or 1e-3)
    if code == "y" and e.clusters and is_undecided(e):
        return raise_weight(e, "conditional_entropy", 0.1, 5)  # a y that is not one-hot is recognised at once
    return match_prior_more(e)


def reconstruct_more(e: Evidence) -> str:
    """What makes the reconstruction count among the other losses."""
    rate = learning_rate(e, "reconstruction") or 1e-3
    if rate < 1e-5 or (rate > MAX_ADAM_RATE and _adam(e)):
        return set_rate(e, "reconstruction", 1e-3)
    (X,) = e.arrays("X")
    usual, asked = 10 / X.shape[1], requested(e, "loss_weights", "reconstruction")
    if not _rates_decide(e) and asked is not None and asked < usual:
        return default_weight(e, "reconstruction")
    if n_steps(e) < MIN_STEPS or is_improving(e):
        return train_longer(e, 4)
    if not _rates_decide(e):
        return set_weight(e, "reconstruction", 10 * (weight(e, "reconstruction") or usual))
    return set_rate(e, "reconstruction", max(1e-3, 3 * rate))


def enlarge_images(channels: int, height: int, width: int) -> str:
    """Twice as many pixels a side."""
    shape = (channels, 2 * height, 2 * width)
    return _advice(f"image_shape={shape} in aaekit.data.load", f"--image-shape {','.join(map(str, shape))}")


def describe_more(e: Evidence) -> str:
    """What lets codes say more of an image."""
    if n_steps(e) < MIN_STEPS or is_improving(e):
        return train_longer(e, 4)
    (z,) = e.arrays("z")
    return set_parameter(e, "latent_dim", 2 * (z.shape[1] if z is not None else 8))


def remove_label_from_style(e: Evidence) -> str:
    """What keeps the label out of z."""
    (z,) = e.arrays("z")
    matching = e.parameters.get("style_matching")
    if matching == "marginal":
        return set_parameter(e, "style_matching", "per_class")
    if matching == "per_class" and z.shape[1] > 2:
        return set_parameter(e, "latent_dim", max(2, z.shape[1] // 2))
    return match_prior_more(e)


def correct_frequencies(e: Evidence) -> str:
    """What makes classes as frequent as they should be."""
    if "class_prior" in e.parameters and weight(e, "marginal_kl") == 0:
        return set_weight(e, "marginal_kl", 10.0)
    if e.parameters.get("class_prior") in ("auto", "labelled"):
        return set_parameter(e, "class_prior", "uniform", "or the true frequencies")
    return _advice("more labelled rows of these classes", "--labels")


def learn_from_unlabelled(e: Evidence) -> str:
    """What makes unlabelled rows count, or, without them, prevents overfitting."""
    if "consistency" not in e.parameters:
        return _advice(
            "early_stopping=True, or SemiSupervisedAAE, which also learns from unlabelled rows",
            "--early-stopping, or `aae train classifier`",
        )
    if e.parameters["consistency"] == "none":
        return set_parameter(e, "consistency", "auto")
    if e.parameters.get("augmentation") == "none":
        return set_parameter(e, "augmentation", "auto")
    return _advice("more labelled rows, as many of each class", "--labels")


def train_longer(e: Evidence, times: int) -> str:
    """More steps."""
    steps = n_steps(e)
    if 0 < steps < math.inf:
        return _advice(f"max_steps={int(times * steps)}", f"--max-steps {int(times * steps)}", int(steps))
    return _advice("a larger max_epochs", "--max-epochs")


# --- parameters ------------------------------------------------------------------------------------------------------
def set_parameter(e: Evidence, name: str, value: Any, alternative: str = "") -> str:
    """A parameter with a new value."""
    flag = name.replace("_", "-")
    flags = f"--{flag}" if value is True else f"--no-{flag}" if value is False else f"--{flag} {_number(value)}"
    python = f"{name}={_python(value)}" + (f", {alternative}" if alternative else "")
    return _advice(python, flags, e.parameters.get(name))


def set_weight(e: Evidence, phase: str, value: float) -> str:
    """A new weight of a phase; the other entries of `loss_weights` are kept."""
    return _set_entry(e, "loss_weights", phase, value, weight(e, phase))


def raise_weight(e: Evidence, phase: str, least: float, times: float) -> str:
    """A multiple of the weight of a phase, but at least `least`."""
    return set_weight(e, phase, max(least, times * (weight(e, phase) or 0.0)))


def default_weight(e: Evidence, phase: str) -> str:
    """The default weight of a phase, by removing its entry."""
    now = requested(e, "loss_weights", phase)
    return _advice(f"loss_weights without {phase!r}", f"--loss-weights without {phase}", now)


def set_rate(e: Evidence, phase: str, value: float) -> str:
    """A new learning rate of a phase, by the parameter that determines it."""
    kind = phase.rpartition("/")[2]
    if requested(e, "learning_rates", phase) is None and kind in ("reconstruction", "discriminator"):
        return set_parameter(e, "discriminator_learning_rate" if kind == "discriminator" else "learning_rate", value)
    return _set_entry(e, "learning_rates", phase, value, learning_rate(e, phase))


def scale_rate(e: Evidence, phase: str, times: float) -> str:
    """A multiple of the learning rate of a phase."""
    return set_rate(e, phase, times * (learning_rate(e, phase) or 1e-3))


def _set_entry(e: Evidence, parameter: str, phase: str, value: float, now: float | None) -> str:
    entries: Mapping[str, float] = e.parameters.get(parameter) or {}
    key = phase if phase in entries else phase.rpartition("/")[2]
    entries = {**entries, key: value}
    python = ", ".join(f"{k!r}: {_number(v)}" for k, v in entries.items())
    flags = ",".join(f"{k}={_number(v)}" for k, v in entries.items())
    return _advice(f"{parameter}={{{python}}}", f"--{parameter.replace('_', '-')} {flags}", now)


def _advice(python: str, flags: str, now: Any = None) -> str:
    current = "" if now is None else f" (now {_python(now)})"
    return f"{python}{current}; on the command line: {flags}"


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _python(value: Any) -> str:
    return repr(value) if isinstance(value, str) else _number(value)


def _rates_decide(e: Evidence) -> bool:
    """Whether each phase has its own Adam, which cancels the weight of its loss, so that rates decide."""
    return e.parameters.get("schedule") == "alternating" and _adam(e)


def _adam(e: Evidence) -> bool:
    optimizer = e.parameters.get("optimizer", "adam")
    return (optimizer if isinstance(optimizer, str) else optimizer[0]) == "adam"
