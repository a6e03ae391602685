"""The choice of the device, and whether it multiplies bfloat16 in hardware."""

import pytest
import torch

from aaekit import InputError
from aaekit.core.device import find_device, has_fast_bfloat16


def test_fast_bfloat16_depends_on_the_machine(monkeypatch):
    for amx, avx in [(True, False), (False, True), (False, False)]:
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda amx=amx: amx)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda avx=avx: avx)
        assert has_fast_bfloat16() is (amx or avx)
    assert not has_fast_bfloat16("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for hardware in (True, False):  # an emulation is there in any case
        monkeypatch.setattr(
            torch.cuda, "is_bf16_supported", lambda including_emulation=True, h=hardware: including_emulation or h
        )
        assert has_fast_bfloat16("cuda") is hardware


def test_devices_have_names():
    assert find_device("cpu").type == "cpu"
    with pytest.raises(InputError, match="device: expected .*'cpu', which this machine has, got 'tpu'"):
        find_device("tpu")


@pytest.mark.parametrize(("cuda", "mps", "fastest"), [(False, True, "mps"), (False, False, "cpu")])
def test_auto_is_the_fastest_device(cuda, mps, fastest, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert find_device("auto").type == fastest


def test_a_device_that_the_machine_lacks_is_refused_in_a_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with pytest.raises(InputError, match="device: expected 'mps' or 'cpu', which this machine has, got 'cuda'"):
        find_device("cuda")
