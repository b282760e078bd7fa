"""A mirror that is far behind and is killed again and again catches up, with each row once."""

from __future__ import annotations

import contextlib
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.benchmarks.bench_mirror import ROWS, fill
from tests.chaos.compare import recorded_rows

IN_MLFLOW = """
    SELECT tags.value, metrics.key, metrics.step FROM metrics
    JOIN runs ON runs.run_uuid = metrics.run_uuid AND runs.lifecycle_stage = 'active'
    JOIN tags ON tags.run_uuid = runs.run_uuid AND tags.key = 'cell'
"""
ENDS = """
    SELECT tags.value, runs.status, runs.run_uuid FROM runs
    JOIN tags ON tags.run_uuid = runs.run_uuid AND tags.key = 'cell'
    WHERE runs.lifecycle_stage = 'active'
"""


def asked(storage: Path, question: str) -> list[tuple[str, ...]]:
    """What MLflow's database answers. It may be written to: a kill can leave it half-way."""
    with contextlib.closing(sqlite3.connect(f"file:{storage}/mlflow.db?mode=rw", uri=True)) as db:
        return db.execute(question).fetchall()


def ended(storage: Path) -> set[str]:
    """The ids of MLflow's ended runs."""
    with contextlib.suppress(sqlite3.OperationalError):  # there are no tables yet
        return {run for _, status, run in asked(storage, ENDS) if status == "FINISHED"}
    return set()


@pytest.mark.parametrize(
    ("cells", "kills"),
    [
        pytest.param(40, 2, marks=[pytest.mark.slow, pytest.mark.timeout(300)]),
        pytest.param(2000, 10, marks=[pytest.mark.long, pytest.mark.timeout(1800)]),
    ],
)
def test_killed_mirror_begins_again_or_repeats(tmp_path: Path, cells: int, kills: int) -> None:
    records, rng, had = fill(tmp_path / "tiny", cells), random.Random(0), set[str]()
    command = [sys.executable, "-m", "study.report", "tiny", "--storage", str(tmp_path), "--mirror"]
    for n in range(kills):
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        goal = (n + 1) * cells // (kills + 2)
        while len(ended(tmp_path)) < max(goal, len(had) + 1):
            assert running.poll() is None
            time.sleep(0.05)
        time.sleep(rng.uniform(0, 0.3))
        running.send_signal(signal.SIGKILL)
        running.wait()
        before, had = had, ended(tmp_path)
        assert before < had, "it began again"
    assert len(had) < cells, "it was up to date before all kills were done"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"mlflow: up to date with {cells} cells" in done.stdout
    rows = Counter((cell, key, int(step)) for cell, key, step in asked(tmp_path, IN_MLFLOW))
    assert rows == recorded_rows(records)
    assert had < ended(tmp_path)
    ends = sorted((cell, status) for cell, status, _ in asked(tmp_path, ENDS))
    assert ends == [(cell, "FINISHED") for cell in records.ids()]
    grids = Counter(path.parents[2].name for path in tmp_path.glob("mlartifacts/*/*/images/*.png"))
    assert set(grids.values()) <= {ROWS}, "a grid is there twice"
    assert len(list(tmp_path.rglob("images/*.png"))) == cells * ROWS
