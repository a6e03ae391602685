"""How the columns of a training history are presented: the panel that each is drawn in, and its abbreviation."""

from typing import NamedTuple

__all__ = ["CURVES", "Curve", "abbreviation", "panel"]


class Curve(NamedTuple):
    """A column of the history: the panel of the learning curves it is drawn in, and its name on a progress bar."""

    panel: str
    abbreviation: str


CURVES = {  # by the last part of the column's name: "z/generator" and "y/generator" are both "generator"
    "reconstruction": Curve("Reconstruction", "rec"),
    "D(real)": Curve("Discriminator outputs", "D(real)"),
    "D(fake)": Curve("Discriminator outputs", "D(fake)"),
    "discriminator": Curve("Adversarial losses", "D"),
    "generator": Curve("Adversarial losses", "G"),
    "classification": Curve("Losses of labelled rows", "class"),
    "pseudo_label": Curve("Losses of unlabelled rows", "pseudo"),
    "consistency_kl": Curve("Losses of unlabelled rows", "consist"),
    "virtual_adversarial": Curve("Losses of unlabelled rows", "vat"),
    "marginal_kl": Curve("Losses of unlabelled rows", "marginal"),
    "conditional_entropy": Curve("Losses of unlabelled rows", "entropy"),
    "soft_label": Curve("Losses of unlabelled rows", "soft"),
    "cyclic": Curve("Mutual information of $y$ and $x$", "cyclic"),
    "mode_reconstruction": Curve("Mutual information of $y$ and $x$", "mode"),
    "style_l2": Curve("Layout of the codes", "style"),
    "mode_separation": Curve("Layout of the codes", "modes"),
    "centroid_separation": Curve("Layout of the codes", "centroids"),
    "confident": Curve("Confident pseudo-labels", "confident"),
    "error": Curve("Error", "error"),
    "learning_rate": Curve("Learning rate", "rate"),
}


def panel(name: str) -> str:
    """The panel of a column, for instance of `z/generator`."""
    curve = CURVES.get(name.rsplit("/", 1)[-1])
    return "Other losses" if curve is None else curve.panel


def abbreviation(name: str) -> str:
    """The short name of a column: `z/G` for `z/generator`."""
    return "/".join(CURVES[part].abbreviation if part in CURVES else part for part in name.split("/"))
