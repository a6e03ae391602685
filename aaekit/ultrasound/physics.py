"""Intravascular ultrasound without a patient: tissue maps of arteries, a simple and a rich simulation, and two judges.

A *tissue map* has one code of `TISSUES` in each pixel, a *frame* one intensity in [0, 1]. Both come in one of two
geometries: *cartesian* `(n, size, size)`, as one looks at them, the catheter in the middle and the view a disc; or
*polar* `(n, n_lines, n_depths)`, as the catheter records them, a row for each scan line, depth to the right. Lengths
are given in samples of a polar frame of 256 x 256 and grow with the frame.
"""

import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, UnidentifiedImageError
from scipy.ndimage import convolve1d, gaussian_filter1d
from scipy.spatial.distance import jensenshannon
from scipy.stats import binomtest

from aaekit._files import write_bytes, write_json, write_text
from aaekit.data.formats import read_filled
from aaekit.errors import InputError, nearest

Geometry = Literal["cartesian", "polar"]
Seed = int | None | np.random.Generator
SIDES = ("a", "b")
UNIT = 256  # samples along depth, and scan lines, to which lengths refer


@dataclass(frozen=True)
class Tissue:
    """A tissue code: its name, the colour it is drawn in, and how strongly it scatters in stage 0 (1: adventitia)."""

    code: int
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
COLOURS = {t.name: t.colour for t in TISSUES}


# --- phantoms --------------------------------------------------------------------------------------------------------
def phantoms(
    n: int, size: int = 256, *, geometry: Geometry = "cartesian", plaque: bool = True, random_state: Seed = None
) -> np.ndarray:
    """Tissue maps of made-up arteries: lumen, intima, media and adventitia, most with plaque, lipid and calcium.

    Parameters
    ----------
    n : int
        How many.
    size : int, default 256
        Pixels a side, or scan lines and depths.
    geometry : "cartesian" or "polar", default "cartesian"
        The same random state gives the same arteries in both.
    plaque : bool, default True
        Whether arteries may be diseased.
    random_state : int, Generator or None, default None
        Seed.

    Returns
    -------
    ndarray of shape (n, size, size), uint8
        Codes of `TISSUES`.
    """
    random, (x, y) = np.random.default_rng(random_state), _pixels(size, geometry)
    maps = [_phantom(x, y, plaque, random) for _ in range(n)]
    return np.stack(maps) if n else np.empty((0, size, size), np.uint8)


def _pixels(size: int, geometry: str) -> tuple[np.ndarray, np.ndarray]:
    """Where pixels lie, the catheter at (0, 0) and the end of the view at distance 1."""
    _known(geometry, ("cartesian", "polar"), "geometry")
    if geometry == "polar":
        angle, depth = np.arange(size)[:, None] * 2 * np.pi / size, (np.arange(size) + 0.5) / size
        return depth * np.cos(angle), depth * np.sin(angle)
    side = (2 * np.arange(size) + 1) / size - 1
    return np.meshgrid(side, side)


def _phantom(x: np.ndarray, y: np.ndarray, plaque: bool, random: np.random.Generator) -> np.ndarray:
    """One artery at the points (x, y): contours about its centre, which is not the catheter's."""
    waves = [(k, random.normal(0, 0.035 / k), random.uniform(0, 2 * np.pi)) for k in (2, 3, 4, 5)]
    outer_radius, media, intima = random.uniform(0.48, 0.74), random.uniform(0.025, 0.04), random.uniform(0.02, 0.035)
    thick = random.uniform(0.08, 0.3) if plaque and random.random() < 0.85 else 0.0
    where, spread = random.uniform(0, 2 * np.pi), random.uniform(0.5, 3.0)

    def outer(angle: np.ndarray) -> np.ndarray:
        return outer_radius * (1 + sum((a * np.cos(k * angle + phase) for k, a, phase in waves), np.zeros_like(angle)))

    def plaque_thickness(angle: np.ndarray) -> np.ndarray:
        return thick * np.exp(spread * (np.cos(angle - where) - 1))

    around = np.linspace(-np.pi, np.pi, 180)
    room = float((outer(around) - media - intima - plaque_thickness(around)).min()) - 0.14
    drift, heading = random.uniform(0, max(0.0, min(room, 0.3))), random.uniform(0, 2 * np.pi)
    dx, dy = x - drift * np.cos(heading), y - drift * np.sin(heading)
    r, angle = np.hypot(dx, dy), np.arctan2(dy, dx)
    edge, deep = outer(angle), np.maximum(plaque_thickness(angle), 1e-9)
    inner = edge - media - deep  # where the plaque begins, behind the intima
    tissue = np.select(
        [r < inner - intima, r < inner, r < edge - media, r < edge], [LUMEN, INTIMA, FIBROUS, MEDIA], ADVENTITIA
    )
    tissue[(tissue == FIBROUS) & (deep < 0.02)] = INTIMA  # too thin to be called plaque
    share = (r - inner) / deep  # 0 where plaque begins, 1 where it ends
    if thick > 0.1:
        for code, chance, across, height, width in (
            (LIPID, 0.6, random.uniform(0.5, 0.7), random.uniform(0.25, 0.4), random.uniform(0.3, 0.8)),
            (CALCIUM, 0.65, random.uniform(0.25, 0.5), random.uniform(0.14, 0.25), random.uniform(0.15, 0.6)),
            (CALCIUM, 0.3, random.uniform(0.4, 0.75), random.uniform(0.1, 0.2), random.uniform(0.1, 0.3)),
        ):
            centre, there = where + random.normal(0, 0.5), random.random() < chance
            turn = (angle - centre + np.pi) % (2 * np.pi) - np.pi
            inside = (turn / width) ** 2 + ((share - across) / height) ** 2 < 1
            if there:
                tissue[inside & (tissue == FIBROUS)] = code
    from_catheter = np.hypot(x, y)
    tissue[from_catheter < 0.09] = CATHETER
    tissue[from_catheter > 1] = OUTSIDE
    return tissue.astype(np.uint8)


# --- geometry --------------------------------------------------------------------------------------------------------
def to_polar(images: np.ndarray, size: int = 256, *, codes: bool = False) -> np.ndarray:
    """Cartesian images as the catheter records them.

    Parameters
    ----------
    images : ndarray of shape (n, s, s)
        Square, the catheter in the middle.
    size : int, default 256
        Scan lines, and samples along each.
    codes : bool, default False
        Whether these are tissue maps: nothing is interpolated then.

    Returns
    -------
    ndarray of shape (n, size, size)
        uint8 for codes, else float32.
    """
    images = np.asarray(images)
    if images.ndim != 3 or images.shape[1] != images.shape[2]:
        raise InputError(f"expected square cartesian images (n, size, size), got {images.shape}: is geometry='polar'?")
    x, y = _pixels(size, "polar")
    middle, scale = (images.shape[1] - 1) / 2, images.shape[1] / 2
    return _sampled(images, y * scale + middle, x * scale + middle, codes, wrap=False)


def to_cartesian(images: np.ndarray, size: int = 256, *, codes: bool = False) -> np.ndarray:
    """Polar images as one looks at them: `(n, n_lines, n_depths)` becomes `(n, size, size)`, 0 outside the disc."""
    images = np.asarray(images)
    if images.ndim != 3:
        raise InputError(f"expected polar images (n, n_lines, n_depths), got {images.shape}")
    x, y = _pixels(size, "cartesian")
    r, angle = np.hypot(x, y), np.arctan2(y, x) % (2 * np.pi)
    out = _sampled(images, angle * images.shape[1] / (2 * np.pi), r * images.shape[2] - 0.5, codes, wrap=True)
    out[:, r > 1] = OUTSIDE
    return out


def resized(images: np.ndarray, height: int, width: int, *, codes: bool = False) -> np.ndarray:
    """Polar images in another number of lines and depths: means over blocks where that fits, else between samples."""
    h, w = images.shape[1:]
    if not codes and h % height == 0 and w % width == 0:
        blocks = np.asarray(images, np.float32).reshape(len(images), height, h // height, width, w // width)
        return blocks.mean((2, 4), dtype=np.float32)
    rows = (np.arange(height)[:, None] + 0.5) * h / height - 0.5
    columns = (np.arange(width) + 0.5) * w / width - 0.5
    rows, columns = np.broadcast_arrays(rows, columns)
    return _sampled(images, rows, columns, codes, wrap=True)


def _sampled(images: np.ndarray, rows: np.ndarray, columns: np.ndarray, codes: bool, wrap: bool) -> np.ndarray:
    """Images at fractional rows and columns: the nearest value, or between four; rows go round if they `wrap`."""
    h, w = images.shape[1:]

    def at(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        return images[:, i % h if wrap else i.clip(0, h - 1), j.clip(0, w - 1)]

    if codes:
        return at(np.rint(rows).astype(int), np.rint(columns).astype(int))
    i, j = np.floor(rows).astype(int), np.floor(columns).astype(int)
    u, v = (rows - i).astype(np.float32), (columns - j).astype(np.float32)
    return ((1 - u) * ((1 - v) * at(i, j) + v * at(i, j + 1)) + u * ((1 - v) * at(i + 1, j) + v * at(i + 1, j + 1))
            ).astype(np.float32)  # fmt: skip


# --- stage 0 ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Physics:
    """What stage 0 knows of a scanner.

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


def simulate(maps: np.ndarray, physics: Physics = Physics(), random_state: Seed = None) -> np.ndarray:
    """Stage 0: pseudo B-mode frames of polar tissue maps.

    Every sample holds one scatterer of random strength, scaled by its tissue's echogenicity. The field is convolved
    with a separable point-spread function, a Gaussian across lines times a Gaussian-modulated cosine along depth; the
    envelope of that is compressed logarithmically (Tom & Sheet, arXiv:1712.07881, stage 0).

    Parameters
    ----------
    maps : ndarray of shape (n, n_lines, n_depths), uint8
        Polar tissue maps.
    physics : Physics
        The scanner.
    random_state : int, Generator or None, default None
        Seed of the scatterers.

    Returns
    -------
    ndarray of shape (n, n_lines, n_depths), float32
        Intensities in [0, 1].
    """
    maps, random = check_maps(maps), np.random.default_rng(random_state)
    strength = np.array([t.echogenicity for t in TISSUES], np.float32)
    frames = np.empty(maps.shape, np.float32)
    for k, tissue in enumerate(maps):
        field = strength[tissue] * random.standard_normal(tissue.shape, np.float32)
        envelope = _envelope(_across(field, physics.lateral), physics.axial, physics.wavelength)
        frames[k] = _compressed(envelope, physics.dynamic_range, physics.level)
    return frames


def _across(field: np.ndarray, width: float) -> np.ndarray:
    """Blurred across scan lines, which go round; white noise keeps its variance."""
    lines = len(field)
    weights = _gaussian(width * lines / UNIT, lines // 2)
    return convolve1d(field, weights / math.sqrt(float((weights**2).sum())), axis=0, mode="wrap")


def _envelope(field: np.ndarray, length: float, wavelength: float) -> np.ndarray:
    """Magnitude of the echo: in phase with the pulse's cosine and in quadrature; white noise has mean square 2."""
    scale = field.shape[1] / UNIT
    weights = _gaussian(length * scale, field.shape[1] // 2)
    phase = 2 * np.pi * (np.arange(len(weights)) - len(weights) // 2) / (wavelength * scale)
    parts = []
    for wave in (np.cos(phase), np.sin(phase)):
        pulse = weights * wave
        energy = float((weights**2).sum()) / 2
        parts.append(convolve1d(field, pulse / math.sqrt(energy), axis=1, mode="constant"))
    return np.hypot(*parts)


def _gaussian(width: float, at_most: int) -> np.ndarray:
    reach = max(1, min(at_most, math.ceil(3.5 * width)))
    return np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(width, 1e-6)) ** 2)


def _compressed(envelope: np.ndarray, dynamic_range: float, level: float) -> np.ndarray:
    """Decibels on the scale from black (0) to white (1); the root mean square of echogenicity 1 lies at `level`."""
    decibels = 20 * np.log10(np.maximum(envelope, 1e-9) / math.sqrt(2))
    return np.clip(level + decibels / dynamic_range, 0, 1)


# --- the richer simulation, in the place of a patient ----------------------------------------------------------------
# echogenicity, loss in dB over the whole depth, spread of its own strength in dB: what stage 0 does not know
_RICH = np.array(
    [(0, 0, 0), (0.004, 0, 0), (0.055, 3, 0.8), (0.7, 30, 1.5), (0.06, 20, 1.5), (1.0, 46, 2.5), (0.5, 34, 2.5),
     (0.1, 40, 2.0), (2.4, 650, 2.0)], np.float32,
)  # fmt: skip


def simulate_rich(maps: np.ndarray, random_state: Seed = None) -> np.ndarray:
    """Frames of polar tissue maps by a richer physics than stage 0 has: the "real" side where no patient may be shown.

    Tissues scatter otherwise than stage 0 believes and are uneven within. Sound is lost on its way, so that calcium
    throws a shadow; edges that face the catheter reflect. The beam widens with depth, the catheter rings down, the
    receiver makes noise, and gain differs from frame to frame.

    Parameters
    ----------
    maps : ndarray of shape (n, n_lines, n_depths), uint8
        Polar tissue maps.
    random_state : int, Generator or None, default None
        Seed of all that is random.

    Returns
    -------
    ndarray of shape (n, n_lines, n_depths), float32
        Intensities in [0, 1].
    """
    maps, random = check_maps(maps), np.random.default_rng(random_state)
    return np.stack([_rich(tissue, random) for tissue in maps]).astype(np.float32)


def _rich(tissue: np.ndarray, random: np.random.Generator) -> np.ndarray:
    lines, depths = tissue.shape
    scale, depth = depths / UNIT, (np.arange(depths) + 0.5) / depths
    strength, loss, uneven = (_RICH[:, k][tissue] for k in range(3))
    cloud = _unit_spread(_smooth(random.standard_normal(tissue.shape), 9 * scale))
    fine = _unit_spread(_smooth(random.standard_normal(tissue.shape), 3 * scale))
    strength = strength * 10 ** (uneven * (0.8 * cloud + 0.6 * fine) / 20)

    # what faces the catheter and is harder than what lies before it reflects as one
    hard = np.array([0, 0, 0, 0.6, 0.3, 0.9, 0.7, 0.5, 3.0], np.float32)[tissue]
    step = np.maximum(np.diff(hard, axis=1, prepend=hard[:, :1]), 0)
    step[:, 1:][tissue[:, :-1] == CATHETER] = 0
    gloss = 10 ** (3 * _unit_spread(_smooth(random.standard_normal((lines, 1)), 6 * lines / UNIT)) / 20)
    field = strength * random.standard_normal(tissue.shape) + 1.6 * gloss * _smooth(step, 0.6 * scale)

    lost = gaussian_filter1d(np.cumsum(loss, axis=1) / depths, 1.2 * lines / UNIT, axis=0, mode="wrap")
    returned = 15 * depth  # time gain compensation: what a typical tissue would lose
    field *= 10 ** ((returned - lost) / 20)
    echo = sum(weight * _across(field, width) for width, weight in zip((1.4, 2.6, 4.6), _blend(depth), strict=True))
    noise = random.standard_normal(tissue.shape) * 0.013 * 10 ** (returned / 20)
    ring = np.exp(-(((depth - 0.095) / 0.013) ** 2)) + 0.4 * np.exp(-(((depth - 0.135) / 0.012) ** 2))
    ring = ring * (1 + 0.15 * _unit_spread(_smooth(random.standard_normal((lines, 1)), 12 * lines / UNIT)))
    envelope = _envelope(echo + noise, 2.7, 5.0) + random.uniform(1.2, 2.2) * np.maximum(ring, 0)
    gain = random.normal(0, 1.2)
    return _compressed(envelope * 10 ** (gain / 20), 48, 0.66)


def _blend(depth: np.ndarray) -> tuple[np.ndarray, ...]:
    """How much of the narrow, the middle and the wide beam there is at each depth; a mixture keeps its variance."""
    t = np.clip(2 * depth, 0, 2)
    parts = np.maximum(0, 1 - np.abs(t - 0)), np.maximum(0, 1 - np.abs(t - 1)), np.maximum(0, 1 - np.abs(t - 2))
    return parts


def _smooth(field: np.ndarray, width: float) -> np.ndarray:
    """Blurred on both axes; scan lines go round."""
    out = gaussian_filter1d(field, width, axis=0, mode="wrap")
    return gaussian_filter1d(out, width, axis=1, mode="nearest") if field.shape[1] > 1 else out


def _unit_spread(field: np.ndarray) -> np.ndarray:
    return (field - field.mean()) / max(float(field.std()), 1e-9)


# --- checks ----------------------------------------------------------------------------------------------------------
def _known(value: str, names: Sequence[str], what: str) -> None:
    if value not in names:
        raise InputError(f"{what}={value!r}: expected {' or '.join(map(repr, names))}.{nearest(value, names)}")


def check_maps(maps: Any, names: Sequence[str] | None = None) -> np.ndarray:
    """Tissue maps as uint8, each pixel a code of `TISSUES`; `names` are theirs for messages.

    Raises
    ------
    InputError
        For other codes, naming the first map that has one, and for another shape or type.
    """
    maps = np.asarray(maps)
    if maps.ndim != 3 or maps.dtype.kind not in "ui" or not maps.size:
        raise InputError(
            f"expected tissue maps (n, height, width) of whole numbers, got shape {maps.shape} of {maps.dtype}"
        )
    wrong = (maps < 0) | (maps >= len(TISSUES))
    if wrong.any():
        k = int(wrong.any((1, 2)).argmax())
        codes = ", ".join(str(c) for c in np.unique(maps[k][wrong[k]])[:5])
        raise InputError(
            f"{names[k] if names else f'map {k}'}: unknown tissue code {codes}; "
            f"expected {', '.join(f'{t.code} {t.name}' for t in TISSUES)}: recode the map"
        )
    return maps.astype(np.uint8)


def check_frames(frames: Any, names: Sequence[str] | None = None) -> np.ndarray:
    """Frames as float32 in [0, 1]; bytes are divided by 255; `names` are theirs for messages.

    Raises
    ------
    InputError
        For values outside [0, 1] or not finite, and for another shape.
    """
    frames = np.asarray(frames)
    if frames.ndim != 3 or frames.dtype.kind not in "uif" or not frames.size:
        raise InputError(f"expected frames (n, height, width) of numbers, got shape {frames.shape} of {frames.dtype}")
    if frames.dtype == np.uint8:
        return frames.astype(np.float32) / np.float32(255)
    wrong = ~((frames >= 0) & (frames <= 1)).all((1, 2))
    if wrong.any():
        k = int(wrong.argmax())
        raise InputError(
            f"{names[k] if names else f'frame {k}'}: expected bytes or intensities in [0, 1], "
            f"got {frames[k].min():.4g} ... {frames[k].max():.4g}: divide by the largest there can be"
        )
    return frames.astype(np.float32)


def check_pairs(maps: np.ndarray, frames: np.ndarray, names: Sequence[str] | None = None) -> None:
    """Hold each map against its frame.

    Raises
    ------
    InputError
        When there are not as many of the one as of the other, or their sizes differ.
    """
    if len(maps) != len(frames):
        raise InputError(
            f"expected a frame for each tissue map, got {len(maps)} maps and {len(frames)} frames: "
            "give pairs, or say that they are none with paired=False"
        )
    if maps.shape[1:] != frames.shape[1:]:
        (a, b), (c, d) = maps.shape[1:], frames.shape[1:]
        name = f"{names[0]}: " if names else ""
        raise InputError(f"{name}the tissue map is {a}x{b}, but its frame {c}x{d} pixels: scale one to the other")


# --- folders ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Folders:
    """Tissue maps and frames read from two folders of PNG files.

    Attributes
    ----------
    maps : ndarray of shape (n, height, width), uint8
    frames : ndarray of shape (m, height, width), uint8, or None
    map_names, frame_names : list of str
        File names, in the order of the arrays.
    """

    maps: np.ndarray
    frames: np.ndarray | None
    map_names: list[str]
    frame_names: list[str]


def read_folders(
    maps: str | os.PathLike[str], frames: str | os.PathLike[str] | None = None, *, paired: bool = True
) -> Folders:
    """Read tissue maps (8-bit codes, grey or with a palette) and frames (grey) from folders of PNG files.

    Parameters
    ----------
    maps, frames : path
        The folders; without frames, only maps are read.
    paired : bool, default True
        Whether a map and a frame of the same file name belong together. If not, the folders need not match.

    Raises
    ------
    InputError
        For a folder that is not there or holds no PNG, a file that is no image of the kind, files of different sizes,
        unknown tissue codes, and, if `paired`, names without partner and maps of another size than their frames.
    """
    places = _images(maps)
    codes = _stacked(places, _read_map)
    check_maps(codes, [str(p) for p in places])
    if frames is None:
        return Folders(codes, None, [p.name for p in places], [])
    others = _images(frames)
    if paired:
        a, b = {p.name for p in places}, {p.name for p in others}
        if a != b:
            lone = min(a ^ b)
            have, lack = (maps, frames) if lone in a else (frames, maps)
            raise InputError(
                f"{Path(have) / lone} has no partner {Path(lack) / lone} ({len(a ^ b)} such): "
                "give both the same names, or say that they are no pairs (--no-paired)"
            )
        for p, q, code in zip(places, others, codes, strict=True):
            check_pairs(code[None], _read_frame(q)[None], [str(p)])
    return Folders(codes, _stacked(others, _read_frame), [p.name for p in places], [p.name for p in others])


def _images(folder: str | os.PathLike[str]) -> list[Path]:
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder of PNG files, there is none")
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() == ".png")
    if not found:
        raise InputError(f"{folder}: expected PNG files in it, found none")
    return found


def _stacked(places: Sequence[Path], read: Any) -> np.ndarray:
    images = [read(p) for p in places]
    for p, image in zip(places, images, strict=True):
        if image.shape != images[0].shape:
            (a, b), (c, d) = image.shape, images[0].shape
            raise InputError(f"{p} is {a}x{b} pixels, but {places[0].name} {c}x{d}: bring all to one size")
    return np.stack(images)


def _read_map(path: Path) -> np.ndarray:
    image = _opened(path)
    if image.mode not in ("L", "P"):
        raise InputError(f"{path}: expected 8-bit tissue codes, got an image of mode {image.mode}: save it as grey")
    return np.asarray(image, np.uint8)


def _read_frame(path: Path) -> np.ndarray:
    image = _opened(path)
    if image.mode.startswith(("I", "F")):
        raise InputError(f"{path}: expected 8-bit grey values, got an image of mode {image.mode}: save it with 8 bits")
    return np.asarray(image.convert("L"), np.uint8)


def _opened(path: Path) -> Image.Image:
    try:
        image = Image.open(path)
        image.load()
        return image
    except (OSError, UnidentifiedImageError) as error:
        raise InputError(f"{path}: cannot be read as an image: {error}") from error


def write_images(folder: str | os.PathLike[str], images: np.ndarray, names: Sequence[str]) -> Path:
    """Write images `(n, height, width)` as grey PNG files: bytes as they are, floats from [0, 1].

    Returns
    -------
    Path
        The folder, made if need be.
    """
    folder = Path(folder)
    for image, name in zip(images, names, strict=True):
        write_bytes(folder / name, png(image))
    return folder


def png(image: np.ndarray) -> bytes:
    """One image as the bytes of a grey PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(_bytes(image)).save(buffer, "PNG")
    return buffer.getvalue()


def _bytes(image: np.ndarray) -> np.ndarray:
    return image if image.dtype == np.uint8 else np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)


# --- how far intensities are from real ones --------------------------------------------------------------------------
def tissue_histograms(frames: np.ndarray, maps: np.ndarray, bins: int = 64) -> dict[str, np.ndarray]:
    """Shares of the intensities of each tissue, `(bins,)` over [0, 1], by its name; tissues that are not there lack."""
    frames, maps = np.asarray(frames), np.asarray(maps)
    level = np.minimum((frames * np.float32(bins)).astype(np.int64), bins - 1)
    counts = np.bincount((maps.astype(np.int64) * bins + level).ravel(), minlength=len(TISSUES) * bins)
    rows = counts.reshape(len(TISSUES), bins)
    return {t.name: rows[t.code] / rows[t.code].sum() for t in TISSUES[1:] if rows[t.code].any()}


def tissue_divergences(
    real: np.ndarray, real_maps: np.ndarray, made: np.ndarray, made_maps: np.ndarray, bins: int = 64
) -> dict[str, float]:
    """Jensen-Shannon divergence between real and simulated intensities, tissue by tissue.

    In bits: 0 for equal distributions, 1 for those that share no intensity. Pixels outside the view do not count.

    Parameters
    ----------
    real, made : ndarray of shape (n, h, w) and (m, h', w')
        Frames in [0, 1].
    real_maps, made_maps : ndarray of the same shapes
        Their tissue maps.
    bins : int, default 64
        Of the histograms.

    Returns
    -------
    dict of str to float
        By the names of the tissues that both have, and their plain mean, "mean".

    Source: Tom & Sheet, arXiv:1712.07881, the quantitative evaluation.
    """
    p, q = tissue_histograms(real, real_maps, bins), tissue_histograms(made, made_maps, bins)
    found = {name: float(jensenshannon(p[name], q[name], base=2) ** 2) for name in p if name in q}
    if not found:
        raise InputError("expected a tissue that both the real and the simulated maps have, found none")
    return found | {"mean": float(np.mean(list(found.values())))}


# --- the visual Turing test ------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class TuringTest:
    """Pairs of frames, one real, one simulated, in an order that only the key tells.

    Attributes
    ----------
    a, b : ndarray of shape (n, height, width), uint8
        The two frames of each pair.
    real : list of str
        "a" or "b": which of them is real.
    """

    a: np.ndarray
    b: np.ndarray
    real: list[str]

    @property
    def names(self) -> list[str]:
        """What the pairs are called in files."""
        return [f"pair-{k + 1:03d}" for k in range(len(self.real))]

    def write(self, folder: str | os.PathLike[str], key: str | os.PathLike[str]) -> None:
        """Write a PNG for each frame and an empty ``answers.csv`` into a folder, and the key elsewhere.

        Raises
        ------
        InputError
            When the key would lie within the folder that the viewer gets, or either holds something already.
        """
        folder, key = Path(folder), Path(key)
        if folder.resolve() in key.resolve().parents:
            raise InputError(f"{key}: the key must lie outside {folder}, which the viewer gets; choose another place")
        if key.exists() or (folder.exists() and any(folder.iterdir())):
            raise InputError(
                f"{key if key.exists() else folder} exists already, perhaps with answers: choose another place"
            )
        for side, frames in zip(SIDES, (self.a, self.b), strict=True):
            write_images(folder, frames, [f"{name}-{side}.png" for name in self.names])
        blank = "pair,real\n" + "".join(f"{name},\n" for name in self.names)
        write_text(folder / "answers.csv", blank)
        write_json(key, {"real": dict(zip(self.names, self.real, strict=True))})


def turing_test(real: np.ndarray, made: np.ndarray, random_state: Seed = None) -> TuringTest:
    """Pair real frames with simulated ones `(n, height, width)` of the same maps, sides drawn by a fair coin."""
    real, made = np.asarray(real), np.asarray(made)
    if real.shape != made.shape or real.ndim != 3 or not len(real):
        raise InputError(f"expected as many real as simulated frames of one size, got {real.shape} and {made.shape}")
    first = np.random.default_rng(random_state).random(len(real)) < 0.5
    pick = first[:, None, None]
    x, y = _bytes(real), _bytes(made)
    return TuringTest(np.where(pick, x, y), np.where(pick, y, x), [SIDES[not f] for f in first])


@dataclass(frozen=True)
class TuringScore:
    """What came of a visual Turing test.

    Attributes
    ----------
    n : int
        Pairs that were judged.
    correct : int
        Of these, how often the real frame was found.
    share : float
        `correct / n`; chance is 0.5.
    low, high : float
        Exact (Clopper and Pearson) interval of the chance of finding it.
    passed : bool
        Whether 0.5 lies within the interval: the viewer is at chance, as far as n pairs can tell.
    """

    n: int
    correct: int
    share: float
    low: float
    high: float
    passed: bool


def turing_score(n: int, correct: int, confidence: float = 0.95) -> TuringScore:
    """Share correct of `n` pairs with its exact binomial interval (Tom & Sheet: experts scored about 0.5).

    Raises
    ------
    InputError
        When no pair was judged, or the numbers do not fit.
    """
    if not n >= 1 or not 0 <= correct <= n or not 0 < confidence < 1:
        raise InputError(f"expected 0 <= correct <= n, n >= 1, 0 < confidence < 1, got {correct}, {n}, {confidence}")
    found = binomtest(correct, n).proportion_ci(confidence, method="exact")
    return TuringScore(
        n, correct, correct / n, float(found.low), float(found.high), bool(found.low <= 0.5 <= found.high)
    )


def score_answers(
    answers: str | os.PathLike[str], key: str | os.PathLike[str], confidence: float = 0.95
) -> TuringScore:
    """Score a viewer's ``answers.csv`` (columns pair and real, which is a or b) by the key.

    Pairs left blank do not count.

    Raises
    ------
    InputError
        For a missing or damaged file, a pair that the key does not know or that is answered twice, and an answer that
        is neither a nor b.
    """
    truth = _read_key(Path(key))
    said: dict[str, str] = {}
    for line, row in enumerate(read_filled(Path(answers), ("pair", "real")), 2):
        pair, side = ((row[name] or "").strip() for name in ("pair", "real"))
        if pair not in truth:
            raise InputError(f"{answers}, line {line}: the key has no pair {pair!r}.{nearest(pair, truth)}")
        if pair in said:
            raise InputError(f"{answers}, line {line}: {pair} is answered twice: keep one")
        if side.lower() not in (*SIDES, ""):
            raise InputError(f"{answers}, line {line}: expected a or b as the real one of {pair}, got {side!r}")
        said[pair] = side.lower()
    judged = {pair: side for pair, side in said.items() if side}
    if not judged:
        raise InputError(f"{answers}: no pair is answered: write a or b into the column 'real'")
    return turing_score(len(judged), sum(truth[pair] == side for pair, side in judged.items()), confidence)


def _read_key(path: Path) -> Mapping[str, str]:
    try:
        real = json.loads(path.read_text(encoding="utf-8"))["real"]
        if not isinstance(real, dict) or not real or not set(real.values()) <= set(SIDES):
            raise ValueError("it does not name a or b for each pair")
        return real
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: cannot be read as the key of a Turing test: {error}") from error
