"""The pages of the studio in a real browser; skipped where there is none.

With AAE_SCREENSHOTS=RUN, a run that was trained well, `docs/images/studio-*.png` are drawn again.
"""

import os
import re
from pathlib import Path

import numpy as np
import pytest

from aaekit import data
from aaekit.studio.export import bundle, export
from tests.studio import all_points, browser, make_run, studio

AXE = Path(__file__).parent / "browser" / "node_modules" / "axe-core" / "axe.min.js"
SCREENSHOTS = os.environ.get("AAE_SCREENSHOTS")
ROOMS = ("map", "training", "style", "generate")  # with pictures in the documentation
FURTHER = ("turing", "compare", "health")
MARKUP = "<img src=x onerror='window.hacked=1'>"


@pytest.fixture(scope="module")
def window():
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Of digits; some classes have names that a careless page would take for markup."""
    folder = tmp_path_factory.mktemp("run")
    digits = data.load("digits")
    names = np.array([MARKUP, "</script><script>window.hacked=1</script>", *map(str, range(2, 10))])
    np.savez(folder / "digits.npz", X=digits.X[:400], y=digits.y[:400], classes=names)
    return make_run(
        folder / "run", "classifier", data=str(folder / "digits.npz"), style_matching="per_class",
        labels=50,
    )  # fmt: skip


@pytest.fixture(scope="module")
def client(run):
    with studio(run.path) as asked:
        yield asked


@pytest.fixture(scope="module")
def opened(window, client):
    """The page of the studio, and the errors in its console."""
    page = window.new_page(viewport={"width": 1280, "height": 860}, color_scheme="light", accept_downloads=True)
    page.problems, page.client = [], client
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("console", lambda message: page.problems.append(message.text) if message.type == "error" else None)
    page.goto(client.link)
    page.wait_for_selector("#room[aria-busy=false]")
    return page


@pytest.fixture
def page(opened):
    """The page, which fails the test on any error in its console."""
    yield opened
    opened.set_viewport_size({"width": 1280, "height": 860})
    opened.emulate_media(color_scheme="light")
    problems, opened.problems[:] = [*opened.problems], []
    assert problems == [] and opened.evaluate("window.hacked") is None


READY = {
    "map": ".map[data-complete]",
    "training": ".chart",
    "style": ".style-variants",
    "generate": ".generate-grid",
    "turing": ".turing-choice",
    "compare": "h1",
    "health": "h1",
}


def enter(page, room):
    """Leave the present room, then enter a room."""
    page.evaluate("location.hash = 'none'; dispatchEvent(new Event('hashchange'))")
    page.evaluate(f"location.hash = '{room}'")
    page.wait_for_selector(f"#room[aria-busy=false] [data-room={room}]")
    page.wait_for_selector(READY[room])


def pixels(page, selector):
    return page.evaluate(
        "s => { const c = document.querySelector(s); return [...c.getContext('2d').getImageData(0, 0, c.width, "
        "c.height).data].filter((_, k) => k % 4 === 0) }",
        selector,
    )


def drag(page, *places):
    box = page.locator(".plane").bounding_box()
    for k, (x, y) in enumerate(places):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
        if k == 0:
            page.mouse.down()
    page.mouse.up()


# --- all rooms -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("room", [*ROOMS, *FURTHER])
def test_rooms_are_accessible_in_light_and_dark(page, room):
    if not AXE.exists():
        pytest.skip("needs axe-core: run npm ci in tests/browser")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        enter(page, room)
        page.evaluate(AXE.read_text(encoding="utf-8"))
        violations = page.evaluate("axe.run(document, {resultTypes: ['violations']}).then(r => r.violations)")
        serious = [
            (v["id"], [n["html"][:200] for n in v["nodes"]])
            for v in violations
            if v["impact"] in ("serious", "critical")
        ]
        assert serious == [], (scheme, serious)


@pytest.mark.parametrize("room", [*ROOMS, *FURTHER])
def test_rooms_fit_a_phone(page, room):
    page.set_viewport_size({"width": 390, "height": 844})
    enter(page, room)
    wide = page.evaluate("document.documentElement.scrollWidth > innerWidth")
    inner = page.evaluate("(m => m.scrollWidth > m.clientWidth + 1)(document.querySelector('main'))")
    assert not wide and not inner
    left, right = page.evaluate(
        "(b => [b.left, b.right])(document.querySelector('.rooms a[aria-current]').getBoundingClientRect())"
    )
    assert left >= -1 and right <= 391


def test_the_token_leaves_the_address(page):
    enter(page, "map")
    assert "token" not in page.url
    page.reload()
    enter(page, "generate")
    assert page.locator(".rooms a[aria-current=page]").inner_text() == "Generate"


def test_names_are_texts(page):
    enter(page, "map")
    assert page.locator(".legend .name").filter(has_text="<img src=x").count() == 1


def test_the_theme_can_be_switched(page):
    enter(page, "generate")
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("#theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    page.reload()
    page.wait_for_selector("[data-room=generate]")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.evaluate("localStorage.clear()")
    page.reload()


def test_the_rooms_are_reached_by_keyboard(page):
    enter(page, "map")
    page.evaluate("document.querySelector('.rooms a').focus()")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-room=training]")


def test_a_server_that_is_gone_is_said(page):
    enter(page, "generate")
    page.route("**/api/**", lambda route: route.abort())
    page.reload()
    assert "not reachable" in page.locator("main").inner_text()
    page.unroute("**/api/**")
    page.click("text=Try again")
    page.wait_for_selector("[data-room=generate]")
    assert page.problems.pop().startswith("Failed to load")


# --- the map ---------------------------------------------------------------------------------------------------------
def test_what_is_dragged_over_is_decoded(page):
    enter(page, "map")
    drag(page, (0.3, 0.3), (0.5, 0.2))
    page.wait_for_timeout(300)
    first = pixels(page, ".decoded canvas")
    drag(page, (0.5, 0.2), (0.6, 0.75))
    page.wait_for_timeout(300)
    second = pixels(page, ".decoded canvas")
    assert len(first) == 64 and first != second
    page.wait_for_selector(".side .tile")
    page.locator(".plane").focus()
    for _ in range(5):
        page.keyboard.press("Shift+ArrowLeft")
    page.wait_for_timeout(300)
    assert pixels(page, ".decoded canvas") != second


def test_an_item_is_decoded_by_its_whole_code(page):
    """Not by what the plane shows of it."""
    enter(page, "map")
    page.fill("input[aria-label='Number of an item']", "5")
    page.click("text=Find")
    page.wait_for_selector("text=Its nearest items")
    page.wait_for_timeout(300)
    code = page.client.json("/api/items/code", item=5)
    made = page.client("POST", "/api/decode", np.array([code["value"], *code["z"]], "<f4").tobytes())[2]
    assert np.abs(np.array(pixels(page, ".decoded canvas")) - np.frombuffer(made, np.uint8)).max() <= 1


def test_a_lasso_selects(page):
    enter(page, "map")
    page.click("[data-mode=lasso]")
    drag(page, (0.1, 0.02), (0.98, 0.02), (0.98, 0.98), (0.02, 0.98), (0.02, 0.05))
    page.wait_for_selector("text=/^[34]\\d\\d selected$/")
    assert page.locator(".side .tile").count() >= 60
    page.click("text=Clear")
    assert page.locator("text=/selected$/").is_hidden()


def test_a_path_is_played(page):
    enter(page, "map")
    page.click("[data-mode=path]")
    drag(page, (0.3, 0.3), (0.6, 0.3), (0.6, 0.7))
    page.wait_for_selector("text=Pause")
    first = pixels(page, ".decoded canvas")
    page.wait_for_timeout(600)
    assert pixels(page, ".decoded canvas") != first
    page.click("text=Pause")
    page.click("text=Remove the path")
    assert page.locator(".map .path").count() == 0


def test_planes_and_colours_can_be_chosen(page):
    enter(page, "map")
    page.click("text=Styles: principal directions")
    page.wait_for_timeout(300)
    page.select_option(".room-head select", "error")
    page.wait_for_selector(".ramp")
    page.wait_for_selector("text=/^400 items$/")


def test_where_places_have_no_codes_the_probe_moves_from_item_to_item(page):
    enter(page, "map")
    page.click("text=Neighbours (t-SNE)")
    page.wait_for_selector(".map[data-complete]")
    assert page.locator("[data-mode=path]").is_hidden()
    drag(page, (0.4, 0.4), (0.55, 0.5))
    page.wait_for_selector(".side .tile")
    first = int(re.match(r"item (\d+)", page.locator(".side .tile").first.get_attribute("title"))[1])
    code = page.client.json("/api/items/code", item=first)
    made = page.client("POST", "/api/decode", np.array([code["value"], *code["z"]], "<f4").tobytes())[2]
    assert np.abs(np.array(pixels(page, ".decoded canvas")) - np.frombuffer(made, np.uint8)).max() <= 1
    probe = page.locator(".probe").get_attribute("style")
    page.locator(".plane").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(200)
    assert page.locator(".probe").get_attribute("style") != probe


# --- the other rooms -------------------------------------------------------------------------------------------------
def test_a_drawing_has_a_class_and_a_style(page):
    enter(page, "style")
    box = page.locator(".style-pad").bounding_box()
    before = pixels(page, ".style-variants canvas")
    page.mouse.move(box["x"] + 90, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 90, box["y"] + 160, steps=8)
    page.mouse.up()
    page.wait_for_selector(".style-answer")
    assert page.locator(".style-variants figure.own").count() == 1
    page.wait_for_timeout(300)
    assert pixels(page, ".style-variants canvas") != before


def test_new_rows_can_be_downloaded(page):
    enter(page, "generate")
    page.wait_for_selector(".generate-grid canvas")
    assert page.locator(".generate-grid canvas").count() == 60
    with page.expect_download() as download:
        page.click("button:has-text('NPZ')")
    with np.load(download.value.path(), allow_pickle=False) as arrays:
        assert arrays["X"].shape == (1000, 1, 8, 8)
    with page.expect_download() as download:
        page.click("text=These as PNG")
    assert Path(download.value.path()).read_bytes()[:4] == b"\x89PNG"


# --- the page of one file --------------------------------------------------------------------------------------------
def test_a_page_alone_decodes_as_the_model_does(window, client, run, tmp_path):
    """The decoder in plain JavaScript, with weights of 16 bits."""
    file = export(run.path, tmp_path / "map.html")
    assert file.stat().st_size < 2e6
    context = window.new_context(viewport={"width": 1280, "height": 860})
    page = context.new_page()
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("request", lambda r: problems.append(r.url) if not r.url.startswith(("file:", "data:", "blob:")) else None)
    page.goto(file.as_uri())
    page.wait_for_selector(".map[data-complete]")
    page.fill("input[aria-label='Number of an item']", "9")
    page.click("text=Find")
    page.wait_for_selector("text=Its nearest items")
    page.wait_for_timeout(200)
    decoded = np.array(pixels(page, ".decoded canvas"))
    model = run.fitted()
    row = run.data.X[[9]]
    y = np.eye(10, dtype=np.float32)[model.predict_proba(row).argmax(1)]
    made = model.inverse_transform(np.concatenate([y, model.transform(row)], 1))
    assert np.abs(decoded - 255 * made.ravel()).max() <= 2
    all_points(client, path="/api/map/points", plane="plane")
    item = client.json("/api/items/code", item=9)
    code = np.array([item["value"], *item["z"]], "<f4").tobytes()
    near = [one["item"] for one in client.json("/api/items/neighbours", code, n=13)]
    titles = page.eval_on_selector_all(".side .tile", "tiles => tiles.map(tile => tile.title)")
    assert [int(re.match(r"item (\d+)", title)[1]) for title in titles] == [k for k in near if k != 9]
    assert problems == [] and page.evaluate("window.hacked") is None
    context.close()


@pytest.mark.skipif(SCREENSHOTS is None, reason="draws pictures on request")
@pytest.mark.parametrize(
    ("room", "scheme", "size"),
    [*((room, "light", (1280, 800)) for room in ROOMS), ("map", "dark", (1280, 800)), ("map", "phone", (390, 844))],
)
def test_screenshots(window, room, scheme, size):
    with studio(SCREENSHOTS) as client:
        page = window.new_page(
            viewport={"width": size[0], "height": size[1]}, color_scheme="dark" if scheme == "dark" else "light"
        )
        page.client = client
        page.goto(client.link)
        page.wait_for_selector("#room[aria-busy=false]")
        enter(page, room)
        if room == "map":
            page.wait_for_timeout(500)
            drag(page, (0.5, 0.4), (0.52, 0.22))
            page.wait_for_selector(".side .tile")
        if room == "style":
            box = page.locator(".style-pad").bounding_box()
            for k, (x, y) in enumerate(((0.3, 0.25), (0.7, 0.25), (0.45, 0.8))):
                page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=5)
                if k == 0:
                    page.mouse.down()
            page.mouse.up()
            page.wait_for_selector(".style-answer")
        page.wait_for_timeout(800)
        name = f"studio-{room}" + ("" if scheme == "light" else f"-{scheme}")
        page.screenshot(path=Path(__file__).parents[1] / "docs" / "images" / f"{name}.png")
        page.close()


def test_names_at_the_top_of_the_bundle_are_different():
    script = bundle("offline/page.js")
    names = re.findall(r"^(?:async )?(?:function|class|const|let) (\w+)", script, re.MULTILINE)
    assert len(names) == len(set(names)) > 30 and "import " not in script.split("\n", 3)[0]
