"""Phases, the values of a step, and the phases of an adversarial game."""

import inspect
from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from aaekit import AdversarialAutoencoder, divergences
from aaekit.core.callbacks import Callback
from aaekit.core.phase import Phase, Step, match, when
from aaekit.divergences import AdversarialDivergence, SampleDivergence
from aaekit.nn.encoder import Encoder
from aaekit.nn.step import EncoderStep

N, D, LATENT_DIM, N_CLASSES = 6, 5, 2, 3


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return Encoder(nn.Sequential(nn.Linear(D, 8), nn.Tanh()), 8, LATENT_DIM, N_CLASSES)


@pytest.fixture
def rows():
    torch.manual_seed(2)
    return {"unlabelled": torch.rand(N, D)}


# --- Step
asked = st.tuples(st.just("ask"), st.sampled_from("abc"), st.booleans(), st.booleans())
moves = st.lists(st.one_of(asked, st.just(("forget",))), max_size=30)


@given(moves)
def test_values_are_computed_at_most_once_between_forgets_and_inputs_at_most_once(actions):
    """Of values, once with and once without gradients."""
    step, made = Step(), Counter()
    latest, epoch = {}, 0

    def make(key):
        made[key] += 1
        return object()

    for action in actions:
        if action == ("forget",):
            step.forget()
            epoch += 1
            continue
        _, name, is_input, with_gradient = action
        key = (name, "input") if is_input else (name, with_gradient, epoch)
        with torch.set_grad_enabled(with_gradient):
            value = step.once(name, partial(make, key), is_input=is_input)
        assert latest.setdefault(key, value) is value, "the value is that of the first time"
    assert set(made.values()) <= {1} and set(made) == set(latest)


def test_a_value_may_be_none():
    step, made = Step(), []
    for _ in range(3):
        assert step.once("nothing", lambda: made.append(1)) is None
    assert made == [1]


def test_a_step_holds_its_batch_and_notes_without_a_graph():
    batch = {"x": [torch.ones(2)]}
    step = Step(batch)
    step.note("length", torch.ones(2, requires_grad=True).norm())
    step.forget()
    assert step.batch is batch and Step().batch == {}
    assert set(step.notes) == {"length"} and not step.notes["length"].requires_grad


# --- Phase
def test_phases_do_not_change(encoder):
    phase = Phase("a", lambda step: torch.zeros(()), (encoder,))
    assert (phase.weight, phase.learning_rate, phase.repeats) == (1.0, None, 1)
    assert (phase.is_critic, phase.anneal_steps, phase.scheduled) == (False, 0, True)
    with pytest.raises(AttributeError):
        phase.weight = 2.0


def test_an_annealed_weight_falls_linearly_and_ends():
    phase = Phase("a", lambda step: torch.zeros(()), (), weight=2.0, anneal_steps=4)
    assert [phase.weight_at(n) for n in range(6)] == pytest.approx([2, 1.5, 1, 0.5, 0, 0])
    assert [phase.is_over(n) for n in range(6)] == [False] * 4 + [True] * 2
    constant = Phase("a", lambda step: torch.zeros(()), (), weight=2.0)
    assert constant.weight_at(10**6) == 2.0 and not constant.is_over(10**6)


def test_when_keeps_phases_in_the_list_without_weight():
    one, two = (Phase(name, lambda step: torch.zeros(()), (), weight=3.0, repeats=2) for name in "ab")
    assert when(True, one, two) == when([1], one, two) == (one, two)
    without = when(None, one, two)
    assert [(p.name, p.weight, p.repeats) for p in without] == [("a", 0.0, 2), ("b", 0.0, 2)]


# --- match
def phases_of(divergence, critic, encoder, weight=0.3):
    return match(
        "z",
        lambda step: step.code().z,
        lambda step: torch.ones(len(step.rows["unlabelled"]), LATENT_DIM),
        divergences.make(divergence),
        critic,
        [encoder],
        critic_rate=0.1,
        generator_rate=0.2,
        weight=weight,
        scheduled=False,
    )


@pytest.mark.parametrize("divergence", ["gan", "least_squares", "wasserstein"])
def test_with_a_critic_match_makes_two_phases(divergence, encoder):
    critic = nn.Linear(LATENT_DIM, 1)
    discriminate, generate = phases_of(divergence, critic, encoder)
    assert (discriminate.name, generate.name) == ("z/discriminator", "z/generator")
    assert (discriminate.moves, generate.moves) == ((critic,), (encoder,))
    assert (discriminate.learning_rate, generate.learning_rate) == (0.1, 0.2)
    assert discriminate.is_critic and not generate.is_critic
    assert (discriminate.weight, generate.weight) == (1.0, 0.3), "the weight is that of the generator"
    assert (discriminate.scheduled, generate.scheduled) == (False, True)
    assert (discriminate.repeats, generate.repeats) == (5 if divergence == "wasserstein" else 1, 1)


@pytest.mark.parametrize("divergence", ["mmd", "sliced_wasserstein"])
def test_without_a_critic_match_makes_one_phase(divergence, encoder, rows):
    (generate,) = phases_of(divergence, None, encoder)
    assert generate.name == "z/generator" and generate.moves == (encoder,) and not generate.is_critic
    assert (generate.weight, generate.learning_rate) == (0.3, 0.2)
    step = EncoderStep(rows, encoder)
    generate.loss(step).backward()
    assert encoder.head_z.weight.grad.any() and step.notes == {}


def test_an_adversarial_divergence_needs_a_critic_unless_the_weight_is_0(encoder):
    with pytest.raises(AssertionError, match="GAN.*needs a critic"):
        phases_of("gan", None, encoder)
    assert [(p.name, p.weight) for p in phases_of("gan", None, encoder, weight=0.0)] == [
        ("z/discriminator", 0.0),
        ("z/generator", 0.0),
    ]


class Hinge(AdversarialDivergence):
    """A user's own: the hinge loss."""

    def critic_loss(self, d_real, d_fake):
        return (1 - d_real).clamp_min(0).mean() + (1 + d_fake).clamp_min(0).mean()

    def generator_loss(self, d_fake):
        return -d_fake.mean()


class MomentMatching(SampleDivergence):
    """A user's own: distances of means and standard deviations."""

    def distance(self, real, fake):
        return (real.mean(0) - fake.mean(0)).square().sum() + (real.std(0) - fake.std(0)).square().sum()


@pytest.mark.parametrize("divergence", ["gan", "least_squares", "wasserstein", Hinge()], ids=str)
def test_match_notes_the_mean_probability_of_each_side(divergence, encoder, rows):
    critic = nn.Linear(LATENT_DIM, 1)
    discriminate, _ = phases_of(divergence, critic, encoder)
    step = EncoderStep(rows, encoder)
    loss = discriminate.loss(step)
    real, fake = torch.ones(N, LATENT_DIM), encoder(rows["unlabelled"]).z
    assert step.notes["z/D(real)"].item() == pytest.approx(critic(real).sigmoid().mean().item(), abs=1e-6)
    assert step.notes["z/D(fake)"].item() == pytest.approx(critic(fake).sigmoid().mean().item(), abs=1e-6)
    loss.backward()
    assert critic.weight.grad.any() and all(p.grad is None for p in encoder.parameters())


def test_the_critic_scores_both_sides_in_one_pass(encoder, rows):
    critic, sizes = nn.Linear(LATENT_DIM, 1), []
    critic.register_forward_hook(lambda m, inputs, out: sizes.append(len(inputs[0])))
    discriminate, generate = phases_of("gan", critic, encoder)
    step = EncoderStep(rows, encoder)
    discriminate.loss(step), generate.loss(step)
    assert sizes == [2 * N, N]


def test_the_gan_phases_are_the_papers_losses(encoder, rows):
    critic = nn.Linear(LATENT_DIM, 1)
    discriminate, generate = phases_of("gan", critic, encoder)
    real, fake = critic(torch.ones(N, LATENT_DIM)).sigmoid(), critic(encoder(rows["unlabelled"]).z).sigmoid()
    loss = -real.log().mean() - (1 - fake).log().mean()
    assert torch.allclose(discriminate.loss(EncoderStep(rows, encoder)), loss)
    assert torch.allclose(generate.loss(EncoderStep(rows, encoder)), -fake.log().mean())


@pytest.mark.parametrize("divergence", ["mmd", "sliced_wasserstein", MomentMatching()], ids=str)
def test_matching_pulls_the_codes_towards_the_prior(divergence, encoder):
    x, optimizer = torch.rand(64, D), torch.optim.Adam(encoder.parameters(), 0.05)
    (generate,) = phases_of(divergence, None, encoder)
    before = (encoder(x).z - 1).norm()
    for _ in range(40):
        optimizer.zero_grad()
        generate.loss(EncoderStep({"unlabelled": x}, encoder)).backward()
        optimizer.step()
    assert (encoder(x).z - 1).norm() < 0.3 * before


@pytest.mark.parametrize("divergence", ["gan", Hinge()], ids=str)
def test_the_generator_climbs_the_critic_and_the_critic_learns_the_prior(divergence, encoder):
    critic, x = nn.Linear(LATENT_DIM, 1), torch.rand(64, D)
    for phase in phases_of(divergence, critic, encoder):
        losses = []
        optimizer = torch.optim.SGD([p for m in phase.moves for p in m.parameters()], 0.1)
        for _ in range(20):
            optimizer.zero_grad()
            losses.append(phase.loss(EncoderStep({"unlabelled": x}, encoder)))
            losses[-1].backward()
            optimizer.step()
        assert losses[-1] < losses[0] - 0.05 * losses[0].abs()


# --- a user's divergence, and the steps of a critic, in an estimator
@pytest.mark.parametrize("schedule", ["joint", "alternating"])
@pytest.mark.parametrize("divergence", [Hinge(), MomentMatching()], ids=str)
def test_a_users_divergence_of_a_few_lines_works_in_an_estimator(divergence, schedule):
    assert len(inspect.getsource(type(divergence)).splitlines()) < 20
    X = np.random.default_rng(0).random((60, 6), dtype=np.float32)
    settings = {"hidden": (16,), "discriminator_hidden": (16,), "random_state": 0, "batch_size": 20, "max_steps": 60}
    model = AdversarialAutoencoder(divergence=divergence, schedule=schedule, **settings).fit(X)
    has_critic = isinstance(divergence, AdversarialDivergence)
    names = {"reconstruction", "z/generator"} | ({"z/discriminator", "z/D(real)", "z/D(fake)"} if has_critic else set())
    assert set(model.history_[-1]) - {"epoch", "step", "seconds", "learning_rate"} == names
    assert (model.networks_.z_discriminator is not None) == has_critic
    assert np.isfinite([v for row in model.history_ for v in row.values()]).all()
    assert np.isfinite(model.sample(4, random_state=0)).all()


class Updates(Callback):
    """How often each phase is updated, and on which rows the critic and the generator of z are."""

    def start(self, training):
        self.counts, self.fake = Counter(), []
        for turn in training.turns:
            turn.optimizer.step = partial(self.count, turn, turn.optimizer.step)
        training.networks.encoder.register_forward_hook(lambda _, x, code: self.fake.append(x[0].detach()))

    def count(self, turn, step):
        self.counts.update(p.name for p in turn.phases)
        step()


@pytest.mark.parametrize("schedule", ["joint", "alternating"])
@pytest.mark.parametrize(
    ("divergence", "n_steps"), [("wasserstein", 5), ("gan", 1), (divergences.Wasserstein(critic_steps=2), 2)], ids=str
)
def test_an_estimators_critic_makes_its_steps_for_each_of_the_generator(divergence, n_steps, schedule):
    X = np.arange(60 * 6, dtype=np.float32).reshape(60, 6) / 360
    updates, settings = Updates(), {"hidden": (8,), "discriminator_hidden": (8,), "dropout": 0.0, "random_state": 0}
    model = AdversarialAutoencoder(divergence=divergence, schedule=schedule, batch_size=20, max_steps=4, **settings)
    model.fit(X, callbacks=[updates])
    assert updates.counts == {"reconstruction": 4, "z/generator": 4, "z/discriminator": 4 * n_steps}
    minibatches = {tuple(x[:, 0].tolist()) for x in updates.fake if len(x) == 20}
    assert len(minibatches) == 4 * n_steps, "the critic sees a minibatch of its own in each of its steps"
    assert model.plan_.weights == {"reconstruction": 10 / 6, "z/discriminator": 1.0, "z/generator": 0.1}
