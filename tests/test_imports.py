"""Imports that take long: without garbage collection, which is as it was afterwards."""

import gc
import sys

import pytest

from aaekit._imports import load


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "long_module.py").write_text("import gc\ncollects = gc.isenabled()\n")
    (tmp_path / "broken_module.py").write_text("import gc\nraise RuntimeError(gc.isenabled())\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("long_module", None)


@pytest.mark.parametrize("collects", [True, False])
def test_garbage_is_not_collected_meanwhile(collects, module):
    before = gc.isenabled()
    (gc.enable if collects else gc.disable)()
    try:
        assert load("long_module").collects is False and gc.isenabled() == collects
        with pytest.raises(RuntimeError, match="False"):
            load("broken_module")
        assert gc.isenabled() == collects
    finally:
        (gc.enable if before else gc.disable)()
