"""How fast the studio answers: from the pointer to the picture in a browser, many clients at once, and many items.

    python -m benchmarks.studio RUN
    python -m benchmarks.studio --items 1000000

Prints a line of JSON for each: milliseconds from a move of the pointer to the decoded picture (median and 95th
percentile), of these those from the moment when the browser hands the move to the page; and for 200 clients the answers
by status, their milliseconds and the growth of memory.

With `--items` it measures the map of a run of so many rows of four numbers, which it makes: seconds from the address
to the first points and to all of them, the longest time between two frames of the page meanwhile, milliseconds from the
first move of the pointer to the item below it and from frame to frame while the map is moved, and the memory of the
page and, beyond that of its libraries, of the server.
"""

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

MOVES, CLIENTS, ROUNDS = 300, 200, 10
COLLECT = (
    "() => { window.times = []; document.querySelector('.map').addEventListener('decoded', e => times.push(e.detail)) }"
)
WATCH = """window.gaps = []; let last = performance.now();
const look = now => { window.gaps.push(now - last); last = now; requestAnimationFrame(look) };
requestAnimationFrame(look)"""


def main() -> None:
    """Measure a run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--server", action="store_true", help="decode in the server, whatever the page could")
    parser.add_argument("--items", type=int, help="make a run of so many rows, and measure its map")
    arguments = parser.parse_args()
    if arguments.items:
        with tempfile.TemporaryDirectory() as folder:
            measure_items(Path(folder), arguments.items)
    if arguments.run:
        measure_answers(arguments.run, arguments.server)


def measure_items(folder: Path, n: int) -> None:
    """Measure the map of a run of n rows."""
    from tests.studio import browser, make_run, studio

    random = np.random.default_rng(0)
    group = random.integers(0, 3, (n, 1))
    np.save(folder / "rows.npy", (random.normal(size=(n, 4)) + 4 * group).astype(np.float32))
    options = {"data": str(folder / "rows.npy"), "max_steps": 20}
    training = multiprocessing.get_context("spawn").Process(
        target=make_run, args=(folder / "run", "generator"), kwargs=options
    )
    training.start()
    training.join()
    before = memory()
    with studio(folder / "run") as client, browser() as window:
        page = window.new_page(viewport={"width": 1280, "height": 860})
        page.add_init_script(WATCH)
        began = time.perf_counter()
        page.goto(client.link + "#map")
        page.wait_for_selector(".map[data-points]", timeout=600_000)
        first = time.perf_counter() - began
        page.wait_for_selector(".map[data-complete]", timeout=600_000)
        whole = time.perf_counter() - began
        opening = page.evaluate("gaps.splice(0)")
        box = page.locator(".plane").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        began = time.perf_counter()
        page.wait_for_selector(".hover-card:visible", timeout=60_000)
        hover = time.perf_counter() - began
        page.click("[data-mode=pan]")
        page.mouse.move(x, y)
        page.mouse.down()
        page.evaluate("gaps.splice(0)")
        for k in range(MOVES):
            page.mouse.move(x + 200 * np.sin(k / 20), y + 100 * np.sin(k / 15))
            time.sleep(0.016)
        frames = page.evaluate("gaps.splice(0)")
        report(
            "items", items=n, first_points_s=round(first, 1), all_points_s=round(whole, 1),
            longest_gap_ms=round(max(opening)), first_hover_ms=round(1000 * hover),
            frame_median_ms=round(statistics.median(frames), 1),
            frame_percentile_95_ms=round(float(np.percentile(frames, 95)), 1),
            page_mib=round(page.evaluate("performance.memory.usedJSHeapSize") / 2**20),
            server_mib=round(memory() - before),
        )  # fmt: skip


def memory() -> float:
    """The largest memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_answers(run: Path, server: bool) -> None:
    """Measure how fast a run is decoded, in a browser and for many clients."""
    from aaekit.errors import InputError
    from aaekit.runs.run import Run
    from tests.studio import browser, studio

    try:
        Run.open(run)
    except InputError as error:
        sys.exit(f"error: {error}")
    with studio(run) as client:
        with browser() as window:
            page = window.new_page(viewport={"width": 1280, "height": 860})
            if server:
                page.route("**/api/map/network", lambda route: route.fulfill(json={"layers": None}))
            page.goto(client.link + "#map")
            page.wait_for_selector(".map[data-complete]", timeout=600_000)
            page.evaluate(COLLECT)
            box = page.locator(".plane").bounding_box()
            x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
            page.mouse.move(x, y)
            page.mouse.down()
            for k in range(MOVES):
                angle, radius = k / 12, 40 + k / 3
                page.mouse.move(x + radius * np.cos(angle), y + radius * np.sin(angle))
                time.sleep(0.016)
            page.mouse.up()
            times = np.array(page.evaluate("times"))
            decoder = page.get_attribute(".map", "data-decoder")
            median, high = (np.percentile(times, q, axis=0).round(2).tolist() for q in (50, 95))
            report(
                "drag", decoder=decoder, pictures=len(times), median_ms=median[0], percentile_95_ms=high[0],
                from_handler_median_ms=median[1], from_handler_percentile_95_ms=high[1],
            )  # fmt: skip
        space = client.json("/api/map/space")
        before = memory()
        code = np.zeros(1 + space["nDims"], "<f4").tobytes()
        seconds: list[float] = []
        lock = threading.Lock()

        def ask(_: int) -> list[int]:
            statuses = []
            for _ in range(ROUNDS):
                began = time.perf_counter()
                statuses.append(client("POST", "/api/decode", code)[0])
                with lock:
                    seconds.append(time.perf_counter() - began)
            return statuses

        with ThreadPoolExecutor(CLIENTS) as pool:
            statuses = sum(pool.map(ask, range(CLIENTS)), [])
        counts = {str(s): statuses.count(s) for s in sorted(set(statuses))}
        report(
            "clients", clients=CLIENTS, answers=counts, median_ms=round(1000 * statistics.median(seconds), 1),
            largest_ms=round(1000 * max(seconds), 1), memory_growth_mib=round(memory() - before, 1),
        )  # fmt: skip


def report(name: str, **facts: object) -> None:
    """Print a line."""
    print(json.dumps({"measure": name, "load": round(os.getloadavg()[0], 1), **facts}))


if __name__ == "__main__":
    main()
