"""The rooms that compare runs and diagnose one: what they answer, and what they refuse."""

import json
import shutil

import numpy as np
import pytest

from aaekit._files import read_json, write_json
from aaekit.evaluation.measures import diagnosis
from aaekit.runs.run import Run
from aaekit.studio.rooms import compare
from aaekit.studio.rooms.health import N_PAIRS
from tests.studio import make_run, studio


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A complete run of a classifier, one of a generator, and a folder that is no run."""
    folder = tmp_path_factory.mktemp("runs")
    make_run(folder / "first", "classifier", concludes=True, data="digits", labels=50)
    make_run(folder / "second", "generator", data="digits", max_steps=4)
    (folder / "none").mkdir()
    (folder / "link").symlink_to(folder / "first")
    return folder


@pytest.fixture(scope="module")
def client(runs):
    with studio(runs / "first") as asked:
        yield asked


# --- runs side by side -----------------------------------------------------------------------------------------------
def test_runs_of_the_same_folder_are_compared(client, runs):
    facts = client.json("/api/compare/runs")
    assert facts["own"] == "first" and [run["name"] for run in facts["runs"]] == ["first", "second"]
    first, second = facts["runs"]
    results = read_json(runs / "first" / "results.json", "results", dict)
    assert first["scores"]["error"] == results["error"] and "error" not in second["scores"]
    assert first["complete"] and "confusion_matrix" in first["figures"] and second["figures"] == []
    settings = facts["settings"]
    assert settings["first"]["system"] == "classifier" and settings["second"]["max_steps"] == "4"


def test_curves_of_a_run_have_their_panels(client, runs):
    series = {one["name"]: one for one in client.json("/api/compare/curves", name="second")}
    assert series["reconstruction"]["panel"] == "Reconstruction" and not series.keys() & {"epoch", "step", "seconds"}
    steps = [step for step, _ in series["reconstruction"]["points"]]
    assert steps == [1, 2, 3, 4]


def test_a_figure_is_that_of_the_run(client, runs):
    status, headers, content = client("GET", "/api/compare/figure", name="first", figure="confusion_matrix")
    assert status == 200 and headers["content-type"] == "image/png"
    assert content == (runs / "first" / "figures" / "confusion_matrix.png").read_bytes()


@pytest.mark.parametrize("name", ["none", "link", "..", "../first", "/etc", ""])
def test_only_runs_of_the_folder_are_read(client, name):
    for path, query in (("curves", {}), ("figure", {"figure": "confusion_matrix"})):
        status, _, content = client("GET", f"/api/compare/{path}", name=name, **query)
        assert status == 400 and "expected a run beside first" in json.loads(content)["error"]


@pytest.mark.parametrize(
    ("name", "figure"),
    [("second", "confusion_matrix"), ("first", "../report"), ("first", "latent_tsne"), ("first", "")],
)
def test_only_figures_of_the_list_are_read(client, name, figure):
    status, _, content = client("GET", "/api/compare/figure", name=name, figure=figure)
    assert status == 400 and "expected" in json.loads(content)["error"]


def test_a_damaged_run_is_left_out(client, runs):
    damaged = shutil.copytree(runs / "second", runs / "third")
    try:
        (damaged / "results.json").write_text("[")
        assert [run["name"] for run in client.json("/api/compare/runs")["runs"]] == ["first", "second"]
        (damaged / "results.json").unlink()
        assert [run["name"] for run in client.json("/api/compare/runs")["runs"]] == ["first", "second", "third"]
    finally:
        shutil.rmtree(damaged)


def test_the_list_of_runs_ends(runs, client, monkeypatch):
    monkeypatch.setattr(compare, "MAX_RUNS", 0)
    assert [run["name"] for run in client.json("/api/compare/runs")["runs"]] == ["first"]


# --- the diagnosis ---------------------------------------------------------------------------------------------------
def test_findings_are_those_of_the_diagnosis(runs, client):
    """With the comparison that is in the results, as `aae doctor` takes it."""
    path = runs / "first" / "results.json"
    results = read_json(path, "results", dict)
    better = {"name": "forest", "error": 0.0, "seconds": 1.0}
    write_json(path, {**results, "comparison": [better]})
    run = Run.open(runs / "first")
    model = run.fitted()
    expected = diagnosis(model, run.held_out, run.simple_errors(model), run.comparison)
    with studio(run.path) as asked:
        answer = asked.json("/api/health/findings")
    assert [(f["name"], f["severity"], f["evidence"]) for f in answer["findings"]] == [
        (f.name, f.severity, f.evidence) for f in expected
    ]
    assert answer["findings"] and any("forest" in f["evidence"] for f in answer["findings"])
    assert {f["drawing"] for f in answer["findings"]} - {""} <= answer["drawings"].keys()
    write_json(path, results)


def test_evidence_is_drawn_as_shares(client):
    drawings = client.json("/api/health/findings")["drawings"]
    assert {"discriminator", "losses", "histograms", "plane", "frequencies", "certainty", "reconstructions"} <= set(
        drawings
    )
    for name in ("frequencies", "certainty"):
        bars = drawings[name]
        assert len(bars["names"]) == len(bars["values"]) and sum(bars["values"]) == pytest.approx(1)
    assert drawings["frequencies"]["names"] == [str(k) for k in range(10)]
    assert sum(drawings["frequencies"]["expected"]) == pytest.approx(1)
    for one in drawings["histograms"]["dimensions"]:
        assert one["low"] < one["high"] and all(0.9 < sum(one[side]) < 1 + 1e-9 for side in ("codes", "prior"))


def test_pictures_are_held_out_rows_and_their_reconstructions(client, runs):
    status, headers, content = client("GET", "/api/health/pictures")
    assert status == 200 and headers["x-rows"] == str(N_PAIRS)
    pictures = np.frombuffer(content, np.uint8).reshape(2, N_PAIRS, 8, 8)
    run = Run.open(runs / "first")
    rows, model = run.held_out.subset(2000).X[:N_PAIRS], run.fitted()
    assert np.abs(pictures[0] - 255 * rows.reshape(-1, 8, 8)).max() <= 0.51
    assert np.abs(pictures[1] - 255 * model.reconstruct(rows).reshape(-1, 8, 8)).max() <= 0.51


def test_a_table_has_no_pictures_to_diagnose(tmp_path):
    lines = "size,weight\n" + "".join(f"{k / 10},{k % 7}\n" for k in range(90))
    (tmp_path / "table.csv").write_text(lines)
    run = make_run(tmp_path / "run", "generator", data=str(tmp_path / "table.csv"))
    with studio(run.path) as asked:
        drawings = asked.json("/api/health/findings")["drawings"]
        assert "plane" in drawings and not {"rows", "reconstructions"} & drawings.keys()
        status, _, content = asked("GET", "/api/health/pictures")
        assert status == 400 and "expected a run of images" in json.loads(content)["error"]
