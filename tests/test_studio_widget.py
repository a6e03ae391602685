"""The studio in a notebook: it serves its page until it is closed, and leaves nothing behind."""

import threading
import urllib.parse

import pytest

from aaekit import InputError
from aaekit.studio import Widget
from tests.studio import Client, make_run

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
    assert names_of_threads() <= before
    with pytest.raises(ConnectionRefusedError):
        asked("GET", "/")


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    before = names_of_threads()
    with pytest.raises(InputError, match="expected"):
        Widget(tmp_path)
    assert names_of_threads() == before
