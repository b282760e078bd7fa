"""Trials that share GPUs, which exist only for Ray: how many run at once, and on which GPU.

If these tests fail, a GPU gets more trials than it has room for, or a second GPU stands idle.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import ray

from study.engine import trial
from study.planning.resources import Resources
from tests.study import tiny
from tests.study.engine.test_engine import run
from tests.study.hooked_ray import hooked_ray

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(300)]


def note_gpu() -> None:
    """Make each worker's trials compute on the CPU, and note which GPU they hold and when."""
    prepare, step = trial.prepare_process, trial.StudyTrial.step
    held: dict[str, Any] = {}

    def on_cpu(cpus: int, gpus: float) -> Any:
        held.update(share=gpus, began=time.time())
        return prepare(cpus, 0.0)

    def noted(one: trial.StudyTrial) -> dict[str, Any]:
        end = step(one)
        held["gpus"] = ray.get_runtime_context().get_accelerator_ids()["GPU"]
        note = json.dumps(held | {"ended": time.time()})
        (Path(os.environ["NOTES"]) / str(os.getpid())).write_text(note)
        return end

    trial.prepare_process, trial.StudyTrial.step = on_cpu, noted


def at_once(holders: list[dict[str, Any]]) -> int:
    """The largest number of trials that held a GPU at the same moment."""
    return max(
        sum(other["began"] <= one["began"] < other["ended"] for other in holders) for one in holders
    )


def test_a_gpu_gets_more_trials_than_fit_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight cells of half a GPU each, and two GPUs: four of the cells have to wait."""
    plan = tiny.plan(tiny.study(), tiny.budget(trials=0, seeds=4, kimg=4, tick_kimg=1))
    with hooked_ray(note_gpu, notes := tmp_path / "notes", num_cpus=8, num_gpus=2):
        records, _ = run(plan, tmp_path, monkeypatch, Resources(cpus=1, gpus=0.5, concurrent=8))
    assert len(records.cells()) == 8
    holders = [json.loads(path.read_text()) for path in notes.iterdir()]
    assert {holder["share"] for holder in holders} == {0.5}
    for number in ("0", "1"):
        assert at_once([holder for holder in holders if holder["gpus"] == [number]]) == 2
    assert all(holder["gpus"][0] in ("0", "1") for holder in holders)
