"""Two commands race for one folder, one is killed, and the next one's clock is a year behind.

Where this fails, two drivers run the same cells, or a wrong clock costs or doubles records.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.chaos import kills
from tests.chaos.kills import KIMG

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PAST = """
import datetime, runpy, time
from types import SimpleNamespace
from study import environment, lock, schedule
now, year = time.time, 365 * 86400
time.time = lambda: now() - year
class Past(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) - datetime.timedelta(seconds=year)
for module in (environment, lock, schedule):
    module.datetime = SimpleNamespace(datetime=Past, UTC=datetime.UTC)
runpy.run_module("study.run", run_name="__main__")
"""


def test_race_or_clock_changes_the_study(through: Path, storage: Path) -> None:
    racing = [kills.start(storage, KIMG) for _ in range(2)]
    until = time.monotonic() + 120
    while all(process.poll() is None for process in racing):
        assert time.monotonic() < until, "both run"
        time.sleep(0.1)
    (loser,) = (process for process in racing if process.poll() is not None)
    (winner,) = (process for process in racing if process is not loser)
    log = (storage / "chaos.log").read_text()
    assert loser.returncode == 2, log
    assert f"is being run by process {winner.pid} on " in log
    while len(before := kills.results(storage)) < 3:
        assert winner.poll() is None, log
        time.sleep(0.05)
    winner.send_signal(signal.SIGKILL)
    winner.wait()
    arguments = kills.command(storage, KIMG)[3:]  # behind "-m study.run"
    again = subprocess.run(
        [sys.executable, "-c", PAST, *arguments], capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    assert before.items() <= kills.results(storage).items()
    kills.compare(through, storage)
    runs = kills.Records(storage / kills.NAME).study()["runs"]
    assert runs[-1]["started"] < runs[0]["started"], "the clock did not move back"
