"""Codes, encoders and decoders."""

import pytest
import torch
from torch import nn

from aaekit.nn.encoder import Code, Decoder, Encoder, one_hot

N, D, N_FEATURES, LATENT_DIM, N_CLASSES = 10, 6, 8, 3, 4
POSTERIORS = ["deterministic", "gaussian", "universal"]


def make_encoder(posterior="deterministic", latent_dim=LATENT_DIM, n_classes=N_CLASSES) -> Encoder:
    torch.manual_seed(0)
    return Encoder(nn.Sequential(nn.Linear(D, N_FEATURES), nn.ReLU()), N_FEATURES, latent_dim, n_classes, posterior)


@pytest.fixture
def x():
    return torch.randn(N, D, generator=torch.Generator().manual_seed(1))


# --- Code
def test_joined_is_y_then_z():
    code = Code(torch.randn(N, LATENT_DIM), torch.randn(N, N_CLASSES))
    assert code.joined.shape == (N, N_CLASSES + LATENT_DIM)
    assert torch.equal(code.joined[:, :N_CLASSES], code.logits.softmax(1))
    assert torch.equal(code.joined[:, N_CLASSES:], code.z)
    assert torch.equal(Code(code.z).joined, code.z)


def test_y_is_a_distribution_in_float32():
    code = Code(torch.zeros(N, 1), (50 * torch.randn(N, N_CLASSES)).bfloat16())
    assert code.y.dtype == torch.float32 and (code.y >= 0).all()
    assert torch.allclose(code.y.sum(1), torch.ones(N))
    with pytest.raises(AssertionError, match="no categorical code"):
        _ = Code(code.z).y


@pytest.mark.parametrize("n_classes", [0, N_CLASSES])
def test_split_gives_consecutive_rows(n_classes):
    z, logits = torch.randn(N, LATENT_DIM), torch.randn(N, n_classes) if n_classes else None
    parts = Code(z, logits).split([2, 5, 3])
    assert [len(p.z) for p in parts] == [2, 5, 3]
    assert torch.equal(torch.cat([p.z for p in parts]), z)
    if logits is None:
        assert all(p.logits is None for p in parts)
    else:
        assert torch.equal(torch.cat([p.logits for p in parts]), logits)


@pytest.mark.parametrize("n_classes", [0, N_CLASSES])
def test_detached_codes_have_the_same_values_and_no_graph(n_classes, x):
    code = make_encoder(n_classes=n_classes)(x)
    cut = code.detach()
    assert code.joined.requires_grad and not cut.joined.requires_grad
    assert torch.equal(cut.joined, code.joined)


def test_one_hot():
    assert torch.equal(one_hot(torch.tensor([2, 0]), 3), torch.tensor([[0.0, 0, 1], [1, 0, 0]]))


# --- Encoder
@pytest.mark.parametrize("posterior", POSTERIORS)
@pytest.mark.parametrize(("latent_dim", "n_classes"), [(3, 4), (3, 0), (0, 4)])
def test_codes_have_the_shapes_of_the_arguments(posterior, latent_dim, n_classes, x):
    code = make_encoder(posterior, latent_dim, n_classes)(x)
    assert code.z.shape == (N, latent_dim)
    assert code.logits is None if n_classes == 0 else code.logits.shape == (N, n_classes)
    assert code.joined.shape == (N, latent_dim + n_classes)


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_noise_is_in_z_and_only_while_training(posterior, x):
    encoder = make_encoder(posterior)
    a, b = encoder(x), encoder(x)
    assert torch.equal(a.logits, b.logits), "the class depends on the row alone"
    if posterior == "deterministic":
        assert torch.equal(a.z, b.z)
    else:
        assert ((a.z - b.z).abs() > 0).float().mean() > 0.9
        assert len(encoder(x[:1].expand(N, D)).z.unique(dim=0)) == N, "each row has its own noise"
    encoder.eval()
    assert torch.equal(encoder(x).z, encoder(x).z)


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_the_noise_depends_on_torchs_random_state(posterior, x):
    encoder = make_encoder(posterior)
    codes = []
    for _ in range(2):
        torch.manual_seed(5)
        codes.append(encoder(x).z)
    assert torch.equal(*codes)


def test_the_gaussian_posterior_has_the_mean_and_variance_that_its_head_gives(x):
    encoder = make_encoder("gaussian")
    mean, log_variance = encoder.head_z(encoder.backbone(x[:1])).chunk(2, 1)
    torch.manual_seed(0)
    z = encoder(x[:1].expand(20_000, D)).z
    assert torch.allclose(z.mean(0), mean[0], atol=0.04)
    assert torch.allclose(z.std(0), (0.5 * log_variance[0]).exp(), rtol=0.03)
    assert torch.equal(encoder.eval()(x[:1]).z, mean)


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_every_parameter_of_the_encoder_learns(posterior, x):
    encoder = make_encoder(posterior)
    code = encoder(x)
    (code.z.square().sum() + code.logits.square().sum()).backward()
    assert [n for n, p in encoder.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_backbones_may_give_images(x):
    encoder = Encoder(nn.Unflatten(1, (2, 3, 1)), D, LATENT_DIM)
    assert encoder(x).z.shape == (N, LATENT_DIM)


# --- Decoder
@pytest.mark.parametrize("unit_range", [True, False])
def test_the_mean_row_is_in_the_range_of_the_data(unit_range):
    decoder = Decoder(nn.Linear(2, D), unit_range)
    code = 100 * torch.randn(N, 2)
    out, mean = decoder(code), decoder.mean(code)
    assert mean.shape == (N, D) and mean.dtype == torch.float32
    if unit_range:
        assert mean.min() >= 0 and mean.max() <= 1 and out.max() > 1
        assert torch.equal(mean, out.sigmoid())
    else:
        assert torch.equal(mean, out)
