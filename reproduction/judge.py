"""An independent classifier that judges which class generated rows show."""

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from aaekit import augment
from aaekit.estimators import SupervisedBaseline
from aaekit.evaluation import heldout, metrics
from aaekit.evaluation.heldout import HeldOut
from aaekit.runs.config import completed
from aaekit.runs.data import load_data


class Blurred:
    """Augmentation of images by small warps, blur and fading: decoders produce blurred and faded images, too."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.warp = augment.make("affine", shape)

    def __call__(self, x: Tensor) -> Tensor:
        x, n = self.warp(x), len(x)
        at = torch.arange(-4, 5, device=x.device)
        width = 0.02 + 2 * torch.rand(n, 1, device=x.device) * (torch.rand(n, 1, device=x.device) < 0.7)
        kernel = (-0.5 * (at / width) ** 2).exp()
        kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(x.shape[1], 0)[:, None]
        images = x.flatten(0, 1)[None]
        images = F.conv2d(images, kernel[..., None], padding=(4, 0), groups=images.shape[1])
        images = F.conv2d(images, kernel[..., None, :], padding=(0, 4), groups=images.shape[1])
        return images.view_as(x) * (0.4 + 0.6 * torch.rand(n, 1, 1, 1, device=x.device))


@cache
def judge(data: str, data_dir: str | None, labels: str = "class") -> SupervisedBaseline:
    """A classifier trained on all training labels of a named data set, with blurred and faded copies of the images.

    With labels="domain", it predicts the domain of a row instead, and is trained without blurred copies.
    """
    dataset = load_data(completed("baseline", {"data": data, "data_dir": data_dir}))
    if labels == "class":
        y, augmentation = dataset.y, Blurred(dataset.X.shape[1:])
    else:
        y, augmentation = dataset.domain, "affine"
    return SupervisedBaseline(augmentation=augmentation, max_steps=2500, random_state=1000).fit(dataset.X, y)


def recognised(judge: SupervisedBaseline, rows: np.ndarray, labels: Any) -> float:
    """Percent of the rows, images with values in [0, 1], whose predicted class is their label."""
    return 100 - metrics.error_rate(
        np.broadcast_to(labels, len(rows)), judge.predict(heldout.to_training_units(judge, rows))
    )


def error_of(judge: SupervisedBaseline, rows: HeldOut) -> float:
    """Error of the judge itself on labelled rows, in percent."""
    assert rows.y is not None
    return metrics.error_rate(rows.y, judge.predict(heldout.to_training_units(judge, rows.X)))
