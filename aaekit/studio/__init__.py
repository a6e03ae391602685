"""The studio: a run in the browser. One server on this machine, one page, one room for each thing to do."""

from pathlib import Path

from aaekit._extras import require

require("fastapi", extra="studio")
require("uvicorn", extra="studio")

__all__ = ["STATIC"]

STATIC: Path = Path(__file__).parent / "static"  # the files of the page
