"""Parts of the work: together they are the whole, bit by bit, and no process reads more than its part."""

import gc
import json
import weakref
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from aaekit import InputError, cli
from aaekit.columns import Schema
from aaekit.data import shards
from aaekit.data.shards import Shard, blocks_of, npy_blocks, parquet_blocks, write_blocks
from aaekit.plots import draw
from aaekit.runs.run import Run
from reproduction import experiments, measure

TINY = ["--hidden", "8", "--backbone", "mlp", "--max-steps", "3", "--no-guard", "--quiet"]
RANDOM = np.random.default_rng(0)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(shards, "BLOCK", 4)


# --- which part is whose ---------------------------------------------------------------------------------------------
@given(st.integers(0, 20_000), st.integers(1, 40))
def test_parts_of_rows_are_the_rows_in_whole_blocks(n, count):
    parts = [Shard(k, count).rows(n) for k in range(1, count + 1)]
    assert parts[0].start == 0 and parts[-1].stop == n
    assert all(a.stop == b.start and b.start % shards.BLOCK in (0, n % shards.BLOCK) for a, b in pairwise(parts))
    assert max(map(len, parts)) - min(map(len, parts)) <= 2 * shards.BLOCK


@given(st.lists(st.integers()), st.integers(1, 9))
def test_parts_of_tasks_are_the_tasks(tasks, count):
    parts = [Shard(k, count).items(tasks) for k in range(1, count + 1)]
    assert sorted(sum(parts, [])) == sorted(tasks)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_parts_have_names_that_sort():
    assert Shard.of(" 3/16 ") == Shard(3, 16) and Shard.of(None).is_all
    names = [Shard(k, 16).name for k in range(1, 17)]
    assert names == sorted(names) and names[2] == "part-03-of-16"


@pytest.mark.parametrize("text", ["0/4", "5/4", "3", "a/b", "1/0", "-1/4", ""])
def test_other_parts_are_refused(text):
    with pytest.raises(InputError, match="--shard: expected K/N with K from 1 to N"):
        Shard.of(text)


# --- rows in blocks --------------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_blocks_of_files_are_those_of_memory(count, tmp_path):
    X = RANDOM.random((22, 3), np.float32)
    np.save(tmp_path / "x.npy", X)
    frame = pd.DataFrame(X.astype(float), columns=["a", " b", "c"])
    frame["unused"] = "text"
    frame.to_parquet(tmp_path / "x.parquet", row_group_size=5)
    schema = Schema.fit(frame.rename(columns=str.strip)[["c", "a", "b"]])
    whole = list(blocks_of(X, Shard()))
    for read in (npy_blocks, lambda path, part: parquet_blocks(path.with_suffix(".parquet"), part, schema)):
        parts = [block for k in range(count) for block in read(tmp_path / "x.npy", Shard(k + 1, count))]
        assert [first for first, _ in parts] == [first for first, _ in whole] == list(range(0, 22, 4))
        for (_, rows), (_, expected) in zip(parts, whole, strict=True):
            assert np.array_equal(rows, expected if read is npy_blocks else expected[:, [2, 0, 1]])


@pytest.mark.usefixtures("small_blocks")
def test_a_part_reads_only_its_rows(tmp_path, monkeypatch):
    frame = pd.DataFrame({"a": RANDOM.normal(size=40)})
    frame.to_parquet(tmp_path / "x.parquet", row_group_size=4)
    asked = []
    iter_batches = parquet.ParquetFile.iter_batches

    def watched(self, *args, row_groups, **options):
        asked.append(list(row_groups))
        return iter_batches(self, *args, row_groups=row_groups, **options)

    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", watched)
    rows = [rows for _, rows in parquet_blocks(tmp_path / "x.parquet", Shard(2, 5), Schema.fit(frame))]
    assert asked == [[2, 3]] and np.array_equal(np.concatenate(rows).ravel(), frame["a"][8:16])


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_one_block_is_in_memory_at_a_time(suffix, tmp_path):
    alive = []

    class Lines(list):
        pass

    def tables():
        for k in range(4):
            lines = Lines([[k, "x", "0.25"]])
            alive.append(weakref.ref(lines))
            yield ["row", "class", "p(x)"], lines
            del lines
            gc.collect()
            assert sum(ref() is not None for ref in alive) <= 2  # the first one is held for its columns

    assert write_blocks(tmp_path / f"p{suffix}", tables(), ["class"]) == 4
    read = pd.read_csv if suffix == ".csv" else pd.read_parquet
    frame = read(tmp_path / f"p{suffix}")
    assert frame["row"].tolist() == list(range(4)) and frame["p(x)"].tolist() == [0.25] * 4


def test_nothing_half_written(tmp_path):
    def tables():
        yield ["row"], [[1]]
        raise InputError("expected rows, got none")

    for name in ("p.csv", "p.parquet"):
        with pytest.raises(InputError, match="expected rows"):
            write_blocks(tmp_path / name, tables())
    assert write_blocks(tmp_path / "none.csv", iter(())) == 0 and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"PAR1 damaged", None])
def test_a_damaged_file_is_refused_in_one_line(content, tmp_path):
    path, schema = tmp_path / "x.parquet", Schema.fit(pd.DataFrame({"a": [1.0, 2.0]}))
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="x.parquet: expected a") as error:
        list(parquet_blocks(path, Shard(), schema))
    assert "\n" not in str(error.value)
    pd.DataFrame({"b": [1.0]}).to_parquet(path)
    with pytest.raises(InputError, match="x.parquet: expected the columns of the training rows, got none called a"):
        list(parquet_blocks(path, Shard(), schema))


# --- the commands ----------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A run on a table, and later rows of it in three formats."""
    folder = tmp_path_factory.mktemp("shards")
    frame = pd.DataFrame(RANDOM.normal(size=(2600, 3)), columns=["a", "b", "c"])
    frame["colour"] = np.array(["red", "blue"])[RANDOM.integers(2, size=2600)]
    frame.head(60).assign(y=["1", "2", ""] * 20).to_csv(folder / "train.csv", index=False)
    frame.to_parquet(folder / "later.parquet", row_group_size=700)
    frame.to_csv(folder / "later.csv", index=False)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr(draw, "draw_all", lambda *_, **__: {})
        cli.main(["train", "classifier", "--data", str(folder / "train.csv"), "--out", str(folder / "run"), *TINY])
    assert stop.value.code == 0
    return folder


@pytest.mark.usefixtures("no_figures", "few_trees")
@pytest.mark.parametrize(("data", "suffix"), [("later.parquet", ".parquet"), ("later.csv", ".csv")])
def test_parts_of_predictions_are_the_predictions_bit_by_bit(data, suffix, table, tmp_path, aae):
    whole, parts = tmp_path / f"whole{suffix}", tmp_path / f"parts{suffix}"
    assert aae("predict", table / "run", table / data, "--out", whole)[0] == 0
    for k in (2, 1, 3):
        code, text, _ = aae("predict", table / "run", table / data, "--shard", f"{k}/3", "--out", parts)
        assert code == 0 and f"part-{k}-of-3" in text
    code, _, err = aae("predict", table / "run", table / data, "--shard", "1/2", "--out", parts)
    assert code == 2 and "expected parts of 2, got one of 3" in err[0]
    files = sorted(parts.iterdir())
    assert len(files) == 3
    if suffix == ".csv":
        lines = [file.read_text().splitlines() for file in files]
        assert [lines[0][0], *(line for part in lines for line in part[1:])] == whole.read_text().splitlines()
    else:
        assert parquet.read_table(parts).equals(parquet.read_table(whole))
        assert parquet.read_table(whole)["class"].type == "string"
    assert len(pd.read_parquet(parts) if suffix == ".parquet" else pd.read_csv(whole)) == 2600


@pytest.mark.usefixtures("no_figures", "few_trees")
def test_codes_are_those_of_the_estimator(table, tmp_path, aae):
    for k in (1, 2):
        aae("transform", table / "run", table / "later.parquet", "--shard", f"{k}/2", "--out", tmp_path / "z.parquet")
    frame = pd.read_parquet(tmp_path / "z.parquet").set_index("row")
    estimator = Run.open(table / "run").fitted()
    assert list(frame.columns) == list(estimator.get_feature_names_out())
    np.testing.assert_allclose(frame, estimator.transform(pd.read_parquet(table / "later.parquet")), rtol=1e-4)


@pytest.mark.usefixtures("no_figures", "few_trees")
def test_formats_agree(table, tmp_path, aae):
    for name in ("parquet", "csv"):
        aae("predict", table / "run", table / f"later.{name}", "--out", tmp_path / f"{name}.csv")
    assert (tmp_path / "parquet.csv").read_text() == (tmp_path / "csv.csv").read_text()


@pytest.mark.usefixtures("no_figures", "few_trees")
def test_a_part_without_rows_says_so(table, tmp_path, aae):
    code, text, _ = aae("predict", table / "run", table / "train.csv", "--shard", "1/9", "--out", tmp_path / "p")
    assert code == 0 and "no rows in part 1/9" in text and not (tmp_path / "p").exists()


@pytest.mark.usefixtures("few_trees")
def test_parts_of_a_suite_fill_one_folder(tmp_path, aae):
    line = ["suite", "--sets", "wine", "--k", "5", "--draws", "1", "--methods", "logistic regression,random forest"]
    for k in (1, 2):
        code, text, _ = aae(*line, "--shard", f"{k}/2", "--out", tmp_path / "s", "--quiet")
        assert code == 0 and f"part {k}/2: 1 results" in text
    logs = {path.name: path.read_bytes() for path in (tmp_path / "s").glob("*.json")}
    assert len(logs) == 2 and sorted(tmp_path.joinpath("s").iterdir()) == sorted(tmp_path.glob("s/*.json"))
    assert aae(*line, "--out", tmp_path / "s", "--quiet")[0] == 0
    assert {name: (tmp_path / "s" / name).read_bytes() for name in logs} == logs
    assert (tmp_path / "s" / "suite.html").exists()


def test_parts_of_an_experiment_become_one_log(tmp_path, monkeypatch, aae):
    monkeypatch.setattr(experiments, "FOLDER", tmp_path)
    (tmp_path / "tiny.yaml").write_text(
        "title: tiny\npublished: none\ntarget: 50\nsystem: classifier\ndata: digits\nlabels: 50\n"
        "max_steps: 3\nhidden: [16]\nbackbone: mlp\naugmentation: none\nn_init: 1\n"
    )
    out = tmp_path / "logs"
    for k in (1, 2):
        assert aae("reproduce", "tiny", "--seeds", 2, "--shard", f"{k}/2", "--out", out, "--quiet")[0] == 0
    assert not (out / "tiny.json").exists()
    monkeypatch.setattr(measure, "_run_seed", None)  # nothing is left to run
    assert aae("reproduce", "tiny", "--seeds", 2, "--out", out, "--quiet")[0] == 0
    log = json.loads((out / "tiny.json").read_text())
    assert [seed["seed"] for seed in log["seeds"]] == [0, 1] and log["plan"]["n_steps"] == 3
    assert log["error"]["mean"] == pytest.approx(np.mean([seed["error"] for seed in log["seeds"]]))
