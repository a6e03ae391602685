"""The losses that phases are made of, each a function of a step."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aaekit.core.phase import Step
from aaekit.nn.context import frozen, frozen_batch_norm_statistics
from aaekit.nn.encoder import Decoder

YIELDING = 600  # minibatches after which classes have formed, and their frequencies may be other than was guessed


def reconstruction_error(out: Tensor, x: Tensor, kind: str, unit_range: bool) -> Tensor:
    """Summed over a row, mean over rows: Bernoulli -log p(x|code), or half the squared error (paper, appendix A).

    `out` is the decoder's output before its sigmoid, `x` the clean rows, both `(n, *shape)`.
    """
    out, n = out.float(), len(x)
    if kind == "bernoulli":
        return F.binary_cross_entropy_with_logits(out, x, reduction="sum") / n
    return 0.5 * F.mse_loss(out.sigmoid() if unit_range else out, x, reduction="sum") / n


def reconstruction_loss(step: Step, kind: str) -> Tensor:
    """Reconstruction of the clean rows from the codes of the corrupted ones."""
    assert isinstance(step.decoder, Decoder)
    return reconstruction_error(step.reconstruction(), step.rows["unlabelled"], kind, step.decoder.unit_range)


def classification_loss(step: Step) -> Tensor:
    """Cross entropy of q(y|x) on the labelled rows (paper, section 4)."""
    logits = step.code("labelled").logits
    assert logits is not None
    return F.cross_entropy(logits.float(), step.labels["labelled"])


def soft_label_cross_entropy(step: Step) -> Tensor:
    """Cross entropy of q(y|x) against class probabilities from elsewhere; rows of zeros say nothing."""
    logits = step.code("unlabelled").logits
    assert logits is not None
    return -(step.beliefs["unlabelled"] * logits.float().log_softmax(1)).sum(1).mean()


def pseudo_label_loss(step: Step, confidence: float) -> Tensor:
    """The class of a row that the model is sure of must survive augmentation (Sohn et al., FixMatch, 2020).

    The class is read off the plain view, without gradient; rows less sure than `confidence` do not count.
    """
    sure, label = step.detached_code("unlabelled").y.max(1)
    logits = step.code("augmented").logits
    assert logits is not None
    counted = (sure > confidence).float()
    step.note("confident", counted.mean())
    return (F.cross_entropy(logits.float(), label, reduction="none") * counted).mean()


class ClassFrequencies(nn.Module):
    """A running mean of q(y|x) over minibatches, beside the frequencies `(n_classes,)` that it should have.

    With `yields`, those were a guess: from the 600th minibatch on, they give way where the mean keeps pulling away from
    them, each time by this share of what lies between; but not below `least` of the guess.
    """

    running: Tensor
    expected: Tensor
    least: Tensor
    n_seen: Tensor

    def __init__(self, expected: Tensor, decay: float = 0.9, yields: float = 0.0, least: float = 0.0) -> None:
        super().__init__()
        self.decay, self.yields = decay, yields
        self.register_buffer("expected", expected.clone())
        self.register_buffer("running", expected.clone())
        self.register_buffer("least", least * expected, persistent=False)
        self.register_buffer("n_seen", torch.tensor(0))

    def count(self, mean: Tensor) -> None:
        """Let the running mean go on by the mean `(n_classes,)` of one more minibatch."""
        self.running.lerp_(mean, 1 - self.decay)

    def excess(self, mean: Tensor) -> Tensor:
        """The log of running to expected frequencies, after the mean `(n_classes,)` of one more minibatch."""
        self.count(mean)
        found = (self.running.clamp_min(1e-8) / self.expected.clamp_min(1e-8)).log()
        self.n_seen += 1
        if self.yields:
            moved = self.expected * (self.yields * (self.n_seen > YIELDING) * found).exp()
            moved = torch.maximum(moved / moved.sum(), self.least)
            self.expected.copy_(moved / moved.sum())
        return found


def marginal_kl(step: Step, frequencies: ClassFrequencies) -> Tensor:
    """Keep the running mean of q(y|x) at the class prior: its KL divergence from there, in nats, falls.

    The discriminator of y asks for the same, but too softly to stop two classes from melting into one. The mean runs
    over minibatches, for a single one is off by its draw; the gradient is that of the divergence at the running mean.
    """
    mean = torch.cat([step.code(view).y for view in step.rows if view != "labelled"]).mean(0)
    with torch.no_grad():
        excess = frequencies.excess(mean)
    return (mean * excess).sum()


def virtual_adversarial_loss(step: Step, vat_epsilon: float, vat_xi: float) -> Tensor:
    """Virtual adversarial smoothing: q(y|x) must not change in the worst direction (Miyato et al., 2017).

    `vat_epsilon` is the length of the perturbation, `vat_xi` that of a random shift at the end of which the divergence is
    differentiated to find the direction: both in the units of the rows. Near a row y may be so sure that its slope
    says little of where the next class is.
    """
    x, encoder = step.rows["unlabelled"], step.encoder
    assert isinstance(encoder, nn.Module)

    def divergence_at(shift: Tensor) -> Tensor:
        logits = encoder(x + shift).logits
        assert logits is not None
        return F.kl_div(logits.float().log_softmax(1), target, reduction="batchmean")

    with torch.no_grad():
        target = step.detached_code("unlabelled").y
    shift = _unit_length(torch.randn_like(x)).mul_(vat_xi).requires_grad_()
    with frozen(encoder):
        (direction,) = torch.autograd.grad(divergence_at(shift), shift)
    return divergence_at(vat_epsilon * _unit_length(direction))


def consistency_kl(step: Step) -> Tensor:
    """The distribution q(y|x) of a row, without gradient, must survive augmentation: a Kullback-Leibler divergence."""
    logits = step.code("augmented").logits
    assert logits is not None
    target = step.detached_code("unlabelled").y
    return F.kl_div(logits.float().log_softmax(1), target, reduction="batchmean")


def conditional_entropy(step: Step) -> Tensor:
    """Mean entropy of q(y|x), in nats: each row should be of one class (Hu et al., IMSAT, 2017)."""
    logits = step.code("unlabelled").logits
    assert logits is not None
    log_y = logits.float().log_softmax(1)
    return -(log_y.exp() * log_y).sum(1).mean()


def cyclic_loss(step: Step, style_weight: float = 0.1) -> Tensor:
    """Encode, decode, encode again: y and z must come back (Azulay, 2019, "cyclic mode loss").

    Cross entropy on y and `style_weight` times the mean squared error of z, both against the first code.
    """
    assert isinstance(step.decoder, Decoder)
    out, first = step.reconstruction(), step.detached_code()
    assert isinstance(step.encoder, nn.Module)
    with frozen_batch_norm_statistics(step.encoder):
        again = step.encoder(out.float().sigmoid() if step.decoder.unit_range else out)
    assert again.logits is not None
    cross_entropy = F.cross_entropy(again.logits.float(), first.y)
    return cross_entropy + style_weight * F.mse_loss(again.z.float(), first.z.float())


def style_l2(step: Step) -> Tensor:
    """Mean squared length of z: what can be said by y should not be said by z (Azulay, 2019)."""
    return step.code().z.float().square().sum(1).mean()


def mode_reconstruction_loss(step: Step, mode_decoder: Decoder, kind: str) -> Tensor:
    """Reconstruction from y alone, by a decoder of its own: y has to mean something (Azulay, 2019)."""
    out = mode_decoder(step.code().y)
    return reconstruction_error(out, step.rows["unlabelled"], kind, mode_decoder.unit_range)


def mode_separation(points: Tensor, margin: float) -> Tensor:
    """Mean squared shortfall of the distances between rows `(K, d)` from `margin`, over all pairs.

    Bounded: pairs farther apart than the margin are left alone.
    """
    K = len(points)
    if K < 2:
        return points.sum() * 0
    i, j = torch.triu_indices(K, K, offset=1, device=points.device)
    distance = ((points[i] - points[j]).square().sum(1) + 1e-12).sqrt()  # the root has no slope at 0
    return (margin - distance).clamp_min(0).square().mean()


def _unit_length(d: Tensor) -> Tensor:
    return d / d.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, *[1] * (d.dim() - 1))
