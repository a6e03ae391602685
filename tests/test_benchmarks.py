"""The benchmark runs, and the compared implementations do equal work."""

import json
import math
import os
from statistics import median

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from aaekit import AdversarialAutoencoder
from aaekit.core.loop import Training
from aaekit.data import Dataset
from benchmarks import __main__ as program
from benchmarks import chart, gpu, measures, page, sides


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(sides, "WIDTHS", (16, 16))
    monkeypatch.setattr(sides, "COMMON", {**sides.COMMON, "hidden": (16, 16), "discriminator_hidden": (16, 16)})


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, 600)
    y[:10] = np.arange(10)
    y[200:] = -1
    return rng.integers(0, 256, (600, 1, 28, 28), dtype=np.uint8), y


def products(side, *given):
    """Floating-point operations of the matrix products in one step of a side."""

    def count(steps):
        with FlopCounterMode(display=False) as counter:
            side(*given, steps)
        return counter.get_total_flops()

    return (count(sides.WARMUP + 3) - count(sides.WARMUP + 1)) / 2


def test_sides_have_the_same_networks(rows, monkeypatch):
    """The alternating schedule computes as much as the textbook loop; the joint schedule and pythae compute less."""
    pytest.importorskip("pythae")
    X, y = rows
    textbook = products(sides.textbook(sides.by_index), X, 20)
    assert products(sides.adversarial_autoencoder("alternating", "float32"), X, 20) == pytest.approx(textbook, rel=0.25)
    joint, pythae = products(sides.adversarial_autoencoder("joint", "float32"), X, 20), products(sides.pythae, X, 20)
    assert joint < pythae < textbook
    with_labels = products(sides.textbook_with_labels(sides.by_index), X, y, 20)
    assert products(sides.semi_supervised_aae("joint", "float32"), X, y, 20) < with_labels


def test_losses_are_the_same(rows):
    """Ours has exactly the losses of the textbook loop."""
    seen = []
    original = Training.run

    def run(self, callbacks=(), **options):
        seen.append({p.name.split("/")[-1] for p in self.phases if p.weight})
        return original(self, callbacks, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "run", run)
        sides.adversarial_autoencoder("joint", "float32")(rows[0], 20, 5)
        sides.semi_supervised_aae("joint", "float32")(*rows, 20, 5)
    assert seen[0] == {"reconstruction", "discriminator", "generator"}
    assert seen[1] == seen[0] | {"classification"}


def test_minibatches_of_both_kinds_hold_the_same(rows):
    X, y = rows
    for kind in (sides.by_index, sides.by_picture):
        seen = kind(X[:40], y[:40], 20)
        x, labels = zip(*(next(seen) for _ in range(2)), strict=True)
        images = torch.cat(x).flatten(1).numpy()
        order = [np.abs(images - row.reshape(-1) / 255).max(1).argmin() for row in X[:40]]
        assert sorted(order) == list(range(40)) and (torch.cat(labels).numpy()[order] == y[:40]).all()


@pytest.mark.parametrize("schedule", ["joint", "alternating"])
def test_the_products_alone_are_those_of_a_step(rows, schedule):
    side = sides.adversarial_autoencoder(schedule, "float32")
    with FlopCounterMode(display=False) as one:
        sides.products_of(side)(rows[0], 20, 5)
    with FlopCounterMode(display=False) as noted:
        side(rows[0], 20, sides.WARMUP + 1)
    again = one.get_total_flops() - noted.get_total_flops()  # recording takes some steps, too
    assert again == 5 * products(side, rows[0], 20) > 0


def test_the_profile_is_of_steps_alone(rows):
    by_operation = {r["operation"]: r for r in measures.profile(rows[0], 20, 6)}
    assert "aten::uniform_" not in by_operation, "weights are drawn before the steps"
    assert (
        by_operation["aten::_fused_adam_"]["calls"] == 3
        and 0 < sum(r["share"] for r in by_operation.values()) <= 1 + 1e-9
    )


def test_programs_of_their_own_are_timed(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(page.ROOT))
    assert measures.processes("generator", 20, sides.WARMUP + 1, 1)["1 process"]() > 0
    assert 0 < measures.beside_other_work(20, 0.2, 1)["alone"]() < math.inf


@pytest.mark.slow
def test_start_up_is_timed(monkeypatch):
    """Each program is started once a round, and the command line reaches its first step."""
    lines = []
    monkeypatch.setattr(measures.subprocess, "run", lambda program, **_: lines.append(program[1:]))
    out = '{"until the first step, s": 3.5, "peak memory, MiB": 1}'
    monkeypatch.setattr(measures, "_python", lambda code, *arguments: lines.append(arguments[2:]) or f"text\n{out}")
    seconds = measures.start_up(2)
    assert lines[2:5] == lines[7:] and lines[3][1:] == ["aaekit", "train", "classifier", "--help"]
    assert seconds["first step on digits, s"] == 3.5 and len(seconds) == 5


@pytest.mark.parametrize("system", ["generator", "classifier"])
def test_one_and_two_processes_are_timed(system, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(page.ROOT))
    contest = measures.processes(system, 20, sides.WARMUP + 1, 1)
    assert list(contest) == ["1 process", "2 processes"] and all(run() > 0 for run in contest.values())


@pytest.mark.slow
def test_training_is_timed_beside_other_work(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(page.ROOT))
    contest = measures.beside_other_work(20, 0.2, 2)
    kinds = {name.split(", all")[0] for name in contest}
    assert kinds > {"alone", "beside a busy program", "beside another like it"}
    for name in ("beside a busy program", "beside another like it, all threads kept"):
        assert 0 < contest[name]() < math.inf


def test_tables_of_few_and_many_columns_are_timed():
    numbers = measures.wide_tables(5, 20, 10)
    assert list(numbers) == ["5 columns, s", "20 columns, s", "4 times as many take so many times as long"]
    assert all(value > 0 for value in numbers.values())


def test_sides_take_turns():
    messages, calls = [], []
    speeds = measures.interleaved(
        {"a": lambda: calls.append("a") or 0.5, "b": lambda: calls.append("b") or 0.25}, 2, messages.append
    )
    assert calls == ["a", "b", "a", "b"] and speeds == {"a": [2, 2], "b": [4, 4]} and len(messages) == 4


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system does not tell which cores it may use")
def test_a_side_computes_on_a_core_of_its_own():
    before = os.sched_getaffinity(0), torch.get_num_threads()
    with measures.pinned(1):
        assert len(os.sched_getaffinity(0)) == torch.get_num_threads() == 1
    assert (os.sched_getaffinity(0), torch.get_num_threads()) == before


def test_the_default_classifier_is_timed(rows):
    contest = measures.classifier(*rows, sides.WARMUP + 1)
    assert list(contest) == [f"ours, {p}" for p in measures.precisions()] and contest["ours, float32"]() > 0


def test_log_table_and_chart(rows, tmp_path, monkeypatch, capsys):
    pytest.importorskip("pythae")
    quick = ["limits", "vanilla", "semi-supervised", "flops", "input pipeline", "encoding"]
    monkeypatch.setattr(measures, "BATCHES", (20,))
    threads = "2"
    options = ["--rounds", "2", "--steps", "6", "--rows", "2000", "--threads", threads, "--only", *quick]
    monkeypatch.setattr("sys.argv", ["benchmarks", *options, "--out", str(tmp_path / "log.json")])
    monkeypatch.setattr(program.data, "load", lambda *_: Dataset("some", rows[0], np.arange(600) % 10))
    program.main()
    log = json.loads((tmp_path / "log.json").read_text())
    assert set(quick) < set(log) and len(log["vanilla"]["20"]["pythae"]) == 2
    facts = program.facts(log)
    speed = median(log["vanilla"]["20"]["ours, joint, float32"])
    share = facts["share of the float32 GEMM rate, batch 20"]
    assert share == pytest.approx(log["flops"]["20"] * speed / 1e9 / facts["GEMM float32, batch 20, GFLOP/s"])
    assert facts["encoding: share"] > 0 and "times pythae" in capsys.readouterr().out
    assert len(chart.speeds(log).axes) == 2
    again = ["benchmarks", *options[:6], "--only", "limits", "--out", str(tmp_path / "log.json")]
    monkeypatch.setattr("sys.argv", again)
    with pytest.raises(SystemExit):
        program.main()  # with another number of threads
    assert json.loads((tmp_path / "log.json").read_text()) == log and "of this machine" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", [*again, "--threads", threads])
    program.main()
    continued = json.loads((tmp_path / "log.json").read_text())
    assert continued["vanilla"] == log["vanilla"] and continued["limits"] != log["limits"]


def test_the_page_shows_the_newest_logs():
    text, log, of_card = page.PAGE.read_text(encoding="utf-8"), page.newest(), page.newest_of_card()
    assert page.renewed(text, log, of_card) == text, "run python -m benchmarks.page"
    assert page.renewed(text, {**log, "rounds": 77}, of_card) != text
    assert page.renewed(text, log, {**of_card, "card": "another"}) != text
    whole = {"aae train, 100 labels": {"seconds": 25.0}}
    assert "100 labels: seconds | 25.00 |" in page.renewed(text, log, {**of_card, **whole})


# --- on a graphics card
def test_without_a_graphics_card_nothing_is_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    gpu.main(["--out", str(tmp_path / "log.json")])
    assert "no graphics card" in capsys.readouterr().out and not any(tmp_path.iterdir())


def test_steps_are_timed_as_they_are_asked_for(rows, monkeypatch):
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(gpu, "WARMUP", 2)
    watch = gpu.CardWatch(recorded=False)
    AdversarialAutoencoder(max_steps=5, hidden=(4,), batch_size=20).fit(rows[0], callbacks=[watch])
    assert watch.n == 5 and len(watch.ended) == 2 and watch.speed() > 0 and watch.training.steps.recording is None
