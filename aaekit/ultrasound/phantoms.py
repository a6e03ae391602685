"""Phantoms: random tissue maps of arteries, healthy or with plaque."""

import numpy as np
from numpy.typing import NDArray

from aaekit.ultrasound.geometry import Geometry, pixel_coordinates
from aaekit.ultrasound.tissues import ADVENTITIA, CALCIUM, CATHETER, FIBROUS, INTIMA, LIPID, LUMEN, MEDIA, OUTSIDE


def make_phantoms(
    n: int,
    size: int = 256,
    *,
    geometry: Geometry = "cartesian",
    plaque: bool = True,
    random_state: int | np.random.Generator | None = None,
) -> NDArray[np.uint8]:
    """Draw tissue maps of random arteries: lumen, intima, media, adventitia, and in most of them plaque.

    Parameters
    ----------
    n : int
        Number of arteries.
    size : int, default 256
        Pixels per side, or number of scan lines and depths.
    geometry : "cartesian" or "polar", default "cartesian"
        The same random state gives the same arteries in both.
    plaque : bool, default True
        Whether arteries may be diseased: fibrous plaque with lipid or calcium.
    random_state : int, Generator or None, default None
        Seed.

    Returns
    -------
    ndarray of shape (n, size, size), uint8
        Ids of `TISSUES`.

    Raises
    ------
    InputError
        If the geometry is unknown.
    """
    rng, (x, y) = np.random.default_rng(random_state), pixel_coordinates(size, geometry)
    maps = [_phantom(x, y, plaque, rng) for _ in range(n)]
    return np.stack(maps) if n else np.empty((0, size, size), np.uint8)


def _phantom(
    x: NDArray[np.float64], y: NDArray[np.float64], plaque: bool, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """One artery at the points (x, y); the catheter is not at the artery's centre."""
    waves = [(k, rng.normal(0, 0.035 / k), rng.uniform(0, 2 * np.pi)) for k in (2, 3, 4, 5)]
    outer_radius, media, intima = rng.uniform(0.48, 0.74), rng.uniform(0.025, 0.04), rng.uniform(0.02, 0.035)
    thickness = rng.uniform(0.08, 0.3) if plaque and rng.random() < 0.85 else 0.0
    plaque_angle, concentration = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 3.0)

    def outer(angle: NDArray[np.float64]) -> NDArray[np.float64]:
        return outer_radius * (1 + sum((a * np.cos(k * angle + phase) for k, a, phase in waves), np.zeros_like(angle)))

    def plaque_thickness(angle: NDArray[np.float64]) -> NDArray[np.float64]:
        return thickness * np.exp(concentration * (np.cos(angle - plaque_angle) - 1))

    angles = np.linspace(-np.pi, np.pi, 180)
    room = float((outer(angles) - media - intima - plaque_thickness(angles)).min()) - 0.14
    offset, heading = rng.uniform(0, max(0.0, min(room, 0.3))), rng.uniform(0, 2 * np.pi)
    dx, dy = x - offset * np.cos(heading), y - offset * np.sin(heading)
    r, angle = np.hypot(dx, dy), np.arctan2(dy, dx)
    edge, depth = outer(angle), np.maximum(plaque_thickness(angle), 1e-9)
    inner = edge - media - depth  # where the plaque begins, behind the intima
    tissue = np.select(
        [r < inner - intima, r < inner, r < edge - media, r < edge], [LUMEN, INTIMA, FIBROUS, MEDIA], ADVENTITIA
    )
    tissue[(tissue == FIBROUS) & (depth < 0.02)] = INTIMA  # too thin to be called plaque
    position = (r - inner) / depth  # 0 where the plaque begins, 1 where it ends
    if thickness > 0.1:
        for tissue_id, probability, centre, height, width in (
            (LIPID, 0.6, rng.uniform(0.5, 0.7), rng.uniform(0.25, 0.4), rng.uniform(0.3, 0.8)),
            (CALCIUM, 0.65, rng.uniform(0.25, 0.5), rng.uniform(0.14, 0.25), rng.uniform(0.15, 0.6)),
            (CALCIUM, 0.3, rng.uniform(0.4, 0.75), rng.uniform(0.1, 0.2), rng.uniform(0.1, 0.3)),
        ):
            centre_angle, present = plaque_angle + rng.normal(0, 0.5), rng.random() < probability
            turn = (angle - centre_angle + np.pi) % (2 * np.pi) - np.pi
            inside = (turn / width) ** 2 + ((position - centre) / height) ** 2 < 1
            if present:
                tissue[inside & (tissue == FIBROUS)] = tissue_id
    from_catheter = np.hypot(x, y)
    tissue[from_catheter < 0.09] = CATHETER
    tissue[from_catheter > 1] = OUTSIDE
    return tissue.astype(np.uint8)
