"""Two runs of one study for all tests here: one ran through, one was killed again and again."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos import kills
from tests.chaos.interrupt import INTERRUPTIONS, Interrupted, interrupt
from tests.chaos.kills import KIMG, NAME

KILLS = 3


@pytest.fixture(scope="session")
def through(tmp_path_factory: pytest.TempPathFactory, warm: Callable[[Path], Path]) -> Path:
    """The storage folder of a study that ran through.

    Two commands are started at once. One is refused, and the other one runs to its end.
    """
    storage = warm(tmp_path_factory.mktemp("through"))
    racing = [kills.start(storage, KIMG) for _ in range(2)]
    until = time.monotonic() + 120
    while all(process.poll() is None for process in racing):
        assert time.monotonic() < until, "both commands run in one folder"
        time.sleep(0.1)
    (loser,) = (process for process in racing if process.poll() is not None)
    (winner,) = (process for process in racing if process is not loser)
    log = (storage / "chaos.log").read_text()
    assert loser.returncode == 2, log
    assert f"is being run by process {winner.pid} on " in log, log
    assert winner.wait() == 0, (storage / "chaos.log").read_text()[-3000:]
    return storage


@dataclass
class Killed:
    """A study that was interrupted and killed until it ended by itself."""

    storage: Path
    interrupted: dict[str, Interrupted]
    done: Counter[str]  # see `run_with_kills`


@pytest.fixture(scope="session")
def killed(tmp_path_factory: pytest.TempPathFactory, warm: Callable[[Path], Path]) -> Killed:
    storage = warm(tmp_path_factory.mktemp("killed"))
    interrupted = {how: interrupt(storage, KIMG, how) for how in INTERRUPTIONS}
    return Killed(storage, interrupted, kills.run_with_kills(storage, KIMG, KILLS, 2, NAME))
