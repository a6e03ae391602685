"""Training in several processes, by torch.distributed."""

import os
import subprocess
import sys

import numpy as np
import torch
from safetensors.torch import load_file

from aaekit import AdversarialAutoencoder, data

PLAIN = {"hidden": (16,), "adversarial": False, "dropout": 0.0, "schedule": "joint", "batch_size": 20, "max_steps": 6}
PLAIN |= {"batch_norm": False, "input_noise": 0.0, "precision": "float32"}

PROGRAM = """
import sys
import numpy as np, torch, torch.distributed as dist
from aaekit import AdversarialAutoencoder, SemiSupervisedAAE, data
from aaekit.core.callbacks import Callback
torch.set_num_threads(1)
rank, folder, settings = int(sys.argv[1]), sys.argv[2], eval(sys.argv[4])
dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
digits = data.load("digits")
rows = []
class Collect(Callback):
    def epoch(self, training, row):
        rows.append(row)
y = np.where(np.arange(len(digits.y)) < 100, digits.y, -1)
if sys.argv[3] == "plain":
    model = AdversarialAutoencoder(**settings).fit(digits.X, callbacks=[Collect()])
else:
    held_out = digits.X_test, digits.y_test
    model = SemiSupervisedAAE(**settings).fit(digits.X, y, callbacks=[Collect()], eval_set=held_out)
assert bool(rows) == (rank == 0)
model.save(f"{folder}/{rank}.safetensors")
"""


def trained_by_two(folder, kind, **settings):
    """The final weights of each of two processes."""
    (folder / "program.py").write_text(PROGRAM, encoding="utf-8")
    arguments = [str(folder), kind, repr(settings)]
    command = [[sys.executable, str(folder / "program.py"), str(rank), *arguments] for rank in (0, 1)]
    running = [subprocess.Popen(c, stderr=subprocess.PIPE, text=True, env=dict(os.environ)) for c in command]
    errors = [process.communicate(timeout=300)[1] for process in running]
    assert not any(process.returncode for process in running), "".join(errors)
    return [load_file(folder / f"{rank}.safetensors") for rank in (0, 1)]


def test_two_processes_make_the_steps_of_one(tmp_path):
    """Each takes half of the minibatch; the mean of their gradients is that of the whole."""
    first, second = trained_by_two(tmp_path, "plain", **PLAIN, random_state=3)
    alone = AdversarialAutoencoder(**PLAIN, random_state=3).fit(data.load("digits").X).networks_.state_dict()
    for name, value in alone.items():
        assert torch.equal(first[name], second[name])
        np.testing.assert_allclose(first[name], value, atol=1e-5)


def test_processes_agree_without_a_seed_with_noise_and_stopping_early(tmp_path):
    """With different noise and statistics they have the same weights, and stop at the same step."""
    more = {"max_epochs": 4, "early_stopping": 1, "ema_decay": 0.9, "batch_norm": True}
    first, second = trained_by_two(tmp_path, "semi", hidden=(16,), backbone="mlp", input_noise=0.3, **more)
    assert first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)
