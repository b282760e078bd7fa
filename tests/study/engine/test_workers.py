"""A worker that is slow to start gets cells all the same.

If this test fails, cells that end sooner than an actor starts leave half a cluster idle.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from study.engine import trial
from study.planning.resources import Resources
from tests.study import tiny
from tests.study.engine.test_engine import run
from tests.study.hooked_ray import hooked_ray

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(300)]


def slow_second() -> None:
    """Make the second worker take eight seconds to set up its trial. A cell takes one second."""
    notes = Path(os.environ["NOTES"])
    prepare, step = trial.prepare_process, trial.StudyTrial.step

    def slow(cpus: int, gpus: float) -> Any:
        try:
            (notes / "first").touch(exist_ok=False)
        except FileExistsError:
            time.sleep(8)
        return prepare(cpus, gpus)

    def noted(one: trial.StudyTrial) -> dict[str, Any]:
        (notes / f"worked-{os.getpid()}").touch()
        time.sleep(0.5)
        return step(one)

    trial.prepare_process, trial.StudyTrial.step = slow, noted


def test_slow_worker_gets_no_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tune's own FIFO scheduler gives the slow worker's cell to the free worker, again and again.

    Each time another actor would begin to start.
    """
    plan = tiny.plan(tiny.study(), tiny.budget(trials=0, seeds=12, kimg=1, tick_kimg=1))
    with hooked_ray(slow_second, notes := tmp_path / "notes", num_cpus=2):
        run(plan, tmp_path, monkeypatch, Resources(cpus=1, gpus=0.0, concurrent=2))
    assert len(list(notes.glob("worked-*"))) == 2
