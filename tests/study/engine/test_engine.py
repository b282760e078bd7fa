"""The engine on a real Ray: a cell that ends badly does not end the study."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from study.engine import shared_state
from study.engine.cluster import start_ray
from study.engine.engine import run_cells
from study.engine.shared_state import make_shared
from study.metrics.core import train_judges
from study.metrics.core.classifier import Recipe
from study.planning.cells import Cell
from study.planning.plan import Plan
from study.planning.resources import Resources
from study.records.records import Records
from tests.study import tiny

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TWO_AT_ONCE = Resources(cpus=1, gpus=0.0, concurrent=2)


@pytest.fixture(scope="module", autouse=True)
def local_ray() -> Iterator[None]:
    start_ray(2)
    yield
    ray.shutdown()


def run(
    plan: Plan,
    storage: Path,
    monkeypatch: pytest.MonkeyPatch,
    resources: Resources = TWO_AT_ONCE,
) -> tuple[Records, list[Any]]:
    """Run a plan to its end.

    Returns: the records, and (id, outcome) of each accepted cell as the observer heard of it.
    """
    recipe = Recipe(label_images=960, feature_images=960)
    train = train_judges.train_judges
    monkeypatch.setattr(shared_state, "train_judges", lambda *a, **k: train(*a, **k, recipe=recipe))
    records = tiny.begin(Records(storage / "tiny"), plan)
    shared = make_shared(plan, records, tiny.dataset(), storage, None, False, lambda _: None)
    heard: list[Any] = []

    def observe(cell: Cell, result: dict[str, Any] | None) -> None:
        if result and result["outcome"] != "again":
            heard.append((cell.id, result["outcome"]))

    assert run_cells(plan, records, shared, resources, observe, print)
    return records, heard


def plan(**changes: Any) -> Plan:
    study = dataclasses.replace(tiny.study(), fid=False)
    return tiny.plan(study, tiny.budget(trials=2, kimg=1, search_kimg=1), **changes)


def test_failing_condition_ends_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell that crashes must be tried again, and then be recorded with its traceback.

    The other cells must go on.
    """
    crashing = plan(overrides={"batch": 500})  # classes=2 has 400 images
    records, heard = run(crashing, tmp_path, monkeypatch)
    cells = records.cells()
    failed = cells["condition"] == "classes=2"
    assert set(cells[failed]["outcome"]) == {"failed"}
    assert set(cells[failed]["attempts"]) == {3}
    assert set(cells[~failed]["outcome"]) == {"complete"}
    assert len(cells[~failed]) >= 4  # two search cells, two seeds of the reference
    result = records.result(cells[failed]["id"].iloc[0])
    assert result is not None
    assert "Traceback" in result["error"]
    assert "batch=500 needs 500 images, and there are 400" in result["error"]
    assert sorted(heard) == sorted(zip(cells["id"], cells["outcome"], strict=True))


def test_diverging_cell_ends_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Divergence is an outcome: such a cell must not be tried again, and must keep its rows."""
    records, _ = run(plan(overrides={"lr": 1e30}), tmp_path, monkeypatch)
    cells = records.cells()
    assert set(cells["outcome"]) == {"diverged"}
    assert set(cells["attempts"]) == {1}
    assert all(records.rows(cell_id)[0]["kimg"] == 0 for cell_id in cells["id"])
