"""Hostile settings: YAML, the JSON files of runs and sessions, and checkpoints."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aaekit.core.callbacks import Callback
from aaekit.errors import InputError
from aaekit.runs.config import completed, config_text, configuration, read_config, yaml_values
from aaekit.runs.run import Run
from tests.hostile.inputs import OPTIONS, descriptions, tables
from tests.hostile.inputs import settings as settings_files
from tests.hostile.mutate import limits, places, replaced

BOMB = "\n".join(["a0: &a0 [x, x]", *(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 12))])


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
        with pytest.raises(InputError, match=words) as refused, limits(2, 2**28):
            read()
        assert len(str(refused.value).splitlines()) == 1


OF_SETTINGS = ("data.json", "plan.json", "results.json", "live/state.json", "session.json", "settings.json", "log.json")
OF_DESCRIPTIONS = (
    *("dataset_dict.json", "dataset_info.json", "state.json", "preprocessor_config.json", "experiment.json"),
    *("schema.json", "start.json"),
)
SKIPPED = ("live/state.json", "start.json")  # if they are damaged, it is as if they were not there
JSON_FILES = (*OF_SETTINGS, *OF_DESCRIPTIONS, "key.json")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def json_file(name):
    """A file of JSON with its reader."""
    return (settings_files() if name in OF_SETTINGS else descriptions() if name in OF_DESCRIPTIONS else tables())[name]


@pytest.mark.parametrize("name", JSON_FILES)
def test_json_of_any_shape_ends_in_one_line(name, tmp_path_factory):
    root, kind = tmp_path_factory.mktemp("any"), json_file(name)
    kind.place(root)
    whole = json.loads(kind.content)

    @settings(max_examples=15, deadline=None, database=None, derandomize=True)
    @given(st.sampled_from(sorted(whole)), JSON)
    def law(key, value):
        for content in ({**whole, key: value}, value):
            kind.is_read(root, json.dumps(content).encode())

    law()


def test_all_json_files_are_named():
    kinds = settings_files() | descriptions() | tables()
    assert set(JSON_FILES) == {name for name in kinds if name.endswith(".json")}


EXTREMES = {
    "5000 lists": "[" * 5000 + "]" * 5000,
    "5000 objects": '{"a":' * 5000 + "1" + "}" * 5000,
    "500 lists": "[" * 500 + "]" * 500,
    "5000 digits": "9" * 5000,
    "40 digits": "-" + "9" * 39,
    "20 digits": "9" * 20,
    "1e999": "1e999",
    "NaN": "NaN",
}


@pytest.mark.parametrize("name", JSON_FILES)
def test_deep_nesting_and_huge_numbers_end_in_one_line(name, tmp_path):
    """In the place of the whole, and of each value in it."""
    kind = json_file(name)
    kind.place(tmp_path)
    whole = json.loads(kind.content)
    at = list(places(whole))
    for place in at[:: max(1, len(at) // 5)]:
        for extreme, text in EXTREMES.items():
            content = json.dumps(replaced(whole, place, "@")).replace('"@"', text, 1)
            is_read = kind.is_read(tmp_path, content.encode())
            assert not is_read or not extreme.startswith("500") or name in SKIPPED, (place, extreme)


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
