"""The studio in a notebook: a widget that shows the rooms of a run."""

import os
import threading
from pathlib import Path
from typing import Any

import uvicorn

from aaekit._extras import require
from aaekit.labelling import SETTINGS
from aaekit.runs.run import Run
from aaekit.studio import STATIC, server

__all__ = ["Widget"]


class Widget:
    """The studio of a run as a widget of a notebook.

    A server in a thread of this process shows the rooms in a frame of the notebook. It ends with `close`, or with the
    process. The notebook must be opened from the machine of the kernel, under localhost or 127.0.0.1; else the widget
    has a link to the page instead, which needs the port forwarded.

    Parameters
    ----------
    run : path
        The directory of a run, or the folder of a labelling session.
    height : int, default 760
        Of the frame, in pixels.
    port : int, default 0
        Where the server listens on 127.0.0.1; 0 is any that is free.

    Attributes
    ----------
    address : str
        Of the page, with its token.

    Raises
    ------
    InputError
        If there is no such run, or the port is taken.

    Examples
    --------
    >>> from aaekit.studio import Widget
    >>> Widget("runs/digits")  # doctest: +SKIP
    """

    address: str

    def __init__(self, run: str | os.PathLike[str], *, height: int = 760, port: int = 0) -> None:
        anywidget, traitlets = (require(name, extra="notebook") for name in ("anywidget", "traitlets"))
        path = Path(run)
        if not (path / SETTINGS).is_file():
            Run.open(path)
        listener = server.open_socket("127.0.0.1", port)
        token, number = server.new_token(), listener.getsockname()[1]
        self.address = server.link("127.0.0.1", number, token)
        self._app: Any = server.make_app(path, token, number, in_notebook=True)
        self._server = uvicorn.Server(server.settings_of(self._app))
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, name="studio", daemon=True
        )
        self._thread.start()
        values = {
            "_esm": (STATIC / "widget.js").read_text(encoding="utf-8"),
            "address": traitlets.Unicode(self.address).tag(sync=True),
            "height": traitlets.Int(height).tag(sync=True),
        }
        self._frame: Any = type("StudioFrame", (anywidget.AnyWidget,), values)()

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """What a notebook shows."""
        return self._frame._repr_mimebundle_(**options)

    def close(self) -> None:
        """End the server, and remove the frame from the notebook."""
        if self._thread.is_alive():
            self._server.should_exit = self._server.force_exit = True
            self._thread.join()
            self._app.app.state.session.worker.stop()
            self._frame.close()
