"""The options of commands, in `aaekit/cli/options.json`, so that `--help` and typing errors need no torch.

After a change of a declaration: `python tests/test_options.py`.
"""

import json
import subprocess
import sys

import pytest

from aaekit._files import write_text
from aaekit.cli.options import RECORDED, recorded
from aaekit.cli.systems import declared_options
from aaekit.systems import SYSTEMS
from aaekit.ultrasound import cli as simulator

COMMANDS = [
    "--help",
    "train --help",
    "train clasifier",
    "data list",
    "data info digits",
    "evaluate --help",
    "trian",
    *(f"train {system} --help" for system in SYSTEMS),
    "train classifier --latnt-dim 3",
    "search clusters --help",
    "simulate train --help",
]


def declared():
    """The options of all systems and of the simulator."""
    return {name: declared_options(name) for name in SYSTEMS} | {"simulator": simulator.declared_options()}


def test_recorded_options_are_the_declared_ones():
    for name, options in declared().items():
        assert recorded(name) == options, f"the options of {name} have changed: python tests/test_options.py"
    assert set(json.loads(RECORDED.read_text(encoding="utf-8"))) == set(declared())


def test_options_of_other_packages_are_declared_only():
    assert recorded("toy") is None


def test_help_and_typing_errors_do_not_load_torch():
    code = f"""
import contextlib, io, sys
from aaekit.cli import main
for line in {COMMANDS}:
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        with contextlib.redirect_stderr(io.StringIO()):
            main(line.split())
    heavy = [m for m in ("torch", "sklearn", "scipy", "pandas", "matplotlib") if m in sys.modules]
    assert not heavy, (line, heavy)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("system", ["classifier", "outliers"])
def test_a_misspelt_option_names_the_nearest(system, aae):
    code, _, err = aae("train", system, "--latnt-dim", 3)
    assert code == 2 and "did you mean" in err[0] and "latent-dim" in err[0]


if __name__ == "__main__":
    write_text(RECORDED, json.dumps(declared(), indent=1) + "\n")
