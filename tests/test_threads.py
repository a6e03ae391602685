"""Threads are given up to other work, and come back."""

import pytest
import torch

from aaekit.core import threads
from aaekit.core.threads import SharedThreads


class Machine:
    """A clock, a number of threads, and how much of the time the thread that trains waits for a core."""

    def __init__(self, monkeypatch, n_threads=4):
        self.now, self.waited, self.threads, self.set = 0.0, 0.0, n_threads, []
        monkeypatch.setattr(threads.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(threads, "_seconds_waited", lambda: self.waited)
        monkeypatch.setattr(torch, "get_num_threads", lambda: self.threads)
        monkeypatch.setattr(torch, "set_num_threads", self.change)

    def change(self, n):
        self.threads = n
        self.set.append((self.now, n))

    def run_for(self, shared, seconds, share, step=0.25):
        for _ in range(round(seconds / step)):
            self.now += step
            self.waited += share * step
            shared.adjust()


@pytest.fixture
def machine(monkeypatch):
    return Machine(monkeypatch)


def test_threads_are_halved_while_they_have_no_core_and_come_back(machine):
    with SharedThreads() as shared:
        machine.run_for(shared, 60, 0.05)
        assert not machine.set, "a little waiting is normal"
        machine.run_for(shared, 10, 0.5)
        assert machine.set == [(61.5, 2), (63.0, 1)], "and not below one"
        machine.run_for(shared, 130, 0.0)
        assert machine.set[2:] == [(123.0, 2), (123.5, 4)], "a minute after the second time"
        machine.run_for(shared, 3, 0.5)
        machine.run_for(shared, 300, 0.0)
        given_up_at = machine.set[4][0]
        assert [n for _, n in machine.set[4:]] == [2, 1, 2, 4]
        assert machine.set[6][0] - given_up_at > 240, "later each time"


def test_a_short_wait_changes_nothing(machine):
    with SharedThreads() as shared:
        for _ in range(20):
            machine.run_for(shared, 1, 0.9)
            machine.run_for(shared, 0.5, 0.0)
    assert not machine.set


def test_one_slow_step_is_enough(machine):
    with SharedThreads() as shared:
        machine.run_for(shared, 4, 0.5, step=4.0)
        assert machine.threads == 2


def test_the_threads_come_back_at_the_end_and_after_an_error(machine):
    with SharedThreads() as shared:
        machine.run_for(shared, 2, 0.5)
        assert machine.threads == 2
    assert machine.threads == 4
    with pytest.raises(KeyError), SharedThreads() as shared:
        machine.run_for(shared, 2, 0.5)
        raise KeyError
    assert machine.threads == 4


@pytest.mark.parametrize("n_threads", [1, 4])
def test_one_thread_stays_and_so_do_all_where_waiting_times_are_not_reported(n_threads, monkeypatch):
    machine = Machine(monkeypatch, n_threads)
    if n_threads > 1:
        monkeypatch.setattr(threads, "_seconds_waited", lambda: None)
    with SharedThreads() as shared:
        machine.run_for(shared, 60, 0.9)
    assert not machine.set


@pytest.mark.parametrize(
    ("text", "seconds"), [("5 2500000000 3\n", 2.5), ("", None), ("many words\n", None), (None, None)]
)
def test_waiting_times_of_the_system(text, seconds, tmp_path, monkeypatch):
    file = tmp_path / "schedstat"
    if text is not None:
        file.write_text(text)
    monkeypatch.setattr(threads, "SCHEDSTAT", str(file))
    assert threads._seconds_waited() == seconds


def test_deterministic_algorithms_keep_the_number_of_threads(machine):
    torch.use_deterministic_algorithms(True)
    try:
        with SharedThreads() as shared:
            machine.run_for(shared, 60, 0.9)
    finally:
        torch.use_deterministic_algorithms(False)
    assert not machine.set


def test_a_deterministic_run_goes_on_with_the_threads_that_it_began_with(tmp_path, monkeypatch):
    import json

    from aaekit.runs.config import completed, configuration
    from aaekit.runs.run import Run

    options = {"data": "digits", "labels": 50, "max_steps": 4, "hidden": "8", "device": "cpu", "deterministic": "yes"}
    seen = []
    monkeypatch.setattr(
        Run,
        "step",
        lambda self, training: seen.append((torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())),
    )
    Run.create(tmp_path / "run", completed("baseline", configuration("baseline", options))).train()
    facts = json.loads((tmp_path / "run" / "versions.json").read_text())
    (tmp_path / "run" / "versions.json").write_text(json.dumps({**facts, "threads": 2}))
    (tmp_path / "run" / "report.html").unlink()
    Run.open(tmp_path / "run").train()
    assert seen == [(1, True)] * 4 + [(2, True)] * 4
    assert torch.get_num_threads() == 1 and not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("threads", ["many", 0])
def test_a_damaged_number_of_threads_is_said_and_an_error_of_the_training_is_its_own(threads, tmp_path, monkeypatch):
    import json

    from aaekit.errors import InputError
    from aaekit.runs.config import completed, configuration
    from aaekit.runs.run import Run

    def fail(self, training):
        raise ValueError("of a callback")

    options = {"data": "digits", "labels": 50, "max_steps": 4, "hidden": "8", "device": "cpu", "deterministic": "yes"}
    monkeypatch.setattr(Run, "step", fail)
    with pytest.raises(ValueError, match="^of a callback$"):
        Run.create(tmp_path / "run", completed("baseline", configuration("baseline", options))).train()
    facts = json.loads((tmp_path / "run" / "versions.json").read_text())
    (tmp_path / "run" / "versions.json").write_text(json.dumps({**facts, "threads": threads}))
    with pytest.raises(InputError, match="expected a number of threads, got a damaged file"):
        Run.open(tmp_path / "run").train()
