"""The one direction of imports, and what the package never does."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import aaekit

ROOT = Path(aaekit.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# What each module may import of the package, besides `errors` and `files`, which all may.
BOTTOM = {"priors", "networks", "divergences", "augment", "neighbours", "parameters"}
UP_TO_TRAINING = BOTTOM | {"codes", "phases", "training"}
LEAVES = {"data", "metrics", "figures", "ultrasound"}
JUDGES = {"evaluation", "gallery", "health", "report"}
UP_TO_RUNS = UP_TO_TRAINING | LEAVES | JUDGES | {"estimators", "progress", "checkpoints", "runs"}
MAY_IMPORT: dict[str, set[str]] = {
    "__init__": {"estimators"},  # lazily: the test of the cheap import holds it to that
    "errors": set(),
    "files": set(),
    **{name: set() for name in BOTTOM | LEAVES},
    "ultrasound": {"data"},  # the reader of filled tables
    "codes": BOTTOM,
    "phases": BOTTOM | {"codes"},
    "optimizers": set(),
    "cores": set(),
    "training": BOTTOM | {"codes", "phases", "optimizers", "cores"},
    "progress": {"training"},
    "checkpoints": {"training"},
    "report": {"figures"},
    "health": {"metrics"},
    "estimators": UP_TO_TRAINING | {"progress", "metrics", "ultrasound"},
    "gallery": UP_TO_TRAINING | {"estimators", "figures"},
    "evaluation": UP_TO_TRAINING | LEAVES | {"estimators", "gallery", "health", "report"},
    "labelling": UP_TO_TRAINING | {"estimators", "data"},
    "runs": UP_TO_RUNS - {"runs"},
    "experiments": UP_TO_RUNS | {"labelling"},
    "cli_base": {"progress", "parameters"},
    "cli": UP_TO_RUNS | {"experiments", "cli_base", "cli_simulate", "cli_label"},
    "cli_simulate": UP_TO_RUNS | {"experiments", "cli_base"},
    "cli_label": UP_TO_RUNS | {"labelling", "cli_base"},
    "__main__": {"cli"},
}


def layer(path: Path) -> str:
    """The module or subpackage right below aaekit that a file belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported(path: Path) -> set[str]:
    """Full names of all that a file imports, wherever in it: modules, and names taken out of them."""
    package = ("aaekit", *path.relative_to(ROOT).parent.parts)
    names: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            names |= {f"{module}.{a.name}" for a in node.names}
    return names


def layers_used(path: Path) -> set[str]:
    """The layers of the package that a file imports, other than its own."""
    used = {name.split(".")[1] for name in imported(path) if name.startswith("aaekit.")}
    used |= {
        n.attr
        for n in ast.walk(tree(path))
        if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name) and n.value.id == "aaekit"
    }
    return {name for name in used if not name.startswith("__")} - {layer(path), "errors", "files"}


def calls(path: Path) -> list[tuple[str, ast.Call]]:
    return [(ast.unparse(n.func), n) for n in ast.walk(tree(path)) if isinstance(n, ast.Call)]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_go_one_way(path):
    assert layer(path) in MAY_IMPORT, f"say in MAY_IMPORT where {layer(path)} belongs"
    wrong = layers_used(path) - MAY_IMPORT[layer(path)]
    assert not wrong, f"{name_of(path)} must not import {sorted(wrong)}"


def test_the_layers_are_an_order():
    """No two of them allow each other, whatever the path between them."""
    done: list[str] = []
    left = dict(MAY_IMPORT)
    while left:
        ready = [name for name, below in left.items() if below <= set(done)]
        assert ready, f"a circle among {sorted(left)}"
        done += ready
        for name in ready:
            del left[name]


def test_the_import_test_sees_every_form_of_import(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    path = tmp_path / "priors.py"
    path.write_text(
        "import aaekit\nimport aaekit.runs\nfrom aaekit import codes\nfrom aaekit.data.store import x\n"
        "from . import cli\nfrom .phases import Step\nfrom aaekit.errors import InputError\n"
        "def f():\n    from aaekit import training\n    return aaekit.estimators, aaekit.__version__\n"
    )
    assert layers_used(path) == {"runs", "codes", "data", "cli", "phases", "training", "estimators"}


# --- the cheap import
HEAVY = ["torch", "numpy", "scipy", "sklearn", "pydantic", "matplotlib", "typer", "rich"]


def test_importing_the_package_is_cheap():
    code = f"import sys, aaekit; print([m for m in {HEAVY} if m in sys.modules], aaekit.__version__)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    assert out.stdout.split("] ")[0] == "[", out.stdout


def test_public_names_load_when_used():
    assert set(aaekit.__all__) == set(dir(aaekit))
    for name in aaekit.__all__:
        assert getattr(aaekit, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = aaekit.Nothing


# --- what is never done
PICKLES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
UNPICKLING = {"torch.load", "torch.save", "torch.jit.load", "pd.read_pickle", "pandas.read_pickle", "yaml.load",
              "yaml.unsafe_load", "yaml.full_load", "eval", "exec"}  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nothing_is_unpickled(path):
    assert not {name.split(".")[0] for name in imported(path)} & PICKLES
    assert not imported(path) & UNPICKLING
    assert [name for name, _ in calls(path) if name in UNPICKLING] == []
    for name, call in calls(path):
        given = {k.arg: k.value for k in call.keywords}
        if name in ("np.load", "numpy.load"):
            assert "allow_pickle" in given, f"line {call.lineno}: say allow_pickle=False"
        if "allow_pickle" in given:
            value = given["allow_pickle"]
            assert isinstance(value, ast.Constant) and value.value is False, f"line {call.lineno}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_figures_are_made_without_pyplot(path):
    """pyplot keeps every figure alive and looks for a screen."""
    assert [name for name in imported(path) if "pyplot" in name] == []
    assert "pyplot" not in {n.attr for n in ast.walk(tree(path)) if isinstance(n, ast.Attribute)}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_all_that_is_public_is_documented(path):
    module = tree(path)
    assert ast.get_docstring(module), "the module"
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    public = [n for n in module.body if isinstance(n, kinds) and not n.name.startswith("_")]
    assert [n.name for n in public if not (ast.get_docstring(n) or "").strip()] == []
