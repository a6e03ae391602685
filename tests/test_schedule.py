"""Turns: which phases are summed into one update, how often, and how fast."""

from collections import Counter
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from trainings import DEFAULTS, aae, line, toy

from aaekit.core.phase import Phase, when

BOTH = pytest.mark.parametrize("schedule", ["joint", "alternating"])
SGD = replace(DEFAULTS, optimizer="sgd", momentum=0.0)


def weight() -> nn.Linear:
    return nn.Linear(1, 1, bias=False)


def two_losses(schedule, shared=True, anneal_steps=0, n_steps=1, calls=None):
    """Two phases with constant gradients 1 and 1 on one weight, or on a weight each."""
    a, b = weight(), weight()
    calls = [] if calls is None else calls
    second = a if shared else b
    phases = [
        Phase("first", lambda step: a.weight.sum(), (a,), weight=2.0, learning_rate=0.1),
        Phase("second", lambda step: calls.append(1) or second.weight.sum(), (second,), weight=0.5, learning_rate=0.3,
              anneal_steps=anneal_steps),
    ]  # fmt: skip
    return toy(phases, replace(SGD, n_steps=n_steps, schedule=schedule), a=a, b=b)


# --- turns
def test_the_joint_schedule_has_two_turns_and_the_alternating_one_a_turn_per_phase():
    joint, alternating = (aae(replace(DEFAULTS, schedule=s)) for s in ("joint", "alternating"))
    assert [[p.name for p in turn.phases] for turn in joint.turns] == [
        ["z/discriminator"],
        ["reconstruction", "z/generator", "classification"],
    ]
    assert [[p.name for p in turn.phases] for turn in alternating.turns] == [
        ["reconstruction"], ["z/discriminator"], ["z/generator"], ["classification"],
    ]  # fmt: skip


def test_what_a_turn_does_not_move_is_not_differentiated():
    joint, alternating = (aae(replace(DEFAULTS, schedule=s)) for s in ("joint", "alternating"))
    nets = joint.networks
    assert [set(turn.fixed) for turn in joint.turns] == [set(), {nets.critic}]
    nets = alternating.networks
    assert [set(turn.fixed) for turn in alternating.turns] == [
        {nets.critic}, {nets.encoder, nets.decoder}, {nets.decoder, nets.critic}, {nets.decoder, nets.critic},
    ]  # fmt: skip


@BOTH
def test_forward_values_are_used_until_parameters_move(schedule):
    """In the joint schedule, the update of the critic does not make the code stale."""
    training = aae(replace(DEFAULTS, schedule=schedule))
    calls = []
    training.networks.encoder.register_forward_hook(lambda *_: calls.append(1))
    training.advance()
    assert len(calls) == {"joint": 1, "alternating": 4}[schedule]


# --- weights and rates
@BOTH
def test_a_phase_counts_by_its_weight_and_its_rate(schedule):
    """One step of gradient descent moves a shared network as far in both schedules."""
    training = two_losses(schedule)
    before = training.networks.a.weight.item()
    training.run()
    moved = before - training.networks.a.weight.item()
    assert moved == pytest.approx(0.1 * 2.0 + 0.3 * 0.5, rel=1e-5)


def test_joint_weights_are_the_ratio_of_the_rates():
    (turn,) = two_losses("joint").turns
    assert [p.weight for p in turn.phases] == pytest.approx([2.0, 0.5 * 0.3 / 0.1])
    assert [g["lr"] for g in turn.optimizer.param_groups] == [0.1]


@BOTH
def test_a_network_of_one_phase_moves_at_that_phases_rate(schedule):
    training = two_losses(schedule, shared=False)
    before = training.networks.b.weight.item()
    training.run()
    assert before - training.networks.b.weight.item() == pytest.approx(0.3 * 0.5, rel=1e-5)


@BOTH
def test_an_annealed_phase_weighs_less_and_less_and_ends(schedule):
    calls, moved = [], []
    training = two_losses(schedule, anneal_steps=4, n_steps=6, calls=calls)
    for _ in range(6):
        before = training.networks.a.weight.item()
        training.advance()
        moved.append(before - training.networks.a.weight.item())
    shares = np.array([1, 0.75, 0.5, 0.25, 0, 0])
    assert np.allclose(moved, 0.1 * 2.0 + 0.3 * 0.5 * shares, rtol=1e-4)
    assert len(calls) == 4, "a phase that is over is not computed"
    assert set(training.losses) == {"first", "second"}


@BOTH
def test_a_phase_of_weight_0_is_listed_and_never_computed(schedule):
    training, calls = two_losses(schedule), []
    off = when(
        False, Phase("off", lambda step: calls.append(1) or training.networks.b.weight.sum(), (training.networks.b,))
    )
    training = toy([*training.listed, *off], replace(SGD, n_steps=3, schedule=schedule), a=training.networks.a,
                   b=training.networks.b)  # fmt: skip
    before = training.networks.b.weight.item()
    training.run()
    assert [(p.name, p.weight) for p in training.listed] == [("first", 2.0), ("second", 0.5), ("off", 0.0)]
    assert [p.name for p in training.phases] == ["first", "second"]
    assert [p.name for turn in training.turns for p in turn.phases] == ["first", "second"]
    assert not calls and training.networks.b.weight.item() == before
    assert all("off" not in row for row in training.history)


# --- the learning rate schedule
@BOTH
def test_a_rate_off_schedule_stays_beside_others_that_fall(schedule):
    """Plain gradient descent of losses of slope 1: a weight moves by its rates."""
    nets = {name: weight() for name in ("constant", "falling", "other")}
    start = [m.weight.item() for m in nets.values()]
    phases = [
        Phase(name, lambda step, m=m: m.weight.sum(), (m,), learning_rate=0.1, is_critic=name != "other",
              scheduled=name != "constant")
        for name, m in nets.items()
    ]  # fmt: skip
    toy(phases, replace(SGD, n_steps=8, milestones=(4,), schedule=schedule), **nets).run()
    moved = [a - m.weight.item() for a, m in zip(start, nets.values(), strict=True)]
    assert moved == pytest.approx([0.8, 0.44, 0.44], rel=1e-4)


def test_the_optimiser_moves_at_the_rate_of_the_step():
    """Plain gradient descent by hand."""
    training = line(replace(SGD, n_steps=8, milestones=(3,)))
    rows, w = training.minibatches["x"], 0.0
    for step in range(8):
        w -= 0.1 * (1.0 if step < 3 else 0.1) * (w - rows.at(step)[0].mean().item())
    training.run()
    assert training.networks.net.weight.item() == pytest.approx(w, rel=1e-5)
    assert [row["learning_rate"] for row in training.history] == pytest.approx([1, 0.1, 0.1, 0.1])


def test_momentum_survives_milestones():
    training = line(replace(SGD, n_steps=8, milestones=(3,)), momentum=0.9)
    rows, w, speed = training.minibatches["x"], 0.0, 0.0
    for step in range(8):
        speed = 0.9 * speed + (w - rows.at(step)[0].mean().item())
        w -= 0.1 * (1.0 if step < 3 else 0.1) * speed
    training.run()
    assert training.networks.net.weight.item() == pytest.approx(w, rel=1e-5)


def test_adam_takes_the_momentum_as_its_first_beta():
    (turn,) = line(momentum=0.3).turns
    assert turn.optimizer.param_groups[0]["betas"] == (0.3, 0.999)


# --- repeats
def repeating(schedule, k, is_critic=True, n_steps=4, seen=None):
    """A phase of slope 1 that repeats `k` times beside one that does not; `seen` gets (phase, rows)."""
    a, b = weight(), weight()
    seen = [] if seen is None else seen

    def loss(module, name, step):
        seen.append((name, tuple(step.batch["x"][0].flatten().tolist())))
        return module.weight.sum()

    phases = [
        Phase("once", partial(loss, a, "once"), (a,), learning_rate=0.1),
        Phase("often", partial(loss, b, "often"), (b,), learning_rate=0.01, repeats=k, is_critic=is_critic),
    ]
    settings = replace(SGD, n_steps=n_steps, schedule=schedule)
    return toy(phases, settings, rows=torch.arange(40.0)[:, None], batch_size=10, a=a, b=b)


@pytest.mark.parametrize("is_critic", [True, False])
@pytest.mark.parametrize("k", [1, 3, 5])
@BOTH
def test_a_phase_repeats_its_update_on_minibatches_of_its_own(schedule, k, is_critic):
    seen = []
    training = repeating(schedule, k, is_critic, seen=seen)
    before = training.networks.a.weight.item(), training.networks.b.weight.item()
    training.run()
    moved = before[0] - training.networks.a.weight.item(), before[1] - training.networks.b.weight.item()
    assert moved == pytest.approx((4 * 0.1, 4 * k * 0.01), rel=1e-3)
    assert Counter(name for name, _ in seen) == {"once": 4, "often": 4 * k}
    assert len({rows for name, rows in seen if name == "often"}) == 4 * k, "each on a minibatch of its own"
    assert {rows for name, rows in seen if name == "once"} <= {rows for name, rows in seen if name == "often"}
    own = training.minibatches["x"]
    expected = [tuple(own.at(step, repeat)[0].flatten().tolist()) for step in range(4) for repeat in range(k)]
    assert [rows for name, rows in seen if name == "often"] == expected


@BOTH
def test_repeats_do_not_change_the_minibatches_of_other_phases(schedule):
    rows = []
    for k in (1, 4):
        seen = []
        repeating(schedule, k, seen=seen).run()
        rows.append([r for name, r in seen if name == "once"])
    assert rows[0] == rows[1]


@BOTH
def test_history_has_the_loss_of_the_first_repeat_alone(schedule):
    """A note is one number a step, however often the phase repeats."""
    training = repeating(schedule, 3)
    start = training.networks.b.weight.item()
    training.run()
    before_each_step = [start - 0.01 * 3 * n for n in range(4)]
    assert training.history[0]["often"] == pytest.approx(np.mean(before_each_step), abs=1e-5)
