"""Packages that only some installations have: those of the extras, `pip install "aaekit[EXTRA]"`."""

import importlib
import importlib.util
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
        raise _missing(package, extra) from None


def check_installed(package: str, *, extra: str) -> None:
    """Refuse work that will need a package of an extra, without importing it; errors are those of `require`."""
    try:
        is_installed = importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        is_installed = False
    if not is_installed:
        raise _missing(package, extra)


def _missing(package: str, extra: str) -> InputError:
    name = DISTRIBUTIONS.get(package, package)
    return InputError(f'expected the package {name}, got none: install it with pip install "aaekit[{extra}]"')
