"""Distance of simulated from real intensities, tissue by tissue."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import jensenshannon

from aaekit.errors import InputError
from aaekit.ultrasound.tissues import N_TISSUES, TISSUES


def tissue_histograms(frames: ArrayLike, maps: ArrayLike, bins: int = 64) -> dict[str, NDArray[np.float64]]:
    """Histogram of the intensities of each tissue.

    Parameters
    ----------
    frames : array-like of shape (n, height, width)
        Intensities in [0, 1].
    maps : array-like of shape (n, height, width)
        Their tissue maps.
    bins : int, default 64
        Number of bins over [0, 1].

    Returns
    -------
    dict of str to ndarray of shape (bins,)
        Frequencies, summing to 1, by tissue name. Tissues without a pixel, and the outside of the view, are left out.
    """
    frames, maps = np.asarray(frames), np.asarray(maps)
    level = np.minimum((frames * np.float32(bins)).astype(np.int64), bins - 1)
    counts = np.bincount((maps.astype(np.int64) * bins + level).ravel(), minlength=N_TISSUES * bins)
    rows = counts.reshape(N_TISSUES, bins)
    return {t.name: rows[t.tissue_id] / rows[t.tissue_id].sum() for t in TISSUES[1:] if rows[t.tissue_id].any()}


def tissue_divergences(
    real: ArrayLike, real_maps: ArrayLike, simulated: ArrayLike, simulated_maps: ArrayLike, bins: int = 64
) -> dict[str, float]:
    """Jensen-Shannon divergence between real and simulated intensities, tissue by tissue.

    Parameters
    ----------
    real, simulated : array-like of shape (n, h, w) and (m, h', w')
        Intensities in [0, 1].
    real_maps, simulated_maps : array-like of the same shapes
        Their tissue maps.
    bins : int, default 64
        Number of bins of the histograms.

    Returns
    -------
    dict of str to float
        In bits (0: equal distributions, 1: disjoint ones), by the names of the tissues that both sides have, and
        "mean", their unweighted mean. Pixels outside the view do not count.

    Raises
    ------
    InputError
        If the two sides have no tissue in common.

    References
    ----------
    Tom & Sheet, arXiv:1712.07881, the quantitative evaluation.
    """
    p, q = tissue_histograms(real, real_maps, bins), tissue_histograms(simulated, simulated_maps, bins)
    divergences = {name: float(jensenshannon(p[name], q[name], base=2) ** 2) for name in p if name in q}
    if not divergences:
        raise InputError("expected a tissue that both the real and the simulated maps have, got none")
    return divergences | {"mean": float(np.mean(list(divergences.values())))}
