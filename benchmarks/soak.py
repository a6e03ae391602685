"""Whether the studio keeps its memory and its files under long, mixed use.

    python -m benchmarks.soak RUN [--minutes 10] [--out LOG]

Starts `aae studio RUN` and asks it as several people would who look at the map, decode, generate, search and read
curves; some requests are wrong. Prints a line of JSON a minute: resident memory, open descriptors, and answers by
status. The exit code is 1 if memory grows by more than 2 % after the warm-up, descriptors are not closed, or an answer
is an error of the server.
"""

import argparse
import http.client
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from aaekit._files import write_text
from aaekit.errors import InputError
from aaekit.runs.run import Run

PEOPLE, PAUSE = 4, 0.02  # who ask at once, and the seconds between two requests of one of them
WARM_UP = 0.3  # share of the time in which caches fill and the allocator settles
MAX_GROWTH = 0.02  # of the memory, after that
N_ITEMS = 50  # the items that are asked for
DEEP = b"[" * 5000 + b"]" * 5000


class Server:
    """A studio of a run in a process of its own."""

    def __init__(self, run: Path) -> None:
        command = [sys.executable, "-m", "aaekit", "studio", str(run), "--no-open"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        address, _, self.token = line.strip().rpartition("/?token=")
        if not self.token:
            raise InputError(f"expected the link of a studio, got {line.strip()!r}")
        self.port = int(address.rpartition(":")[2])

    def ask(self, method: str, path: str, body: bytes | None = None, token: str | None = None) -> tuple[int, bytes]:
        """Status and body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            headers = {"Authorization": f"Bearer {self.token if token is None else token}"}
            connection.request(method, path, body, headers | {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def stop(self) -> None:
        """End the process."""
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        self.process.kill()
        self.process.communicate()


def measure(pid: int) -> dict[str, float]:
    """The resident memory of a process in MiB, and its open descriptors."""
    with open(f"/proc/{pid}/statm") as file:
        pages = int(file.read().split()[1])
    return {
        "rss_mib": round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1),
        "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
    }


def leaks(samples: Sequence[dict[str, float]]) -> list[str]:
    """What grows over samples that were taken at equal intervals, a line each; the warm-up does not count."""
    settled = samples[round(WARM_UP * len(samples)) :]
    n = max(1, len(settled) // 3)
    lines = []
    before, after = (median(s["rss_mib"] for s in part) for part in (settled[:n], settled[-n:]))
    if after > (1 + MAX_GROWTH) * before:
        lines.append(f"memory grew from {before:.1f} to {after:.1f} MiB")
    before, after = max(s["descriptors"] for s in settled[:n]), min(s["descriptors"] for s in settled[-n:])
    if after > before:
        lines.append(f"descriptors grew from {before:.0f} to {after:.0f}")
    return lines


def requests(space: dict[str, Any], rng: random.Random) -> tuple[Any, ...]:
    """A random request: method, path, body and, if it is a wrong one, the token."""
    code = np.random.default_rng(rng.randrange(2**32)).normal(size=1 + space["nDims"]).astype("<f4")
    code[0] = 0
    items = np.array([rng.randrange(N_ITEMS) for _ in range(8)], "<u4").tobytes()
    plane = space["planes"][0]["name"]
    return rng.choice(
        [
            ("GET", "/"),
            ("GET", "/api/run"),
            ("GET", "/api/map/space"),
            ("GET", f"/api/map/points?plane={plane}"),
            ("GET", "/api/map/column?name=label"),
            ("GET", f"/api/items/code?item={rng.randrange(N_ITEMS)}"),
            ("GET", f"/api/generate/rows?n=16&seed={rng.randrange(100)}"),
            ("GET", "/api/generate/facts"),
            ("GET", "/api/training/state"),
            ("GET", "/api/training/curves"),
            ("GET", "/api/compare/runs"),
            ("GET", "/api/health/findings"),
            ("POST", "/api/items/facts", items),
            ("POST", "/api/items/pictures", items),
            ("POST", "/api/items/neighbours", code.tobytes()),
            *[("POST", "/api/decode", code.tobytes())] * 5,
            ("GET", "/api/run", None, "wrong"),
            ("GET", "/api/items/code?item=999999999"),
            ("GET", "/no/such/page"),
            ("POST", "/api/decode", items[:7]),
            ("POST", "/api/style/upload", items),
            ("POST", "/api/turing/answer", DEEP),
        ]
    )


def use(server: Server, space: dict[str, Any], seconds: float, seed: int) -> Counter[int]:
    """Ask as one person does for so long; answers by status."""
    rng, statuses, end = random.Random(seed), Counter[int](), time.monotonic() + seconds
    while time.monotonic() < end:
        statuses[server.ask(*requests(space, rng))[0]] += 1
        time.sleep(PAUSE)
    return statuses


def soak(run: Path, n: int, seconds: float, say: Any = print) -> int:
    """Use a studio of a run for n times so many seconds; the exit code."""
    if sys.platform != "linux":
        raise InputError("expected Linux, whose /proc has the memory of other processes, got another system")
    Run.open(run)
    server = Server(run)
    try:
        _, content = server.ask("GET", "/api/map/space")
        space, samples, n_errors = json.loads(content), [], 0
        for minute in range(1, n + 1):
            with ThreadPoolExecutor(PEOPLE) as pool:
                people = [pool.submit(use, server, space, seconds, PEOPLE * minute + k) for k in range(PEOPLE)]
            answers = sum((person.result() for person in people), Counter[int]())
            n_errors += sum(count for status, count in answers.items() if status >= 500)
            samples.append(measure(server.process.pid))
            line = {"minute": minute, **samples[-1], "answers": {str(k): answers[k] for k in sorted(answers)}}
            say(json.dumps(line))
    finally:
        server.stop()
    problems = leaks(samples) + ([f"{n_errors} answers are errors of the server"] if n_errors else [])
    say(json.dumps({"command": f"python -m benchmarks.soak RUN --minutes {n}", "problems": problems}))
    return 1 if problems else 0


def main() -> None:
    """Soak a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--out", type=Path, help="file for the lines, too")
    arguments = parser.parse_args()
    lines: list[str] = []

    def say(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    try:
        code = soak(arguments.run, arguments.minutes, 60.0, say)
    except InputError as error:
        sys.exit(f"error: {error}")
    if arguments.out is not None:
        write_text(arguments.out, "\n".join([*lines, ""]))
    sys.exit(code)


if __name__ == "__main__":
    main()
