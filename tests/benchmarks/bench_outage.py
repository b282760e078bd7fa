"""Compares a study whose MLflow server is dead in the middle third with one whose server lives.

    python -m tests.benchmarks.bench_outage [--repeats 5] [--kimg 40]

Starting a server takes some seconds on two processors. So that both studies have this load, a
server that nobody uses is started beside the study whose server lives. Afterwards every row of both
studies must be in MLflow, once.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import statistics
import tempfile
import time
from pathlib import Path

from study.records.records import Records
from tests.chaos import kills
from tests.chaos.compare import mlflow_rows, recorded_rows
from tests.chaos.test_mlflow import Server, serving


def measure(storage: Path, kimg: int, third: float, how: str) -> float:
    """Run a study. Returns how many seconds it took.

    If `how` is "down", its server is killed after `third` seconds, and started again after twice
    as many. Otherwise an idle server is started then.
    """
    (storage / "idle").mkdir()
    with serving(storage) as server:
        idle, start = Server(storage / "idle"), time.monotonic()
        one = ("--max-concurrent", "1")  # the servers' own work must not take the cells' processor
        running = kills.start(storage, kimg, "--tracking-uri", server.uri, *one)
        time.sleep(third)
        if how == "down":
            server.send(signal.SIGKILL)
            server.process.wait()
        time.sleep(third)
        started = server if how == "down" else idle
        started.start()
        code = running.wait()
        seconds = time.monotonic() - start
        if started is idle:
            idle.send(signal.SIGKILL)
        assert code == 0, (storage / "chaos.log").read_text()
        log = (storage / "chaos.log").read_text()
        assert "is behind" not in log, log
        assert mlflow_rows(server.uri, kills.NAME) == recorded_rows(Records(storage / kills.NAME))
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--kimg", type=int, default=40)
    asked = parser.parse_args()
    seconds: dict[str, list[float]] = {"up": [], "down": []}
    with tempfile.TemporaryDirectory() as scratch:
        cache, n, third = Path(scratch) / "cache", 0, 0.0
        for round_ in range(asked.repeats + 1):  # the first fills the cache, and is not counted
            for how in ("up", "down") if round_ else ("up",):
                storage, n = Path(scratch) / str(n), n + 1
                storage.mkdir()
                if cache.exists():
                    shutil.copytree(cache, storage / "cache")
                took = measure(storage, asked.kimg, third, how)
                if not cache.exists():
                    shutil.copytree(storage / "cache", cache)
                if round_:
                    seconds[how].append(took)
                if how == "up":
                    third = took / 3
    up, down = (statistics.median(seconds[how]) for how in ("up", "down"))
    print(f"server up: {up:.1f} s, dead for the middle third: {down:.1f} s")
    print(f"down beside up: {down / up:.3f} (to be at most 1.05); every row is there, once")


if __name__ == "__main__":
    main()
