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


@pytest.fixture
def viewer(tmp_path):
    """Five pairs, whose real frames are bright, as `aae simulate pairs` writes them."""
    random = np.random.default_rng(0)
    real, made = random.integers(200, 255, (5, 6, 9), np.uint8), random.integers(0, 55, (5, 6, 9), np.uint8)
    ultrasound.turing_test(real, made, 0).write(tmp_path / "viewer", tmp_path / "viewer-key.json")
    return tmp_path / "viewer"


def frames(asked, person):
    """The name, the two frames, and how many are left."""
    status, headers, content = asked("GET", "/api/turing/pair", person=person)
    assert status == 200, content
    if not headers["x-pair"]:
        return None
    assert headers["x-shape"] == "1,6,9"
    return headers["x-pair"], np.frombuffer(content, np.uint8).reshape(2, 6, 9), int(headers["x-left"])


def test_each_person_judges_each_pair_of_a_folder_once_across_studios(viewer):
    """A pair that was left comes again, an answer is not asked again by the next studio, and the interval is exact."""
    with studio(viewer) as asked:
        assert [room["name"] for room in asked.json("/api/run")["rooms"] if not room["closed"]] == ["turing"]
        first, *_ = frames(asked, "Ada")
        for k in range(3):
            name, pictures, left = frames(asked, "Ada")
            assert left == 5 - k
            side = "ab"[int(pictures[1].mean() > pictures[0].mean())]
            assert answer(asked, name, side)[1]["right"]
        assert answer(asked, first, "a")[0] == 400
        assert asked("GET", "/api/map/space")[0] == 400
    with studio(viewer) as asked:
        assert frames(asked, "Bob")[2] == 5
        for left in (2, 1):
            name, pictures, n_left = frames(asked, "Ada")
            assert n_left == left
            assert not answer(asked, name, "ab"[int(pictures[1].mean() < pictures[0].mean())])[1]["right"]
        assert frames(asked, "Ada") is None
        (ada,) = asked.json("/api/turing/results")["people"]
        assert (ada["name"], ada["correct"], ada["n"]) == ("Ada", 3, 5)
        assert (ada["low"], ada["high"]) == exact_interval(3, 5)
    lines = (viewer / "turing.csv").read_text().splitlines()[1:]
    assert sorted(line.split(",")[2] for line in lines) == ultrasound.read_pairs(viewer).names


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder.parent / "viewer-key.json").unlink(), "viewer-key.json: expected the key"),
        (lambda folder: (folder / "pair-002-b.png").unlink(), "pair-002-b.png: expected"),
        (lambda folder: (folder / "pair-002-b.png").write_bytes(b"no image"), "pair-002-b.png"),
    ],
)
def test_a_studio_refuses_pairs_that_are_not_complete_in_one_line(viewer, damage, message, aae):
    damage(viewer)
    code, _, (line,) = aae("studio", viewer, "--no-open")
    assert code == 2 and message in line
