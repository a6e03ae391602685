"""A studio for tests: tiny runs, a server on loopback with a client, and a browser where there is one."""

import http.client
import importlib.util
import json
import os
import shutil
import threading
import time
import urllib.parse
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn

from aaekit.runs.config import completed, configuration
from aaekit.runs.run import Run
from aaekit.studio import server

TOKEN = "token-of-the-tests"
TINY = {"max_steps": 3, "hidden": (16,), "batch_size": 20, "random_state": 0}
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    *("--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-quic"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


def make_run(path, system, concludes=False, **options):
    """A run of three steps; without its report unless it `concludes`."""
    run = Run.create(path, completed(system, configuration(system, {**TINY, **options})))
    if not concludes:
        run.conclude = lambda estimator, results: None
    run.train()
    return run


class Client:
    """Asks a studio; its own token is in each request unless `headers` has another."""

    def __init__(self, port):
        self.port, self.address = port, f"127.0.0.1:{port}"

    def __call__(self, method, path, body=None, headers=None, **query):
        """Status, headers and body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        path += "?" + urllib.parse.urlencode(query) if query else ""
        try:
            connection.request(method, path, body, headers or {"Authorization": f"Bearer {TOKEN}"})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def json(self, path, body=None, **query):
        """The value of an answer, which must be a good one."""
        status, _, content = self("GET" if body is None else "POST", path, body, **query)
        assert status == 200, content
        return json.loads(content)

    @property
    def link(self):
        return f"http://{self.address}/?token={TOKEN}"


def all_points(asked, **query):
    """The rows of an answer once all items are computed."""
    for _ in range(600):
        status, headers, content = asked("GET", **query)
        assert status == 200, content
        if headers["x-done"] == headers["x-total"]:
            return content
        time.sleep(0.05)
    raise AssertionError(f"not complete: {headers}")


@contextmanager
def studio(path):
    """A studio of a run, and its client."""
    listener = server.open_socket("127.0.0.1", 0)
    port = listener.getsockname()[1]
    app = server.make_app(Path(path), TOKEN, port)
    web = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False, lifespan="off"))
    thread = threading.Thread(target=web.run, kwargs={"sockets": [listener]})
    thread.start()
    client = Client(port)
    try:
        # when first asked, FastAPI makes its routes, and changes the filters of warnings of all threads meanwhile
        client("GET", "/api/nothing")
        yield client
    finally:
        web.should_exit = web.force_exit = True
        thread.join()
        app.app.state.session.worker.stop()


@contextmanager
def browser():
    """Debian's Chromium by Playwright; the test is skipped where one of them is missing."""
    if importlib.util.find_spec("playwright") is None or CHROMIUM is None:
        pytest.skip("needs playwright and chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        window = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield window
        window.close()
