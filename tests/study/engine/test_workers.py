"""As many worker processes start as cells run at once, and all of them work.

If these tests fail, workers are lost and started again while a study runs. Where cells are shorter
than a worker's start, a part of the machine then stands idle for ever.
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


def note_workers() -> None:
    """Note which workers prepare for trials, and which of them run one.

    The first worker starts at once, each other one takes eight seconds. A cell is far shorter.
    """
    notes = Path(os.environ["NOTES"])
    prepare, step = trial.prepare_process, trial.StudyTrial.step

    def slow(cpus: int, gpus: float) -> Any:
        (notes / f"started-{os.getpid()}").touch()
        try:
            (notes / "first").touch(exist_ok=False)
        except FileExistsError:
            time.sleep(8)
        return prepare(cpus, 0.0)

    def noted(one: trial.StudyTrial) -> dict[str, Any]:
        (notes / f"worked-{os.getpid()}").touch()
        time.sleep(0.1)
        return step(one)

    trial.prepare_process, trial.StudyTrial.step = slow, noted


@pytest.mark.parametrize(
    ("trials", "seeds", "gpus", "workers"),
    [(0, 30, 0.0, 2), (12, 6, 0.0, 2), pytest.param(0, 30, 0.5, 4, marks=pytest.mark.long)],
    ids=["confirm cells", "searches that wait", "shares of GPUs"],
)
def test_workers_are_lost(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    trials: int,
    seeds: int,
    gpus: float,
    workers: int,
) -> None:
    """Tune's own rules give a cell whose worker is starting to a free worker, again and again.

    They also drop one of two workers whose cells end together.
    """
    budget = tiny.budget(
        trials=trials, seeds=seeds, kimg=1, search_kimg=1, tick_kimg=1, search_parallelism=1
    )
    resources = Resources(cpus=1, gpus=gpus, concurrent=workers)
    with hooked_ray(note_workers, notes := tmp_path / "notes", num_cpus=workers, num_gpus=2):
        run(tiny.plan(tiny.study(), budget), tmp_path, monkeypatch, resources)
    assert len(list(notes.glob("started-*"))) == workers
    assert len(list(notes.glob("worked-*"))) == workers
