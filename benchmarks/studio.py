"""How fast the studio answers: from the pointer to the picture in a browser, and many clients at once.

    python -m benchmarks.studio RUN

Prints a line of JSON for each: milliseconds from a move of the pointer to the decoded picture (median and 95th
percentile), of these those from the moment when the browser hands the move to the page; and for 200 clients the answers
by status, their milliseconds and the growth of memory.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

MOVES, CLIENTS, ROUNDS = 300, 200, 10
COLLECT = (
    "() => { window.times = []; document.querySelector('.map').addEventListener('decoded', e => times.push(e.detail)) }"
)


def main() -> None:
    """Measure a run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--server", action="store_true", help="decode in the server, whatever the page could")
    arguments = parser.parse_args()
    run, server = arguments.run, arguments.server
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
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
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
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        counts = {str(s): statuses.count(s) for s in sorted(set(statuses))}
        report(
            "clients", clients=CLIENTS, answers=counts, median_ms=round(1000 * statistics.median(seconds), 1),
            largest_ms=round(1000 * max(seconds), 1), memory_growth_mib=round(grown, 1),
        )  # fmt: skip


def report(name: str, **facts: object) -> None:
    """Print a line."""
    print(json.dumps({"measure": name, "load": round(os.getloadavg()[0], 1), **facts}))


if __name__ == "__main__":
    main()
