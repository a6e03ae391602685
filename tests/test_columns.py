"""The columns of tables: what each is, that rows come back as valid cells, and what estimators do with them."""

import json
import tracemalloc
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.compose import make_column_transformer
from sklearn.preprocessing import OneHotEncoder

from aaekit import AdversarialAutoencoder, ClusteringAAE, SemiSupervisedAAE, SupervisedBaseline
from aaekit.cells import cells_of, parse_dates, parse_numbers
from aaekit.columns import Column, Schema, TableRows
from aaekit.errors import ColumnWarning, InputError, RangeWarning
from aaekit.estimators import _rows
from aaekit.estimators._rows import Curve
from aaekit.nn.choices import UNIT, expected_row, mixed_error

N = 60
RNG = np.random.default_rng(0)
QUICK = {"max_steps": 5, "hidden": (16,), "batch_size": 20, "random_state": 0}

finite = st.floats(-1e300, 1e300).map(lambda value: value + 0.0)
texts = st.text("abc=>: ,;'\"é1", min_size=1, max_size=6).map(str.strip).filter(bool)


def fitted(frame, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ColumnWarning)
        return Schema.fit(frame, **options)


def column_of(cells, name="c"):
    """What a column is, beside another that can be used."""
    return fitted({name: cells, "other": np.arange(len(cells)) + 0.5}).columns[0]


def repeated(*cells, n=N):
    return [cells[k % len(cells)] for k in range(n)]


# --- what a column is
@pytest.mark.parametrize(
    ("cells", "kind", "more"),
    [
        (repeated(1.5, 2.5, 7.0), "number", {"low": 1.5, "high": 7.0, "fill": 2.5, "decimals": 1}),
        (repeated(1, 2, 7, None), "number", {"n_gaps": 15, "decimals": 0}),
        (pd.array(repeated(1, 2, 7, None), "Int64"), "number", {"n_gaps": 15, "decimals": 0}),
        (repeated(0, 1, 1), "boolean", {"categories": (0, 1)}),
        (repeated(True, False), "boolean", {"categories": (False, True)}),
        (repeated("yes", "no", None), "boolean", {"categories": ("no", "yes"), "n_gaps": 20}),
        (repeated("T", "F"), "boolean", {"categories": ("F", "T")}),
        (repeated("a", "b", "c"), "category", {"categories": ("a", "b", "c"), "other": None}),
        (pd.Categorical(repeated(3, 5)), "category", {"categories": (3, 5)}),
        (repeated("1,000", "2,500.5", "17"), "number", {"low": 17, "high": 2500.5, "decimal": "."}),
        (repeated("1.000,5", "2,5"), "number", {"low": 2.5, "high": 1000.5, "decimal": ","}),
        (repeated("12 %", "3%"), "number", {"low": 3, "high": 12}),
        (repeated("$5", "$1,000"), "number", {"low": 5, "high": 1000}),
        (repeated("2020-01-01", "2021-06-30"), "date", {"written": "iso", "has_time": False}),
        (repeated("31.12.2020", "01.02.2021"), "date", {"written": "%d.%m.%Y"}),
        (repeated("01/31/2020", "02/01/2020"), "date", {"written": "%m/%d/%Y"}),
        (repeated("2020-01-01 10:00", "2020-01-02 11:30"), "date", {"has_time": True}),
        (pd.to_datetime(repeated("2020-01-01 10:00", "2020-01-02 11:30", None)), "date", {"n_gaps": 20, "written": ""}),
        (pd.to_timedelta(repeated(1, 2), "D"), "number", {"low": 1, "high": 2}),
        (repeated("same"), "constant", {"categories": ("same",)}),
        (repeated(3), "constant", {"categories": (3,)}),
        (repeated(None), "empty", {}),
        ([f"A{k}" for k in range(N)], "identifier", {}),
        ([f"the {k}th long text" for k in range(N)], "text", {}),
    ],
)
def test_kinds(cells, kind, more):
    column = column_of(cells)
    assert column.kind == kind and {name: getattr(column, name) for name in more} == more
    assert bool(column.remark) == (kind in ("constant", "empty", "identifier", "text"))


@pytest.mark.parametrize("name", ["id", "customer_id", "ID", "userId", "index", "Id"])
def test_identifiers_are_left_out_and_said(name):
    frame = {name: RNG.permutation(N) + 1000, "a": RNG.normal(size=N)}
    with pytest.warns(ColumnWarning, match=f"column {name}: left out as an identifier"):
        assert Schema.fit(frame).value_names == ["a"]
    with pytest.warns(ColumnWarning, match="column no: counts the rows: drop it"):
        assert Schema.fit({"no": np.arange(N), "a": RNG.normal(size=N)}).value_names == ["no", "a"]


@pytest.mark.parametrize("bad", ["oops", "n.d.", "12O", "-", "1;2"])
@pytest.mark.parametrize("n_bad", [1, 3])
@pytest.mark.parametrize("written", [str, lambda number: f"{number:,.2f}", lambda number: f"{number:.1f} %"])
def test_a_bad_cell_among_numbers_is_a_gap_and_said(bad, n_bad, written):
    cells = [written(number) for number in RNG.normal(size=N) * 1e4]
    cells[5 : 5 + n_bad] = [bad] * n_bad
    with pytest.warns(ColumnWarning, match=f"column c: {n_bad} of {N} cells count as empty.*such as '{bad}'"):
        schema = Schema.fit({"c": cells})
    assert schema.value_names == ["c", "c: empty"] and schema.columns[0].n_gaps == n_bad
    assert schema.transform({"c": cells})[:, 1].nonzero()[0].tolist() == list(range(5, 5 + n_bad))


def test_rare_categories_share_a_value_and_are_written_as_the_most_frequent_of_them():
    cells = [f"k{k}" for k in range(9) for _ in range(9)] + [f"r{k}" for k in range(15)] + ["r0"]
    with pytest.warns(ColumnWarning, match="of 24 categories the 9 frequent ones are values"):
        schema = Schema.fit({"c": cells})
    assert schema.n_values == 10 and schema.groups == ((0, 10),)
    X = schema.transform({"c": ["k3", "r9", "never seen"]})
    assert X.argmax(1).tolist() == [3, 9, 9] and (X.sum(1) == 1).all()
    assert schema.inverse_transform(X)["c"].tolist() == ["k3", "r0", "r0"]


def test_remarks_about_many_columns_are_one_line():
    frame = {f"c{k}": np.zeros(N) for k in range(300)} | {"a": RNG.normal(size=N)}
    with pytest.warns(ColumnWarning, match="columns c0, c1, c2, c3, c4 and 295 more: left out") as said:
        Schema.fit(frame)
    assert len(said) == 1


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        ({"a": [np.inf, 1.0]}, "column a: expected finite numbers, got infinity in 1 rows"),
        ({"a": [1, 1]}, r"a column to learn from, got a \(constant\)"),
        (pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"]), "a different name for each column, got 'a' twice"),
        ({"a": np.arange(3.0), "b": np.arange(5.0)}, "columns of the same length, got 3 and 5 cells"),
    ],
)
@pytest.mark.filterwarnings("ignore::aaekit.errors.ColumnWarning")
def test_what_no_schema_can_be_learned_from(frame, words):
    with pytest.raises(InputError, match=words):
        Schema.fit(frame)


def test_columns_of_several_lengths_are_no_rows():
    schema = Schema.fit({"a": [0.5, 1.0, 2.0], "b": ["x", "y", "x"]})
    with pytest.raises(InputError, match="columns of the same length, got 2 and 3 cells"):
        schema.transform({"a": [0.5, 1.0, 2.0], "b": ["x", "y"]})


# --- laws
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_rows_come_back_as_the_cells_they_were(drawn):
    n = drawn.draw(st.integers(2, 12))
    cells = {
        "number": st.one_of(st.none(), finite),
        "whole": st.integers(-(10**6), 10**6),
        "text": st.one_of(st.none(), texts),
        "truth": st.one_of(st.none(), st.booleans()),
        "date": st.one_of(st.none(), st.datetimes(pd.Timestamp(1950, 1, 1), pd.Timestamp(2050, 1, 1))),
    }
    frame = {name: drawn.draw(st.lists(kind, min_size=n, max_size=n), name) for name, kind in cells.items()}
    frame = pd.DataFrame(frame | {"x": np.arange(n) + 0.25})
    schema = fitted(frame)
    X = schema.transform(frame)
    assert np.isfinite(X).all() and X.shape == (n, schema.n_values) and X.schema is schema
    for first, last in schema.groups:
        group = X[:, first:last]
        assert ((group == 0) | (group == 1)).all() and (last - first == 1 or (group.sum(1) == 1).all())
    back = schema.inverse_transform(X)
    for column in schema.used:
        np.testing.assert_allclose(
            column.encode(cells_of(back[column.name]))[0],
            column.encode(cells_of(frame[column.name]))[0],
            rtol=1e-9,
            atol=1e-3,
        )
        if column.kind in ("category", "boolean"):
            assert list(map(str, cells_of(back[column.name]))) == list(map(str, cells_of(frame[column.name])))
    assert Schema.from_dict(json.loads(json.dumps(schema.as_dict()))) == schema


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 100))
def test_whatever_a_decoder_gives_becomes_valid_cells(seed, spread):
    """Numbers in the range of the table and with its decimals, texts of the table, dates that are read again."""
    frame = pd.DataFrame(
        {
            "whole": repeated(3, 5, 8),
            "price": repeated(1.25, 7.5, None),
            "sex": repeated("FEMALE", "MALE", None),
            "ok": repeated("yes", "no"),
            "day": repeated("31.12.2020", "01.02.2021"),
            "when": pd.to_datetime(repeated("2020-01-01 10:00", "2020-03-02 11:30")),
        }
    )
    schema = fitted(frame)
    X = schema.transform(frame)
    made = X + spread * np.random.default_rng(seed).normal(size=X.shape)
    rows = pd.DataFrame(schema.inverse_transform(made))
    assert list(rows.columns) == list(frame.columns)
    for name in ("sex", "ok"):
        assert set(rows[name].dropna()) <= set(frame[name].dropna())
    assert rows.whole.between(3, 8).all() and (rows.whole % 1 == 0).all()
    price = rows.price.dropna()
    assert price.between(1.25, 7.5).all() and (price.round(2) == price).all()
    assert rows.when.between(frame.when.min(), frame.when.max()).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schema.transform(rows)


@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=9))
def test_numbers_are_read_as_they_are_written(numbers):
    for written, decimal in (
        ([f"{x:,.3f}" for x in numbers], "."),
        ([f"{x:,.3f}".translate(str.maketrans(",.", ".,")) for x in numbers], ","),
        ([f"{x:,.3f} %".replace(",", " ") for x in numbers], "."),
    ):
        found, _ = parse_numbers(written, decimal)
        np.testing.assert_allclose(found, np.round(numbers, 3), atol=1e-3)


@pytest.mark.parametrize("text", ["", "abc", "1,2,3", "12-13", "1e", "NaN", "0x1F", "1_000", "--1"])
def test_texts_that_are_no_numbers(text):
    assert np.isnan(parse_numbers([text, "5.5"])[0][0])


def test_dates_are_read_in_the_order_of_the_whole_column():
    assert str(parse_dates(["03/04/2020", "13/04/2020"])[0][0])[:10] == "2020-04-03"
    assert str(parse_dates(["03/04/2020", "03/14/2020"])[0][0])[:10] == "2020-03-04"


def test_other_cells_count_as_unknown_and_are_said_in_one_line():
    frame = pd.DataFrame({"a": RNG.normal(size=N), "k": repeated("u", "v"), "n": repeated(1, 2, None)})
    schema = fitted(frame)
    later = pd.DataFrame({"n": [None, 3], "more": [1, 2], "k": ["w", None], "a": ["oops", "1.5"]})
    with pytest.warns(ColumnWarning) as said:
        X = schema.transform(later)
    (line,) = (str(warning.message) for warning in said)
    assert "a (1 new, such as 'oops'), k (1 empty; 1 new, such as 'w')" in line and "n (" not in line
    assert X.tolist() == [[schema.columns[0].fill, 0, 0, 1.5, 1], [1.5, 0, 0, 3, 0]]
    with pytest.raises(InputError, match="the columns of the training rows, got none called k: add them"):
        schema.transform(later.drop(columns="k"))


def test_rows_keep_their_schema_and_columns_do_not():
    schema = fitted({"a": [1.5, 2.5, 3.5], "k": ["u", "v", "u"]})
    X = schema.transform({"a": [1.5, 2.5], "k": ["u", "v"]})
    assert isinstance(X[1:], TableRows) and X[[0]].schema is X[X[:, 0] > 2].schema is X.copy().schema is schema
    assert getattr(X[:, :2], "schema", None) is None and getattr(X[0], "schema", None) is None


# --- scaling
@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e30, 1e30), min_size=2, max_size=20), st.floats(1e-300, 1e260), st.floats(-1e260, 1e260))
def test_scaling_is_increasing_and_can_be_inverted(values, scale, center):
    X = np.sort(np.array(values) * scale + center)[:, None]
    curve = Curve.fit(X)
    rows = curve.scaled(X)
    assert np.isfinite(rows).all() and (np.diff(rows[:, 0]) >= 0).all()
    back = curve.unscaled(rows)
    assert np.isfinite(back).all()
    np.testing.assert_allclose(curve.scaled(back), rows, rtol=1e-3, atol=1e-3)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([1e-200, 1e-3, 7.0, 1e44, 1e200]))
def test_scaled_columns_are_standardised_and_their_unit_does_not_matter(seed, unit):
    X = np.random.default_rng(seed).lognormal(0, 2, (200, 3))
    rows = Curve.fit(X).scaled(X)
    np.testing.assert_allclose([rows.mean(0), rows.std(0)], [[0] * 3, [1] * 3], atol=1e-4)
    np.testing.assert_allclose(Curve.fit(X * unit).scaled(X * unit), rows, atol=1e-4)


def test_many_rows_are_scaled_a_block_at_a_time(monkeypatch):
    """To the same numbers, and in little more memory than the scaled rows take."""
    X = np.random.default_rng(0).lognormal(0, 2, (100_000, 10)).astype(np.float32)
    X[:, 3] = X[:, 3] > 1
    whole, seen = Curve.fit(X), []
    monkeypatch.setattr(_rows, "BLOCK", 2**14)
    for make in (lambda: Curve.fit(X), lambda: whole.scaled(X)):
        tracemalloc.start()
        made = make()
        seen.append((made, tracemalloc.get_traced_memory()[1]))
        tracemalloc.stop()
    (curve, of_fit), (rows, of_scaled) = seen
    for name in ("center", "scale", "mean", "deviation", "reach"):
        np.testing.assert_allclose(getattr(curve, name), getattr(whole, name), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(curve.scaled(X), rows, atol=1e-6)
    assert of_fit < X.nbytes and of_scaled < X.nbytes + X.nbytes / 2
    model = AdversarialAutoencoder(**QUICK).fit(X[:500])
    with pytest.warns(RangeWarning, match="got 10% outside"):
        model.transform(np.where(np.arange(10) == 2, 1e9, X[:5000]))


@pytest.mark.filterwarnings("ignore:expected .* clusters, got")
@pytest.mark.parametrize("factor", [1e-300, 1e-44, 1e-3, 1e3, 1e44, 1e299])
@pytest.mark.parametrize("kind", ["clusters", "classes"])
def test_the_unit_of_a_table_does_not_matter(factor, kind):
    """Neither for values in 0..1, which are not pixels."""
    X = RNG.random((200, 4)) ** 3
    y = np.where(np.arange(200) < 20, X[:, 0] > 0.2, -1)
    make = {"clusters": lambda: ClusteringAAE(n_clusters=2, **QUICK), "classes": lambda: SupervisedBaseline(**QUICK)}
    made = [make[kind]().fit(X * f + c, y) for f, c in ((1, 0), (factor, 0), (factor, 5 * factor))]
    method = "cluster_proba" if kind == "clusters" else "predict_proba"
    p = [getattr(m, method)(X * f + c) for m, f, c in zip(made, (1, factor, factor), (0, 0, 5 * factor), strict=True)]
    assert not made[0].unit_range_ and made[0].data_radius_ == pytest.approx(made[1].data_radius_, rel=1e-4)
    np.testing.assert_allclose(p[1], p[0], atol=1e-3)
    np.testing.assert_allclose(p[2], p[0], atol=1e-3)


def test_one_huge_value_does_not_hide_the_others():
    X = RNG.normal(size=(N, 2))
    X[7, 0] = 1e44
    model = SupervisedBaseline(**QUICK).fit(X, np.arange(N) % 2)
    rows = model._rows(X)
    assert np.isfinite(rows).all() and 0.2 < np.std(np.delete(rows[:, 0], 7)) < 2


@pytest.mark.parametrize("share", [0.02, 0.5])
def test_a_rare_one_is_as_far_from_zero_as_a_frequent_one(share):
    frame = pd.DataFrame({"number": RNG.normal(size=500), "choice": np.arange(500) < 500 * share})
    model = SupervisedBaseline(**QUICK).fit(frame, np.arange(500) % 2)
    assert set(model._rows(frame)[:, 1]) == {0.0, UNIT}


# --- estimators
def mixed(n=N):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "number": rng.normal(size=n),
            "kind": np.array(["u", "v", "w"])[np.arange(n) % 3],
            "ok": np.arange(n) % 2 == 0,
            "day": pd.date_range("2020-01-01", periods=n),
            "gap": np.where(np.arange(n) % 5 == 0, np.nan, rng.normal(size=n)),
        }
    )
    return frame, np.where(np.arange(n) < 30, np.arange(n) % 3, -1)


@pytest.mark.filterwarnings("ignore:expected .* clusters, got")
@pytest.mark.parametrize("kind", [SemiSupervisedAAE, AdversarialAutoencoder, ClusteringAAE])
def test_data_frames_are_taken_and_come_back(kind, tmp_path):
    frame, y = mixed()
    model = kind(**QUICK).fit(frame, y)
    assert model.plan_.reconstruction == "mixed" and list(model.feature_names_in_) == list(frame.columns)
    for rows in (model.sample(4, random_state=0), model.reconstruct(frame[:4])):
        assert list(rows.columns) == list(frame.columns) and set(rows.kind) <= set("uvw")
        assert rows.day.dtype.kind == "M" and set(rows.ok) <= {True, False}
    model.save(tmp_path / "m")
    again = kind.load(tmp_path / "m")
    assert again.plan_ == model.plan_ and again.scaler_.schema == model.scaler_.schema
    np.testing.assert_array_equal(again.transform(frame), model.transform(frame))
    np.testing.assert_array_equal(model.transform(frame[frame.columns[::-1]]), model.transform(frame))
    with pytest.raises(InputError, match="a data frame with the columns of fit, got ndarray"):
        model.transform(frame.to_numpy())


def test_the_values_of_a_table_are_as_good_as_the_table(tmp_path):
    """What the command line trains on, an array with its schema, takes data frames, too."""
    frame, y = mixed()
    X = fitted(frame).transform(frame)
    model = SemiSupervisedAAE(**QUICK).fit(X, y)
    assert model.plan_.reconstruction == "mixed" and model.sample(3).shape == (3, X.shape[1])
    np.testing.assert_array_equal(
        model.predict_proba(frame), SemiSupervisedAAE(**QUICK).fit(frame, y).predict_proba(frame)
    )
    np.testing.assert_array_equal(model.predict_proba(np.asarray(X)), model.predict_proba(frame))


def test_empty_cells_of_arrays():
    X = RNG.normal(size=(N, 3))
    X[::4, 1] = np.nan
    model = AdversarialAutoencoder(**QUICK).fit(X)
    assert model.scaler_.groups == ((2, 3),) and model.n_features_in_ == 3
    assert model.reconstruct(X).shape == X.shape and np.isfinite(model.reconstruct(X)).all()
    full = np.nan_to_num(X, nan=np.nanmedian(X))
    assert not np.allclose(model.transform(X)[::4], model.transform(full)[::4])  # it is a value whether a cell is empty
    model.fit(full)
    with pytest.warns(ColumnWarning, match="X: expected no empty cells, as in fit, got 15"):
        assert np.isfinite(model.transform(X)).all()


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_array, sparse.coo_array])
def test_sparse_matrices(form):
    X = sparse.random(N, 7, 0.3, random_state=0).toarray()
    dense, model = (AdversarialAutoencoder(**QUICK).fit(rows) for rows in (X, form(X)))
    np.testing.assert_allclose(model.transform(form(X)), dense.transform(X), atol=1e-5)
    with pytest.raises(InputError, match="at most .* GB as a dense array, got a sparse matrix"):
        model.fit(sparse.csr_matrix((10**6, 10**5)))


def test_what_a_column_transformer_gives():
    frame, y = mixed()
    encoder = make_column_transformer((OneHotEncoder(), ["kind"]), remainder="passthrough", sparse_threshold=1)
    X = encoder.fit_transform(frame[["kind", "number"]])
    assert sparse.issparse(X) or X.shape[1] == 4
    assert SemiSupervisedAAE(**QUICK).fit(sparse.csr_matrix(X), y).predict(X).shape == (N,)


# --- losses
def test_mixed_error_is_that_of_its_parts():
    groups = ((1, 4), (4, 5), (5, 7))
    out = torch.randn(9, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    chosen = torch.tensor([[k % 3, k % 2, k % 2] for k in range(9)])
    x = torch.zeros(9, 8)
    x[:, [0, 7]] = torch.randn(9, 2)
    x[range(9), 1 + chosen[:, 0]], x[:, 4], x[range(9), 5 + chosen[:, 2]] = UNIT, UNIT * chosen[:, 1], UNIT
    error = mixed_error(out, x, groups)
    cross_entropy = torch.nn.functional.cross_entropy
    by_hand = 0.5 * (out - x)[:, [0, 7]].square().sum()
    by_hand = by_hand + cross_entropy(out[:, 1:4], chosen[:, 0], reduction="sum") / (2 * np.log(3))
    yes = torch.stack([torch.zeros(9), out[:, 4]], 1)
    by_hand = by_hand + cross_entropy(yes, chosen[:, 1], reduction="sum") / (2 * np.log(2))
    by_hand = by_hand + cross_entropy(out[:, 5:7], chosen[:, 2], reduction="sum") / (2 * np.log(2))
    assert error.item() == pytest.approx(by_hand.item(), rel=1e-5)
    error.backward()
    assert torch.isfinite(out.grad).all() and (out.grad[:, 1:7] != 0).all()
    row = expected_row(out.detach(), groups) / UNIT
    for first, last in ((1, 4), (5, 7)):
        np.testing.assert_allclose(row[:, first:last].sum(1), 1, atol=1e-5)
    assert ((row[:, 4] > 0) & (row[:, 4] < 1)).all()


def test_an_unseen_category_moves_nothing():
    out = torch.randn(5, 3, requires_grad=True)
    mixed_error(out, torch.zeros(5, 3), ((0, 3),)).backward()
    assert out.grad.abs().max() == 0


def test_descriptions_that_are_damaged():
    for damaged in ({}, {"columns": [{"sort": 1}]}, {"columns": 3}):
        with pytest.raises(InputError, match="the description of columns, got a damaged one"):
            Schema.from_dict(damaged)
    assert Schema.from_dict({"columns": []}).columns == () and Column("a", "number").value_names == ["a"]
