"""A study that is interrupted and killed again and again must end as one that ran through.

Where this fails, cells are lost, repeated or changed by a crash, by two commands that race for one
folder (see the fixture `through`), or by a wrong clock. `python -m tests.chaos.kills` is the long
form of this test.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from study.records.records import Records
from tests.chaos import kills
from tests.chaos.conftest import KILLS, Killed
from tests.chaos.kills import INTERRUPTIONS, NAME, RESTARTED

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(900)]


def test_killed_study_differs(through: Path, killed: Killed) -> None:
    done = killed.done
    assert sum(done[kind] for kind in kills.KINDS) == KILLS, "it ended before all kills were done"
    assert done["raylet"] >= 1
    assert done["driver"] >= 1
    assert RESTARTED in (killed.storage / "chaos.log").read_text()
    assert kills.compare(through, killed.storage) >= 8
    runs = Records(killed.storage / NAME).study()["runs"]
    assert runs[-1]["started"] < runs[0]["started"], "the clock did not move back"


@pytest.mark.parametrize("how", INTERRUPTIONS)
def test_interrupted_command_leaves_processes_or_loses_cells(killed: Killed, how: str) -> None:
    """timeout(1), systemd and batch systems signal the whole process group.

    Ray must not get the signal.
    """
    seen = killed.interrupted[how]
    assert seen.code == 130, seen.said
    assert not seen.alive
    assert "report: " in seen.said
    assert "interrupted; give the same command again to go on" in seen.said
    assert "Ray died" not in seen.said
    assert "Traceback" not in seen.said
    assert seen.before.items() < seen.kept.items(), "results were lost, or none was accepted"
    assert seen.kept.items() <= kills.results(killed.storage).items(), "a cell was run again"
