"""A study that is killed again and again ends as one that ran through.

Where this fails, cells are lost, repeated or changed by a crash. `python -m tests.chaos.kills` is
the long form.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from tests.chaos import kills

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

KIMG, KILLS = 20, 5


def test_killed_study_differs(tmp_path: Path) -> None:
    through, killed = tmp_path / "through", tmp_path / "killed"
    through.mkdir()
    killed.mkdir()
    kills.run_through(through, KIMG)
    shutil.copytree(through / "cache", killed / "cache")
    done = kills.run_with_kills(killed, KIMG, KILLS, seed=1)
    assert sum(done[kind] for kind in kills.KINDS) == KILLS, "it ended before all kills were done"
    assert kills.compare(through, killed) >= 8


def test_dead_raylet_ends_the_command(tmp_path: Path) -> None:
    running = kills.start(tmp_path, KIMG)
    while len(kills.results(tmp_path)) < 2:
        assert running.poll() is None, (tmp_path / "chaos.log").read_text()
        time.sleep(0.05)
    (raylet,) = kills.victims("raylet", running)
    raylet.kill()
    assert running.wait() == 0
    log = (tmp_path / "chaos.log").read_text()
    assert "Ray died: it is started again, and the cells go on" in log
    assert "Traceback" not in log
