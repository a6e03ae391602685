"""Recent and expected frequencies of the values of y."""

import torch
from torch import Tensor, nn

from aaekit.core.distributed import all_reduce_mean

__all__ = ["ClassFrequencies"]

N_FORMING = 600  # minibatches until classes have formed and a guessed class prior may be corrected


class ClassFrequencies(nn.Module):
    """A running mean of q(y|x) over minibatches, and the class frequencies that are expected.

    Parameters
    ----------
    expected : Tensor of shape (n_classes,)
        The class prior.
    decay : float, default 0.9
        Of the running mean.
    correction : float, default 0
        For a class prior that is a guess: the share of its distance (of logarithms) to the running mean by which it is
        corrected at each minibatch after the 600th.
    min_share : float, default 0
        Lower bound of each expected frequency, as a fraction of its first value.
    """

    running: Tensor
    expected: Tensor
    first: Tensor
    n_seen: Tensor

    def __init__(self, expected: Tensor, decay: float = 0.9, correction: float = 0.0, min_share: float = 0.0) -> None:
        super().__init__()
        self.decay: float = decay
        self.correction: float = correction
        self.min_share: float = min_share
        self.register_buffer("expected", expected.clone())
        self.register_buffer("running", expected.clone())
        self.register_buffer("first", expected.clone(), persistent=False)
        self.register_buffer("n_seen", torch.tensor(0))

    def update(self, mean: Tensor) -> None:
        """Update the running mean with the mean `(n_classes,)` of a minibatch, of which each process has a part."""
        mean = mean.detach().clone()
        all_reduce_mean([mean])
        self.running.lerp_(mean, 1 - self.decay)

    def log_ratio(self, mean: Tensor) -> Tensor:
        """log(running mean / expected), after an update with `mean`."""
        self.update(mean)
        log_ratio = (self.running.clamp_min(1e-8) / self.expected.clamp_min(1e-8)).log()
        self.n_seen += 1
        if self.correction:
            corrected = self.expected * (self.correction * (self.n_seen > N_FORMING) * log_ratio).exp()
            corrected = torch.maximum(corrected / corrected.sum(), self.min_share * self.first)
            self.expected.copy_(corrected / corrected.sum())
        return log_ratio
