"""Learning rates: by phase, and as the schedule changes them."""

import pytest
from torch import nn

from aaekit.core.phase import Phase
from aaekit.core.settings import Settings, named


def factors(scheduled=True, **settings) -> list[float]:
    s = Settings(n_steps=100, **settings)
    return [s.factor_at(i, scheduled) for i in range(100)]


def test_rates_are_constant_by_default():
    assert factors() == [1.0] * 100


def test_cosine_falls_from_one_to_nearly_zero():
    f = factors(cosine=True)
    assert f[0] == 1 and f[50] == pytest.approx(0.5) and 0 < f[-1] < 1e-3
    assert all(a > b for a, b in zip(f, f[1:], strict=False))


@pytest.mark.parametrize("cosine", [False, True])
def test_warm_up_rises_linearly(cosine):
    f, without = factors(cosine=cosine, warmup_steps=10), factors(cosine=cosine)
    assert [a / b for a, b in zip(f[:10], without, strict=False)] == pytest.approx([0.1 * i for i in range(1, 11)])
    assert f[10:] == without[10:]


def test_rates_are_divided_by_ten_at_milestones():
    f = factors(milestones=(30, 60))
    assert f[29] == 1 and f[30] == f[59] == pytest.approx(0.1) and f[60] == f[-1] == pytest.approx(0.01)


@pytest.mark.parametrize("schedule", [{"cosine": True}, {"milestones": (50,)}], ids=str)
def test_rates_off_schedule_are_only_warmed_up(schedule):
    f = factors(scheduled=False, warmup_steps=10, **schedule)
    assert [f[i] for i in (0, 9, 50, 99)] == pytest.approx([0.1, 1, 1, 1])
    assert factors(warmup_steps=10, **schedule)[50] == pytest.approx(0.5 if "cosine" in schedule else 0.1)


def test_a_phase_has_the_rate_of_its_name_its_own_or_that_of_the_settings():
    def rate(name="z/generator", learning_rate=None, is_critic=False, **rates):
        settings = Settings(n_steps=1, learning_rate=0.1, critic_learning_rate=0.2, learning_rates=rates)
        phase = Phase(name, lambda step: step, (nn.Linear(1, 1),), learning_rate=learning_rate, is_critic=is_critic)
        return settings.rate_of(phase)

    assert rate() == 0.1 and rate(is_critic=True) == 0.2
    assert rate(learning_rate=0.3) == rate(learning_rate=0.3, is_critic=True) == 0.3
    assert rate(learning_rate=0.3, generator=0.4) == 0.4
    assert rate(**{"generator": 0.4, "z/generator": 0.5}) == 0.5, "the full name comes first"
    assert rate(generator=0.4, name="y/generator") == 0.4 and rate(generator=0.4, name="reconstruction") == 0.1


def test_values_go_by_the_name_or_the_last_part_of_it():
    assert named({"generator": 2.0}, "y/generator", 1.0) == 2.0
    assert named({"z/generator": 2.0}, "y/generator", 1.0) == 1.0
    assert named({"z/generator": 0.0}, "z/generator", 1.0) == 0.0, "0 is a value"
