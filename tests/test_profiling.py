"""Where the time of a step goes: a trace of some steps, and a table."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from trainings import DEFAULTS, Recorder, aae, all_equal, trained, weights

from aaekit.core import profiling
from aaekit.core.profiling import StepProfile


@pytest.mark.parametrize(("n_before", "n_steps", "n_seen"), [(2, 4, 4), (2, 10, 10), (50, 50, 12)])
def test_some_steps_are_observed(n_before, n_steps, n_seen, tmp_path, monkeypatch):
    monkeypatch.setattr(profiling, "N_BEFORE", n_before)
    monkeypatch.setattr(profiling, "N_STEPS", n_steps)
    whole, training, callback = trained(), aae(), StepProfile(tmp_path / "profile")
    training.run([callback])
    assert callback.n_seen == n_seen and all_equal(weights(training), weights(whole))
    assert json.loads((tmp_path / "profile" / "trace.json").read_text())["traceEvents"]
    header, *lines = (tmp_path / "profile" / "operations.txt").read_text().splitlines()
    assert header.split() == ["share", "ms/step", "calls/step", "operation"]
    shares = [float(line.split("%")[0]) for line in lines]
    assert shares == sorted(shares, reverse=True) and sum(shares) == pytest.approx(100, abs=2)
    if training.device.type == "cpu":
        calls = {line.split()[3]: float(line.split()[2]) for line in lines}
        assert calls["aten::_fused_adam_"] == 3, "one for each network"


def test_an_interrupted_training_has_a_profile(tmp_path, monkeypatch):
    monkeypatch.setattr(profiling, "N_BEFORE", 0)
    callback = StepProfile(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        aae(replace(DEFAULTS, n_steps=40)).run([callback, Recorder(stop_at=3)])
    assert callback.n_seen == 3 and (tmp_path / "operations.txt").exists()


def test_torch_says_nothing_of_its_own():
    code = "from aaekit.core.profiling import profile; p = profile(); p.start(); p.stop()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


def test_the_command_writes_a_profile(aae, tmp_path):
    options = ["--data", "digits", "--max-steps", "4", "--hidden", "8", "--labels", "50", "--validation", "100"]
    code, out, _ = aae("train", "baseline", *options, "--profile", "--out", tmp_path / "run")
    assert code == 0 and f"profile: {tmp_path / 'run' / 'profile' / 'operations.txt'}" in out
    assert (tmp_path / "run" / "profile" / "trace.json").exists()
