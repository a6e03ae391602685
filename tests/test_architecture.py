"""The one direction of imports, and what the package never does."""

import ast
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import aaekit

ROOT = Path(aaekit.__file__).parent
REPRODUCTION = ROOT.parent / "reproduction"
FILES = sorted(ROOT.rglob("*.py"))

# What each layer may import of the package, besides those of EVERYWHERE, which all may. A layer is a module, a package,
# or a part of one that has a line of its own.
EVERYWHERE = {"errors", "_files", "_extras", "_imports", "_locks", "_progress", "_cache"}
LEAVES = {"shapes", "labels", "cells", "curves", "priors", "divergences", "augment"}
TRAINING = LEAVES | {"columns", "encoders", "core", "nn", "losses"}
ESTIMATORS = TRAINING | {"estimators", "evaluation.metrics"}
RUNS = ESTIMATORS | {"data", "evaluation", "plots", "plots.draw", "report", "systems", "runs"}
MAY_IMPORT: dict[str, set[str]] = {
    "__init__": set(),  # its names are loaded when they are used
    **{name: set() for name in EVERYWHERE | LEAVES},
    "encoders": {"core"},
    "columns": {"cells", "encoders"},
    "core": {"divergences", "curves"},  # minibatches and phases, nothing of autoencoders
    "nn": {"core", "augment"},
    "losses": {"core", "nn"},
    "evaluation.metrics": {"labels"},
    "estimators": TRAINING | {"evaluation.metrics"},
    "systems": {"estimators"},  # for type checkers
    "data": {"shapes", "labels", "cells", "encoders", "columns"},
    "features": {"data", "encoders"},
    "active": ESTIMATORS | {"data"},
    "model_selection": ESTIMATORS | {"data"},
    "plots": {"labels", "curves"},
    "report": {"plots"},
    "evaluation": ESTIMATORS | {"data", "report", "plots"},
    "plots.draw": ESTIMATORS | {"plots", "evaluation"},
    "runs": RUNS - {"runs"},
    "search": RUNS,
    "labelling": RUNS | {"active"},
    "studio": RUNS | {"active", "labelling", "ultrasound"},
    "ultrasound": ESTIMATORS | {"data", "plots"},
    "cli.options": ESTIMATORS,
    "ultrasound.cli": RUNS | {"ultrasound", "cli.options"},
    "cli": RUNS | {"active", "search", "labelling", "studio", "ultrasound", "ultrasound.cli", "cli.options"},
    "__main__": {"cli"},
}


def layer(name: str) -> str:
    """The layer that a name belongs to: of the lines of MAY_IMPORT the one that says most of it."""
    parts = name.split(".")
    longest = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((prefix for prefix in longest if prefix in MAY_IMPORT), parts[0])


def module(path: Path, root: Path | None = None) -> str:
    """The name of a file's module in its package; of the package itself `__init__`."""
    parts = path.relative_to(root or ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def nodes(path: Path, in_functions: bool = True) -> list[ast.AST]:
    """All nodes of a file, but those for type checkers; on request without the bodies of functions."""
    found, waiting = [], [tree(path)]
    while waiting:
        node = waiting.pop()
        found.append(node)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
        elif in_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)
    return found


def imported(path: Path, in_functions: bool = True, package: str = "aaekit", root: Path | None = None) -> set[str]:
    """Full names of all that a file imports: modules, and names taken out of them."""
    parts = (package, *path.relative_to(root or ROOT).parent.parts)
    names: set[str] = set()
    for node in nodes(path, in_functions):
        if isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
            source = ".".join(filter(None, [base, node.module]))
            names |= {f"{source}.{a.name}" for a in node.names}
    return names


def layers_used(path: Path) -> set[str]:
    """The layers of the package that a file imports, other than its own."""
    used = {name.partition(".")[2] for name in imported(path) if name.startswith("aaekit.")}
    used |= {
        n.attr
        for n in nodes(path)
        if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name) and n.value.id == "aaekit"
    }
    return {layer(name) for name in used if not name.startswith("__")} - {layer(module(path))} - EVERYWHERE


def calls(path: Path) -> list[tuple[str, ast.Call]]:
    return [(ast.unparse(n.func), n) for n in ast.walk(tree(path)) if isinstance(n, ast.Call)]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_go_one_way(path):
    assert layer(module(path)) in MAY_IMPORT, f"say in MAY_IMPORT where {module(path)} belongs"
    wrong = layers_used(path) - MAY_IMPORT[layer(module(path))]
    assert not wrong, f"{name_of(path)} must not import {sorted(wrong)}"


def test_the_layers_are_an_order():
    """No two of them allow each other, whatever the path between them."""
    assert tuple(TopologicalSorter(MAY_IMPORT).static_order())


@pytest.mark.parametrize("in_functions", [False, True], ids=["when loaded", "ever"])
def test_no_modules_import_each_other(in_functions):
    """Neither when they are loaded nor later, in functions; here, and in the reproduction."""
    paths = {}
    for package, root in (("aaekit", ROOT), ("reproduction", REPRODUCTION)):
        for path in root.rglob("*.py"):
            name = module(path, root)
            paths[package if name == "__init__" else f"{package}.{name}"] = (path, package, root)
    graph = {}
    for name, (path, package, root) in paths.items():
        used = {longest_in(paths, other) for other in imported(path, in_functions, package, root)}
        graph[name] = used - {name, ""}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"these import each other: {' -> '.join(error.args[1])}")


def longest_in(names, name: str) -> str:
    """The module that a full name is, or is taken out of."""
    while name and name not in names:
        name = name.rpartition(".")[0]
    return name


def test_the_idea_is_short():
    """A phase, a schedule and a loop: to be read in one sitting, whatever the networks are."""
    idea = [ROOT / "core" / f"{name}.py" for name in ("phase", "schedule", "loop")]
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in idea) <= 450
    assert not {"nn", "losses", "estimators"} & set().union(*map(layers_used, idea))


def test_the_package_runs_without_the_reproduction():
    users = {name_of(p) for p in FILES if any(n.split(".")[0] == "reproduction" for n in imported(p))}
    assert users == {"cli/reproduce.py"}
    lazily = imported(ROOT / "cli" / "reproduce.py", in_functions=False)
    assert not {name for name in lazily if name.startswith("reproduction")}


def test_the_import_test_sees_every_form_of_import(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    path = tmp_path / "priors.py"
    path.write_text(
        "import aaekit\nimport aaekit.runs\nfrom aaekit import nn\nfrom aaekit.data.store import x\n"
        "from . import cli\nfrom .core import Step\nfrom aaekit.errors import InputError\n"
        "from aaekit.plots import draw\nfrom aaekit.plots.base import x\n"
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from aaekit import active\n"
        "def f():\n    from aaekit import losses\n    return aaekit.estimators, aaekit.__version__\n"
    )
    at_once = {"runs", "nn", "data", "cli", "core", "plots", "plots.draw"}
    assert layers_used(path) == at_once | {"losses", "estimators"}
    names = {name.partition(".")[2] for name in imported(path, in_functions=False) if name.startswith("aaekit.")}
    assert {layer(name) for name in names} == at_once | {"errors"}


# --- the cheap import
HEAVY = ["torch", "numpy", "scipy", "sklearn", "pydantic", "matplotlib", "typer", "rich"]


def test_importing_the_package_is_cheap():
    code = f"import sys, aaekit; print([m for m in {HEAVY} if m in sys.modules], aaekit.__version__)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    assert out.stdout.split("] ")[0] == "[", out.stdout


def test_importing_the_estimators_imports_torch_and_the_base_of_scikit_learn_alone():
    """What fit needs only sometimes is imported there; pandas and scipy.stats belong to the base of scikit-learn."""
    code = (
        "import sys, torch, sklearn.base, sklearn.utils.metaestimators, sklearn.utils.multiclass;"
        "before = set(sys.modules); import aaekit; aaekit.SemiSupervisedAAE;"
        "print(*{m if m.startswith('sklearn') else m.split('.')[0] for m in set(sys.modules) - before})"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    ours = {"aaekit", "pydantic", "pydantic_core", "annotated_types", "typing_inspection", "safetensors"}
    assert set(out.stdout.split()) - set(sys.stdlib_module_names) <= ours | {"sklearn.utils._unique"}


def test_the_first_step_of_a_run_needs_neither_figures_nor_tensorboard(tmp_path):
    code = """
import sys
from aaekit import cli
from aaekit.core import loop
compute = loop.Training.compute
def first(self, *arguments):
    values = compute(self, *arguments)
    print(*[m for m in ("matplotlib", "tensorboard", "torch._dynamo", "aaekit.evaluation.methods") if m in sys.modules])
    sys.exit()
loop.Training.compute = first
cli.main(sys.argv[1:])
"""
    line = ["train", "classifier", "--data", "digits", "--labels", "50", "--max-steps", "3", "--backbone", "mlp"]
    line += ["--hidden", "8", "--quiet", "--out", str(tmp_path / "run")]
    out = subprocess.run([sys.executable, "-c", code, *line], capture_output=True, text=True, cwd=ROOT.parent)
    assert out.stdout == "\n", (out.stdout, out.stderr)


def test_public_names_load_when_used():
    assert set(aaekit.__all__) == set(dir(aaekit))
    for name in aaekit.__all__:
        assert getattr(aaekit, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = aaekit.Nothing


def test_type_checkers_see_the_names_that_are_loaded_when_used():
    """`__init__.pyi` takes each from the module that `__init__.py` does; `py.typed` says that there are types."""
    stub = ast.parse((ROOT / "__init__.pyi").read_text(encoding="utf-8"))
    sources = {}
    for node in stub.body:
        if isinstance(node, ast.ImportFrom):
            assert all(alias.asname == alias.name for alias in node.names), "only `import x as x` is public in a stub"
            sources |= {alias.name: node.module for alias in node.names}
    assert sources == aaekit._LAZY
    exported = next(n.value for n in stub.body if isinstance(n, ast.Assign))
    assert sorted(ast.literal_eval(exported)) == sorted(aaekit.__all__)
    assert (ROOT / "py.typed").exists()


# --- what is never done
PICKLES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
UNPICKLING = {"torch.save", "torch.jit.load", "pd.read_pickle", "pandas.read_pickle", "yaml.load",
              "yaml.unsafe_load", "yaml.full_load", "eval", "exec"}  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nothing_is_unpickled(path):
    assert not {name.split(".")[0] for name in imported(path)} & PICKLES
    assert not imported(path) & UNPICKLING
    assert [name for name, _ in calls(path) if name in UNPICKLING] == []
    for name, call in calls(path):
        keywords = {k.arg: k.value for k in call.keywords}
        if name in ("np.load", "numpy.load"):
            assert "allow_pickle" in keywords, f"line {call.lineno}: say allow_pickle=False"
        if name == "torch.load":
            weights_only = keywords.get("weights_only")
            assert isinstance(weights_only, ast.Constant) and weights_only.value is True, f"line {call.lineno}"
        if "allow_pickle" in keywords:
            value = keywords["allow_pickle"]
            assert isinstance(value, ast.Constant) and value.value is False, f"line {call.lineno}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_figures_are_made_without_pyplot(path):
    """pyplot keeps every figure alive and looks for a screen."""
    assert [name for name in imported(path) if "pyplot" in name] == []
    assert "pyplot" not in {n.attr for n in ast.walk(tree(path)) if isinstance(n, ast.Attribute)}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_all_that_is_public_is_documented(path):
    body = tree(path)
    assert ast.get_docstring(body), "the module"
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    public = [n for n in body.body if isinstance(n, kinds) and not n.name.startswith("_")]
    assert [n.name for n in public if not (ast.get_docstring(n) or "").strip()] == []
