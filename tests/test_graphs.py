"""Recorded steps: equal to steps as they are written, in every variant, and without a trace of the recording."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import QUICK
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from trainings import DEFAULTS, Recorder, aae, all_equal, scored, toy, trained, weights, without_times
from variants import ONE_STAGE, SCHEDULES, VARIANTS

from aaekit import SemiSupervisedAAE, priors
from aaekit.core import graphs
from aaekit.core.callbacks import Callback
from aaekit.core.graphs import Steps
from aaekit.core.loop import Training
from aaekit.core.phase import Phase
from aaekit.core.state import capture, restore
from aaekit.errors import SpeedWarning
from aaekit.estimators import _fitting

pytestmark = pytest.mark.filterwarnings("ignore:expected .* clusters, got")
ON_CARD = torch.cuda.is_available()


class Waiting(TorchDispatchMode):
    """Raises for operations whose result a graphics card would have to send to the processor, or the reverse."""

    NAMES = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "bincount", "equal", "lift_fresh"}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        by_mask = name == "index" and any(i is not None and i.dtype == torch.bool for i in args[1])
        if name in self.NAMES or by_mask:
            raise RuntimeError(name)
        return func(*args, **(kwargs or {}))


class StandIn:
    """As torch's graphs, on the processor: the same function on the same tensors, its results in the same places."""

    made = []

    def __init__(self):
        self.n_replays, self.problem = 0, None
        StandIn.made.append(self)

    def try_out(self, function):
        if self.problem is not None:  # watching takes longer than the step
            return function(), self.problem
        try:
            with Waiting():
                notes, self.problem = function(), ""
        except RuntimeError as error:
            notes, self.problem = function(), f"one that waits ({error})"
        return notes, self.problem

    def record(self, function):
        self.function = function
        self.notes = {name: torch.full_like(value, torch.nan) for name, value in function().items()}
        return self.notes

    def replay(self):
        self.n_replays += 1
        for name, value in self.function().items():
            self.notes[name].copy_(value)


@pytest.fixture
def recording(monkeypatch):
    """Turns the recording of steps on, which is by a stand-in where there is no graphics card, and off."""
    real = Steps.__init__

    def turn(on):
        def init(self, device):
            real(self, device if on else torch.device("cpu"))
            self.recording = StandIn if on and device.type == "cpu" else self.recording

        monkeypatch.setattr(Steps, "__init__", init)

    upcoming = Training.upcoming

    def rounded(self):
        kind, batches, numbers = upcoming(self)
        return kind, batches, np.float32(numbers).tolist()

    StandIn.made.clear()
    monkeypatch.setattr(Training, "upcoming", rounded)  # as numbers on a graphics card are
    monkeypatch.setattr(priors.Prior, "_check_labels", lambda *_: None)  # there labels are not read, here neither
    monkeypatch.setattr(F, "one_hot", lambda y, n: (y[..., None] == torch.arange(n, device=y.device)).long())
    return turn


class Losses(Callback):
    def start(self, training):
        self.training, self.steps = training, []

    def step(self, training):
        self.steps.append({name: value for name, value in training.losses.items() if name != "seconds"})


def fitted(name, schedule, rows, on, recording):
    """Losses step by step, and the state at the end of a few steps."""
    losses = Losses()
    recording(on)
    model = VARIANTS[name](**{**QUICK, "hidden": (8,), "schedule": schedule, "max_steps": 2})
    if model.backbone != "mlp":
        model.set_params(hidden=(2, 4))
    if name not in ONE_STAGE:
        model.set_params(discriminator_hidden=(8,))
    model.fit(*rows, callbacks=[losses])
    return losses.steps, capture(losses.training)[0]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", VARIANTS)
def test_recorded_steps_of_every_variant_are_those_that_are_written(name, schedule, few_labels, recording):
    """The stand-in refuses to read values, which would make a graphics card wait."""
    rows = [a[:100] for a in few_labels]
    losses, tensors = fitted(name, schedule, rows, True, recording)
    assert ON_CARD or StandIn.made[-1].n_replays == 2
    others, other_tensors = fitted(name, schedule, rows, False, recording)
    tolerance = 1e-3 if ON_CARD else 1e-6
    for one, other in zip(losses, others, strict=True):
        assert one == pytest.approx(other, rel=tolerance, abs=tolerance)
    assert tensors.keys() == other_tensors.keys()
    for key, value in tensors.items():
        if key.startswith("random"):
            assert torch.equal(value, other_tensors[key])
        else:
            assert torch.allclose(value.float(), other_tensors[key].float(), rtol=tolerance, atol=tolerance), key


# --- phases that end, resume, several starts
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_phase_that_ends_is_recorded_no_longer(schedule, recording):
    ends = []
    for on in (True, False):
        recording(on)
        training = aae(replace(DEFAULTS, schedule=schedule, ema_decay=0.9, cosine=True))
        phases = [replace(p, anneal_steps=4) if p.name == "classification" else p for p in training.phases]
        again = Training(training.networks, phases, training.minibatches, training.make_step, training.settings)
        losses = Losses()
        again.run([losses])
        ends.append((losses.steps, weights(again), weights(again, "averaged")))
    (steps, *tensors), (other_steps, *other_tensors) = ends
    assert [s == pytest.approx(o, rel=1e-5, abs=1e-6) for s, o in zip(steps, other_steps, strict=True)] == [True] * 12
    for a, b in zip(tensors, other_tensors, strict=True):
        assert all(torch.allclose(x.float(), y.float(), atol=1e-5) for x, y in zip(a, b, strict=True))
    assert steps[3]["classification"] > 0 == steps[-1]["classification"]
    if not ON_CARD:
        assert [graph.n_replays for graph in StandIn.made if graph.n_replays] == [4, 8]


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_recorded_training_is_resumed_exactly(optimizer, recording):
    recording(True)
    settings = replace(DEFAULTS, optimizer=optimizer, ema_decay=0.9, cosine=True)
    whole, first = trained(settings), aae(settings)
    with pytest.raises(KeyboardInterrupt):
        first.run([Recorder(stop_at=7)])
    state = capture(first)
    first.run(until=9)
    for again in (aae(settings, seed=5), first):  # in another process, and back to an earlier step in the same one
        restore(again, *state)
        again.run()
        assert all_equal(weights(again), weights(whole))
        assert all_equal(weights(again, "averaged"), weights(whole, "averaged"))
        assert without_times(again.history) == without_times(whole.history)


def test_early_stopping_of_a_recorded_training(recording):
    recording(True)
    training = aae(replace(DEFAULTS, n_steps=400, patience=2), scored([3.0, 1.0, 2.0, 1.5, 0.1]))
    training.run()
    assert training.n_done == 16 and len(training.history) == 4


def test_several_initialisations_are_recorded(few_labels, recording, monkeypatch):
    monkeypatch.setattr(_fitting, "MIN_TRIAL", 1)
    rows, y = np.random.default_rng(0).random((60, 4)), few_labels[1][:60]
    settings = {**QUICK, "max_steps": 9, "discriminator_hidden": (4,), "n_init": 3, "guard": False}
    predictions = []
    for on in (True, False):
        recording(on)
        predictions.append(SemiSupervisedAAE(**settings).fit(rows, y).predict_proba(rows))
    assert np.allclose(*predictions, atol=1e-4)
    if not ON_CARD:
        assert sorted(graph.n_replays for graph in StandIn.made)[-3:] == [3, 3, 9]


# --- where a step cannot be recorded
def counting(steps_as):
    """A phase whose loss is what `steps_as` returns of the only weight, and its training."""
    net = nn.Linear(1, 1, bias=False)
    return toy([Phase("a", lambda step: steps_as(net.weight), (net,))], replace(DEFAULTS, n_steps=3), net=net)


WAITS = {"item": lambda w: w.sum() * float(w.detach().sum()), "mask": lambda w: w[w > -9].sum()}


@pytest.mark.parametrize("reads", WAITS.values(), ids=WAITS)
def test_a_step_that_waits_is_made_as_it_is_written_and_said_once(reads, recording):
    recording(True)
    training = counting(reads)
    with pytest.warns(SpeedWarning, match="got one that waits .*: training goes on, but more slowly") as caught:
        training.run()
    assert len(caught) == 1 and training.n_done == 3 and training.steps.recording is None


def test_a_step_that_changes_by_itself_is_not_repeated(recording):
    recording(True)
    values = iter(range(100))
    training = counting(lambda w: w.sum() * 0 + next(values))
    with pytest.warns(SpeedWarning, match="got one that differs when it is repeated"):
        training.run()
    assert training.n_done == 3 and training.steps.recording is None
    assert training.history[0]["a"] == (2.5 if ON_CARD else 3.5), "the step that differed counts, too"


def test_hooks_are_called_at_each_step(recording):
    recording(True)
    training, seen = aae(), []
    training.advance()
    hook = training.networks.encoder.register_forward_hook(lambda *_: seen.append(1))
    training.advance()
    n_seen = len(seen)
    hook.remove()
    training.advance()
    assert n_seen > 0 and len(seen) == n_seen and training.n_done == 3


# --- precision
@pytest.mark.parametrize(("seconds", "bfloat16"), [((2.0, 1.0), True), ((1.0, 0.95), False)])
def test_the_faster_precision_is_chosen_without_a_trace(seconds, bfloat16, recording, monkeypatch):
    recording(True)
    graphs._faster.clear()
    clock = [0.0]
    make = Steps._make

    def timed(self, training, kind, *rest):
        clock[0] += seconds[kind.bfloat16]
        return make(self, training, kind, *rest)

    monkeypatch.setattr(Steps, "_make", timed)
    monkeypatch.setattr(graphs.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(graphs.torch.cuda, "synchronize", lambda: None)
    ends = []
    for precision in ("auto", "bfloat16" if bfloat16 else "float32"):
        training = aae(replace(DEFAULTS, n_steps=graphs.MIN_TIMED, precision=precision))
        training.run(until=4)
        ends.append(training)
    assert [t.bfloat16 for t in ends] == [bfloat16] * 2
    assert all_equal(*map(weights, ends))
    assert torch.equal(*[capture(t)[0]["optimizer/0/0/step"] for t in ends])


def test_a_resumed_training_keeps_its_precision():
    first = aae(replace(DEFAULTS, precision="auto"))
    first.bfloat16 = not first.bfloat16
    first.advance()
    second = aae(replace(DEFAULTS, precision="auto"))
    restore(second, *capture(first))
    assert second.bfloat16 is first.bfloat16
