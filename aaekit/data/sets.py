"""The named sets: one entry each, and how their files are located or downloaded."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aaekit._extras import require
from aaekit._files import cannot_write, user_cache
from aaekit.data.fonts import read_fonts
from aaekit.data.formats import (
    Arrays,
    content,
    read_breast_cancer,
    read_digits,
    read_idx_set,
    read_svhn,
    read_usps,
    read_wine,
)
from aaekit.data.suite import Fields, read_arrays, read_medical, read_penguins, read_photographs, read_tables
from aaekit.encoders import Encoder
from aaekit.errors import InputError, nearest


@dataclass(frozen=True)
class RemoteFile:
    """One file of a set: its name, published checksum, URLs, and the checksum of its decompressed content.

    Without a published checksum (`md5` is empty), the file is used as it is.
    """

    name: str
    md5: str
    urls: tuple[str, ...]
    content_md5: str = ""


@dataclass(frozen=True)
class NamedSet:
    """One named set; `read(paths, **options)` returns X, y, X_test, y_test, or the fields of a `Dataset`."""

    summary: str
    source: str
    classes: tuple[str, ...]
    read: Callable[..., Arrays | Fields]
    files: tuple[RemoteFile, ...] = ()
    megabytes: int = 0
    published: tuple[RemoteFile, ...] = ()  # the whole set, read in place of `files` where those are missing
    home: str = ""  # where its owners publish it, if it cannot be downloaded

    @property
    def options(self) -> tuple[str, ...]:
        """The names of the options that `read` takes."""
        return tuple(name for name in tuple(signature(self.read).parameters)[1:] if name != "encoder")

    @property
    def encodes_files(self) -> bool:
        """Whether `read` makes features of its files by an `encoder`."""
        return "encoder" in signature(self.read).parameters


DIGITS = tuple("0123456789")
IDX_NAMES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


def _archived(url: str) -> str:
    """Return the URL of the Internet Archive's copy of `url`, byte for byte (`id_`)."""
    return f"https://web.archive.org/web/2022id_/{url}"


def _files(names: tuple[str, ...], mirrors: tuple[str, ...], md5: str, content_md5: str = "") -> tuple[RemoteFile, ...]:
    """Return files with their checksums (words of a string); each mirror serves all of them."""
    contents = content_md5.split() or [""] * len(names)
    return tuple(
        RemoteFile(name, digest, tuple(mirror + name for mirror in mirrors), unpacked)
        for name, digest, unpacked in zip(names, md5.split(), contents, strict=True)
    )


CODH = "codh.rois.ac.jp/kmnist/dataset/kmnist/"
LIBSVM = "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/"
GITHUB = "https://raw.githubusercontent.com/"
SEABORN = f"{GITHUB}mwaskom/seaborn-data/"
HOUSENUMBERS = "http://ufldl.stanford.edu/housenumbers/"


def _of_uci(name: str, target: str, number: int, **facts: Any) -> NamedSet:
    """A set of the UCI repository whose training and test rows are two tables."""
    return NamedSet(
        read=lambda paths: read_tables(paths, target),
        files=tuple(RemoteFile(f"{name}-{part}.csv.gz", "", ()) for part in ("train", "test")),
        home=f"https://archive.ics.uci.edu/dataset/{number}",
        **facts,
    )


def _banking(name: str) -> tuple[str, ...]:
    """Return the URLs of a file of BANKING77: the newest version, and the one that was checked."""
    commits = ("master", "57ec275d8078af65b7731c2a98be812d844a6d6b")
    return tuple(f"{GITHUB}PolyAI-LDN/task-specific-datasets/{commit}/banking_data/{name}" for commit in commits)


def _read_hand_signs(paths: list[Path], *, test_random_state: int = 0, encoder: Encoder | None = None) -> Fields:
    """Read the hand signs in colour, 64x64; with `encoder` beside their features."""
    return read_photographs(paths, (3, 64, 64), test_random_state, encoder)


def _read_steel(paths: list[Path], *, test_random_state: int = 0, encoder: Encoder | None = None) -> Fields:
    """Read the surfaces of steel in grey, 64x64; with `encoder` beside their features."""
    return read_photographs(paths, (1, 64, 64), test_random_state, encoder)


SETS: dict[str, NamedSet] = {
    "digits": NamedSet(
        summary="1,797 handwritten digits, 8x8, embedded in scikit-learn; 500 held out",
        source="Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998 (scikit-learn's copy)",
        classes=DIGITS,
        read=read_digits,
    ),
    "fonts": NamedSet(
        summary="24,000 printed digits in 21 typefaces, 28x28, drawn when loaded; 4,000 of them test",
        source="drawn from the typefaces DejaVu, STIX and Computer Modern that come with matplotlib",
        classes=DIGITS,
        read=read_fonts,
    ),
    "mnist": NamedSet(
        summary="70,000 handwritten digits, 28x28; 10,000 of them test",
        source="LeCun, Cortes and Burges, The MNIST database of handwritten digits",
        classes=DIGITS,
        read=read_idx_set,
        files=_files(
            IDX_NAMES,
            ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
            "f68b3c2dcbeaaa9fbdd348bbdeb94873 d53e105ee54ea40749a09fcbcd1e9432 "
            "9fb629c4189551a2d022fa330f9573f3 ec29112dd5afa0611ce80d1b7f02629c",
            "6bbc9ace898e44ae57da46a324031adb a25bea736e30d166cdddb491f175f624 "
            "2646ac647ad5339dbf082846283269ea 27ae3e4e09519cfbb04c329615203637",
        ),
        megabytes=12,
    ),
    "fashion-mnist": NamedSet(
        summary="70,000 articles of clothing, 28x28; 10,000 of them test",
        source="Xiao, Rasul and Vollgraf, Fashion-MNIST, arXiv:1708.07747",
        classes=(
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
        read=read_idx_set,
        files=_files(
            IDX_NAMES,
            (
                "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            ),
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d 25c81989df183df01b3e8a0aad5dffbe "
            "bef4ecab320f06d8554ea6380940ec79 bb300cfdad3c16e7a12a480ee83cd310",
            "f4a8712d7a061bf5bd6d2ca38dc4d50a 9018921c3c673c538a1fc5bad174d6f9 "
            "8181f5470baa50b63fa0f6fddb340f0a 15d484375f8d13e6eb1aabb0c3f46965",
        ),
        megabytes=31,
    ),
    "kmnist": NamedSet(
        summary="70,000 cursive Japanese characters, 28x28; 10,000 of them test",
        source="Clanuwat et al., Deep Learning for Classical Japanese Literature, arXiv:1812.01718",
        classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        read=read_idx_set,
        files=_files(
            IDX_NAMES,
            (f"https://{CODH}", f"http://{CODH}", _archived(f"http://{CODH}")),
            "bdb82020997e1d708af4cf47b453dcf7 e144d726b3acfaa3e44228e80efcd344 "
            "5c965bf0a639b31b8f53240b1b52f4d7 7320c461ea6c1c855c0b718fb2a4b134",
        ),
        megabytes=21,
    ),
    "usps": NamedSet(
        summary="9,298 handwritten digits from envelopes, 16x16; 2,007 of them test",
        source="Hull, A Database for Handwritten Text Recognition Research, PAMI 16(5), 1994 (LIBSVM's copy)",
        classes=DIGITS,
        read=read_usps,
        files=_files(
            ("usps.bz2", "usps.t.bz2"),
            (LIBSVM, _archived(LIBSVM)),
            "ec16c51db3855ca6c91edd34d0e9b197 8ea070ee2aca1ac39742fdd1ef5ed118",
        ),
        megabytes=8,
    ),
    "svhn": NamedSet(
        summary="99,289 house-number digits from street views, 3x32x32; 26,032 of them test",
        source="Netzer et al., Reading Digits in Natural Images with Unsupervised Feature Learning, NIPS workshop 2011",
        classes=DIGITS,
        read=read_svhn,
        files=_files(
            ("train_32x32.mat", "test_32x32.mat"),
            (HOUSENUMBERS, _archived(HOUSENUMBERS)),
            "e26dedcc434d2e4c54c9b2d4a06d8373 eb5a983be6a315427106f1b164d9cef3",
        ),
        megabytes=246,
    ),
    "wine": NamedSet(
        summary="table: 178 wines, 13 measurements, embedded in scikit-learn; 60 held out",
        source="Aeberhard and Forina, Wine, UCI, 1992 (scikit-learn's copy)",
        classes=("class 0", "class 1", "class 2"),
        read=read_wine,
    ),
    "breast-cancer": NamedSet(
        summary="table: 569 tumours, 30 measurements, embedded in scikit-learn; 190 held out",
        source="Wolberg, Mangasarian, Street and Street, Breast Cancer Wisconsin (Diagnostic), UCI, 1995 "
        "(scikit-learn's copy)",
        classes=("malignant", "benign"),
        read=read_breast_cancer,
    ),
    "mushroom": _of_uci(
        "mushroom",
        target="class",
        number=73,
        summary="table: 8,124 mushrooms, 22 columns of texts; 2,500 held out",
        source="Schlimmer, Mushroom, UCI, 1987",
        classes=("e", "p"),
    ),
    "adult": _of_uci(
        "adult",
        target="class",
        number=2,
        summary="table: 15,000 people of a census, numbers and texts; 5,000 held out",
        source="Becker and Kohavi, Adult, UCI, 1996",
        classes=("<=50K", ">50K"),
    ),
    "spam": _of_uci(
        "spam",
        target="type",
        number=94,
        summary="table: 4,601 e-mails, 57 frequencies of words and characters",
        source="Hopkins, Reeber, Forman and Suermondt, Spambase, UCI, 1999",
        classes=("0", "1"),  # 1: spam
    ),
    "drybean": _of_uci(
        "drybean",
        target="Class",
        number=602,
        summary="table: 13,611 beans, 16 measurements of their shape",
        source="Koklu and Ozkan, Dry Bean, UCI, 2020",
        classes=("BARBUNYA", "BOMBAY", "CALI", "DERMASON", "HOROZ", "SEKER", "SIRA"),
    ),
    "cnae": _of_uci(
        "cnae",
        target="X1",
        number=233,
        summary="table: 1,080 descriptions of companies, counts of 856 words; 360 held out",
        source="Ciarelli and Oliveira, CNAE-9, UCI, 2009",
        classes=tuple("123456789"),
    ),
    "penguins": NamedSet(
        summary="table: 344 penguins, numbers and texts, some cells empty; 100 held out",
        source="Horst, Hill and Gorman, palmerpenguins, 2020",
        classes=("Adelie", "Chinstrap", "Gentoo"),
        read=read_penguins,
        files=_files(
            ("penguins.csv",),
            (f"{SEABORN}master/", f"{SEABORN}71e2436a092d714350de0fc409ca8a8714e7e78f/"),
            "fe476a8c016f86659acb9e58ae98f4a9",
        ),
    ),
    "intents": NamedSet(
        summary="table: 13,083 questions of bank customers, one column of text, 77 classes; 3,080 held out",
        source="Casanueva et al., Efficient Intent Detection with Dual Sentence Encoders (BANKING77), arXiv:2003.04807",
        classes=(),
        read=lambda paths: read_tables(paths, "category"),
        files=(
            RemoteFile("intents-train.csv", "cec64185f4197906aabce0781ef9a19b", _banking("train.csv")),
            RemoteFile("intents-test.csv", "8dcd9dc31b686c75ec1f24bf23c140cb", _banking("test.csv")),
        ),
        megabytes=1,
    ),
    "intents-minilm": NamedSet(
        summary="table: the same questions as 384 numbers each, by the sentence encoder all-MiniLM-L6-v2",
        source="Casanueva et al., Efficient Intent Detection with Dual Sentence Encoders (BANKING77), arXiv:2003.04807",
        classes=(),
        read=read_arrays,
        files=(RemoteFile("intents-minilm.npz", "", ()),),
        home="https://github.com/PolyAI-LDN/task-specific-datasets",
    ),
    "power": NamedSet(
        summary="table: 1,096 days of electricity in Italy, 24 hours each; 396 held out",
        source="Keogh et al., ItalyPowerDemand, UCR Time Series Classification Archive",
        classes=("0", "1"),
        read=read_arrays,
        files=(RemoteFile("power.npz", "", ()),),
        home="https://www.timeseriesclassification.com",
    ),
    "chest": NamedSet(
        summary="chest X-rays of children with and without pneumonia, 28x28: 4,708, and 624 test",
        source="Yang et al., MedMNIST v2 (PneumoniaMNIST), Scientific Data 10, 2023",
        classes=("normal", "pneumonia"),
        read=read_medical,
        files=(RemoteFile("chest.npz", "", ()),),
        published=_files(
            ("pneumoniamnist.npz",),
            ("https://zenodo.org/records/10519652/files/", "https://zenodo.org/records/6496656/files/"),
            "28209eda62fecd6e6a2d98b1501bb15f",
        ),
        megabytes=4,
    ),
    "hand-signs": NamedSet(
        summary="2,062 photographs of hands that show the digits, 3x64x64; 50 of each held out",
        source="Mavi, A New Dataset and Proposed Convolutional Neural Network Architecture for Classification of "
        "American Sign Language Digits, arXiv:2011.08927",
        classes=DIGITS,
        read=_read_hand_signs,
        files=(RemoteFile("hand-signs.tar", "", ()),),
        home="https://github.com/ardamavi/Sign-Language-Digits-Dataset",
    ),
    "steel": NamedSet(
        summary="900 photographs of defects of steel, six kinds, 64x64; 50 of each held out",
        source="Song and Yan, A Noise Robust Method Based on Completed Local Binary Patterns for Hot-Rolled Steel "
        "Strip Surface Defects (NEU-DET), Applied Surface Science 285, 2013",
        classes=("crazing", "inclusion", "patches", "pitted_surface", "rolled-in_scale", "scratches"),
        read=_read_steel,
        files=(RemoteFile("steel.tar", "", ()),),
        home="http://faculty.neu.edu.cn/songkechen",
    ),
}


def names() -> tuple[str, ...]:
    """Return the names of the named sets."""
    return tuple(SETS)


def find(name: str) -> NamedSet:
    """Return the named set called `name`."""
    if name not in SETS:
        raise InputError(
            f"expected one of the data sets {', '.join(SETS)}, the path of a .npz, .npy, .csv or .tsv file or of a "
            f"folder of images, or several of these joined by '+', got {name!r}{nearest(name, SETS)}"
        )
    return SETS[name]


def data_folder(data_dir: str | Path | None = None) -> Path:
    """Return the folder of the named sets: the argument, else the variable AAE_DATA_DIR, else the user's cache."""
    chosen = chosen_folder(data_dir)
    return Path(chosen) if chosen else user_cache()


def chosen_folder(data_dir: str | Path | None = None) -> str | None:
    """Return the absolute path that the argument, or else the variable AAE_DATA_DIR, has chosen; None without both."""
    chosen = data_dir or os.environ.get("AAE_DATA_DIR")
    return str(Path(chosen).expanduser().absolute()) if chosen else None


def info(name: str, data_dir: str | Path | None = None) -> dict[str, Any]:
    """Return facts about a named set and its files; nothing is downloaded or written.

    Parameters
    ----------
    name : str
        One of `names()`, or several joined by "+".
    data_dir : str or Path, optional
        As in `load`.

    Returns
    -------
    dict
        ``name``, ``summary``, ``source``, ``classes``, ``megabytes`` (to download), ``folder``, ``present`` (whether
        all files are present and whole), and ``files``: for each its ``name``, ``state`` ("present", "missing" or
        "damaged"), ``path``, ``bytes`` and ``urls``.

    Raises
    ------
    InputError
        If there is no such set.
    """
    if "+" in name:
        return _joined_info(name, [info(part, data_dir) for part in name.split("+")])
    entry, folder = find(name), data_folder(data_dir)
    files = []
    for file in _files_of(name, folder):
        try:
            path = locate(name, file, folder)
            state = "present" if path else "missing"
        except InputError:
            path, state = next(p for p in _candidates(name, file, folder) if p.is_file()), "damaged"
        size = path.stat().st_size if path else None
        files.append({"name": file.name, "state": state, "path": path, "bytes": size, "urls": file.urls})
    return {
        "name": name,
        "summary": entry.summary,
        "source": entry.source,
        "classes": entry.classes,
        "megabytes": entry.megabytes,
        "folder": folder,
        "present": all(file["state"] == "present" for file in files),
        "files": files,
    }


def _joined_info(name: str, parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Combine the facts of several sets."""
    return parts[0] | {
        "name": name,
        "summary": "joined, a domain each: " + "; ".join(part["summary"] for part in parts),
        "source": "; ".join(part["source"] for part in parts),
        "megabytes": sum(part["megabytes"] for part in parts),
        "present": all(part["present"] for part in parts),
        "files": [file for part in parts for file in part["files"]],
    }


def paths_of(name: str, data_dir: str | Path | None, download: bool) -> list[Path]:
    """Return the checked files of a set, after downloading missing ones if `download`."""
    entry, folder = find(name), data_folder(data_dir)
    files = _files_of(name, folder)
    paths = [locate(name, file, folder) for file in files]
    missing = [file for file, path in zip(files, paths, strict=True) if path is None]
    if missing and not (download and all(file.urls for file in missing)):
        remedy = "allow the download, or " if all(file.urls for file in missing) else ""
        origin = f", made from {entry.home}" if entry.home else ""
        raise InputError(
            f"{name}: expected {', '.join(file.name for file in missing)} in {folder / name} or {folder}, got none: "
            f"{remedy}name the folder that has them{origin}, by --data-dir or AAE_DATA_DIR"
        )
    downloaded = iter(_download_all(missing, folder / name) if missing else ())
    return [path or next(downloaded) for path in paths]


def _files_of(name: str, folder: Path) -> tuple[RemoteFile, ...]:
    """Return the files of a set that are there, else those that can be downloaded."""
    entry = find(name)
    prepared = all(any(p.is_file() for p in _candidates(name, file, folder)) for file in entry.files)
    return entry.files if prepared or not entry.published else entry.published


def _candidates(name: str, file: RemoteFile, folder: Path) -> tuple[Path, ...]:
    """Return the paths that `file` may have, in the order in which they are tried."""
    return folder / name / file.name, folder / file.name, folder / "suite" / file.name


def locate(name: str, file: RemoteFile, folder: Path) -> Path | None:
    """Return the path of `file`, None if it is missing; a file with other content than the published one is refused."""
    for path in _candidates(name, file, folder):
        if not path.is_file():
            continue
        if not file.md5:
            return path
        md5 = _md5(path)
        if md5 == file.md5 or (file.content_md5 and _content_md5(path) == file.content_md5):
            return path
        if path.parent == folder and _belongs_elsewhere(name, path, md5):
            continue
        raise InputError(
            f"{path}: expected checksum md5:{file.md5}, got md5:{md5} of a damaged, truncated or other file: "
            "delete it to download it again"
        )
    return None


def _md5(path: Path) -> str:
    """Return the MD5 of a file."""
    try:
        with open(path, "rb") as handle:
            return hashlib.file_digest(handle, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise InputError(
            f"{path}: expected a file that can be read, got ({error.strerror or error}): check its permissions"
        ) from error


def _content_md5(path: Path) -> str:
    """Return the MD5 of a file's decompressed content, which compressing it again does not change."""
    try:
        return hashlib.md5(content(path), usedforsecurity=False).hexdigest()
    except InputError:
        return ""


def _belongs_elsewhere(name: str, path: Path, md5: str) -> bool:
    """Return whether a file belongs to another set: MNIST and similar sets share their file names."""
    files = [file for other, entry in SETS.items() if other != name for file in entry.files if file.name == path.name]
    content_md5 = _content_md5(path) if any(file.content_md5 for file in files) else ""
    return any(md5 == file.md5 or (content_md5 and content_md5 == file.content_md5) for file in files)


def _download_all(files: list[RemoteFile], folder: Path) -> list[Path]:
    """Download files, with a progress bar each if rich is installed and standard error is a terminal."""
    require("pooch", extra="data")
    names = ", ".join(file.name for file in files)
    try:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
    except ImportError:
        return [_download(file, folder, None, names) for file in files]
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        return [_download(file, folder, _Bar(progress, file.name), names) for file in files]


class _Bar:
    """A line of rich's progress display with the interface that pooch requires of a progress bar."""

    total = 0

    def __init__(self, progress: Any, description: str) -> None:
        self.progress, self.task = progress, progress.add_task(description, total=None)

    def __bool__(self) -> bool:
        return True

    def reset(self) -> None:
        self.progress.update(self.task, completed=0)

    def update(self, n: int) -> None:
        self.progress.update(self.task, advance=n, total=self.total or None)

    def close(self) -> None:
        pass


def _download(file: RemoteFile, folder: Path, bar: _Bar | None, names: str) -> Path:
    """Try each mirror in turn; pooch verifies the checksum before it renames the file."""
    import pooch
    from requests.exceptions import RequestException

    pooch.get_logger().setLevel("WARNING")
    # with another Accept-Encoding, a .gz may be decompressed on the way, which changes its checksum
    headers = {"Accept-Encoding": "identity"}
    get: Any = pooch.HTTPDownloader(progressbar=bar or False, chunk_size=2**16, headers=headers)  # pyright: ignore
    failures = []
    for url in file.urls:
        if bar is not None:
            bar.reset()
        try:
            return Path(pooch.retrieve(url, f"md5:{file.md5}", file.name, folder, downloader=get))
        except RequestException as error:  # it is an OSError too: keep this clause before that one
            status = error.response.status_code if error.response is not None else None
            reason = f"HTTP {status}" if status else f"connection failed ({type(error).__name__})"
        except ValueError:
            reason = f"checksum other than md5:{file.md5}"
        except OSError as error:
            raise cannot_write(folder / file.name, error) from error
        failures.append(f"{urlsplit(url).netloc}: {reason}")
    raise InputError(
        f"{folder.name}: expected {file.name} from a mirror, got none ({'; '.join(failures)}): check the connection, "
        f"put {names} into {folder} or {folder.parent}, or name the folder that has them by --data-dir or AAE_DATA_DIR"
    )
