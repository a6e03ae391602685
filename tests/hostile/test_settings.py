"""Hostile settings: YAML, the JSON files of runs and sessions, and checkpoints."""

import functools
import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aaekit.active import ActiveLearner
from aaekit.cli.label import _settings
from aaekit.core.callbacks import Callback
from aaekit.data import fingerprint
from aaekit.errors import InputError
from aaekit.runs.config import completed, config_text, configuration, read_config, yaml_values
from aaekit.runs.run import Run
from tests.hostile.mutate import ends_well, mutated

OPTIONS = {"data": "digits", "labels": "50", "class_weight": "3=2,7=0.5", "hidden": "8", "max_steps": "4"}
BOMB = "\n".join(["a0: &a0 [x, x]", *(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 12))])
ROWS = [[0.0], [1.0], [2.0]]
N_FAST, N_SLOW = 25, 1200  # of each kind of file


@pytest.mark.parametrize(
    "text, words",
    [
        (BOMB, "the alias .a0 in line 2"),
        ("a: &a [*a]", "the alias"),
        ("[" * 5000 + "]" * 5000, "more than 8 levels in line 1"),
        ("a: " + "{a: " * 5000, "more than 8 levels"),
        ("a:\n" + "".join(" " * k + "-\n" for k in range(1, 500)), "more than 8 levels"),
        ("labels: 5\nlabels: 50", "the key 'labels' twice, in lines 1 and 2"),
        ("a: {b: 1, b: 2}", "the key 'b' twice"),
        ("x" * 300_000, "at most 262,144 characters"),
        ("a: !!python/object:os.system x", "could not determine a constructor"),
        ("a: !!int x", "invalid literal"),
        ("a: 2001-99-99", "month must be"),
        ("a: " + "9" * 5000, "digits"),
        ("a: [", "expected the node content"),
        ("? [a]\n: b", "unhashable"),
        ("\0", "special characters"),
    ],
    ids=lambda text: text[:20],
)
def test_yaml_that_asks_too_much_is_refused_at_once(text, words, tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    for read in (lambda: read_config(path), lambda: yaml_values(text, "here")):
        with pytest.raises(InputError, match=words) as refused:
            ends_well_within(read)
        assert len(str(refused.value).splitlines()) == 1


def ends_well_within(read):
    """What an input raises, within half a second more than a busy machine takes."""
    from tests.hostile.mutate import limits

    with limits(5, 2**28):
        read()


@functools.cache
def good_files(root):
    """A run and a session of labelling, complete."""
    run = Run.create(root / "run", completed("baseline", configuration("baseline", {**OPTIONS, "device": "cpu"})))
    run.train()
    (root / "session").mkdir()
    facts = {"rows": fingerprint(np.asarray(ROWS)), "random_state": 0, "labels": [[0, "a"], [2, "b"]]}
    (root / "session" / "session.json").write_text(json.dumps(facts))
    session = {"data": "digits", "clusters": 3, "max_steps": None, "random_state": 0, "data_dir": None,
               "data_options": [], "image_shape": [1, 8, 8], "schema": None, "features": None,
               "checksum": ""}  # fmt: skip
    (root / "session" / "settings.json").write_text(json.dumps(session))


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    root = tmp_path_factory.mktemp("good")
    good_files(root)
    for read in READERS.values():
        read(root)
    return root


def facts_of(run):
    run.class_labels, run.labels, run.shape, run.schema, run.plan, run._plan_settings()


READERS = {
    "run/config.yaml": lambda root: Run.open(root / "run"),
    "run/data.json": lambda root: facts_of(Run.open(root / "run")),
    "run/plan.json": lambda root: facts_of(Run.open(root / "run")),
    "session/session.json": lambda root: ActiveLearner.load(root / "session", ROWS),
    "session/settings.json": lambda root: _settings(root / "session"),
}


def check_mutations(good, name, root, seeds):
    (root / name).parent.mkdir(exist_ok=True, parents=True)
    shutil.copytree((good / name).parent, (root / name).parent, dirs_exist_ok=True)
    data = (good / name).read_bytes()
    outcomes = set()
    for seed in seeds:
        (root / name).write_bytes(mutated(data, seed))
        outcomes.add(ends_well(lambda: READERS[name](root)))
    assert False in outcomes


@pytest.mark.parametrize("name", READERS)
def test_damaged_settings_end_in_one_line(name, good, tmp_path):
    check_mutations(good, name, tmp_path, range(N_FAST))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", READERS)
def test_thousands_of_damaged_settings_end_in_one_line(name, good, tmp_path):
    check_mutations(good, name, tmp_path, range(N_FAST, N_FAST + N_SLOW))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("name", [name for name in READERS if name.endswith("json")])
def test_json_of_any_shape_ends_in_one_line(name, good, tmp_path_factory):
    whole = json.loads((good / name).read_text())
    root = tmp_path_factory.mktemp("any")
    shutil.copytree((good / name).parent, (root / name).parent, dirs_exist_ok=True)

    @settings(max_examples=15, deadline=None, database=None, derandomize=True)
    @given(st.sampled_from(sorted(whole)), JSON)
    def law(key, value):
        (root / name).write_text(json.dumps({**whole, key: value}))
        ends_well(lambda: READERS[name](root))
        (root / name).write_text(json.dumps(value))
        ends_well(lambda: READERS[name](root))

    law()


class Stop(Callback):
    """Interrupts a training at its second step."""

    def step(self, training):
        if training.n_done == 2:
            raise KeyboardInterrupt


def test_a_damaged_checkpoint_is_not_resumed_from(tmp_path):
    run = Run.create(tmp_path / "run", completed("baseline", configuration("baseline", OPTIONS)))
    with pytest.raises(KeyboardInterrupt):
        run.train([Stop()])
    run = Run.open(tmp_path / "run")
    newest = run.checkpoints.paths()[0].with_suffix(".safetensors")
    data = bytearray(newest.read_bytes())
    data[-3] ^= 1
    newest.write_bytes(data)
    logged = []
    run.checkpoints.log = logged.append
    run.train()
    assert "its checksum is wrong" in logged[0]


def test_a_written_configuration_is_read_within_the_limits():
    text = config_text(completed("classifier", configuration("classifier", OPTIONS)))
    assert yaml_values(text, "here")["labels"] == 50
