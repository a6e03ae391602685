"""Each loss against a value worked out by hand."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from aaekit.losses import (
    classification_loss,
    conditional_entropy,
    consistency_kl,
    cyclic_loss,
    marginal_kl,
    mode_reconstruction_loss,
    mode_separation,
    pseudo_label_loss,
    reconstruction_error,
    reconstruction_loss,
    soft_label_cross_entropy,
    style_l2,
    virtual_adversarial_loss,
)
from aaekit.nn.encoder import Code, Decoder, Encoder
from aaekit.nn.frequencies import N_FORMING, ClassFrequencies
from aaekit.nn.step import EncoderStep

N, D, LATENT_DIM, N_CLASSES = 6, 5, 2, 3


class RowsAsLogits(nn.Module):
    """An encoder whose rows are their own logits, with a scale to learn."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return Code(x.new_zeros(len(x), 0), self.scale * x)


class Constant(nn.Module):
    """A classifier that does not look at the row."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.tensor([1.0, 0.0, -1.0]))

    def forward(self, x):
        return Code(x.new_zeros(len(x), 0), 0 * x.sum(1, keepdim=True) + self.bias)


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


# --- reconstruction
def test_bernoulli_is_the_summed_negative_log_probability():
    out, x = torch.randn(N, D), torch.rand(N, D).round()
    p = out.sigmoid()
    by_hand = -torch.where(x == 1, p, 1 - p).log().sum(1).mean()
    assert torch.allclose(reconstruction_error(out, x, "bernoulli", True), by_hand)
    half = torch.full((N, D), 0.5)
    assert reconstruction_error(torch.zeros(N, D), half, "bernoulli", True).item() == pytest.approx(D * math.log(2))


@pytest.mark.parametrize("unit_range", [True, False])
def test_gaussian_is_half_the_summed_squared_error(unit_range):
    out, x = torch.randn(N, D), torch.rand(N, D)
    mean = out.sigmoid() if unit_range else out
    by_hand = sum(0.5 * float((m - r) @ (m - r)) for m, r in zip(mean, x, strict=True)) / N
    assert reconstruction_error(out, x, "gaussian", unit_range).item() == pytest.approx(by_hand, rel=1e-5)


@pytest.mark.parametrize("kind", ["bernoulli", "gaussian"])
def test_the_error_is_a_sum_over_a_row_and_a_mean_over_rows_of_any_shape(kind):
    out, x = torch.randn(N, 1, 4, 3), torch.rand(N, 1, 4, 3)
    error = reconstruction_error(out, x, kind, True)
    assert torch.allclose(error, reconstruction_error(out.flatten(1), x.flatten(1), kind, True))
    assert torch.allclose(error, reconstruction_error(out.repeat(2, 1, 1, 1), x.repeat(2, 1, 1, 1), kind, True))
    twice = reconstruction_error(out.repeat(1, 1, 2, 1), x.repeat(1, 1, 2, 1), kind, True)
    assert torch.allclose(twice, 2 * error)
    assert reconstruction_error(out.bfloat16(), x, kind, True).dtype == torch.float32


@pytest.mark.parametrize("kind", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("together", [True, False])
def test_the_target_is_the_clean_row(kind, together, encoder, decoder, rows):
    clean = {k: v.clone() for k, v in rows.items()}
    step = EncoderStep(rows, encoder, decoder, corrupt=lambda x: x + torch.randn_like(x), together=together)
    loss = reconstruction_loss(step, kind)
    out = decoder(encoder(step.input("unlabelled")).joined)
    assert torch.allclose(loss, reconstruction_error(out, clean["unlabelled"], kind, True), atol=1e-5)
    assert torch.equal(rows["unlabelled"], clean["unlabelled"])


def test_reconstruction_knows_the_range_of_the_rows(encoder, rows):
    net = nn.Linear(N_CLASSES + LATENT_DIM, D)
    losses = [reconstruction_loss(EncoderStep(rows, encoder, Decoder(net, unit)), "gaussian") for unit in (True, False)]
    out = net(encoder(rows["unlabelled"]).joined)
    for loss, mean in zip(losses, (out.sigmoid(), out), strict=True):
        assert torch.allclose(loss, 0.5 * (mean - rows["unlabelled"]).square().sum(1).mean(), atol=1e-6)


# --- classes
def test_classification_is_the_cross_entropy_of_the_labelled_rows(encoder, rows):
    y = torch.tensor([0, 2, 1, 1])
    loss = classification_loss(EncoderStep(rows, encoder, labels={"labelled": y}))
    by_hand = -encoder(rows["labelled"]).y[torch.arange(4), y].log().mean()
    assert torch.allclose(loss, by_hand)
    assert torch.allclose(loss, F.cross_entropy(encoder(rows["labelled"]).logits, y))


def test_soft_labels_are_a_cross_entropy_and_rows_of_zeros_do_not_count():
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 0.0], [1.0, 1.0, 5.0]])
    soft_labels = torch.tensor([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    step = EncoderStep({"unlabelled": logits}, RowsAsLogits(), soft_labels={"unlabelled": soft_labels})
    loss = soft_label_cross_entropy(step)
    log_y = logits.log_softmax(1)
    assert torch.allclose(loss, -(0.5 * log_y[0, 0] + 0.5 * log_y[0, 1] + log_y[1, 1]) / 3)


def two_views(together=False):
    """Two certain rows and two uncertain ones, with their augmented views."""
    plain = torch.tensor([[9.0, 0, 0], [0, 9, 0], [0.3, 0, 0], [0, 0, 0]])
    augmented = torch.tensor([[2.0, 1, 0], [1, 0, 0], [0, 5, 0], [5, 0, 0]])
    return EncoderStep({"unlabelled": plain, "augmented": augmented}, RowsAsLogits(), together=together), augmented


@pytest.mark.parametrize("together", [True, False])
def test_only_certain_rows_have_pseudo_labels(together):
    step, augmented = two_views(together)
    log_y = augmented.log_softmax(1)
    loss = pseudo_label_loss(step, 0.95)
    assert torch.allclose(loss, -(log_y[0, 0] + log_y[1, 1]) / 4)
    assert step.notes["confident"].item() == 0.5
    assert pseudo_label_loss(step, 0.9999).item() == 0.0
    all_rows = -log_y[torch.arange(4), torch.tensor([0, 1, 0, 0])].mean()
    assert torch.allclose(pseudo_label_loss(step, 0.0), all_rows)


@pytest.mark.parametrize("together", [True, False])
def test_pseudo_labels_have_no_gradient(together):
    step, _ = two_views(together)
    for x in step.rows.values():
        x.requires_grad_()
    pseudo_label_loss(step, 0.95).backward()
    assert step.rows["unlabelled"].grad is None or not step.rows["unlabelled"].grad.any()
    touched = step.rows["augmented"].grad.any(1)
    assert touched.tolist() == [True, True, False, False]


# --- class frequencies
def step_of(logits):
    return EncoderStep({"unlabelled": logits}, RowsAsLogits())


def step_with_mean(p):
    return step_of(torch.tensor(p).log().repeat(N, 1))


def expecting(*frequencies, decay=0.0) -> ClassFrequencies:
    return ClassFrequencies(torch.tensor(frequencies), decay)


def test_without_decay_marginal_kl_is_the_divergence_of_the_mean_from_the_class_prior():
    q = torch.tensor([0.5, 0.3, 0.2])
    assert marginal_kl(step_with_mean([0.5, 0.3, 0.2]), expecting(*q)).item() == pytest.approx(0.0, abs=1e-6)
    p = torch.tensor([0.2, 0.2, 0.6])
    by_hand = sum(float(a * (a / b).log()) for a, b in zip(p, q, strict=True))
    assert marginal_kl(step_with_mean([0.2, 0.2, 0.6]), expecting(*q)).item() == pytest.approx(by_hand, abs=1e-6)
    assert by_hand > 0


def test_certain_rows_of_all_classes_have_no_marginal_kl():
    thirds = [1 / 3] * 3
    step = EncoderStep({"unlabelled": 100 * torch.eye(3).repeat(2, 1)}, RowsAsLogits())
    assert marginal_kl(step, expecting(*thirds)).item() == pytest.approx(0.0, abs=1e-6)
    alone = EncoderStep({"unlabelled": 100 * torch.eye(3)[:1].repeat(6, 1)}, RowsAsLogits())
    assert marginal_kl(alone, expecting(*thirds)).item() == pytest.approx(math.log(3), abs=1e-5)


def test_the_mean_of_the_classes_runs_over_minibatches():
    frequencies, by_hand = expecting(0.5, 0.25, 0.25, decay=0.8), torch.tensor([0.5, 0.25, 0.25])
    for p in ([0.2, 0.2, 0.6], [0.1, 0.8, 0.1]):
        marginal_kl(step_with_mean(p), frequencies)
        by_hand = 0.8 * by_hand + 0.2 * torch.tensor(p)
        assert torch.allclose(frequencies.running, by_hand)
    assert torch.equal(frequencies.expected, torch.tensor([0.5, 0.25, 0.25]))
    assert set(frequencies.state_dict()) == {"running", "expected", "n_seen"}, "a checkpoint holds them"
    assert not list(frequencies.parameters())


def test_the_gradient_is_that_of_the_divergence_at_the_running_mean():
    frequencies, logits = expecting(0.5, 0.25, 0.25, decay=0.8), torch.randn(N, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(marginal_kl(step_of(logits), frequencies), logits)
    running = 0.8 * frequencies.expected + 0.2 * logits.softmax(1).mean(0)
    (by_hand,) = torch.autograd.grad((running * (running / frequencies.expected).log()).sum() / 0.2, logits)
    assert torch.allclose(gradient, by_hand, atol=1e-6) and gradient.any()


def test_a_guessed_class_prior_is_corrected_once_classes_have_formed():
    """By the given share of the distance of logarithms, and not before the 600th minibatch."""
    guess, p = [0.5, 0.25, 0.25], [0.2, 0.2, 0.6]
    fixed, guessed = expecting(*guess), ClassFrequencies(torch.tensor(guess), 0.0, correction=0.1)
    for n in range(1, 620):
        losses = [marginal_kl(step_with_mean(p), f) for f in (fixed, guessed)]
        if n <= N_FORMING:
            assert torch.allclose(guessed.expected, torch.tensor(guess)) and torch.allclose(*losses)
    assert torch.equal(fixed.expected, torch.tensor(guess))
    by_hand = torch.tensor(p).log() + 0.9**19 * (torch.tensor(guess) / torch.tensor(p)).log()
    assert torch.allclose(guessed.expected, by_hand.softmax(0), atol=1e-4)


def test_a_class_prior_is_corrected_down_to_the_smallest_share():
    guess = torch.tensor([0.5, 0.25, 0.25])
    frequencies = ClassFrequencies(guess, 0.0, correction=0.1, min_share=0.5)
    for _ in range(N_FORMING + 100):
        marginal_kl(step_with_mean([0.9, 0.09, 0.01]), frequencies)
    assert torch.allclose(frequencies.expected, torch.tensor([0.75, 0.125, 0.125]), atol=0.01)
    assert "least" not in frequencies.state_dict(), "it follows from the parameters"


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_marginal_kl_pushes_the_mean_towards_the_class_prior(decay):
    logits, frequencies = torch.zeros(8, 3, requires_grad=True), expecting(0.6, 0.3, 0.1, decay=decay)
    for _ in range(200):
        (gradient,) = torch.autograd.grad(marginal_kl(step_of(logits), frequencies), logits)
        logits = (logits - 5 * gradient).detach().requires_grad_()
    assert torch.allclose(logits.softmax(1).mean(0), frequencies.expected, atol=0.01)


def test_labelled_rows_do_not_count_for_marginal_kl(encoder, rows):
    expected = torch.tensor([0.5, 0.25, 0.25])
    loss = marginal_kl(EncoderStep(rows, encoder, together=True), expecting(*expected))
    mean = torch.cat([encoder(rows[v]).y for v in ("unlabelled", "augmented")]).mean(0)
    assert torch.allclose(loss, (mean * (mean / expected).log()).sum(), atol=1e-6)


# --- virtual adversarial training
@pytest.fixture
def curved():
    """A classifier that some directions change much more than others."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(D, 16), nn.Tanh())
    encoder = Encoder(net, 16, 0, N_CLASSES)
    with torch.no_grad():
        net[0].weight[:, 0] *= 30
        encoder.head_y.weight *= 3
    return encoder


def test_a_constant_classifier_has_no_virtual_adversarial_loss(rows):
    encoder = Constant()
    loss = virtual_adversarial_loss(EncoderStep(rows, encoder), vat_epsilon=2.0, vat_xi=0.1)
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert encoder.bias.grad.abs().max() < 1e-6


@pytest.mark.parametrize("shape", [(D,), (1, 5, 1)])
@pytest.mark.parametrize("vat_epsilon", [0.01, 2.0])
def test_the_perturbation_has_the_length_epsilon(shape, vat_epsilon, curved):
    seen = []
    curved.backbone = nn.Sequential(nn.Flatten(), curved.backbone)
    x = torch.rand(N, *shape)
    curved.register_forward_hook(lambda m, inputs, out: seen.append(inputs[0].detach()))
    virtual_adversarial_loss(EncoderStep({"unlabelled": x}, curved), vat_epsilon, 0.1)
    assert torch.allclose((seen[-1] - x).flatten(1).norm(dim=1), torch.full((N,), vat_epsilon), rtol=1e-3)
    assert seen[-1].shape == x.shape


def test_the_worst_direction_is_worse_than_a_random_one(curved):
    x, vat_epsilon = torch.rand(200, D), 0.05
    loss = virtual_adversarial_loss(EncoderStep({"unlabelled": x}, curved), vat_epsilon, 0.1)
    target = curved(x).y
    random = [
        F.kl_div(curved(x + vat_epsilon * F.normalize(torch.randn(200, D))).logits.log_softmax(1), target,
                 reduction="batchmean") for _ in range(20)
    ]  # fmt: skip
    assert loss > 2 * sum(random) / 20 and loss > max(random)


def test_a_larger_xi_reaches_a_boundary_where_the_row_itself_is_flat():
    """Flat at the rows, in another class from half of epsilon away in one of the directions."""
    encoder = Encoder(nn.Sequential(nn.Linear(D, 1), nn.ReLU()), 1, 0, 2)
    with torch.no_grad():
        encoder.backbone[0].weight.copy_(torch.eye(D)[:1])
        encoder.backbone[0].bias.fill_(-0.5)
        encoder.head_y.weight.copy_(torch.tensor([[-20.0], [20.0]]))
        encoder.head_y.bias.copy_(torch.tensor([5.0, -5.0]))
    losses = []
    for vat_xi in (0.1, 10.0):
        torch.manual_seed(0)
        step = EncoderStep({"unlabelled": torch.zeros(200, D)}, encoder)
        losses.append(virtual_adversarial_loss(step, 1.0, vat_xi).item())
    assert losses[0] < 0.01 and losses[1] > 1


def test_the_loss_is_zero_at_best_and_grows_with_epsilon(curved):
    losses = []
    for vat_epsilon in (0.001, 0.01, 0.1):
        torch.manual_seed(3)
        step = EncoderStep({"unlabelled": torch.rand(50, D)}, curved)
        losses.append(virtual_adversarial_loss(step, vat_epsilon, 0.1).item())
    assert -1e-6 < losses[0] < losses[1] < losses[2]


@pytest.mark.parametrize("together", [True, False])
def test_looking_for_the_direction_leaves_nothing_behind(together, curved, rows):
    curved.head_y.bias.requires_grad_(False)
    x = rows["unlabelled"].clone()
    step = EncoderStep(rows, curved, together=together)
    loss = virtual_adversarial_loss(step, 0.1, 0.1)
    assert all(p.grad is None for p in curved.parameters())
    assert [p.requires_grad for p in curved.parameters()] == [n != "head_y.bias" for n, _ in curved.named_parameters()]
    assert torch.equal(rows["unlabelled"], x) and not rows["unlabelled"].requires_grad
    loss.backward()
    assert all(p.grad.any() for p in curved.parameters() if p.requires_grad)


def test_the_unperturbed_side_gives_no_gradient(curved):
    """The target is fixed: d/dw KL(target || q(x + r)) alone, worked out with the direction found above."""
    seen, x = [], torch.rand(N, D)
    hook = curved.register_forward_hook(lambda m, inputs, out: seen.append(inputs[0].detach()))
    virtual_adversarial_loss(EncoderStep({"unlabelled": x}, curved), 0.5, 0.1).backward()
    hook.remove()
    gradients = [p.grad.clone() for p in curved.parameters()]
    curved.zero_grad()
    target = curved(x).y.detach()
    F.kl_div(curved(seen[-1]).logits.log_softmax(1), target, reduction="batchmean").backward()
    assert all(torch.allclose(a, p.grad, atol=1e-6) for a, p in zip(gradients, curved.parameters(), strict=True))


# --- without labels
@pytest.mark.parametrize("together", [True, False])
def test_consistency_is_the_divergence_of_the_augmented_view_from_the_plain_one(together):
    step, _ = two_views(together)
    p, q = (step.rows[view].softmax(1) for view in ("unlabelled", "augmented"))
    assert torch.allclose(consistency_kl(step), (p * (p / q).log()).sum(1).mean())
    same = EncoderStep({"unlabelled": p.log(), "augmented": p.log() + 1.5}, RowsAsLogits(), together=together)
    assert consistency_kl(same).item() == pytest.approx(0.0, abs=1e-6), (
        "unlike with pseudo-labels, uncertain rows may stay uncertain"
    )


@pytest.mark.parametrize("together", [True, False])
def test_consistency_gives_no_gradient_through_the_plain_view(together):
    step, _ = two_views(together)
    for x in step.rows.values():
        x.requires_grad_()
    consistency_kl(step).backward()
    assert step.rows["unlabelled"].grad is None or not step.rows["unlabelled"].grad.any()
    assert step.rows["augmented"].grad.any(1).all(), "every row counts, certain or not"


def test_conditional_entropy_is_the_mean_entropy_of_single_rows():
    p = torch.tensor([[1 / 3, 1 / 3, 1 / 3], [0.5, 0.5 - 1e-7, 1e-7], [1 - 2e-7, 1e-7, 1e-7]])
    entropy = conditional_entropy(EncoderStep({"unlabelled": p.log()}, RowsAsLogits()))
    assert entropy.item() == pytest.approx((math.log(3) + math.log(2) + 0) / 3, abs=1e-5)
    certain_of_all_classes = EncoderStep({"unlabelled": 100 * torch.eye(3)}, RowsAsLogits())
    assert conditional_entropy(certain_of_all_classes).item() == pytest.approx(0.0, abs=1e-6), "its mean may be uniform"


def test_conditional_entropy_makes_rows_certain_and_leaves_each_in_its_class():
    logits = torch.tensor([[0.3, 0.0, -0.1], [0.0, 0.1, 0.2]], requires_grad=True)
    (gradient,) = torch.autograd.grad(conditional_entropy(EncoderStep({"unlabelled": logits}, RowsAsLogits())), logits)
    before, after = logits.softmax(1), (logits - gradient).softmax(1)
    assert (after.max(1).values > before.max(1).values).all() and torch.equal(after.argmax(1), before.argmax(1))


@pytest.mark.parametrize("unit_range", [True, False])
def test_the_cycle_compares_the_first_code_with_that_of_the_reconstruction(unit_range, encoder, rows):
    decoder = Decoder(nn.Linear(N_CLASSES + LATENT_DIM, D), unit_range)
    first = encoder(rows["unlabelled"])
    again = encoder(decoder.mean(first.joined))
    cross_entropy = -(first.y * again.y.log()).sum(1).mean()
    squared = (first.z - again.z).square().mean()
    for weight in (0.0, 0.1, 2.0):
        loss = cyclic_loss(EncoderStep(rows, encoder, decoder), weight)
        assert torch.allclose(loss, cross_entropy + weight * squared, atol=1e-6)
    assert torch.allclose(cyclic_loss(EncoderStep(rows, encoder, decoder)), cross_entropy + 0.1 * squared, atol=1e-6)


def test_the_cycle_takes_the_first_code_as_given_and_moves_encoder_and_decoder(encoder, decoder, rows):
    parameters = [*encoder.parameters(), *decoder.parameters()]
    cyclic_loss(EncoderStep(rows, encoder, decoder)).backward()
    assert all(p.grad.any() for p in parameters)
    gradients = [p.grad.clone() for p in parameters]
    for module in (encoder, decoder):
        module.zero_grad()
    first = encoder(rows["unlabelled"])
    again, y, z = encoder(decoder.mean(first.joined)), first.y.detach(), first.z.detach()
    (F.cross_entropy(again.logits, y) + 0.1 * F.mse_loss(again.z, z)).backward()
    assert all(torch.allclose(a, p.grad, atol=1e-6) for a, p in zip(gradients, parameters, strict=True))


def test_minimising_the_cyclic_loss_brings_codes_back(encoder, decoder):
    x = torch.rand(64, D)
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 0.02)

    def distance() -> float:
        first = encoder(x)
        return (first.z - encoder(decoder.mean(first.joined)).z).square().mean().item() / first.z.var(0).mean().item()

    before = distance()
    for _ in range(60):
        optimizer.zero_grad()
        (cyclic_loss(EncoderStep({"unlabelled": x}, encoder, decoder)) - encoder(x).z.var(0).mean().log()).backward()
        optimizer.step()
    assert distance() < 0.3 * before, "in units of the codes' own variance, as shrinking them does not count"


def test_reconstructions_leave_no_trace_in_batch_normalisation(decoder, rows):
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(8)
    encoder = Encoder(nn.Sequential(nn.Linear(D, 8), norm, nn.ReLU()), 8, LATENT_DIM, N_CLASSES)
    step = EncoderStep(rows, encoder, decoder)
    step.reconstruction()
    mean, variance = norm.running_mean.clone(), norm.running_var.clone()
    cyclic_loss(step)
    assert torch.equal(norm.running_mean, mean) and torch.equal(norm.running_var, variance)
    assert norm.momentum == 0.1
    encoder(rows["labelled"])
    assert not torch.equal(norm.running_mean, mean), "afterwards it learns again"


def test_the_style_is_measured_by_its_mean_squared_length(encoder, rows):
    z = encoder(rows["unlabelled"]).z.detach()
    loss = style_l2(EncoderStep(rows, encoder))
    assert loss.item() == pytest.approx(sum(float(r @ r) for r in z) / N, rel=1e-5)
    loss.backward()
    assert encoder.head_z.weight.grad.any() and encoder.head_y.weight.grad is None, "y is left alone"


@pytest.mark.parametrize("kind", ["bernoulli", "gaussian"])
def test_the_mode_decoder_sees_y_alone_and_the_clean_row(kind, encoder, rows):
    torch.manual_seed(3)
    modes = Decoder(nn.Linear(N_CLASSES, D), unit_range=True)
    step = EncoderStep(rows, encoder, corrupt=lambda x: x + 1)
    loss = mode_reconstruction_loss(step, modes, kind)
    by_hand = reconstruction_error(modes(encoder(rows["unlabelled"] + 1).y), rows["unlabelled"], kind, True)
    assert torch.allclose(loss, by_hand)
    loss.backward()
    assert modes.backbone.weight.grad.any() and encoder.head_y.weight.grad.any()
    assert encoder.head_z.weight.grad is None, "z does not help it"


def test_the_best_mode_of_a_cluster_is_the_mean_of_its_rows():
    x = torch.rand(40, D)
    y = 50 * F.one_hot(torch.arange(40) % N_CLASSES, N_CLASSES).float()
    encoder = lambda rows: Code(rows.new_zeros(len(rows), 0), y)
    modes = Decoder(nn.Linear(N_CLASSES, D, bias=False), unit_range=False)
    optimizer = torch.optim.Adam(modes.parameters(), 0.05)
    for _ in range(300):
        optimizer.zero_grad()
        mode_reconstruction_loss(EncoderStep({"unlabelled": x}, encoder), modes, "gaussian").backward()
        optimizer.step()
    means = torch.stack([x[torch.arange(40) % N_CLASSES == k].mean(0) for k in range(N_CLASSES)])
    assert torch.allclose(modes.mean(torch.eye(N_CLASSES)), means, atol=0.01)


def test_separation_is_the_mean_squared_shortfall_over_pairs():
    points = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])  # distances 3, 4 and 5
    for margin, by_hand in [(2.0, 0.0), (4.0, 1 / 3), (6.0, (9 + 4 + 1) / 3)]:
        assert mode_separation(points, margin).item() == pytest.approx(by_hand, abs=1e-5)
    assert mode_separation(points[:1].requires_grad_(), 6.0).item() == 0.0, "a single point has no pair"


def test_separation_pushes_near_points_apart_and_leaves_far_ones():
    points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [50.0, 0.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(mode_separation(points, 3.0), points)
    assert gradient[0, 0] > 0 > gradient[1, 0] and not gradient[2].any() and not gradient[:, 1].any()
    for _ in range(200):
        (gradient,) = torch.autograd.grad(mode_separation(points, 3.0), points)
        points = (points - 0.3 * gradient).detach().requires_grad_()
    assert (points[1] - points[0]).norm().item() == pytest.approx(3.0, abs=0.01), "up to the margin, no farther"


def test_points_that_coincide_have_a_finite_gradient():
    points = torch.zeros(3, 2, requires_grad=True)
    loss = mode_separation(points, 1.0)
    loss.backward()
    assert loss.item() == pytest.approx(1.0, abs=1e-4) and torch.isfinite(points.grad).all()
