"""Phantoms, physics, geometry, folders, divergences and the visual Turing test."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aaekit import ultrasound
from aaekit.errors import InputError
from aaekit.ultrasound import Physics
from aaekit.ultrasound import plots as drawings
from aaekit.ultrasound.tissues import (
    ADVENTITIA,
    CALCIUM,
    CATHETER,
    FIBROUS,
    INTIMA,
    LUMEN,
    MEDIA,
    OUTSIDE,
    TISSUES,
)


@pytest.fixture(scope="module")
def maps():
    """Polar tissue maps of 12 arteries, (12, 128, 128)."""
    return ultrasound.make_phantoms(12, 128, geometry="polar", random_state=0)


# --- the package
def test_public_names_load_when_used_and_are_those_of_the_stub():
    stub = ast.parse(Path(ultrasound.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    names = {alias.asname for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert names == set(ultrasound.__all__) == set(dir(ultrasound))
    for name in ultrasound.__all__:
        assert getattr(ultrasound, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = ultrasound.Nothing


@pytest.mark.parametrize("module", ["aaekit", "aaekit.estimators", "aaekit.ultrasound"])
def test_the_simulator_is_imported_only_when_used(module):
    code = f"import sys, {module}; print([m for m in sys.modules if m.startswith('aaekit.ultrasound.')])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "[]\n"


# --- phantoms
def test_tissue_ids_are_places_in_the_table():
    assert [t.tissue_id for t in TISSUES] == list(range(len(TISSUES)))
    assert len({t.name for t in TISSUES}) == len({t.colour for t in TISSUES}) == len(TISSUES)


def test_an_artery_has_its_layers_from_the_catheter_outwards(maps):
    """Along every scan line: catheter, lumen, intima, [plaque], media, adventitia; nothing comes back."""
    order = {CATHETER: 0, LUMEN: 1, INTIMA: 2, MEDIA: 4, ADVENTITIA: 5}
    rank = np.array([order.get(k, 3) for k in range(len(TISSUES))])[maps]
    rank[(maps == INTIMA) & (np.cumsum(rank == 3, axis=2) > 0)] = 3  # plaque too thin to be called plaque
    assert (np.diff(rank, axis=2) >= 0).all()
    assert (maps != OUTSIDE).all()
    for k in maps:
        assert {CATHETER, LUMEN, INTIMA, MEDIA, ADVENTITIA} <= set(np.unique(k))


def test_phantoms_differ_repeat_and_are_healthy_without_plaque():
    a, b = (ultrasound.make_phantoms(8, 64, random_state=3) for _ in range(2))
    assert (a == b).all() and len(np.unique(a.reshape(8, -1), axis=0)) == 8
    assert {FIBROUS, CALCIUM} <= set(np.unique(ultrasound.make_phantoms(30, 64, random_state=0)))
    assert not (ultrasound.make_phantoms(8, 64, plaque=False, random_state=3) >= FIBROUS).any()


def test_both_geometries_show_the_same_artery(maps):
    cartesian = ultrasound.make_phantoms(12, 128, random_state=0)
    assert (ultrasound.to_polar(cartesian, 128, interpolate=False) == maps).mean() > 0.97
    assert (ultrasound.to_cartesian(maps, 128, interpolate=False) == cartesian).mean() > 0.97
    assert (cartesian[:, 0, 0] == OUTSIDE).all()


# --- geometry
def test_smooth_images_come_back_from_polar():
    side = np.linspace(-1, 1, 96)
    x, y = np.meshgrid(side, side)
    image = (0.5 + 0.3 * x - 0.2 * y)[None].astype(np.float32)
    back = ultrasound.to_cartesian(ultrasound.to_polar(image, 128), 96)
    inside = np.hypot(x, y) < 0.95
    np.testing.assert_allclose(back[0][inside], image[0][inside], atol=0.02)
    assert (back[0][np.hypot(x, y) > 1.02] == 0).all()


def test_scan_lines_go_round():
    """Where the first line meets the last there is no seam."""
    angle = np.arange(64) * 2 * np.pi / 64
    polar = np.repeat((0.5 + 0.4 * np.cos(angle))[:, None], 64, axis=1)[None].astype(np.float32)
    image = ultrasound.to_cartesian(polar, 65)[0]
    x = np.linspace(-1, 1, 65) * 64 / 65
    np.testing.assert_allclose(image[33, 40:], 0.5 + 0.4 * x[40:] / np.hypot(x[40:], x[33]), atol=0.01)


def test_resizing_keeps_means_and_tissue_ids(maps):
    frames = np.random.default_rng(0).random((2, 128, 128), np.float32)
    np.testing.assert_allclose(ultrasound.resize(frames, 32, 32).mean((1, 2)), frames.mean((1, 2)), rtol=1e-5)
    assert (ultrasound.resize(maps, 256, 256, interpolate=False)[:, ::2, ::2] == maps).mean() > 0.97


# --- physics
def test_stage_0_is_speckle_of_the_right_strength():
    """Fully developed speckle: the envelope is Rayleigh, so in decibels it spreads by 5.57, whatever the tissue."""
    tissue = np.full((1, 256, 256), ADVENTITIA, np.uint8)
    frame = ultrasound.simulate(tissue, Physics(dynamic_range=100, level=0.7), 0)[0]
    assert frame.std() * 100 == pytest.approx(5.57, rel=0.1)
    assert frame.mean() == pytest.approx(0.7 - 2.5 / 100, abs=0.005)  # a mean of decibels lies 2.5 below that of power
    quieter = ultrasound.simulate(np.full_like(tissue, MEDIA), Physics(dynamic_range=100, level=0.7), 0)[0]
    expected = 20 * np.log10(TISSUES[MEDIA].echogenicity)
    assert 100 * (quieter.mean() - frame.mean()) == pytest.approx(expected, abs=0.1)


def correlation_length(frame, axis):
    """How many samples until the autocorrelation has fallen to a half."""
    x = frame - frame.mean()
    r = [float((x * np.roll(x, k, axis)).mean() / (x * x).mean()) for k in range(12)]
    return next(k for k, value in enumerate(r) if value < 0.5)


@pytest.mark.parametrize(("change", "axis"), [({"lateral": 4.0}, 0), ({"axial": 5.0}, 1)], ids=["lateral", "axial"])
def test_the_point_spread_function_is_separable(change, axis):
    """A wider beam makes speckle wider across lines alone, a longer pulse along depth alone."""
    tissue = np.full((1, 256, 256), ADVENTITIA, np.uint8)
    before, after = (ultrasound.simulate(tissue, Physics(**p), 0)[0] for p in ({}, change))
    assert correlation_length(after, axis) > correlation_length(before, axis)
    assert correlation_length(after, 1 - axis) == correlation_length(before, 1 - axis)


def test_the_rich_side_casts_shadows_and_rings_and_stage_0_does_not():
    tissue = np.full((1, 256, 256), ADVENTITIA, np.uint8)
    tissue[:, :, :90], tissue[:, :, :23] = LUMEN, CATHETER
    tissue[:, 100:140, 120:128] = CALCIUM
    simple, rich = ultrasound.simulate(tissue, random_state=0)[0], ultrasound.simulate_rich(tissue, 0)[0]
    behind, beside = (slice(105, 135), slice(140, 240)), (slice(180, 240), slice(140, 240))
    assert rich[behind].mean() < 0.5 * rich[beside].mean()
    assert simple[behind].mean() == pytest.approx(simple[beside].mean(), abs=0.03)
    assert rich[:, 23:28].mean() > 1.5 * rich[:, 50:80].mean()  # the ring around the catheter
    assert rich[100:140, 119:124].mean() > rich[180:240, 119:124].mean()  # the edge of calcium reflects


def test_frames_repeat_by_seed_and_lie_in_the_unit_interval(maps):
    for make in (
        lambda seed: ultrasound.simulate(maps, random_state=seed),
        lambda s: ultrasound.simulate_rich(maps, s),
    ):
        a, b, c = make(0), make(0), make(1)
        assert (a == b).all() and (a != c).any()
        assert a.shape == maps.shape and a.dtype == np.float32 and a.min() >= 0 and a.max() <= 1


# --- divergences
def test_divergence_is_0_for_equal_1_for_disjoint_and_by_tissue():
    tissue = np.full((1, 40, 40), LUMEN, np.uint8)
    tissue[:, 20:] = MEDIA
    frame = np.random.default_rng(0).random((1, 40, 40), np.float32) * 0.4
    other = frame.copy()
    other[:, 20:] += 0.55
    same = ultrasound.tissue_divergences(frame, tissue, frame, tissue)
    assert same == {"lumen": 0, "media": 0, "mean": 0}
    divergences = ultrasound.tissue_divergences(frame, tissue, other, tissue)
    assert divergences == {"lumen": 0, "media": pytest.approx(1), "mean": pytest.approx(0.5)}


def test_divergence_by_hand():
    """Half and half against all: by the definition, in bits."""
    p, q = np.array([0.5, 0.5]), np.array([1.0, 0.0])
    m = (p + q) / 2
    by_hand = 0.5 * (p * np.log2(p / m)).sum() + 0.5 * np.log2(1 / m[0])
    tissue = np.full((1, 10, 10), LUMEN, np.uint8)
    real = np.zeros((1, 10, 10), np.float32)
    real[:, 5:] = 0.9
    divergences = ultrasound.tissue_divergences(real, tissue, np.zeros_like(real), tissue, bins=2)
    assert divergences["lumen"] == pytest.approx(by_hand)


def test_pixels_outside_the_view_do_not_count():
    with pytest.raises(InputError, match="a tissue that both"):
        empty = np.zeros((1, 4, 4), np.uint8)
        ultrasound.tissue_divergences(empty / 2, empty, empty / 2, empty)


# --- folders
@pytest.fixture
def folders(tmp_path, maps):
    names = [f"{k}.png" for k in range(3)]
    ultrasound.write_images(tmp_path / "maps", maps[:3], names)
    ultrasound.write_images(tmp_path / "frames", ultrasound.simulate(maps[:3], random_state=0), names)
    return tmp_path / "maps", tmp_path / "frames"


def test_folders_come_back_in_order(folders, maps):
    images = ultrasound.read_folders(*folders)
    assert (images.maps == maps[:3]).all() and images.map_names == images.frame_names == ["0.png", "1.png", "2.png"]
    expected = ultrasound.simulate(maps[:3], random_state=0)
    np.testing.assert_allclose(images.frames / 255, expected, atol=0.5 / 255 + 1e-6)
    assert ultrasound.read_folders(folders[0]).frames is None


def write(path, array, mode=None):
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path)


BAD = {
    "unknown tissue": (
        lambda m, f: write(m / "1.png", np.full((128, 128), 77, np.uint8)),
        "1.png: expected tissue ids 0 outside, .*, got 77",
    ),
    "another size": (
        lambda m, f: write(f / "1.png", np.zeros((64, 128), np.uint8)),
        "1.png: expected a frame of the tissue map's size, 128x128 pixels, got 64x128",
    ),
    "maps of two sizes": (
        lambda m, f: write(m / "1.png", np.zeros((9, 9), np.uint8)),
        "1.png: expected 128x128 pixels as in 0.png, got 9x9",
    ),
    "no partner": (lambda m, f: (f / "2.png").unlink(), r"got .*maps.2.png without .*frames.2.png \(1 in all\)"),
    "no image": (lambda m, f: (m / "1.png").write_bytes(b"not"), "1.png: expected an image"),
    "truncated": (
        lambda m, f: (f / "1.png").write_bytes((f / "1.png").read_bytes()[:500]),
        "1.png: expected an image",
    ),
    "colours for ids": (lambda m, f: write(m / "1.png", np.zeros((128, 128), np.uint8), "RGB"), "8-bit tissue ids"),
    "16 bits": (lambda m, f: write(f / "1.png", np.zeros((128, 128), np.uint16)), "8-bit grey values"),
    "empty": (lambda m, f: [p.unlink() for p in f.iterdir()], "expected PNG files, got none"),
    "no folder": (lambda m, f: m.rename(m.with_name("other")), "expected a folder of PNG files"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_folders_are_one_line_errors(folders, case):
    spoil, message = BAD[case]
    spoil(*folders)
    with pytest.raises(InputError, match=message) as caught:
        ultrasound.read_folders(*folders)
    assert "\n" not in str(caught.value)


def test_folders_that_are_no_pairs_may_differ(folders):
    maps, frames = folders
    (frames / "2.png").unlink()
    images = ultrasound.read_folders(maps, frames, paired=False)
    assert len(images.maps) == 3 and len(images.frames) == 2 and images.frame_names == ["0.png", "1.png"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ultrasound.check_maps(np.zeros((2, 4))), "of whole numbers"),
        (lambda: ultrasound.check_maps(np.full((1, 4, 4), -1)), "calcium, got -1"),
        (lambda: ultrasound.check_frames(np.full((1, 4, 4), 7.0)), r"in \[0, 1\], got 7 ... 7"),
        (lambda: ultrasound.check_frames(np.full((1, 4, 4), np.nan)), r"in \[0, 1\]"),
        (lambda: ultrasound.to_polar(np.zeros((1, 4, 5))), "square cartesian"),
        (lambda: ultrasound.make_phantoms(1, 8, geometry="polr"), "did you mean 'polar'"),
        (lambda: ultrasound.turing_score(0, 0), "n >= 1"),
        (lambda: ultrasound.turing_test(np.zeros((2, 4, 4)), np.zeros((1, 4, 4))), "as many real"),
    ],
    ids=["floats", "negative", "above 1", "nan", "not square", "geometry", "no pairs", "unequal"],
)
def test_bad_arrays(call, message):
    with pytest.raises(InputError, match=message):
        call()


# --- the visual Turing test
@pytest.fixture
def turing(tmp_path):
    real, made = np.full((40, 6, 6), 0.8, np.float32), np.full((40, 6, 6), 0.2, np.float32)
    test = ultrasound.turing_test(real, made, 0)
    test.write(tmp_path / "viewer", tmp_path / "key.json")
    return test, tmp_path


def test_pairs_hide_what_is_real_everywhere_but_in_the_key(turing):
    test, folder = turing
    assert 8 < test.real.count("a") < 32  # a fair coin
    bright = ["a" if x.mean() > y.mean() else "b" for x, y in zip(test.a, test.b, strict=True)]
    assert bright == test.real
    assert sorted(p.name for p in (folder / "viewer").iterdir())[:3] == [
        "answers.csv",
        "pair-001-a.png",
        "pair-001-b.png",
    ]
    assert len(list((folder / "viewer").iterdir())) == 81
    assert json.loads((folder / "key.json").read_text())["real"]["pair-003"] == test.real[2]
    assert "a\n" not in (folder / "viewer" / "answers.csv").read_text()
    first = np.asarray(Image.open(folder / "viewer" / "pair-001-a.png"))
    assert (first == test.a[0]).all()


def test_the_key_may_not_lie_with_the_viewer(turing):
    test, folder = turing
    with pytest.raises(InputError, match="a key outside of"):
        test.write(folder / "viewer", folder / "viewer" / "key.json")


def answers(folder, lines):
    path = folder / "viewer" / "answers.csv"
    path.write_text("pair,real\n" + "\n".join(lines) + "\n")
    return path


def test_answers_are_scored_and_blank_ones_left_out(turing):
    test, folder = turing
    chosen = [side if k < 21 else "ab"[side == "a"] for k, side in enumerate(test.real)]
    lines = [
        f"{name},{side.upper() if k % 2 else side}"
        for k, (name, side) in enumerate(zip(test.names, chosen, strict=True))
    ]
    score = ultrasound.score_answers(answers(folder, lines[:38] + [f"{test.names[38]},"]), folder / "key.json")
    assert (score.n, score.correct) == (38, 21) and score.passed


@pytest.mark.parametrize(
    ("correct", "low", "high", "passed"),
    [(10, 0.2720, 0.7280, True), (20, 0.8316, 1.0, False), (15, 0.5090, 0.9134, False), (0, 0.0, 0.1684, False)],
    ids=["half", "all", "many", "none"],
)
def test_the_interval_is_clopper_and_pearsons(correct, low, high, passed):
    """Against tables of the exact interval for 20 trials."""
    score = ultrasound.turing_score(20, correct)
    assert (score.low, score.high) == (pytest.approx(low, abs=2e-4), pytest.approx(high, abs=2e-4))
    assert score.passed is passed and score.share == correct / 20


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["pair-001,c"], "line 2: expected a or b"),
        (["pair-01,a"], "did you mean 'pair-0"),
        (["pair-001,a", "pair-001,b"], "one answer to pair-001, got two"),
        (["pair-001,"], "expected answers, got none"),
    ],
    ids=["c", "unknown", "twice", "blank"],
)
def test_bad_answers(turing, lines, message):
    _, folder = turing
    with pytest.raises(InputError, match=message):
        ultrasound.score_answers(answers(folder, lines), folder / "key.json")


def test_files_that_are_no_answers_or_no_key(turing, tmp_path):
    _, folder = turing
    with pytest.raises(InputError, match="the key of a Turing test"):
        ultrasound.score_answers(answers(folder, ["pair-001,a"]), folder / "viewer" / "answers.csv")
    path = answers(folder, [])
    path.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="columns pair and real, (found|got) a, b"):
        ultrasound.score_answers(path, folder / "key.json")
    with pytest.raises(InputError, match="none.csv: .*CSV"):
        ultrasound.score_answers(tmp_path / "none.csv", folder / "key.json")


# --- figures
def test_figures_show_their_arguments(maps):
    frames = {
        name: ultrasound.simulate(maps[:2], random_state=k) for k, name in enumerate(["stage 0", "stage I", "real"])
    }
    strip = drawings.stage_strip(maps[:2], frames)
    assert [a.get_title(loc="left") for a in strip.axes[:4]] == ["tissue map", *frames] and len(strip.axes) == 8
    histograms = drawings.intensity_histograms(
        {name: ultrasound.tissue_histograms(f, maps[:2]) for name, f in frames.items()}
    )
    assert {a.get_title(loc="left") for a in histograms.axes} == {TISSUES[k].name for k in np.unique(maps[:2])}
    values = {"stage 0": {"lumen": 0.3, "mean": 0.3}, "stage I": {"lumen": 0.1, "mean": 0.1}}
    bars = drawings.divergence_bars(values)
    assert [p.get_height() for p in bars.axes[0].patches] == [0.3, 0.3, 0.1, 0.1]
    pairs = ultrasound.turing_test(frames["real"], frames["stage 0"], 0)
    sheet = drawings.turing_sheet(pairs.a, pairs.b, pairs.names)
    assert [a.get_title(loc="left") for a in sheet.axes] == ["pair-001-a", "pair-001-b", "pair-002-a", "pair-002-b"]
    for figure in (strip, histograms, bars, sheet):
        figure.canvas.draw()


@pytest.mark.parametrize(
    "call",
    [
        lambda m: drawings.stage_strip(m, {"stage 0": np.zeros((1, 4, 4))}),
        lambda m: drawings.divergence_bars({"stage 0": {"mean": 1}, "stage I": {"lumen": 1}}),
        lambda m: drawings.turing_sheet(m, m, ["one"]),
    ],
    ids=["strip", "bars", "sheet"],
)
def test_figures_refuse_arguments_that_do_not_fit(maps, call):
    with pytest.raises(InputError):
        call(maps)
