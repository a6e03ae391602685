"""Ultrasound frames by physics alone: the simple simulation of stage 0 and a richer one.

Lengths are in samples of a polar frame of 256 x 256 and scale with the frame.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import convolve1d, gaussian_filter1d

from aaekit.ultrasound.checks import check_maps
from aaekit.ultrasound.tissues import CATHETER, TISSUES

REFERENCE_SIZE = 256  # scan lines, and samples along depth, of the frame that lengths refer to


# --- stage 0 ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Physics:
    """The scanner of stage 0.

    Parameters
    ----------
    axial : float, default 2
        Length of the pulse: standard deviation along depth, in samples.
    lateral : float, default 1.6
        Width of the beam: standard deviation across scan lines, in lines.
    wavelength : float, default 4
        Period of the pulse along depth, in samples.
    dynamic_range : float, default 50
        Decibels between black and white.
    level : float, default 0.75
        Grey level of tissue of echogenicity 1.
    """

    axial: float = 2.0
    lateral: float = 1.6
    wavelength: float = 4.0
    dynamic_range: float = 50.0
    level: float = 0.75


def simulate(
    maps: ArrayLike, physics: Physics = Physics(), random_state: int | np.random.Generator | None = None
) -> NDArray[np.float32]:
    """Simulate stage 0: pseudo B-mode frames of polar tissue maps.

    Each sample holds one scatterer of random strength, scaled by its tissue's echogenicity. The field is convolved
    with a separable point-spread function (a Gaussian across lines times a Gaussian-modulated cosine along depth), and
    its envelope is compressed logarithmically.

    Parameters
    ----------
    maps : array-like of shape (n, n_lines, n_depths)
        Polar tissue maps.
    physics : Physics
        The scanner.
    random_state : int, Generator or None, default None
        Seed of the scatterers.

    Returns
    -------
    ndarray of shape (n, n_lines, n_depths), float32
        Intensities in [0, 1].

    Raises
    ------
    InputError
        If a tissue id is unknown or the shape is wrong.

    References
    ----------
    Tom & Sheet, arXiv:1712.07881, stage 0.
    """
    maps, rng = check_maps(maps), np.random.default_rng(random_state)
    strength = np.array([t.echogenicity for t in TISSUES], np.float32)
    frames = np.empty(maps.shape, np.float32)
    for k, tissue in enumerate(maps):
        field = strength[tissue] * rng.standard_normal(tissue.shape, np.float32)
        envelope = _envelope(_blur_across_lines(field, physics.lateral), physics.axial, physics.wavelength)
        frames[k] = _log_compress(envelope, physics.dynamic_range, physics.level)
    return frames


def _blur_across_lines(field: NDArray[np.floating], width: float) -> NDArray[np.floating]:
    """Blur along the periodic axis of scan lines; white noise keeps its variance."""
    n_lines = len(field)
    weights = _gaussian(width * n_lines / REFERENCE_SIZE, n_lines // 2)
    return convolve1d(field, weights / math.sqrt(float((weights**2).sum())), axis=0, mode="wrap")


def _envelope(field: NDArray[np.floating], length: float, wavelength: float) -> NDArray[np.floating]:
    """Magnitude of the in-phase and quadrature parts of the echo; white noise gets a mean square of 2."""
    scale = field.shape[1] / REFERENCE_SIZE
    weights = _gaussian(length * scale, field.shape[1] // 2)
    phase = 2 * np.pi * (np.arange(len(weights)) - len(weights) // 2) / (wavelength * scale)
    energy = float((weights**2).sum()) / 2
    in_phase, quadrature = (
        convolve1d(field, weights * wave / math.sqrt(energy), axis=1, mode="constant")
        for wave in (np.cos(phase), np.sin(phase))
    )
    return np.hypot(in_phase, quadrature)


def _gaussian(width: float, max_reach: int) -> NDArray[np.float64]:
    reach = max(1, min(max_reach, math.ceil(3.5 * width)))
    return np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(width, 1e-6)) ** 2)


def _log_compress(envelope: NDArray[np.floating], dynamic_range: float, level: float) -> NDArray[np.floating]:
    """Decibels scaled to [0, 1]; the root mean square of echogenicity 1 becomes `level`."""
    decibels = 20 * np.log10(np.maximum(envelope, 1e-9) / math.sqrt(2))
    return np.clip(level + decibels / dynamic_range, 0, 1)


# --- the richer simulation -------------------------------------------------------------------------------------------
# by tissue: echogenicity, attenuation in dB over the whole depth, standard deviation of the echogenicity in dB
_RICH = np.array(
    [(0, 0, 0), (0.004, 0, 0), (0.055, 3, 0.8), (0.7, 30, 1.5), (0.06, 20, 1.5), (1.0, 46, 2.5), (0.5, 34, 2.5),
     (0.1, 40, 2.0), (2.4, 650, 2.0)], np.float32,
)  # fmt: skip
_HARDNESS = np.array([0, 0, 0, 0.6, 0.3, 0.9, 0.7, 0.5, 3.0], np.float32)


def simulate_rich(maps: ArrayLike, random_state: int | np.random.Generator | None = None) -> NDArray[np.float32]:
    """Simulate frames of polar tissue maps with effects that stage 0 lacks, as a substitute for patients' frames.

    Tissues have another echogenicity than in stage 0 and are heterogeneous. Sound is attenuated, so that calcium casts
    a shadow, and edges that face the catheter reflect. The beam widens with depth, the catheter rings, the receiver
    adds noise, and the gain differs between frames.

    Parameters
    ----------
    maps : array-like of shape (n, n_lines, n_depths)
        Polar tissue maps.
    random_state : int, Generator or None, default None
        Seed.

    Returns
    -------
    ndarray of shape (n, n_lines, n_depths), float32
        Intensities in [0, 1].

    Raises
    ------
    InputError
        If a tissue id is unknown or the shape is wrong.
    """
    maps, rng = check_maps(maps), np.random.default_rng(random_state)
    return np.stack([_rich_frame(tissue, rng) for tissue in maps]).astype(np.float32)


def _rich_frame(tissue: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.floating]:
    n_lines, n_depths = tissue.shape
    scale, depth = n_depths / REFERENCE_SIZE, (np.arange(n_depths) + 0.5) / n_depths
    line_scale = n_lines / REFERENCE_SIZE
    strength, attenuation, heterogeneity = (_RICH[:, k][tissue] for k in range(3))
    coarse = _standardised(_smooth(rng.standard_normal(tissue.shape), 9 * scale))
    fine = _standardised(_smooth(rng.standard_normal(tissue.shape), 3 * scale))
    strength = strength * 10 ** (heterogeneity * (0.8 * coarse + 0.6 * fine) / 20)

    # an interface reflects where tissue is harder than what lies before it, seen from the catheter
    edge = np.maximum(np.diff(_HARDNESS[tissue], axis=1, prepend=_HARDNESS[tissue][:, :1]), 0)
    edge[:, 1:][tissue[:, :-1] == CATHETER] = 0
    reflectivity = 10 ** (3 * _standardised(_smooth(rng.standard_normal((n_lines, 1)), 6 * line_scale)) / 20)
    field = strength * rng.standard_normal(tissue.shape) + 1.6 * reflectivity * _smooth(edge, 0.6 * scale)

    loss = gaussian_filter1d(np.cumsum(attenuation, axis=1) / n_depths, 1.2 * line_scale, axis=0, mode="wrap")
    compensation = 15 * depth  # time-gain compensation: the loss in typical tissue
    field *= 10 ** ((compensation - loss) / 20)
    beams = zip((1.4, 2.6, 4.6), _beam_weights(depth), strict=True)
    echo = sum(weight * _blur_across_lines(field, width) for width, weight in beams)
    noise = rng.standard_normal(tissue.shape) * 0.013 * 10 ** (compensation / 20)
    ring = np.exp(-(((depth - 0.095) / 0.013) ** 2)) + 0.4 * np.exp(-(((depth - 0.135) / 0.012) ** 2))
    ring = ring * (1 + 0.15 * _standardised(_smooth(rng.standard_normal((n_lines, 1)), 12 * line_scale)))
    envelope = _envelope(echo + noise, 2.7, 5.0) + rng.uniform(1.2, 2.2) * np.maximum(ring, 0)
    gain = rng.normal(0, 1.2)
    return _log_compress(envelope * 10 ** (gain / 20), 48, 0.66)


def _beam_weights(depth: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Weights of a narrow, a middle and a wide beam at each depth."""
    t = np.clip(2 * depth, 0, 2)
    return [np.maximum(0, 1 - np.abs(t - k)) for k in range(3)]


def _smooth(field: NDArray[np.floating], width: float) -> NDArray[np.floating]:
    """Blur along both axes; scan lines are periodic."""
    out = gaussian_filter1d(field, width, axis=0, mode="wrap")
    return gaussian_filter1d(out, width, axis=1, mode="nearest") if field.shape[1] > 1 else out


def _standardised(field: NDArray[np.floating]) -> NDArray[np.floating]:
    return (field - field.mean()) / max(float(field.std()), 1e-9)
