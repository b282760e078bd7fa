"""The MLflow mirror equals the records, however often and by whichever command it is written.

If these tests fail, charts and tables in MLflow show something else than what was run.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from mlflow import MlflowClient
from PIL import Image

from study.planning.plan import Plan
from study.records import store
from study.records.files import write_json
from study.records.records import Records
from study.tracking import images
from study.tracking.rows import milliseconds
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

pytestmark = pytest.mark.timeout(60)  # MLflow on SQLite is slow


def test_run_does_not_say_what_its_cell_was(records: Records, plan: Plan) -> None:
    """Nobody could filter, group or compare runs in MLflow's UI."""
    cells = {
        "complete": search_cell(plan, 0),
        "pruned": search_cell(plan, 1),
        "diverged": search_cell(plan, 2),
        None: plan.confirm_cells("classes=3", plan.hyperparameters("classes=3"))[1],
    }
    for outcome, cell in cells.items():
        write(records, cell, outcome)
    page = records.folder / "report.html"
    page.write_text("the report")
    assert mirror(records, finished=False, report=page, T1="supported").problem is None

    found = runs(records)
    assert found.keys() == {"parent", *(cell.id for cell in cells.values())}
    parent = found["parent"]
    assert parent.data.tags["claim.T1"] == "supported"
    assert parent.info.status == "RUNNING"
    files = client(records).list_artifacts(parent.info.run_id)
    assert [file.path for file in files] == ["report.html"]
    statuses = {"complete": "FINISHED", "pruned": "FINISHED", "diverged": "FAILED", None: "RUNNING"}
    for outcome, cell in cells.items():
        run = found[cell.id]
        expected = {
            "mlflow.parentRunId": parent.info.run_id,
            "condition": cell.condition_name,
            "phase": cell.phase,
            "seed": str(cell.seed),
            "outcome": outcome or "running",
            "data": "bars",
            "git_commit": "abc123",
        }
        assert expected.items() <= run.data.tags.items()
        params = {**cell.condition, **cell.hyperparameters}
        assert run.data.params == {key: str(value) for key, value in params.items()}
        assert run.info.status == statuses[outcome]
        assert points(records, run) == once(records, cell)
        images = client(records).list_artifacts(run.info.run_id, "images")
        steps = {file.path.split("step")[1][1:2] for file in images if "png" in file.path}
        assert steps == {"0", "1", "2"}
    mirror(records)
    assert runs(records)["parent"].info.status == "FINISHED"


def test_parent_run_does_not_lead_to_the_best_cells(records: Records, plan: Plan) -> None:
    """A user who has MLflow but not the records would have to find the best cells by hand."""
    cells = plan.confirm_cells("classes=3", plan.hyperparameters("classes=3"))[:2]
    write(records, cells[0], "complete")
    write(records, cells[1], "diverged")
    mirror(records)
    found = runs(records)
    title, _, link = found["parent"].data.tags["mlflow.note.content"].partition(": [")
    assert title == plan.study.title
    page = f'(#/compare-runs?runs=["{found[cells[0].id].info.run_id}"]&experiments=["1"])'
    assert unquote(link).endswith(page)


def test_charts_do_not_find_the_sample_grids(records: Records, plan: Plan) -> None:
    """MLflow's charts know images by the names and the tag that its own `log_image` makes."""
    cell = search_cell(plan, 0)
    write(records, cell, "complete", ticks=1)
    mirror(records)
    run, mlflow = runs(records)[cell.id], client(records)
    other = mlflow.create_run(run.info.experiment_id).info.run_id
    with Image.open(records.cell_folder(cell.id) / "samples" / "000000.png") as image:
        picture, step = image.copy(), {"step": 0, "timestamp": run.info.start_time}
        mlflow.log_image(other, picture, key="samples", **step)
    names = []
    for run_id in (run.info.run_id, other):
        files = mlflow.list_artifacts(run_id, "images")
        shape = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|timestamp.\d+")
        names.append(sorted(shape.sub("", file.path) for file in files))
        assert mlflow.get_run(run_id).data.tags["mlflow.loggedImages"] == "True"
    assert names[0] == names[1]
    assert len(names[0]) == 2


def test_torn_picture_keeps_its_cell_back(records: Records, plan: Plan) -> None:
    cell = search_cell(plan, 0)
    write(records, cell, "complete")
    path = records.cell_folder(cell.id) / "samples" / "000001.png"
    path.write_bytes(path.read_bytes()[:40])
    assert mirror(records).problem is None
    run = runs(records)[cell.id]
    assert points(records, run) == once(records, cell)
    files = client(records).list_artifacts(run.info.run_id, "images")
    assert len(files) == 4  # of two pictures


def test_half_of_a_picture_is_taken_for_it(records: Records, plan: Plan) -> None:
    """A kill between the picture and its preview, or a failure of the store that passes."""
    cell = search_cell(plan, 0)
    write(records, cell, None, ticks=1)
    mirror(records)
    run = runs(records)[cell.id]
    (folder,) = (records.folder.parent / "mlartifacts").rglob("images")
    assert images.logged(client(records), run.info.run_id) == {0}
    (whole,) = folder.glob("*.png")
    whole.unlink()
    assert images.logged(client(records), run.info.run_id) == set()


def test_picture_is_lost_where_the_store_failed(
    records: Records, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = search_cell(plan, 0)
    write(records, cell, "complete")
    honest = store.read

    def failing(path: Path) -> bytes:
        if path.suffix == ".png":
            raise OSError(5, "the store does not answer")
        return honest(path)

    with monkeypatch.context() as patch:
        patch.setattr(store, "read", failing)
        assert "does not answer" in (mirror(records).problem or "")
    assert mirror(records).problem is None
    assert images.logged(client(records), runs(records)[cell.id].info.run_id) == {0, 1, 2}


def test_second_mirror_writes_rows_again(records: Records, plan: Plan) -> None:
    """Charts would show each point as often as the command was given."""
    cell = search_cell(plan, 0)
    write(records, cell, None, ticks=2)
    mirror(records)
    write(records, cell, "complete", ticks=4)  # went on in another run of the command
    mirror(records)
    mirror(records)
    run = runs(records)[cell.id]
    assert points(records, run) == once(records, cell)
    assert run.data.tags["outcome"] == "complete"


def test_runs_of_others_are_deleted_or_taken_for_ours(records: Records, plan: Plan) -> None:
    """Runs of others are a user's own run in the same experiment, and runs of another folder.

    The other folder holds the same study.
    """
    cell = search_cell(plan, 0)
    write(records, cell, "complete")
    mirror(records)
    mlflow = client(records)
    experiment = mlflow.get_experiment_by_name("tiny")
    assert experiment is not None
    number = [experiment.experiment_id]
    mlflow.create_run(number[0], run_name="by hand")
    theirs = {run.info.run_id: run for run in mlflow.search_runs(number)}
    study = records.study()
    write_json(records.folder / "study.json", study | {"folder": "a" * 32})
    for _ in range(2):
        assert mirror(Records(records.folder)).problem is None
    after = {run.info.run_id: run for run in mlflow.search_runs(number)}
    assert {key: after[key].data.to_dictionary() for key in theirs} == {
        key: run.data.to_dictionary() for key, run in theirs.items()
    }
    (ours,) = (after[key] for key in after.keys() - theirs.keys() if "cell" in after[key].data.tags)
    assert points(records, ours) == once(records, cell)
    assert len(after) == len(theirs) + 2


def test_row_written_twice_is_two_rows(records: Records, plan: Plan) -> None:
    """MLflow takes two rows for one only if their times are equal.

    The time of a row must therefore come from the records.
    """
    cell = search_cell(plan, 0)
    write(records, cell, "complete")
    started = "2026-01-02T03:00:00+00:00"
    attempts = [{"started": started, "run": 0, "error": None}]
    write_json(records.cell_folder(cell.id) / "attempts.json", attempts)
    made = mirror(records)
    assert made._progress is not None
    done = made._progress[cell.id]
    made._client.update_run(done.run_id, status="RUNNING")
    done.kimg = -1  # as if its progress had been lost
    made._sync(made._progress, cell, records.rows(cell.id), None, milliseconds(started))
    assert points(records, runs(records)[cell.id]) == once(records, cell)


def test_damaged_cell_keeps_the_others_back(records: Records, plan: Plan) -> None:
    cells = [search_cell(plan, number) for number in range(3)]
    for cell in cells:
        write(records, cell, "complete")
    torn = sorted(cells, key=lambda cell: cell.id)[0]
    (records.cell_folder(torn.id) / "ticks.json").write_text("[{")
    (records.cell_folder(cells[2].id) / "samples" / "000001.png").unlink()
    made = mirror(records)
    assert torn.id in (made.problem or "")
    found = runs(records)
    assert found.keys() == {"parent", *(cell.id for cell in cells if cell != torn)}


def test_finished_study_asks_for_every_cell(
    records: Records, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a thousand cells the second command would take minutes to say that all is done."""
    for number in range(5):
        write(records, search_cell(plan, number), "complete", ticks=1)
    mirror(records)
    asked = Counter[str]()
    for name in ("log_batch", "log_image", "get_metric_history", "list_artifacts", "get_run",
                 "search_runs", "set_tag", "set_terminated", "create_run"):  # fmt: skip
        honest = getattr(MlflowClient, name)

        def counted(self: Any, *a: Any, _name: str = name, _do: Any = honest, **k: Any) -> Any:
            asked[_name] += 1
            return _do(self, *a, **k)

        monkeypatch.setattr(MlflowClient, name, counted)
    mirror(records)
    assert asked == {"search_runs": 1, "log_batch": 1, "set_terminated": 1}


@pytest.mark.parametrize("seen", ["failed", None], ids=["MLflow saw it fail", "it did not"])
def test_retried_cell_keeps_the_rows_of_its_failure(
    records: Records, plan: Plan, seen: str | None
) -> None:
    """It may run with other code, so its rows may be others at the same kimg."""
    cell = search_cell(plan, 0)
    attempts = records.cell_folder(cell.id) / "attempts.json"
    write_json(attempts, [{"started": "2026-01-02T03:00:00+00:00", "run": 0, "error": None}])
    write(records, cell, seen)
    mirror(records)
    before = runs(records)[cell.id].info.run_id
    if seen is None:
        write(records, cell, "failed")
    records.retry(cell.id)
    write_json(attempts, [{"started": "2026-01-02T03:01:00+00:00", "run": 0, "error": None}])
    again = Records(records.folder)
    mirror(again, finished=False)
    write(again, cell, "complete", ticks=2)
    mirror(again)
    run = runs(again)[cell.id]
    assert run.info.run_id != before
    assert (run.info.status, run.data.tags["outcome"]) == ("FINISHED", "complete")
    assert points(again, run) == once(again, cell)


def test_cell_that_runs_again_gets_a_second_run(records: Records, plan: Plan) -> None:
    """The cell runs again because its record was damaged.

    The cell's run in MLflow must be opened again, and ended again.
    """
    cell = search_cell(plan, 0)
    write(records, cell, "complete")
    mirror(records)
    (records.cell_folder(cell.id) / "result.json").unlink()
    again = Records(records.folder)
    mirror(again, finished=False)
    assert runs(again)[cell.id].info.status == "RUNNING"
    write(again, cell, "complete")
    mirror(again)
    run = runs(again)[cell.id]
    assert (run.info.status, run.data.tags["outcome"]) == ("FINISHED", "complete")
    assert points(again, run) == once(again, cell)
