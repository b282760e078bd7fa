"""A storage folder that was moved or copied keeps to itself.

If these tests fail, MLflow shows no pictures of a storage that was moved, the old folder comes back
or a copy writes into the folder that it was copied from.
"""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from study.planning.mlflow_store import default_uri, follow, store_uri
from study.planning.plan import Plan
from study.records.records import Records
from tests.study import tiny
from tests.study.tracking.mirrored import (
    client,
    mirror,
    runs,
    search_cell,
    write,
)

pytestmark = pytest.mark.timeout(60)  # MLflow on SQLite is slow


@pytest.fixture
def records(tmp_path: Path, store: Path, plan: Plan) -> Records:
    """A study of one cell that MLflow has, in a folder that can be moved."""
    storage = tmp_path / "first"
    storage.mkdir()
    shutil.copy(store, storage / "mlflow.db")
    records = tiny.begin(Records(storage / "tiny"), plan)
    write(records, search_cell(plan, 0), "complete")
    assert mirror(records).problem is None
    return records


def pictures(records: Records, name: str) -> int:
    """How many sample grids MLflow finds of a cell."""
    found = client(records).list_artifacts(runs(records)[name].info.run_id, "images")
    return sum(file.path.endswith(".png") for file in found)


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["second", "a b é"])
def test_moved_storage_loses_its_pictures(records: Records, plan: Plan, name: str) -> None:
    first = records.folder.parent
    moved = Records(first.rename(first.parent / name) / "tiny")
    old, new = search_cell(plan, 0), search_cell(plan, 1)
    write(moved, new, "complete")
    assert mirror(moved).problem is None
    assert not first.exists()
    assert pictures(moved, old.id) == pictures(moved, new.id) == 3
    assert sorted(path.name for path in first.parent.iterdir()) == [name]


def test_copied_storage_writes_into_the_original(records: Records, plan: Plan) -> None:
    first = records.folder.parent
    copy = Records(Path(shutil.copytree(first, first.parent / "copy")) / "tiny")
    before = files(first)
    write(copy, search_cell(plan, 1), "complete")
    page = copy.folder / "report.html"
    page.write_text("the report")
    assert mirror(copy, report=page).problem is None
    assert files(first) == before
    assert pictures(copy, search_cell(plan, 1).id) == 3


def test_ui_of_a_moved_storage_lists_no_artifacts(records: Records, plan: Plan) -> None:
    first = records.folder.parent
    moved = Records(first.rename(first.parent / "second") / "tiny")
    store_uri(moved.folder.parent)
    assert pictures(moved, search_cell(plan, 0).id) == 3


def test_other_experiments_are_changed(records: Records) -> None:
    """What a user keeps elsewhere stays there."""
    places = ["file:///elsewhere", "s3://bucket/mlartifacts", "file:///own/mlartifacts"]
    first = records.folder.parent
    for number, place in enumerate(places):
        client(records).create_experiment(f"own {number}", artifact_location=place)
    moved = first.rename(first.parent / "second")
    follow(default_uri(moved), moved)
    kept = client(Records(moved / "tiny"))
    for number, place in enumerate(places):
        found = kept.get_experiment_by_name(f"own {number}")
        assert found is not None
        assert found.artifact_location == place


def test_damaged_store_is_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("no database")
    (tmp_path / "mlartifacts").mkdir()
    with pytest.raises(OSError, match=r"mlflow\.db: file is not a database"):
        follow(default_uri(tmp_path), tmp_path)
    with pytest.raises(ValueError, match=r"mlflow\.db: file is not a database"):
        store_uri(tmp_path)


def test_registered_models_stay_behind(records: Records) -> None:
    """The columns that are rewritten must be those of the MLflow that is installed."""
    first = records.folder.parent
    mlflow, run = client(records), runs(records)["parent"]
    mlflow.create_registered_model("best")
    source = f"{run.info.artifact_uri}/model"
    mlflow.create_model_version("best", source, run.info.run_id)
    moved = first.rename(first.parent / "second")
    follow(default_uri(moved), moved)
    with sqlite3.connect(moved / "mlflow.db") as database:
        dump = "\n".join(database.iterdump())
    assert default_uri(first).removeprefix("sqlite://").removesuffix("mlflow.db") not in dump


def test_odd_path_keeps_another_store_back(
    tmp_path: Path, store: Path, plan: Plan, records: Records
) -> None:
    """With a --tracking-uri the storage's path may have any characters."""
    odd = Records(records.folder.parent.rename(tmp_path / "a#b") / "tiny")
    shutil.copy(store, tmp_path / "other.db")
    assert mirror(odd, uri=f"sqlite:///{tmp_path}/other.db").problem is None
