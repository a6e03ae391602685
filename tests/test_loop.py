"""The loop: history, early stopping, callbacks, interruptions, failures, precision."""

import math
import time
from dataclasses import replace

import pytest
import torch
from torch import nn
from trainings import (
    DEFAULTS,
    STEPS_PER_EPOCH,
    Recorder,
    aae,
    all_equal,
    line,
    scored,
    toy,
    trained,
    weights,
    without_times,
)

from aaekit import TrainingError
from aaekit.core import loop, threads
from aaekit.core.callbacks import Callback
from aaekit.core.loop import Training
from aaekit.core.phase import Phase


def test_history_has_the_means_of_each_epoch():
    net = nn.BatchNorm1d(1)  # which counts the steps, also when they are recorded

    def loss(step):
        step.note("noted", torch.tensor(7.0))
        return net(step.batch["x"][0]).sum() * 0 + net.num_batches_tracked - 1

    phase = Phase("counter", loss, (net,))
    training = toy([phase], replace(DEFAULTS, n_steps=8), rows=torch.zeros(6, 1), net=net)
    training.run()
    assert [row["counter"] for row in training.history] == [1, 4, 6.5], "the last epoch is cut short"
    assert [row["epoch"] for row in training.history] == [1, 2, 3]
    assert [row["step"] for row in training.history] == [3, 6, 8]
    assert all(row["noted"] == 7 and row["learning_rate"] == 1 for row in training.history)
    seconds = [row["seconds"] for row in training.history]
    assert 0 < seconds[0] <= seconds[1] <= seconds[2] == training.seconds
    assert training.losses["counter"] == 6.5


def test_losses_are_the_means_of_the_epoch_so_far():
    training = aae()
    assert training.losses == {}
    singles = []
    for n in (1, 2):
        before = {k: float(v) for k, v in training.sums.items()}
        training.advance()
        singles.append({k: float(v) - before.get(k, 0.0) for k, v in training.sums.items()})
        assert training.n_summed == n
    names = {p.name for p in training.phases} | {"z/D(real)", "z/D(fake)"}
    assert set(training.losses) == names
    assert training.losses == pytest.approx({k: (singles[0][k] + singles[1][k]) / 2 for k in names}, rel=1e-5)
    training.close_epoch()
    assert training.sums == {} and training.losses == training.history[-1]


def test_a_step_can_be_made_again():
    """Its minibatches depend on the number of the step alone."""
    training = aae()
    rows = training.step_at(3).rows["unlabelled"]
    training.advance()
    assert torch.equal(training.step_at(3).rows["unlabelled"], rows)
    assert not torch.equal(training.step_at(3, repeat=1).rows["unlabelled"], rows)


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_a_training_continues_after_a_pause(ema_decay):
    settings = replace(DEFAULTS, ema_decay=ema_decay, cosine=True)
    whole, parts, recorder = trained(settings), aae(settings), Recorder()
    parts.run(until=5)
    assert parts.n_done == 5 and not parts.averaged.training
    parts.run([recorder])
    assert all_equal(weights(parts, "averaged"), weights(whole, "averaged"))
    assert without_times(parts.history) == without_times(whole.history)
    assert recorder.calls[:2] == [("start", 5), ("step", 6)]


def test_a_training_gives_threads_up_to_other_work(monkeypatch):
    class Threads(Callback):
        def step(self, training):
            n_threads.append(torch.get_num_threads())

    n_threads, before = [], torch.get_num_threads()
    monkeypatch.setattr(threads, "_seconds_waited", time.monotonic)  # it waits all the time
    monkeypatch.setattr(threads, "INTERVAL", 0.0)
    monkeypatch.setattr(threads, "PATIENCE", 0.0)
    torch.set_num_threads(2)
    try:
        aae().run([Threads()])
        assert n_threads == [2] + 11 * [1] and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


# --- evaluation and early stopping
@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_early_stopping_restores_the_best_weights(ema_decay):
    seen, settings = [], replace(DEFAULTS, n_steps=400, patience=2, ema_decay=ema_decay)
    training = aae(settings, scored([3.0, 1.0, 2.0, 0.5, 0.7, 0.5, 0.1], seen))
    training.run()
    assert training.n_done == 6 * STEPS_PER_EPOCH and len(training.history) == 6
    assert [row["validation/score"] for row in training.history] == [3.0, 1.0, 2.0, 0.5, 0.7, 0.5]
    assert all_equal(weights(training, "averaged"), seen[3][1])
    assert not all_equal(seen[3][1], seen[5][1])
    assert not any(was_training for was_training, _ in seen) and not training.averaged.training


def test_without_patience_the_last_weights_stay():
    seen = []
    training = trained(DEFAULTS, scored([1.0, 2.0, 3.0], seen))
    assert training.n_done == 12 and training.best is None
    assert all_equal(weights(training), seen[-1][1])


def test_evaluation_changes_nothing():
    plain, evaluated = trained(), trained(DEFAULTS, scored([1.0] * 3))
    assert all_equal(weights(plain), weights(evaluated))
    assert "validation/error" in evaluated.history[0] and "validation/error" not in plain.history[0]


# --- callbacks, interruption, failure
def test_callbacks_are_called_in_order():
    recorder = Recorder()
    training = line(replace(DEFAULTS, n_steps=5))
    training.run([recorder])
    assert recorder.calls == [
        ("start", 0),
        ("step", 1), ("step", 2), ("epoch", 1),
        ("step", 3), ("step", 4), ("epoch", 2),
        ("step", 5), ("epoch", 3),
        ("stop", True),
    ]  # fmt: skip
    assert recorder.row == training.history[-1] and "seconds" in recorder.row


def test_an_interruption_is_passed_on_after_the_callbacks():
    recorder, other = Recorder(stop_at=3), Recorder()
    training = line(replace(DEFAULTS, n_steps=8))
    with pytest.raises(KeyboardInterrupt):
        training.run([recorder, other])
    assert recorder.calls[-2:] == [("step", 3), ("stop", False)] and other.calls[-1] == ("stop", False)
    assert training.n_done == 3


def test_a_complete_training_makes_no_further_step():
    training, recorder = line(replace(DEFAULTS, n_steps=4)), Recorder()
    training.run()
    training.run([recorder])
    assert recorder.calls == [("start", 4), ("stop", True)]


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("schedule", ["joint", "alternating"])
def test_a_loss_that_is_not_finite_is_named(value, schedule):
    training, recorder = aae(replace(DEFAULTS, schedule=schedule)), Recorder()
    wild = Phase("wild", lambda step: step.code().z.sum() * value, (training.networks.encoder,))
    training = Training(
        training.networks, [*training.phases, wild], training.minibatches, training.make_step, training.settings
    )
    with pytest.raises(
        TrainingError, match="step 1: expected a finite loss, got -?(nan|inf) in 'wild': lower"
    ) as error:
        training.run([recorder])
    assert "\n" not in str(error.value) and recorder.calls[-1] == ("stop", False)
    assert training.history == []


def test_the_first_loss_that_is_not_finite_is_named_where_steps_are_checked_later():
    """As on a graphics card: the step and the loss of the first one, whatever the steps after it are."""
    net = nn.BatchNorm1d(1)

    def loss(step):
        return net(step.batch["x"][0]).sum() * 0 + torch.log(3.0 - net.num_batches_tracked)

    training, recorder = toy([Phase("a", loss, (net,))], rows=torch.arange(40.0)[:, None], net=net), Recorder()
    training.check_interval = 5
    with pytest.raises(TrainingError, match="step 3: expected a finite loss, got -inf in 'a'"):
        training.run([recorder])
    assert training.n_done == 5 and recorder.calls[-2:] == [("step", 4), ("stop", False)]


# --- precision
@pytest.mark.parametrize(
    ("precision", "in_hardware", "bfloat16"),
    [
        ("auto", False, False),
        ("auto", True, True),
        ("float32", True, False),
        ("bfloat16", False, True),
    ],
)
def test_auto_is_bfloat16_only_where_it_is_fast(precision, in_hardware, bfloat16, monkeypatch):
    asked = []
    monkeypatch.setattr(loop, "has_fast_bfloat16", lambda device: asked.append(device) or in_hardware)
    training = aae(replace(DEFAULTS, precision=precision))
    assert training.bfloat16 is bfloat16
    assert asked == ([training.device.type] if precision == "auto" else [])


@pytest.mark.parametrize(("precision", "dtype"), [("bfloat16", torch.bfloat16), ("float32", torch.float32)])
def test_products_are_in_the_precision_and_weights_stay_float32(precision, dtype):
    training = aae(replace(DEFAULTS, precision=precision, ema_decay=0.9))
    seen = {}
    for name in ("encoder", "decoder", "critic"):
        first = next(m for m in getattr(training.networks, name).modules() if isinstance(m, nn.Linear))
        first.register_forward_hook(lambda m, i, out, name=name: seen.update({name: out.dtype}))
    training.run()
    assert seen == dict.fromkeys(["encoder", "decoder", "critic"], dtype)
    assert all(v.dtype in (torch.float32, torch.int64) for v in training.networks.state_dict().values())
    assert all(math.isfinite(v) for row in training.history for v in row.values())


def test_both_precisions_learn_alike():
    """Without dropout, of which a graphics card draws other random numbers in another precision."""
    ends = []
    for precision in ("float32", "bfloat16"):
        training = aae(replace(DEFAULTS, precision=precision, n_steps=40))
        for module in training.networks.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        training.run()
        ends.append(training.history[-1]["classification"])
        assert ends[-1] < training.history[0]["classification"]
    assert ends[0] == pytest.approx(ends[1], rel=0.15)


def test_a_training_runs_on_the_device_of_the_settings():
    assert line(replace(DEFAULTS, device="cpu")).device.type == "cpu"
