"""A study that is killed again and again ends as one that ran through.

Where this fails, cells are lost, repeated or changed by a crash. `python -m tests.chaos.kills` is
the long form.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.chaos import kills
from tests.chaos.kills import KIMG

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

KILLS = 5


def test_killed_study_differs(through: Path, storage: Path) -> None:
    done = kills.run_with_kills(storage, KIMG, KILLS, seed=1)
    assert sum(done[kind] for kind in kills.KINDS) == KILLS, "it ended before all kills were done"
    assert kills.compare(through, storage) >= 8


def test_dead_raylet_ends_the_command(storage: Path) -> None:
    running = kills.start(storage, KIMG)
    while len(kills.results(storage)) < 2:
        assert running.poll() is None, (storage / "chaos.log").read_text()
        time.sleep(0.05)
    (raylet,) = kills.victims("raylet", running)
    raylet.kill()
    assert running.wait() == 0
    log = (storage / "chaos.log").read_text()
    assert "Ray died: it is started again, and the cells go on" in log
    assert "Traceback" not in log
