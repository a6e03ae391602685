"""Hostile model files: damaged bytes, and whole files whose header lies."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from aaekit.errors import InputError
from aaekit.estimators import _io
from aaekit.estimators._base import Estimator
from tests.hostile.inputs import ESTIMATORS, saved, use
from tests.hostile.mutate import ends_well, limits, places, replaced


@pytest.fixture(scope="module", params=ESTIMATORS)
def good(request, tmp_path_factory):
    """The file of a model, its header and its tensors."""
    path = tmp_path_factory.mktemp("good") / "model.safetensors"
    path.write_bytes(saved(request.param))
    return path, *_io.read_model(path)


def is_loaded(path, header, tensors):
    """Whether a file with such a header, and the right checksum, is loaded."""
    text = json.dumps(header)
    save_file(tensors, str(path), _io.sealed(text, tensors))
    return ends_well(lambda: use(path))


def test_a_good_file_is_loaded(good, tmp_path):
    path, header, tensors = good
    assert is_loaded(tmp_path / "m", header, tensors)


def test_each_flipped_bit_is_noticed(good, tmp_path):
    data = good[0].read_bytes()
    for k in np.linspace(0, 8 * len(data) - 1, 25).astype(int):
        changed = bytearray(data)
        changed[k // 8] ^= 1 << (k % 8)
        (tmp_path / "m").write_bytes(changed)
        assert not ends_well(lambda: use(tmp_path / "m")), f"bit {k}"


VALUES = (
    st.sampled_from(
        [None, True, -1, 0, 1, 10**9, 10**30, 1e308, float("nan"), float("inf"), "", "x", [], {}, [[]], "predict"]
    )
    | st.lists(st.integers(-1, 10**6), max_size=3)
    | st.just([4] * 100_000)
    | st.dictionaries(
        st.sampled_from(["tensor", "array", "plan", "pairs", "tuple", "scaler", "x_"]), st.integers(), max_size=2
    )
)


@pytest.mark.timeout(600)
def test_a_header_that_lies_is_loaded_or_refused_in_a_line(good, tmp_path_factory):
    _, header, tensors = good
    path = tmp_path_factory.mktemp("lies") / "m"

    @settings(max_examples=12, deadline=None, database=None, derandomize=True)
    @given(st.sampled_from(list(places(header))), VALUES)
    def law(at, value):
        is_loaded(path, replaced(header, at, value), tensors)

    law()


HUGE = 10**9
LIES = [
    (("parameters", "latent_dim"), HUGE, "weights that fit"),
    (("parameters", "hidden"), [HUGE], None),
    (("parameters", "hidden"), [4] * 100_000, "100000 layers"),
    (("parameters", "discriminator_hidden"), [4] * 100_000, "100000 layers"),
    (("facts", "plan_", "plan", "hidden"), [HUGE], "weights that fit"),
    (("facts", "plan_", "plan", "n_classes"), HUGE, "frequencies"),
    (("facts", "plan_", "plan", "data", "shape"), [1, 10**5, 10**5], "rows of shape"),
    (("facts", "predict"), "text", "no fact"),
    (("facts", "networks_"), "text", "no fact"),
    (("facts", "sparkle_"), "text", "no fact"),
    (("facts", "shape_"), [3], "no fact"),
    (("facts", "classes_"), {"array": ["a"] * 3, "dtype": "<U900000000", "shape": [3]}, "not understood|an array of"),
    (("facts", "classes_"), {"array": [0], "dtype": "int64", "shape": [1]}, "1 classes, 2 counts"),
    (("facts", "scaler_"), 3, "scaler_: a int"),
    (("estimator",), "Path", "expected a saved"),
    (("estimator",), ["SemiSupervisedAAE"], "estimator"),
    (("facts",), [], "facts: "),
    (("format",), 5, "two formats"),
]  # fmt: skip


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "model.safetensors"
    path.write_bytes(saved("classifier"))
    return _io.read_model(path)


@pytest.mark.parametrize("at, value, words", LIES, ids=lambda v: str(v)[:40])
def test_what_a_header_may_not_say(at, value, words, classifier, tmp_path):
    header, tensors = classifier
    text = json.dumps(replaced(header, at, value))
    save_file(tensors, str(tmp_path / "m"), _io.sealed(text, tensors))
    with limits(10, 2**28):
        if words is None:
            use(tmp_path / "m")
            return
        with pytest.raises(InputError, match=words) as refused:
            Estimator.load(tmp_path / "m")
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_neither_saved_nor_loaded(value, classifier, tmp_path):
    header, tensors = classifier
    name = "encoder.backbone.1.weight"
    bad = {**tensors, name: torch.full_like(tensors[name], value)}
    with pytest.raises(InputError, match=f"finite, got NaN or infinity in {name}"):
        _io.write_model(tmp_path / "m", header, bad)
    text = json.dumps(header)
    save_file(bad, str(tmp_path / "m"), _io.sealed(text, bad))
    with pytest.raises(InputError, match=f"NaN or infinity in {name}"):
        Estimator.load(tmp_path / "m")
