"""Contracts of the transformations: they change each row a little, and nothing else."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from aaekit import augment
from aaekit.augment import (
    SYMMETRIES,
    AffineImages,
    Amplitude,
    Compose,
    Crop,
    FeatureNoise,
    Identity,
    Light,
    Mirror,
    WarpedTime,
)
from aaekit.errors import InputError

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (2, 9, 17), (1, 40, 12)]


def only(**largest: float) -> AffineImages:
    """A transformation with the given motions alone."""
    return replace(AffineImages(rotation=0, scale=0, shear=0, translation=0, bend=0), **cast(Any, largest))


def blobs(n: int, shape: tuple[int, int, int], x0: float = 0.0, y0: float = 0.0) -> Tensor:
    """Images (n, c, h, w) in [0, 1] of one round blob, centred (x0, y0) pixels off the middle."""
    c, h, w = shape
    x, y = torch.arange(w) - (w - 1) / 2 - x0, torch.arange(h) - (h - 1) / 2 - y0
    blob = (-(x**2 + y[:, None] ** 2) / (2 * (min(h, w) / 8) ** 2)).exp()
    return blob.expand(n, c, h, w).contiguous()


def centroids(images: Tensor) -> Tensor:
    """Centres of mass (n, 2) in pixels from the middle, right and down."""
    mass = images.sum(1)
    h, w = mass.shape[1:]
    x, y = torch.arange(w) - (w - 1) / 2, torch.arange(h) - (h - 1) / 2
    return torch.stack([(mass * x).sum((1, 2)), (mass * y[:, None]).sum((1, 2))], 1) / mass.sum((1, 2))[:, None]


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


# every transformation


@pytest.fixture(params=[*SHAPES, (2, 40), (5,)], ids=str)
def shape(request: pytest.FixtureRequest) -> tuple[int, ...]:
    return request.param


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_shape_and_type_are_kept(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    transform = augment.make("auto", shape)
    for n in (0, 1, 6):
        x = torch.rand(n, *shape, dtype=dtype)
        before = x.clone()
        after = transform(x)
        assert after.shape == x.shape
        assert after.dtype == dtype
        assert after.isfinite().all()
        assert torch.equal(x, before)


def test_every_row_differs_and_a_seed_repeats_it(shape: tuple[int, ...]) -> None:
    transform = augment.make("auto", shape)
    x = torch.rand(1, *shape).expand(8, *shape).contiguous()
    torch.manual_seed(1)
    first, second = transform(x), transform(x)
    torch.manual_seed(1)
    assert torch.equal(transform(x), first)
    assert not torch.equal(first, second)
    distances = torch.cdist(first.flatten(1), first.flatten(1)) + torch.eye(8)
    assert distances.min() > 1e-3


def test_no_strength_changes_nothing(shape: tuple[int, ...]) -> None:
    x = torch.rand(4, *shape)
    assert torch.equal(augment.make("auto", shape, strength=0)(x), x)


def test_more_strength_changes_more(shape: tuple[int, ...]) -> None:
    x = blobs(300, shape, 1.0) if len(shape) == 3 else torch.randn(300, *shape)
    change = [(augment.make("auto", shape, strength=s)(x) - x).square().mean().item() for s in (0.1, 0.5, 1.0)]
    assert change[0] < 0.5 * change[1] < change[2]
    assert change[0] < 0.1 * change[2]


def test_autocast_changes_nothing(shape: tuple[int, ...]) -> None:
    transform, x = augment.make("auto", shape), torch.rand(4, *shape)
    torch.manual_seed(1)
    full = transform(x)
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(transform(x), full)


# images


@pytest.mark.parametrize("padding", ["zeros", "edge"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_range_is_kept(shape: tuple[int, int, int], padding: str) -> None:
    x = (torch.rand(50, *shape) > 0.5).float()
    after = AffineImages(padding=padding, strength=2)(x)
    assert after.min() >= 0
    assert after.max() <= 1 + 1e-5


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_affine_without_any_motion_is_the_identity(shape: tuple[int, int, int]) -> None:
    x = torch.rand(4, *shape)
    for padding in ("zeros", "edge"):
        assert torch.allclose(replace(only(), padding=padding)(x), x, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_an_image_stays_recognisable_and_in_place(shape: tuple[int, int, int]) -> None:
    """Of two blobs on either side, the transformed image is nearer to its own: the label would survive."""
    _, h, w = shape
    left, right = blobs(400, shape, -w / 4), blobs(400, shape, w / 4)
    transform = augment.make("auto", shape)
    assert isinstance(transform, AffineImages)
    transform = replace(transform, bend=0)
    moved = transform(left)
    overlap = [(moved * kind).flatten(1).sum(1) for kind in (left, right)]
    assert (overlap[0] > overlap[1]).all()
    correlation = torch.cosine_similarity(moved.flatten(1), left.flatten(1))
    assert correlation.mean() > 0.6
    move = centroids(transform(blobs(400, shape))).abs()
    # moved by at most the translation, seen through the change of scale and shear; on average by half of it
    for size, pixels in ((w, move[:, 0]), (h, move[:, 1])):
        assert pixels.max() < 1.6 * transform.translation * size + 0.3
        assert 0.3 * transform.translation * size < pixels.mean() < 0.8 * transform.translation * size + 0.1


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_bent_image_stays_recognisable_and_in_place(shape: tuple[int, int, int]) -> None:
    """With the bends of the default, under 1 % of them look like the other class, and each blob stays in its place."""
    _, h, w = shape
    left, right = blobs(400, shape, -w / 4), blobs(400, shape, w / 4)
    transform = augment.make("auto", shape)
    moved = transform(left)
    overlap = [(moved * kind).flatten(1).sum(1) for kind in (left, right)]
    assert (overlap[0] > overlap[1]).float().mean() > 0.99
    assert torch.cosine_similarity(moved.flatten(1), left.flatten(1)).mean() > 0.55
    move = centroids(transform(blobs(400, shape))).abs()
    assert isinstance(transform, AffineImages)
    for size, pixels in ((w, move[:, 0]), (h, move[:, 1])):
        assert pixels.max() < (1.6 * transform.translation + 3 * transform.bend) * size + 0.3
        assert 0.3 * transform.translation * size < pixels.mean() < 0.8 * transform.translation * size + 0.1


def test_channels_move_together() -> None:
    x = torch.rand(10, 1, 16, 16).expand(10, 3, 16, 16).contiguous()
    after = AffineImages()(x)
    assert torch.equal(after[:, 0], after[:, 1])
    assert torch.equal(after[:, 0], after[:, 2])


@pytest.mark.parametrize("shape", [(1, 32, 32), (1, 24, 48), (1, 48, 24)], ids=str)
def test_a_rotation_turns_pixels_by_no_more_than_its_angle(shape: tuple[int, int, int]) -> None:
    distance = min(shape[1:]) / 4
    after = centroids(only(rotation=40.0)(blobs(500, shape, distance)))
    angle = torch.atan2(after[:, 1], after[:, 0]) * 180 / math.pi
    assert angle.abs().max() < 41
    assert angle.max() > 35
    assert angle.min() < -35
    assert angle.mean().abs() < 4
    assert torch.allclose(after.norm(dim=1), torch.full((500,), distance), rtol=0.05)


def test_a_translation_is_a_fraction_of_each_side() -> None:
    shape = (1, 40, 80)
    move = centroids(only(translation=0.2)(blobs(1000, shape)))
    assert move[:, 0].abs().max().item() == pytest.approx(16, rel=0.05)
    assert move[:, 1].abs().max().item() == pytest.approx(8, rel=0.05)
    assert move.mean(0).abs().max() < 1


def test_a_scale_is_a_factor_either_way() -> None:
    mass = blobs(1000, (1, 32, 32)).sum((1, 2, 3))
    area = only(scale=0.3)(blobs(1000, (1, 32, 32))).sum((1, 2, 3)) / mass
    assert math.exp(-0.62) < area.min() < math.exp(-0.45)
    assert math.exp(0.45) < area.max() < math.exp(0.62)
    assert area.log().mean().abs() < 0.03


def test_a_shear_moves_rows_sideways() -> None:
    high, middle = blobs(500, (1, 32, 32), 0, -8), blobs(500, (1, 32, 32))
    transform = only(shear=0.5)
    moved = centroids(transform(high))
    assert moved[:, 0].abs().max().item() == pytest.approx(4, rel=0.1)
    assert torch.allclose(moved[:, 1], torch.tensor(-8.0), atol=0.3)
    assert centroids(transform(middle)).abs().max() < 0.1


@pytest.mark.parametrize("size", [16, 40])
def test_bends_have_the_given_size_and_are_smooth(size: int) -> None:
    ramp = (torch.arange(size) / size).expand(2000, 1, size, size).contiguous()  # of positions
    shift = (only(bend=0.04)(ramp) - ramp)[:, 0]
    inside = slice(size // 4, -size // 4)
    assert shift[:, inside, inside].std(0).sub(0.04).abs().max() < 0.004
    assert shift[:, inside, inside].mean(0).abs().max() < 0.004

    def correlation(a: Tensor, b: Tensor) -> float:
        return torch.corrcoef(torch.stack([a, b]))[0, 1].item()

    middle = shift[:, size // 2, size // 2]
    assert correlation(middle, shift[:, size // 2, size // 2 + size // 16]) > 0.9
    assert abs(correlation(shift[:, size // 2, size // 4], shift[:, size // 2, -size // 4])) < 0.35
    assert not torch.equal(middle, shift[:, size // 4, size // 2])


def test_padding_is_zeros_or_the_edge() -> None:
    white = torch.ones(200, 1, 16, 16)
    assert AffineImages()(white).min() == 0
    assert torch.allclose(AffineImages(padding="edge")(white), white)


# tables


def test_noise_and_drop_follow_the_arguments() -> None:
    x = torch.full((4000, 5), 3.0)
    noisy = FeatureNoise(std=0.2, drop=0)(x)
    assert (noisy - x).std().item() == pytest.approx(0.2, rel=0.05)
    assert (noisy - x).mean().abs() < 0.01
    dropped = FeatureNoise(std=0, drop=0.3)(x)
    assert set(dropped.unique().tolist()) == {0, 3}
    assert torch.allclose(dropped.eq(0).float().mean(0), torch.tensor(0.3), atol=0.04)
    assert torch.allclose(
        FeatureNoise(std=0, drop=0.3, strength=0.5)(x).eq(0).float().mean(), torch.tensor(0.15), atol=0.02
    )


def test_a_row_of_a_table_stays_nearest_to_itself() -> None:
    x = torch.randn(300, 20)
    nearest = torch.cdist(FeatureNoise()(x), x).argmin(1)
    assert (nearest == torch.arange(300)).float().mean() > 0.97


# make


def test_auto_depends_on_the_shape() -> None:
    assert augment.make("auto", (1, 8, 8)) == augment.make("auto", (3, 28, 28)) == AffineImages()
    assert augment.make("auto", (12,)) == FeatureNoise()
    assert augment.automatic((2, 40)) == "time+amplitude+jitter"


def test_names_strength_and_callables() -> None:
    assert augment.make("affine", (1, 8, 8), strength=0.5) == AffineImages(strength=0.5)
    assert augment.make("noise", (1, 8, 8)) == FeatureNoise()
    x = torch.rand(2, 3)
    for none in ("none", None):
        assert augment.make(none, (3,))(x) is x
    assert torch.equal(augment.make(torch.square, (3,))(x), x.square())


def test_compose_goes_from_left_to_right() -> None:
    both = Compose(lambda x: x + 1, lambda x: x * 2)
    assert both(torch.tensor(3.0)) == 8
    assert repr(Compose(Identity(), FeatureNoise(std=0.3))).startswith("Compose(Identity(")
    x = torch.rand(2, 3)
    assert Compose()(x) is x


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: augment.make("afine", (1, 8, 8)), "expected 'auto' or .*, got 'afine'.*id you mean 'affine'"),
        (lambda: augment.make("affine", (5,)), "augmentation: expected images .*, got rows of shape .*: use 'noise'"),
        (lambda: augment.make(lambda x: x[:, 1:], (5,))(torch.rand(3, 5)), r"shape \(3, 5\) .*, got \(3, 4\)"),
        (lambda: augment.make(cast(Any, print), (5,))(torch.rand(3, 5)), r"shape \(3, 5\) .*, got NoneType"),
        (lambda: augment.make(cast(Any, 3), (5,)), "expected a name or a callable from batch to batch, got 3"),
        (lambda: augment.make("auto", (1, 8, 8), strength=-1), "strength: expected a number of at least 0, got -1"),
        (lambda: FeatureNoise(strength=math.nan), "strength: expected a number of at least 0, got nan"),
        (lambda: AffineImages(padding=cast(Any, "border")), "padding: expected 'zeros' or 'edge', got 'border'"),
        (lambda: AffineImages()(torch.rand(4, 64)), r"\(n, channels, height, width\), got \(4, 64\)"),
    ],
)
def test_mistakes_are_named(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


# photos


@pytest.mark.parametrize("name", SYMMETRIES)
def test_half_of_the_images_are_mirrored(name: str) -> None:
    x = torch.rand(400, 2, 6, 6)
    y = Mirror(name)(x)
    mirrored = (y == SYMMETRIES[name](x)).flatten(1).all(1)
    assert ((y == x).flatten(1).all(1) | mirrored).all() and 140 < mirrored.sum() < 260
    assert torch.equal(SYMMETRIES[name](SYMMETRIES[name](x)), x)


def test_light_changes_contrast_brightness_and_colour_of_each_image() -> None:
    x = 0.4 + 0.2 * torch.rand(50, 3, 8, 8)
    y = Light()(x)
    assert y.min() >= 0 and y.max() <= 1
    assert y.mean((1, 2, 3)).std() > 0.05 and (y.std((1, 2, 3)) / x.std((1, 2, 3))).std() > 0.05
    tints = y.mean((2, 3)) / y.mean((1, 2, 3))[:, None]
    assert tints.std(0).min() > 0.01
    grey = Light(brightness=0, contrast=0)(x[:, :1])
    assert torch.allclose(grey, x[:, :1])


def test_crops_are_parts_of_the_image_at_its_size() -> None:
    """Every pixel of a crop of a ramp says where it comes from."""
    w, h = 40, 24
    across = torch.arange(w).float().expand(h, w)
    x = torch.stack([across, torch.arange(h).float()[:, None].expand(h, w)]).expand(200, 2, h, w)
    y = Crop(smallest=0.5)(x)
    assert y.shape == x.shape and torch.equal(Crop(strength=0)(x), x)
    width = (y[:, 0, 0, -1] - y[:, 0, 0, 0]) / (w - 1)
    height = (y[:, 1, -1, 0] - y[:, 1, 0, 0]) / (h - 1)
    assert torch.allclose(width, height, atol=0.03) and 0.45 < width.min() < 0.6 and width.max() > 0.9
    left, right = y[:, 0, 0, 0], y[:, 0, 0, -1]
    assert left.min() >= 0 and right.max() <= w - 1 and left.max() > 15 and right.min() < w - 16
    steps = y[:, 0, 0].diff(dim=1)[:, 1:-1]  # evenly enlarged, and nothing from outside
    assert torch.allclose(steps, steps.mean(1, keepdim=True).expand_as(steps), atol=1e-3)


def test_names_are_joined_in_order_and_automatic_ones_follow_the_images() -> None:
    made = augment.make("flip+light+affine_edge", (3, 16, 16))
    assert isinstance(made, Compose)
    assert [type(t) for t in made.transforms] == [Mirror, Light, AffineImages]
    assert augment.automatic((1, 28, 28)) == "affine" and augment.automatic((5,)) == "noise"
    photo = augment.automatic((3, 64, 64), ("flip",), is_photo=True)
    assert photo == "flip+light+affine_edge" and augment.symmetries_in(photo) == ("flip",)
    bent = augment.without_bending(made)
    assert isinstance(bent, Compose) and bent.transforms[2] == AffineImages(padding="edge", bend=0.0)


@pytest.mark.parametrize(
    ("spec", "shape", "message"),
    [
        ("flip", (5,), "expected images .* for 'flip'.*use 'noise'"),
        ("affine", (2, 40), r"expected images .* got rows of shape \(2, 40\): use 'time\+amplitude\+jitter'"),
        ("time", (1, 8, 8), "expected signals .* for 'time'.*use 'affine'"),
        ("flip+lihgt", (1, 8, 8), "got 'lihgt'.*light"),
        ("transpose", (1, 8, 9), "expected square images for 'transpose'"),
    ],
)
def test_what_does_not_fit_is_refused(spec: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        augment.make(spec, shape)


# signals


def pulses(n: int, length: int = 200, at: float = 0.0) -> Tensor:
    """Signals (n, 2, length) of one smooth pulse, `at` of the length after the middle, in both channels."""
    t = (torch.arange(length) + 0.5) / length - 0.5 - at
    return (-((t / 0.04) ** 2) / 2).exp().expand(n, 2, length).contiguous()


def middles(signals: Tensor) -> Tensor:
    """Centres of mass (n,) of the first channel, in units of the length, from the middle."""
    t = (torch.arange(signals.shape[2]) + 0.5) / signals.shape[2] - 0.5
    return (signals[:, 0] * t).sum(1) / signals[:, 0].sum(1)


def test_time_without_any_motion_is_the_identity() -> None:
    x = torch.randn(5, 2, 33)
    assert torch.allclose(WarpedTime(shift=0, stretch=0, bend=0)(x), x, atol=1e-5)


@given(st.floats(0.01, 0.3), st.integers(20, 300))
def test_a_shift_in_time_is_a_fraction_of_the_length(shift: float, length: int) -> None:
    torch.manual_seed(0)
    moved = middles(WarpedTime(shift=shift, stretch=0, bend=0)(pulses(200, length)))
    assert 0.8 * shift < moved.abs().max() < shift + 0.01 and moved.mean().abs() < 0.2 * shift


def test_a_stretch_is_a_factor_either_way() -> None:
    x = pulses(300, at=0.2)
    factors = middles(WarpedTime(shift=0, stretch=0.2, bend=0)(x)) / 0.2
    assert 0.8 < factors.min() < 0.84 and 1.19 < factors.max() < 1.23


def test_bends_of_time_have_the_given_size() -> None:
    moved = middles(WarpedTime(shift=0, stretch=0, bend=0.02)(pulses(2000, at=0.1)))
    assert 0.015 < moved.std() < 0.025


def test_channels_of_a_signal_move_together_and_change_their_amplitude_alone() -> None:
    x = pulses(50)
    moved, louder = WarpedTime()(x), Amplitude()(x)
    assert torch.equal(moved[:, 0], moved[:, 1]) and not torch.equal(louder[:, 0], louder[:, 1])
    assert (louder.argmax(2) == x.argmax(2)).all()
    gains = (louder.amax(2) - louder.amin(2)) / (x.amax(2) - x.amin(2))
    assert 0.8 < gains.min() < 0.9 and 1.1 < gains.max() < 1.23


def test_beyond_the_ends_of_a_signal_are_the_values_of_its_ends() -> None:
    ramp = torch.linspace(-1, 1, 50).expand(100, 1, 50)
    moved = WarpedTime(shift=0.5)(ramp)
    assert moved.min() == -1 and moved.max() == 1 and (moved.diff(dim=2) >= -1e-6).all()
