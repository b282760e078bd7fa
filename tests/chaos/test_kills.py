"""A study that is killed again and again ends as one that ran through.

Where this fails, cells are lost, repeated or changed by a crash. `python -m tests.chaos.kills` is
the long form.
"""

from __future__ import annotations

import shutil
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
