"""`aae studio`: a run in the browser."""

from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from aaekit._files import check_writable
from aaekit.cli.options import RunPath, say


def check_studio() -> None:
    """Refuse what opens a studio later, before anything else is done, if the extra is not installed."""
    import_module("aaekit.studio")


def studio(
    run: RunPath,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to serve at; 0 is any that is free.", show_default="any")
    ] = 0,
    host: Annotated[
        str,
        typer.Option(help="Address to serve at; with any but 127.0.0.1, everybody with the link can use the studio."),
    ] = "127.0.0.1",
    export: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the latent map as one HTML file that decodes by itself, and exit.",
            show_default=False,
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", hidden=True, help="Begin before the run has begun.")] = False,
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")] = True,
) -> None:
    """Look at a run in the browser: RUN may also be a labelling session, or the pairs of `aae simulate pairs`."""
    from aaekit.runs.run import Run
    from aaekit.studio import server
    from aaekit.studio.session import kind_of
    from aaekit.ultrasound.turing import read_pairs

    if export is not None:
        from aaekit.studio.export import export as write_page

        check_writable(export)
        typer.echo(str(write_page(run, export)))
        return
    kind = kind_of(run)
    if kind == "pairs":
        read_pairs(run)
    elif kind == "run" and not wait:
        Run.open(run)
    listener = server.open_socket(host, port)
    token = server.new_token()
    address = server.link(host, listener.getsockname()[1], token)
    say(f"studio of {run}: {address}")
    if not wait:
        say("Ctrl-C ends it")
    if open_page:
        import webbrowser

        webbrowser.open(address)
    server.serve(run, listener, token, () if host == "127.0.0.1" else (host,))
