"""Which flips leave images alone, and whether images are photos: found in the images, and in the labels there are."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from aaekit.augment import SYMMETRIES, Transform
from aaekit.estimators._labels import fold_of
from aaekit.labels import UNLABELLED

__all__ = ["are_photos", "find_symmetries", "gradient_histograms"]

N_IMAGES = 1000  # that are looked at
N_LABELLED = 300
N_AT_ONCE = 100  # images that are reduced at a time
SMALLEST = 16  # pixels a side; a smaller image shows too little of its orientation
SIDE = 32  # pixels, to which larger images are reduced
N_DIRECTIONS, N_CELLS = 8, 4  # of histograms of gradients
RECOGNISED = 0.8  # area under the ROC curve from which on flipped images are distinguished from originals


def are_photos(X: NDArray) -> bool:
    """Whether images fill their frame: no value is that of half of the pixels at their edges, as black around digits.

    Parameters
    ----------
    X : ndarray of shape (n, channels, height, width)
        Bytes, or numbers in [0, 1].
    """
    X = X[:: max(1, len(X) // N_IMAGES)]
    edges = np.concatenate([X[:, :, side].ravel() for side in (0, -1)] + [X[..., side].ravel() for side in (0, -1)])
    return bool(np.unique(edges, return_counts=True)[1].max() <= len(edges) / 2)


def find_symmetries(X: NDArray, y: NDArray[np.int64] | None, random_state: int) -> tuple[str, ...]:
    """The flips that leave the class of images alone, as far as can be told.

    A flip is one of them if a logistic regression on histograms of gradients hardly tells flipped images from others
    (area under the ROC curve below 0.8), and if a support vector machine that learns from flipped copies as well is not
    clearly worse at labels that are held out from it. So digits have none, photos of scenes may be flipped from left to
    right, and photos from above in all directions; but not where arrows to the left are one class and arrows to the
    right another.

    Parameters
    ----------
    X : ndarray of shape (n, channels, height, width)
        Bytes, or numbers in [0, 1].
    y : ndarray of shape (n,), optional
        Labels, -1 in unlabelled rows.
    random_state : int
        Seed of the choice of images.

    Returns
    -------
    tuple of str
        Keys of `aaekit.augment.SYMMETRIES`; none for images of less than 16 pixels a side.
    """
    h, w = X.shape[2:]
    if min(h, w) < SMALLEST or len(X) < 20:
        return ()
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    random = np.random.default_rng(random_state)
    images = _reduced(X[random.permutation(len(X))[:N_IMAGES]])
    labelled = [] if y is None else random.permutation(np.flatnonzero(y != UNLABELLED))[:N_LABELLED]
    originals, symmetries = _gradients(images), []

    @cache
    def labelled_images() -> tuple[Tensor, NDArray[np.float32], NDArray[np.bool_]]:
        """Labelled images, their gradients, and which of them a machine gets wrong without flipped copies."""
        assert y is not None
        reduced = _reduced(X[labelled])
        gradients = _gradients(reduced)
        return reduced, gradients, _held_out_mistakes(gradients, y[labelled])

    def is_harmful(flip: Transform) -> bool:
        """Whether flipped copies of labelled images make a machine clearly worse at labels that are held out."""
        if y is None:
            return False
        reduced, gradients, before = labelled_images()
        after = _held_out_mistakes(gradients, y[labelled], _gradients(flip(reduced)))
        newly_wrong, newly_right = (after & ~before).sum(), (before & ~after).sum()
        return bool(newly_wrong - newly_right > max(1.0, np.sqrt(newly_wrong + newly_right)))

    is_flipped = np.arange(len(images)) % 2 == 0
    for name, flip in SYMMETRIES.items():
        if name == "transpose" and h != w:
            continue
        flipped = _gradients(flip(images))
        linear = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=200))
        mixed = np.where(is_flipped[:, None], flipped, originals)
        decisions = cross_val_predict(linear, mixed, is_flipped, cv=5, method="decision_function")
        if roc_auc_score(is_flipped, decisions) < RECOGNISED and not is_harmful(flip):
            symmetries.append(name)
    return tuple(symmetries)


def gradient_histograms(X: NDArray, symmetries: Sequence[str] = ()) -> NDArray[np.float32]:
    """Histograms of the directions of gradients, and coarse pixels: `(n, n_features)`, means over flips of each image.

    Parameters
    ----------
    X : ndarray of shape (n, channels, height, width)
        Bytes, or numbers in [0, 1].
    symmetries : sequence of str
        The flips, keys of `aaekit.augment.SYMMETRIES`; all their combinations count.
    """
    parts = []
    for k in range(0, len(X), N_AT_ONCE):
        views = [_reduced(X[k : k + N_AT_ONCE])]
        for name in symmetries:
            views += [SYMMETRIES[name](x) for x in views]
        parts.append(np.mean([_gradients(x) for x in views], 0))
    return np.concatenate(parts)


def _held_out_mistakes(X: NDArray[np.float32], y: NDArray[np.int64], *copies: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which labels `(n,)` a support vector machine gets wrong that learns from the others, and from copies of them."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    folds, is_wrong = fold_of(y, 5), np.zeros(len(y), bool)
    for fold in range(folds.max(initial=UNLABELLED) + 1):
        train, test = folds != fold, folds == fold
        if len(np.unique(y[train])) > 1:
            rows = np.concatenate([part[train] for part in (X, *copies)])
            labels = np.tile(y[train], 1 + len(copies))
            machine = make_pipeline(StandardScaler(), SVC(C=10)).fit(rows, labels)
            is_wrong[test] = machine.predict(X[test]) != y[test]
    return is_wrong


def _reduced(X: NDArray) -> Tensor:
    """Grey images (n, 1, h, w) of at most 32 pixels a side, float32 in [0, 1]."""
    if len(X) > N_AT_ONCE:
        return torch.cat([_reduced(X[k : k + N_AT_ONCE]) for k in range(0, len(X), N_AT_ONCE)])
    x = torch.from_numpy(np.ascontiguousarray(X))
    x = (x.float() / 255 if x.dtype == torch.uint8 else x.float()).mean(1, keepdim=True)
    side = max(x.shape[2:])
    if side <= SIDE:
        return x
    h, w = (max(SMALLEST, round(n * SIDE / side)) for n in x.shape[2:])
    return F.interpolate(x, (h, w), mode="bilinear", antialias=True)


def _gradients(x: Tensor) -> NDArray[np.float32]:
    """Histograms of the directions of gradients (Dalal and Triggs, 2005), and coarse pixels: shape (n, n_features)."""
    across = F.pad(x[..., 2:] - x[..., :-2], (1, 1))
    down = F.pad(x[..., 2:, :] - x[..., :-2, :], (0, 0, 1, 1))
    direction = torch.atan2(down, across) / (2 * torch.pi) * N_DIRECTIONS
    half = N_DIRECTIONS / 2
    away = ((direction - torch.arange(N_DIRECTIONS).view(1, -1, 1, 1) + half) % N_DIRECTIONS - half).abs()
    histograms = F.adaptive_avg_pool2d((1 - away).clamp(min=0) * torch.hypot(across, down), N_CELLS).flatten(1).sqrt()
    pixels = F.adaptive_avg_pool2d(x, 2 * N_CELLS).flatten(1)
    return torch.cat([4 * F.normalize(histograms), pixels - pixels.mean(1, keepdim=True)], 1).numpy()
