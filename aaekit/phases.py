"""A phase is a loss, the networks it moves, and how fast. Every variant is a list of phases over shared networks."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aaekit.codes import Code, Decoder
from aaekit.divergences import Divergence, mean_probability
from aaekit.networks import batch_norms

YIELDING = 600  # minibatches after which classes have formed, and their frequencies may be other than was guessed


class Step:
    """One minibatch: its rows by view, and each forward value, computed at most once between parameter updates.

    A view is a named group of rows, for instance ``"unlabelled"``, ``"labelled"`` or ``"augmented"``; `labels` are
    those of a view, `beliefs` class probabilities of its rows. `corrupt` is applied to what the encoder sees; targets
    stay clean. `join` makes what the decoder sees of a code and the view's labels. With `together`, one pass of the
    encoder serves all views.
    """

    def __init__(
        self,
        rows: Mapping[str, Tensor],
        encoder: Callable[[Tensor], Code],
        decoder: nn.Module | None = None,
        *,
        labels: Mapping[str, Tensor] | None = None,
        beliefs: Mapping[str, Tensor] | None = None,
        corrupt: Callable[[Tensor], Tensor] = lambda x: x,
        join: Callable[[Code, Tensor | None], Tensor] = lambda code, labels: code.joined,
        together: bool = False,
    ) -> None:
        self.rows, self.labels, self.beliefs = rows, labels or {}, beliefs or {}
        self.encoder, self.decoder, self.together = encoder, decoder, together
        self.noted: dict[str, Tensor] = {}
        self._corrupt, self._join = corrupt, join
        self._inputs: dict[str, Tensor] = {}
        self._codes: dict[str, Code] = {}
        self._detached: dict[str, Code] = {}
        self._reconstructions: dict[str, Tensor] = {}

    def input(self, view: str) -> Tensor:
        """What the encoder sees of a view: its rows, corrupted."""
        if view not in self._inputs:
            self._inputs[view] = self._corrupt(self.rows[view])
        return self._inputs[view]

    def code(self, view: str = "unlabelled") -> Code:
        """The encoder's code of a view, with the graph behind it."""
        if view not in self._codes:
            views = list(self.rows) if self.together else [view]
            inputs = [self.input(v) for v in views]
            codes = self.encoder(torch.cat(inputs) if len(inputs) > 1 else inputs[0])
            self._codes.update(zip(views, codes.split([len(x) for x in inputs]), strict=True))
        return self._codes[view]

    def detached_code(self, view: str = "unlabelled") -> Code:
        """The same values for a phase that must not move the encoder; costs no graph."""
        if view in self._codes or self.together:
            return self.code(view).detach()
        if view not in self._detached:
            with torch.no_grad():
                self._detached[view] = self.encoder(self.input(view))
        return self._detached[view]

    def reconstruction(self, view: str = "unlabelled") -> Tensor:
        """The decoder's output for a view, before any sigmoid."""
        if view not in self._reconstructions:
            assert self.decoder is not None
            self._reconstructions[view] = self.decoder(self._join(self.code(view), self.labels.get(view)))
        return self._reconstructions[view]

    def note(self, name: str, value: Tensor) -> None:
        """Put a number into the history beside the losses."""
        self.noted[name] = value.detach()

    def forget(self) -> None:
        """Drop what was computed from parameters that have moved."""
        self._codes.clear()
        self._detached.clear()
        self._reconstructions.clear()


@dataclass(frozen=True)
class Phase:
    """A loss, the networks that it moves (nothing else may), and its optimiser's settings.

    `adversary` marks the phase of a discriminator, which takes the codes as given. `weight` scales the loss; if it
    `fades`, the weight falls evenly to 0 in so many steps, and the phase is over. A `steady` rate is warmed up, and
    then does not follow the rate schedule. In the joint schedule every network moves at the rate of the first phase
    that names it, and the losses of the other phases are weighted by the ratio of the rates.
    """

    name: str
    loss: Callable[[Step], Tensor]
    trains: tuple[nn.Module, ...]
    rate: float
    momentum: float = 0.5
    weight: float = 1.0
    adversary: bool = False
    fades: int = 0
    steady: bool = False

    def over(self, step: int) -> bool:
        """Whether it has faded away after so many steps."""
        return 0 < self.fades <= step

    def weight_at(self, step: int) -> float:
        """The weight after so many steps, until it is over."""
        return self.weight * (1 - step / self.fades) if self.fades else self.weight


def softened(listed: Iterable[Phase], factors: Mapping[str, float]) -> list[Phase]:
    """The same phases, of which those that `factors` names weigh so many times as much."""
    return [replace(p, weight=factors.get(p.name, 1.0) * p.weight) for p in listed]


def matching(
    name: str,
    fake: Callable[[Step, bool], Tensor],
    real: Callable[[Step], Tensor],
    divergence: Divergence,
    critic: nn.Module | None,
    moves: Iterable[nn.Module],
    *,
    discriminator_rate: float,
    generator_rate: float,
    weight: float = 1.0,
    momentum: float = 0.5,
    steady: bool = False,
) -> list[Phase]:
    """The two phases that pull `fake` towards `real`; one, where the divergence needs no discriminator.

    `fake(step, gradient)` and `real(step)` give samples `(n, d)`; `gradient` tells whether the graph is wanted. The
    discriminator's rate may be `steady`.
    """
    together: list[bool] = []  # whether the divergence has both judged at once, the real ones first; seen at first

    def discriminate(step: Step) -> Tensor:
        assert critic is not None
        calls: list[tuple[Tensor, Tensor]] = []
        hook = critic.register_forward_hook(lambda _, inputs, out: calls.append((inputs[0], out.detach())))
        p, q = real(step), fake(step, False)
        try:
            loss = divergence.critic_loss(critic, p, q)
        finally:
            hook.remove()
        if not together:
            seen = calls[0][0] if calls else p
            together.append(len(seen) == len(p) + len(q) and bool((seen[: len(p)] == p).all()))
        if together[0]:
            judged = calls[0][1].tensor_split([len(p)])
        else:
            with torch.no_grad():
                judged = [critic(p), critic(q)]
        for side, chance in zip(("real", "fake"), mean_probability(*judged), strict=True):
            step.note(f"{name}/D({side})", chance)
        return loss

    def fool(step: Step) -> Tensor:
        return divergence.generator_loss(critic, real(step), fake(step, True))

    generate = Phase(f"{name}/generator", fool, tuple(moves), generator_rate, momentum, weight)
    if not divergence.has_critic:
        return [generate]
    assert critic is not None, f"{divergence!r} needs a discriminator"
    return [
        Phase(
            f"{name}/discriminator",
            discriminate,
            (critic,),
            discriminator_rate,
            momentum,
            adversary=True,
            steady=steady,
        ),
        generate,
    ]


def reconstruction_error(out: Tensor, x: Tensor, kind: str, unit_range: bool) -> Tensor:
    """Summed over a row, mean over rows: Bernoulli -log p(x|code), or half the squared error (paper, appendix A).

    `out` is the decoder's output before its sigmoid, `x` the clean rows, both `(n, *shape)`.
    """
    out, n = out.float(), len(x)
    if kind == "bernoulli":
        return F.binary_cross_entropy_with_logits(out, x, reduction="sum") / n
    return 0.5 * F.mse_loss(out.sigmoid() if unit_range else out, x, reduction="sum") / n


def reconstruct(step: Step, kind: str) -> Tensor:
    """Reconstruction of the clean rows from the codes of the corrupted ones."""
    assert isinstance(step.decoder, Decoder)
    return reconstruction_error(step.reconstruction(), step.rows["unlabelled"], kind, step.decoder.unit_range)


def classify(step: Step) -> Tensor:
    """Cross entropy of q(y|x) on the labelled rows (paper, section 4)."""
    logits = step.code("labelled").logits
    assert logits is not None
    return F.cross_entropy(logits.float(), step.labels["labelled"])


def believe(step: Step) -> Tensor:
    """Cross entropy of q(y|x) against class probabilities from elsewhere; rows of zeros say nothing."""
    logits = step.code("unlabelled").logits
    assert logits is not None
    return -(step.beliefs["unlabelled"] * logits.float().log_softmax(1)).sum(1).mean()


def agree(step: Step, confidence: float) -> Tensor:
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


def balance(step: Step, frequencies: ClassFrequencies) -> Tensor:
    """Keep the running mean of q(y|x) at the class prior: its KL divergence from there, in nats, falls.

    The discriminator of y asks for the same, but too softly to stop two classes from melting into one. The mean runs
    over minibatches, for a single one is off by its draw; the gradient is that of the divergence at the running mean.
    """
    mean = torch.cat([step.code(view).y for view in step.rows if view != "labelled"]).mean(0)
    with torch.no_grad():
        excess = frequencies.excess(mean)
    return (mean * excess).sum()


def smooth(step: Step, radius: float, probe: float) -> Tensor:
    """Virtual adversarial smoothing: q(y|x) must not change in the worst direction (Miyato et al., 2017).

    `radius` is the length of the perturbation, `probe` that of a random shift at the end of which the divergence is
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
    shift = _unit_length(torch.randn_like(x)).mul_(probe).requires_grad_()
    with frozen(encoder):
        (direction,) = torch.autograd.grad(divergence_at(shift), shift)
    return divergence_at(radius * _unit_length(direction))


def hold(step: Step) -> Tensor:
    """The distribution q(y|x) of a row, without gradient, must survive augmentation: a Kullback-Leibler divergence."""
    logits = step.code("augmented").logits
    assert logits is not None
    target = step.detached_code("unlabelled").y
    return F.kl_div(logits.float().log_softmax(1), target, reduction="batchmean")


def decide(step: Step) -> Tensor:
    """Mean entropy of q(y|x), in nats: each row should be of one class (Hu et al., IMSAT, 2017)."""
    logits = step.code("unlabelled").logits
    assert logits is not None
    log_y = logits.float().log_softmax(1)
    return -(log_y.exp() * log_y).sum(1).mean()


def cycle(step: Step, style_weight: float = 0.1) -> Tensor:
    """Encode, decode, encode again: y and z must come back (Azulay, 2019, "cyclic mode loss").

    Cross entropy on y and `style_weight` times the mean squared error of z, both against the first code.
    """
    assert isinstance(step.decoder, Decoder)
    out, first = step.reconstruction(), step.detached_code()
    assert isinstance(step.encoder, nn.Module)
    with same_statistics(step.encoder):
        again = step.encoder(out.float().sigmoid() if step.decoder.unit_range else out)
    assert again.logits is not None
    cross_entropy = F.cross_entropy(again.logits.float(), first.y)
    return cross_entropy + style_weight * F.mse_loss(again.z.float(), first.z.float())


def shrink_style(step: Step) -> Tensor:
    """Mean squared length of z: what can be said by y should not be said by z (Azulay, 2019)."""
    return step.code().z.float().square().sum(1).mean()


def reconstruct_mode(step: Step, mode_decoder: Decoder, kind: str) -> Tensor:
    """Reconstruction from y alone, by a decoder of its own: y has to mean something (Azulay, 2019)."""
    out = mode_decoder(step.code().y)
    return reconstruction_error(out, step.rows["unlabelled"], kind, mode_decoder.unit_range)


def separate(points: Tensor, margin: float) -> Tensor:
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


class frozen:
    """While it lasts, nothing is differentiated with respect to the parameters of `modules`."""

    def __init__(self, *modules: nn.Module) -> None:
        self.parameters = [p for m in modules for p in m.parameters() if p.requires_grad]

    def __enter__(self) -> None:
        for p in self.parameters:
            p.requires_grad_(False)

    def __exit__(self, *_: object) -> None:
        for p in self.parameters:
            p.requires_grad_(True)


class evaluating:
    """While it lasts, a module is in evaluation mode: no dropout, batch normalisation by what it has seen so far."""

    def __init__(self, module: nn.Module) -> None:
        self.module, self.training = module, [m for m in module.modules() if m.training]

    def __enter__(self) -> None:
        self.module.eval()

    def __exit__(self, *_: object) -> None:
        for m in self.training:
            m.training = True


class same_statistics:
    """While it lasts, batch normalisation uses a minibatch without keeping its mean and variance for later."""

    def __init__(self, module: nn.Module) -> None:
        self.layers = [(m, m.momentum) for m in batch_norms(module)]

    def __enter__(self) -> None:
        for m, _ in self.layers:
            m.momentum = 0.0

    def __exit__(self, *_: object) -> None:
        for m, momentum in self.layers:
            m.momentum = momentum
