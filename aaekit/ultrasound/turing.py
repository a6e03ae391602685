"""The visual Turing test: pairs of frames, one real and one simulated, and its scoring."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aaekit._files import read_json, write_json, write_text
from aaekit.data.formats import read_filled
from aaekit.errors import InputError, nearest
from aaekit.evaluation.metrics import exact_interval
from aaekit.ultrasound.images import read_frames, to_bytes, write_images

SIDES = ("a", "b")
ANSWERS = "answers.csv"  # for the viewer to fill in


@dataclass(frozen=True)
class TuringTest:
    """Pairs of frames, one real and one simulated, in random order.

    Attributes
    ----------
    a, b : ndarray of shape (n, height, width), uint8
        The two frames of each pair.
    real : list of str
        "a" or "b": the real frame of each pair.
    """

    a: NDArray[np.uint8]
    b: NDArray[np.uint8]
    real: list[str]

    @property
    def names(self) -> list[str]:
        """Names of the pairs in files."""
        return [f"pair-{k + 1:03d}" for k in range(len(self.real))]

    def write(self, folder: str | os.PathLike[str], key: str | os.PathLike[str]) -> None:
        """Write the frames as PNG files and an empty ``answers.csv`` into a folder, and the key elsewhere.

        Parameters
        ----------
        folder : path
            Folder for the viewer; it must be empty or not exist.
        key : path
            File for the correct answers; it must lie outside of the folder and not exist.

        Raises
        ------
        InputError
            If the key lies inside the folder, or either of them holds something.
        """
        folder, key = Path(folder), Path(key)
        if folder.resolve() in key.resolve().parents:
            raise InputError(f"expected a key outside of {folder}, which the viewer gets, got {key}: choose another")
        if key.exists() or (folder.exists() and any(folder.iterdir())):
            raise InputError(
                f"{key if key.exists() else folder} exists already, perhaps with answers: choose another path"
            )
        for side, frames in zip(SIDES, (self.a, self.b), strict=True):
            write_images(folder, frames, [f"{name}-{side}.png" for name in self.names])
        write_text(folder / ANSWERS, "pair,real\n" + "".join(f"{name},\n" for name in self.names))
        write_json(key, {"real": dict(zip(self.names, self.real, strict=True))})


def turing_test(
    real: ArrayLike, simulated: ArrayLike, random_state: int | np.random.Generator | None = None
) -> TuringTest:
    """Pair real with simulated frames in random order.

    Parameters
    ----------
    real, simulated : array-like of shape (n, height, width)
        Bytes, or intensities in [0, 1]; frames k of both sides show the same tissue map.
    random_state : int, Generator or None, default None
        Seed of the fair coin that decides the order of each pair.

    Returns
    -------
    TuringTest

    Raises
    ------
    InputError
        If the shapes differ or there is no frame.
    """
    real, simulated = np.asarray(real), np.asarray(simulated)
    if real.shape != simulated.shape or real.ndim != 3 or not len(real):
        raise InputError(
            f"expected as many real as simulated frames of one size, got {real.shape} and {simulated.shape}"
        )
    real_first = np.random.default_rng(random_state).random(len(real)) < 0.5
    mask = real_first[:, None, None]
    x, y = to_bytes(real), to_bytes(simulated)
    return TuringTest(np.where(mask, x, y), np.where(mask, y, x), [SIDES[not first] for first in real_first])


def key_of(folder: Path) -> Path:
    """Where the key of the pairs in a folder is by default."""
    return folder.with_name(f"{folder.name}-key.json")


def read_pairs(folder: str | os.PathLike[str], key: str | os.PathLike[str] | None = None) -> TuringTest:
    """Read what `TuringTest.write` wrote.

    Parameters
    ----------
    folder : path
        The folder for the viewer.
    key : path, optional
        File of the correct answers; by default ``FOLDER-key.json`` beside the folder.

    Returns
    -------
    TuringTest

    Raises
    ------
    InputError
        If a file is missing or damaged, or pictures differ in size.
    """
    folder = Path(folder).resolve()
    real = _read_key(key_of(folder) if key is None else Path(key))
    a, b = np.split(read_frames([folder / f"{name}-{side}.png" for side in SIDES for name in real]), 2)
    return TuringTest(a, b, list(real.values()))


@dataclass(frozen=True)
class TuringScore:
    """Result of a visual Turing test.

    Attributes
    ----------
    n : int
        Number of answered pairs.
    correct : int
        Number of pairs whose real frame was identified.
    share : float
        `correct / n`; 0.5 is chance.
    low, high : float
        Exact (Clopper-Pearson) confidence interval of the probability of a correct answer.
    passed : bool
        Whether the interval contains 0.5: the viewer is not distinguishable from chance with n pairs.
    """

    n: int
    correct: int
    share: float
    low: float
    high: float
    passed: bool


def turing_score(n: int, correct: int, confidence: float = 0.95) -> TuringScore:
    """Share of correct answers with its exact binomial confidence interval.

    Parameters
    ----------
    n : int
        Number of answered pairs.
    correct : int
        Number of correct answers.
    confidence : float, default 0.95
        Confidence level of the interval.

    Returns
    -------
    TuringScore

    Raises
    ------
    InputError
        Unless 0 <= correct <= n, n >= 1 and 0 < confidence < 1.

    References
    ----------
    Tom & Sheet, arXiv:1712.07881: experts scored about 0.5.
    """
    if not n >= 1 or not 0 <= correct <= n or not 0 < confidence < 1:
        raise InputError(f"expected 0 <= correct <= n, n >= 1, 0 < confidence < 1, got {correct}, {n}, {confidence}")
    low, high = exact_interval(correct, n, confidence)
    return TuringScore(n, correct, correct / n, low, high, low <= 0.5 <= high)


def score_answers(
    answers: str | os.PathLike[str], key: str | os.PathLike[str], confidence: float = 0.95
) -> TuringScore:
    """Score a viewer's answers by the key.

    Parameters
    ----------
    answers : path
        CSV file with the columns pair and real ("a", "b", or empty for pairs that do not count).
    key : path
        File that `TuringTest.write` wrote.
    confidence : float, default 0.95
        Confidence level of the interval.

    Returns
    -------
    TuringScore

    Raises
    ------
    InputError
        If a file is missing or damaged, a pair is unknown or answered twice, an answer is neither a nor b, or no pair
        is answered.
    """
    correct = _read_key(Path(key))
    chosen: dict[str, str] = {}
    for line, row in enumerate(read_filled(Path(answers), ("pair", "real")), 2):
        pair, side = ((row[name] or "").strip() for name in ("pair", "real"))
        if pair not in correct:
            raise InputError(
                f"{answers}, line {line}: expected a pair of the key, got {pair!r}{nearest(pair, correct)}"
            )
        if pair in chosen:
            raise InputError(f"{answers}, line {line}: expected one answer to {pair}, got two: remove one")
        if side.lower() not in (*SIDES, ""):
            raise InputError(f"{answers}, line {line}: expected a or b as the real frame of {pair}, got {side!r}")
        chosen[pair] = side.lower()
    chosen = {pair: side for pair, side in chosen.items() if side}
    if not chosen:
        raise InputError(f"{answers}: expected answers, got none: write a or b into the column 'real'")
    return turing_score(len(chosen), sum(correct[pair] == side for pair, side in chosen.items()), confidence)


def _read_key(path: Path) -> Mapping[str, str]:
    advice = "name the file that was written with the frames"
    try:
        real = read_json(path, "the key of a Turing test", dict[str, dict[str, str]], advice).get("real")
    except FileNotFoundError:
        raise InputError(f"{path}: expected the key of a Turing test, got no such file: {advice}") from None
    if not real or not set(real.values()) <= set(SIDES):
        raise InputError(f"{path}: expected a or b for each pair, got a file that does not say it: {advice}")
    return real
