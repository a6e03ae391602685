"""The list of public names and signatures, in `public_api.txt`, so that a change of the surface is seen.

After an intended change: `python tests/test_public_api.py`, and look at the difference before committing it.
"""

import difflib
import importlib
import inspect
import json
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import aaekit

LIST = Path(__file__).with_name("public_api.txt")


def modules():
    """The names of all modules without an underscore in their path."""
    names = ["aaekit", *(m.name for m in pkgutil.walk_packages(aaekit.__path__, "aaekit."))]
    return sorted(name for name in names if not re.search(r"\._", name))


def public_names(module):
    """The names that a module exports: `__all__`, else what it defines without an underscore."""
    if hasattr(module, "__all__"):
        return sorted(module.__all__)
    defined = vars(module).items()
    return sorted(n for n, v in defined if not n.startswith("_") and getattr(v, "__module__", "") == module.__name__)


def default_text(value):
    """A default without what differs between runs and versions."""
    if inspect.isclass(value) or inspect.isroutine(value):
        return value.__qualname__
    if isinstance(value, Path):
        return repr(str(value))
    return re.sub(r" object at 0x[0-9a-f]+", "", repr(value))


def signature_text(function, skip_first=False):
    """Names, kinds and defaults of parameters; types are the type checker's business."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return "(...)"
    plain = [
        p.replace(annotation=p.empty, default=p.empty if p.default is p.empty else Default(default_text(p.default)))
        for p in parameters[skip_first:]
    ]
    return str(inspect.Signature(plain))


class Default:
    """A default that is written as its text."""

    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return self.text


def class_lines(name, kind):
    """Constructor and public methods of a class, as far as they are ours; properties without parentheses."""
    ours = [base for base in kind.__mro__ if base.__module__.startswith("aaekit")]
    yield name + (signature_text(kind) if any({"__init__", "__new__"} & set(vars(base)) for base in ours) else "")
    members = {n: v for base in reversed(ours) for n, v in vars(base).items()}
    for member, value in sorted(members.items()):
        if member.startswith("_"):
            continue
        if isinstance(value, staticmethod | classmethod):
            yield f"    {member}{signature_text(value.__func__, isinstance(value, classmethod))}"
        elif inspect.isfunction(value):
            yield f"    {member}{signature_text(value, skip_first=True)}"
        elif isinstance(value, property) or hasattr(value, "func") or hasattr(value, "fn"):
            function = getattr(value, "fn", None)
            yield f"    {member}{signature_text(function, skip_first=True) if function else ''}"


def public_api():
    """One line for each public name."""
    lines = []
    for module_name in modules():
        module = importlib.import_module(module_name)
        for name in public_names(module):
            value = getattr(module, name)
            full = f"{module_name}.{name}"
            home = getattr(value, "__module__", None)
            if isinstance(home, str) and home.startswith("aaekit") and home != module_name and "._" not in home:
                lines.append(f"{full} = {home}.{name}")
            elif inspect.isclass(value):
                lines += class_lines(full, value)
            elif callable(value):
                lines.append(f"{full}{signature_text(value)}")
            else:
                lines.append(full)
    return lines


def test_public_names_and_signatures_are_those_of_the_list():
    expected = LIST.read_text(encoding="utf-8").splitlines()
    changes = list(difflib.unified_diff(expected, public_api(), "public_api.txt", "aaekit", lineterm="", n=0))
    assert not changes, "\n".join(
        ["the public names or signatures changed; if they should, run `python tests/test_public_api.py`:", *changes]
    )


def test_the_list_sees_what_is_public():
    text = LIST.read_text(encoding="utf-8")
    assert "\naaekit.SemiSupervisedAAE = aaekit.estimators.semi_supervised.SemiSupervisedAAE\n" in text
    assert "\naaekit.labels.labelled_mask(y, name='y')\n" in text and "\naaekit.systems.SYSTEMS\n" in text
    estimator = text.split("\naaekit.estimators.semi_supervised.SemiSupervisedAAE(")[1].split("\naaekit")[0]
    assert "latent_dim=10" in estimator and "\n    fit(X, y=None" in estimator and "\n    predict(X)" in estimator
    assert " at 0x" not in text and not re.search(r"\._[a-z]", text)


def test_a_type_checker_sees_the_types_of_what_is_public(tmp_path):
    checker = Path(sys.executable).with_name("basedpyright")
    if not checker.exists():
        pytest.skip("basedpyright is not installed")
    path = {**os.environ, "PATH": os.pathsep.join([str(checker.parent), os.environ["PATH"]])}
    command = [checker, "--verifytypes", "aaekit", "--ignoreexternal", "--outputjson"]
    out = subprocess.run(command, capture_output=True, text=True, env=path, cwd=tmp_path).stdout
    completeness = json.loads(out)["typeCompleteness"]
    assert completeness["packageName"] == "aaekit" and completeness["completenessScore"] >= 0.95


if __name__ == "__main__":
    LIST.write_text("\n".join(public_api()) + "\n", encoding="utf-8")
    sys.stdout.write(f"{LIST}: {len(LIST.read_text(encoding='utf-8').splitlines())} lines\n")
