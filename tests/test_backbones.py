"""What holds for every backbone: shapes, gradients, where dropout and batch norm may be."""

import copy
import math

import pytest
import torch
from torch import nn

from aaekit import InputError
from aaekit.nn.backbones import (
    Crop,
    _Flatten,
    backbone_name,
    conv_decoder,
    conv_encoder,
    decoder_backbone,
    discriminator,
    encoder_backbone,
    n_halvings,
)
from aaekit.nn.encoder import Decoder, Encoder

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (1, 9, 13), (3, 64, 64), (1, 24), (3, 101), (30,)]
BUILDS = [(name, s) for s in SHAPES for name in ("mlp", "conv", "resnet") if len(s) > 1 or name == "mlp"]
LATENT_DIM, N_CLASSES = 3, 4
WIDTHS = {"mlp": (16, 12), "conv": (4, 8)}


def ids(value):
    return value if isinstance(value, str) else "x".join(map(str, value))


def encoder_of(name, shape, dropout=0.0, **options) -> tuple[Encoder, int]:
    settings = {"hidden": WIDTHS.get(name, (4, 8)), "dropout": dropout, "batch_norm": False, **options}
    backbone, n_features = encoder_backbone(name, shape, **settings)
    return Encoder(backbone, n_features, LATENT_DIM, N_CLASSES), n_features


def decoder_of(name, shape, dropout=0.0) -> nn.Module:
    return decoder_backbone(name, LATENT_DIM + N_CLASSES, shape, hidden=WIDTHS.get(name, (4, 8)), dropout=dropout)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


# --- the contract of every backbone
@pytest.mark.parametrize(("name", "shape"), BUILDS, ids=ids)
def test_shapes_and_gradients(name, shape):
    encoder, n_features = encoder_of(name, shape)
    decoder = decoder_of(name, shape)
    x = torch.rand(6, *shape)
    assert encoder.backbone(x).flatten(1).shape == (6, n_features)
    code = encoder(x)
    assert code.z.shape == (6, LATENT_DIM) and code.logits.shape == (6, N_CLASSES)
    out = decoder(code.joined)
    assert out.shape == x.shape and out.isfinite().all()
    ((out - x).square().sum() + code.z.square().sum() + code.logits.square().sum()).backward()
    for module in (encoder, decoder):
        assert [n for n, p in module.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize(("name", "shape"), BUILDS, ids=ids)
def test_every_value_of_a_row_counts(name, shape):
    """No pixel is cut off on the way in, none is constant on the way out."""
    encoder, _ = encoder_of(name, shape)
    x = torch.rand(4, *shape, requires_grad=True)
    encoder.eval()(x).joined.square().sum().backward()
    assert (x.grad.abs().sum(0) > 0).float().mean() > 0.9  # ReLUs may shut a few
    decoder = decoder_of(name, shape)
    assert (decoder(torch.randn(8, LATENT_DIM + N_CLASSES)).std(0) > 0).all()


@pytest.mark.parametrize("shape", [(3, 4, 6), (3, 7)])
def test_flattened_rows_get_a_gradient_in_their_own_layout(shape):
    """Else ReLU mixes two layouts in its backward pass, which takes thirty times as long."""
    rows = torch.randn(2, *shape, dtype=torch.float64)
    layouts = [torch.channels_last, torch.contiguous_format] if len(shape) == 3 else [torch.contiguous_format]
    for layout in layouts:
        x = rows.contiguous(memory_format=layout).requires_grad_()
        assert torch.equal(_Flatten()(x), rows.flatten(1))
        (gradient,) = torch.autograd.grad(_Flatten()(x).square().sum(), x)
        assert torch.equal(gradient, 2 * rows) and gradient.is_contiguous(memory_format=layout)
        assert torch.autograd.gradcheck(_Flatten(), x) and torch.autograd.gradgradcheck(_Flatten(), x)
    layers = conv_encoder((1, 28, 28), (4, 5, 6), 9)
    assert [type(layer) for layer in layers].count(_Flatten) == 1


@pytest.mark.parametrize("side", [8, 9, 15, 16, 28, 31, 32, 64, 96])
def test_convolutions_shrink_to_at_most_8_pixels(side):
    seen = []
    net = conv_encoder((1, side, side), (2,), 4)
    for layer in net:
        layer.register_forward_hook(lambda m, i, out: seen.append(out.shape))
    net(torch.zeros(2, 1, side, side))
    smallest = [s for s in seen if len(s) == 4][-1][2:]
    assert smallest == (math.ceil(side / 2 ** n_halvings((1, side, side))),) * 2 and max(smallest) <= 8
    assert conv_decoder(2, (1, side, side), (2,))(torch.zeros(2, 2)).shape == (2, 1, side, side)


@pytest.mark.parametrize("name", ["conv", "resnet"])
def test_long_signals_are_pooled_over_time(name):
    """The same pattern has about the same features whenever it comes."""
    encoder, n_features = encoder_of(name, (2, 128), hidden="auto")
    pattern, x = torch.rand(2, 12), torch.zeros(2, 2, 128)
    x[0, :, 48:60], x[1, :, 64:76] = pattern, pattern
    here, there = encoder.eval().backbone(x)
    assert n_features == 256 and (here - there).norm() < 0.2 * here.norm()  # the edges are within reach


@pytest.mark.parametrize("name", ["conv", "resnet"])
def test_large_images_are_pooled_over_places(name):
    """A small thing on plain ground has the same features wherever it is."""
    encoder, n_features = encoder_of(name, (1, 64, 64), hidden="auto")
    thing, x = torch.rand(6, 6), torch.zeros(2, 1, 64, 64)
    x[0, 0, 16:22, 16:22], x[1, 0, 32:38, 40:46] = thing, thing
    here, there = encoder.eval().backbone(x)
    assert n_features == 256 and (here - there).norm() < 0.05 * here.norm()


def test_widths_follow_the_arguments_and_the_decoder_mirrors_them():
    def widths(module, kind):
        return [m.weight.shape[0] for m in module.modules() if isinstance(m, kind)]

    encoder, _ = encoder_of("mlp", (30,), hidden=(16, 12, 7))
    assert widths(encoder.backbone, nn.Linear) == [16, 12, 7]
    decoder = decoder_backbone("mlp", 2, (30,), hidden=(16, 12, 7), dropout=0.0)
    assert widths(decoder, nn.Linear) == [7, 12, 16, 30]
    assert widths(conv_encoder((3, 32, 32), (4, 5, 6), 9), nn.Conv2d) == [4, 5, 6]
    assert widths(conv_encoder((3, 32, 32), (4,), 9), nn.Conv2d) == [4, 4, 4]
    transposed = [m for m in conv_decoder(2, (3, 32, 32), (4, 5)).modules() if isinstance(m, nn.ConvTranspose2d)]
    assert [m.out_channels for m in transposed] == [4, 3] and transposed[0].in_channels == 5


@pytest.mark.parametrize(("shape", "width"), [((13,), 256), ((1, 16, 16), 256), ((257,), 256), ((1, 28, 28), 1000)])
def test_rows_of_few_values_have_narrower_layers(shape, width):
    encoder, n_features = encoder_of("mlp", shape, hidden="auto")
    decoder = decoder_backbone("mlp", 2, shape, hidden="auto", dropout=0.0)
    layers = [
        [m.out_features for m in net.modules() if isinstance(m, nn.Linear)] for net in (encoder.backbone, decoder)
    ]
    assert layers == [[width, width], [width, width, math.prod(shape)]] and n_features == width


def test_no_hidden_layer_is_a_linear_model():
    encoder, n_features = encoder_of("mlp", (30,), hidden=())
    assert n_features == 30 and not list(encoder.backbone.parameters())
    assert decoder_backbone("mlp", 2, (30,), hidden=(), dropout=0.0)(torch.zeros(5, 2)).shape == (5, 30)


def test_crop_keeps_the_centre():
    x = torch.arange(36.0).view(1, 1, 6, 6)
    assert torch.equal(Crop((2, 4))(x), x[:, :, 2:4, 1:5])
    assert torch.equal(Crop((2,))(x[0]), x[0, :, :, 2:4])


# --- the choice of a backbone
@pytest.mark.parametrize(
    ("shape", "name"),
    [((1, 8, 8), "conv"), ((3, 7, 64), "mlp"), ((30,), "mlp"), ((3, 64, 64), "conv"), ((2, 8), "conv")],
)
def test_auto_depends_on_the_shape(shape, name):
    assert backbone_name("auto", shape) == name
    assert any(isinstance(m, nn.Conv1d | nn.Conv2d) for m in encoder_of("auto", shape)[0].modules()) == (name == "conv")


@pytest.mark.parametrize("shape", [(30,), (1, 7, 7), (1, 28, 7), (2, 7)], ids=ids)
def test_convolutions_refuse_tables_and_small_images(shape):
    for build in (encoder_of, decoder_of):
        with pytest.raises(
            InputError, match=r"backbone: expected .*8x8 or larger .* for 'conv', got .*: .*backbone='mlp'"
        ):
            build("conv", shape)


@pytest.mark.parametrize(
    ("spec", "message"), [("conf", "got 'conf'.*id you mean 'conv'"), (3, "expected 'auto', 'mlp', 'conv'.*, got 3")]
)
def test_unknown_backbones_are_named(spec, message):
    with pytest.raises(InputError, match=message):
        backbone_name(spec, (30,))


@pytest.mark.parametrize(
    ("module", "shape", "n_features"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 7)), (1, 8, 8), 7),
        (nn.Conv2d(3, 5, 3), (3, 10, 10), 5 * 64),
        (nn.Sequential(nn.Linear(30, 6), nn.BatchNorm1d(6)), (30,), 6),
        (nn.LazyLinear(9), (30,), 9),
    ],
)
def test_any_module_is_a_backbone_and_is_copied(module, shape, n_features):
    lazy = isinstance(module, nn.LazyLinear)
    before = None if lazy else copy.deepcopy(module.state_dict())
    encoder, n_outputs = encoder_of(module, shape)
    assert n_outputs == n_features and encoder.backbone is not module and encoder.backbone.training
    code = encoder(torch.rand(4, *shape))
    code.joined.sum().backward()
    torch.optim.SGD(encoder.parameters(), lr=1.0).step()
    assert code.z.shape == (4, LATENT_DIM)
    assert all(p.grad is None for p in module.parameters())
    if before is not None:  # trying it moved no batch-norm statistics either
        assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())


def test_a_given_decoder_is_copied_and_must_make_rows():
    module = nn.Sequential(nn.Linear(LATENT_DIM + N_CLASSES, 64), nn.Unflatten(1, (1, 8, 8)))
    made = decoder_of(module, (1, 8, 8))
    assert made is not module and torch.equal(made[0].weight, module[0].weight)
    with pytest.raises(
        InputError, match=r"expected rows of shape \(1, 8, 8\) from codes of 7 dimensions, got \(64,\): "
    ):
        decoder_of(module[0], (1, 8, 8))


@pytest.mark.parametrize(
    "module", [nn.Linear(5, 3), nn.BatchNorm1d(5), nn.BatchNorm2d(5)], ids=["Linear", "BatchNorm1d", "BatchNorm2d"]
)
def test_a_module_for_other_rows_is_refused(module):
    with pytest.raises(
        InputError, match=r"backbone: expected a module that takes rows of shape \(30,\), got .*: change"
    ):
        encoder_of(module, (30,))
    with pytest.raises(InputError, match=r"decoder: expected a module that takes rows of shape \(7,\), got .*: change"):
        decoder_of(module, (30,))


def test_a_module_that_gives_no_tensor_is_refused():
    with pytest.raises(InputError, match="backbone: expected a module that returns a tensor, got .* returns a tuple: "):
        encoder_of(nn.LSTM(30, 4), (30,))


# --- dropout and batch norm
@pytest.mark.parametrize(("name", "shape"), BUILDS, ids=ids)
def test_there_is_no_dropout_on_code_and_output(name, shape):
    """A dropped value would be exactly zero."""
    encoder, decoder = encoder_of(name, shape, dropout=0.9)[0], decoder_of(name, shape, dropout=0.9)
    assert any(isinstance(m, nn.Dropout) for m in encoder.modules())
    x = torch.rand(20, *shape)
    code = encoder(x)
    assert code.z.any(1).all() and (code.joined != 0).float().mean() > 0.99
    assert not torch.equal(code.z, encoder(x).z), "dropout is on while training"
    seen = []
    next(m for m in decoder.modules() if isinstance(m, nn.Linear)).register_forward_hook(
        lambda m, inputs, out: seen.append(inputs[0])
    )
    out = decoder(torch.randn(20, LATENT_DIM + N_CLASSES))
    assert (seen[0] != 0).all() and (out != 0).all()
    encoder.eval()
    assert torch.equal(encoder(x).z, encoder(x).z)


def test_dropout_and_batch_norm_follow_the_arguments():
    def kinds(module):
        return {type(m).__name__ for m in module.modules()}

    plain, _ = encoder_of("mlp", (30,))
    assert not kinds(plain) & {"Dropout", "BatchNorm1d"}
    assert "BatchNorm1d" in kinds(encoder_of("mlp", (30,), batch_norm=True)[0])
    assert "Dropout" not in kinds(encoder_of("conv", (1, 8, 8))[0])
    rates = [m.p for m in encoder_of("mlp", (30,), dropout=0.25)[0].modules() if isinstance(m, nn.Dropout)]
    assert rates == [0.25, 0.25]


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_discriminator_scores_each_row_by_itself(dropout):
    critic = discriminator(5, (8, 6), dropout=dropout)
    assert not any("Norm" in type(m).__name__ for m in critic.modules())
    assert [m.out_features for m in critic.modules() if isinstance(m, nn.Linear)] == [8, 6, 1]
    assert sum(isinstance(m, nn.Dropout) for m in critic.modules()) == 2 * (dropout > 0)
    assert isinstance(critic[-1], nn.Linear), "logits, without sigmoid or dropout"
    if not dropout:
        z = torch.randn(6, 5)
        alone = torch.cat([critic(row[None]) for row in z])
        assert critic(z).shape == (6, 1) and torch.allclose(critic(z), alone, atol=1e-6)


def test_decoder_wraps_a_backbone():
    decoder = Decoder(decoder_of("mlp", (30,)), unit_range=True)
    code = torch.randn(3, LATENT_DIM + N_CLASSES)
    assert torch.equal(decoder(code), decoder.backbone(code))


def test_a_convolutional_network_needs_channels():
    for build in (
        lambda: encoder_of("conv", (1, 8, 8), hidden=()),
        lambda: decoder_backbone("conv", 2, (1, 8, 8), hidden=(), dropout=0.0),
    ):
        with pytest.raises(InputError, match="hidden: expected the channels of at least one layer") as error:
            build()
        assert "\n" not in str(error.value)
