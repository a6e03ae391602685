"""The tissues of an artery's cross-section: ids, names, colours and echogenicity."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tissue:
    """One tissue of a tissue map.

    Attributes
    ----------
    tissue_id : int
        Value of its pixels in a tissue map.
    name : str
    colour : str
        Colour in figures, "#RRGGBB".
    echogenicity : float
        Amplitude of the scattering in stage 0, relative to the adventitia.
    """

    tissue_id: int
    name: str
    colour: str
    echogenicity: float


TISSUES = (
    Tissue(0, "outside", "#000000", 0.0),
    Tissue(1, "catheter", "#555555", 0.02),
    Tissue(2, "lumen", "#882255", 0.06),
    Tissue(3, "intima", "#EE7733", 0.55),
    Tissue(4, "media", "#DDCC77", 0.16),
    Tissue(5, "adventitia", "#0072B2", 1.0),
    Tissue(6, "fibrous", "#009E73", 0.7),
    Tissue(7, "lipid", "#33BBEE", 0.25),
    Tissue(8, "calcium", "#F5F5F5", 1.8),
)
OUTSIDE, CATHETER, LUMEN, INTIMA, MEDIA, ADVENTITIA, FIBROUS, LIPID, CALCIUM = range(len(TISSUES))
N_TISSUES = len(TISSUES)
TISSUE_COLOURS = {t.name: t.colour for t in TISSUES}
