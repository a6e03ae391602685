"""Good files of each category with what reads them, for the mutator to change."""

import functools
import gzip
import io
import json
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.exceptions import ConvergenceWarning

from aaekit import AdversarialAutoencoder, ClusteringAAE, PretrainedClassifier, SemiSupervisedAAE, data
from aaekit.active import ActiveLearner
from aaekit.cli.label import _lines
from aaekit.columns import Schema
from aaekit.core.checkpoints import Checkpoints
from aaekit.data import fingerprint
from aaekit.data.formats import read_idx
from aaekit.data.splits import Split
from aaekit.encoders.huggingface import HuggingFaceImages
from aaekit.errors import ColumnWarning, ImageWarning
from aaekit.estimators._base import Estimator
from aaekit.evaluation import suite
from aaekit.labelling import read_settings
from aaekit.runs.config import completed, configuration
from aaekit.runs.live import last_state
from aaekit.runs.run import Run
from aaekit.ultrasound.turing import score_answers
from reproduction import logs
from tests.hostile.mutate import ends_well


@dataclass(frozen=True)
class Kind:
    """A good file, and what reads it.

    Attributes
    ----------
    path : str
        Of the file below a folder.
    content : bytes
        What it has.
    read : function of the folder
        What a user does with the file.
    beside : dict, optional
        Other files that are read with it.
    is_sealed : bool, default False
        Whether every change must be noticed.
    """

    path: str
    content: bytes
    read: Callable[[Path], object]
    beside: dict[str, bytes] = field(default_factory=dict)
    is_sealed: bool = False

    def place(self, root: Path) -> None:
        """Write the files that are read with it."""
        for path, content in (self.beside | {self.path: self.content}).items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)

    def is_read(self, root: Path, content: bytes) -> bool:
        """Whether it is read with another content, rather than refused in a line; an AssertionError if neither."""
        (root / self.path).write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", ImageWarning)
            warnings.simplefilter("ignore", ColumnWarning)
            return ends_well(lambda: self.read(root))


def _loaded(name: str, content: bytes, **options: object) -> Kind:
    """A file of data."""
    return Kind(name, content, lambda root: data.load(root / name, **options))


# --- images, tables and archives -------------------------------------------------------------------------------------
def _image(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8))
    (image.quantize(16) if kind == "GIF" else image).save(buffer, kind, **options)
    return buffer.getvalue()


@functools.cache
def images() -> dict[str, Kind]:
    """An image of each format."""
    turned = Image.Exif()
    turned[0x0112] = 6
    contents = {
        "a.png": _image("PNG"),
        "a.jpg": _image("JPEG", exif=turned),
        "a.gif": _image("GIF"),
        "a.tif": _image("TIFF", compression="tiff_lzw"),
        "a.bmp": _image("BMP"),
        "a.webp": _image("WEBP"),
        "a.ppm": _image("PPM"),
    }
    return {name: _loaded(name, content, max_pixels=10**6) for name, content in contents.items()}


@functools.cache
def tables() -> dict[str, Kind]:
    """A table of each format, and what people fill in."""
    import pandas as pd

    lines = ["size,colour,day,label"]
    lines += [f"{k / 7:.3f},{('red', 'blue')[k % 2]},2024-01-{k + 1:02d},{'ab'[k % 2]}" for k in range(12)]
    text = "\n".join(lines).encode()
    frame = pd.read_csv(io.BytesIO(text))
    contents = {
        "a.csv": text,
        "a.tsv": text.replace(b",", b"\t"),
        "a.csv.gz": gzip.compress(text),
        "a.jsonl": frame.to_json(orient="records", lines=True).encode(),
    }
    with tempfile.TemporaryDirectory() as folder:
        for suffix in ("xlsx", "parquet", "feather"):
            path = Path(folder) / f"a.{suffix}"
            frame.to_excel(path, index=False) if suffix == "xlsx" else getattr(frame, f"to_{suffix}")(path)
            contents[path.name] = path.read_bytes()
    answers = b"row,label\n" + b"".join(b"%d,'=%d\n" % (k, k % 3) for k in range(9))
    key = json.dumps({"real": {f"{k}.png": "ab"[k % 2] for k in range(4)}}).encode()
    real = b"pair,real\n0.png,a\n1.png,b\n2.png,\n"
    return {name: _loaded(name, content) for name, content in contents.items()} | {
        "questions.csv": Kind("questions.csv", answers, lambda root: _lines(root / "questions.csv")),
        "answers.csv": Kind(
            "answers.csv", real, lambda root: score_answers(root / "answers.csv", root / "key.json"), {"key.json": key}
        ),
        "key.json": Kind(
            "key.json", key, lambda root: score_answers(root / "answers.csv", root / "key.json"), {"answers.csv": real}
        ),
    }


@functools.cache
def archives() -> dict[str, Kind]:
    """Arrays in files."""
    arrays = {"X": np.arange(60, dtype=np.uint8).reshape(5, 12), "y": np.array([0, 1, 0, 1, -1])}
    contents: dict[str, bytes] = {}
    for name, save, content in (
        ("a.npz", np.savez_compressed, arrays),
        ("stored.npz", np.savez, arrays),
        ("a.npy", np.save, {"arr": np.arange(40, dtype=np.float32).reshape(10, 4)}),
    ):
        buffer = io.BytesIO()
        save(buffer, **content)
        contents[name] = buffer.getvalue()
    pixels = gzip.compress(bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, *range(24)]))
    return {name: _loaded(name, content) for name, content in contents.items()} | {
        "a.idx.gz": Kind("a.idx.gz", pixels, lambda root: read_idx(root / "a.idx.gz")),
        "split.npz": Kind("split.npz", run_files()["split.npz"], lambda root: Split.read(root / "split.npz")),
    }


# --- models ----------------------------------------------------------------------------------------------------------
QUICK = {
    "max_steps": 2,
    "hidden": (4,),
    "discriminator_hidden": (4,),
    "batch_size": 20,
    "random_state": 0,
    "precision": "float32",
}
X = np.random.default_rng(0).normal(size=(60, 3)).round(3)
Y = np.where(np.arange(60) < 20, np.arange(60) % 2, -1)
ESTIMATORS = {
    "generator": lambda: AdversarialAutoencoder(**QUICK, backbone="mlp").fit(X),
    "classifier": lambda: SemiSupervisedAAE(**QUICK).fit(X, Y),
    "clusters": lambda: ClusteringAAE(**QUICK, n_clusters=3).fit(X).name_clusters({0: "a", 1: "b"}),
    "pretrained": lambda: PretrainedClassifier(
        autoencoder=AdversarialAutoencoder(**QUICK), **{k: v for k, v in QUICK.items() if k[0] != "d"}
    ).fit(X, Y),
}


@functools.cache
def models() -> dict[str, Kind]:
    """A model of each of several estimators, hardly trained."""
    return {name: Kind("model", saved(name), lambda root: use(root / "model"), is_sealed=True) for name in ESTIMATORS}


@functools.cache
def saved(name: str) -> bytes:
    """The file of a model."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        path = Path(folder) / "model"
        ESTIMATORS[name]().save(path)
        return path.read_bytes()


def use(path: Path) -> Estimator:
    """Load a model, and ask it something; what it then says of the rows is its own affair."""
    model = Estimator.load(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            (model.predict if hasattr(model, "predict") else model.transform)(X)
    except (ValueError, TypeError) as error:
        assert len(str(error).splitlines()) == 1
    return model


# --- settings --------------------------------------------------------------------------------------------------------
OPTIONS = {"data": "digits", "labels": "50", "class_weight": "3=2,7=0.5", "hidden": "8", "max_steps": "4"}
ROWS = [[0.0], [1.0], [2.0]]


def _facts(root: Path) -> None:
    """What a run knows of itself."""
    run = Run.open(root)
    run.class_labels, run.labels, run.shape, run.schema, run.plan, run._plan_settings()


def _conclude(root: Path) -> None:
    """What a suite says of its logs."""
    logs = suite.read_logs(root / "logs")
    suite.lines(logs), suite.short_table(logs)
    for family in suite.FAMILIES:
        suite.table(logs, family)


@functools.cache
def settings() -> dict[str, Kind]:
    """The files of a run, of a session of labelling, and of a suite."""
    of_session = {
        "rows": fingerprint(np.asarray(ROWS)),
        "random_state": 0,
        "labels": [[0, "a"], [2, "b"]],
        "is_taught": False,
        "models": {},
    }
    asked = {"data": "digits", "clusters": 3, "max_steps": None, "random_state": 0, "data_dir": None,
             "data_options": [], "image_shape": [1, 8, 8], "schema": None, "features": None,
             "checksum": ""}  # fmt: skip
    task = {"family": "classes", "data": "digits", "k": 2, "seed": 0, "variant": "", "options": [], "test": None}
    log = {"format": 1, "task": task, "method": "SemiSupervisedAAE", "options": {}, "scores": {"loss": 3.5},
           "seconds": 1.5, "uneven": False, "true": [0, 1, 1], "predicted": [0, 1, 0]}  # fmt: skip
    other = {**log, "method": "logistic regression", "predicted": [1, 0, 0]}
    of_run = {name: content for name, content in run_files().items() if name.count("/") == 0}
    readers: dict[str, Callable[[Path], object]] = {
        "config.yaml": Run.open,
        "data.json": _facts,
        "plan.json": _facts,
        "results.json": lambda root: Run.open(root).results,
        "live/state.json": last_state,
    }
    of_run["live/state.json"] = json.dumps(
        {"state": "training", "what": "", "step": 1, "steps": 4, "epoch": 1, "seconds": 1.5, "left": 4.5}
    ).encode()
    return {name: Kind(name, of_run[name], read, of_run) for name, read in readers.items()} | {
        "session.json": Kind(
            "session.json", json.dumps(of_session).encode(), lambda root: ActiveLearner.load(root, ROWS)
        ),
        "settings.json": Kind("settings.json", json.dumps(asked).encode(), read_settings),
        "log.json": Kind(
            "logs/log.json", json.dumps(log).encode(), _conclude, {"logs/other.json": json.dumps(other).encode()}
        ),
    }


def _checkpointed(root: Path) -> None:
    """What a training that was stopped is resumed from."""
    Checkpoints(root / "checkpoints").starts()


@functools.cache
def descriptions() -> dict[str, Kind]:
    """What other packages say of their files, and logs of experiments."""
    facts = {"size": {"height": 32, "width": 32}, "crop_size": None, "image_mean": [0.5, 0.5, 0.5],
             "image_std": [0.5, 0.5, 0.5], "do_normalize": True}  # fmt: skip
    model = {"vit/config.json": b"{}", "vit/model.safetensors": b""}
    seed = {"seed": 0, "error": 5.0, "history": [{"epoch": 1.0}]}
    log = {"experiment": "wine-15", "title": "wine", "published": None, "target": "<= 5", "measure": "error",
           "seconds": 1.5, "seeds": [seed]}  # fmt: skip
    columns = Schema.of_numbers(np.arange(6.0).reshape(3, 2), ("a", "b")).as_dict()
    return _saved_set() | {
        "preprocessor_config.json": Kind(
            "vit/preprocessor_config.json",
            json.dumps(facts).encode(),
            lambda root: HuggingFaceImages("vit", root / "vit"),
            model,
        ),
        "experiment.json": Kind(
            "wine-15.json", json.dumps(log).encode(), lambda root: logs.table([logs.read(root / "wine-15.json")])
        ),
        "schema.json": Kind("schema.json", json.dumps(columns).encode(), _with_schema),
        "start.json": Kind("checkpoints/start.json", b'{"doubts": [0.5, 0.25]}', _checkpointed),
    }


def _with_schema(root: Path) -> None:
    """An archive whose schema is the text of a file."""
    text = (root / "schema.json").read_bytes().decode("utf-8", "replace").replace("\0", "")
    np.savez(root / "a.npz", X=np.arange(6.0, dtype=np.float32).reshape(3, 2), schema=np.array([text]))
    data.load(root / "a.npz")


def _saved_set() -> dict[str, Kind]:
    """The files of a set that the package datasets saved."""
    import pyarrow as pa

    pictures = [{"bytes": _image("PNG"), "path": None}] * 3
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array(pictures, kind), "label": pa.array([0, 1, None], pa.int64())})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    features = {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    files = {
        "set/dataset_dict.json": b'{"splits": ["train"]}',
        "set/train/dataset_info.json": json.dumps({"features": features}).encode(),
        "set/train/state.json": b'{"_data_files": [{"filename": "data.arrow"}]}',
        "set/train/data.arrow": sink.getvalue(),
    }
    return {
        Path(path).name: Kind(path, content, lambda root: data.load(root / "set"), files)
        for path, content in files.items()
    }


@functools.cache
def run_files() -> dict[str, bytes]:
    """The files of a complete run."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "run"
        Run.create(root, completed("baseline", configuration("baseline", {**OPTIONS, "device": "cpu"}))).train()
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


CATEGORIES = {
    "images": images, "tables": tables, "archives": archives, "models": models, "settings": settings,
    "descriptions": descriptions,
}  # fmt: skip
