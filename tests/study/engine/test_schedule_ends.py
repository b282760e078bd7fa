"""What the searcher does when a cell ends. The tests play Ray's part by hand."""

from __future__ import annotations

from typing import Any

import pytest
from ray.tune.search import Searcher

from study.engine.schedule import MAX_ATTEMPTS, MAX_DEATHS
from study.planning.cells import Cell
from study.planning.plan import Plan
from study.records.records import Records
from tests.study.fake_ray import Ray, one


@pytest.fixture
def ray(plan: Plan, records: Records) -> Ray:
    return Ray(plan, records)


class TestEnds:
    def test_failed_cell_is_given_up_or_retried_for_ever(
        self, plan: Plan, records: Records
    ) -> None:
        ray = one(plan, records, trials=0, seeds=1)
        for attempt in range(MAX_ATTEMPTS):
            cell = ray.must()
            if attempt < MAX_ATTEMPTS - 1:
                ray.end(cell, "failed", error="Traceback\nValueError: no")
                assert ray.records.result(cell.id) is None
        ray.end(cell, "failed", error="Traceback\nValueError: no")
        result = ray.records.result(cell.id)
        assert result is not None
        assert result["outcome"] == "failed"
        assert result["attempts"] == MAX_ATTEMPTS == 3
        assert "ValueError: no" in result["error"]
        assert ray.searcher.suggest("end") == Searcher.FINISHED

    def test_second_attempt_is_not_a_complete_cell(self, plan: Plan, records: Records) -> None:
        ray = one(plan, records, trials=0, seeds=1)
        cell = ray.must()
        ray.searcher.on_trial_complete(ray.trial(cell), None, error=True)  # its process died
        assert ray.must() == cell
        ray.finish(cell)
        result = ray.records.result(cell.id)
        assert result is not None
        assert (result["outcome"], result["attempts"]) == ("complete", 2)

    def test_crashes_of_earlier_runs_are_forgotten(self, plan: Plan, records: Records) -> None:
        """A cell that always crashes would be tried three times by every command."""
        for _ in range(MAX_ATTEMPTS):
            ray = one(plan, records, trials=0, seeds=1)
            cell = ray.must()
            ray.end(cell, "failed", error="Traceback\nValueError: no")
        result = records.result(cell.id)
        assert result is not None
        assert (result["outcome"], result["attempts"]) == ("failed", MAX_ATTEMPTS)
        errors = [attempt["error"] for attempt in records.attempts(cell.id)]
        assert errors == ["Traceback\nValueError: no"] * MAX_ATTEMPTS

    def die(self, ray: Ray, cell: Cell) -> None:
        ray.searcher.on_trial_complete(ray.trial(cell), None, error=True)

    def test_preempted_cell_fails(self, plan: Plan, records: Records) -> None:
        """A worker that is killed from outside is not the cell's fault, however often it happens.

        The cell makes a tick now and then, so it must never be given up.
        """
        ray = one(plan, records, workers=1, trials=0, seeds=1)
        objectives: list[float] = []
        for death in range(3 * MAX_DEATHS):
            cell = ray.must()
            if death % (MAX_DEATHS - 1) == 0:
                objectives.append(9.0)
                ray.tick(cell, *objectives)
            self.die(ray, cell)
            assert ray.observed[-1] == (cell.id, "again")
        ray.finish(ray.must())
        assert (records.result(cell.id) or {})["outcome"] == "complete"

    @pytest.mark.parametrize(("memory", "outcome"), [(False, "failed"), (True, "out_of_memory")])
    def test_dying_cell_is_tried_for_ever(
        self, plan: Plan, records: Records, memory: bool, outcome: str
    ) -> None:
        """A segmentation fault comes at the same place each time.

        The same holds if Ray kills the worker because memory is short.
        """
        ray = one(plan, records, workers=1, trials=0, seeds=1)
        for _ in range(MAX_DEATHS + 1):
            cell = ray.must()
            if memory:
                ray.searcher.killed_for_memory.add(cell.id)
            self.die(ray, cell)
        assert (records.result(cell.id) or {})["outcome"] == outcome
        assert ray.searcher.suggest("end") == Searcher.FINISHED

    def test_full_disk_fails_cells(
        self, plan: Plan, records: Records, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A cell that could not write is not to blame, so it must get no outcome.

        The study must stop and say why.
        """
        ray = one(plan, records, trials=0, seeds=3)
        first, second = ray.must(), ray.must()
        ray.searcher.on_trial_complete(ray.trial(first), {"done": True, "storage": "disk full"})
        assert ray.searcher.problem == "disk full"
        assert (records.folder / ".stop").exists()
        assert ray.searcher.suggest("wait") is None
        ray.end(second, None)
        assert ray.searcher.suggest("end") == Searcher.FINISHED
        assert records.result(first.id) is records.result(second.id) is None

    def test_driver_cannot_write(
        self, plan: Plan, records: Records, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An exception inside Tune's loop would be a traceback for the user."""
        ray = one(plan, records, trials=0, seeds=2)
        cell = ray.must()
        ray.tick(cell, 9.0, 3.0)

        def fail(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("study.engine.schedule.write_json", fail)
        monkeypatch.setattr(Records, "accept", fail)
        ray.end(cell)
        assert "No space" in (ray.searcher.problem or "")
        assert records.result(cell.id) is None
        assert ray.searcher.suggest("end") == Searcher.FINISHED

    def test_record_is_damaged_meanwhile(self, plan: Plan, records: Records) -> None:
        """The next command sets it aside; this one must end with a line, whoever reads it first."""

        def grow(_: Plan) -> Plan | None:
            records.rows(first.id)
            return None

        ray = one(plan, records, trials=0)
        ray.searcher.grow = grow
        first, second = ray.must(), ray.must()
        ray.finish(first)
        path = records.cell_folder(first.id) / "ticks.json"
        path.write_text(path.read_text().replace("6.0", "7.0"))
        ray.finish(second)
        assert ray.searcher.suggest("end") == Searcher.FINISHED
        assert f"{path} is damaged" in (ray.searcher.problem or "")

    def test_failed_search_cell_costs_another_trial(self, plan: Plan, records: Records) -> None:
        """A retry is the same cell, so it must not cost another trial.

        A cell that is given up counts as one trial, and Optuna hears of it once.
        """
        ray = one(plan, records, trials=2, seeds=1)
        first = ray.must()
        for _ in range(MAX_ATTEMPTS - 1):
            ray.end(first, "failed", error="x")
            assert ray.must() == first
        ray.end(first, "failed", error="x")
        second = ray.must()
        assert second.number == 1
        ray.finish(second)
        assert [c.phase for c in (ray.must(), ray.must())] == ["confirm", "confirm"]

    @pytest.mark.parametrize("outcome", ["diverged", "out_of_memory"])
    def test_hopeless_cell_is_retried(self, plan: Plan, records: Records, outcome: str) -> None:
        """The same seed diverges again: a retry costs time and changes nothing."""
        ray = one(plan, records, trials=1, seeds=1)
        cell = ray.must()
        ray.tick(cell, 9.0, 5.0)
        ray.end(cell, outcome, error="loss is nan")
        result = ray.records.result(cell.id)
        assert result is not None
        assert (result["outcome"], result["error"]) == (outcome, "loss is nan")
        assert result["seconds"] == 1.0  # of the last row on record
        assert len(ray.records.rows(cell.id)) == 2
        assert ray.observed[-1] == (cell.id, outcome)

    def test_dead_before_the_first_tick(self, plan: Plan, records: Records) -> None:
        ray = one(plan, records, trials=1, seeds=1)
        cell = ray.must()
        ray.end(cell, "diverged", error="loss is nan")
        result = ray.records.result(cell.id)
        assert result is not None
        assert result["seconds"] == 0.0

    def test_interrupted_cell_is_accepted(self, plan: Plan, records: Records) -> None:
        """A half-trained cell would count as a result, and would never be trained further."""
        ray = one(plan, records, trials=1, seeds=1)
        cell = ray.must()
        ray.tick(cell, 9.0, 8.0)
        ray.end(cell, None)
        assert ray.records.result(cell.id) is None
        assert ray.observed[-1] == (cell.id, None)
        again = one(plan, records, trials=1, seeds=1)
        assert again.must() == cell
        again.finish(cell)
        assert (again.records.result(cell.id) or {})["outcome"] == "complete"

    def test_interrupted_confirm_cell_is_forgotten(self, plan: Plan, records: Records) -> None:
        ray = one(plan, records, trials=0, seeds=2)
        cell = ray.must()
        ray.searcher.on_trial_complete(ray.trial(cell), None)
        again = one(plan, records, trials=0, seeds=2)
        assert {again.must().id, again.must().id} >= {cell.id}
        assert again.ask() is None

    def stopped(self, ray: Ray) -> Cell:
        for _ in range(4):
            cell = ray.must()
            assert not ray.tick(cell, 9.0)
            assert not ray.tick(cell, 9.0, 3.0)
            assert not ray.tick(cell, 9.0, 3.0, 3.0)
            ray.finish(cell)
        bad = ray.must()
        assert not ray.tick(bad, 90.0)
        assert not ray.tick(bad, 90.0, 80.0)
        assert ray.tick(bad, 90.0, 80.0, 80.0)
        return bad

    def test_stopped_cell_is_lost(self, plan: Plan, records: Records) -> None:
        """If the scheduler stopped a trial, Ray's result of it names no outcome.

        The outcome of the cell must be "pruned".
        """
        ray = one(plan, records, trials=5, seeds=1)
        bad = self.stopped(ray)
        ray.end(bad, None)
        result = ray.records.result(bad.id)
        assert result is not None
        assert (result["outcome"], result["error"]) == ("pruned", None)
        assert len(ray.records.rows(bad.id)) == 3
        assert one(plan, records, trials=5, seeds=1).must().phase == "confirm"

    def test_confirm_cell_is_stopped_early(self, plan: Plan, records: Records) -> None:
        """Claims rest on confirm cells: stopping bad ones would flatter the effect."""
        ray = one(plan, records, trials=0, seeds=5)
        for _ in range(4):
            ray.finish(ray.must())
        bad = ray.must()
        assert not ray.tick(bad, 900.0, 900.0, 900.0)

    def test_checkpoints_pile_up(self, ray: Ray) -> None:
        """Tens of megabytes per cell would stay for ever. Only generator.pt must be kept."""
        cell = ray.must()
        folder = ray.records.cell_folder(cell.id)
        (folder / "checkpoints").mkdir()
        for name in ("checkpoints/000001.pt", "checkpoints/000002.pt", "generator.pt"):
            (folder / name).write_bytes(b"x")
        ray.finish(cell)
        assert [p.name for p in folder.rglob("*.pt")] == ["generator.pt"]

    def test_interrupted_cell_loses_its_checkpoints(self, ray: Ray) -> None:
        cell = ray.must()
        path = ray.records.cell_folder(cell.id) / "checkpoints" / "000001.pt"
        path.parent.mkdir()
        path.write_bytes(b"x")
        ray.tick(cell, 9.0)
        ray.end(cell, "failed", error="x")
        assert path.exists()
        assert ray.must() == cell
        ray.end(cell, None)
        assert path.exists()
