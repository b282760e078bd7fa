"""A study whose MLflow server is killed for the middle third, beside one whose server lives.

    python -m tests.benchmarks.bench_outage [--repeats 5] [--kimg 40]

Afterwards every row of both must be in MLflow, once.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import statistics
import tempfile
import time
from pathlib import Path

from tests.chaos import kills
from tests.chaos.test_mlflow import serving


def measure(storage: Path, kimg: int, third: float | None) -> float:
    """Seconds of a study; with `third` its server is dead from then until twice as long."""
    with serving(storage) as server:
        start = time.monotonic()
        running = kills.start(storage, kimg, "--tracking-uri", server.uri)
        if third is not None:
            time.sleep(third)
            server.send(signal.SIGKILL)
            server.process.wait()
            time.sleep(third)
            server.start()
        code = running.wait()
        seconds = time.monotonic() - start
        assert code == 0, (storage / "chaos.log").read_text()
        log = (storage / "chaos.log").read_text()
        assert "is behind" not in log, log
        assert kills.mlflow_rows(server.uri) == kills.recorded_rows(storage)
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
                took = measure(storage, asked.kimg, third if how == "down" else None)
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
