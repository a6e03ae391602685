"""Printed digits, drawn in the typefaces that matplotlib installs, in the format of MNIST."""

from pathlib import Path
from typing import Any

import numpy as np

from aaekit._extras import require
from aaekit.data.checks import check_whole
from aaekit.data.formats import Arrays
from aaekit.errors import InputError

REGULAR = (
    *("DejaVuSans", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSansMono-Oblique"),
    *("DejaVuSerif", "DejaVuSerif-Italic", "STIXGeneral", "STIXGeneralItalic"),
    *("cmr10", "cmss10", "cmti10", "cmtt10"),
)
BOLD = (
    *("DejaVuSans-Bold", "DejaVuSans-BoldOblique", "DejaVuSansMono-Bold", "DejaVuSansMono-BoldOblique"),
    *("DejaVuSerif-Bold", "DejaVuSerif-BoldItalic", "STIXGeneralBol", "STIXGeneralBolIta", "cmb10"),
)
FACES = REGULAR + BOLD
SIDE, EM, FINER = 28, 64, 2  # pixels of a row, of the type it is drawn from, and drawn per pixel of a row
CORNERS = (0, 0, SIDE, SIDE), (0, SIDE, SIDE, 0)  # x and y, in the order of Pillow's quads


def read_fonts(paths: list[Path], *, n_rows: int = 20_000, random_state: int = 0) -> Arrays:
    """Draw digits in 21 typefaces: DejaVu Sans, Mono and Serif, STIX General and Computer Modern.

    Each row has a typeface (upright or italic, light or bold) and a stroke, width, slant, size and position drawn at
    random. As in MNIST, a digit fills a box of about 20x20, and its centre of mass is within a pixel of the middle of
    28x28. The classes are equally frequent. Test rows are drawn in the same typefaces with other random numbers, so
    they measure how well new drawings are classified, not new typefaces. The same seed gives the same rows with the
    same versions of matplotlib and Pillow.

    Parameters
    ----------
    n_rows : int, default=20_000
        Number of training rows, at least 10; there are a fifth as many test rows.
    random_state : int, default=0
        Seed.
    """
    require("matplotlib", extra="plots")
    require("PIL", extra="data")
    n_rows = check_whole(n_rows, 10, "n_rows")
    random_state = check_whole(random_state, 0, "random_state")
    train, test = (np.random.default_rng([random_state, part]) for part in range(2))
    return *_drawn(n_rows, train), *_drawn(max(10, n_rows // 5), test)


def _drawn(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw (n, 1, 28, 28) uint8 and their labels."""
    y = rng.permutation(np.arange(n) % 10)
    face = rng.integers(len(FACES), size=n)
    stroke = rng.integers(np.where(face < len(REGULAR), 4, 2))  # more would close the holes of bold digits
    kinds, kind_of = np.unique(np.stack([y, face, stroke]), axis=1, return_inverse=True)
    order = np.argsort(kind_of.ravel(), kind="stable")
    ends = np.searchsorted(kind_of.ravel()[order], np.arange(1, kinds.shape[1]))
    X = np.empty((n, 1, SIDE, SIDE), dtype=np.uint8)
    for (digit, which, thick), rows in zip(kinds.T, np.split(order, ends), strict=True):
        X[rows, 0] = _placed(_glyph(FACES[which], str(digit), int(thick)), len(rows), rng)
    return X, y


def _placed(glyph: Any, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a glyph into `n` rows (n, 28, 28), each with another width, slant, size and position."""
    from PIL import Image

    size, width, slant = (rng.uniform(low, high, n) for low, high in ((17, 20), (0.8, 1.2), (-0.25, 0.25)))
    middle = (SIDE + 1) / 2 + rng.uniform(-0.75, 0.75, (2, n))  # MNIST's is the middle of the pixel (14, 14)
    ink = np.asarray(glyph)
    y, x = np.nonzero(ink)
    x_mean, y_mean = np.average(np.stack([x, y]) + 0.5, axis=1, weights=ink[y, x])
    # a point (x, y) of the glyph comes to (width x - slant y, y), times `scale`, about the centre of mass
    scale = size / np.maximum(np.ptp(np.outer(width, x) - np.outer(slant, y), axis=1), np.ptp(y))
    right, down = (np.array(corners)[:, None] - m for corners, m in zip(CORNERS, middle, strict=True))
    right, down = (right + slant * down) / (scale * width) + x_mean, down / scale + y_mean
    quads = np.stack([right, down], axis=1).reshape(8, n).T
    fine = FINER * SIDE
    mesh = [((0, i * fine, fine, (i + 1) * fine), tuple(quad)) for i, quad in enumerate(quads.tolist())]
    finer = glyph.transform((fine, n * fine), Image.Transform.MESH, mesh, Image.Resampling.BILINEAR)
    return np.asarray(finer.reduce(FINER)).reshape(n, SIDE, SIDE)


def _glyph(face: str, digit: str, stroke: int) -> Any:
    """Draw a digit, white on black, with a margin."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{face}.ttf"
    try:
        # Raqm, the other layout engine, is not in every build of Pillow
        font = ImageFont.truetype(str(path), EM, layout_engine=ImageFont.Layout.BASIC)
    except OSError as error:
        raise InputError(f"{path}: expected a typeface of matplotlib, got none ({error}): reinstall it") from error
    image = Image.new("L", (2 * EM, 2 * EM))
    ImageDraw.Draw(image).text((EM // 2, EM // 2), digit, fill=255, font=font, stroke_width=stroke)
    return image
