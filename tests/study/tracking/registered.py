"""A study whose cells are run by the engine's own code, and MLflow's model registry for it."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from study.engine.cell import CellRun
from study.engine.shared_state import Shared
from study.metrics.core.judge import Judge
from study.planning.cells import Cell
from study.planning.mlflow_store import default_uri
from study.planning.plan import Plan
from study.records.files import write_json
from study.records.records import Records
from study.records.tensors import save_tensors
from study.tracking import register
from study.tracking.mlflow_mirror import Mirror
from tests.study import tiny
from tests.study.cells import begin, to_end


@dataclasses.dataclass
class Lab:
    records: Records
    shared: Shared
    judges: list[Judge]

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(default_uri(self.records.folder.parent))

    def run(self, cell: Cell, fcd: float) -> CellRun:
        """Run a cell by the engine's own code and accept it, with `fcd` in its last row."""
        run = begin(cell, self.shared, self.judges)
        rows = to_end(run)
        folder = self.records.cell_folder(cell.id)
        write_json(folder / "cell.json", cell.as_json())
        write_json(folder / "attempts.json", [{"started": "2026-01-02T03:04:05+00:00", "run": 0}])
        rows[-1]["fcd"] = fcd
        write_json(folder / "ticks.json", rows)
        ended = {"outcome": "complete", "error": None, "seconds": 1.0, "attempts": 1}
        self.records.accept(cell.id, ended | {"ended": "2026-01-02T03:05:00+00:00"})
        return run

    def mirror(self) -> None:
        storage = self.records.folder.parent
        mirror = Mirror(default_uri(storage), storage, self.records)
        mirror.close(None, {}, True)
        assert mirror.problem is None

    def register(self) -> list[str]:
        records = Records(self.records.folder)
        return register.register(records, default_uri(records.folder.parent))

    def versions(self) -> dict[str, ModelVersion]:
        found = self.client.search_model_versions()
        return {f"models:/{v.name}/{v.version}": v for v in found}

    def models(self) -> list[Any]:
        experiment = self.client.get_experiment_by_name("tiny")
        assert experiment is not None
        return list(self.client.search_logged_models([experiment.experiment_id]))


@pytest.fixture(name="lab")
def empty_lab(
    shared: Shared, judges: list[Judge], plan: Plan, store: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Lab]:
    """A study with its judges and without cells, beside an empty store of MLflow."""
    shutil.copy(store, shared.folder.parent / "mlflow.db")
    records = tiny.begin(Records(shared.folder), plan)
    study = records.study()
    study["definition"] |= {"bf16": False, "classes": ["a", "b", "c"], "digest": "d" * 16}
    write_json(records.folder / "study.json", study)
    kept = {"judges": shared.judges, "references": shared.references}
    save_tensors(records.folder / "judges.pt", kept)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # so that monkeypatch undoes what `register` sets
    yield Lab(records, shared, judges)
    mlflow.set_tracking_uri(None)
