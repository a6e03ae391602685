"""Labels: every spelling of "unlabelled" means the same, for estimators, metrics, splits, tables and figures."""

import inspect
import warnings

import numpy as np
import pandas as pd
import pytest
from conftest import QUICK
from hypothesis import given, settings
from hypothesis import strategies as st

from aaekit import SemiSupervisedAAE, labels, plots
from aaekit.data import split
from aaekit.errors import InputError, UnlabelledWarning
from aaekit.evaluation.metrics import clustering_accuracy, error_rate
from aaekit.labels import as_integers, as_labels, label_indices, labelled_mask, split_labels

MISSING = [-1, None, np.nan, float("nan"), np.float32("nan"), pd.NA, np.int8(-1), -1.0]

NUMBERS = {
    "list": lambda y, gap: [gap if v is None else v for v in y],
    "tuple": lambda y, gap: tuple(gap if v is None else v for v in y),
    "objects": lambda y, gap: np.array([gap if v is None else v for v in y], dtype=object),
    "NumPy's numbers among objects": lambda y, gap: np.array([gap if v is None else np.uint8(v) for v in y], object),
    "int64": lambda y, gap: np.array([-1 if v is None else v for v in y], dtype=np.int64),
    "int8": lambda y, gap: np.array([-1 if v is None else v for v in y], dtype=np.int8),
    "float64 with NaN": lambda y, gap: np.array([np.nan if v is None else v for v in y], dtype=float),
    "float32 with -1": lambda y, gap: np.array([-1 if v is None else v for v in y], dtype=np.float32),
    "Series": lambda y, gap: pd.Series(list(y)),
    "Int64": lambda y, gap: pd.Series(list(y), dtype="Int64"),
    "category": lambda y, gap: pd.Series(list(y), dtype="category"),
    "objects of pandas": lambda y, gap: pd.Series([gap if v is None else v for v in y], dtype=object),
}
TEXTS = {
    "list": lambda y, gap: [gap if v is None else v for v in y],
    "objects": lambda y, gap: np.array([gap if v is None else v for v in y], dtype=object),
    "NumPy's texts among objects": lambda y, gap: np.array([gap if v is None else np.str_(v) for v in y], object),
    "Series": lambda y, gap: pd.Series(list(y)),
    "string": lambda y, gap: pd.Series(list(y), dtype="string"),
    "category": lambda y, gap: pd.Series(list(y), dtype="category"),
    "objects of pandas": lambda y, gap: pd.Series([gap if v is None else v for v in y], dtype=object),
}
TEXT = st.sampled_from(["cat", "dog", "-2", "nan", "1", "None"])
UNLABELLED_TEXT = st.sampled_from(["", " ", "-1", " -1"])


def of(labels):
    """Labels, None in unlabelled rows."""
    return st.lists(st.none() | labels, min_size=1, max_size=12)


@settings(max_examples=100, deadline=None)
@given(of(st.integers(0, 4)), st.sampled_from(MISSING))
def test_every_spelling_of_numbers_is_the_same(y, gap):
    labelled = [v is not None for v in y]
    classes = sorted({v for v in y if v is not None})
    for name, spelled in NUMBERS.items():
        values, mask = split_labels(spelled(y, gap))
        assert mask.dtype == bool and mask.tolist() == labelled, name
        assert values[mask].tolist() == [v for v in y if v is not None], name
        assert label_indices(spelled(y, gap), classes).tolist() == [-1 if v is None else classes.index(v) for v in y]


@settings(max_examples=100, deadline=None)
@given(of(TEXT), st.sampled_from(MISSING))
def test_every_spelling_of_texts_is_the_same(y, gap):
    labelled = [v is not None for v in y]
    classes = sorted({v for v in y if v is not None}, reverse=True)
    for name, spelled in TEXTS.items():
        values, mask = split_labels(spelled(y, gap))
        assert mask.tolist() == labelled, name
        assert values[mask].tolist() == [v for v in y if v is not None], name
        indices = label_indices(spelled(y, gap), classes)
        assert indices.dtype == np.int64
        assert [None if k < 0 else classes[k] for k in indices] == y  # and back again


@given(of(st.integers(0, 4)))
def test_reading_labels_twice_changes_nothing(y):
    values, mask = split_labels(y)
    assert labelled_mask(values[mask]).all()
    again, again_mask = split_labels(values)
    assert again.dtype == values.dtype and again_mask.tolist() == mask.tolist()


@pytest.mark.parametrize(
    ("y", "dtype"),
    [
        ([0, None, 1], np.int64),
        ([True, None, False], np.int64),
        ([True, False], bool),
        ([0.5, None, 1], np.float64),
        ([0.0, 1.0], np.float64),
        (np.array([0, np.nan, 1]), np.int64),
        (np.array([0, -1.0, 1]), np.int64),
        (np.array([3, 1], np.uint8), np.uint8),
        (["a", "b"], "<U1"),
        (["a", None], object),
        ([None, None], object),
        ([2**70, None], object),
    ],
    ids=str,
)
def test_types(y, dtype):
    assert split_labels(y)[0].dtype == dtype


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([[1], [2]], r"y: expected one label per row, shape \(n,\), got shape \(2, 1\)"),
        (3, r"got shape \(\)"),
        ([[1], [2, 3]], "lists of different lengths"),
        ([0, np.inf], "y: expected finite labels, got infinity in 1 of 2 rows"),
        ([0, None, -np.inf], "infinity in 1 of 3 rows"),
        (["a", 1], "all texts or all numbers, got both"),
        (np.array(["a", np.nan]), "got the text 'nan' in an array of texts"),
    ],
    ids=str,
)
def test_what_is_refused(y, message):
    with pytest.raises(InputError, match=message):
        split_labels(y)


@settings(max_examples=100, deadline=None)
@given(of(TEXT), UNLABELLED_TEXT)
def test_empty_texts_and_minus_one_are_unlabelled_in_every_spelling_and_counted_in_a_warning(y, gap):
    labelled, n = [v is not None for v in y], sum(v is None for v in y)
    texts = {name: spelled([gap if v is None else v for v in y], None) for name, spelled in TEXTS.items()}
    texts["NumPy's texts"] = np.array([gap if v is None else v.replace("nan", "naan") for v in y])
    texts["bytes"] = [(gap if v is None else v).encode() for v in y]
    for name, spelled in texts.items():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert labelled_mask(spelled).tolist() == labelled, name
        assert [w.category for w in caught] == [UnlabelledWarning] * bool(n), name
        assert all(f"in {n} of {len(y)} rows" in str(w.message) for w in caught), name


def test_an_empty_text_among_numbers_is_unlabelled():
    with pytest.warns(UnlabelledWarning, match="^y: expected None or -1 in unlabelled rows, got the text '' in 1 of 3"):
        values, labelled = split_labels([3, "", 1])
    assert values.dtype == np.int64 and values[labelled].tolist() == [3, 1]


def test_lists_keep_their_types():
    assert as_labels(["a", -1]).tolist() == ["a", -1] and as_labels([b"a", None]).tolist() == [b"a", None]


def test_labels_of_other_classes_are_refused():
    with pytest.raises(InputError, match=r"labels: expected labels of the classes \['a', 'b'\], got \['c'\]"):
        label_indices(["a", None, "c", "c"], ["a", "b"], "labels")
    assert label_indices([7, 3, -1], np.array([7, 3])).tolist() == [0, 1, -1]
    assert label_indices([], []).tolist() == []


def test_it_needs_numpy_alone():
    text = inspect.getsource(labels)
    imports = [line.split()[1] for line in text.splitlines() if line.startswith(("import ", "from "))]
    assert imports == ["warnings", "collections.abc", "typing", "numpy", "numpy.typing", "aaekit.errors"]


# --- where labels are read

Y = [0, 1, None, 1, 0, 1, None, 0]
PREDICTED = np.array([0, 1, 0, 0, 0, 1, 1, 1])


@pytest.mark.parametrize("spelled", NUMBERS.values(), ids=NUMBERS)
@pytest.mark.parametrize("gap", [-1, None, np.nan, pd.NA], ids=["-1", "None", "NaN", "NA"])
def test_metrics_splits_and_figures_leave_unlabelled_rows_out(spelled, gap):
    y = spelled(Y, gap)
    assert error_rate(y, PREDICTED) == pytest.approx(100 * 2 / 6)
    assert clustering_accuracy(y, PREDICTED) == pytest.approx(100 * 4 / 6)
    assert set(split(y, 2).labelled) <= {0, 1, 3, 4, 5, 7} and len(split(y, None).labelled) == 6
    figure = plots.confusion_matrix(y, PREDICTED)
    assert figure.axes[0].get_title(loc="left") == "2 of 6 wrong: error 33.33 %"
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["0", "1"]


@pytest.fixture(scope="module")
def models(digits):
    X, y = digits
    few = np.arange(len(y)) % 3 == 0
    names = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])[y]
    return {
        kind: SemiSupervisedAAE(**QUICK).fit(X, [v if ok else None for v, ok in zip(values.tolist(), few, strict=True)])
        for kind, values in (("numbers", y), ("texts", names))
    }, {"numbers": y.tolist(), "texts": names.tolist()}


SPELLINGS = [("numbers", name) for name in NUMBERS] + [("texts", name) for name in TEXTS]


@pytest.mark.parametrize(("kind", "name"), SPELLINGS, ids=[f"{kind}, {name}" for kind, name in SPELLINGS])
@pytest.mark.parametrize("gap", [-1, None, np.nan, pd.NA], ids=["-1", "None", "NaN", "NA"])
def test_score_and_error_rate_agree(kind, name, gap, digits, models):
    fitted, labels_of = models
    y = [label if k % 5 else None for k, label in enumerate(labels_of[kind])]
    spelled = {"numbers": NUMBERS, "texts": TEXTS}[kind][name](y, gap)
    predicted = fitted[kind].predict(digits[0])
    wrong = error_rate(spelled, predicted)
    assert wrong == pytest.approx(100 * np.mean([p != v for p, v in zip(predicted, y, strict=True) if v is not None]))
    assert fitted[kind].score(digits[0], spelled) == pytest.approx(1 - wrong / 100)


def test_the_same_labels_in_another_spelling_train_the_same(few_labels):
    X, y = few_labels
    expected = SemiSupervisedAAE(**QUICK).fit(X, y).predict_proba(X)
    for gap in (None, np.nan):
        model = SemiSupervisedAAE(**QUICK).fit(X, np.array([gap if k < 0 else k for k in y], dtype=object))
        np.testing.assert_array_equal(model.predict_proba(X), expected)
        assert model.classes_.tolist() == list(range(10))


@pytest.mark.parametrize("dtype", "bBhHiIlL")
def test_integers_of_every_type_are_taken(dtype):
    labels = np.array([2, 0, 1], dtype)
    labelled = np.array([True, False, True])
    integers = as_integers(labels, labelled)
    assert integers.dtype == np.int64
    assert integers.tolist() == [2, -1, 1]
