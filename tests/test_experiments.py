"""Experiments run as written and log what they measured; interrupted ones continue; tables show the logs."""

import ast
import json
import re
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from aaekit import ActiveLearner, ClusteringAAE, SemiSupervisedAAE, SupervisedBaseline
from aaekit.core.callbacks import Callback
from aaekit.errors import InputError
from aaekit.runs.config import completed
from aaekit.runs.data import load_data, split_of
from aaekit.systems import SYSTEMS
from reproduction import experiments, logs, measure, protocols, trials
from reproduction.trials import TrialResults

ROOT = Path(__file__).parents[1]


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A folder with one experiment that takes a second."""
    monkeypatch.setattr(experiments, "FOLDER", tmp_path)
    (tmp_path / "tiny.yaml").write_text(
        "title: tiny\npublished: none\ntarget: 50\nsystem: classifier\ndata: digits\nlabels: 50\n"
        "max_steps: 30\nhidden: [16]\nbackbone: mlp\naugmentation: none\n"
    )
    return tmp_path


@pytest.mark.parametrize("name", experiments.names())
def test_experiments_have_valid_settings(name):
    experiment = experiments.read(name)
    assert experiment["title"] and experiment["system"] in (*SYSTEMS, experiments.SIMULATOR)
    assert protocols.find(experiment.get("protocol", "held_out"))
    experiments.check(name)


def test_a_log_records_settings_curves_versions_and_machine(tiny):
    log = measure.run("tiny", [0, 1])
    assert [r["seed"] for r in log["seeds"]] == [0, 1]
    errors = [r["error"] for r in log["seeds"]]
    assert log["error"]["mean"] == pytest.approx(sum(errors) / 2)
    assert log["error"]["sd"] == pytest.approx(abs(errors[0] - errors[1]) / 2**0.5)
    curve = log["seeds"][0]["history"]
    assert [row["epoch"] for row in curve] == list(range(1, len(curve) + 1))
    assert curve[-1]["eval/error"] == pytest.approx(errors[0], rel=1e-3)
    assert log["configuration"]["labels"] == 50 and log["machine"]["cores"] >= 1 and log["versions"]["torch"]
    assert log["format"] == measure.FORMAT and log["plan"]["n_steps"] == 30


def test_logs_are_written_and_tabulated(tiny):
    log = measure.run("tiny", [0, 1], folder=tiny / "logs")
    path = logs.path_of("tiny", tiny / "logs")
    assert logs.read_all(tiny / "logs") == [json.loads(path.read_text())] == [json.loads(json.dumps(log))]
    ((title, published, target, figure, time),) = logs.table([log])
    assert (title, published, target) == ("tiny", "none", "≤ 50")
    assert figure == f"{log['error']['mean']:.2f} ± {log['error']['sd']:.2f} (2 seeds)"
    assert time == f"{log['seconds']:.0f} s, {len(log['seeds'][0]['history'])} epochs"


def test_logged_seeds_are_not_run_again_nor_overwritten_by_another_configuration(tiny, monkeypatch):
    folder, ran = tiny / "logs", []
    run_seed = measure._run_seed
    monkeypatch.setattr(measure, "_run_seed", lambda c, *more: ran.append(c["random_state"]) or run_seed(c, *more))
    first = measure.run("tiny", [0], folder=folder)
    both = measure.run("tiny", [0, 1], folder=folder)
    assert ran == [0, 1] and both["seeds"][0] == json.loads(json.dumps(first["seeds"][0]))
    (tiny / "tiny.yaml").write_text((tiny / "tiny.yaml").read_text().replace("labels: 50", "labels: 60"))
    with pytest.raises(InputError, match=r"got one that differs in labels: choose another folder \(--out\)"):
        measure.run("tiny", [0], folder=folder)
    assert ran == [0, 1] and len(logs.read(logs.path_of("tiny", folder))["seeds"]) == 2
    measure.run("tiny", [0], folder=tiny / "others")
    assert ran == [0, 1, 0]


def test_a_log_without_a_newer_option_continues_if_the_option_is_at_its_default(tiny):
    folder = tiny / "logs"
    path = logs.path_of("tiny", folder)
    measure.run("tiny", [0], folder=folder)

    def continued_without(option: str, **replaced) -> str:
        log = logs.read(path)
        del log["configuration"][option]
        log["seeds"][0]["git"] = "older"
        logs.write(log, folder)
        seeds = measure.run("tiny", [0, 1], folder=folder, **replaced)["seeds"]
        assert [r["seed"] for r in seeds] == [0, 1] and seeds[1]["git"] != "older"
        return seeds[0]["git"]

    assert continued_without("style_matching") == "older"
    path.unlink()
    measure.run("tiny", [0], folder=folder, input_noise=0.25)
    with pytest.raises(InputError, match="differs in input_noise"):
        continued_without("input_noise", input_noise=0.25)


def test_logs_of_an_earlier_version_are_tabulated_but_not_continued(tmp_path, monkeypatch):
    log = logs.read(logs.path_of("digits-100"))
    assert "format" not in log, "logged anew: take an older log, or the first of git's history"
    path = logs.write(log, tmp_path)
    before = path.read_text()
    monkeypatch.setattr(measure, "_run_seed", lambda *_: pytest.fail("expected no training"))
    with pytest.raises(InputError, match="got one of an earlier version") as error:
        measure.run("digits-100", [0, 100], folder=tmp_path)
    assert "--out" in str(error.value) and "\n" not in str(error.value) and path.read_text() == before
    assert logs.measured(log) in logs.markdown([log])


def test_the_first_plan_of_a_trial_is_noted():
    results = TrialResults()
    results.note_plan(SimpleNamespace())
    assert results.plan == {}
    for n in (5, 6):
        plan = SimpleNamespace(as_dict=lambda n=n: {"n_steps": n, "batch_size": (100, 100)})
        results.note_training(SimpleNamespace(plan_=plan, training_seconds_=1.0, n_steps_=n))
    assert results.plan == {"n_steps": 5, "batch_size": [100, 100]}
    assert results.numbers == {"seconds": 2.0, "n_steps": 11}


def test_seeds_draw_different_labels_and_held_out_rows(tiny, monkeypatch):
    seen = []
    monkeypatch.setattr(trials, "split_of", lambda c, d: seen.append((split_of(c, d), d)) or seen[-1][0])
    measure.run("tiny", [0, 1])
    (a, data_a), (b, data_b) = seen
    assert len(a.labelled) == len(b.labelled) == 50 and len(a.validation) == 0
    assert (data_a.X_test != data_b.X_test).any()


def test_unknown_experiments_and_settings_are_refused(tiny):
    with pytest.raises(InputError, match="did you mean 'tiny'"):
        experiments.read("tinyy")
    (tiny / "wrong.yaml").write_text("title: x\nsystem: classifier\nlabls: 3\n")
    with pytest.raises(InputError, match="did you mean 'labels'"):
        experiments.check("wrong")


def test_seeds_side_by_side_are_logged_in_order(tiny, monkeypatch):
    def run_seed(config, callbacks, *details):
        return {"error": float(config["random_state"]), "seconds": 1.0}, {"n_steps": 30}

    monkeypatch.setattr(measure, "_run_seed", run_seed)
    monkeypatch.setattr(measure, "ProcessPoolExecutor", lambda jobs, *_: ThreadPoolExecutor(jobs))
    log = measure.run("tiny", [2, 0, 1], folder=tiny / "logs", jobs=2)
    assert [(r["seed"], r["error"]) for r in log["seeds"]] == [(0, 0.0), (1, 1.0), (2, 2.0)]
    assert log["command"].endswith("--seeds 3") and log["plan"] == {"n_steps": 30} and log["error"]["mean"] == 1


@pytest.mark.slow
def test_seeds_side_by_side_agree_with_those_in_turn(tiny):
    folder = tiny / "logs"
    one = measure.run("tiny", [1], folder=folder)
    both = measure.run("tiny", [0, 1, 2], folder=folder, jobs=2)
    assert [r["seed"] for r in both["seeds"]] == [0, 1, 2] and both["command"].endswith("--seeds 3")
    again = measure.run("tiny", [0, 2])
    for i, j in ((0, 0), (2, 1)):  # other numbers of threads round differently
        assert both["seeds"][i]["error"] == pytest.approx(again["seeds"][j]["error"], abs=0.5)
    assert both["seeds"][1]["error"] == one["seeds"][0]["error"]
    assert len(measure.run("tiny", [0], folder=folder)["seeds"]) == 3, "logged seeds must stay"


def test_an_interrupted_seed_continues_unless_the_commit_changed(tiny, monkeypatch):
    class Stop(Callback):
        started_at, stop_at = [], 17

        def start(self, training):
            self.started_at.append(training.n_done)

        def step(self, training):
            if training.n_done == self.stop_at:
                raise KeyboardInterrupt

    whole, stop, left = measure.run("tiny", [0]), Stop(), tiny / "logs" / "tiny-0-unfinished"

    def numbers(log):
        return {k: v for k, v in log["seeds"][0].items() if isinstance(v, float) and k != "seconds"}

    for commit in ("a", "a", "b", "b"):  # a result never mixes commits
        monkeypatch.setattr(measure, "versions", lambda commit=commit: {"git": commit})
        with pytest.raises(KeyboardInterrupt):
            measure.run("tiny", [0], callbacks=[stop], folder=tiny / "logs")
        stop.stop_at += 3
    stop.stop_at = -1
    log = measure.run("tiny", [0], callbacks=[stop], folder=tiny / "logs")
    assert numbers(log) == numbers(whole) and stop.started_at[1] == 17 and stop.started_at[3:] == [23, 26]
    assert stop.started_at[0] == stop.started_at[2] == 0 and not left.exists()


def test_an_experiment_with_50_labels_trains_on_50_labels(tiny, monkeypatch):
    seen, fit = [], SemiSupervisedAAE.fit

    def recorded(self, X, y=None, *more, **named):
        seen.append((len(X), np.array(y)))
        return fit(self, X, y, *more, **named)

    monkeypatch.setattr(SemiSupervisedAAE, "fit", recorded)
    measure.run("tiny", [3])
    ((n_rows, y),) = seen
    config = completed("classifier", {"data": "digits", "labels": 50, "random_state": 3})
    config["data_options"] = ("test_random_state=3",)
    data = load_data(config)
    split = split_of(config, data)
    assert n_rows == len(y) == len(data.X) and np.flatnonzero(y != -1).tolist() == split.labelled.tolist()
    assert np.bincount(y[y != -1]).tolist() == [5] * 10 and (y[split.labelled] == data.y[split.labelled]).all()


def test_an_ablation_trains_each_variant(tiny):
    text = (tiny / "tiny.yaml").read_text()
    variants = (
        "protocol: ablation\nmeasure: error as it is\nvariants:\n  as it is: {}\n  hardly trained: {max_steps: 20}\n"
    )
    (tiny / "tiny.yaml").write_text(text + variants)
    pictures = tiny / "pictures"
    (numbers,) = measure.run("tiny", [0], pictures=pictures)["seeds"]
    assert [step for step, _ in numbers["curve as it is"]] == list(range(1, 31))
    assert [step for step, _ in numbers["curve hardly trained"]] == list(range(1, 21))
    assert numbers["error as it is"] == numbers["curve as it is"][-1][1]
    assert numbers["error as it is"] < numbers["error hardly trained"] and (pictures / "tiny-curves.png").is_file()
    (tiny / "tiny.yaml").write_text(text + variants.replace("max_steps", "max_stps"))
    with pytest.raises(InputError, match="did you mean 'max_steps'"):
        experiments.check("tiny")


def test_other_methods_are_compared(tiny):
    (tiny / "tiny.yaml").write_text((tiny / "tiny.yaml").read_text() + "protocol: compared\n")
    (numbers,) = measure.run("tiny", [0])["seeds"]
    for name in ("error", "supervised baseline", "label spreading", "self-training"):
        assert 0 < numbers[name] < 100


def test_rows_that_a_classifier_generates_are_judged(tiny, monkeypatch, digits):
    classifier = SupervisedBaseline(max_steps=150, hidden=(32,), batch_size=50, random_state=0).fit(*digits)
    monkeypatch.setattr(protocols, "judge", lambda *_: classifier)
    text = (tiny / "tiny.yaml").read_text() + "style_matching: per_class\nprotocol: separation\nmeasure: called\n"
    (tiny / "tiny.yaml").write_text(text)
    log = measure.run("tiny", [0], pictures=tiny / "pictures")
    (numbers,) = log["seeds"]
    for name in ("error", "style_leak", "called", "translated_called", "judge_error"):
        assert 0 < numbers[name] < 100, name
    assert numbers["judge_error"] < 25 and log["summary"]["called"]["mean"] == numbers["called"]
    assert (tiny / "pictures" / "tiny-style_label_grid.png").is_file()


def log_of(experiment):
    shared = {"title": experiment, "published": "none", "target": 50, "measure": None, "seconds": 1.0}
    return {"experiment": experiment, **shared, "seeds": [{"error": 1.0}]}


def test_families_have_separate_tables(tiny):
    (tiny / "other.yaml").write_text((tiny / "tiny.yaml").read_text() + "family: as published\n")
    ours, published = logs.markdown([log_of("tiny"), log_of("other")]).split("**As published**")
    assert "| tiny |" in ours and "| other |" not in ours and "| other |" in published
    (tiny / "other.yaml").write_text((tiny / "tiny.yaml").read_text() + "family: theirs\n")
    with pytest.raises(InputError, match="expected ours or as published, got 'theirs'"):
        experiments.read("other")


def test_tables_show_the_target_of_the_experiment_not_of_the_log(tiny):
    assert logs.table([log_of("tiny")])[0][2] == "≤ 50"
    (tiny / "tiny.yaml").write_text((tiny / "tiny.yaml").read_text().replace("target: 50", "target: <= 40"))
    assert logs.table([log_of("tiny")])[0][2] == "≤ 40"


def test_modules_import_each_other_without_circles():
    folder = ROOT / "reproduction"
    imports = {}
    for path in folder.glob("*.py"):
        nodes = ast.walk(ast.parse(path.read_text()))
        names = [n for n in nodes if isinstance(n, ast.ImportFrom) and n.col_offset == 0 and n.module]
        imports[path.stem] = {
            module
            for n in names
            if n.module.split(".")[0] == "reproduction"
            for module in (n.module.split(".")[1:] or [alias.name for alias in n.names])
        }
    while leaves := [name for name, others in imports.items() if not others & set(imports)]:
        for name in leaves:
            del imports[name]
    assert not imports


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_has_a_section_in_the_documentation(name):
    page = (ROOT / "docs" / "systems.md").read_text(encoding="utf-8")
    (section,) = re.findall(rf"^## .*\({name}\)\n.*?(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    estimator = SYSTEMS[name].load().__name__
    assert f"\naae train {name} " in section and f"`{estimator}(" in section and "<!-- ours:" in section
    summary = page.split("\n## ")[0]
    assert f"| `aae train {name}` | `{estimator}` |" in summary


@pytest.mark.slow
@pytest.mark.parametrize(
    ("protocol", "settings", "numbers"),
    [
        ("finetune", "system: pretrained\nmax_epochs: 2\npretraining_epochs: 1", ["adversarial_last", "plain_first"]),
        ("active_learning", "system: classifier\nmax_steps: 20", ["error 20", "error 50"]),
        ("components", "system: generator\nlabels: 500\nprior: mixture\nmax_steps: 20", ["called", "judge_error"]),
        ("components", "system: generator\nlabels: 500\nprior: swiss_roll\nmax_steps: 20", ["called", "walk_called"]),
        ("independence", "system: style\nmax_steps: 20", ["style_leak", "plain_leak", "translated_called"]),
        ("maps", "system: embedding\nlabels: 50\nmax_steps: 20", ["centroid_error", "t-SNE trustworthiness"]),
    ],
)
def test_protocols_note_their_numbers(tiny, monkeypatch, digits, protocol, settings, numbers):
    classifier = SupervisedBaseline(max_steps=50, hidden=(32,), random_state=0).fit(*digits)
    clusters = ClusteringAAE(n_clusters=20, max_steps=20, hidden=(16,), n_init=1, random_state=0)
    monkeypatch.setattr(protocols, "judge", lambda *_: classifier)
    monkeypatch.setattr(protocols, "ActiveLearner", partial(ActiveLearner, clusters=clusters))
    (tiny / "tiny.yaml").write_text(
        f"title: tiny\npublished: none\nprotocol: {protocol}\nmeasure: {numbers[0]}\n"
        f"data: digits\nhidden: [16]\nbackbone: mlp\n{settings}\n"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # so few steps make few clusters
        log = measure.run("tiny", [0], pictures=tiny / "pictures")
    assert all(np.isfinite(log["seeds"][0][name]) for name in numbers)
    assert log["plan"]["n_steps"] and log["seconds"] > 0 and "nan" not in logs.measured(log)
    assert protocol == "active_learning" or list((tiny / "pictures").glob("tiny-*.png"))
