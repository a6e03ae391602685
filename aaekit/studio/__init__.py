"""The studio: a run in the browser. One server on this machine, one page, one room for each thing to do."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aaekit._extras import require

require("fastapi", extra="studio")
require("uvicorn", extra="studio")

if TYPE_CHECKING:
    from aaekit.studio.widget import Widget

__all__ = ["STATIC", "Widget"]

STATIC: Path = Path(__file__).parent / "static"  # the files of the page


def __getattr__(name: str) -> Any:
    """Import the widget when it is used: it needs a further extra."""
    if name == "Widget":
        return importlib.import_module("aaekit.studio.widget").Widget
    raise AttributeError(f"module 'aaekit.studio' has no attribute {name!r}")
