"""Data: named sets, files of arrays, tables, folders of images, checks of rows and labels, and splits.

>>> from aaekit import data
>>> digits = data.load("digits")
>>> split = data.split(digits.y, labels=50)

A new named set is one entry in `aaekit.data.sets.SETS`.
"""

from aaekit.data.checks import check_labels, check_rows, fingerprint
from aaekit.data.dataset import Dataset
from aaekit.data.folders import read_folder
from aaekit.data.loading import load, missing_paths, options_of, prepare, whole_path, with_test_rows
from aaekit.data.sets import chosen_folder, data_folder, info, names
from aaekit.data.splits import Split, split
from aaekit.data.store import as_store, open_rows
from aaekit.data.tables import read_table

__all__ = [
    "Dataset",
    "Split",
    "as_store",
    "check_labels",
    "check_rows",
    "chosen_folder",
    "data_folder",
    "fingerprint",
    "info",
    "load",
    "missing_paths",
    "names",
    "open_rows",
    "options_of",
    "prepare",
    "read_folder",
    "read_table",
    "split",
    "whole_path",
    "with_test_rows",
]
