"""Threads give way to other work, and come back."""

import pytest
import torch

from aaekit.core import threads
from aaekit.core.threads import SharedCores


class Machine:
    """A clock, a number of threads, and how much of the time the thread that trains waits for a core."""

    def __init__(self, monkeypatch, threads=4):
        self.now, self.waited, self.threads, self.set = 0.0, 0.0, threads, []
        monkeypatch.setattr(threads.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(threads, "_seconds_waited", lambda: self.waited)
        monkeypatch.setattr(torch, "get_num_threads", lambda: self.threads)
        monkeypatch.setattr(torch, "set_num_threads", self.change)

    def change(self, n):
        self.threads = n
        self.set.append((self.now, n))

    def pass_by(self, shared, seconds, share, step=0.25):
        for _ in range(round(seconds / step)):
            self.now += step
            self.waited += share * step
            shared.look()


@pytest.fixture
def machine(monkeypatch):
    return Machine(monkeypatch)


def test_threads_halve_while_there_is_no_core_for_them_and_come_back(machine):
    with SharedCores() as shared:
        machine.pass_by(shared, 60, 0.05)
        assert not machine.set, "a little waiting is usual"
        machine.pass_by(shared, 10, 0.5)
        assert machine.set == [(61.5, 2), (63.0, 1)], "and not below one"
        machine.pass_by(shared, 130, 0.0)
        assert machine.set[2:] == [(123.0, 2), (123.5, 4)], "a minute after the second time"
        machine.pass_by(shared, 3, 0.5)
        machine.pass_by(shared, 300, 0.0)
        begun = machine.set[4][0]
        assert [n for _, n in machine.set[4:]] == [2, 1, 2, 4] and machine.set[6][0] - begun > 240, "later each time"


def test_a_short_wait_changes_nothing(machine):
    with SharedCores() as shared:
        for _ in range(20):
            machine.pass_by(shared, 1, 0.9)
            machine.pass_by(shared, 0.5, 0.0)
    assert not machine.set


def test_one_slow_step_is_enough(machine):
    with SharedCores() as shared:
        machine.pass_by(shared, 4, 0.5, step=4.0)
        assert machine.threads == 2


def test_the_end_and_an_error_bring_the_threads_back(machine):
    with SharedCores() as shared:
        machine.pass_by(shared, 2, 0.5)
        assert machine.threads == 2
    assert machine.threads == 4
    with pytest.raises(KeyError), SharedCores() as shared:
        machine.pass_by(shared, 2, 0.5)
        raise KeyError
    assert machine.threads == 4


@pytest.mark.parametrize("threads", [1, 4])
def test_where_nothing_can_be_known_or_given_up_nothing_changes(threads, monkeypatch):
    machine = Machine(monkeypatch, threads)
    if threads > 1:
        monkeypatch.setattr(threads, "_seconds_waited", lambda: None)
    with SharedCores() as shared:
        machine.pass_by(shared, 60, 0.9)
    assert not machine.set


@pytest.mark.parametrize(
    ("text", "seconds"), [("5 2500000000 3\n", 2.5), ("", None), ("many words\n", None), (None, None)]
)
def test_what_the_system_tells(text, seconds, tmp_path, monkeypatch):
    file = tmp_path / "schedstat"
    if text is not None:
        file.write_text(text)
    monkeypatch.setattr(threads, "WAITING", str(file))
    assert threads._seconds_waited() == seconds
