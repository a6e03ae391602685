"""The latent map of a run as one file, which decodes by itself: for a lesson, a mail, or a page without a server."""

import base64
import hashlib
import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from aaekit._files import write_text
from aaekit.errors import InputError
from aaekit.runs.run import Run
from aaekit.studio import STATIC
from aaekit.studio.network import network_of, packed
from aaekit.studio.rooms.items import facts_of
from aaekit.studio.rooms.map import space_facts
from aaekit.studio.session import Trained
from aaekit.studio.worker import Worker

__all__ = ["export"]

MAX_ITEMS, PICTURE_BYTES = 4000, 3 * 2**20
MAX_BYTES = 32 * 2**20  # of the file
IMPORT = re.compile(r'^import \{[^}]*\} from "([^"]+)";\n', re.MULTILINE)
OFFLINE = {"lib/api.js": "offline/api.js"}  # what answers in place of the server


def export(path: Path, out: Path) -> Path:
    """Write the latent map of a run as one HTML file.

    Parameters
    ----------
    path : Path
        The run directory.
    out : Path
        The file.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If the run has no trained model, or its decoder is too large for a page.
    """
    run = Run.open(path)
    trained = Trained(run, Worker())
    page = _page(run.path.resolve().name, run.config["system"], _data(trained))
    if len(page) > MAX_BYTES:
        raise InputError(
            f"{path}: expected a decoder that a page can hold, got {len(page) >> 20} MiB, more than "
            f"{MAX_BYTES >> 20}: train with smaller hidden layers"
        )
    return write_text(out, page)


def _data(trained: Trained) -> dict[str, Any]:
    """Everything that the page would ask a server for."""
    items, view = trained.items, trained.view
    n = min(items.n, MAX_ITEMS)
    if view.kind == "image" and view.shape is not None:
        n = min(n, max(200, PICTURE_BYTES // int(np.prod(view.shape))))
    index = np.sort(items.order[:n]).astype(np.int64)
    trained.encode(index)
    stored = {"label": items.labels, "part": items.part, "value": trained.value, "probability": trained.probability}
    columns = {name: values[index] for name, values in stored.items()}
    columns |= {name: column.function(index) for name, column in trained.columns.items()}
    facts = space_facts(trained)
    facts["planes"] = [plane for plane in facts["planes"] if plane["name"] in trained.places]
    network = network_of(trained)
    if network is None:
        facts["decoded"] = None
    return {
        "space": facts | {"n": n},
        "places": {name: packed(places[index]) for name, places in trained.places.items()},
        "columns": {name: packed(np.asarray(values, np.float32)) for name, values in columns.items()},
        "z": packed(trained.z[index]),
        "facts": [fact | {"item": k} for k, fact in enumerate(facts_of(trained, index))],
        "pictures": packed(items.pictures(index)) if view.kind == "image" else "",
        "network": {"layers": None} if network is None else network,
    }


# --- the page --------------------------------------------------------------------------------------------------------
def bundle(name: str) -> str:
    """A module of the page and all that it imports as one script; names at their top are different by a test."""
    parts: dict[str, str] = {}

    def add(name: str) -> None:
        name = OFFLINE.get(name, name)
        if name in parts:
            return
        text = (STATIC / name).read_text(encoding="utf-8")
        parts[name] = ""  # its place is behind what it imports, but it is not added twice
        for target in IMPORT.findall(text):
            add((STATIC / name).parent.joinpath(target).resolve().relative_to(STATIC.resolve()).as_posix())
        del parts[name]
        parts[name] = re.sub(r"^export (?=(async )?(function|class|const|let) )", "", IMPORT.sub("", text), flags=re.M)

    add(name)
    return "".join(parts.values())


def _page(name: str, system: str, data: dict[str, Any]) -> str:
    style, script = (STATIC / "style.css").read_text(encoding="utf-8"), bundle("offline/page.js")
    hashes = [
        "'sha256-" + base64.b64encode(hashlib.sha256(t.encode()).digest()).decode() + "'" for t in (style, script)
    ]
    policy = f"default-src 'none'; img-src data: blob:; style-src {hashes[0]}; script-src {hashes[1]}"
    title = html.escape(name)
    values = json.dumps(data | {"name": name, "system": system}).replace("<", "\\u003c")
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<title>{title} – latent map</title>\n'
        f"<style>{style}</style>\n</head>\n"
        f'<body class="alone"><header class="top"><span class="run-facts"><strong>{title}</strong>'
        f'<span class="badge">{html.escape(system)}</span></span>'
        f'<button class="icon-button" id="theme" type="button" aria-label="Switch between light and dark"></button>'
        f'</header><main id="room"></main><div class="toasts" id="toasts" role="status"></div>\n'
        f'<script type="application/json" id="data">{values}</script>\n'
        f'<script type="module">{script}</script>\n</body>\n</html>\n'
    )
