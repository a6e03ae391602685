"""The command line, `aae`: one file per group of commands."""

from collections.abc import Sequence
from typing import NoReturn


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit; mistakes are told in one line each, with exit code 2."""
    from aaekit.cli.app import main as run

    run(arguments)
