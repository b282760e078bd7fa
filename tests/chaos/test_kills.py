"""A study that is killed again and again ends as one that ran through.

Where this fails, cells are lost, repeated or changed by a crash, by two commands that race for one
folder (see the fixture `through`), or by a wrong clock. `python -m tests.chaos.kills` is the long
form.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from study.records.records import Records
from tests.chaos import kills
from tests.chaos.kills import KIMG, NAME

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

KILLS = 5


def test_killed_study_differs(through: Path, storage: Path) -> None:
    done = kills.run_with_kills(storage, KIMG, KILLS, seed=1)
    assert sum(done[kind] for kind in kills.KINDS) == KILLS, "it ended before all kills were done"
    assert done["raylet"] >= 1
    assert done["driver"] >= 1
    assert kills.compare(through, storage) >= 8

    runs = Records(storage / NAME).study()["runs"]
    assert runs[-1]["started"] < runs[0]["started"], "the clock did not move back"
