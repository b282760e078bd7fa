"""Fixtures for all tests of `study`. What takes long to make is made once for all of them."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import trainables
from study.engine.shared_state import Shared
from study.metrics import cas
from study.metrics.core import catalog
from study.metrics.core.classifier import Recipe
from study.metrics.core.judge import Judge
from study.metrics.core.measure_real import build_references
from study.metrics.core.reference import Reference
from study.metrics.core.train_judges import train_judges
from study.planning import source_files, sources
from study.planning.plan import Plan
from study.records.records import Records
from tests.study import synthetic, tiny
from trainables import data


@pytest.fixture(scope="session")
def judges(tmp_path_factory: pytest.TempPathFactory) -> list[Judge]:
    recipe = Recipe(label_images=960, feature_images=960)
    return train_judges(tiny.dataset(), tmp_path_factory.mktemp("cache"), recipe=recipe, count=2)


def states(references: list[Reference]) -> list[dict[str, Any]]:
    return [reference.state() for reference in references]


@pytest.fixture(scope="session")
def plan() -> Plan:
    return tiny.plan()


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of a storage folder that does not exist yet, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STUDY_DATA", str(tmp_path / "none"))
    return tmp_path / "runs"


@pytest.fixture
def records(tmp_path: Path, plan: Plan) -> Records:
    return tiny.begin(Records(tmp_path / "tiny"), plan)


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory, judges: list[Judge], plan: Plan) -> Shared:
    data = tiny.dataset()
    return Shared(
        folder=tmp_path_factory.mktemp("runs") / "tiny",
        x=data.train.x,
        y=data.train.y,
        judges=[judge.state() for judge in judges],
        references={
            name: states(build_references(judges, data.keep(condition["classes"]), 30, seed=0))
            for name, condition in plan.conditions.items()
        },
        ticks={"search": [0, 1, 2, 3], "confirm": [0, 1, 2, 3]},
        metrics=plan.study.metrics,
        objective="fcd",
        bf16=False,
        inceptions={},
        judges_digest=dict.fromkeys(plan.conditions, "-"),
    )


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite store of MLflow. It is made once, because making one takes MLflow seconds."""
    from mlflow import MlflowClient  # this import takes seconds, too

    from study.planning.mlflow_store import default_uri

    folder = tmp_path_factory.mktemp("store")
    MlflowClient(default_uri(folder)).search_experiments()
    return folder / "mlflow.db"


@pytest.fixture
def shared(tmp_path: Path, common: Shared) -> Shared:
    return dataclasses.replace(common, folder=tmp_path / "tiny")


@pytest.fixture
def slow(shared: Shared, judges: list[Judge], monkeypatch: pytest.MonkeyPatch) -> Shared:
    """`shared`, but with all metrics of whole sets of fakes, and with CAS at a cell's end."""
    monkeypatch.setattr(cas, "IMAGES", 60)
    monkeypatch.setattr(cas, "DRAWS", 300)
    wanted = (*shared.metrics, "kcd", "prdc", "intra_fcd", "ms_ssim", "cas")
    data = tiny.dataset()
    references = {
        name: states(build_references(judges, data.keep(int(name[-1])), 30, 0, wanted))
        for name in shared.references
    }
    return dataclasses.replace(shared, metrics=wanted, references=references)


@pytest.fixture(scope="session")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Records:
    return synthetic.write_study(tmp_path_factory.mktemp("runs") / "made_up", seeds=4)


@pytest.fixture
def forget() -> Iterator[None]:
    """Each test begins and ends without foreign files."""
    yield
    for module in list(source_files._memory.files):
        sys.modules.pop(module, None)
    source_files._memory.files.clear()
    for added in (trainables._added, catalog._added, data._added, sources._loaded):
        added.clear()
