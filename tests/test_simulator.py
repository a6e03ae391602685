"""The two-stage simulator of ultrasound: its pieces, its training, its files and its commands."""

import json

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from torch import nn

from aaekit import cli
from aaekit.divergences import LeastSquares
from aaekit.errors import InputError, TrainingError
from aaekit.ultrasound import physics as ultrasound
from aaekit.ultrasound import simulator
from aaekit.ultrasound.simulator import STAGES, Refiner, RefineStep, TwoStageSimulator, hold_on, match_intensities
from reproduction import protocols, simulation

TINY = {"geometry": "polar", "low_size": 16, "size": 32, "channels": 4, "draws": 1, "steps": 3, "steps_2": 3,
        "batch_size": 4, "precision": "float32", "random_state": 0}  # fmt: skip


@pytest.fixture(scope="module")
def pairs():
    """Polar maps and "real" frames of 28 arteries, (28, 32, 32)."""
    maps = ultrasound.phantoms(28, 32, geometry="polar", random_state=0)
    return maps, ultrasound.simulate_rich(maps, 1)


@pytest.fixture(scope="module")
def tiny(pairs):
    """Fitted for three steps a stage."""
    return TwoStageSimulator(**TINY).fit(pairs[0][:8], pairs[1][:8])


@pytest.fixture(scope="module")
def trained(pairs):
    """Fitted for long enough to have learned something, on all but 8 pairs."""
    settings = TINY | {
        "channels": 8,
        "steps": 120,
        "steps_2": 200,
        "rate": 2e-3,
        "intensity_weight": 10.0,
        "ema_decay": 0.9,
    }
    return TwoStageSimulator(**settings, batch_size_2=8).fit(pairs[0][:20], pairs[1][:20])


def weights(estimator):
    return torch.cat([p.detach().flatten() for p in estimator.networks_.parameters()])


# --- the pieces
@pytest.mark.parametrize("size", [16, 32])
def test_a_refiner_begins_as_the_identity(size):
    below = 0.02 + 0.96 * torch.rand(2, 1, size, size)
    out = Refiner(3, 4, 3)(below, torch.rand(2, 3, size, size))
    torch.testing.assert_close(out, below, atol=1e-5, rtol=0)


def shaken(refiner):
    """The same refiner with its last layer no longer zero."""
    nn.init.normal_(refiner.last.inner.weight)
    return refiner


def test_scan_lines_go_round_in_a_refiner_and_depth_does_not():
    torch.manual_seed(0)
    refiner = shaken(Refiner(2, 4, 2))
    below, beside = torch.rand(1, 1, 16, 16), torch.rand(1, 2, 16, 16)
    with torch.inference_mode():
        out = refiner(below, beside)
        lines = refiner(below.roll(4, 2), beside.roll(4, 2))
        depths = refiner(below.roll(4, 3), beside.roll(4, 3))
    torch.testing.assert_close(lines, out.roll(4, 2), atol=1e-5, rtol=0)
    assert (depths - out.roll(4, 3)).abs().max() > 0.01
    assert (out - below).abs().mean() > 0.01


def test_no_pressure_drives_a_refiner_to_black():
    """What it adds to the logit is bounded, however large its weights get."""
    refiner = Refiner(2, 4, 2)
    torch.nn.init.constant_(refiner.last.inner.bias, -1e6)
    below = torch.rand(2, 1, 16, 16)
    out = refiner(below, torch.rand(2, 2, 16, 16))
    expected = (below.clamp(0.01, 0.99).logit() - simulator.FURTHEST).sigmoid()
    assert torch.allclose(out, expected, atol=1e-6) and out.std() > 0


def test_the_discriminator_cannot_run_ahead():
    """Its layers do not enlarge what they are given: the largest singular value of each is 1."""
    torch.manual_seed(0)
    net = simulator.patch_discriminator(3, 4)
    layers = [m for m in net if isinstance(m, torch.nn.Conv2d)]
    for layer in layers:
        layer.parametrizations.weight.original.data.mul_(50)
    for _ in range(50):  # each pass in training mode is a step of the power method
        net(torch.rand(1, 3, 32, 32))
    assert len(layers) == 4
    for layer in layers:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)


def test_a_refiner_looks_at_what_is_beside():
    torch.manual_seed(0)
    refiner, below = shaken(Refiner(2, 4, 2)), torch.rand(1, 1, 16, 16)
    assert (refiner(below, torch.zeros(1, 2, 16, 16)) - refiner(below, torch.ones(1, 2, 16, 16))).abs().max() > 0.01


def test_enlarging_goes_round_and_keeps_means():
    low = torch.rand(2, 1, 16, 16)
    big = simulator.upsampled(low, 4)
    assert big.shape == (2, 1, 64, 64) and big.min() >= 0 and big.max() <= 1
    torch.testing.assert_close(simulator.upsampled(low.roll(3, 2), 4), big.roll(12, 2))
    assert big.mean() == pytest.approx(float(low.mean()), abs=0.01)


def test_stage_1_is_told_what_lies_on_the_way():
    """Calcium is counted at all depths behind it, on its own scan lines, and not before it."""
    codes = torch.full((1, 32, 32), ultrasound.ADVENTITIA)
    codes[:, 8:12, 10:12] = ultrasound.CALCIUM
    told = simulator.with_way(simulator.one_hot(codes))
    assert told.shape == (1, 2 * simulator.N_TISSUES, 32, 32)
    assert (told[:, : simulator.N_TISSUES] == simulator.one_hot(codes)).all()
    way = told[0, simulator.N_TISSUES + ultrasound.CALCIUM]
    assert (way[8:12, 11:] == 0.5).all() and (way[8:12, :10] == 0).all() and (way[12:] == 0).all()
    assert told.max() == 1


def refine_step(below, real, tissues=None, real_tissues=None, margin=0):
    """A step of a refiner that is the identity."""
    tissues = torch.zeros(len(below), simulator.N_TISSUES, *below.shape[2:]) if tissues is None else tissues
    refiner = Refiner(simulator.N_TISSUES, 4, 1)
    return RefineStep(refiner, below, tissues, tissues, real, real_tissues, margin)


def test_holding_on_leaves_speckle_free_but_not_levels():
    below = 0.2 + 0.6 * torch.rand(1, 1, 8, 8)
    step = refine_step(below, below)
    blocks = below.reshape(1, 1, 2, 4, 2, 4)
    step._refined = blocks.flip(3, 5).reshape(1, 1, 8, 8)  # shuffled within blocks of 4x4
    assert hold_on(step, 4) == pytest.approx(0, abs=1e-6) and hold_on(step, 2) > 0.01
    step._refined = below + 0.1
    assert hold_on(step, 4) == pytest.approx(0.1, abs=1e-6)


def test_matching_intensities_is_by_tissue_and_regardless_of_place():
    codes = torch.full((1, 8, 8), ultrasound.LUMEN)
    codes[:, 4:] = ultrasound.MEDIA
    tissues, below = simulator.one_hot(codes), 0.1 + 0.5 * torch.rand(1, 1, 8, 8)
    mirrored = below.flip(3)
    assert match_intensities(refine_step(below, mirrored, tissues, tissues)).item() == pytest.approx(0, abs=1e-6)
    other = mirrored.clone()
    other[:, :, 4:] += 0.3  # the media alone: the mean over both tissues is half of 0.3 squared
    step = refine_step(below, other, tissues, tissues)
    assert match_intensities(step).item() == pytest.approx(0.045, abs=1e-4)
    match_intensities(step).backward()
    assert step.encoder.last.inner.weight.grad.abs().max() > 0
    assert match_intensities(refine_step(below, other, tissues, tissues * 0)) == 0  # none in common


def test_the_discriminator_is_told_tissues_only_of_pairs_and_not_the_margins():
    below, real = torch.rand(2, 1, 16, 8), torch.rand(2, 1, 16, 8)
    tissues = torch.ones(2, simulator.N_TISSUES, 16, 8)
    alone = refine_step(below, real, tissues)
    assert alone.judged(fake=True).shape == alone.judged(fake=False).shape == (2, 2, 16, 8)
    told = refine_step(below, real, tissues, tissues, margin=4)
    assert told.judged(fake=True).shape == told.judged(fake=False).shape == (2, 2 + simulator.N_TISSUES, 8, 8)
    torch.testing.assert_close(told.judged(fake=False)[:, :1], 2 * real[:, :, 4:12] - 1)


def test_turning_keeps_images_aligned():
    image = torch.arange(2 * 16.0 * 4).reshape(2, 1, 16, 4)
    seen = set()
    for _ in range(12):
        a, b = simulator._turned(image, 2 * image, keep=8)
        assert a.shape == (2, 1, 8, 4) and (b == 2 * a).all()
        seen.add(float(a[0, 0, 0, 0]))
    assert len(seen) > 3


# --- what training does
def test_each_stage_lowers_the_divergence_on_pairs_kept_apart(trained, pairs):
    maps, frames = pairs[0][20:], pairs[1][20:]
    low, high = (trained.divergences(maps, frames, resolution=r) for r in ("low", "high"))
    assert list(low) == list(STAGES[:2]) and list(high) == list(STAGES)
    assert low["stage I"]["mean"] < 0.9 * low["stage 0"]["mean"]
    assert high["stage II"]["mean"] < 0.95 * min(high["stage I"]["mean"], high["stage 0"]["mean"])
    assert {"lumen", "media", "adventitia", "calcium"} <= set(high["stage 0"])
    assert high["stage 0"]["mean"] == pytest.approx(np.mean([v for k, v in high["stage 0"].items() if k != "mean"]))


def test_frames_keep_the_anatomy(trained, pairs):
    """What is where comes from the map: the lumen stays darker than the adventitia, in every stage."""
    maps = pairs[0][20:]
    for stage in (0, 1, 2):
        frames = trained.simulate(maps, stage, random_state=0)
        assert frames[maps == ultrasound.LUMEN].mean() + 0.1 < frames[maps == ultrasound.ADVENTITIA].mean()


def test_speckle_is_drawn_anew_and_repeats_by_seed(trained, pairs):
    maps = pairs[0][20:22]
    a, b, c = (trained.simulate(maps, random_state=seed) for seed in (0, 0, 1))
    assert (a == b).all() and (a != c).mean() > 0.9
    assert a.shape == maps.shape and a.dtype == np.float32 and a.min() >= 0 and a.max() <= 1
    one = trained.simulate(maps[:1], random_state=0)
    np.testing.assert_allclose(one, a[:1], atol=1e-6)


def test_holding_on_hard_keeps_stage_2_near_stage_1(pairs):
    settings = TINY | {"steps_2": 25, "ema_decay": 0.0, "rate": 3e-3}
    moved = []
    for weight in (0.0, 50.0):
        estimator = TwoStageSimulator(**settings, holding_weight_2=weight).fit(pairs[0][:8], pairs[1][:8])
        first, second = (estimator.simulate(pairs[0][20:], s, random_state=0) for s in (1, 2))
        pooled = [ultrasound.resized(f, 8, 8) for f in (first, second)]
        moved.append(np.abs(pooled[0] - pooled[1]).mean())
    assert moved[1] < 0.8 * moved[0]


def test_a_fit_repeats_and_leaves_the_global_generator_alone(tiny, pairs):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    again = clone(tiny).fit(pairs[0][:8], pairs[1][:8])
    assert (torch.rand(3) == expected).all()
    assert (weights(again) == weights(tiny)).all()
    other = clone(tiny).set_params(random_state=1).fit(pairs[0][:8], pairs[1][:8])
    assert (weights(other) != weights(tiny)).any()


def test_the_history_has_both_stages_one_after_the_other(tiny):
    names = {name for row in tiny.history_ for name in row}
    for stage in ("stage1", "stage2"):
        assert {f"{stage}/holding", f"{stage}/discriminator", f"{stage}/generator"} <= names
    steps = [row["step"] for row in tiny.history_]
    assert steps == sorted(steps) and steps[-1] == tiny.n_steps_ == 6 and tiny.training_seconds_ > 0


def test_frames_that_belong_to_no_map_will_do(pairs):
    estimator = TwoStageSimulator(**TINY | {"paired": False}).fit(
        pairs[0][:6], ultrasound.resized(pairs[1][8:], 16, 64)
    )
    assert estimator.simulate(pairs[0][:2]).shape == (2, 32, 32)


def test_cartesian_frames_are_discs_of_the_maps_size():
    maps = ultrasound.phantoms(5, 45, random_state=0)
    frames = ultrasound.to_cartesian(ultrasound.simulate_rich(ultrasound.to_polar(maps, 32, codes=True), 0), 45)
    estimator = TwoStageSimulator(**TINY | {"geometry": "cartesian"}).fit(maps, np.rint(255 * frames).astype(np.uint8))
    for stage in (0, 1, 2):
        made = estimator.simulate(maps, stage, random_state=0)
        assert made.shape == (5, 45, 45) and (made[maps == ultrasound.OUTSIDE] == 0).all() and made.mean() > 0.1
    assert estimator.shown_real(frames).shape == (5, 45, 45)


# --- files
def test_a_saved_simulator_makes_the_same_frames(tiny, pairs, tmp_path):
    tiny.save(tmp_path / "model.safetensors")
    loaded = TwoStageSimulator.load(tmp_path / "model.safetensors")
    assert loaded.get_params() == tiny.get_params()
    assert loaded.history_ == tiny.history_ and loaded.n_steps_ == 6
    for stage in (0, 1, 2):
        a, b = (e.simulate(pairs[0][:2], stage, random_state=0) for e in (tiny, loaded))
        assert (a == b).all()


def test_files_that_are_no_simulator(tiny, tmp_path):
    with pytest.raises(InputError, match="none"):
        TwoStageSimulator.load(tmp_path / "none.safetensors")
    tiny.save(tmp_path / "m.safetensors")
    (tmp_path / "m.safetensors").write_bytes((tmp_path / "m.safetensors").read_bytes()[:500])
    with pytest.raises(InputError):
        TwoStageSimulator.load(tmp_path / "m.safetensors")
    odd = clone(tiny).set_params(divergence=LeastSquares())
    odd.networks_, odd.seed_ = tiny.networks_, 0
    with pytest.raises(InputError, match="divergence is an object"):
        odd.save(tmp_path / "o.safetensors")


# --- bad input
BAD_FITS = {
    "unknown codes": (lambda m, f: (m + 8, f), {}, "unknown tissue code"),
    "maps that are no codes": (lambda m, f: (f, f), {}, "of whole numbers"),
    "another size": (lambda m, f: (m, f[:, :16]), {}, "32x32, but its frame 16x32"),
    "another number": (lambda m, f: (m, f[:3]), {}, "8 maps and 3 frames"),
    "not in [0, 1]": (lambda m, f: (m, 300 * f), {}, r"in \[0, 1\]"),
    "one pair": (lambda m, f: (m[:1], f[:1]), {}, "at least 2 maps"),
    "sizes that do not fit": (lambda m, f: (m, f), {"size": 40}, "multiple of low_size=16"),
    "not square": (lambda m, f: (m[:, :16], f[:, :16]), {"geometry": "cartesian"}, "is geometry='polar'"),
    "unknown loss": (lambda m, f: (m, f), {"divergence": "gam"}, "divergence"),
    "no steps": (lambda m, f: (m, f), {"steps": 0}, "steps"),
}


@pytest.mark.parametrize("case", BAD_FITS)
def test_bad_fits_are_told_in_one_line(case, pairs):
    spoil, parameters, message = BAD_FITS[case]
    with pytest.raises(InputError, match=message) as caught:
        TwoStageSimulator(**TINY | parameters).fit(*spoil(pairs[0][:8], pairs[1][:8]))
    assert "\n" not in str(caught.value)


def test_only_stage_0_can_do_without_a_fit(tiny, pairs):
    fresh = TwoStageSimulator(geometry="polar", size=32, low_size=16)
    assert fresh.simulate(pairs[0][:1], stage=0).shape == (1, 32, 32)
    with pytest.raises(NotFittedError):
        fresh.simulate(pairs[0][:1])
    with pytest.raises(InputError, match="expected 0, 1 or 2"):
        tiny.simulate(pairs[0][:1], stage=3)
    with pytest.raises(InputError, match="unknown tissue code 9"):
        tiny.simulate(np.full((1, 8, 8), 9))


# --- the commands
@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folders of 10 made-up arteries and a run on them."""
    folder = tmp_path_factory.mktemp("simulate")
    run_command("simulate", "phantoms", folder / "arteries", "--n", 10, "--size", 32, "--geometry", "polar")
    settings = {k: v for k, v in TINY.items() if k != "random_state"}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    run_command(
        "simulate", "train", folder / "arteries" / "maps", folder / "arteries" / "frames", "--out", folder / "run",
        "--config", folder / "tiny.yaml", "--steps", 2, "--log", folder / "log.json", "--quiet",
    )  # fmt: skip
    return folder


def run_command(*arguments, code=0):
    with pytest.raises(SystemExit) as stop:
        cli.main([str(a) for a in arguments])
    assert stop.value.code == code


@pytest.fixture
def aae(capsys):
    """Run a command; its standard output, or the one line that it says is wrong."""

    def command(*arguments, wrong=False):
        capsys.readouterr()
        run_command(*arguments, code=2 if wrong else 0)
        found = capsys.readouterr()
        assert "Traceback" not in found.err
        if wrong:
            assert len(found.err.splitlines()) == 1, found.err
        return found.err if wrong else found.out

    return command


def test_phantoms_come_in_pairs_that_can_be_read(folder):
    found = ultrasound.read_folders(folder / "arteries" / "maps", folder / "arteries" / "frames")
    assert found.maps.shape == found.frames.shape == (10, 32, 32) and found.map_names == found.frame_names
    codes = json.loads((folder / "arteries" / "tissues.json").read_text())
    assert codes["calcium"] == ultrasound.CALCIUM
    lumen, outer = (found.frames[found.maps == code].mean() for code in (ultrasound.LUMEN, ultrasound.ADVENTITIA))
    assert lumen < outer


def test_a_run_says_all_that_was_measured(folder):
    run = folder / "run"
    results = json.loads((run / "results.json").read_text())
    assert results["training"]["maps"] == 8 and results["training"]["steps"] == 5
    assert len(results["test"]["files"]) == 2 and list(results["test"]["divergences_32"]) == list(STAGES)
    assert list(results["test"]["divergences_16"]) == list(STAGES[:2])
    assert yaml.safe_load((run / "config.yaml").read_text())["steps"] == 2
    assert {p.stem for p in (run / "figures").iterdir()} == {"strip", "intensities", "divergences", "curves", "turing"}
    assert "Jensen-Shannon divergence" in (run / "report.html").read_text()
    log = json.loads((folder / "log.json").read_text())
    assert log["results"] == results and log["configuration"]["steps"] == 2 and str(folder) not in log["command"]


def test_a_run_is_judged_by_what_it_was_not_trained_on(folder):
    run, maps = folder / "run", folder / "arteries" / "maps"
    found = ultrasound.read_folders(maps, folder / "arteries" / "frames")
    results = json.loads((run / "results.json").read_text())
    kept = [name in results["test"]["files"] for name in found.map_names]
    estimator = TwoStageSimulator.load(run / "model.safetensors")
    assert estimator.divergences(found.maps[kept], found.frames[kept]) == results["test"]["divergences_32"]
    rest = [not k for k in kept]
    again = clone(estimator).fit(found.maps[rest], found.frames[rest])
    assert (weights(again) == weights(estimator)).all()


@pytest.mark.parametrize("stage", [0, 2])
def test_apply_makes_a_frame_of_each_map(folder, aae, tmp_path, stage):
    out = aae("simulate", "apply", folder / "run", folder / "arteries" / "maps", "--out", tmp_path, "--stage", stage)
    assert out == f"10 frames: {tmp_path}\n"
    maps = ultrasound.read_folders(folder / "arteries" / "maps")
    expected = TwoStageSimulator.load(folder / "run" / "model.safetensors").simulate(maps.maps, stage, random_state=0)
    before = (tmp_path / "0001.png").read_bytes()
    line = ["simulate", "apply", folder / "run", folder / "arteries" / "maps", "--out", tmp_path, "--stage", 2 - stage]
    assert "0001.png exists already and would be overwritten" in aae(*line, wrong=True)
    assert (tmp_path / "0001.png").read_bytes() == before
    for name, frame in zip(maps.map_names, expected, strict=True):
        assert (np.asarray(Image.open(tmp_path / name)) == np.rint(255 * frame).astype(np.uint8)).all()


def test_a_turing_test_from_pairs_to_score(folder, aae, tmp_path):
    arteries, out = folder / "arteries", tmp_path / "viewer"
    said = aae("simulate", "pairs", folder / "run", arteries / "maps", arteries / "frames", "--out", out, "--n", 8)
    key = tmp_path / "viewer-key.json"
    assert str(key) in said and (out / "sheet.png").is_file() and len(list(out.iterdir())) == 18
    real = json.loads(key.read_text())["real"]
    found = ultrasound.read_folders(arteries / "maps", arteries / "frames").frames
    for pair, side in real.items():  # the side of the key is a real frame as it was, the other one is not
        frames = {s: np.asarray(Image.open(out / f"{pair}-{s}.png")) for s in "ab"}
        is_real = {s: (np.abs(found.astype(int) - f) <= 1).all((1, 2)).any() for s, f in frames.items()}
        assert is_real == {"a": side == "a", "b": side == "b"}

    def score(n_right):
        wrong = {"a": "b", "b": "a"}
        rows = [f"{p},{s if k < n_right else wrong[s]}" for k, (p, s) in enumerate(real.items())]
        (out / "answers.csv").write_text("pair,real\n" + "\n".join(rows) + "\n")
        return aae("simulate", "score", out / "answers.csv", "--key", key)

    assert score(4).startswith("4 of 8 correct: 50.0 % (95 % interval 15.7 to 84.3 %)\npassed")
    assert "not passed" in score(8) and "not at chance" in score(0)


def test_answers_are_not_written_over(folder, aae, tmp_path):
    arteries, out = folder / "arteries", tmp_path / "viewer"
    pairs = "simulate", "pairs", folder / "run", arteries / "maps", arteries / "frames", "--out", out, "--n", 2
    aae(*pairs)
    answers = out / "answers.csv"
    answers.write_text("pair,real\npair-001,a\n")
    assert "exists already" in aae(*pairs, wrong=True)
    assert answers.read_text().endswith("pair-001,a\n")
    for path in out.iterdir():
        path.unlink()
    assert "viewer-key.json exists already" in aae(*pairs, wrong=True)


@pytest.mark.parametrize("command", ["doctor", "resume"])
def test_a_simulator_is_no_other_run(command, folder, aae):
    assert "run of the simulator" in aae(command, folder / "run", wrong=True)


def test_help_shows_every_parameter(aae, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    out = aae("simulate", "train", "--help")
    assert all(f"--{name.replace('_', '-')}" in out for name in TINY) and "--test-share" in out
    assert [
        line for line in ("phantoms", "train", "apply", "pairs", "score") if line not in aae("simulate", "-h")
    ] == []


def blacked(folder, code, size=(32, 32)):
    Image.fromarray(np.full(size, code, np.uint8)).save(folder / "0003.png")


WRONG = {
    "unknown code": (lambda m, f: blacked(m, 77), (), "maps/0003.png: unknown tissue code 77"),
    "another size": (
        lambda m, f: blacked(f, 7, (16, 32)),
        (),
        "0003.png: the tissue map is 32x32, but its frame 16x32",
    ),
    "no partner": (lambda m, f: (f / "0003.png").unlink(), (), "--no-paired"),
    "no such option": (lambda m, f: None, ("--stepz", 3), "--steps"),
    "not a number": (lambda m, f: None, ("--steps", "many"), "steps"),
    "sizes that do not fit": (lambda m, f: None, ("--size", 64, "--low-size", 40), "multiple of low_size"),
    "strips too narrow": (lambda m, f: None, ("--lines", 4), "lines"),
    "no pairs left": (lambda m, f: None, ("--test-share", 0.75), "1 and 1 (and 3 pairs set aside)"),
    "a run that is there": (lambda m, f: None, ("--out", "."), "exists already"),
    "no such file": (lambda m, f: None, ("--config", "none.yaml"), "cannot be read as YAML"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_in_one_line(case, aae, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spoil, options, message = WRONG[case]
    maps = ultrasound.phantoms(4, 32, geometry="polar", random_state=0)
    for name in ("maps", "frames"):
        ultrasound.write_images(tmp_path / name, maps, [f"{k + 1:04d}.png" for k in range(4)])
    spoil(tmp_path / "maps", tmp_path / "frames")
    assert message in aae("simulate", "train", "maps", "frames", "--out", "run", *options, wrong=True)
    assert not (tmp_path / "run").exists()


def test_a_training_that_fails_leaves_no_directory(folder, aae, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise TrainingError("a loss is not finite")

    monkeypatch.setattr(TwoStageSimulator, "fit", fail)
    arteries = folder / "arteries"
    said = aae("simulate", "train", arteries / "maps", arteries / "frames", "--out", tmp_path / "run", wrong=True)
    assert "not finite" in said and not (tmp_path / "run").exists()


def test_commands_without_what_they_need(folder, aae, tmp_path):
    maps = folder / "arteries" / "maps"
    assert "not empty" in aae("simulate", "phantoms", folder / "arteries", wrong=True)
    assert "Did you mean 'polar'" in aae("simulate", "phantoms", tmp_path / "p", "--geometry", "polr", wrong=True)
    assert "no model.safetensors" in aae("simulate", "apply", tmp_path, maps, "--out", tmp_path / "o", wrong=True)
    assert "overwritten" in aae("simulate", "apply", folder / "run", maps, "--out", maps, wrong=True)
    frames = folder / "arteries" / "frames"
    say = aae("simulate", "pairs", folder / "run", maps, frames, "--out", tmp_path / "v", "--n", 11, wrong=True)
    assert "only 10 pairs" in say


def test_the_protocol_judges_every_stage_on_pairs_kept_apart(monkeypatch):
    given = {k: list(v) if isinstance(v, tuple) else v for k, v in TINY.items()}
    trial = simulation.SimulationTrial(simulation.configuration(given | {"pairs": 8, "test_pairs": 6}), ())
    fit = TwoStageSimulator.fit

    def fitted(self, maps, frames, **more):
        fit(self, maps, frames, **more).training_seconds_ = 0.04
        return self

    monkeypatch.setattr(TwoStageSimulator, "fit", fitted)
    protocols.find("simulation")(trial)
    assert trial.numbers["seconds"] == 0.04 and trial.numbers["n_steps"] == 6
    assert trial.numbers["jsd"] == trial.numbers["stage II 32 jsd"] > trial.numbers["floor 32 jsd"] > 0
    assert set(trial.pictures) == {"strip", "intensities"}
