"""What holds on the CPU must hold on a real GPU. `pytest -m gpu` runs these tests.

If these tests fail, trials on a GPU crash, outgrow their share, or give other numbers each time.
"""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from study.check.variants import make
from study.engine import trial
from study.engine.shared_state import make_shared
from study.engine.trial import prepare_process
from study.engine.verify import verify
from study.metrics.core.classifier import Recipe
from study.metrics.core.train_judges import train_judges
from study.planning.resources import Resources
from study.records.records import Records
from tests.study import tiny
from tests.study.engine.test_engine import run
from tests.study.engine.test_gpus import at_once
from tests.study.hooked_ray import hooked_ray
from tests.trainables.test_variants import every_shape
from trainables.data.base import DataSpec

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(200),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is here"),
]


@pytest.fixture(autouse=True)
def nondeterministic(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set torch as in a new process, without deterministic algorithms.

    Only `prepare_process` may ask for them.
    """
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")  # so that it is restored at the end
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def gpu() -> torch.device:
    """The device, with this process computing as a trial's does."""
    return prepare_process(1, 1.0)


@every_shape
def test_a_variant_falls_over_or_forgets_its_seed(
    name: str, images: DataSpec, gpu: torch.device
) -> None:
    """Losses must be finite, and the same with the same seed and after a checkpoint."""
    loop = make(name, images, device=gpu, bf16=True)
    first = loop.run(48)
    assert all(abs(value) < 1e3 for value in first.values())
    state = copy.deepcopy(loop.checkpoint())
    expected = loop.run(96)
    again = make(name, images, device=gpu, bf16=True)
    assert again.run(48) == first, "same seed, other numbers"
    torch.manual_seed(99)
    again.restore(state)
    assert again.run(96) == expected, "other numbers after a checkpoint"


def note_memory() -> None:
    """Make each worker note its trials' share of a GPU, when they hold it, and if CUDA is used."""
    prepare, step = trial.prepare_process, trial.StudyTrial.step
    held: dict[str, Any] = {}

    def noted_prepare(cpus: int, gpus: float) -> torch.device:
        held.update(share=gpus, began=time.time())
        return prepare(cpus, gpus)

    def noted_step(one: trial.StudyTrial) -> dict[str, Any]:
        end = step(one)
        held.update(ended=time.time(), used=torch.cuda.is_initialized())
        (Path(os.environ["NOTES"]) / str(os.getpid())).write_text(json.dumps(held))
        return end

    trial.prepare_process, trial.StudyTrial.step = noted_prepare, noted_step


@pytest.fixture
def noted(tmp_path: Path) -> Iterator[Path]:
    """A Ray whose workers write notes into this folder."""
    with hooked_ray(note_memory, notes := tmp_path / "notes", num_cpus=8, num_gpus=1):
        yield notes


def read(notes: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in notes.iterdir()]


def test_four_trials_do_not_share_a_gpu(
    noted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = tiny.plan(tiny.study(), tiny.budget(trials=0, seeds=4, kimg=8, tick_kimg=2))
    records, _ = run(plan, tmp_path, monkeypatch, Resources(cpus=1, gpus=0.25, concurrent=8))
    assert set(records.cells()["outcome"]) == {"complete"}
    assert len(records.cells()) == 8
    holders = read(noted)
    assert all(one["used"] and one["share"] == 0.25 for one in holders)
    assert 1 < at_once(holders) <= 4


def test_a_trial_without_a_share_touches_a_gpu(
    noted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = tiny.plan(tiny.study(), tiny.budget(trials=0, seeds=1, kimg=1))
    records, _ = run(plan, tmp_path, monkeypatch, Resources(cpus=1, gpus=0.0, concurrent=2))
    assert set(records.cells()["outcome"]) == {"complete"}
    assert not any(one["used"] for one in read(noted))


def test_a_trial_outgrows_its_share(
    noted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The outcome of such a trial must be out_of_memory.

    The trials beside it and after it must complete.
    """
    conditions = {"wide": {"f": 1024}, "narrow": {"f": 2}}
    plan = tiny.plan(
        tiny.study(conditions=conditions, claims=(), space=None),
        tiny.budget(trials=0, seeds=2, kimg=1, scale_overrides={"batch": 100}),
    )
    # 1.4e9 bytes; the wide condition needs 2.1e9.
    share = round(1.4e9 / torch.cuda.get_device_properties(0).total_memory, 4)
    records, _ = run(plan, tmp_path, monkeypatch, Resources(cpus=1, gpus=share, concurrent=2))
    cells = records.cells().groupby("condition")["outcome"].agg(set)
    assert dict(cells) == {"wide": {"out_of_memory"}, "narrow": {"complete"}}


def test_an_accepted_cell_runs_again_to_other_rows(
    noted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = tiny.plan(tiny.study(), tiny.budget(trials=0, seeds=1, kimg=3))
    share = Resources(cpus=1, gpus=0.5, concurrent=2)
    run(plan, tmp_path, monkeypatch, share)
    records = Records(tmp_path / "tiny")
    shared = make_shared(plan, records, tiny.dataset(), tmp_path, None, False, lambda _: None)
    for cell in records.ids():
        assert verify(records, cell, shared, share) is None


def test_judges_depend_on_what_ran_before(tmp_path: Path) -> None:
    gpu, states = torch.device("cuda"), []
    for name in ("first", "second"):
        torch.rand(5, device=gpu)
        recipe = Recipe(label_images=960, feature_images=960)
        judges = train_judges(tiny.dataset(), tmp_path / name, gpu, recipe)
        states.append(judges[0].state()["label"])
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
