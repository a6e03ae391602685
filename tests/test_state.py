"""The moving average, and a training that continues exactly where it was captured."""

import copy
import json
from dataclasses import replace

import pytest
import torch
from trainings import (
    DEFAULTS,
    STEPS_PER_EPOCH,
    Recorder,
    aae,
    all_equal,
    line,
    scored,
    trained,
    weights,
    without_times,
)

from aaekit.core.state import capture, restore


# --- averaging
def test_averaged_weights_follow_the_formula():
    training = aae(replace(DEFAULTS, ema_decay=0.3, n_steps=6))
    assert training.averaged is not training.networks
    expected = weights(training)
    floats = [v.is_floating_point() for v in expected]
    assert {n for n in training.networks.state_dict() if "running" in n}, "buffers are averaged as well"
    for step in range(1, 7):
        training.advance()
        keep = min(0.3, step / (step + 10))
        expected = [keep * e + (1 - keep) * w if f else w
                    for e, w, f in zip(expected, weights(training), floats, strict=True)]  # fmt: skip
        for a, b in zip(weights(training, "averaged"), expected, strict=True):
            assert torch.allclose(a, b, atol=1e-6)
    assert not all_equal(weights(training, "averaged"), weights(training))


def test_averaging_does_not_change_the_training():
    plain, averaged = trained(), trained(replace(DEFAULTS, ema_decay=0.9))
    assert all_equal(weights(plain), weights(averaged))
    assert plain.averaged is plain.networks
    assert not averaged.averaged.training and not plain.averaged.training


def test_averaging_finds_the_middle_of_a_noisy_path():
    training = line(replace(DEFAULTS, n_steps=400, optimizer="sgd", ema_decay=0.99), rate=0.5)
    training.run()
    assert training.averaged.net.weight.item() == pytest.approx(1.5, abs=0.1)


# --- exact resume
def resumable(schedule, optimizer, **more):
    return replace(DEFAULTS, schedule=schedule, optimizer=optimizer, cosine=True, ema_decay=0.9, **more)


@pytest.mark.parametrize("stop_at", [0, 4, 6])  # before the first step, at the end of an epoch, amid one
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("critic_steps", [1, 3])
@pytest.mark.parametrize("schedule", ["joint", "alternating"])
def test_a_resumed_training_is_bit_for_bit_the_uninterrupted_one(schedule, critic_steps, optimizer, stop_at):
    settings = resumable(schedule, optimizer)
    whole = trained(settings, critic_steps=critic_steps)
    first = aae(settings, critic_steps=critic_steps)
    while first.n_done < stop_at:
        first.advance()
        if first.n_done % STEPS_PER_EPOCH == 0:
            first.close_epoch()["seconds"] = 0.0
    tensors, facts = capture(first)
    facts = json.loads(json.dumps(facts))  # as a file returns them
    torch.rand(5), first.advance()

    second = aae(settings, seed=123, critic_steps=critic_steps)
    restore(second, tensors, facts)
    assert second.n_done == stop_at
    second.run()
    assert all_equal(weights(second), weights(whole))
    assert all_equal(weights(second, "averaged"), weights(whole, "averaged"))
    assert without_times(second.history) == without_times(whole.history)
    (end, end_facts), (whole_end, _) = capture(second), capture(whole)
    assert end.keys() == whole_end.keys() and all(torch.equal(v, whole_end[k]) for k, v in end.items())
    assert end_facts["n_done"] == end_facts["n_steps"] == 12


def test_an_interrupted_run_can_be_resumed():
    settings = resumable("joint", "adam")
    whole, first = trained(settings), aae(settings)
    with pytest.raises(KeyboardInterrupt):
        first.run([Recorder(stop_at=7)])
    state = capture(first)
    second = aae(settings, seed=5)
    restore(second, *state)
    second.run()
    assert all_equal(weights(second), weights(whole)) and second.seconds > first.seconds


def test_a_state_is_a_copy():
    training = aae(resumable("joint", "adam"))
    training.advance()
    tensors, _ = capture(training)
    before = {k: v.clone() for k, v in tensors.items()}
    training.advance()
    assert all(torch.equal(v, before[k]) for k, v in tensors.items())


def test_a_states_facts_are_a_copy():
    training = aae(replace(DEFAULTS, n_steps=8))
    for _ in range(4):
        training.advance()
    training.close_epoch()
    _, facts = capture(training)
    training.run()
    assert len(facts["history"]) == 1


def test_a_state_can_be_restored_twice():
    training = aae(resumable("joint", "adam"))
    training.advance()
    tensors, facts = copy.deepcopy(capture(training))
    ends = []
    for _ in range(2):
        again = aae(resumable("joint", "adam"))
        restore(again, tensors, copy.deepcopy(facts))
        again.run()
        ends.append(weights(again))
    assert all_equal(*ends)


def test_a_state_without_a_best_score_removes_that_of_a_later_step():
    training = aae(replace(DEFAULTS, patience=2), scored([1.0, 2.0, 3.0]))
    state = capture(training)
    training.run()
    assert training.best is not None
    restore(training, *state)
    assert training.best is None and training.n_done == 0 and training.history == []


def test_a_state_of_other_networks_is_refused():
    tensors, facts = capture(line())
    with pytest.raises((KeyError, RuntimeError)):
        restore(aae(), tensors, facts)


def test_early_stopping_can_be_resumed():
    scores, settings = [3.0, 1.0, 2.0, 1.5, 0.1], replace(DEFAULTS, n_steps=400, patience=2)
    whole = trained(settings, scored(scores))
    first = aae(settings, scored(scores))
    with pytest.raises(KeyboardInterrupt):
        first.run([Recorder(stop_at=3 * STEPS_PER_EPOCH + 1)])
    tensors, facts = capture(first)
    second = aae(settings, scored(scores[3:]), seed=8)
    restore(second, tensors, json.loads(json.dumps(facts)))
    second.run()
    assert second.n_done == whole.n_done == 4 * STEPS_PER_EPOCH
    assert all_equal(weights(second), weights(whole))
    stopped = aae(settings, scored([]), seed=8)
    restore(stopped, *capture(whole))
    stopped.run()
    assert stopped.n_done == whole.n_done, "a training that has stopped early does not start again"
