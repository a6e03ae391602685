"""A classifier on top of a fitted autoencoder (Sheet, *Deep Learning for Visual Computing*, lecture 55)."""

import copy
import math
from functools import partial
from typing import Annotated, Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from torch import Tensor, nn

from aaekit import losses
from aaekit.core.phase import Phase
from aaekit.errors import InputError
from aaekit.estimators._autoencoder import Autoencoder
from aaekit.estimators._base import Sources, by_view, views, with_noise
from aaekit.estimators._building import new_encoder
from aaekit.estimators._classifier import Classifier, ClassWeight
from aaekit.estimators._fitting import check_parameters, initialised, rows_per_batch
from aaekit.estimators._hyperparameters import Positive, hyperparameters
from aaekit.estimators._io import json_value, model_file
from aaekit.estimators._plan import DataSummary, Plan
from aaekit.estimators._rows import RowScaler
from aaekit.estimators._sklearn import clone
from aaekit.estimators.autoencoder import AdversarialAutoencoder
from aaekit.nn.encoder import Code
from aaekit.nn.networks import ClassifierNetworks
from aaekit.nn.step import EncoderStep

__all__ = ["PretrainedClassifier"]

OF_ENCODER = ("backbone", "hidden", "dropout", "batch_norm")
SHARED = (*OF_ENCODER, "image_shape", "adversarial", "latent_dim", "precision", "device", "random_state", "verbose")


@hyperparameters
class PretrainedClassifier(Classifier[ClassifierNetworks]):
    """The encoder of an autoencoder, a linear layer on its code z, and cross entropy on the labelled rows.

    Two stages: first an autoencoder learns from all rows, then its encoder learns to classify, end to end or, `frozen`,
    only the new layer (Sheet, *Deep Learning for Visual Computing* (NPTEL), lecture 55). The networks are those of the
    autoencoder; the parameters here are about the second stage.

    Attributes
    ----------
    autoencoder_ : Autoencoder
        The fitted autoencoder of the first stage (not saved with the classifier).
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    plan_ : Plan
        What every "auto" stood for, of the second stage.
    networks_ : ClassifierNetworks
        encoder and head.
    history_ : list of dict
        Losses, learning rates and times of the second stage, epoch by epoch.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> codes = AdversarialAutoencoder(latent_dim=16, max_steps=30, hidden=(64,), random_state=0).fit(X / 16)
    >>> PretrainedClassifier(autoencoder=codes, max_steps=30, random_state=0).fit(X / 16, y).predict(X[:3] / 16).shape
    (3,)
    """

    autoencoder: Annotated[
        str | Autoencoder[Any] | None,
        "Networks",
        Field(
            description="an autoencoder (trained on all rows first, unless it is fitted), a run directory or a saved "
            "model; none trains an AdversarialAutoencoder with the parameters of the networks here"
        ),
    ] = None
    frozen: Annotated[
        bool, "Networks", Field(description="leave the encoder as it is and train the linear layer alone")
    ] = False
    class_weight: ClassWeight = None
    adversarial: Annotated[
        bool,
        "Codes and priors",
        Field(description="without a given autoencoder: match its codes to the prior; else a plain one"),
    ] = True
    latent_dim: Annotated[
        Positive, "Codes and priors", Field(description="without a given autoencoder: dimensions of its code")
    ] = 100
    pretraining_epochs: Annotated[
        Positive, "Training", Field(description="without a given autoencoder: epochs of its training")
    ] = 50
    dropout = 0.25
    optimizer = ("adam", 0.9)
    learning_rate_schedule = "cosine"
    ema_decay = 0.995
    _learns_from_labelled_only = True

    def plan(self, data: DataSummary) -> Plan:
        """What every "auto" stands for; 10 epochs as in lecture 55."""
        batch_sizes = {"labelled": rows_per_batch(self.batch_size, data.n_rows)}
        n_steps = max(500, 10 * data.n_rows // 100)
        return self._planned(data, n_steps, batch_sizes=batch_sizes, n_classes=data.n_classes)

    def networks(self, plan: Plan) -> ClassifierNetworks:
        """The encoder of the autoencoder and a new linear layer."""
        if hasattr(self, "autoencoder_"):
            encoder = copy.deepcopy(self.autoencoder_.networks_.encoder)
        else:  # to be loaded
            stem = self.stem_
            parameters = {k: stem["parameters"].get(k, getattr(self, k)) for k in OF_ENCODER}
            alike = AdversarialAutoencoder(**parameters)
            check_parameters(alike)
            alike_plan = Plan.from_dict(stem["plan"])
            encoder = new_encoder(alike, alike_plan, stem["latent_dim"], stem["n_classes"], stem["posterior"])
        return ClassifierNetworks(encoder, nn.Linear(self.stem_["latent_dim"], plan.n_classes))

    def phases(self, nets: ClassifierNetworks, plan: Plan) -> list[Phase[EncoderStep]]:
        """Cross entropy on the labelled rows."""
        moves = (nets.head,) if self.frozen else (nets.encoder, nets.head)
        return [Phase("classification", losses.classification_loss, moves)]

    def _learn(self, X: ArrayLike, y: ArrayLike | None) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """The first stage happens here, for rows are scaled as the autoencoder scales them."""
        _, labels = super()._learn(X, y)
        autoencoder = self._first_stage()
        self.autoencoder_: Autoencoder[Any] = autoencoder if hasattr(autoencoder, "networks_") else autoencoder.fit(X)
        expected, shape = self.autoencoder_.shape_, self.shape_
        if math.prod(expected) != math.prod(shape) or (self.scaler_.as_images and expected != shape):
            raise InputError(
                f"X: expected rows of shape {expected}, on which the autoencoder was fitted, got {shape}: pass such "
                "rows, or another autoencoder"
            )
        self.scaler_: RowScaler = self.autoencoder_.scaler_
        parameters = self.autoencoder_.get_params(deep=False)
        encoder = self.autoencoder_.networks_.encoder
        self.stem_: dict[str, Any] = {
            "parameters": {k: v for k in OF_ENCODER if (v := json_value(parameters[k])) is not NotImplemented},
            "plan": self.autoencoder_.plan_.as_dict(),
            "latent_dim": self.autoencoder_.latent_dim,
            "n_classes": encoder.head_y.out_features if isinstance(encoder.head_y, nn.Linear) else 0,
            "posterior": encoder.posterior,
        }
        return self.scaler_.transform(self, X), labels

    def plan_for(self, X: ArrayLike, y: ArrayLike | None = None) -> Plan:
        """What `fit` would do in the second stage, without training; the first is not trained, either."""
        check_parameters(self)
        autoencoder = self._first_stage()
        if not hasattr(autoencoder, "networks_"):
            autoencoder = initialised(autoencoder, X)
        twin = cast(PretrainedClassifier, clone(self)).set_params(autoencoder=autoencoder)
        return initialised(twin, X, y).plan_

    def _first_stage(self) -> Autoencoder[Any]:
        """The autoencoder to start from: a fitted one, or a new one, not fitted."""
        autoencoder = self.autoencoder
        if isinstance(autoencoder, str):
            return Autoencoder.load(model_file(autoencoder))
        if autoencoder is None:
            shared = {k: v for k, v in self.get_params(deep=False).items() if k in SHARED}
            autoencoder = AdversarialAutoencoder(**shared, max_epochs=self.pretraining_epochs)
        if hasattr(autoencoder, "networks_"):
            return autoencoder
        if not isinstance(autoencoder, AdversarialAutoencoder):
            raise InputError(
                f"autoencoder: expected a fitted one or an AdversarialAutoencoder, got a {type(autoencoder).__name__} "
                "that is not fitted: call its fit first"
            )
        return cast(AdversarialAutoencoder, clone(autoencoder))

    def _recalibrate_batch_norm(self, nets: ClassifierNetworks, X: Tensor) -> None:
        if not self.frozen:
            super()._recalibrate_batch_norm(nets, X)

    def _code(self, nets: ClassifierNetworks, x: Tensor) -> Code:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            z = nets.encoder(x).z
        return Code(z, nets.head(z))

    def _sources(self, X: Tensor, y: NDArray[np.int64] | None, plan: Plan) -> tuple[Sources, Plan]:
        assert y is not None
        return {"labelled": {"rows": X, "labels": torch.from_numpy(y)}}, plan

    def _make_step(self, nets: ClassifierNetworks, plan: Plan, batch: Sources) -> EncoderStep:
        if self.frozen:
            nets.encoder.eval()
        rows, noise = views(batch, lambda x: x, with_augmented=False), partial(with_noise, scale=plan.input_noise)
        return EncoderStep(rows, lambda x: self._code(nets, x), **by_view(batch), corrupt=noise, together=True)
