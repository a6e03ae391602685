"""The measurements: comparisons of implementations, limits of the machine, and costs besides training."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from aaekit import AdversarialAutoencoder, SemiSupervisedAAE, data
from aaekit.core.batches import Minibatches
from aaekit.core.device import has_fast_bfloat16
from aaekit.core.loop import Training
from aaekit.core.profiling import operations
from benchmarks import sides

BATCHES = (100, 500)
Table = dict[str, list[float]]


def timed(function: Callable[[], Any], n: int) -> float:
    """Median seconds of n calls, after two warm-up calls."""
    seconds = []
    for _ in range(n + 2):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return median(seconds[2:])


@contextmanager
def pinned(n: int) -> Iterator[None]:
    """In the block, n threads compute; if that is not all cores, on the last n of them alone (Linux).

    What several threads wait for each other to do depends on what else the machine does; a single one on a core of its
    own is only slowed down by what shares that core.
    """
    threads = torch.get_num_threads()
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    torch.set_num_threads(n)
    try:
        if n < len(allowed):
            os.sched_setaffinity(0, allowed[-n:])
        yield
    finally:
        if allowed:
            os.sched_setaffinity(0, allowed)
        torch.set_num_threads(threads)


# --- the machine -----------------------------------------------------------------------------------------------------
def limits() -> dict[str, float]:
    """GFLOP/s of matrix products at the shapes of the networks, GB/s of copying, milliseconds of a fused Adam step."""
    values: dict[str, float] = {}
    for dtype in (torch.float32, torch.bfloat16):
        for batch in BATCHES:
            rate = [_gemm(batch, n_in, n_out, dtype) for n_in, n_out in ((784, 1000), (1000, 1000))]
            values[f"GEMM {str(dtype)[6:]}, batch {batch}, GFLOP/s"] = float(np.mean(rate))
    big = torch.ones(2**24)
    other = torch.empty_like(big)
    values["copy, GB/s"] = 2 * 4 * len(big) / timed(lambda: other.copy_(big), 9) / 1e9
    values["fused Adam, 1e6 parameters, ms"] = 1e3 * timed(_adam_step(1_000_000), 9)
    return values


def _gemm(batch: int, n_in: int, n_out: int, dtype: torch.dtype) -> float:
    x, w = torch.randn(batch, n_in).to(dtype), torch.randn(n_out, n_in).to(dtype)
    seconds = timed(lambda: [torch.nn.functional.linear(x, w) for _ in range(10)], 7) / 10
    return 2 * batch * n_in * n_out / seconds / 1e9


def _adam_step(n: int) -> Callable[[], Any]:
    weights = torch.nn.Parameter(torch.zeros(n))
    weights.grad = torch.ones(n)
    return torch.optim.Adam([weights], fused=True).step


# --- comparisons -----------------------------------------------------------------------------------------------------
def interleaved(contest: Mapping[str, Callable[[], float]], rounds: int, say: Callable[[str], None]) -> Table:
    """Steps per second of each side; the sides take turns in every round."""
    speeds: Table = {name: [] for name in contest}
    for k in range(rounds):
        for name, side in contest.items():
            say(f"round {k + 1} of {rounds}: {name}")
            speeds[name].append(1 / side())
    return speeds


def precisions() -> tuple[str, ...]:
    """The precisions to compare; bfloat16 only if the processor multiplies it in hardware."""
    return ("float32", "bfloat16") if has_fast_bfloat16() else ("float32",)


def vanilla(X: np.ndarray, batch: int, steps: int) -> dict[str, Callable[[], float]]:
    """Implementations of the plain adversarial autoencoder."""
    runs = {
        f"ours, {s}, {p}": sides.adversarial_autoencoder(s, p) for s in ("joint", "alternating") for p in precisions()
    }
    runs |= {"pythae": sides.pythae, "textbook loop, tensors": sides.textbook(sides.by_index)}
    runs |= {"textbook loop, pictures": sides.textbook(sides.by_picture)}
    runs |= {"only the products of ours, joint": sides.products_of(sides.adversarial_autoencoder("joint", "float32"))}
    return {name: lambda f=f: f(X, batch, steps) for name, f in runs.items()}


def semi_supervised(X: np.ndarray, y: np.ndarray, batch: int, steps: int) -> dict[str, Callable[[], float]]:
    """Implementations of the semi-supervised model, with as many labelled as unlabelled rows in a step."""
    runs = {f"ours, {s}, {p}": sides.semi_supervised_aae(s, p) for s in ("joint", "alternating") for p in precisions()}
    runs |= {"textbook loop, tensors": sides.textbook_with_labels(sides.by_index)}
    runs |= {"textbook loop, pictures": sides.textbook_with_labels(sides.by_picture)}
    runs |= {"only the products of ours, joint": sides.products_of(sides.semi_supervised_aae("joint", "float32"))}
    return {name: lambda f=f: f(X, y, batch, steps) for name, f in runs.items()}


def classifier(X: np.ndarray, y: np.ndarray, steps: int) -> dict[str, Callable[[], float]]:
    """The default classifier of images, with 100 labels."""
    return {f"ours, {p}": lambda p=p: sides.default_classifier(p)(X, y, steps) for p in precisions()}


def processes(system: str, batch: int, steps: int, threads: int) -> dict[str, Callable[[], float]]:
    """One process with all threads, and two processes that share threads and minibatches (gloo).

    `system` is "generator", fully connected as above, or "classifier", with the defaults for images.
    """

    def run(n: int) -> float:
        with tempfile.TemporaryDirectory(prefix="aae-bench-") as folder:
            arguments = [system, folder, *(str(x) for x in (n, batch, steps, max(1, threads // n)))]
            program = [[sys.executable, "-c", _PROCESS, *arguments, str(rank)] for rank in range(n)]
            running = [subprocess.Popen(p, stdout=subprocess.PIPE, text=True, env=os.environ) for p in program]
            outputs = [process.communicate()[0] for process in running]
        return float(outputs[0].splitlines()[-1])

    return {"1 process": lambda: run(1), "2 processes": lambda: run(2)}


_PROCESS = """
import sys
import numpy as np, torch
import torch.distributed as dist
from aaekit import AdversarialAutoencoder, SemiSupervisedAAE
from benchmarks import sides
system, folder = sys.argv[1:3]
n, batch, steps, threads, rank = map(int, sys.argv[3:])
torch.set_num_threads(threads)
if n > 1:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=n)
random = np.random.default_rng(0)
X = random.integers(0, 256, (batch * 20, 1, 28, 28), dtype=np.uint8)
y = np.where(np.arange(len(X)) < 100, np.arange(len(X)) % 10, -1)
watch = sides.Stopwatch()
how = {"schedule": "joint", "precision": "float32", "batch_size": batch, "max_steps": steps, "random_state": 0}
callbacks = [watch] if rank == 0 else []
if system == "classifier":
    SemiSupervisedAAE(**how).fit(X, y, callbacks=callbacks)
else:
    AdversarialAutoencoder(**{**sides.COMMON, **sides.GENERATOR, **how}).fit(X, callbacks=callbacks)
if rank == 0:
    print(watch.seconds())
"""


def beside_other_work(batch: int, seconds: float, threads: int) -> dict[str, Callable[[], float]]:
    """The classifier of small images: alone, while another program keeps a core busy, and during another training.

    Each with threads that give way (`aaekit.core.threads`), and with a fixed number of threads.
    """

    def run(other: str | None, threads: int, gives_way: bool) -> float:
        arguments = [str(x) for x in (batch, seconds, threads, int(gives_way))]
        program = [sys.executable, "-c", _BESIDE, *arguments]
        others = {None: [], "busy": [[sys.executable, "-c", "while True: pass"]], "training": [program]}[other]
        running = [
            subprocess.Popen(p, stdout=subprocess.DEVNULL, env=os.environ, start_new_session=True) for p in others
        ]
        try:
            return float(_python(_BESIDE, *arguments).splitlines()[-1])
        finally:
            for process in running:
                process.kill()
                process.wait()

    return {
        "alone": lambda: run(None, threads, True),
        "alone, one thread": lambda: run(None, 1, True),
        "beside a busy program": lambda: run("busy", threads, True),
        "beside a busy program, all threads kept": lambda: run("busy", threads, False),
        "beside another like it": lambda: run("training", threads, True),
        "beside another like it, all threads kept": lambda: run("training", threads, False),
    }


_BESIDE = """
import sys, time
import numpy as np, torch
from aaekit import SemiSupervisedAAE
from aaekit.core import threads as cores
from aaekit.core.callbacks import Callback
batch, seconds, threads, gives_way = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "1"
torch.set_num_threads(threads)
if not gives_way:
    cores._seconds_waited = lambda: None
class Watch(Callback):
    def start(self, training):
        self.start_time = time.perf_counter()
    def step(self, training):
        self.n, self.passed = training.n_done, time.perf_counter() - self.start_time
        if self.passed >= seconds:
            raise KeyboardInterrupt
random, watch = np.random.default_rng(0), Watch()
X = random.integers(0, 256, (batch * 20, 1, 8, 8), dtype=np.uint8)
y = np.where(np.arange(len(X)) < 100, np.arange(len(X)) % 10, -1)
try:
    SemiSupervisedAAE(batch_size=batch, max_steps=10**6, n_init=1, random_state=0).fit(X, y, callbacks=[watch])
except KeyboardInterrupt:
    print(watch.passed / watch.n)
"""


def flops(X: np.ndarray, batch: int) -> float:
    """Floating-point operations of the matrix products in one joint step."""

    def count(steps: int) -> int:
        with FlopCounterMode(display=False) as counter:
            sides.adversarial_autoencoder("joint", "float32")(X, batch, steps)
        return counter.get_total_flops()

    return (count(sides.WARMUP + 3) - count(sides.WARMUP + 1)) / 2


def profile(X: np.ndarray, batch: int, steps: int = 20) -> list[dict[str, Any]]:
    """Share of the time and calls per joint step of each operation, the costliest first."""
    profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])

    class AfterWarmup(sides.Stopwatch):
        def step(self, training: Training) -> None:
            super().step(training)
            if len(self.ended) == sides.WARMUP:
                profiler.start()
            elif len(self.ended) == sides.WARMUP + steps:
                profiler.stop()

    sides.adversarial_autoencoder("joint", "auto", AfterWarmup)(X, batch, sides.WARMUP + steps)
    return [{"operation": o.name, "share": o.share, "calls": o.calls} for o in operations(profiler, steps)]


# --- costs besides training ------------------------------------------------------------------------------------------
def input_pipeline(X: np.ndarray, batch: int) -> dict[str, float]:
    """Seconds to shuffle, select and convert all rows once, and the number of steps."""
    rows, n = Minibatches([torch.from_numpy(X)], batch, 0), len(X) // batch
    start = time.perf_counter()
    for i in range(n):
        rows.at(i)[0].float().div_(255)
    return {"seconds": time.perf_counter() - start, "steps": n}


def encoding(n: int) -> dict[str, float]:
    """Seconds to encode n images of MNIST's size, the time of its matrix products alone, and additional memory."""
    rng = np.random.default_rng(0)
    model = AdversarialAutoencoder(**sides.COMMON, **sides.GENERATOR, max_steps=2, batch_size=100)
    model.fit(rng.integers(0, 256, (200, 1, 28, 28), dtype=np.uint8))
    X = np.empty((n, 1, 28, 28), np.uint8)
    for part in np.array_split(X, max(1, n // 10_000)):
        part[:] = rng.integers(0, 256, part.shape, dtype=np.uint8)
    model.transform(X[:2000])
    before, start = peak(), time.perf_counter()
    Z = model.transform(X)
    seconds = time.perf_counter() - start
    weights = [torch.randn(a, b) for a, b in ((1000, 784), (1000, 1000), (sides.N_CODE, 1000))]
    x = torch.randn(1000, 784)

    def products() -> None:
        h = x
        for w in weights:
            h = torch.nn.functional.linear(h, w)

    limit = timed(products, 9) * n / 1000
    grown = (peak() - before - Z.nbytes) / 2**20
    return {"rows": n, "seconds": seconds, "products alone": limit, "share": limit / seconds, "grown, MiB": grown}


def peak() -> int:
    """Peak memory of this process in bytes; getrusage would count that of its parent, too."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def rows_of_a_file(n: int, steps: int = 150) -> dict[str, float]:
    """Rows per second from a memory-mapped file of n synthetic images, and memory, in a separate process."""
    with tempfile.TemporaryDirectory(prefix="aae-bench-") as folder:
        path = Path(folder) / "rows.npy"
        array = np.lib.format.open_memmap(path, "w+", np.uint8, (n, 1, 28, 28))
        rng = np.random.default_rng(0)
        for at in range(0, n, 100_000):
            part = array[at : at + 100_000]
            part[:] = rng.integers(0, 256, (1000, 1, 28, 28), dtype=np.uint8)[np.arange(len(part)) % 1000]
        array.flush()
        del array
        return json.loads(_python(_ROWS, str(path), str(steps)).splitlines()[-1])


_ROWS = """
import json, sys, time
import numpy as np
from aaekit import AdversarialAutoencoder
from benchmarks import sides
X = np.load(sys.argv[1], mmap_mode="r")
watch = sides.Stopwatch()
sizes = {**sides.COMMON, **sides.GENERATOR, "hidden": (64,), "discriminator_hidden": (64,)}
start = time.perf_counter()
model = AdversarialAutoencoder(**sizes, max_steps=int(sys.argv[2]), batch_size=100)
model.fit(X, callbacks=[watch])
own = [l for l in open("/proc/self/status") if l.startswith("RssAnon")]
numbers = {"rows": len(X), "rows/s": 100 / watch.seconds(), "until the first step, s": watch.ended[0] - start}
numbers["own memory, MiB"] = int(own[0].split()[1]) / 1024
print(json.dumps(numbers))
"""


def wide_tables(few: int = 2_000, many: int = 20_000, n_rows: int = 100) -> dict[str, float]:
    """Seconds to read a text table of few and one of many columns, and how many times as long the latter takes."""
    seconds = {}
    with tempfile.TemporaryDirectory(prefix="aae-bench-") as folder:
        for n in (few, many):
            path = Path(folder) / f"{n}.csv"
            X = np.random.default_rng(0).normal(size=(n_rows, n)).round(3).tolist()
            path.write_text("\n".join([",".join(f"g{k}" for k in range(n)), *(",".join(map(str, row)) for row in X)]))
            seconds[n] = timed(lambda path=path: data.load(path), 3)
    return {
        f"{few} columns, s": seconds[few],
        f"{many} columns, s": seconds[many],
        f"{many // few} times as many take so many times as long": seconds[many] / seconds[few],
    }


def command_line(data_dir: str | None) -> dict[str, float]:
    """Seconds from the start of `aae train` on MNIST to its first step, and peak memory."""
    with tempfile.TemporaryDirectory(prefix="aae-bench-") as folder:
        line = ["generator", "--data", "mnist", *(["--data-dir", data_dir] if data_dir else [])]
        out = _python(_TRAIN, str(Path(folder) / "run"), str(time.time()), *line)
        return json.loads(out.splitlines()[-1])


def start_up(rounds: int) -> dict[str, float]:
    """Median seconds of a new process for imports, for help, and of `aae train` on digits until its first step."""
    programs = {
        "import torch, s": ["-c", "import torch"],
        "import torch and sklearn.base, s": ["-c", "import torch, sklearn.base"],
        "import an estimator, s": ["-c", "from aaekit import SemiSupervisedAAE"],
        "aae train classifier --help, s": ["-m", "aaekit", "train", "classifier", "--help"],
    }
    seconds: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, program in programs.items():
            start = time.time()
            subprocess.run([sys.executable, *program], check=True, stdout=subprocess.DEVNULL)
            seconds.setdefault(name, []).append(time.time() - start)
        with tempfile.TemporaryDirectory(prefix="aae-bench-") as folder:
            digits = ["classifier", "--data", "digits", "--labels", "50"]
            out = json.loads(_python(_TRAIN, str(Path(folder) / "run"), str(time.time()), *digits).splitlines()[-1])
        seconds.setdefault("first step on digits, s", []).append(out["until the first step, s"])
    return {name: median(values) for name, values in seconds.items()}


_TRAIN = """
import json, sys, time
from aaekit import cli
from aaekit._imports import load
load("aaekit.runs.run")
from aaekit.core.callbacks import Callback
from aaekit.core.loop import Training
run, ended = Training.run, []
class Watch(Callback):
    def step(self, training):
        ended.append(time.time())
Training.run = lambda self, callbacks=(), **options: run(self, [Watch(), *callbacks], **options)
try:
    cli.main(["train", *sys.argv[3:], "--max-steps", "20", "--quiet", "--out", sys.argv[1]])
except SystemExit as stop:
    assert not stop.code, stop.code
from benchmarks.measures import peak
most = peak() / 2**20
print(json.dumps({"until the first step, s": ended[0] - float(sys.argv[2]), "peak memory, MiB": most}))
"""


def _python(code: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=os.environ)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout


def budgets(
    X: np.ndarray, y: np.ndarray, held_out: tuple[np.ndarray, np.ndarray], steps: Sequence[int], say: Callable
) -> list[dict[str, float]]:
    """Seconds of training with the defaults, and the error on held-out rows, for each number of steps."""
    results = []
    for n in steps:
        say(f"{n} steps")
        model = SemiSupervisedAAE(max_steps=n, random_state=0).fit(X, y)
        error = 100 * (1 - model.score(*held_out))
        results.append({"steps": n, "seconds": model.training_seconds_, "error, %": error})
    return results
