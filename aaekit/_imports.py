"""Modules that take seconds to import, such as those that need torch."""

import gc
import importlib
from types import ModuleType

__all__ = ["load"]


def load(name: str) -> ModuleType:
    """Import a module without garbage collection, which finds none: what an import makes stays, and is much."""
    collects = gc.isenabled()
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        if collects:
            gc.enable()
