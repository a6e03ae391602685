"""The artery simulator: intravascular ultrasound frames from tissue maps, without a patient.

A *tissue map* holds one id of `TISSUES` per pixel, a *frame* one intensity in [0, 1]. Both come in one of two
geometries: *cartesian* `(n, size, size)`, a disc with the catheter in the middle; or *polar* `(n, n_lines, n_depths)`,
as the catheter records it: one row per scan line, depth from left to right.

`make_phantoms` draws tissue maps, `simulate` (stage 0) and `simulate_rich` make frames of them by physics alone,
`TwoStageSimulator` learns to make realistic ones. `tissue_divergences` and `turing_test` judge the result.

Names are imported when they are first used.
"""

import importlib
from typing import Any

_EXPORTS = {  # by module; `__init__.pyi` says the same to type checkers
    "checks": ("check_frames", "check_maps", "check_pairs"),
    "geometry": ("resize", "to_cartesian", "to_polar"),
    "images": ("ImageFolders", "read_folders", "write_images"),
    "metrics": ("tissue_divergences", "tissue_histograms"),
    "phantoms": ("make_phantoms",),
    "physics": ("Physics", "simulate", "simulate_rich"),
    "simulator": ("TwoStageSimulator",),
    "tissues": ("TISSUES", "Tissue"),
    "turing": ("TuringScore", "TuringTest", "read_pairs", "score_answers", "turing_score", "turing_test"),
}
_MODULE_OF = {name: module for module, names in _EXPORTS.items() for name in names}
__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"aaekit.ultrasound.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module 'aaekit.ultrasound' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
