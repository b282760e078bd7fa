"""The MLflow mirror: equal to the records, whatever happened to MLflow or to us on the way."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import tiny
from mlflow import MlflowClient
from mlflow.entities import Run
from PIL import Image

from study.plan import Cell, Plan
from study.records import Records, write_json
from study.tracking import Mirror, default_uri, milliseconds

pytestmark = pytest.mark.timeout(60)  # MLflow on SQLite is slow


@pytest.fixture
def storage(tmp_path: Path, store: Path) -> Path:
    shutil.copy(store, tmp_path / "mlflow.db")
    return tmp_path


@pytest.fixture
def records(storage: Path, plan: Plan) -> Records:
    return tiny.begin(Records(storage / "tiny"), plan)


def search_cell(plan: Plan, number: int) -> Cell:
    values = {"lr": 1e-3 * (number + 1), "adversarial": "hinge"}
    return plan.search_cell("classes=2", number, values, values)


def write(records: Records, cell: Cell, outcome: str | None, ticks: int = 3) -> None:
    """A cell on record as the engine leaves it, sample grids and the end's time included."""
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
    """Mirror all there is, to the end."""
    storage = records.folder.parent
    made = Mirror(changes.pop("uri", default_uri(storage)), storage, records)
    made.close(changes.pop("report", None), changes, finished)
    return made


def client(records: Records) -> MlflowClient:
    return MlflowClient(default_uri(records.folder.parent))


def runs(records: Records) -> dict[str, Run]:
    """All runs of the study, the parent's under "parent"."""
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
    """Every metric of every row, one time."""
    return Counter((key, row["kimg"]) for row in records.rows(cell.id) for key in row)


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
    """Who has MLflow alone, without the records, would have to pick them by hand."""
    cells = plan.confirm_cells("classes=3", plan.hyperparameters("classes=3"))[:2]
    write(records, cells[0], "complete")
    write(records, cells[1], "diverged")
    mirror(records)
    found = runs(records)
    title, _, link = found["parent"].data.tags["mlflow.note.content"].partition(": [")
    assert title == plan.study.title
    page = f'(#/compare-runs?runs=["{found[cells[0].id].info.run_id}"]&experiments=["1"])'
    assert unquote(link).endswith(page)


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
    """A user's own run in the experiment; the same study, run in another folder."""
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


@pytest.mark.parametrize("calls", range(1, 6))
def test_killed_mirror_leaves_holes_or_doubles(
    records: Records, plan: Plan, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    """It is killed at its n-th batch: parameters first, then rows; the next one completes it."""
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
    """The same mirror goes on where MLflow answers again: a study of days has one."""
    cell = search_cell(plan, 0)
    write(records, cell, "complete")
    connect, failures = Mirror._connect, Counter[str]()

    def failing(self: Mirror) -> Any:
        failures["n"] += 1
        if failures["n"] == 1:
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
    [("log_batch", 2), ("log_image", 2), ("create_run", 1), ("create_run", 2), ("set_tag", 1),
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
    """The answer of a slow server comes too late: what it did must not be done twice."""
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
    monkeypatch.setattr("study.tracking.PATIENCE", patience)
    assert mirror(records).problem == (None if patience else "TimeoutError: too late")
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


def test_row_written_twice_is_two_rows(records: Records, plan: Plan) -> None:
    """MLflow takes a row for the same only with the same time: it must come from the records."""
    cell = search_cell(plan, 0)
    write(records, cell, "complete")
    started = "2026-01-02T03:00:00+00:00"
    attempts = [{"started": started, "run": 0, "error": None}]
    write_json(records.cell_folder(cell.id) / "attempts.json", attempts)
    made = mirror(records)
    assert made._places is not None
    place = made._places[cell.id]
    for row in records.rows(cell.id):  # as if its place had been lost
        made._client.update_run(place.run_id, status="RUNNING")
        made._log(place, cell, row, milliseconds(started))
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


def test_interrupted_command_waits_for_mlflow(
    records: Records, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop is a matter of seconds, whatever the server does."""
    write(records, search_cell(plan, 0), None)
    monkeypatch.setattr(Mirror, "_connect", lambda self: time.sleep(30))
    start = time.monotonic()
    made = mirror(records, finished=False)
    assert time.monotonic() - start < 6
    assert "within 5 s" in (made.problem or "")


def test_cell_that_runs_again_gets_a_second_run(records: Records, plan: Plan) -> None:
    """Its record was damaged: the same run is opened, and ended again."""
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
