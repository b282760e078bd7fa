"""A study that is interrupted and killed again and again must end as one that ran through.

The tests also look at what the commands print, and at what they do when they are given again.

Where these fail, cells are lost, repeated or changed by a crash, by two commands that race for one
folder (see the fixture `through`), or by a wrong clock; or `python -m study.run` does not end, or
repeats work. `python -m tests.chaos.kills` is the long form of these tests. They are in one file,
so that one process runs them all and their fixtures are made once.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest

from study.planning.mlflow_store import default_uri
from study.records.records import Records
from tests.chaos import kills
from tests.chaos.compare import compare
from tests.chaos.conftest import KILLS, Killed
from tests.chaos.interrupt import INTERRUPTIONS
from tests.chaos.kills import KIMG, NAME, RESTARTED, command, results

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_killed_study_differs(through: Path, killed: Killed) -> None:
    done = killed.done
    assert sum(done[kind] for kind in kills.KINDS) == KILLS, "it ended before all kills were done"
    assert done["raylet"] >= 1
    assert done["driver"] >= 1
    assert done["worker"] >= 1
    assert RESTARTED in (killed.storage / "chaos.log").read_text()
    records = Records(killed.storage / NAME)
    uris = default_uri(through), default_uri(killed.storage)
    assert compare(Records(through / NAME), records, *uris) >= 8
    stopped = (records.cells()["outcome"] == "pruned").any()
    assert stopped, "nothing was stopped early: make it longer"
    runs = records.study()["runs"]
    assert runs[-1]["started"] < runs[0]["started"], "the clock did not move back"


@pytest.mark.parametrize("how", INTERRUPTIONS)
def test_interrupted_command_leaves_processes_or_loses_cells(killed: Killed, how: str) -> None:
    """Terminals, timeout(1), systemd and batch systems signal the whole process group.

    Ray must not get the signal. A user who sends a second signal does not want to wait for
    checkpoints and a report. SIGTERM is tried by tests/test_cluster.py, where a job is stopped.
    """
    seen = killed.interrupted[how]
    assert seen.code == 130, seen.said
    assert not seen.alive
    if how == "SIGINT twice":
        assert seen.seconds < 5
    else:
        assert "report: " in seen.said
        assert "interrupted; give the same command again to go on" in seen.said
    assert "Ray died" not in seen.said
    assert "Traceback" not in seen.said
    assert seen.before.items() < seen.kept.items(), "results were lost, or none was accepted"
    assert seen.kept.items() <= results(killed.storage).items(), "a cell was run again"


def run(storage: Path, *arguments: str) -> str:
    """Run the command to its end. Returns what it printed."""
    line = command(storage, KIMG, *arguments)
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def test_command_does_not_say_how_it_went(through: Path) -> None:
    said, cells = (through / "chaos.log").read_text(), Records(through / NAME).cells()
    counts = cells["phase"].value_counts()
    assert counts["search"] == 12
    assert counts["confirm"] in (2, 4)  # two seeds each; 2 if the reference was the best
    assert f"[{len(cells):>3}/" in said
    for line in ("claims", "A1", "report: ", "mlflow: python -m study.ui"):
        assert line in said
    assert pd.read_csv(through / NAME / "cells.csv")["id"].tolist() == cells["id"].tolist()


def test_finished_study_starts_something(through: Path) -> None:
    before, began = results(through), time.monotonic()
    assert "every cell has ended, nothing to run" in run(through)
    assert results(through) == before
    assert time.monotonic() - began < 60  # 15 s on an idle machine


def test_continued_cell_differs_from_one_run_through(killed: Killed) -> None:
    """--verify runs a cell again and compares. It gets the cell that was started most often."""
    records, before = Records(killed.storage / NAME), results(killed.storage)
    attempts = {cell: len(records.attempts(cell)) for cell in records.ids()}
    cell = max(attempts, key=lambda cell: attempts[cell])
    assert attempts[cell] > 1
    said = run(killed.storage, "--verify", cell)
    assert f"{cell} (" in said
    assert f"equal, all {len(records.rows(cell))} rows" in said
    assert results(killed.storage) == before
