"""The server of the studio: its page, its rooms, and how it is started."""

import mimetypes
import secrets
import socket
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from aaekit.errors import InputError
from aaekit.studio import STATIC
from aaekit.studio.guard import Guard
from aaekit.studio.labelled import LabelledRun
from aaekit.studio.rooms import CurrentSession, compare, generate, health, items, label, style, training, turing
from aaekit.studio.rooms import map as latent_map
from aaekit.studio.session import Session, Trained

__all__ = ["ROOMS", "link", "make_app", "new_token", "open_socket", "serve", "settings_of"]

NOTEBOOKS = "http://127.0.0.1:* http://localhost:*"  # pages that may show the studio in a frame

ROOMS = (
    label.ROOM, latent_map.ROOM, training.ROOM, style.ROOM, generate.ROOM, turing.ROOM, compare.ROOM, health.ROOM,
)  # fmt: skip


def new_token() -> str:
    """A token that nobody can guess."""
    return secrets.token_urlsafe(24)


def link(host: str, port: int, token: str) -> str:
    """The address of the page."""
    return f"http://{host}:{port}/?token={token}"


def make_app(path: Path, token: str, port: int, hosts: tuple[str, ...] = (), *, in_notebook: bool = False) -> Guard:
    """The application of a run.

    Parameters
    ----------
    path : Path
        The directory of the run.
    token : str
        What each request must have.
    port : int
        Where it is called.
    hosts : tuple of str
        Names of this machine besides those of loopback.
    in_notebook : bool, default False
        Whether pages of this machine may show it in a frame.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.state.session = Session(path)
    app.include_router(items.router)
    for room in ROOMS:
        app.include_router(room.router)
    app.add_exception_handler(InputError, _answer_error)
    app.add_exception_handler(RequestValidationError, _answer_wrong_query)
    app.get("/api/run")(_run)
    files = _static_files()

    @app.get("/{name:path}")
    def static(name: str) -> Response:
        if name not in files:
            return JSONResponse({"error": "expected a page of the studio, got another address"}, 404)
        content, kind = files[name]
        return Response(content, media_type=kind, headers={"cache-control": "no-cache"})

    names = ("127.0.0.1", "localhost", "[::1]", *hosts)
    return Guard(app, token, {f"{name}:{port}" for name in names}, port, NOTEBOOKS if in_notebook else "'none'")


def _static_files() -> dict[str, tuple[bytes, str]]:
    """The files of the page, by their address; nothing else can be read."""
    files = {}
    for path in sorted(p for p in STATIC.rglob("*") if p.is_file()):
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        kind = "text/javascript" if path.suffix == ".js" else kind
        files[path.relative_to(STATIC).as_posix()] = path.read_bytes(), f"{kind}; charset=utf-8"
    files[""] = files["index.html"]
    return files


def _answer_error(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)


def _answer_wrong_query(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return JSONResponse({"error": f"{'.'.join(map(str, first['loc']))}: {first['msg']}"}, 400)


async def _run(session: CurrentSession) -> dict[str, Any]:
    """What the page needs to know first: the run, and which rooms are open."""
    kind = session.kind
    try:
        run = session.source
        config, shape = run.config, None if isinstance(run, LabelledRun) or run.fresh else run.shape
    except InputError:
        config, shape = {"system": "Turing test" if kind == "pairs" else "", "data": ""}, None
    has_model = session.version is not None
    problem = "" if has_model or kind == "pairs" else "The training is not complete yet."
    trained: Trained | None = None
    if has_model:
        try:
            trained = await session.trained()
        except InputError as error:
            problem = str(error)
    return {
        "name": session.path.resolve().name,
        "system": config["system"],
        "data": Path(str(config["data"])).name,
        "shape": shape,
        "version": session.version,
        "rooms": [
            {
                "name": room.name,
                "title": room.title,
                "closed": "" if not room.needs_model else problem if trained is None else room.closed(trained),
            }
            for room in ROOMS
            if kind in room.of
        ],
    }


# --- the process -----------------------------------------------------------------------------------------------------
def open_socket(host: str, port: int) -> socket.socket:
    """A socket to serve at; port 0 is any that is free.

    Raises
    ------
    InputError
        If the port is taken or not allowed.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(512)
    except (OSError, OverflowError) as error:
        listener.close()
        raise InputError(f"--port: expected a free port, got {port} ({error}): choose another one") from error
    return listener


def settings_of(app: Any) -> uvicorn.Config:
    """How an application is served."""
    return uvicorn.Config(app, log_level="error", access_log=False, lifespan="off", timeout_keep_alive=75)


def serve(path: Path, listener: socket.socket, token: str, hosts: tuple[str, ...] = ()) -> None:
    """Serve a run until the process is interrupted."""
    app: Any = make_app(path, token, listener.getsockname()[1], hosts)
    try:
        uvicorn.Server(settings_of(app)).run(sockets=[listener])
    finally:
        app.app.state.session.worker.stop()
