"""The losses that phases are made of: each is a function of a step, under the name that its paper gives it.

A new one takes the step and returns a scalar::

    def style_l1(step: EncoderStep) -> Tensor:
        return step.code().z.abs().sum(1).mean()
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aaekit.core.frozen import frozen
from aaekit.nn.choices import Groups, mixed_error
from aaekit.nn.context import frozen_batch_norm_statistics
from aaekit.nn.encoder import Code, Decoder
from aaekit.nn.frequencies import ClassFrequencies
from aaekit.nn.step import EncoderStep

__all__ = [
    "classification_loss",
    "conditional_entropy",
    "consistency_kl",
    "cyclic_loss",
    "marginal_kl",
    "mode_reconstruction_loss",
    "mode_separation",
    "pseudo_label_loss",
    "reconstruction_error",
    "reconstruction_loss",
    "soft_label_cross_entropy",
    "style_l2",
    "virtual_adversarial_loss",
]


# --- rows ------------------------------------------------------------------------------------------------------------
def reconstruction_error(out: Tensor, x: Tensor, kind: str, unit_range: bool, groups: Groups = ()) -> Tensor:
    """Reconstruction error, summed over a row, mean over rows.

    Parameters
    ----------
    out : Tensor of shape (n, *shape)
        The decoder's output before its sigmoid.
    x : Tensor of shape (n, *shape)
        The clean rows.
    kind : "bernoulli", "gaussian" or "mixed"
        -log p(x|code) of a Bernoulli distribution, or half the squared error, or that for numbers and the cross entropy
        for choices.
    unit_range : bool
        Whether rows are in [0, 1], so that the output goes through a sigmoid.
    groups : sequence of (first, behind the last)
        The values that are choices, for "mixed".

    Source: Makhzani et al., *Adversarial Autoencoders*, arXiv:1511.05644, appendix A.
    """
    out, n = out.float(), len(x)
    if kind == "bernoulli":
        return F.binary_cross_entropy_with_logits(out, x, reduction="sum") / n
    if kind == "mixed":
        return mixed_error(out, x, groups) / n
    return 0.5 * F.mse_loss(out.sigmoid() if unit_range else out, x, reduction="sum") / n


def reconstruction_loss(step: EncoderStep, kind: str) -> Tensor:
    """Reconstruction error of the clean rows, from the codes of the corrupted ones."""
    decoder = step.decoder
    assert decoder is not None
    out, x = step.reconstruction(), step.rows["unlabelled"]
    return reconstruction_error(out, x, kind, decoder.unit_range, decoder.groups)


# --- classes from labels ---------------------------------------------------------------------------------------------
def classification_loss(step: EncoderStep) -> Tensor:
    """Cross entropy of q(y|x) on the labelled rows (Makhzani et al., section 4)."""
    return F.cross_entropy(step.logits("labelled"), step.labels["labelled"])


def soft_label_cross_entropy(step: EncoderStep) -> Tensor:
    """Cross entropy of q(y|x) against soft labels, such as those of label propagation; rows of zeros do not count."""
    log_y = step.logits("unlabelled").log_softmax(1)
    return -(step.soft_labels["unlabelled"] * log_y).sum(1).mean()


# --- classes from unlabelled rows ------------------------------------------------------------------------------------
def pseudo_label_loss(step: EncoderStep, threshold: float) -> Tensor:
    """Cross entropy of augmented rows against the class predicted for the plain row, where that is certain enough.

    The class is predicted without gradient; rows whose probability is not above `threshold` do not count.

    Source: Sohn et al., *FixMatch*, arXiv:2001.07685, equation 4.
    """
    probability, label = step.detached_code("unlabelled").y.max(1)
    cross_entropy = F.cross_entropy(step.logits("augmented"), label, reduction="none")
    is_confident = (probability > threshold).float()
    step.note("confident", is_confident.mean())
    return (cross_entropy * is_confident).mean()


def consistency_kl(step: EncoderStep) -> Tensor:
    """Kullback-Leibler divergence of q(y|augmented row) from q(y|row), the latter without gradient."""
    target = step.detached_code("unlabelled").y
    return F.kl_div(step.logits("augmented").log_softmax(1), target, reduction="batchmean")


def virtual_adversarial_loss(step: EncoderStep, vat_epsilon: float, vat_xi: float) -> Tensor:
    """Kullback-Leibler divergence of q(y|x) under the perturbation of length `vat_epsilon` that changes it most.

    Its direction is that of the gradient of the divergence at a random shift of length `vat_xi`; both lengths are in
    the units of the rows. Close to a row, y may be so certain that its slope says little about the next class.

    Source: Miyato et al., *Virtual Adversarial Training*, arXiv:1704.03976, section 3.3.
    """
    x, encoder = step.rows["unlabelled"], step.encoder
    assert isinstance(encoder, nn.Module)
    target = step.detached_code("unlabelled").y

    def divergence_at(shift: Tensor) -> Tensor:
        code: Code = encoder(x + shift)
        assert code.logits is not None
        return F.kl_div(code.logits.float().log_softmax(1), target, reduction="batchmean")

    shift = _unit_length(torch.randn_like(x)).mul_(vat_xi).requires_grad_()
    with frozen(encoder):
        (direction,) = torch.autograd.grad(divergence_at(shift), shift)
    return divergence_at(vat_epsilon * _unit_length(direction))


def conditional_entropy(step: EncoderStep) -> Tensor:
    """Mean entropy of q(y|x), in nats: each row should belong to one class.

    Source: Hu et al., *Information Maximizing Self-Augmented Training*, arXiv:1702.08720, section 2.2.
    """
    log_y = step.logits("unlabelled").log_softmax(1)
    return -(log_y.exp() * log_y).sum(1).mean()


def marginal_kl(step: EncoderStep, frequencies: ClassFrequencies) -> Tensor:
    """Kullback-Leibler divergence of the running mean of q(y|x) from the class prior, in nats.

    The discriminator of y asks for the same, but too weakly to keep two classes from merging. A single minibatch
    deviates by chance, hence the running mean; the gradient is that of the divergence at the running mean.
    """
    mean = torch.cat([step.code(view).y for view in step.rows if view != "labelled"]).mean(0)
    with torch.no_grad():
        log_ratio = frequencies.log_ratio(mean)
    return (mean * log_ratio).sum()


# --- Azulay's additions ----------------------------------------------------------------------------------------------
def cyclic_loss(step: EncoderStep, z_weight: float = 0.1) -> Tensor:
    """Error of y and z when the reconstruction is encoded again, against the first code.

    Cross entropy of y plus `z_weight` times the mean squared error of z.

    Source: Azulay, *adversarial-autoencoder-classifier* documentation (2019), "cyclic mode loss".
    """
    out, first = step.reconstruction(), step.detached_code()
    assert step.decoder is not None and isinstance(step.encoder, nn.Module)
    with frozen_batch_norm_statistics(step.encoder):
        again: Code = step.encoder(step.decoder.expected(out.float()))
    assert again.logits is not None
    cross_entropy = F.cross_entropy(again.logits.float(), first.y)
    return cross_entropy + z_weight * F.mse_loss(again.z.float(), first.z.float())


def style_l2(step: EncoderStep) -> Tensor:
    """Mean squared length of z, which pushes information into y (Azulay, 2019)."""
    return step.code().z.float().square().sum(1).mean()


def mode_reconstruction_loss(step: EncoderStep, mode_decoder: Decoder | None, kind: str) -> Tensor:
    """Reconstruction error of a second decoder that sees y alone, so that y has a meaning (Azulay, 2019)."""
    assert mode_decoder is not None, "these networks have no mode decoder"
    out, x = mode_decoder(step.code().y), step.rows["unlabelled"]
    return reconstruction_error(out, x, kind, mode_decoder.unit_range, mode_decoder.groups)


def mode_separation(points: Tensor, margin: float) -> Tensor:
    """Mean squared amount by which distances between points `(K, d)` fall short of `margin`, over all pairs.

    Pairs farther apart than the margin do not count, so that the loss is bounded.
    """
    K = len(points)
    if K < 2:
        return points.sum() * 0
    i, j = torch.triu_indices(K, K, offset=1, device=points.device)
    distance = ((points[i] - points[j]).square().sum(1) + 1e-12).sqrt()  # the root has no slope at 0
    return (margin - distance).clamp_min(0).square().mean()


def _unit_length(d: Tensor) -> Tensor:
    return d / d.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, *[1] * (d.dim() - 1))
