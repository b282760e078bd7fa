"""The MLflow mirror when MLflow is down, slow or hangs, or when the mirror itself is killed.

If these tests fail, a study waits for MLflow, or rows are missing in MLflow or are there twice.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from study.planning.mlflow_store import default_uri
from study.planning.plan import Plan
from study.records.records import Records
from study.tracking.mlflow_mirror import Mirror
from tests.study.tracking.mirrored import (
    client,
    impatient,  # noqa: F401  a fixture, active in each test here
    mirror,
    mirrored_records,  # noqa: F401  the fixture `records` of these tests
    once,
    points,
    runs,
    search_cell,
    write,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]  # MLflow on SQLite is slow


@pytest.mark.parametrize("calls", range(1, 4))
def test_killed_mirror_leaves_holes_or_doubles(
    records: Records, plan: Plan, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    """The mirror is killed at its n-th batch. The parent's comes first, then the cells'.

    The next mirror must complete the runs.
    """
    cells = [search_cell(plan, number) for number in range(2)]
    for cell in cells:
        write(records, cell, "complete", ticks=2)
    log_batch, count = MlflowClient.log_batch, Counter[str]()

    def dying(self: MlflowClient, *arguments: Any, **named: Any) -> Any:
        count["calls"] += 1
        if count["calls"] >= calls:
            raise RuntimeError("killed")
        return log_batch(self, *arguments, **named)

    monkeypatch.setattr(MlflowClient, "log_batch", dying)
    assert mirror(records).problem == "RuntimeError: killed"
    monkeypatch.undo()
    assert mirror(records).problem is None
    for cell in cells:
        run = runs(records)[cell.id]
        assert points(records, run) == once(records, cell)
        assert run.data.params["lr"] == str(cell.hyperparameters["lr"])
        assert run.info.status == "FINISHED"


def test_outage_stops_or_loses_something(records: Records, plan: Plan) -> None:
    """A study must not wait for MLflow, and what an outage kept back must come later."""
    cell = search_cell(plan, 0)
    write(records, cell, "complete")
    storage = records.folder.parent
    absent = Mirror("http://127.0.0.1:9", storage, records)
    start = time.monotonic()
    absent.touch(cell.id)
    assert time.monotonic() - start < 0.1
    absent.close(None, {}, True)
    assert absent.problem
    assert "\n" not in absent.problem
    assert mirror(records).problem is None
    assert points(records, runs(records)[cell.id]) == once(records, cell)


def test_mirror_gives_up_after_a_short_outage(
    records: Records, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A study of days has one mirror, which must go on when MLflow answers again."""
    cell = search_cell(plan, 0)
    write(records, cell, "complete")
    connect, failures = Mirror._connect, Counter[str]()

    def failing(self: Mirror) -> Any:
        failures["n"] += 1
        if failures["n"] <= 2:  # when it is made, and at the first cell
            raise ConnectionError("no route")
        return connect(self)

    monkeypatch.setattr(Mirror, "_connect", failing)
    storage = records.folder.parent
    made = Mirror(default_uri(storage), storage, records)
    made.touch(cell.id)
    while made.problem is None:
        time.sleep(0.01)
    made.close(None, {}, True)
    assert made.problem is None
    assert points(records, runs(records)[cell.id]) == once(records, cell)


@pytest.mark.parametrize(
    ("call", "number"),
    [("log_batch", 2), ("log_artifacts", 2), ("create_run", 1), ("create_run", 2),
     ("set_terminated", 1)],
)  # fmt: skip
@pytest.mark.parametrize("patience", [0, 10], ids=["next command", "tried again"])
def test_request_that_failed_here_but_not_there_is_doubled(
    records: Records,
    plan: Plan,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    number: int,
    patience: int,
) -> None:
    """The answer of a slow server comes too late.

    What the server has done must not be done twice.
    """
    cells = [search_cell(plan, number) for number in range(2)]
    for cell in cells:
        write(records, cell, "complete")
    honest, count = getattr(MlflowClient, call), Counter[str]()

    def late(self: MlflowClient, *arguments: Any, **named: Any) -> Any:
        answer = honest(self, *arguments, **named)
        count["calls"] += 1
        if count["calls"] == number:
            raise TimeoutError("too late")
        return answer

    monkeypatch.setattr(MlflowClient, call, late)
    monkeypatch.setattr("study.tracking.mlflow_mirror.PATIENCE", patience)
    # The first run made is the parent's. It is asked for when the mirror is made and, as that
    # failed, once more when it is closed.
    again = patience or (call, number) == ("create_run", 1)
    assert mirror(records).problem == (None if again else "TimeoutError: too late")
    assert mirror(records).problem is None
    for cell in cells:
        run = runs(records)[cell.id]
        assert points(records, run) == once(records, cell)
        assert run.info.status == "FINISHED"
        assert run.data.tags["outcome"] == "complete"
        images = client(records).list_artifacts(run.info.run_id, "images")
        names = [Path(file.path).name for file in images]
        steps = [name.split("step")[1][1] for name in names if name.endswith(".png")]
        assert sorted(steps) == ["0", "1", "2"]


def test_command_that_is_interrupted_hides_the_problem(records: Records, plan: Plan) -> None:
    """It does not wait as long as a failing MLflow is tried again."""
    write(records, search_cell(plan, 0), "complete")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("study.tracking.mlflow_mirror.PATIENCE", 30)
        tried = Mirror("http://127.0.0.1:9", records.folder.parent, records)
        tried.close(None, {}, False, 2)
    assert "Connection refused" in str(tried.problem)
    assert not tried.is_slow


def test_killed_command_leaves_half_of_the_tables(records: Records, tmp_path: Path) -> None:
    """MLflow refuses such a database for ever, and no command would bring it up to date."""
    path = tmp_path / "new" / "mlflow.db"
    path.parent.mkdir()
    code = f"from study.tracking import database; database.make('sqlite:///{path}')"
    with subprocess.Popen([sys.executable, "-c", code]) as making:
        try:
            until, size = time.monotonic() + 30, 0
            while not size:
                assert time.monotonic() < until
                with contextlib.suppress(FileNotFoundError):  # a journal that SQLite has deleted
                    size = sum(file.stat().st_size for file in path.parent.iterdir())
        finally:
            making.kill()
    assert not path.exists()
    for _ in range(2):  # the second one deletes what the killed one left
        tried = Mirror(f"sqlite:///{path}", tmp_path, records)
        tried.close(None, {}, True)
        assert tried.problem is None
    assert [file.name for file in path.parent.iterdir()] == ["mlflow.db"]


def test_error_that_has_passed_is_blamed(
    records: Records, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow failed once, works again, and only takes its time."""
    cells = [search_cell(plan, number) for number in range(8)]
    for cell in cells:
        write(records, cell, "complete")
    honest, count = MlflowClient.log_batch, Counter[str]()

    def slow(self: MlflowClient, *arguments: Any, **named: Any) -> Any:
        count["calls"] += 1
        if count["calls"] == 2:  # of the first cell, after the parent's
            raise ConnectionError("no route")
        time.sleep(0.5)
        return honest(self, *arguments, **named)

    monkeypatch.setattr(MlflowClient, "log_batch", slow)
    monkeypatch.setattr("study.tracking.mlflow_mirror.PATIENCE", 30)
    tried = Mirror(default_uri(records.folder.parent), records.folder.parent, records)
    tried.close(None, {}, True, 4)
    assert str(tried.problem).startswith("it did not take everything within 4 s, ")
    assert tried.is_slow


def test_tables_wait_for_the_first_cell(records: Records) -> None:
    """MLflow makes its tables while Ray starts, not while cells run."""
    path = records.folder.parent / "mlflow.db"
    path.unlink()
    made = Mirror(default_uri(records.folder.parent), records.folder.parent, records)
    until = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < until
        time.sleep(0.1)
    made.close(None, {}, True)


def test_status_is_not_the_studys(records: Records, plan: Plan) -> None:
    def status() -> str:
        return str(runs(records)["parent"].info.status)

    cell = search_cell(plan, 0)
    write(records, cell, "complete")
    assert mirror(records).problem is None
    assert status() == "FINISHED"
    made = Mirror(default_uri(records.folder.parent), records.folder.parent, records)
    until = time.monotonic() + 30
    while made._progress is None:  # it looks what is there
        assert time.monotonic() < until
        time.sleep(0.1)
    assert status() == "FINISHED", "nothing runs"
    made.touch(cell.id)
    while status() != "RUNNING":
        assert time.monotonic() < until
        time.sleep(0.1)
    made.close(None, {}, True)
    assert status() == "FINISHED"


def test_interrupted_command_waits_for_mlflow(
    records: Records, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop must take only seconds, whatever the server does."""
    write(records, search_cell(plan, 0), None)
    monkeypatch.setattr(Mirror, "_connect", lambda self: time.sleep(30))
    start = time.monotonic()
    storage = records.folder.parent
    made = Mirror(default_uri(storage), storage, records)
    made.close(None, {}, finished=False, seconds=2)
    assert time.monotonic() - start < 3
    assert "within 2 s" in (made.problem or "")


def test_deleted_experiment_is_not_named(records: Records, plan: Plan) -> None:
    """No command ever catches up with it: the problem must say what helps."""
    write(records, search_cell(plan, 0), "complete")
    assert mirror(records).problem is None
    there = client(records)
    experiment = there.get_experiment_by_name("tiny")
    assert experiment is not None
    there.delete_experiment(experiment.experiment_id)
    said, _, command = str(mirror(records).problem).partition("; ")
    assert said.endswith("the experiment 'tiny' is deleted there")
    mlflow = Path(sys.executable).with_name("mlflow")
    subprocess.run(command.replace("mlflow exp", f"{mlflow} exp"), shell=True, check=True)
    assert mirror(records).problem is None


def test_store_of_an_older_mlflow_is_not_named(
    records: Records, plan: Plan, store: Path, tmp_path: Path
) -> None:
    write(records, search_cell(plan, 0), "complete")
    older = tmp_path / "older.db"
    shutil.copy(store, older)
    with contextlib.closing(sqlite3.connect(older)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")  # of MLflow 1.0
    tried = Mirror(f"sqlite:///{older}", tmp_path, records)
    tried.close(None, {}, True)
    assert "mlflow db upgrade" in str(tried.problem)
