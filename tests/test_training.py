"""The loop: minibatches, schedules, averaging, checkpoints, stopping, precision."""

import copy
import json
import math
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from aaekit import InputError, TrainingError
from aaekit.core import loop as training_module
from aaekit.core import threads
from aaekit.core.loop import Callback, Rows, Settings, Training, best_start
from aaekit.core.phase import Phase, Step, matching
from aaekit.divergences import GAN
from aaekit.losses import classification_loss, reconstruction_loss
from aaekit.nn.encoder import Decoder, Encoder

N, D, BATCH, N_STYLE = 20, 4, 5, 2
STEPS_PER_EPOCH = N // BATCH
DEFAULTS = Settings(n_steps=12, precision="float32", device="cpu")


# --- something small to train: an adversarial autoencoder with dropout, batch norm and noise
def aae(settings=DEFAULTS, evaluate=None, seed=0) -> Training:
    torch.manual_seed(seed)
    backbone = nn.Sequential(nn.Linear(D, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3))
    encoder = Encoder(backbone, 8, N_STYLE, n_classes=3, posterior="gaussian")
    decoder = Decoder(nn.Linear(3 + N_STYLE, D), unit_range=True)
    critic = nn.Sequential(nn.Linear(N_STYLE, 8), nn.ReLU(), nn.Linear(8, 1))
    nets = nn.ModuleDict({"encoder": encoder, "decoder": decoder, "critic": critic})
    phases = [
        Phase("reconstruction", lambda step: reconstruction_loss(step, "bernoulli"), (encoder, decoder), 0.01),
        *matching("z", lambda step, gradient: (step.code() if gradient else step.detached_code()).z,
                  lambda step: torch.randn(len(step.rows["unlabelled"]), N_STYLE), GAN(), critic, [encoder],
                  discriminator_learning_rate=0.02, generator_rate=0.005),
        Phase("classification", classification_loss, (encoder,), 0.01),
    ]  # fmt: skip
    data = torch.Generator().manual_seed(9)
    X, y = torch.rand(N, D, generator=data), torch.randint(3, (N,), generator=data)
    rows = {"unlabelled": Rows([X], BATCH, 1), "labelled": Rows([X[:7], y[:7]], 3, 2)}

    def make_step(batch, together):
        views = {"unlabelled": batch["unlabelled"][0], "labelled": batch["labelled"][0]}
        noisy = {"corrupt": lambda x: x + 0.1 * torch.randn_like(x), "together": together}
        return Step(views, encoder, decoder, labels={"labelled": batch["labelled"][1]}, **noisy)

    return Training(nets, phases, rows, make_step, settings, evaluate)


def trained(*args, **options) -> Training:
    training = aae(*args, **options)
    training.run()
    return training


def line(loss=None, settings=DEFAULTS, evaluate=None, rate=0.1, momentum=0.0, targets=None) -> Training:
    """One weight on the way to the mean of the rows."""
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    targets = torch.arange(4.0)[:, None] if targets is None else targets

    def squared(step):
        return 0.5 * (net(torch.ones_like(step.rows["x"])) - step.rows["x"]).square().mean()

    phase = Phase("distance", loss or squared, (net,), rate, momentum)
    rows = {"x": Rows([targets], 2, 0)}
    nets = nn.ModuleDict({"net": net})
    return Training(nets, [phase], rows, lambda b, t: Step({"x": b["x"][0]}, net), settings, evaluate)


def weights(training, which="networks") -> list[torch.Tensor]:
    return [v.clone() for v in getattr(training, which).state_dict().values()]


def all_equal(a, b) -> bool:
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


class Recorder(Callback):
    """What is told, in order; stops the training at a step when asked to."""

    def __init__(self, stop_at=None):
        self.told, self.stop_at = [], stop_at

    def start(self, training):
        self.told.append(("start", training.n_done))

    def step(self, training):
        self.told.append(("step", training.n_done))
        if training.n_done == self.stop_at:
            raise KeyboardInterrupt

    def epoch(self, training, row):
        self.told.append(("epoch", row["epoch"]))
        self.row = dict(row)

    def stop(self, training, complete):
        self.told.append(("stop", complete))


# --- Rows
def test_each_row_comes_once_an_epoch():
    rows = Rows([torch.arange(N)], BATCH, 0)
    assert rows.steps_per_epoch == 4
    for epoch in range(3):
        seen = torch.cat([rows.at(epoch * 4 + i)[0] for i in range(4)])
        assert torch.equal(seen.sort().values, torch.arange(N))


def test_what_is_left_over_in_one_epoch_comes_in_another():
    rows = Rows([torch.arange(11)], 4, 0)
    assert rows.steps_per_epoch == 2
    epochs = [torch.cat([rows.at(2 * e)[0], rows.at(2 * e + 1)[0]]) for e in range(30)]
    assert all(len(e.unique()) == 8 for e in epochs)
    assert len({tuple(sorted(set(range(11)) - set(e.tolist()))) for e in epochs}) > 10
    counts = torch.cat(epochs).bincount(minlength=11)
    assert counts.min() > 10


def test_a_batch_depends_on_the_seed_and_the_step_alone():
    a, b, other = (Rows([torch.arange(N)], BATCH, seed) for seed in (3, 3, 4))
    in_order = [a.at(i)[0] for i in range(12)]
    torch.manual_seed(99)
    for i in (11, 2, 7, 7, 0):
        assert torch.equal(b.at(i)[0], in_order[i])
    assert not torch.equal(torch.cat([other.at(i)[0] for i in range(4)]), torch.cat(in_order[:4]))
    assert not torch.equal(torch.cat(in_order[:4]), torch.cat(in_order[4:8])), "a new order each epoch"


def test_drawing_rows_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    Rows([torch.arange(N)], BATCH, 0).at(9)
    assert torch.equal(torch.get_rng_state(), before)


def test_arrays_stay_aligned():
    x = torch.randn(N, 2, 3)
    for step in range(9):
        images, labels = Rows([x, torch.arange(N)], BATCH, 0).at(step)
        assert images.shape == (BATCH, 2, 3) and torch.equal(images, x[labels])


# --- rates
def factors(**settings) -> list[float]:
    s = Settings(n_steps=100, **settings)
    return [s.rate_at(i) for i in range(100)]


def test_rates_are_constant_by_default():
    assert factors() == [1.0] * 100


def test_cosine_falls_from_one_to_nearly_zero():
    f = factors(learning_rate_schedule="cosine")
    assert f[0] == 1 and f[50] == pytest.approx(0.5) and 0 < f[-1] < 1e-3
    assert all(a > b for a, b in zip(f, f[1:], strict=False))


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_warm_up_rises_linearly(schedule):
    f, without = factors(learning_rate_schedule=schedule, warmup_steps=10), factors(learning_rate_schedule=schedule)
    assert [a / b for a, b in zip(f[:10], without, strict=False)] == pytest.approx([0.1 * i for i in range(1, 11)])
    assert f[10:] == without[10:]


def test_steps_divide_by_ten_at_milestones():
    f = factors(learning_rate_schedule="step", milestones=(30, 60))
    assert f[29] == 1 and f[30] == f[59] == pytest.approx(0.1) and f[60] == f[-1] == pytest.approx(0.01)


def test_discriminators_may_keep_their_rate():
    settings = Settings(n_steps=100, learning_rate_schedule="cosine", warmup_steps=10)
    assert [settings.rate_at(i, steady=True) for i in (0, 9, 50, 99)] == pytest.approx([0.1, 1, 1, 1])
    assert settings.rate_at(50) == pytest.approx(0.5)


@pytest.mark.parametrize("schedule", ["joint", "alternating"])
def test_a_steady_rate_stays_beside_others_that_fall(schedule):
    """Plain gradient descent of losses of slope 1: a weight moves by its rates."""
    nets = nn.ModuleDict({name: nn.Linear(1, 1, bias=False) for name in ("steady", "falling", "other")})
    start = [m.weight.item() for m in nets.values()]
    phases = [
        Phase(
            name, lambda step, m=m: m.weight.sum(), (m,), 0.1, 0.0, is_critic=name != "other", steady=name == "steady"
        )
        for name, m in nets.items()
    ]
    settings = replace(
        DEFAULTS, n_steps=8, optimizer="sgd", learning_rate_schedule="step", milestones=(4,), schedule=schedule
    )
    rows = {"x": Rows([torch.arange(4.0)[:, None]], 2, 0)}
    Training(nets, phases, rows, lambda b, t: Step({"x": b["x"][0]}, nets["other"]), settings).run()
    moved = [a - m.weight.item() for a, m in zip(start, nets.values(), strict=True)]
    assert moved == pytest.approx([0.8, 0.44, 0.44], rel=1e-4)


def test_the_optimiser_moves_at_the_rate_of_the_step():
    """Plain gradient descent by hand."""
    settings = replace(DEFAULTS, n_steps=8, optimizer="sgd", learning_rate_schedule="step", milestones=(3,))
    training = line(settings=settings)
    rows, w = training.rows["x"], 0.0
    for step in range(8):
        w -= 0.1 * (1.0 if step < 3 else 0.1) * (w - rows.at(step)[0].mean().item())
    training.run()
    assert training.networks["net"].weight.item() == pytest.approx(w, rel=1e-5)
    assert [row["rate"] for row in training.history] == pytest.approx([1, 0.1, 0.1, 0.1])


def test_momentum_survives_milestones():
    settings = replace(DEFAULTS, n_steps=8, optimizer="sgd", learning_rate_schedule="step", milestones=(3,))
    training = line(settings=settings, momentum=0.9)
    rows, w, speed = training.rows["x"], 0.0, 0.0
    for step in range(8):
        speed = 0.9 * speed + (w - rows.at(step)[0].mean().item())
        w -= 0.1 * (1.0 if step < 3 else 0.1) * speed
    training.run()
    assert training.networks["net"].weight.item() == pytest.approx(w, rel=1e-5)


def test_adam_takes_the_momentum_as_its_first_beta():
    ((_, optimizer, _),) = line(momentum=0.3)._turns
    assert optimizer.param_groups[0]["betas"] == (0.3, 0.999)


# --- schedules
def two_losses(schedule, optimizer="sgd", shared=True) -> Training:
    """Two phases with constant gradients 1 and 1 on one weight, or on a weight each."""
    a, b = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    nets = nn.ModuleDict({"a": a, "b": b})
    phases = [
        Phase("first", lambda step: a.weight.sum(), (a,), rate=0.1, momentum=0.0, weight=2.0),
        Phase("second", lambda step: (a if shared else b).weight.sum(), (a if shared else b,), rate=0.3, momentum=0.0,
              weight=0.5),
    ]  # fmt: skip
    settings = replace(DEFAULTS, n_steps=1, schedule=schedule, optimizer=optimizer)
    rows = {"x": Rows([torch.zeros(2, 1)], 2, 0)}
    return Training(nets, phases, rows, lambda batch, together: Step({"x": batch["x"][0]}, a), settings)


@pytest.mark.parametrize("schedule", ["joint", "alternating"])
def test_a_phase_that_fades_weighs_less_and_less_and_ends(schedule):
    asked, training = [], two_losses(schedule)
    first, second = training.phases
    fading = replace(second, anneal_steps=4, loss=lambda step: asked.append(1) or second.loss(step))
    settings, weight = replace(training.settings, n_steps=6), training.networks["a"].weight
    training = Training(training.networks, [first, fading], training.rows, training.make_step, settings)
    moved = []
    for _ in range(6):
        before = weight.item()
        training._one_step()
        moved.append(before - weight.item())
    shares = np.array([1, 0.75, 0.5, 0.25, 0, 0])
    assert np.allclose(moved, 0.1 * 2.0 + 0.3 * 0.5 * shares, rtol=1e-4)
    assert len(asked) == 4, "what has faded costs nothing"
    assert set(training.losses) == {"first", "second"}


@pytest.mark.parametrize("schedule", ["joint", "alternating"])
def test_a_phase_counts_by_its_weight_and_its_rate(schedule):
    """One step of gradient descent moves a shared network as far in both schedules."""
    training = two_losses(schedule)
    before = training.networks["a"].weight.item()
    training.run()
    moved = before - training.networks["a"].weight.item()
    assert moved == pytest.approx(0.1 * 2.0 + 0.3 * 0.5, rel=1e-5)


def test_joint_weights_are_the_ratio_of_the_rates():
    ((phases, optimizer, _),) = two_losses("joint")._turns
    assert [p.weight for p in phases] == pytest.approx([2.0, 0.5 * 0.3 / 0.1])
    assert [g["lr"] for g in optimizer.param_groups] == [0.1]


@pytest.mark.parametrize("schedule", ["joint", "alternating"])
def test_a_network_of_one_phase_moves_at_that_phases_rate(schedule):
    training = two_losses(schedule, shared=False)
    before = training.networks["b"].weight.item()
    training.run()
    assert before - training.networks["b"].weight.item() == pytest.approx(0.3 * 0.5, rel=1e-5)


def test_the_joint_schedule_has_two_turns_and_the_alternating_one_a_turn_per_phase():
    joint, alternating = (aae(replace(DEFAULTS, schedule=s)) for s in ("joint", "alternating"))
    assert [[p.name for p in phases] for phases, _, _ in joint._turns] == [
        ["z/discriminator"],
        ["reconstruction", "z/generator", "classification"],
    ]
    assert [[p.name for p in phases] for phases, _, _ in alternating._turns] == [
        ["reconstruction"], ["z/discriminator"], ["z/generator"], ["classification"],
    ]  # fmt: skip


@pytest.mark.parametrize(("schedule", "passes"), [("joint", 1), ("alternating", 4)])
def test_forward_values_are_kept_until_parameters_move(schedule, passes):
    """Jointly, the discriminator's step does not make the code stale."""
    training = aae(replace(DEFAULTS, schedule=schedule))
    calls = []
    training.networks["encoder"].register_forward_hook(lambda *_: calls.append(1))
    training._one_step()
    assert len(calls) == passes


def test_history_holds_the_means_of_each_epoch():
    values = iter(range(100))
    net = nn.Linear(1, 1)

    def loss(step):
        step.note("noted", torch.tensor(7.0))
        return net.weight.sum() * 0 + next(values)

    phase = Phase("counter", loss, (net,), 0.1)
    training = Training(nn.ModuleDict({"net": net}), [phase], {"x": Rows([torch.zeros(6, 1)], 2, 0)},
                        lambda b, t: Step({"x": b["x"][0]}, net), replace(DEFAULTS, n_steps=8))  # fmt: skip
    training.run()
    assert [row["counter"] for row in training.history] == [1, 4, 6.5], "the last epoch is cut short"
    assert [row["epoch"] for row in training.history] == [1, 2, 3]
    assert [row["step"] for row in training.history] == [3, 6, 8]
    assert all(row["noted"] == 7 and row["rate"] == 1 for row in training.history)
    seconds = [row["seconds"] for row in training.history]
    assert 0 < seconds[0] <= seconds[1] <= seconds[2] == training.seconds
    assert training.losses["counter"] == 6.5


# --- averaging
def test_averaged_weights_follow_the_formula():
    training = aae(replace(DEFAULTS, ema_decay=0.3, n_steps=6))
    assert training.averaged is not training.networks
    expected = weights(training)
    floats = [v.is_floating_point() for v in expected]
    assert {n for n in training.networks.state_dict() if "running" in n}, "buffers are averaged as well"
    for step in range(1, 7):
        training._one_step()
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
    training = line(settings=replace(DEFAULTS, n_steps=400, optimizer="sgd", ema_decay=0.99), rate=0.5)
    training.run()
    assert training.averaged["net"].weight.item() == pytest.approx(1.5, abs=0.1)


# --- going on exactly where it stopped
def resumable(schedule, optimizer, **more) -> Settings:
    return replace(
        DEFAULTS, schedule=schedule, optimizer=optimizer, learning_rate_schedule="cosine", ema_decay=0.9, **more
    )


def without_times(history):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history]


@pytest.mark.parametrize("stop_at", [0, 4, 6])  # before the first step, at the end of an epoch, amid one
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("schedule", ["joint", "alternating"])
def test_a_resumed_training_ends_bit_for_bit_where_the_other_does(schedule, optimizer, stop_at):
    settings = resumable(schedule, optimizer)
    whole = trained(settings)
    first = aae(settings)
    while first.n_done < stop_at:
        first._one_step()
        if first.n_done % STEPS_PER_EPOCH == 0:
            first._close_epoch()["seconds"] = 0.0
    tensors, facts = first.state()
    facts = json.loads(json.dumps(facts))  # as a file gives them back
    torch.rand(5), first._one_step()

    second = aae(settings, seed=123)
    second.restore(tensors, facts)
    assert second.n_done == stop_at
    second.run()
    assert all_equal(weights(second), weights(whole))
    assert all_equal(weights(second, "averaged"), weights(whole, "averaged"))
    assert without_times(second.history) == without_times(whole.history)
    (end, end_facts), (whole_end, _) = second.state(), whole.state()
    assert end.keys() == whole_end.keys() and all(torch.equal(v, whole_end[k]) for k, v in end.items())
    assert end_facts["n_done"] == end_facts["n_steps"] == 12


def test_an_interrupted_run_can_go_on():
    settings = resumable("joint", "adam")
    whole, first = trained(settings), aae(settings)
    with pytest.raises(KeyboardInterrupt):
        first.run([Recorder(stop_at=7)])
    state = first.state()
    second = aae(settings, seed=5)
    second.restore(*state)
    second.run()
    assert all_equal(weights(second), weights(whole)) and second.seconds > first.seconds


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_a_training_goes_on_from_where_it_was_told_to_wait(averaging):
    settings = replace(DEFAULTS, ema_decay=averaging, learning_rate_schedule="cosine")
    whole, parts, told = trained(settings), aae(settings), Recorder()
    parts.run(until=5)
    assert parts.n_done == 5 and not parts.averaged.training
    parts.run([told])
    assert all_equal(weights(parts, "averaged"), weights(whole, "averaged"))
    assert without_times(parts.history) == without_times(whole.history)
    assert told.told[:2] == [("start", 5), ("step", 6)]


@pytest.mark.parametrize(("scores", "chosen"), [([2.0, 1.0, 3.0], 1), ([1.0, 1.0], 0), ([5.0], 0)])
def test_the_best_start_goes_on(scores, chosen):
    starts, asked = [line(settings=replace(DEFAULTS, ema_decay=0.9)) for _ in scores], iter(scores)

    def score(networks):
        assert networks in [s.averaged for s in starts]
        return next(asked)

    best = best_start(iter(starts), 3, score)
    assert best is starts[chosen] and [s.n_done for s in starts] == [3] * len(starts)
    others = sum(s.seconds for s in starts if s is not best)
    before = best.seconds
    assert before > others, "the time of all counts"
    best.run()
    assert best.n_done == 12 and best.seconds > before


def test_a_training_gives_way_to_other_work(monkeypatch):
    class Threads(Callback):
        def step(self, training):
            found.append(torch.get_num_threads())

    found, before = [], torch.get_num_threads()
    monkeypatch.setattr(threads, "_seconds_waited", time.monotonic)  # it waits all the time
    monkeypatch.setattr(threads, "LOOK", 0.0)
    monkeypatch.setattr(threads, "LASTING", 0.0)
    torch.set_num_threads(2)
    try:
        aae().run([Threads()])
        assert found == [2] + 11 * [1] and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_state_is_a_copy():
    training = aae(resumable("joint", "adam"))
    training._one_step()
    tensors, _ = training.state()
    before = {k: v.clone() for k, v in tensors.items()}
    training._one_step()
    assert all(torch.equal(v, before[k]) for k, v in tensors.items())


def test_a_states_facts_are_a_copy():
    training = aae(replace(DEFAULTS, n_steps=8))
    for _ in range(4):
        training._one_step()
    training._close_epoch()
    _, facts = training.state()
    training.run()
    assert len(facts["history"]) == 1


def test_a_state_can_be_restored_twice():
    training = aae(resumable("joint", "adam"))
    training._one_step()
    tensors, facts = copy.deepcopy(training.state())
    ends = []
    for _ in range(2):
        again = aae(resumable("joint", "adam"))
        again.restore(tensors, copy.deepcopy(facts))
        again.run()
        ends.append(weights(again))
    assert all_equal(*ends)


def test_a_state_of_other_networks_is_refused():
    tensors, facts = line().state()
    with pytest.raises((KeyError, RuntimeError)):
        aae().restore(tensors, facts)


# --- evaluation and early stopping
def scored(scores, seen=None):
    scores = iter(scores)

    def evaluate(nets):
        if seen is not None:
            seen.append((nets.training, [v.clone() for v in nets.state_dict().values()]))
        return {"validation/score": next(scores), "validation/error": 1.0}

    return evaluate


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_early_stopping_ends_and_brings_the_best_back(averaging):
    seen, settings = [], replace(DEFAULTS, n_steps=400, patience=2, ema_decay=averaging)
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


def test_early_stopping_can_be_resumed():
    scores, settings = [3.0, 1.0, 2.0, 1.5, 0.1], replace(DEFAULTS, n_steps=400, patience=2)
    whole = trained(settings, scored(scores))
    first = aae(settings, scored(scores))
    with pytest.raises(KeyboardInterrupt):
        first.run([Recorder(stop_at=3 * STEPS_PER_EPOCH + 1)])
    tensors, facts = first.state()
    second = aae(settings, scored(scores[3:]), seed=8)
    second.restore(tensors, json.loads(json.dumps(facts)))
    second.run()
    assert second.n_done == whole.n_done == 4 * STEPS_PER_EPOCH
    assert all_equal(weights(second), weights(whole))
    stopped = aae(settings, scored([]), seed=8)
    stopped.restore(*whole.state())
    stopped.run()
    assert stopped.n_done == whole.n_done, "what had stopped does not start again"


# --- callbacks, interruption, failure
def test_listeners_are_told_in_order():
    told = Recorder()
    training = line(settings=replace(DEFAULTS, n_steps=5))
    training.run([told])
    assert told.told == [
        ("start", 0),
        ("step", 1), ("step", 2), ("epoch", 1),
        ("step", 3), ("step", 4), ("epoch", 2),
        ("step", 5), ("epoch", 3),
        ("stop", True),
    ]  # fmt: skip
    assert told.row == training.history[-1] and "seconds" in told.row


def test_an_interruption_is_told_and_passed_on():
    told, other = Recorder(stop_at=3), Recorder()
    training = line(settings=replace(DEFAULTS, n_steps=8))
    with pytest.raises(KeyboardInterrupt):
        training.run([told, other])
    assert told.told[-2:] == [("step", 3), ("stop", False)] and other.told[-1] == ("stop", False)
    assert training.n_done == 3


def test_a_training_that_is_done_only_says_so():
    training, told = line(settings=replace(DEFAULTS, n_steps=4)), Recorder()
    training.run()
    training.run([told])
    assert told.told == [("start", 4), ("stop", True)]


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("schedule", ["joint", "alternating"])
def test_a_loss_that_is_not_finite_is_named(value, schedule):
    training, told = aae(replace(DEFAULTS, schedule=schedule)), Recorder()
    phases = [Phase("wild", lambda step: step.code().z.sum() * value, (training.networks["encoder"],), 0.1)]
    rows, settings = training.rows, replace(DEFAULTS, schedule=schedule)
    training = Training(training.networks, [*training.phases, *phases], rows, training.make_step, settings)
    with pytest.raises(TrainingError, match="step 1: the loss 'wild' is not finite") as error:
        training.run([told])
    assert "\n" not in str(error.value) and told.told[-1] == ("stop", False)
    assert training.history == []


# --- precision
@pytest.mark.parametrize(
    ("wanted", "hardware", "found"),
    [
        ("auto", False, False),
        ("auto", True, True),
        ("float32", True, False),
        ("bfloat16", False, True),
    ],
)
def test_auto_takes_bfloat16_only_where_it_is_fast(wanted, hardware, found, monkeypatch):
    asked = []
    monkeypatch.setattr(training_module, "has_fast_bfloat16", lambda device: asked.append(device) or hardware)
    training = aae(replace(DEFAULTS, precision=wanted))
    assert training.bfloat16 is found
    assert asked == (["cpu"] if wanted == "auto" else [])


def test_fast_bfloat16_is_a_question_of_the_machine(monkeypatch):
    for amx, avx in [(True, False), (False, True), (False, False)]:
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda amx=amx: amx)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda avx=avx: avx)
        assert training_module.has_fast_bfloat16() is (amx or avx)
    assert not training_module.has_fast_bfloat16("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for hardware in (True, False):  # an emulation is there in any case
        monkeypatch.setattr(
            torch.cuda, "is_bf16_supported", lambda including_emulation=True, h=hardware: including_emulation or h
        )
        assert training_module.has_fast_bfloat16("cuda") is hardware


@pytest.mark.parametrize(("precision", "dtype"), [("bfloat16", torch.bfloat16), ("float32", torch.float32)])
def test_products_run_in_the_precision_and_weights_stay_float32(precision, dtype):
    training = aae(replace(DEFAULTS, precision=precision, ema_decay=0.9))
    seen = {}
    for name in ("encoder", "decoder", "critic"):
        first = next(m for m in training.networks[name].modules() if isinstance(m, nn.Linear))
        first.register_forward_hook(lambda m, i, out, name=name: seen.update({name: out.dtype}))
    training.run()
    assert seen == dict.fromkeys(["encoder", "decoder", "critic"], dtype)
    assert all(v.dtype in (torch.float32, torch.int64) for v in training.networks.state_dict().values())
    assert all(math.isfinite(v) for row in training.history for v in row.values())


def test_both_precisions_learn_alike():
    ends = []
    for precision in ("float32", "bfloat16"):
        training = trained(replace(DEFAULTS, precision=precision, n_steps=40))
        ends.append(training.history[-1]["classification"])
        assert ends[-1] < training.history[0]["classification"]
    assert ends[0] == pytest.approx(ends[1], rel=0.15)


def test_devices_go_by_name():
    assert line(settings=replace(DEFAULTS, device="cpu")).device.type == "cpu"
    with pytest.raises(KeyError):
        line(settings=replace(DEFAULTS, device="tpu"))


@pytest.mark.parametrize(("cuda", "mps", "found"), [(False, True, "mps"), (False, False, "cpu")])
def test_auto_takes_the_fastest_device(cuda, mps, found, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert training_module._device("auto").type == found


def test_a_device_that_is_not_there_is_refused_in_a_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with pytest.raises(InputError, match="device='cuda' was asked for, but this machine has mps, cpu"):
        line(settings=replace(DEFAULTS, device="cuda"))
