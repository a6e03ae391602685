"""Fuzz a reader with inputs that find their way by coverage; needs the package atheris, which is no dependency.

    python -m tests.hostile.fuzz KIND --seconds 60

KIND is a file of `tests.hostile.inputs`, such as a.png. Targets and limits are those of the seeded mutator. An input
that breaks them is written to the folder `--out`, and the exit code is not 0.
"""

import argparse
import importlib.util
import logging
import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

MAX_BYTES = 2**16  # of an input


def fuzz(name: str, seconds: int, folder: Path, out: Path) -> None:
    """Fuzz in this process, which ends with it."""
    import atheris  # pyright: ignore[reportMissingImports]

    with atheris.instrument_imports(include=["aaekit"]):
        from tests.hostile.inputs import CATEGORIES
    logging.disable()  # of Pillow, which says much about damaged images
    kinds = {name: kind for category in CATEGORIES.values() for name, kind in category().items()}
    if name not in kinds:
        print(f"expected a kind, one of {', '.join(kinds)}, got {name!r}", file=sys.stderr)
        os._exit(2)
    kind, corpus = kinds[name], folder / "corpus"
    kind.place(folder / "files")
    assert kind.is_read(folder / "files", kind.content), name
    corpus.mkdir()
    (corpus / "good").write_bytes(kind.content)

    def target(content: bytes) -> None:
        is_read = kind.is_read(folder / "files", content)
        assert not (is_read and kind.is_sealed) or content == kind.content, "read in spite of a change"

    flags = [f"-max_total_time={seconds}", f"-max_len={MAX_BYTES}", f"-artifact_prefix={out}/", "-verbosity=1"]
    atheris.Setup([sys.argv[0], *flags, str(corpus)], target)
    atheris.Fuzz()


def main() -> None:
    """Fuzz a kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", help="a file of tests.hostile.inputs, such as a.png")
    parser.add_argument("--seconds", type=int, default=60, help="how long (default: 60)")
    parser.add_argument("--out", type=Path, default=Path("fuzz"), help="folder for inputs that fail (default: fuzz)")
    arguments = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        parser.error("expected the package atheris, got none: pip install atheris")
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        options = (arguments.kind, arguments.seconds, Path(folder), arguments.out)
        process = multiprocessing.get_context("spawn").Process(target=fuzz, args=options)
        process.start()
        process.join()
    sys.exit(process.exitcode)


if __name__ == "__main__":
    main()
