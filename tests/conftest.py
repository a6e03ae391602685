"""Fixtures that tests share: small real data and estimators that train in a second."""

import io
import os

# Before NumPy and torch are imported: threads of tests that run side by side would wait for each other's cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from aaekit.core.callbacks import Callback
from aaekit.core.device import find_device

QUICK = {
    "max_steps": 5,
    "hidden": (24,),
    "batch_size": 20,
    "random_state": 0,
    "precision": "float32",
}


def pytest_addoption(parser):
    parser.addoption("--device", choices=["cpu", "cuda", "mps"], help="where to train; by default the fastest there is")


def pytest_configure(config):
    """Make "auto" the device that was asked for, in programs of their own, too."""
    device = config.getoption("--device")
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        torch.backends.mps.is_available = lambda: False
    elif device is not None and find_device("auto").type != device:
        raise pytest.UsageError(f"--device: expected a device of this machine, got {device}")
    config.addinivalue_line("filterwarnings", "ignore::aaekit.errors.SpeedWarning")  # of some devices


class FirstStep(Callback):
    """Keeps what the encoder saw and made in the first step, (rows, code) by call, and what D of z saw."""

    def __init__(self):
        self.encoded, self.judged, self.hooks = [], [], []

    def start(self, training):
        nets = training.networks
        self.hooks = [
            nets.encoder.register_forward_hook(
                lambda _, x, code: self.encoded.append((x[0].detach().cpu().numpy(), code.detach()))
            ),
            nets.z_discriminator.register_forward_hook(
                lambda _, x, out: self.judged.append(x[0].detach().cpu().numpy())
            ),
        ]

    def step(self, training):
        while self.hooks:
            self.hooks.pop().remove()


def before_first_step(model, X, y, look):
    """What `look(training)` returns before the first step of a fit, which is then abandoned."""

    class Abandoned(Exception):
        pass

    class Look(Callback):
        def start(self, training):
            self.seen = look(training)
            raise Abandoned

    callback = Look()
    with pytest.raises(Abandoned):
        model.fit(X, y, callbacks=[callback])
    return callback.seen


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def no_figures(monkeypatch):
    """Runs draw no figures, which take most of the time of a short one."""
    monkeypatch.setattr("aaekit.plots.draw.draw_all", lambda *_, **__: {})


@pytest.fixture
def no_pixels(monkeypatch):
    """Figures are made and saved, but not drawn, which takes most of their time: each is a white pixel."""
    buffer = io.BytesIO()
    Image.new("L", (1, 1), 255).save(buffer, "PNG")
    monkeypatch.setattr("aaekit.plots.base.to_png", lambda figure: buffer.getvalue())


@pytest.fixture
def few_trees():
    """Forests of few trees, where it does not matter how good they are."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("aaekit.estimators._teachers", "aaekit.evaluation.methods"):
            patch.setattr(f"{module}.N_TREES", 5)
        yield


def some_digits():
    """300 digits (n, 1, 8, 8) in [0, 1] and their labels."""
    X, y = load_digits(return_X_y=True)
    return (X[:300] / 16).astype(np.float32).reshape(-1, 1, 8, 8), y[:300]


def few_labelled_digits():
    """The same, all labels but those of the first 50 rows masked."""
    X, y = some_digits()
    return X, np.where(np.arange(len(y)) < 50, y, -1)


digits = pytest.fixture(some_digits, scope="session", name="digits")
few_labels = pytest.fixture(few_labelled_digits, scope="session", name="few_labels")


@pytest.fixture
def aae(capsys):
    """Run a command; its exit code, standard output and the lines of its standard error."""

    from aaekit.cli import main

    def command(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(a) for a in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err + captured.out
        return stop.value.code, captured.out, captured.err.splitlines()

    return command
