"""The Turing test of the studio: pairs that tell nothing, answers that count once, exact intervals per person."""

import json

import numpy as np
import pytest

from aaekit import ultrasound
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


@pytest.mark.parametrize("kind", ["bytes", "shares"])
def test_frames_of_ultrasound_are_compared_at_their_size(tmp_path, kind):
    """Wide frames, as bytes or from 0 to 1; real ones are shown as they are, and made ones have their range."""
    maps = ultrasound.make_phantoms(40, 32, geometry="polar", random_state=0)
    frames = ultrasound.simulate_rich(maps, 1)[:, None, :20]
    pixels = (255 * frames).round().astype(np.uint8)
    np.savez(tmp_path / "frames.npz", X=pixels if kind == "bytes" else frames.astype(np.float32))
    run = make_run(tmp_path / "run", "generator", data=str(tmp_path / "frames.npz"))
    with studio(run.path) as asked:
        assert asked.json("/api/map/space")["shape"] == [1, 20, 32]
        for _ in range(4):
            status, headers, content = asked("GET", "/api/turing/pair", person="Ada")
            assert status == 200, content
            pictures = np.frombuffer(content, np.uint8).reshape(2, 20, 32)
            is_real = [(np.abs(pixels[:, 0].astype(int) - one).max((1, 2)) <= 1).any() for one in pictures]
            assert sum(is_real) == 1 and pictures[is_real.index(False)].std() > 0
            assert answer(asked, headers["x-pair"], "ab"[is_real.index(True)])[1]["right"]
