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

from aaekit import ultrasound
from aaekit.cli import app as cli
from aaekit.divergences import LeastSquares
from aaekit.errors import InputError, TrainingError
from aaekit.ultrasound import networks
from aaekit.ultrasound.networks import Refiner, one_hot
from aaekit.ultrasound.simulator import (
    STAGES,
    RefineStep,
    TwoStageSimulator,
    intensity_distance,
    self_regularisation,
)
from aaekit.ultrasound.tissues import ADVENTITIA, CALCIUM, LUMEN, MEDIA, N_TISSUES, OUTSIDE
from reproduction import protocols, simulation

TINY = {"geometry": "polar", "low_size": 16, "size": 32, "channels": 4, "draws": 1, "steps": (3, 3),
        "batch_size": (4, 4), "precision": "float32", "random_state": 0}  # fmt: skip


@pytest.fixture(scope="module")
def pairs():
    """Polar maps and "real" frames of 28 arteries, (28, 32, 32)."""
    maps = ultrasound.make_phantoms(28, 32, geometry="polar", random_state=0)
    return maps, ultrasound.simulate_rich(maps, 1)


@pytest.fixture(scope="module")
def tiny(pairs):
    """Fitted for three steps a stage."""
    return TwoStageSimulator(**TINY).fit(pairs[0][:8], pairs[1][:8])


@pytest.fixture(scope="module")
def trained(pairs):
    """Fitted on 20 pairs until each stage improves; 8 pairs are held out."""
    settings = TINY | {
        "channels": 8,
        "steps": (120, 200),
        "batch_size": (4, 8),
        "learning_rate": 2e-3,
        "intensity_weight": 10.0,
        "ema_decay": 0.9,
    }
    return TwoStageSimulator(**settings).fit(pairs[0][:20], pairs[1][:20])


def weights(estimator):
    return torch.cat([p.detach().flatten() for p in estimator.networks_.parameters()])


# --- the pieces
@pytest.mark.parametrize("size", [16, 32])
def test_a_refiner_begins_as_the_identity(size):
    previous = 0.02 + 0.96 * torch.rand(2, 1, size, size)
    out = Refiner(3, 4, 3)(previous, torch.rand(2, 3, size, size))
    torch.testing.assert_close(out, previous, atol=1e-5, rtol=0)


def shaken(refiner):
    """The same refiner with its last layer no longer zero."""
    nn.init.normal_(refiner.last.inner.weight)
    return refiner


def test_scan_lines_go_round_in_a_refiner_and_depth_does_not():
    torch.manual_seed(0)
    refiner = shaken(Refiner(2, 4, 2))
    previous, beside = torch.rand(1, 1, 16, 16), torch.rand(1, 2, 16, 16)
    with torch.inference_mode():
        out = refiner(previous, beside)
        lines = refiner(previous.roll(4, 2), beside.roll(4, 2))
        depths = refiner(previous.roll(4, 3), beside.roll(4, 3))
    torch.testing.assert_close(lines, out.roll(4, 2), atol=1e-5, rtol=0)
    assert (depths - out.roll(4, 3)).abs().max() > 0.01
    assert (out - previous).abs().mean() > 0.01


def test_no_pressure_drives_a_refiner_to_black():
    """What it adds to the logit is bounded, however large its weights get."""
    refiner = Refiner(2, 4, 2)
    torch.nn.init.constant_(refiner.last.inner.bias, -1e6)
    previous = torch.rand(2, 1, 16, 16)
    out = refiner(previous, torch.rand(2, 2, 16, 16))
    expected = (previous.clamp(0.01, 0.99).logit() - networks.MAX_LOGIT_CHANGE).sigmoid()
    assert torch.allclose(out, expected, atol=1e-6) and out.std() > 0


def test_the_discriminator_cannot_run_ahead():
    """Its layers do not enlarge what they are given: the largest singular value of each is 1."""
    torch.manual_seed(0)
    net = networks.patch_discriminator(3, 4)
    layers = [m for m in net if isinstance(m, torch.nn.Conv2d)]
    for layer in layers:
        layer.parametrizations.weight.original.data.mul_(50)
    for _ in range(50):  # each pass in training mode is a step of the power method
        net(torch.rand(1, 3, 32, 32))
    assert len(layers) == 4
    for layer in layers:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)


def test_a_refiner_sees_the_conditions():
    torch.manual_seed(0)
    refiner, previous = shaken(Refiner(2, 4, 2)), torch.rand(1, 1, 16, 16)
    assert (
        refiner(previous, torch.zeros(1, 2, 16, 16)) - refiner(previous, torch.ones(1, 2, 16, 16))
    ).abs().max() > 0.01


def test_enlarged_scan_lines_go_round_and_keep_their_mean():
    low = torch.rand(2, 1, 16, 16)
    big = networks.upsample(low, 4)
    assert big.shape == (2, 1, 64, 64) and big.min() >= 0 and big.max() <= 1
    torch.testing.assert_close(networks.upsample(low.roll(3, 2), 4), big.roll(12, 2))
    assert big.mean() == pytest.approx(float(low.mean()), abs=0.01)


def test_stage_1_sees_what_lies_on_the_path():
    """Calcium is counted at all depths behind it, on its own scan lines, and not before it."""
    tissue_ids = torch.full((1, 32, 32), ADVENTITIA)
    tissue_ids[:, 8:12, 10:12] = CALCIUM
    channels = networks.with_path(one_hot(tissue_ids))
    assert channels.shape == (1, 2 * N_TISSUES, 32, 32)
    assert (channels[:, :N_TISSUES] == one_hot(tissue_ids)).all()
    path = channels[0, N_TISSUES + CALCIUM]
    assert (path[8:12, 11:] == 0.5).all() and (path[8:12, :10] == 0).all() and (path[12:] == 0).all()
    assert channels.max() == 1


def refine_step(previous, real, tissues=None, real_tissues=None, margin=0, refiner=None):
    """A step, by default of a refiner that is the identity."""
    tissues = torch.zeros(len(previous), N_TISSUES, *previous.shape[2:]) if tissues is None else tissues
    return RefineStep(refiner or Refiner(N_TISSUES, 4, 1), previous, tissues, tissues, real, real_tissues, margin)


def test_self_regularisation_leaves_speckle_free_but_not_levels():
    previous = 0.2 + 0.6 * torch.rand(1, 1, 8, 8)
    blocks = previous.reshape(1, 1, 2, 4, 2, 4)
    shuffled = blocks.flip(3, 5).reshape(1, 1, 8, 8)  # within blocks of 4x4
    step = refine_step(previous, previous, refiner=lambda previous, conditions: shuffled)
    assert self_regularisation(step, 4) == pytest.approx(0, abs=1e-6) and self_regularisation(step, 2) > 0.01
    step = refine_step(previous, previous, refiner=lambda previous, conditions: previous + 0.1)
    assert self_regularisation(step, 4) == pytest.approx(0.1, abs=1e-6)


def test_refined_frames_are_computed_once_until_parameters_change():
    calls = []
    step = refine_step(*torch.rand(2, 1, 1, 8, 8), refiner=lambda previous, conditions: calls.append(1) or previous)
    step.refined(), step.judged(fake=True), step.refined()
    assert len(calls) == 1
    step.forget()
    step.refined()
    assert len(calls) == 2


def test_intensity_distance_is_by_tissue_and_regardless_of_place():
    tissue_ids = torch.full((1, 8, 8), LUMEN)
    tissue_ids[:, 4:] = MEDIA
    tissues, previous = one_hot(tissue_ids), 0.1 + 0.5 * torch.rand(1, 1, 8, 8)
    mirrored = previous.flip(3)
    assert intensity_distance(refine_step(previous, mirrored, tissues, tissues)).item() == pytest.approx(0, abs=1e-6)
    other = mirrored.clone()
    other[:, :, 4:] += 0.3  # the media alone: the mean over both tissues is half of 0.3 squared
    step = refine_step(previous, other, tissues, tissues)
    assert intensity_distance(step).item() == pytest.approx(0.045, abs=1e-4)
    intensity_distance(step).backward()
    assert step.refiner.last.inner.weight.grad.abs().max() > 0
    assert intensity_distance(refine_step(previous, other, tissues, tissues * 0)) == 0  # none in common


def test_the_discriminator_sees_tissues_only_of_pairs_and_no_margins():
    previous, real = torch.rand(2, 1, 16, 8), torch.rand(2, 1, 16, 8)
    tissues = torch.ones(2, N_TISSUES, 16, 8)
    alone = refine_step(previous, real, tissues)
    assert alone.judged(fake=True).shape == alone.judged(fake=False).shape == (2, 2, 16, 8)
    paired = refine_step(previous, real, tissues, tissues, margin=4)
    assert paired.judged(fake=True).shape == paired.judged(fake=False).shape == (2, 2 + N_TISSUES, 8, 8)
    torch.testing.assert_close(paired.judged(fake=False)[:, :1], 2 * real[:, :, 4:12] - 1)


def test_rotation_keeps_images_aligned():
    image = torch.arange(2 * 16.0 * 4).reshape(2, 1, 16, 4)
    seen = set()
    for _ in range(12):
        a, b = networks.random_rotation(image, 2 * image, n_lines=8)
        assert a.shape == (2, 1, 8, 4) and (b == 2 * a).all()
        seen.add(float(a[0, 0, 0, 0]))
    assert len(seen) > 3


# --- what training does
def test_each_stage_lowers_the_divergence_on_held_out_pairs(trained, pairs):
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
        assert frames[maps == LUMEN].mean() + 0.1 < frames[maps == ADVENTITIA].mean()


def test_speckle_depends_on_the_seed_alone(trained, pairs):
    maps = pairs[0][20:22]
    a, b, c = (trained.simulate(maps, random_state=seed) for seed in (0, 0, 1))
    assert (a == b).all() and (a != c).mean() > 0.9
    assert a.shape == maps.shape and a.dtype == np.float32 and a.min() >= 0 and a.max() <= 1
    one = trained.simulate(maps[:1], random_state=0)
    np.testing.assert_allclose(one, a[:1], atol=1e-6)


def test_self_regularisation_keeps_stage_2_near_stage_1(pairs):
    settings = TINY | {"steps": (3, 25), "ema_decay": 0.0, "learning_rate": 3e-3}
    moved = []
    for weight in (0.0, 50.0):
        estimator = TwoStageSimulator(**settings, self_regularisation_weight=(0.1, weight)).fit(
            pairs[0][:8], pairs[1][:8]
        )
        first, second = (estimator.simulate(pairs[0][20:], s, random_state=0) for s in (1, 2))
        pooled = [ultrasound.resize(f, 8, 8) for f in (first, second)]
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
        assert {f"{stage}/self_regularisation", f"{stage}/discriminator", f"{stage}/generator"} <= names
    steps = [row["step"] for row in tiny.history_]
    assert steps == sorted(steps) and steps[-1] == tiny.n_steps_ == 6 and tiny.training_seconds_ > 0


def test_frames_need_not_belong_to_maps(pairs):
    estimator = TwoStageSimulator(**TINY | {"paired": False}).fit(pairs[0][:6], ultrasound.resize(pairs[1][8:], 16, 64))
    assert estimator.simulate(pairs[0][:2]).shape == (2, 32, 32)


def test_cartesian_frames_are_discs_of_the_maps_size():
    maps = ultrasound.make_phantoms(5, 45, random_state=0)
    frames = ultrasound.to_cartesian(ultrasound.simulate_rich(ultrasound.to_polar(maps, 32, interpolate=False), 0), 45)
    estimator = TwoStageSimulator(**TINY | {"geometry": "cartesian"}).fit(maps, np.rint(255 * frames).astype(np.uint8))
    for stage in (0, 1, 2):
        made = estimator.simulate(maps, stage, random_state=0)
        assert made.shape == (5, 45, 45) and (made[maps == OUTSIDE] == 0).all() and made.mean() > 0.1
    assert estimator.resample(frames).shape == (5, 45, 45)


def test_one_number_holds_for_both_stages(tiny, pairs):
    estimator = TwoStageSimulator(**TINY | {"steps": 3, "batch_size": 4}).fit(pairs[0][:8], pairs[1][:8])
    assert (weights(estimator) == weights(tiny)).all()


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
    with pytest.raises(InputError, match="none.safetensors"):
        TwoStageSimulator.load(tmp_path / "none.safetensors")
    tiny.save(tmp_path / "m.safetensors")
    (tmp_path / "m.safetensors").write_bytes((tmp_path / "m.safetensors").read_bytes()[:500])
    with pytest.raises(InputError):
        TwoStageSimulator.load(tmp_path / "m.safetensors")
    odd = clone(tiny).set_params(divergence=LeastSquares())
    odd.networks_, odd.seed_ = tiny.networks_, 0
    with pytest.raises(InputError, match="divergence: expected a name or number"):
        odd.save(tmp_path / "o.safetensors")


# --- bad input
BAD_FITS = {
    "unknown tissues": (lambda m, f: (m + 8, f), {}, "expected tissue ids 0 outside"),
    "maps that are no ids": (lambda m, f: (f, f), {}, "of whole numbers"),
    "another size": (lambda m, f: (m, f[:, :16]), {}, "32x32 pixels, got 16x32"),
    "another number": (lambda m, f: (m, f[:3]), {}, "8 maps and 3 frames"),
    "not in [0, 1]": (lambda m, f: (m, 300 * f), {}, r"in \[0, 1\]"),
    "one pair": (lambda m, f: (m[:1], f[:1]), {}, "at least 2 maps"),
    "sizes that do not fit": (lambda m, f: (m, f), {"size": 40}, "multiple of low_size=16"),
    "not square": (lambda m, f: (m[:, :16], f[:, :16]), {"geometry": "cartesian"}, "set geometry='polar'"),
    "unknown loss": (lambda m, f: (m, f), {"divergence": "gam"}, "divergence"),
    "no steps": (lambda m, f: (m, f), {"steps": 0}, "steps: expected a number greater than or equal to 1, got 0"),
    "no steps of stage II": (
        lambda m, f: (m, f),
        {"steps": (5, 0)},
        r"steps: expected a number greater than or equal to 1, got \(5, 0\)",
    ),
    "three batch sizes": (
        lambda m, f: (m, f),
        {"batch_size": (4, 4, 4)},
        "one number, or two for stage I and stage II",
    ),
}


@pytest.mark.parametrize("case", BAD_FITS)
def test_bad_fits_are_one_line_errors(case, pairs):
    spoil, parameters, message = BAD_FITS[case]
    with pytest.raises(InputError, match=message) as caught:
        TwoStageSimulator(**TINY | parameters).fit(*spoil(pairs[0][:8], pairs[1][:8]))
    assert "\n" not in str(caught.value)


def test_only_stage_0_can_do_without_a_fit(tiny, pairs):
    fresh = TwoStageSimulator(geometry="polar", size=32, low_size=16)
    assert fresh.simulate(pairs[0][:1], stage=0).shape == (1, 32, 32)
    with pytest.raises(NotFittedError):
        fresh.simulate(pairs[0][:1])
    with pytest.raises(InputError, match="expected stage 0, 1 or 2, got 3"):
        tiny.simulate(pairs[0][:1], stage=3)
    with pytest.raises(InputError, match="calcium, got 9"):
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
        "--config", folder / "tiny.yaml", "--steps", "2,3", "--log", folder / "log.json", "--quiet",
    )  # fmt: skip
    return folder


def run_command(*arguments, code=0):
    with pytest.raises(SystemExit) as stop:
        cli.main([str(a) for a in arguments])
    assert stop.value.code == code


@pytest.fixture
def aae(capsys):
    """Run a command; return its standard output, or its one line of error."""

    def command(*arguments, wrong=False):
        capsys.readouterr()
        run_command(*arguments, code=2 if wrong else 0)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        if wrong:
            assert len(captured.err.splitlines()) == 1, captured.err
        return captured.err if wrong else captured.out

    return command


def test_phantoms_come_in_pairs_that_can_be_read(folder):
    images = ultrasound.read_folders(folder / "arteries" / "maps", folder / "arteries" / "frames")
    assert images.maps.shape == images.frames.shape == (10, 32, 32) and images.map_names == images.frame_names
    tissue_ids = json.loads((folder / "arteries" / "tissues.json").read_text())
    assert tissue_ids["calcium"] == CALCIUM
    lumen, outer = (images.frames[images.maps == k].mean() for k in (LUMEN, ADVENTITIA))
    assert lumen < outer


def test_a_run_records_all_results(folder):
    run = folder / "run"
    results = json.loads((run / "results.json").read_text())
    assert results["training"]["maps"] == 8 and results["training"]["steps"] == 5
    assert len(results["test"]["files"]) == 2 and list(results["test"]["divergences_32"]) == list(STAGES)
    assert list(results["test"]["divergences_16"]) == list(STAGES[:2])
    assert yaml.safe_load((run / "config.yaml").read_text())["steps"] == [2, 3]
    assert {p.stem for p in (run / "figures").iterdir()} == {"strip", "intensities", "divergences", "curves", "turing"}
    assert "Jensen-Shannon divergence" in (run / "report.html").read_text()
    log = json.loads((folder / "log.json").read_text())
    assert (
        log["results"] == results
        and log["configuration"]["steps"] == [2, 3]
        and "--steps 2,3" in log["command"]
        and str(folder) not in log["command"]
    )


def test_a_run_is_evaluated_on_held_out_pairs(folder):
    run, maps = folder / "run", folder / "arteries" / "maps"
    images = ultrasound.read_folders(maps, folder / "arteries" / "frames")
    results = json.loads((run / "results.json").read_text())
    held_out = np.array([name in results["test"]["files"] for name in images.map_names])
    estimator = TwoStageSimulator.load(run / "model.safetensors")
    assert estimator.divergences(images.maps[held_out], images.frames[held_out]) == results["test"]["divergences_32"]
    again = clone(estimator).fit(images.maps[~held_out], images.frames[~held_out])
    assert (weights(again) == weights(estimator)).all()


@pytest.mark.parametrize("stage", [0, 2])
def test_apply_makes_a_frame_of_each_map(folder, aae, tmp_path, stage):
    out = aae("simulate", "apply", folder / "run", folder / "arteries" / "maps", "--out", tmp_path, "--stage", stage)
    assert out == f"wrote 10 frames to {tmp_path}\n"
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
    stored = ultrasound.read_folders(arteries / "maps", arteries / "frames").frames
    for pair, side in real.items():  # the side of the key is a real frame as it was, the other one is not
        frames = {s: np.asarray(Image.open(out / f"{pair}-{s}.png")) for s in "ab"}
        is_real = {s: (np.abs(stored.astype(int) - f) <= 1).all((1, 2)).any() for s, f in frames.items()}
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
    assert "one of the simulator" in aae(command, folder / "run", wrong=True)


def test_help_shows_every_parameter(aae, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    out = aae("simulate", "train", "--help")
    assert all(f"--{name.replace('_', '-')}" in out for name in TINY) and "--test-share" in out
    assert [
        line for line in ("phantoms", "train", "apply", "pairs", "score") if line not in aae("simulate", "-h")
    ] == []


def blacked(folder, value, size=(32, 32)):
    Image.fromarray(np.full(size, value, np.uint8)).save(folder / "0003.png")


WRONG = {
    "unknown tissue": (lambda m, f: blacked(m, 77), (), "maps/0003.png: expected tissue ids 0 outside"),
    "another size": (
        lambda m, f: blacked(f, 7, (16, 32)),
        (),
        "0003.png: expected a frame of the tissue map's size, 32x32 pixels, got 16x32",
    ),
    "no partner": (lambda m, f: (f / "0003.png").unlink(), (), "--no-paired"),
    "no such option": (lambda m, f: None, ("--stepz", 3), "--steps"),
    "not a number": (lambda m, f: None, ("--steps", "many"), "steps"),
    "not two numbers": (lambda m, f: None, ("--steps", "3,x"), "steps"),
    "three numbers": (lambda m, f: None, ("--steps", "1,2,3"), "one number, or two for stage I and stage II"),
    "sizes that do not fit": (lambda m, f: None, ("--size", 64, "--low-size", 40), "multiple of low_size"),
    "strips too narrow": (lambda m, f: None, ("--lines", 4), "lines"),
    "no pairs left": (lambda m, f: None, ("--test-share", 0.75), "1 and 1 (and 3 held-out pairs)"),
    "a run that is there": (lambda m, f: None, ("--out", "."), "a path that exists"),
    "no such file": (lambda m, f: None, ("--config", "none.yaml"), "expected a YAML file that can be read"),
}


@pytest.mark.parametrize("case", WRONG)
def test_mistakes_are_one_line_errors(case, aae, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spoil, options, message = WRONG[case]
    maps = ultrasound.make_phantoms(4, 32, geometry="polar", random_state=0)
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
    assert "did you mean 'polar'" in aae("simulate", "phantoms", tmp_path / "p", "--geometry", "polr", wrong=True)
    assert "no model.safetensors" in aae("simulate", "apply", tmp_path, maps, "--out", tmp_path / "o", wrong=True)
    assert "overwritten" in aae("simulate", "apply", folder / "run", maps, "--out", maps, wrong=True)
    frames = folder / "arteries" / "frames"
    say = aae("simulate", "pairs", folder / "run", maps, frames, "--out", tmp_path / "v", "--n", 11, wrong=True)
    assert "at most 10" in say


def test_the_protocol_evaluates_every_stage_on_held_out_pairs(monkeypatch):
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
