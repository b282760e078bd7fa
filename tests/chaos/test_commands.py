"""The command that a user types: what it prints, and what it does when it is given again.

It is given again as it is, with --verify, and with more seeds.

Where these fail, `python -m study.run` does not end, repeats work, or loses work.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import psutil
import pytest

from study.records.records import Records
from tests.chaos import kills
from tests.chaos.conftest import Killed
from tests.chaos.kills import KIMG, NAME, command, family, results

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(900)]


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
    assert counts["search"] == 16
    assert counts["confirm"] in (2, 4)  # two seeds each; 2 if the reference was the best
    assert f"[{len(cells):>3}/" in said
    for line in ("claims", "A1", "report: ", "mlflow: python -m study.ui"):
        assert line in said
    assert pd.read_csv(through / NAME / "cells.csv")["id"].tolist() == cells["id"].tolist()


def test_finished_study_starts_something(through: Path) -> None:
    before, began = results(through), time.monotonic()
    assert "every cell is accepted, nothing to run" in run(through)
    assert results(through) == before
    assert time.monotonic() - began < 60  # 15 s on an idle machine


def test_second_signal_is_not_heard(tmp_path: Path, warm: Callable[[Path], Path]) -> None:
    """A user who sends a second signal does not want to wait for checkpoints."""
    storage = warm(tmp_path)
    running = kills.start(storage, 500, "--set", "tick_kimg=500")
    while not list(storage.glob(f"{NAME}/cells/*/ticks.json")):
        assert running.poll() is None, (storage / "chaos.log").read_text()
        time.sleep(0.05)
    ours = family(running)
    for process in ours[1:]:  # suspended processes do not answer: the first signal has to wait
        if process.name().startswith("ray::"):
            process.suspend()
    began = time.monotonic()
    running.send_signal(signal.SIGINT)
    time.sleep(1)
    assert running.poll() is None
    running.send_signal(signal.SIGINT)
    assert running.wait(45) == 130
    assert "Traceback" not in (storage / "chaos.log").read_text()
    assert not psutil.wait_procs(ours, timeout=10)[1]
    assert time.monotonic() - began < 5


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


def test_larger_number_of_seeds_repeats_cells(through: Path, tmp_path: Path) -> None:
    """When a finished study is enlarged, its results must stay as they are."""
    shutil.copytree(through, tmp_path / "runs")
    before = results(through)
    run(tmp_path / "runs", "--seeds", "3")  # smoke has two
    after = results(tmp_path / "runs")
    assert before.items() <= after.items()
    assert len(after) - len(before) in (1, 2)  # the reference's, and the best's if that is another
