"""A minibatch with its codes and reconstructions, each computed at most once between updates."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from aaekit.core.phase import Step
from aaekit.nn.encoder import Code, Decoder

__all__ = ["EncoderStep"]


def _unchanged(x: Tensor) -> Tensor:
    return x


def _joined(code: Code, labels: Tensor | None) -> Tensor:
    return code.joined


class EncoderStep(Step):
    """One minibatch of named groups of rows ("unlabelled", "labelled", "augmented"), with codes and reconstructions.

    Parameters
    ----------
    rows : mapping from str to Tensor of shape (n, *shape)
        The clean rows of each view.
    encoder : callable
        From rows to `Code`.
    decoder : Decoder, optional
        From the result of `join` to rows.
    labels : mapping from str to Tensor of shape (n,) or (n, n_conditions), optional
        Labels of views.
    weights : mapping from str to Tensor of shape (n,), optional
        How much the labels of views count; 1 by default.
    soft_labels : mapping from str to Tensor of shape (n, n_classes), optional
        Class probabilities of views; rows of zeros do not count.
    corrupt : callable, optional
        Applied to the rows that the encoder sees; targets stay clean.
    join : callable, optional
        From a code and the labels of its view to the input of the decoder; by default [y, z].
    together : bool, default False
        Whether one pass of the encoder serves all views.
    """

    def __init__(
        self,
        rows: Mapping[str, Tensor],
        encoder: Callable[[Tensor], Code],
        decoder: Decoder | None = None,
        *,
        labels: Mapping[str, Tensor] | None = None,
        weights: Mapping[str, Tensor] | None = None,
        soft_labels: Mapping[str, Tensor] | None = None,
        corrupt: Callable[[Tensor], Tensor] = _unchanged,
        join: Callable[[Code, Tensor | None], Tensor] = _joined,
        together: bool = False,
    ) -> None:
        super().__init__()
        self.rows: Mapping[str, Tensor] = rows
        self.labels: Mapping[str, Tensor] = labels or {}
        self.weights: Mapping[str, Tensor] = weights or {}
        self.soft_labels: Mapping[str, Tensor] = soft_labels or {}
        self.encoder: Callable[[Tensor], Code] = encoder
        self.decoder: Decoder | None = decoder
        self.together: bool = together
        self._corrupt, self._join = corrupt, join

    def input(self, view: str) -> Tensor:
        """The encoder's input of a view: its rows, corrupted."""
        return self.once(("input", view), lambda: self._corrupt(self.rows[view]), is_input=True)

    def code(self, view: str = "unlabelled") -> Code:
        """The code of a view; without a graph where gradients are disabled, as for phases that train a critic."""
        if not torch.is_grad_enabled():
            return self.detached_code(view)
        if self.together:
            return self.once("codes", self._encode_all)[view]
        return self.once(("code", view), lambda: self.encoder(self.input(view)))

    def detached_code(self, view: str = "unlabelled") -> Code:
        """The same values for a phase that must not move the encoder."""
        if self.together or ("code", view) in self._values.get(True, {}):
            with torch.enable_grad():
                return self.code(view).detach()
        with torch.no_grad():
            return self.once(("code", view), lambda: self.encoder(self.input(view)))

    def _encode_all(self) -> dict[str, Code]:
        inputs = [self.input(view) for view in self.rows]
        codes = self.encoder(torch.cat(inputs) if len(inputs) > 1 else inputs[0])
        return dict(zip(self.rows, codes.split([len(x) for x in inputs]), strict=True))

    def logits(self, view: str) -> Tensor:
        """Unnormalised log q(y|x) of a view, float32, shape `(n, n_classes)`."""
        logits = self.code(view).logits
        assert logits is not None, "this encoder has no categorical code"
        return logits.float()

    def reconstruction(self, view: str = "unlabelled") -> Tensor:
        """The decoder's output for a view, before any sigmoid."""
        return self.once(("reconstruction", view), lambda: self._decode(view))

    def _decode(self, view: str) -> Tensor:
        assert isinstance(self.decoder, nn.Module), "this step has no decoder"
        return self.decoder(self._join(self.code(view), self.labels.get(view)))
