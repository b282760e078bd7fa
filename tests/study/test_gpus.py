"""Trials that share GPUs, on GPUs that only Ray believes in: what it lets run at once, and where.

Where these fail, a GPU gets more trials than it has room for, or a second one stands idle.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import ray
import tiny

from study import sharing, trial
from study.engine import run_cells
from study.metrics import judge
from study.metrics.classifier import Recipe
from study.plan import Resources
from study.records import Records
from study.sharing import make_shared

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def note_ticks() -> None:
    """In each worker: its trials compute on the CPU, and each tick is noted with its GPU."""
    prepare, step = trial.prepare_process, trial.StudyTrial.step
    share = 0.0

    def on_cpu(cpus: int, gpus: float) -> Any:
        nonlocal share
        share = gpus
        return prepare(cpus, 0.0)

    def noted(one: trial.StudyTrial) -> dict[str, Any]:
        began = time.time()
        end = step(one)
        gpus = ray.get_runtime_context().get_accelerator_ids()["GPU"]
        line = {"gpus": gpus, "share": share, "began": began, "ended": time.time()}
        with (Path(os.environ["NOTES"]) / str(os.getpid())).open("a") as notes:
            notes.write(json.dumps(line) + "\n")
        return end

    trial.prepare_process, trial.StudyTrial.step = on_cpu, noted


def at_once(ticks: list[dict[str, Any]]) -> int:
    """The most ticks that ever ran at the same moment."""
    return max(
        sum(other["began"] <= one["began"] < other["ended"] for other in ticks) for one in ticks
    )


@pytest.mark.parametrize("gpus", [1, 2])
def test_a_gpu_gets_more_trials_than_fit_or_none(
    gpus: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe(label_images=960, feature_images=960)
    train = judge.train_judges
    monkeypatch.setattr(sharing, "train_judges", lambda *a, **k: train(*a, **k, recipe=recipe))
    plan = tiny.plan(tiny.study(), tiny.budget(trials=0, seeds=4, kimg=4, tick_kimg=1))
    records = tiny.begin(Records(tmp_path / "tiny"), plan)
    shared = make_shared(plan, records, tiny.dataset(), tmp_path, None, False, lambda _: None)
    notes = tmp_path / "notes"
    notes.mkdir()
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers lack this file
    ray.init(
        address="local",
        num_cpus=8,
        num_gpus=gpus,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={
            "env_vars": {"NOTES": str(notes)},
            "worker_process_setup_hook": note_ticks,
        },
    )
    try:
        resources = Resources(cpus=1, gpus=0.25, concurrent=8)
        assert run_cells(plan, records, shared, resources, lambda *_: None, print)
    finally:
        ray.shutdown()
    assert len(records.cells()) == 8
    ticks = [json.loads(line) for path in notes.iterdir() for line in path.open()]
    assert {tick["share"] for tick in ticks} == {0.25}
    used = Counter(tuple(tick["gpus"]) for tick in ticks)
    assert set(used) == {(str(number),) for number in range(gpus)}
    for number in used:
        assert 1 < at_once([tick for tick in ticks if tuple(tick["gpus"]) == number]) <= 4
