"""Experiments are runnable as written, log what they measured, and the README tells what the logs say."""

import json
from pathlib import Path

import numpy as np
import pytest

import reproduction
from aaekit import SemiSupervisedAAE, SupervisedBaseline
from aaekit.core.callbacks import Callback
from aaekit.errors import InputError
from aaekit.runs import run as runs
from reproduction import protocols

README = Path(__file__).parents[1] / "README.md"


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A folder with one experiment that takes a second."""
    monkeypatch.setattr(reproduction, "FOLDER", tmp_path)
    (tmp_path / "tiny.yaml").write_text(
        "title: tiny\npublished: none\ntarget: 50\nsystem: classifier\ndata: digits\nlabels: 50\n"
        "max_steps: 30\nhidden: [16]\nbackbone: mlp\naugmentation: none\n"
    )
    return tmp_path


@pytest.mark.parametrize("name", reproduction.names())
def test_every_experiment_names_known_settings_only(name):
    settings = reproduction.read(name)
    assert settings["title"] and settings["system"] in (*runs.SYSTEMS, "simulator")


def test_a_log_holds_what_it_takes_to_believe_it(tiny):
    log = reproduction.measure("tiny", [0, 1])
    assert [r["seed"] for r in log["seeds"]] == [0, 1]
    errors = [r["error"] for r in log["seeds"]]
    assert log["error"]["mean"] == pytest.approx(sum(errors) / 2)
    assert log["error"]["sd"] == pytest.approx(abs(errors[0] - errors[1]) / 2**0.5)
    curve = log["seeds"][0]["history"]
    assert [row["epoch"] for row in curve] == list(range(1, len(curve) + 1))
    assert curve[-1]["eval/error"] == pytest.approx(errors[0], rel=1e-3)
    assert log["configuration"]["labels"] == 50 and log["machine"]["cores"] >= 1 and log["versions"]["torch"]


def test_logs_are_written_and_tabled(tiny):
    log = reproduction.measure("tiny", [0, 1], folder=tiny / "logs")
    path = reproduction.log_path("tiny", tiny / "logs")
    assert reproduction.read_logs(tiny / "logs") == [json.loads(path.read_text())] == [json.loads(json.dumps(log))]
    ((title, published, target, ours, time),) = reproduction.table([log])
    assert (title, published, target) == ("tiny", "none", "≤ 50")
    assert ours == f"{log['error']['mean']:.2f} ± {log['error']['sd']:.2f} (2 seeds)"
    assert time == f"{log['seconds']:.0f} s, {len(log['seeds'][0]['history'])} epochs"


def test_seeds_that_are_logged_are_not_run_again_nor_lost_where_the_configuration_changed(tiny, monkeypatch):
    logs, ran = tiny / "logs", []
    once = reproduction._once
    monkeypatch.setattr(reproduction, "_once", lambda c, *more: ran.append(c["random_state"]) or once(c, *more))
    first = reproduction.measure("tiny", [0], folder=logs)
    both = reproduction.measure("tiny", [0, 1], folder=logs)
    assert ran == [0, 1] and both["seeds"][0] == json.loads(json.dumps(first["seeds"][0]))
    (tiny / "tiny.yaml").write_text((tiny / "tiny.yaml").read_text().replace("labels: 50", "labels: 60"))
    with pytest.raises(InputError, match="another configuration"):
        reproduction.measure("tiny", [0], folder=logs)
    assert ran == [0, 1] and len(json.loads(reproduction.log_path("tiny", logs).read_text())["seeds"]) == 2
    reproduction.measure("tiny", [0], folder=tiny / "others")
    assert ran == [0, 1, 0]


def test_a_log_from_before_an_option_was_added_goes_on_where_the_option_stands_at_its_default(tiny):
    logs = tiny / "logs"
    path = reproduction.log_path("tiny", logs)
    reproduction.measure("tiny", [0], folder=logs)

    def without(option: str, **changed) -> str:
        log = json.loads(path.read_text())
        del log["configuration"][option], log["seeds"][0]["git"]
        log["versions"]["git"] = "older"
        path.write_text(json.dumps(log))
        seeds = reproduction.measure("tiny", [0, 1], folder=logs, **changed)["seeds"]
        assert [r["seed"] for r in seeds] == [0, 1] and seeds[1]["git"] != "older"
        return seeds[0]["git"]

    assert without("style_matching") == "older"
    path.unlink()
    reproduction.measure("tiny", [0], folder=logs, input_noise=0.25)
    with pytest.raises(InputError, match="another configuration"):
        without("input_noise", input_noise=0.25)


def test_each_seed_draws_other_labels_and_other_held_out_rows(tiny, monkeypatch):
    seen = []
    split_of = runs.split_of
    monkeypatch.setattr(runs, "split_of", lambda c, d: seen.append((split_of(c, d), d)) or seen[-1][0])
    reproduction.measure("tiny", [0, 1])
    (a, data_a), (b, data_b) = seen
    assert len(a.labelled) == len(b.labelled) == 50 and len(a.validation) == 0
    assert (data_a.X_test != data_b.X_test).any()


def test_unknown_experiments_and_settings_are_refused(tiny):
    with pytest.raises(InputError, match="Did you mean 'tiny'"):
        reproduction.read("tinyy")
    (tiny / "wrong.yaml").write_text("title: x\nsystem: classifier\nlabls: 3\n")
    with pytest.raises(InputError, match="Did you mean 'labels'"):
        reproduction.read("wrong")


def test_seeds_side_by_side_are_those_one_after_the_other_and_more_are_added(tiny):
    logs = tiny / "logs"
    one = reproduction.measure("tiny", [1], folder=logs)
    both = reproduction.measure("tiny", [0, 1, 2], folder=logs, jobs=2)
    assert [r["seed"] for r in both["seeds"]] == [0, 1, 2] and both["command"].endswith("--seeds 3")
    again = reproduction.measure("tiny", [0, 2])
    for i, j in ((0, 0), (2, 1)):  # other numbers of threads round differently
        assert both["seeds"][i]["error"] == pytest.approx(again["seeds"][j]["error"], abs=0.5)
    assert both["seeds"][1]["error"] == one["seeds"][0]["error"]
    assert len(reproduction.measure("tiny", [0], folder=logs)["seeds"]) == 3, "fewer seeds must not lose any"


def test_a_seed_that_was_stopped_goes_on_unless_something_changed(tiny, monkeypatch):
    class Stop(Callback):
        began, at = [], 17

        def start(self, training):
            self.began.append(training.n_done)

        def step(self, training):
            if training.n_done == self.at:
                raise KeyboardInterrupt

    whole, stop, left = reproduction.measure("tiny", [0]), Stop(), tiny / "logs" / "tiny-0-unfinished"

    def numbers(log):
        return {k: v for k, v in log["seeds"][0].items() if isinstance(v, float) and k != "seconds"}

    for commit in ("a", "a", "b", "b"):  # what was begun by "a" and "b" is not one result
        monkeypatch.setattr(runs, "versions", lambda commit=commit: {"git": commit})
        with pytest.raises(KeyboardInterrupt):
            reproduction.measure("tiny", [0], callbacks=[stop], folder=tiny / "logs")
        stop.at += 3
    stop.at = -1
    log = reproduction.measure("tiny", [0], callbacks=[stop], folder=tiny / "logs")
    assert numbers(log) == numbers(whole) and stop.began[1] == 17 and stop.began[3:] == [23, 26]
    assert stop.began[0] == stop.began[2] == 0 and not left.exists()


def test_a_run_with_50_labels_sees_50_labels(tiny, monkeypatch):
    seen, fit = [], SemiSupervisedAAE.fit

    def spied(self, X, y=None, *more, **named):
        seen.append((len(X), np.array(y)))
        return fit(self, X, y, *more, **named)

    monkeypatch.setattr(SemiSupervisedAAE, "fit", spied)
    reproduction.measure("tiny", [3])
    ((n_rows, y),) = seen
    config = runs.completed("classifier", {"data": "digits", "labels": 50, "random_state": 3})
    config["data_options"] = ("test_random_state=3",)
    data = runs.load_data(config)
    split = runs.split_of(config, data)
    assert n_rows == len(y) == len(data.X) and np.flatnonzero(y != -1).tolist() == split.labelled.tolist()
    assert np.bincount(y[y != -1]).tolist() == [5] * 10 and (y[split.labelled] == data.y[split.labelled]).all()


def test_an_ablation_trains_each_variant(tiny):
    text = (tiny / "tiny.yaml").read_text()
    variants = (
        "protocol: ablation\nmeasure: error as it is\nvariants:\n  as it is: {}\n  hardly trained: {max_steps: 20}\n"
    )
    (tiny / "tiny.yaml").write_text(text + variants)
    pictures = tiny / "pictures"
    (found,) = reproduction.measure("tiny", [0], pictures=pictures)["seeds"]
    assert [step for step, _ in found["curve as it is"]] == list(range(1, 31))
    assert [step for step, _ in found["curve hardly trained"]] == list(range(1, 21))
    assert found["error as it is"] == found["curve as it is"][-1][1]
    assert found["error as it is"] < found["error hardly trained"] and (pictures / "tiny-curves.png").is_file()
    (tiny / "tiny.yaml").write_text(text + variants.replace("max_steps", "max_stps"))
    with pytest.raises(InputError, match="Did you mean 'max_steps'"):
        reproduction.read("tiny")


def test_other_methods_are_measured_beside_ours(tiny):
    (tiny / "tiny.yaml").write_text((tiny / "tiny.yaml").read_text() + "protocol: compared\n")
    (found,) = reproduction.measure("tiny", [0])["seeds"]
    for name in ("error", "supervised baseline", "label spreading", "self-training"):
        assert 0 < found[name] < 100


def test_what_a_classifier_makes_of_a_class_is_judged(tiny, monkeypatch, digits):
    wise = SupervisedBaseline(max_steps=150, hidden=(32,), batch_size=50, random_state=0).fit(*digits)
    monkeypatch.setattr(protocols, "judge", lambda *_: wise)
    text = (tiny / "tiny.yaml").read_text() + "style_matching: per_class\nprotocol: separation\nmeasure: called\n"
    (tiny / "tiny.yaml").write_text(text)
    log = reproduction.measure("tiny", [0], pictures=tiny / "pictures")
    (found,) = log["seeds"]
    for name in ("error", "style_leak", "called", "translated_called", "judge_error"):
        assert 0 < found[name] < 100, name
    assert found["judge_error"] < 25 and log["summary"]["called"]["mean"] == found["called"]
    assert (tiny / "pictures" / "tiny-style_label_grid.png").is_file()


def test_families_are_kept_apart(tiny):
    (tiny / "other.yaml").write_text((tiny / "tiny.yaml").read_text() + "family: as published\n")
    logs = [reproduction.measure(name, [0]) for name in ("tiny", "other")]
    ours, published = reproduction.markdown(logs).split("**As published**")
    assert "| tiny |" in ours and "| other |" not in ours and "| other |" in published
    (tiny / "other.yaml").write_text((tiny / "tiny.yaml").read_text() + "family: theirs\n")
    with pytest.raises(InputError, match="expected ours or as published, found 'theirs'"):
        reproduction.read("other")


def test_targets_are_those_of_now_not_of_the_log(tiny):
    log = reproduction.measure("tiny", [0])
    (tiny / "tiny.yaml").write_text((tiny / "tiny.yaml").read_text().replace("target: 50", "target: <= 40"))
    assert reproduction.table([log])[0][2] == "≤ 40"
