"""The command line, `aae`: one file per group of commands."""

import sys
from collections.abc import Sequence
from typing import NoReturn


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit; errors are printed in one line each, with exit code 2."""
    from aaekit._extras import require
    from aaekit.errors import InputError

    try:
        for package in ("typer", "rich", "yaml"):
            require(package, extra="cli")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    from aaekit.cli.app import main as run

    run(arguments)
