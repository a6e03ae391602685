"""A classifier on top of a fitted autoencoder: system S4."""

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import torch
from pydantic import Field
from sklearn.base import clone
from torch import Tensor, nn

from aaekit import losses
from aaekit.core.loop import Callback
from aaekit.core.phase import Phase, Step
from aaekit.errors import InputError
from aaekit.estimators._base import UNLABELLED, Classifier, EmaDecay, RatesOverTime, json_value
from aaekit.estimators._hyperparameters import Rate, Share, hyperparameters
from aaekit.estimators.autoencoder import AdversarialAutoencoder, Autoencoder
from aaekit.nn.encoder import Code


@hyperparameters
class PretrainedClassifier(Classifier):
    """The encoder of an autoencoder, a linear layer on its code z, and cross entropy on the labelled rows.

    Two stages: first an autoencoder learns from all rows, then its encoder learns to classify, end to end or, `frozen`,
    only the new layer (Sheet, *Deep Learning for Visual Computing* (NPTEL), lecture 55). The networks are those of the
    autoencoder; the parameters here are about the second stage.

    Attributes
    ----------
    autoencoder_ : Autoencoder
        The fitted autoencoder that it started from (not saved with the classifier).
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    networks_ : torch.nn.ModuleDict
        "encoder" and "head".
    history_ : list of dict
        Losses, rates and times of the second stage, epoch by epoch.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> codes = AdversarialAutoencoder(latent_dim=16, max_steps=30, hidden=(64,), random_state=0).fit(X / 16)
    >>> PretrainedClassifier(autoencoder=codes, max_steps=30, random_state=0).fit(X / 16, y).predict(X[:3] / 16).shape
    (3,)
    """

    autoencoder: Annotated[
        str | Autoencoder | None,
        Field(description="an autoencoder (trained on all rows first, unless it is fitted), a run directory or a saved "
              "model; none trains an AdversarialAutoencoder by the parameters of the networks here"),
    ] = None  # fmt: skip
    frozen: Annotated[bool, Field(description="leave the encoder as it is and train the linear layer alone")] = False
    adversarial: Annotated[
        bool, Field(description="without a given autoencoder: match its codes to the prior; else a plain one")
    ] = True
    latent_dim: Annotated[int, Field(ge=1, description="without a given autoencoder: dimensions of its code")] = 100
    pretraining_epochs: Annotated[int, Field(ge=1, description="without a given autoencoder: its epochs")] = 50
    dropout: Annotated[Share, Field(description="without a given autoencoder: share of hidden units dropped")] = 0.25
    classification_rate: Annotated[Rate, Field(description="learning rate of the second stage")] = 1e-3
    momentum: Annotated[Share, Field(description="momentum of SGD, or beta_1 of Adam")] = 0.9
    learning_rate_schedule: RatesOverTime = "cosine"
    ema_decay: EmaDecay = 0.995

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        callbacks: Sequence[Callback] = (),
        eval_set: tuple[Any, Any] | None = None,
    ) -> Self:
        """Train the autoencoder on all rows, unless a fitted one was given, then the classifier on the labelled ones.

        Parameters and errors are those of `SemiSupervisedAAE.fit`; besides, InputError when the given autoencoder was
        fitted on rows of another shape, is not fitted and of a kind that needs more than rows, or cannot be read.
        `callbacks` are told of the second stage.
        """
        _, codes = self._learn_rows_and_labels(X, y)
        self.autoencoder_ = self._pretrained(X)
        its, ours = self.autoencoder_.shape_, self.shape_
        if math.prod(its) != math.prod(ours) or (self.as_images_ and its != ours):
            raise InputError(
                f"the autoencoder was fitted on rows of shape {its}, these are {ours}: give it rows like its own, "
                "or another autoencoder"
            )
        for name in (
            "shape_",
            "unit_range_",
            "center_",
            "scale_",
            "data_radius_",
        ):  # its rows, as it was taught to see them
            setattr(self, name, getattr(self.autoencoder_, name))
        rows = self._as_in_fit(X)
        self._describe()
        labelled = codes != UNLABELLED
        return self._fit(rows[labelled], codes[labelled], callbacks, eval_set)

    def _pretrained(self, X: Any) -> Autoencoder:
        """The fitted autoencoder to start from."""
        given = self.autoencoder
        if isinstance(given, str):
            path = Path(given)
            return Autoencoder.load(path / "model.safetensors" if path.is_dir() else path)
        if given is None:
            shared = {k: v for k, v in self.get_params(deep=False).items() if k in _SHARED}
            given = AdversarialAutoencoder(**shared, max_epochs=self.pretraining_epochs)
        if hasattr(given, "networks_"):
            return given
        if not isinstance(given, AdversarialAutoencoder):
            raise InputError(
                f"autoencoder: a {type(given).__name__} is not trained here: fit it first, or give an "
                "AdversarialAutoencoder"
            )
        fresh = clone(given)
        assert isinstance(fresh, AdversarialAutoencoder)  # as a clone is; type checkers do not know
        return fresh.fit(X)

    def _describe(self) -> None:
        """Keep what it takes to build the encoder again."""
        its = self.autoencoder_.get_params(deep=False)
        plain = {k: json_value(its[k]) for k in _OF_ENCODER}
        self.stem_ = {k: v for k, v in plain.items() if v is not NotImplemented}
        self.stem_ |= {"latent_dim": self.autoencoder_.latent_dim, "posterior": self.autoencoder_.posterior}
        encoder = self.autoencoder_.networks_["encoder"]
        self.stem_["n_classes"] = encoder.head_y.out_features if isinstance(encoder.head_y, nn.Linear) else 0

    def _auto_steps(self, n_rows: int) -> int:
        return max(500, 10 * n_rows // 100)  # 10 epochs, as in lecture 55

    def _networks(self) -> dict[str, nn.Module]:
        if hasattr(self, "autoencoder_"):
            encoder = copy.deepcopy(self.autoencoder_.networks_["encoder"])
        else:
            alike = AdversarialAutoencoder(**{k: self.stem_.get(k, getattr(self, k)) for k in _OF_ENCODER})
            alike.shape_ = self.shape_
            encoder = alike._encoder(self.stem_["latent_dim"], self.stem_["n_classes"], self.stem_["posterior"])
        return {"encoder": encoder, "head": nn.Linear(self.stem_["latent_dim"], len(self.classes_))}

    def _phases(self, nets: nn.ModuleDict) -> list[Phase]:
        moves = (nets["head"],) if self.frozen else (nets["encoder"], nets["head"])
        return [Phase("classification", losses.classification_loss, moves, self.classification_rate, self.momentum)]

    def _recalibrate_batch_norm(self, nets: nn.ModuleDict, X: Tensor) -> None:
        if not self.frozen:
            super()._recalibrate_batch_norm(nets, X)

    def _classify(self, nets: nn.ModuleDict, x: Tensor) -> Code:
        """The code of rows, and the logits that the linear layer makes of it."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            z = nets["encoder"](x).z
        return Code(z, nets["head"](z))

    def _sources(self, X: Tensor, y: np.ndarray | None) -> dict[str, list[Tensor]]:
        assert y is not None
        return {"labelled": [X, torch.from_numpy(y)]}

    def _make_step(self, nets: nn.ModuleDict, batch: dict[str, list[Tensor]], together: bool) -> Step:
        x, y = batch["labelled"]
        if self.frozen:
            nets["encoder"].eval()
        rows, labels = {"labelled": self._floats(x)}, {"labelled": y}
        see = lambda rows: self._classify(nets, rows)
        return Step(rows, see, labels=labels, corrupt=self._corrupt, together=together)

    def _probabilities(self, nets: nn.ModuleDict, rows: np.ndarray | Tensor) -> np.ndarray:
        device = next(nets.parameters()).device
        return self._in_batches(lambda x: self._classify(nets, x.to(device)).y, rows)

    def _more_facts(self) -> dict[str, Any]:
        return {**super()._more_facts(), "stem_": self.stem_}


_OF_ENCODER = ("backbone", "hidden", "channels", "dropout", "batch_norm")
_SHARED = (*_OF_ENCODER, "image_shape", "adversarial", "latent_dim", "precision", "device", "random_state", "verbose")
