"""Data: named sets and array files, checks, the array store, and class-balanced splits.

>>> from aaekit import data
>>> digits = data.load("digits")
>>> split = data.split(digits.y, labels=50)

A new named set is one entry in `aaekit.data.sets.SETS`.
"""

from .checks import check_labels, check_rows, fingerprint
from .dataset import Dataset, load, prepare
from .sets import data_folder, info, names
from .splits import Split, split
from .store import as_store, open_rows

__all__ = [
    "Dataset",
    "Split",
    "as_store",
    "check_labels",
    "check_rows",
    "data_folder",
    "fingerprint",
    "info",
    "load",
    "names",
    "open_rows",
    "prepare",
    "split",
]
