"""A mirror that is far behind: what comes first, what stays, and how it is brought up to date.

If these tests fail, a study of thousands of cells never gets whole into MLflow, or its command
waits for that.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest
from mlflow import MlflowClient

from study.planning import prepare
from study.planning.mlflow_store import default_uri
from study.planning.plan import Plan
from study.planning.study_json import mark_finished
from study.records.records import Records
from study.report.__main__ import main as report
from study.tracking.mlflow_mirror import Mirror
from study.tracking.rows import MOST_METRICS, batches
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


def test_mirror_that_is_killed_again_and_again_never_ends(
    records: Records, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [search_cell(plan, number) for number in range(8)]
    for cell in cells:
        write(records, cell, "complete", ticks=2)
    honest = MlflowClient.log_batch
    problems = []
    while not problems or problems[-1]:
        count = Counter[str]()

        def dying(self: MlflowClient, *a: Any, count: Counter[str] = count, **k: Any) -> Any:
            count["calls"] += 1
            if count["calls"] >= 4:  # after the parent's and two cells'
                raise RuntimeError("killed")
            return honest(self, *a, **k)

        monkeypatch.setattr(MlflowClient, "log_batch", dying)
        problems.append(mirror(records).problem)
    assert problems == ["RuntimeError: killed"] * 3 + [None]
    for cell in cells:
        run = runs(records)[cell.id]
        assert points(records, run) == once(records, cell)
        assert run.info.status == "FINISHED"


def test_verdicts_and_report_wait_for_all_cells(
    records: Records, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(records, search_cell(plan, 0), "complete")
    best = plan.confirm_cells("classes=2", plan.hyperparameters("classes=2"))[0]
    write(records, best, "complete")
    page = records.folder / "report.html"
    page.write_text("the report")
    create, made = MlflowClient.create_run, Counter[str]()

    def slow(self: MlflowClient, *a: Any, **k: Any) -> Any:
        made["runs"] += 1
        if made["runs"] == 3:  # after the parent and the best cell
            time.sleep(5)
        return create(self, *a, **k)

    monkeypatch.setattr(MlflowClient, "create_run", slow)
    storage = records.folder.parent
    far = Mirror(default_uri(storage), storage, records)
    far.close(page, {"T1": "supported"}, finished=True, seconds=4)
    expected = "it did not take everything within 4 s, 1 cells are not up to date there"
    assert far.problem == expected
    found = runs(records)
    assert found.keys() == {"parent", best.id}
    assert found["parent"].data.tags["claim.T1"] == "supported"
    assert found["parent"].info.status == "RUNNING"
    files = client(records).list_artifacts(found["parent"].info.run_id)
    assert [file.path for file in files] == ["report.html"]


def test_ended_cell_costs_a_batch_for_each_row(
    records: Records, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow takes some milliseconds for each request, and most cells end within a lag."""
    cells = [search_cell(plan, number) for number in range(3)]
    for cell in cells:
        write(records, cell, "complete", ticks=5)
    asked = Counter[str]()
    for name in ("log_batch", "create_run", "set_terminated", "set_tag", "update_run"):
        honest = getattr(MlflowClient, name)

        def counted(self: Any, *a: Any, _name: str = name, _do: Any = honest, **k: Any) -> Any:
            asked[_name] += 1
            return _do(self, *a, **k)

        monkeypatch.setattr(MlflowClient, name, counted)
    mirror(records)
    assert {name: asked[name] for name in ("log_batch", "create_run", "set_terminated")} == {
        "log_batch": 1 + 3,  # of the parent, too
        "create_run": 1 + 3,
        "set_terminated": 1 + 3,
    }


def test_cell_that_ran_again_unseen_keeps_its_old_end(records: Records, plan: Plan) -> None:
    """Its record was damaged, and MLflow was away until it had ended a second time."""
    cell = search_cell(plan, 0)
    write(records, cell, "failed", ticks=2)
    mirror(records)
    (records.cell_folder(cell.id) / "result.json").unlink()
    write(again := Records(records.folder), cell, None, ticks=3)
    result = {"outcome": "complete", "error": None, "seconds": 1.0, "attempts": 1}
    again.accept(cell.id, result | {"ended": "2026-01-03T03:04:05+00:00"})
    mirror(again)
    run = runs(again)[cell.id]
    assert (run.info.status, run.data.tags["outcome"]) == ("FINISHED", "complete")
    assert points(again, run) == once(again, cell)


def test_rows_exceed_what_mlflow_takes_at_once() -> None:
    rows = [{"kimg": k, **{f"m{n}": 1.0 for n in range(299)}} for k in range(7)]
    parts = list(batches(rows))
    assert [row for part in parts for row in part] == rows
    assert [len(part) for part in parts] == [3, 3, 1]
    assert all(sum(map(len, part)) <= MOST_METRICS for part in parts)
    assert list(batches([])) == [[]]


class TestMirrorCommand:
    @pytest.fixture(autouse=True)
    def ended(self, records: Records, plan: Plan) -> None:
        for number in range(2):
            write(records, search_cell(plan, number), "complete")

    def ask(self, records: Records, *options: str) -> int:
        return report(["tiny", "--storage", str(records.folder.parent), *options])

    def test_store_stays_behind(self, records: Records, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.ask(records, "--mirror") == 0
        assert "up to date with 2 cells" in capsys.readouterr().out
        assert len(runs(records)) == 3
        assert runs(records)["parent"].info.status == "RUNNING"
        mark_finished(records)
        assert self.ask(records, "--mirror") == 0
        assert runs(records)["parent"].info.status == "FINISHED"

    def test_two_commands_write_at_once(
        self, records: Records, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with prepare.lock(records.folder):
            assert self.ask(records, "--mirror") == 2
        said = capsys.readouterr().err
        assert "is being run by process" in said
        assert said.count("\n") == 1

    def test_store_that_is_not_there(
        self, records: Records, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.ask(records, "--mirror", "--tracking-uri", "http://127.0.0.1:9") == 2
        said = capsys.readouterr().err
        assert "http://127.0.0.1:9 is behind" in said
        assert said.count("\n") == 1
