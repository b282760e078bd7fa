"""Helpers that compare a study's records with what MLflow has of them."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from PIL import Image

from study.planning.cells import Cell
from study.planning.mlflow_store import default_uri
from study.planning.plan import Plan
from study.records.records import Records
from study.tracking import mlflow_mirror
from study.tracking.mlflow_mirror import Mirror
from tests.study import tiny


@pytest.fixture(autouse=True)
def impatient() -> Iterator[None]:
    """Shorten the ten seconds for which a mirror tries a failing MLflow again, to 0.2 seconds."""
    with pytest.MonkeyPatch.context() as patch:  # not the fixture `monkeypatch`, which tests undo
        patch.setattr(mlflow_mirror, "PATIENCE", 0.2)
        yield


@pytest.fixture(name="records")
def mirrored_records(tmp_path: Path, store: Path, plan: Plan) -> Records:
    """A study without cells, beside an empty store of MLflow."""
    shutil.copy(store, tmp_path / "mlflow.db")
    return tiny.begin(Records(tmp_path / "tiny"), plan)


def search_cell(plan: Plan, number: int) -> Cell:
    values = {"lr": 1e-3 * (number + 1), "adversarial": "hinge", "label_noise": "none"}
    return plan.search_cell("classes=2", number, values, values)


def write(records: Records, cell: Cell, outcome: str | None, ticks: int = 3) -> None:
    """Put a cell on record as the engine leaves it, with sample grids and the time of its end."""
    rows = tiny.rows(*(10.0 - k for k in range(ticks)), label_accuracy=0.5)
    for row in rows:
        path = records.cell_folder(cell.id) / "samples" / f"{row['kimg']:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (9, 9), row["kimg"]).save(path)
    tiny.write_cell(records, cell, rows, None)
    if outcome:
        result = {"outcome": outcome, "error": None, "seconds": 1.0, "attempts": 1}
        records.accept(cell.id, result | {"ended": "2026-01-02T03:04:05+00:00"})


def mirror(records: Records, finished: bool = True, **changes: Any) -> Mirror:
    """Mirror all that is on record, and close the mirror.

    `changes` may hold the `uri` of the store and the `report`. The rest are verdicts by claim id.
    """
    storage = records.folder.parent
    made = Mirror(changes.pop("uri", None) or default_uri(storage), storage, records)
    made.close(changes.pop("report", None), changes, finished)
    return made


def client(records: Records) -> MlflowClient:
    return MlflowClient(default_uri(records.folder.parent))


def runs(records: Records) -> dict[str, Run]:
    """All runs of the study by cell id. The parent run is under "parent"."""
    mlflow = client(records)
    experiment = mlflow.get_experiment_by_name("tiny")
    assert experiment is not None
    found = mlflow.search_runs([experiment.experiment_id])
    named = {run.data.tags.get("cell", "parent"): run for run in found}
    assert len(named) == len(found), "two runs for one cell"
    return named


def points(records: Records, run: Run) -> Counter[tuple[str, int]]:
    mlflow = client(records)
    return Counter(
        (metric.key, metric.step)
        for key in run.data.metrics
        for metric in mlflow.get_metric_history(run.info.run_id, key)
    )


def once(records: Records, cell: Cell) -> Counter[tuple[str, int]]:
    """Every metric of every row of a cell, once each."""
    return Counter((key, row["kimg"]) for row in records.rows(cell.id) for key in row)
