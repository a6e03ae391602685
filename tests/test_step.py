"""A step encodes and decodes each view once between updates."""

import pytest
import torch
from torch import nn

from aaekit.nn.encoder import Decoder, Encoder
from aaekit.nn.step import EncoderStep

N, D, LATENT_DIM, N_CLASSES = 6, 5, 2, 3


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return Encoder(nn.Sequential(nn.Linear(D, 8), nn.Tanh()), 8, LATENT_DIM, N_CLASSES)


@pytest.fixture
def decoder():
    torch.manual_seed(1)
    return Decoder(nn.Linear(N_CLASSES + LATENT_DIM, D), unit_range=True)


@pytest.fixture
def rows():
    torch.manual_seed(2)
    return {view: torch.rand(n, D) for view, n in [("unlabelled", N), ("labelled", 4), ("augmented", N)]}


def counted(module, calls):
    module.register_forward_hook(lambda m, inputs, out: calls.append(len(inputs[0])))
    return module


def test_each_view_is_encoded_once(encoder, decoder, rows):
    calls, decoded = [], []
    step = EncoderStep(rows, counted(encoder, calls), counted(decoder, decoded))
    for _ in range(2):
        step.code("unlabelled"), step.code("labelled"), step.detached_code("labelled"), step.reconstruction()
    assert calls == [N, 4] and decoded == [N]


def test_together_encodes_all_views_in_one_pass_with_the_same_values(encoder, decoder, rows):
    calls = []
    together = EncoderStep(rows, counted(encoder, calls), decoder, together=True)
    alone = EncoderStep(rows, encoder, decoder)
    codes = {view: together.code(view) for view in rows}
    assert calls == [N + 4 + N]
    together.detached_code("augmented"), together.reconstruction()
    assert calls == [N + 4 + N]
    for view, code in codes.items():
        assert torch.allclose(code.joined, alone.code(view).joined, atol=1e-6)
    assert torch.allclose(together.reconstruction(), alone.reconstruction(), atol=1e-6)


@pytest.mark.parametrize("together", [True, False])
def test_a_step_forgets_what_depends_on_parameters(together, encoder, decoder, rows):
    noise = []
    step = EncoderStep(rows, encoder, decoder, corrupt=lambda x: noise.append(1) or x + 1.0, together=together)
    before, out = step.code(), step.reconstruction()
    with torch.no_grad():
        for p in [*encoder.parameters(), *decoder.parameters()]:
            p.add_(0.1)
    assert step.code() is before and step.reconstruction() is out
    n_corrupted = len(noise)
    step.forget()
    assert not torch.allclose(step.code().z, before.z)
    assert not torch.allclose(step.reconstruction(), out)
    assert len(noise) == n_corrupted, "the noise of a minibatch stays the same"


@pytest.mark.parametrize("together", [True, False])
def test_detached_codes_have_no_graph(together, encoder, rows):
    step = EncoderStep(rows, encoder, together=together)
    first = step.detached_code()
    assert not first.z.requires_grad and not first.logits.requires_grad
    assert step.code().z.requires_grad and torch.equal(first.z, step.code().z)
    assert not step.detached_code().z.requires_grad


@pytest.mark.parametrize("encoded_first", [True, False])
@pytest.mark.parametrize("together", [True, False])
def test_without_gradient_the_code_is_the_detached_one(together, encoded_first, encoder, rows):
    calls = []
    step = EncoderStep(rows, counted(encoder, calls), together=together)
    if encoded_first:
        step.code()
    with torch.no_grad():
        code = step.code()
    n_calls, detached = len(calls), step.detached_code()
    assert torch.equal(code.z, detached.z) and torch.equal(code.logits, detached.logits)
    assert not code.z.requires_grad and not code.logits.requires_grad
    assert len(calls) == n_calls == 1, "and costs no pass of its own"
    assert step.code().z.requires_grad and torch.equal(step.code().z, code.z)


@pytest.mark.parametrize("together", [True, False])
def test_a_reconstruction_without_gradient_is_not_used_where_one_is_needed(together, encoder, decoder, rows):
    """A critic of rows looks at them first, without a graph; the loss of the decoder comes after it."""
    decoded = []
    step = EncoderStep(rows, encoder, counted(decoder, decoded), together=together)
    with torch.no_grad():
        first = step.reconstruction()
        assert step.reconstruction() is first and not first.requires_grad
    second = step.reconstruction()
    assert torch.equal(first, second) and second.requires_grad and len(decoded) == 2
    second.sum().backward()
    assert decoder.backbone.weight.grad.any() and encoder.head_z.weight.grad.any()


def test_the_encoder_sees_corrupted_rows(encoder, rows):
    step = EncoderStep(rows, encoder, corrupt=lambda x: x + 1)
    assert torch.equal(step.input("labelled"), rows["labelled"] + 1)
    assert torch.equal(step.code("labelled").z, encoder(rows["labelled"] + 1).z)
    assert torch.equal(step.detached_code("augmented").z, encoder(rows["augmented"] + 1).z)


def test_the_decoder_sees_what_join_makes_of_code_and_labels(encoder, rows):
    y = torch.tensor([0, 2, 1, 1])
    decoder = Decoder(nn.Linear(LATENT_DIM + 1, D), unit_range=True)
    step = EncoderStep(
        rows,
        encoder,
        decoder,
        labels={"labelled": y},
        join=lambda code, labels: torch.cat([code.z, (torch.zeros(N) if labels is None else labels)[:, None]], 1),
    )
    z = encoder(rows["labelled"]).z
    assert torch.allclose(step.reconstruction("labelled"), decoder(torch.cat([z, y[:, None]], 1)))
    assert step.reconstruction().shape == (N, D)


def test_notes_hold_no_graph(encoder, rows):
    step = EncoderStep(rows, encoder)
    step.note("length", step.code().z.norm())
    assert set(step.notes) == {"length"} and not step.notes["length"].requires_grad
