"""Trainings that two processes make together or one makes alone, with the same noise: `python -m tests.processes`."""

import sys
import warnings
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import save_file

from aaekit import AdversarialAutoencoder, SemiSupervisedAAE, data
from aaekit.core.callbacks import Callback
from aaekit.core.distributed import rank_and_world_size
from aaekit.core.loop import Training
from aaekit.errors import LostClassWarning

ROWS, LABELLED = 28, 22  # in a minibatch; no other tensor that is drawn has a side of these lengths or half of them
SMALL = {"hidden": (16,), "max_steps": 6, "batch_size": (ROWS, LABELLED), "precision": "float32", "random_state": 3}
PLAIN = {**SMALL, "batch_size": ROWS, "backbone": "mlp", "dropout": 0.0, "discriminator_dropout": 0.0}
BY_GRADIENTS = {"optimizer": "sgd", "learning_rate": 0.05}  # Adam would make large steps of gradients that are rounding
NOISE = {"randn": torch.randn, "rand": torch.rand, "randn_like": torch.randn, "rand_like": torch.rand}


def models():
    """Models that two processes train as one does, by name, and whether they get labels."""
    return {
        "without batch norm": (AdversarialAutoencoder(**PLAIN, adversarial=False, input_noise=0.0), False),
        "generator": (AdversarialAutoencoder(**PLAIN, **BY_GRADIENTS, batch_norm=True), False),
        "classifier, joint": (SemiSupervisedAAE(**SMALL, **BY_GRADIENTS), True),
        "classifier, alternating": (SemiSupervisedAAE(**SMALL, **BY_GRADIENTS, schedule="alternating"), True),
    }


def rows_and_labels():
    digits = data.load("digits")
    return digits.X, np.where(np.arange(len(digits.y)) < 100, digits.y, -1)


class SameNoise:
    """Lets torch draw rows of noise for a whole minibatch, of which each process takes those of its rows."""

    def __init__(self):
        self.n_drawn = 0

    def drawn(self, name, *arguments, **options):
        shape = list(self.original[name](*arguments, **options).shape)
        rank, world_size = rank_and_world_size()
        sides = [k for k, side in enumerate(shape) if side * world_size in (ROWS, LABELLED)]
        whole = [side * world_size if k in sides else side for k, side in enumerate(shape)]
        self.n_drawn += 1
        noise = NOISE[name](whole, generator=torch.Generator().manual_seed(self.n_drawn))
        own = [slice(rank, None, world_size) if k in sides else slice(None) for k in range(len(shape))]
        return noise[tuple(own)].contiguous()

    def __enter__(self):
        self.original = {name: getattr(torch, name) for name in NOISE}
        self.patches = [mock.patch.object(torch, name, self.function(name)) for name in NOISE]
        for patch in self.patches:
            patch.start()

    def function(self, name):
        return lambda *arguments, **options: self.drawn(name, *arguments, **options)

    def __exit__(self, *_):
        for patch in self.patches:
            patch.stop()


def fitted(name):
    """One of the models, fitted."""
    model, has_labels = models()[name]
    X, y = rows_and_labels()
    with SameNoise(), warnings.catch_warnings():
        warnings.simplefilter("ignore", LostClassWarning)  # after so few steps
        return model.fit(X, y) if has_labels else model.fit(X)


class Collect(Callback):
    """Collects the rows of a history."""

    def __init__(self):
        self.rows = []

    def epoch(self, training, row):
        self.rows.append(row)


def fitted_with_own_noise():
    """A model for which each process draws its own noise; no seed is given, and it stops early."""
    X, y = rows_and_labels()
    more = {"max_epochs": 4, "early_stopping": 1, "ema_decay": 0.9, "input_noise": 0.3, "batch_size": 20}
    collect = Collect()
    model = SemiSupervisedAAE(hidden=(16,), backbone="mlp", **more)
    model.fit(X, y, callbacks=[collect], eval_set=(X[:50], y[:50]))
    assert bool(collect.rows) == (rank_and_world_size()[0] == 0), "the first process calls back"
    return model


def shares_of_a_mapped_file(path):
    """The numbers of the rows that this process gets of a minibatch; the file must not be copied."""
    shares = []

    class Look(Training):
        def run(self, *arguments, **options):
            (source,) = self.minibatches.values()
            assert file_at(source.arrays[0].data_ptr()) in (str(path), "unknown"), "the rows were copied"
            shares.append(source.at(1)[0].flatten(1)[:, 0].contiguous())
            super().run(*arguments, **options)

    with mock.patch("aaekit.estimators._fitting.Training", Look):
        AdversarialAutoencoder(**{**PLAIN, "max_steps": 2}).fit(np.load(path, mmap_mode="r"))
    return shares[0]


def file_at(address):
    """The file that is mapped at an address of the memory, as Linux reports it; "" if there is none."""
    if not Path("/proc/self/maps").exists():
        return "unknown"
    for line in Path("/proc/self/maps").read_text().splitlines():
        first, last = (int(number, 16) for number in line.split()[0].split("-"))
        if first <= address < last:
            return (line.split(maxsplit=5) + [""])[5]
    return ""


def main(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=int(rank), world_size=2)
    for name in models():
        fitted(name).save(f"{folder}/{name}.{rank}.safetensors")
    fitted_with_own_noise().save(f"{folder}/own noise.{rank}.safetensors")
    save_file({"share": shares_of_a_mapped_file(f"{folder}/rows.npy")}, f"{folder}/share.{rank}.safetensors")


if __name__ == "__main__":
    main(*sys.argv[1:])
