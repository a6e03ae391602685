"""The studio in a notebook: it serves its page until it is closed, and leaves nothing behind."""

import shutil
import threading
import time
import urllib.parse
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from aaekit import InputError
from aaekit.studio import STATIC, Widget
from tests.studio import Client, browser, make_run

pytest.importorskip("anywidget", reason="needs anywidget: pip install aaekit[notebook]")


def names_of_threads():
    return {thread.name for thread in threading.enumerate()}


def test_the_widget_serves_until_it_is_closed(tmp_path):
    run = make_run(tmp_path / "run", "generator", data="digits").path
    before = names_of_threads()
    widget = Widget(run, height=500)
    address = urllib.parse.urlsplit(widget.address)
    shown, _ = widget._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in shown and "studio" in names_of_threads()
    asked = Client(address.port)
    token = {"Authorization": f"Bearer {urllib.parse.parse_qs(address.query)['token'][0]}"}
    status, headers, content = asked("GET", "/", headers=token)
    assert status == 200 and b"aae studio" in content
    assert "frame-ancestors http://127.0.0.1:* http://localhost:*" in headers["content-security-policy"]
    assert asked("GET", "/api/run", headers={"Authorization": "Bearer other"})[0] == 403
    widget.close()
    widget.close()
    for _ in range(100):  # threads that have answered end by themselves
        if names_of_threads() <= before:
            break
        time.sleep(0.1)
    assert names_of_threads() <= before
    with pytest.raises(ConnectionRefusedError):
        asked("GET", "/")


PAGE = """<!doctype html><div id="el"></div><script type="module">
import widget from "/widget.js";
const values = {address: "ADDRESS", height: 500};
widget.render({model: {get: name => values[name]}, el: document.getElementById("el")});
</script>"""


@contextmanager
def notebook(folder, address):
    """A page on loopback that shows the widget as a notebook would: its port."""
    (folder / "index.html").write_text(PAGE.replace("ADDRESS", address))
    shutil.copy(STATIC / "widget.js", folder)
    handler = type("Handler", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_a_notebook_on_this_machine_shows_the_rooms_and_another_a_link(tmp_path):
    widget = Widget(make_run(tmp_path / "run", "generator", data="digits").path)
    (folder := tmp_path / "notebook").mkdir()
    with browser() as window, notebook(folder, widget.address) as port:
        for host in ("localhost", "127.0.0.1"):
            page = window.new_page()
            page.goto(f"http://{host}:{port}/")
            frame = page.frame_locator("iframe")
            frame.locator(".map[data-points]").wait_for()
            frame.get_by_role("link", name="Training").click()
            frame.locator(".map[data-points]").wait_for(state="detached")
        page = window.new_page()
        page.route(
            "http://notebooks.test/**", lambda route: route.fulfill(path=folder / route.request.url.split("/")[-1])
        )
        page.goto("http://notebooks.test/index.html")
        assert page.locator("a").get_attribute("href") == widget.address and not page.locator("iframe").count()
    widget.close()


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    before = names_of_threads()
    with pytest.raises(InputError, match="expected"):
        Widget(tmp_path)
    assert names_of_threads() == before
