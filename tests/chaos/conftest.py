"""One study that ran through, for all tests that hold theirs against it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos import kills
from tests.chaos.kills import KIMG


@pytest.fixture(scope="session")
def through(tmp_path_factory: pytest.TempPathFactory, warm: Callable[[Path], Path]) -> Path:
    """Two commands are started at once: one is refused and the other one runs to its end."""
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


@pytest.fixture
def storage(tmp_path: Path, warm: Callable[[Path], Path]) -> Path:
    return warm(tmp_path)
