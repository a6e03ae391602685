"""The networks of an estimator, by attribute."""

import torch
from torch import Tensor, nn

from aaekit.nn.encoder import Decoder, Encoder
from aaekit.nn.frequencies import ClassFrequencies

__all__ = [
    "AutoencoderNetworks",
    "CategoricalNetworks",
    "Centroids",
    "ClassifierNetworks",
    "ClusteringNetworks",
    "EmbeddingNetworks",
    "Networks",
]


class Networks(nn.Module):
    """Base of all: an encoder, from rows to codes."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder


class ClassifierNetworks(Networks):
    """An encoder and a linear layer from its code z to logits."""

    def __init__(self, encoder: Encoder, head: nn.Linear) -> None:
        super().__init__(encoder)
        self.head = head


class AutoencoderNetworks(Networks):
    """Encoder, decoder and, for divergences that need it, the critic of z."""

    def __init__(self, encoder: Encoder, decoder: Decoder, z_discriminator: nn.Module | None) -> None:
        super().__init__(encoder)
        self.decoder: Decoder = decoder
        self.z_discriminator: nn.Module | None = z_discriminator


class CategoricalNetworks(AutoencoderNetworks):
    """The same, with the critic of y and the running mean of y beside the class prior."""

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        z_discriminator: nn.Module | None,
        y_discriminator: nn.Module | None,
        class_frequencies: ClassFrequencies,
    ) -> None:
        super().__init__(encoder, decoder, z_discriminator)
        self.y_discriminator: nn.Module | None = y_discriminator
        self.class_frequencies: ClassFrequencies = class_frequencies


class ClusteringNetworks(CategoricalNetworks):
    """The same, with how often clusters were used lately, and a decoder of modes from y alone, or None."""

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        z_discriminator: nn.Module | None,
        y_discriminator: nn.Module | None,
        class_frequencies: ClassFrequencies,
        mode_decoder: Decoder | None,
        cluster_usage: ClassFrequencies | None,
    ) -> None:
        super().__init__(encoder, decoder, z_discriminator, y_discriminator, class_frequencies)
        self.mode_decoder: Decoder | None = mode_decoder
        self.cluster_usage: ClassFrequencies | None = cluster_usage


class EmbeddingNetworks(CategoricalNetworks):
    """The same, with the centroids W of the map."""

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        z_discriminator: nn.Module | None,
        y_discriminator: nn.Module | None,
        class_frequencies: ClassFrequencies,
        centroids: "Centroids",
    ) -> None:
        super().__init__(encoder, decoder, z_discriminator, y_discriminator, class_frequencies)
        self.centroids = centroids


class Centroids(nn.Module):
    """W: a point `(K, d)` of a map for each value of y; the cluster heads of Makhzani et al., section 6."""

    def __init__(self, n_centroids: int, n_dims: int, margin: float) -> None:
        super().__init__()
        k = torch.arange(n_centroids)
        if n_dims == 2:  # the seeds of a sunflower: even, and about `margin` apart
            angle, r = k * 2.39996, margin / 1.7 * (k + 0.5).sqrt()
            points = r[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
        elif n_dims == 1:
            points = margin * (k[:, None] - (n_centroids - 1) / 2)
        else:
            points = nn.functional.normalize(torch.randn(n_centroids, n_dims), dim=1) * margin
        self.weight: nn.Parameter = nn.Parameter(points.float())

    def forward(self, y: Tensor) -> Tensor:
        return y @ self.weight
