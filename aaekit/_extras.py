"""Packages that only some installations have: those of the extras, `pip install "aaekit[EXTRA]"`."""

import importlib
from types import ModuleType

from aaekit.errors import InputError

DISTRIBUTIONS = {
    "PIL": "pillow",
    "skimage": "scikit-image",
    "umap": "umap-learn",
    "yaml": "pyyaml",
    "pillow_heif": "pillow-heif",
}  # where the package index has another name


def require(package: str, *, extra: str) -> ModuleType:
    """Import a package of an extra.

    Parameters
    ----------
    package : str
        Name that one imports.
    extra : str
        The extra of aaekit that installs it.

    Returns
    -------
    module

    Raises
    ------
    InputError
        If the package is not installed; the message says which extra installs it.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != package.split(".")[0]:
            raise  # it is installed, but something that it needs is not
        name = DISTRIBUTIONS.get(package, package)
        raise InputError(
            f'expected the package {name}, got none: install it with pip install "aaekit[{extra}]"'
        ) from None
