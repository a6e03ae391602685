"""Training in several processes: the steps of one, by each process's share of the rows."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from aaekit.core.batches import Minibatches
from aaekit.core.random import seed_of
from tests import processes


@pytest.fixture(scope="module")
def by_two(tmp_path_factory):
    """What each of two processes has at the end of a training, by its name."""
    folder = tmp_path_factory.mktemp("two")
    rows = np.zeros((200, 1, 4, 4), np.uint8)
    rows[:, :] = np.arange(200, dtype=np.uint8)[:, None, None, None]
    np.save(folder / "rows.npy", rows)
    root, environment = Path(__file__).parents[1], {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    commands = [[sys.executable, "-m", "tests.processes", str(rank), str(folder)] for rank in (0, 1)]
    running = [subprocess.Popen(c, stderr=subprocess.PIPE, text=True, env=environment, cwd=root) for c in commands]
    errors = [process.communicate(timeout=300)[1] for process in running]
    assert not any(process.returncode for process in running), "".join(errors)
    return lambda name: [load_file(folder / f"{name}.{rank}.safetensors") for rank in (0, 1)]


@pytest.mark.parametrize("name", processes.models())
def test_two_processes_make_the_steps_of_one(by_two, name):
    """Weights and statistics differ by rounding: with batch normalisation, and with both schedules."""
    first, second = by_two(name)
    alone = processes.fitted(name).networks_.state_dict()
    for key, value in alone.items():
        assert torch.equal(first[key], second[key]), key
        np.testing.assert_allclose(first[key], value, rtol=1e-4, atol=1e-5, err_msg=key)


def test_processes_agree_without_a_seed_with_noise_and_stopping_early(by_two):
    """With different noise they have the same weights, and stop at the same step."""
    first, second = by_two("own noise")
    assert first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def test_each_process_reads_its_rows_of_a_mapped_file(by_two):
    """Together they are the minibatch of one process; the file is not copied."""
    first, second = (share["share"] for share in by_two("share"))
    rows = torch.arange(200, dtype=torch.uint8)
    alone = Minibatches([rows], processes.ROWS, seed_of(processes.PLAIN["random_state"])).at(1)[0]
    assert torch.equal(torch.stack([first, second], 1).flatten(), alone)
