"""The soak of the studio sees leaks of memory and of descriptors; what is no run is refused at once."""

import os
import subprocess
import sys

import pytest

from benchmarks import soak, studio

LEAKING = """
import sys
held = []
for line in sys.stdin:
    held.append((bytearray(int(line) * 2**20), open("/dev/null") if int(line) else None))
    print(len(held), flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no /proc")
@pytest.mark.parametrize("mib", [0, 20])
def test_a_process_that_leaks_is_told_from_one_that_does_not(mib):
    with subprocess.Popen(
        [sys.executable, "-c", LEAKING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        samples = []
        for _ in range(8):
            process.stdin.write(f"{mib}\n")
            process.stdin.flush()
            process.stdout.readline()
            samples.append(soak.measure(process.pid))
        process.stdin.close()
    assert [line.split(" grew")[0] for line in soak.leaks(samples)] == (["memory", "descriptors"] if mib else [])


def test_the_warm_up_and_small_growth_do_not_count():
    def samples(*memory):
        return [{"rss_mib": value, "descriptors": 9} for value in memory]

    assert soak.leaks(samples(100, 200, 300, 400, 400, 401, 402, 403, 404, 405)) == []
    assert soak.leaks(samples(400, 400, 400, 400, 401, 402, 404, 406, 410, 420)) == [
        "memory grew from 400.5 to 415.0 MiB"
    ]


@pytest.mark.parametrize("benchmark", [soak, studio], ids=["soak", "studio"])
def test_what_is_no_run_is_refused_in_one_line(benchmark, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["benchmark", str(tmp_path / "none")])
    with pytest.raises(SystemExit, match="error: .*none: expected a run directory, got no directory") as stop:
        benchmark.main()
    assert len(str(stop.value).splitlines()) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no /proc")
def test_a_leak_of_the_studio_is_the_exit_code(tmp_path, monkeypatch):
    class Server:
        """One that opens a file at each request."""

        def __init__(self, run):
            self.process, self.files = type("Process", (), {"pid": os.getpid()}), []

        def ask(self, method, path, body=None, token=None):
            if self.leaking:
                self.files.append(open(os.devnull))  # noqa: SIM115
            return 200, b'{"nDims": 2, "planes": [{"name": "codes"}]}'

        def stop(self):
            for file in self.files:
                file.close()

    monkeypatch.setattr(soak, "Server", Server)
    monkeypatch.setattr(soak.Run, "open", lambda run: None)
    for Server.leaking in (False, True):
        lines = []
        assert soak.soak(tmp_path, 6, 0.1, lines.append) == Server.leaking
        assert len(lines) == 7 and ("descriptors grew" in lines[-1]) == Server.leaking
