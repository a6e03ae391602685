"""The Turing test of the studio: pairs that tell nothing, answers that count once, exact intervals per person."""

import json

import numpy as np
import pytest

from aaekit.evaluation.metrics import exact_interval
from tests.studio import TOKEN, make_run, studio


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    with studio(make_run(tmp_path_factory.mktemp("runs") / "digits", "generator", data="digits").path) as one:
        yield one


def pair(asked, person):
    status, headers, content = asked("GET", "/api/turing/pair", person=person)
    assert status == 200, content
    return headers["x-pair"], np.frombuffer(content, np.uint8).reshape(2, 8, 8)


def answer(asked, name, side):
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    status, _, content = asked(
        "POST", "/api/turing/answer", json.dumps({"pair": name, "side": side}).encode(), headers=headers
    )
    return status, json.loads(content)


def real_side(asked, pictures):
    """The side whose picture is an item of the run."""
    n = asked.json("/api/map/space")["n"]
    items = np.frombuffer(asked("POST", "/api/items/pictures", np.arange(n, dtype="<u4").tobytes())[2], np.uint8)
    is_item = [(items.reshape(n, 8, 8) == one).all((1, 2)).any() for one in pictures]
    assert sum(is_item) == 1
    return "ab"[is_item.index(True)]


def test_answers_are_judged_once_and_saved_by_person(asked):
    judged = {"Ada": [], "=Bob": []}
    for k in range(8):
        person = ("Ada", "=Bob")[k % 2]
        name, pictures = pair(asked, person)
        side = "ab"[k // 4]
        status, result = answer(asked, name, side)
        real = real_side(asked, pictures)
        assert (status, result["real"], result["right"]) == (200, real, side == real)
        judged[person].append(result["right"])
        assert answer(asked, name, side)[0] == 400
    results = asked.json("/api/turing/results")
    assert {p["name"]: (p["correct"], p["n"]) for p in results["people"]} == {
        name: (sum(right), 4) for name, right in judged.items()
    }
    total = results["all"]
    assert total["n"] == 8 and (total["low"], total["high"]) == exact_interval(total["correct"], 8)


def test_the_real_picture_may_be_on_either_side(asked):
    sides = {answer(asked, pair(asked, "Eve")[0], "a")[1]["real"] for _ in range(40)}
    assert sides == {"a", "b"}


@pytest.mark.parametrize(("name", "side"), [("none", "a"), ("", "b"), ("none", "c")])
def test_other_pairs_and_sides_are_refused(asked, name, side):
    status, content = answer(asked, name, side)
    assert status == 400 and "error" in content


def test_a_name_that_is_no_name_is_refused(asked):
    for person in ("", " ", "a\nb", "x" * 1000):
        status, _, content = asked("GET", "/api/turing/pair", person=person)
        assert status == 400 and b"the name of a person" in content
