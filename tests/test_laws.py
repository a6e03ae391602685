"""Laws of the interface: whatever is given as rows and labels ends in a result, or in one line that says what it is."""

import warnings

import numpy as np
import pytest
from conftest import QUICK
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from scipy import sparse

from aaekit import estimators
from aaekit.errors import InputError
from aaekit.ultrasound.simulator import TwoStageSimulator

SMALL = {**{k: v for k, v in QUICK.items() if k != "batch_size"}, "max_steps": 1, "hidden": (4,)}
KINDS = {name: getattr(estimators, name) for name in estimators.__all__}
DTYPES = ["f2", "f4", "f8", "i1", "i8", "u1", "u8", "?", "c8", "U3", "S3", "O", "M8[s]", "m8[s]", "i4,f4", "O nested"]


def rows(dtype, shape, fill, seed):
    """An array of a type and a shape, with one kind of difficulty."""
    values = np.random.default_rng(seed).integers(0, 5, shape).astype(float)
    special = {"NaN": np.nan, "infinite": np.inf, "huge": 1e39, "vast": 1e300, "tiny": 1e-320}
    if fill == "constant":
        values[...] = 3
    elif fill in special and values.size:
        values.flat[:: max(1, values.size // 3)] = special[fill]
    if dtype == "O nested":
        array = np.empty(shape[:1], object)
        array[:] = [[1, [2]]] * shape[0] if shape else None
        return array
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return values.astype(dtype)
        except (TypeError, ValueError):
            return values.astype("i8").astype(dtype)


SHAPES = st.sampled_from(
    [(30, 3), (30, 1), (30,), (), (0, 3), (1, 3), (2, 3), (30, 0), (30, 1, 4, 4), (30, 4, 4), (1, 1, 1, 1, 1)]
)
FILLS = ["plain", "constant", "NaN", "infinite", "huge", "vast", "tiny"]
X = st.builds(rows, st.sampled_from(DTYPES), SHAPES, st.sampled_from(FILLS), st.integers(0, 3))
ANY_X = (
    X
    | X.map(lambda a: a.tolist())
    | X.filter(lambda a: a.ndim == 2 and a.dtype.kind in "fi" and a.dtype != "f2").map(sparse.csr_matrix)
)
LABELS = [0, 1, -1, 2.5, float("nan"), None, "a", "", "-1", b"a", True, (1,), 10**20, np.datetime64("2020-01-01")]


def y_of(n, values, as_array):
    labels = [values[k % len(values)] for k in range(n)]
    return np.array(labels, dtype=object) if as_array else labels


Y = st.none() | st.builds(
    y_of,
    st.sampled_from([30, 30, 30, 2, 1, 0, 31]),
    st.lists(st.sampled_from(LABELS), min_size=1, max_size=4),
    st.booleans(),
)


def ends_in_a_result_or_in_one_line(fit_and_use):
    """Call a function that fits an estimator and uses it; errors of its input are of one line."""
    try:
        fit_and_use()
    except (ValueError, TypeError) as error:  # InputError is a ValueError; so are those of scikit-learn
        assert str(error).strip() and len(str(error)) < 3000
        assert not isinstance(error, InputError) or len(str(error).splitlines()) == 1, str(error)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.filterwarnings("ignore")
def test_any_rows_and_labels_end_in_a_result_or_in_one_line(name):
    @settings(max_examples=25, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(ANY_X, Y)
    def law(X, y):
        model = KINDS[name](**{k: v for k, v in SMALL.items() if k in KINDS[name]._get_param_names()})

        def fit_and_use():
            model.fit(X, y)
            for method in ("predict", "transform", "score_samples"):
                if hasattr(model, method):
                    result = getattr(model, method)(X)
                    assert len(result) == (X.shape[0] if hasattr(X, "shape") else len(X))

        ends_in_a_result_or_in_one_line(fit_and_use)

    law()


# --- the simulator: maps and frames ----------------------------------------------------------------------------------
TINY = {"low_size": 16, "size": 32, "channels": 2, "draws": 1, "steps": (1, 1), "batch_size": (2, 2),
        "precision": "float32", "random_state": 0, "device": "cpu"}  # fmt: skip
SIDES = st.sampled_from([(2, 32, 32)] * 3 + [(3, 32, 32), (2, 17, 40), (2, 1, 1), (0, 32, 32), (2, 32), (1, 32, 32)])
IMAGES = st.builds(rows, st.sampled_from(DTYPES), SIDES, st.sampled_from(FILLS), st.integers(0, 3))
GOOD = st.builds(lambda shape, seed: rows("u1", shape, "plain", seed), SIDES, st.integers(0, 3))
ANY_IMAGES = GOOD | IMAGES | IMAGES.map(lambda a: a.tolist()) | st.none()


@pytest.mark.filterwarnings("ignore")
def test_any_maps_and_frames_end_in_a_simulation_or_in_one_line():
    fitted = 0

    @settings(max_examples=40, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(ANY_IMAGES, ANY_IMAGES, st.booleans(), st.sampled_from(["polar", "cartesian"]))
    @example(rows("u1", (2, 32, 32), "plain", 0), rows("u1", (2, 32, 32), "plain", 1), True, "polar")
    def law(maps, frames, paired, geometry):
        simulator = TwoStageSimulator(**TINY, paired=paired, geometry=geometry)

        def fit_and_use():
            nonlocal fitted
            simulator.fit(maps, frames)
            fitted += 1
            simulated = simulator.simulate(maps, random_state=0)
            assert simulated.shape == np.shape(maps) and simulated.dtype == np.float32
            assert 0 <= simulated.min() <= simulated.max() <= 1
            simulator.resample(frames)
            if paired:
                simulator.divergences(maps, frames)

        ends_in_a_result_or_in_one_line(fit_and_use)

    law()
    assert fitted
