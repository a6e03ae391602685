"""Networks as the parameters of an estimator describe them."""

from typing import TYPE_CHECKING, Any

from torch import nn

from aaekit import divergences
from aaekit.augment import symmetries_in
from aaekit.estimators._plan import Plan
from aaekit.nn import backbones
from aaekit.nn.encoder import Decoder, Encoder, Posterior

if TYPE_CHECKING:
    from aaekit.estimators._autoencoder import Autoencoder
    from aaekit.estimators._base import Estimator

__all__ = ["new_coders", "new_critic", "new_decoder", "new_encoder"]


def new_encoder(
    estimator: "Estimator[Any]",
    plan: Plan,
    latent_dim: int,
    n_classes: int = 0,
    posterior: Posterior = "deterministic",
) -> Encoder:
    """A new encoder."""
    spec = estimator.backbone[0] if isinstance(estimator.backbone, tuple | list) else estimator.backbone
    backbone, n_features = backbones.encoder_backbone(
        spec,
        plan.data.shape,
        hidden=plan.hidden,
        dropout=estimator.dropout,
        batch_norm=estimator.batch_norm,
    )
    return Encoder(backbone, n_features, latent_dim, n_classes, posterior, symmetries_in(plan.augmentation))


def new_decoder(estimator: "Autoencoder[Any]", plan: Plan, n_code: int, module: nn.Module | None = None) -> Decoder:
    """A new decoder of codes `(n, n_code)`."""
    spec = estimator.backbone if isinstance(estimator.backbone, str) else "auto"
    backbone = backbones.decoder_backbone(
        spec if module is None else module,
        n_code,
        plan.data.shape,
        hidden=plan.hidden,
        dropout=estimator.dropout,
    )
    return Decoder(backbone, plan.data.unit_range, plan.data.groups if plan.reconstruction == "mixed" else ())


def new_coders(
    estimator: "Autoencoder[Any]",
    plan: Plan,
    n_code: int,
    n_classes: int = 0,
    posterior: Posterior = "deterministic",
) -> tuple[Encoder, Decoder]:
    """A new encoder and a new decoder of codes `(n, n_code)`."""
    module = estimator.backbone[1] if isinstance(estimator.backbone, tuple | list) else None
    decoder = new_decoder(estimator, plan, n_code, module)
    return new_encoder(estimator, plan, estimator.latent_dim, n_classes, posterior), decoder


def new_critic(estimator: "Autoencoder[Any]", n_values: int, weight: float, dropout: float = 0.0) -> nn.Module | None:
    """A new critic of samples `(n, n_values)`, if the divergence needs one and the weight is not 0."""
    if not weight or isinstance(divergences.make(estimator.divergence), divergences.SampleDivergence):
        return None
    return backbones.discriminator(n_values, estimator.discriminator_hidden, dropout=dropout)
