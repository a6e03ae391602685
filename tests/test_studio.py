"""The studio without a browser: who may ask what, and what the rooms answer."""

import io
import json
import socket
import struct
import time
import zlib
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from aaekit import InputError, data
from aaekit.runs.run import Run
from aaekit.studio import STATIC, guard, neighbourhoods
from aaekit.studio.codes import sunflower
from aaekit.studio.items import PARTS
from aaekit.studio.server import ROOMS, open_socket
from aaekit.studio.worker import AHEAD, Batched, Worker
from aaekit.systems import SYSTEMS
from tests.studio import TOKEN, all_points, make_run, studio

TABLE = "colour,size,kind\n" + "".join(
    f"{('red', 'green', 'blue')[k % 3]},{k / 10},{('small', 'large')[k % 2]}\n" for k in range(90)
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A tiny run of each system, made when it is asked for: of digits, or `table` of a table."""
    folder, made = tmp_path_factory.mktemp("runs"), {}

    def run(name):
        if name not in made:
            options = {"data": "digits", "labels": 50} if SYSTEMS.get(name, SYSTEMS["style"]).needs_labels else {}
            options = {"data": "digits", **options}
            if name == "table":
                (folder / "table.csv").write_text(TABLE)
                options = {"data": str(folder / "table.csv"), "data_options": ("target=kind",)}
            if name == "pretrained":
                options["autoencoder"] = str(run("generator"))
            made[name] = make_run(folder / name, "classifier" if name == "table" else name, **options).path
        return made[name]

    return run


@pytest.fixture(autouse=True)
def few_neighbours(monkeypatch):
    """t-SNE of few items is quick."""
    monkeypatch.setattr(neighbourhoods, "N_SAMPLE", 60)


@pytest.fixture(scope="module")
def client(runs):
    with studio(runs("classifier")) as asked:
        yield asked


def as_floats(*values):
    return np.array(values, "<f4").tobytes()


# --- who may ask -----------------------------------------------------------------------------------------------------
def cookie(asked, token=TOKEN):
    return {"Cookie": f"{guard.cookie_name(asked.port)}={token}"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"Authorization": "Bearer wrong"}, 403),
        ({"Authorization": f"Bearer {TOKEN}", "Host": "example.org"}, 421),
        ({"Authorization": f"Bearer {TOKEN}", "Host": "127.0.0.1"}, 421),
        ({"Authorization": f"Bearer {TOKEN}", "Origin": "http://example.org"}, 403),
        ({"Authorization": f"Bearer {TOKEN}", "Origin": "null"}, 403),
        ({"Authorization": f"Bearer {TOKEN}"}, 200),
    ],
)
def test_only_the_own_page_with_its_token_is_answered(client, headers, status):
    for path in ("/api/run", "/", "/app.js"):
        answer = client("GET", path, headers={"Host": client.address} | headers)
        assert answer[0] == status and (status == 200 or b"Traceback" not in answer[2])


def test_the_link_gives_a_cookie_that_scripts_cannot_read(client):
    status, headers, page = client("GET", "/", headers={"Host": client.address}, token=TOKEN)
    assert status == 200 and b"<main" in page
    assert "HttpOnly" in headers["set-cookie"] and "SameSite=Strict" in headers["set-cookie"]
    assert client("GET", "/api/run", headers=cookie(client))[0] == 200
    assert client("GET", "/api/run", headers=cookie(client, "wrong"))[0] == 403
    assert client("GET", "/", headers={"Host": client.address}, token="wrong")[0] == 403


def test_a_question_that_changes_something_needs_the_origin(client):
    """Else a form on another page could ask it."""
    assert client("POST", "/api/decode", as_floats(0), headers=cookie(client))[0] == 403
    same = {"Origin": f"http://{client.address}"} | cookie(client)
    assert client("POST", "/api/decode", as_floats(*[0] * 11), headers=same)[0] == 200
    assert client("POST", f"/api/decode?token={TOKEN}", as_floats(0), headers={"Origin": same["Origin"]})[0] == 403


@pytest.mark.parametrize(
    "path",
    ["/../config.yaml", "/..%2f..%2fserver.py", "/rooms/../../server.py", "/%2e%2e/server.py", "/config.yaml",
     "//etc/passwd", "/rooms/%00", "/rooms"],
)  # fmt: skip
def test_no_other_file_can_be_read(client, path):
    status, _, content = client("GET", path)
    assert status == 404 and b"import" not in content and b"root:" not in content


def test_pages_may_load_nothing_from_elsewhere(client):
    _, headers, page = client("GET", "/")
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self';" in policy and "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    sources = [p.read_text(encoding="utf-8") for p in STATIC.rglob("*") if p.suffix in (".js", ".css", ".html")]
    assert not [s for s in sources if "innerHTML" in s or "https://" in s.replace("http://www.w3.org", "")]
    assert b"onclick" not in page and b"style=" not in page


def bomb(side):
    """A small PNG that says it has `side` x `side` pixels."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10**6)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [
        (bomb(50_000), 400, "pixels"),
        (b"<svg onload='alert(1)'/>", 400, "no image of a known format"),
        (b"", 400, "got nothing"),
        (bomb(300)[:45], 400, "cannot"),
        (bytes(guard.MAX_BODY + 1), 413, "16 MiB"),
    ],
    ids=["bomb", "markup", "nothing", "damaged", "large"],
)
def test_uploads_are_limited_and_decoded_safely(client, content, status, reason):
    answer = client("POST", "/api/style/upload", content)
    assert answer[0] == status and reason in answer[2].decode() and b"Traceback" not in answer[2]


def test_an_upload_without_a_length_is_limited_too(client):
    def endless():
        for _ in range(guard.MAX_BODY // 2**20 + 3):
            yield bytes(2**20)

    headers = {"Authorization": f"Bearer {TOKEN}", "Transfer-Encoding": "chunked"}
    try:
        status, _, content = client("POST", "/api/style/upload", endless(), headers=headers)
    except OSError:
        return  # hung up
    assert status in (400, 413) and b"Traceback" not in content


@pytest.mark.parametrize("body", [b"", b"123", as_floats(np.nan, *[0] * 10), as_floats(*[0] * 11 * 2000)])
def test_wrong_codes_are_refused_in_a_sentence(client, body):
    status, _, content = client("POST", "/api/decode", body)
    assert status == 400 and json.loads(content)["error"].startswith("expected")


def test_items_that_do_not_exist_are_refused(client):
    for path in ("facts", "pictures"):
        assert client("POST", f"/api/items/{path}", np.array([10**6], "<u4").tobytes())[0] == 400
    assert client("GET", "/api/items/code", item=-1)[0] == 400
    assert client("GET", "/api/items/code", item="x")[0] == 400


def test_a_taken_port_is_refused():
    with open_socket("127.0.0.1", 0) as taken, pytest.raises(InputError, match="--port: expected a free port"):
        other = socket.socket()
        try:
            other.bind(("127.0.0.1", 0))
            open_socket("127.0.0.1", taken.getsockname()[1])
        finally:
            other.close()


def test_many_clients_are_answered(client):
    with ThreadPoolExecutor(100) as pool:
        answers = list(
            pool.map(lambda k: client("POST", "/api/decode", as_floats(k % 10, *[k / 200] * 10)), range(200))
        )
    assert {status for status, _, _ in answers} == {200}
    alone = client("POST", "/api/decode", as_floats(3, *[103 / 200] * 10))[2]
    assert np.abs(np.frombuffer(alone, np.uint8).astype(int) - np.frombuffer(answers[103][2], np.uint8)).max() <= 1


# --- the worker ------------------------------------------------------------------------------------------------------
@pytest.fixture
def worker():
    one = Worker()
    yield one
    one.stop()


def test_what_people_wait_for_comes_first(worker):
    first, done = Future(), []
    worker.submit(first.result)
    futures = [worker.submit(lambda k=k: done.append(k), AHEAD if k < 2 else 0) for k in range(4)]
    first.set_result(None)
    for future in futures:
        future.result(5)
    assert done == [2, 3, 0, 1]
    with pytest.raises(ZeroDivisionError):
        worker.submit(lambda: 1 / 0).result(5)


def test_requests_that_wait_are_one_call(worker):
    import asyncio

    calls = []

    def double(rows):
        calls.append(len(rows))
        return 2 * rows

    async def ask():
        batched, first = Batched(worker, double), Future()
        worker.submit(first.result)
        tasks = [asyncio.ensure_future(batched(np.full((k, 1), k))) for k in range(1, 5)]
        await asyncio.sleep(0.05)
        first.set_result(None)
        return await asyncio.gather(*tasks)

    results = asyncio.run(ask())
    assert calls == [10] and [r.tolist() for r in results] == [[[2 * k]] * k for k in range(1, 5)]


# --- the rooms, of every system --------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", [*SYSTEMS, "table"])
def test_each_system_has_a_map(name, runs):
    with studio(runs(name)) as asked:
        facts = asked.json("/api/run")
        assert [room["name"] for room in facts["rooms"]] == [room.name for room in ROOMS if "run" in room.of]
        space = asked.json("/api/map/space")
        n = space["n"]
        assert n == (90 if name == "table" else 1797)
        for plane in space["planes"]:
            content = all_points(asked, path="/api/map/points", plane=plane["name"])
            rows = np.frombuffer(content, "<u4").reshape(n, 3)[:, 0]
            assert sorted(rows) == list(range(n))
            places = np.frombuffer(content, "<f4").reshape(n, 3)[:, 1:]
            assert np.isfinite(places).all() and places[:, 0].std() > 0
        for column in space["columns"]:
            values = np.frombuffer(all_points(asked, path="/api/map/column", name=column["name"]), "<f4")
            assert len(values) == n and np.isfinite(values).all()
            assert column["names"] is None or values.max() < len(column["names"])
        item = asked.json("/api/items/code", item=7)
        near = asked.json("/api/items/neighbours", as_floats(item["value"], *item["z"]), n=3)
        assert near[0]["item"] == 7 and len(near) == 3 and near[0]["part"] in PARTS
        check_decoded(asked, Run.open(runs(name)), space, item)


def check_decoded(asked, run, space, item):
    """The code of an item decodes to its reconstruction."""
    model = run.fitted()
    status, _, content = asked("POST", "/api/decode", as_floats(max(item["value"], 0), *item["z"]))
    if space["decoded"] is None:
        assert status == 400 and not hasattr(model, "inverse_transform")
        return
    assert status == 200
    z = np.array([item["z"]], np.float32)
    if space["values"]:
        z = np.concatenate([np.eye(len(space["values"]), dtype=np.float32)[[item["value"]]], z], 1)
    expected = model.inverse_transform(z)
    if space["decoded"] == "image":
        pixels = np.frombuffer(content, np.uint8).reshape(expected.shape)
        assert np.abs(pixels - 255 * expected).max() <= 0.51
    else:
        header, line = json.loads(content)
        assert header == ["colour", "size"] and line[0] in ("red", "green", "blue") and 0 <= float(line[1]) <= 9


def test_a_place_on_an_island_is_of_its_class(runs):
    """Places lie around the centre of their class, at the scaled projection of z."""
    with studio(runs("style")) as asked:
        space = asked.json("/api/map/space")
        island = space["planes"][0]
        item = asked.json("/api/items/code", item=3)
        along = (np.array(item["z"]) - space["origin"]) @ np.array(space["axes"])[:2].T
        expected = np.array(island["centres"])[item["value"]] + island["scale"] * along
        np.testing.assert_allclose(item["places"]["islands"], expected, atol=1e-4)


@pytest.mark.parametrize("n", [1, 2, 5, 12, 13, 40])
def test_islands_do_not_touch(n):
    centres = sunflower(n)
    distances = np.linalg.norm(centres[:, None] - centres, axis=2) + 99 * np.eye(n)
    assert centres.shape == (n, 2) and distances.min() >= 2.2


def test_an_upload_has_the_code_of_its_item(client, runs):
    """A picture of an item, saved and uploaded, is encoded as the item itself."""
    from PIL import Image

    pixels = np.frombuffer(client("POST", "/api/items/pictures", np.array([4], "<u4").tobytes())[2], np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels.reshape(8, 8)).save(file, "PNG")
    upload = client.json("/api/style/upload", file.getvalue())
    item = client.json("/api/items/code", item=4)
    np.testing.assert_allclose(upload["z"], item["z"], atol=0.05)
    assert upload["value"] == item["value"] and sum(upload["p"]) == pytest.approx(1, abs=1e-3)


def test_drawings_are_placed_as_items_are(client):
    ink = client.json("/api/style/facts")["ink"]
    assert ink["light"] is False and 0.7 < ink["size"] <= 1 and 0.3 < ink["x"] < 0.7 and 0.3 < ink["y"] < 0.7


# --- new rows --------------------------------------------------------------------------------------------------------
def test_without_temperature_all_rows_of_a_class_are_its_mean(client):
    cold = client("GET", "/api/generate/rows", n=5, value=3, temperature=0, seed=1)[2]
    pictures = np.frombuffer(cold, np.uint8).reshape(5, 64).astype(int)
    assert np.abs(pictures - pictures[0]).max() <= 1
    warm = [client("GET", "/api/generate/rows", n=5, value=3, seed=seed)[2] for seed in (1, 1, 2)]
    assert warm[0] == warm[1] != warm[2]


def test_arrays_can_be_loaded(client):
    content = client("GET", "/api/generate/rows.npz", n=500, value=7)[2]
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        assert arrays["X"].shape == (500, 1, 8, 8) and arrays["z"].shape == (500, 10) and set(arrays["y"]) == {"7"}


def test_tables_come_in_their_columns(runs, tmp_path):
    with studio(runs("table")) as asked:
        content = asked("GET", "/api/generate/rows.csv", n=60, value=1)[2]
        assert asked.json("/api/generate/facts")["values"] == ["large", "small"]
    (tmp_path / "new.csv").write_bytes(content)
    assert content.splitlines()[0] == b"kind,colour,size"
    table = data.load(str(tmp_path / "new.csv"), target="kind")
    assert table.classes == ("small",) and len(table.X) == 60


@pytest.mark.parametrize(
    "query", [{"n": 0}, {"n": 401}, {"value": 10}, {"component": 4}, {"temperature": -1}, {"seed": "x"}]
)
def test_wrong_wishes_are_refused(client, query):
    status, _, content = client("GET", "/api/generate/rows", **query)
    assert status == 400 and "error" in json.loads(content)


# --- runs that change ------------------------------------------------------------------------------------------------
def test_a_studio_may_begin_before_its_run(tmp_path):
    with studio(tmp_path / "run") as asked:
        facts = asked.json("/api/run")
        rooms = {room["name"]: room["closed"] for room in facts["rooms"]}
        assert rooms["training"] == "" and "not complete" in rooms["map"] and facts["system"] == ""
        assert asked.json("/api/training/state")["state"] == "waiting"
        assert asked("GET", "/api/map/space")[0] == 400
        make_run(tmp_path / "run", "generator", data="digits", concludes=True)
        assert {room["closed"] for room in asked.json("/api/run")["rooms"]} == {""}
        assert asked.json("/api/training/state")["state"] == "complete"
        curves = asked.json("/api/training/curves")
        assert {"reconstruction", "z/D(real)"} <= {one["name"] for one in curves["series"]}
        assert asked.json("/api/training/curves", version=curves["version"])["series"] is None
        status, headers, content = asked("GET", "/api/training/samples")
        assert (status, headers["x-shape"], len(content)) == (200, "1,8,8", 6400)
        assert asked("GET", "/api/training/samples", step=headers["x-step"])[0] == 204
        for request in ("pause", "resume"):
            status, _, content = asked("POST", f"/api/training/{request}", b"")
            assert status == 400 and "expected" in json.loads(content)["error"]


# --- t-SNE -----------------------------------------------------------------------------------------------------------
def test_neighbours_in_the_plane_are_neighbours_in_codes(worker):
    """Those of the sample by t-SNE, the others between the nearest of these."""
    random = np.random.default_rng(0)
    group = random.integers(0, 3, 200)
    codes = (20 * np.eye(3)[group] + random.normal(0, 1, (200, 3))).astype(np.float32)
    plane = neighbourhoods.Neighbourhoods(worker, random.permutation(200), lambda index: codes[index])
    assert np.isnan(plane.places).all()
    plane.begin()
    plane.begin()
    while plane.n_done < 200 and plane.problem is None:
        time.sleep(0.01)
    assert plane.problem is None
    nearest = np.square(plane.places[:, None] - plane.places[None]).sum(2) + np.diag(np.full(200, np.inf))
    assert (group[nearest.argmin(1)] == group).mean() > 0.98


@pytest.mark.parametrize("codes", [np.zeros((40, 5)), np.zeros((1, 3)), np.ones((4, 1)), np.eye(7)])
def test_codes_without_neighbours_have_places_too(codes):
    places = neighbourhoods.embedded(codes.astype(np.float32))
    assert places.shape == (len(codes), 2) and np.isfinite(places).all()


def test_t_sne_is_a_plane_where_others_show_less_than_the_code(runs, client):
    assert [plane["name"] for plane in client.json("/api/map/space")["planes"]] == ["islands", "plane", "tsne"]
    rows = np.frombuffer(all_points(client, path="/api/map/points", plane="tsne"), np.float32).reshape(-1, 3)
    items = rows[:, 0].copy().view(np.uint32)
    assert np.isfinite(rows).all() and len(set(items.tolist())) == client.json("/api/map/space")["n"]
    item = int(items[5])
    assert client.json("/api/items/code", item=item)["places"]["tsne"] == pytest.approx(rows[5, 1:].tolist())
    with studio(runs("generator")) as asked:  # its codes have two dimensions
        assert [plane["name"] for plane in asked.json("/api/map/space")["planes"]] == ["plane"]
        assert asked("GET", "/api/map/points", plane="tsne")[0] == 400
