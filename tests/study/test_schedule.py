"""Which cell comes next and what its end means. Ray's part is played by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import tiny
from ray.tune.search import Searcher

from study.plan import Cell, Plan, is_finished
from study.records import Records, write_json
from study.schedule import ATTEMPTS, DEATHS, StudySearcher

Observed = list[tuple[str, str | None]]


class Ray:
    """Asks the searcher and tells it of ticks and ends, as Tune does."""

    def __init__(self, plan: Plan, records: Records) -> None:
        self.observed: Observed = []
        self.plan, self.records, self.asked = plan, records, 0
        self.searcher = StudySearcher(plan, records, self.observe)

    def observe(self, cell: Cell, result: dict[str, Any] | None) -> None:
        self.observed.append((cell.id, result and result["outcome"]))

    def ask(self) -> Cell | None:
        self.asked += 1
        answer = self.searcher.suggest(f"t{self.asked}")
        if answer is None or answer == Searcher.FINISHED:
            return None
        return Cell.from_json(answer["cell"])

    def must(self) -> Cell:
        cell = self.ask()
        assert cell is not None
        return cell

    def trial(self, cell: Cell) -> str:
        return next(t for t, c in self.searcher.running.items() if c.id == cell.id)

    def tick(self, cell: Cell, *objectives: float) -> bool:
        """The worker has recorded these ticks; whether the last one stops it."""
        write_json(self.records.cell_folder(cell.id) / "ticks.json", tiny.rows(*objectives))
        return self.searcher.observe(cell.id)

    def end(self, cell: Cell, outcome: str | None = "complete", **rest: Any) -> None:
        result = {"outcome": outcome, **rest} if outcome else {"kimg": 1, "objective": 3.0}
        self.searcher.on_trial_complete(self.trial(cell), result)

    def finish(self, cell: Cell, objective: float = 3.0) -> None:
        """From its first tick to a good end."""
        if not self.records.rows(cell.id):
            self.tick(cell, 9.0)
        write_json(
            self.records.cell_folder(cell.id) / "ticks.json", tiny.rows(9.0, 6.0, 5.0, objective)
        )
        self.end(cell)


@pytest.fixture
def plan() -> Plan:
    return tiny.plan()


@pytest.fixture
def records(tmp_path: Path, plan: Plan) -> Records:
    return tiny.begin(Records(tmp_path / "tiny"), plan)


@pytest.fixture
def ray(plan: Plan, records: Records) -> Ray:
    return Ray(plan, records)


def one(plan: Plan, records: Records, **budget: Any) -> Ray:
    """Only classes=2, with that budget."""
    return Ray(dataclasses.replace(plan, only="classes=2", budget=tiny.budget(**budget)), records)


class TestOrder:
    def test_whole_study(self, ray: Ray) -> None:
        """Searches in turn, then confirmations; each cell once; then the end."""
        cells = []
        while (cell := ray.ask()) is not None:
            cells.append(cell)
            ray.finish(cell, objective=4.0 - 0.1 * (cell.number or 0))
        assert ray.searcher.suggest("end") == Searcher.FINISHED
        assert [cell.phase for cell in cells] == ["search"] * 8 + ["confirm"] * 8
        searched = [(cell.condition_name, cell.number) for cell in cells[:8]]
        assert searched == [(name, n) for n in range(4) for name in ("classes=2", "classes=3")]
        assert len({cell.id for cell in cells}) == 16
        assert is_finished(ray.plan, ray.records)
        again = Ray(ray.plan, ray.records)
        assert again.ask() is None
        assert again.searcher.suggest("end") == Searcher.FINISHED

    def test_cell_runs_before_it_is_on_record(self, ray: Ray) -> None:
        cell = ray.must()
        assert ray.records.cell(cell.id) == cell.as_json()
        assert ray.observed == [(cell.id, None)]

    def test_end_is_announced_while_cells_run(self, plan: Plan, records: Records) -> None:
        """FINISHED too early: the best would never be confirmed, a failed cell never retried."""
        ray = one(plan, records, trials=1, seeds=1)
        search, confirm = ray.must(), ray.must()
        assert confirm.phase == "confirm"
        assert ray.searcher.suggest("wait") is None
        ray.finish(confirm)
        assert ray.searcher.suggest("wait") is None
        ray.finish(search)
        assert ray.searcher.suggest("end") == Searcher.FINISHED  # the best is the reference

    def test_reference_idles_the_machine(self, plan: Plan, records: Records) -> None:
        """While the last searches run, the reference's seeds fill the machine; the best waits."""
        ray = one(plan, records, trials=2, seeds=2)
        searches = [ray.must(), ray.must()]
        reference = [ray.must(), ray.must()]
        assert [c.phase for c in reference] == ["confirm", "confirm"]
        recipe = ray.plan.hyperparameters("classes=2")
        assert all(c.hyperparameters == recipe for c in reference)
        ray.finish(searches[0], 5.0)
        assert ray.searcher.suggest("wait") is None, "the best was confirmed with a cell running"
        ray.finish(searches[1], 2.0)
        best = [ray.must(), ray.must()]
        assert all(c.hyperparameters == searches[1].hyperparameters for c in best)
        assert [c.seed for c in best] == [0, 1]

    def test_one_slow_condition_holds_up_the_other(self, plan: Plan, records: Records) -> None:
        """classes=2 is confirmed while classes=3 still searches."""
        ray = Ray(dataclasses.replace(plan, budget=tiny.budget(parallel=4)), records)
        cells = [ray.must() for _ in range(8)]
        for cell in cells:
            if cell.condition_name == "classes=2":
                ray.finish(cell, 1.0 if cell.number == 2 else 3.0)
        later = [ray.must() for _ in range(6)]
        best = cells[4].hyperparameters
        assert sum(c.condition_name == "classes=2" for c in later) == 4
        assert sum(c.hyperparameters == best for c in later) == 2

    def test_plain_factorial(self, records: Records) -> None:
        """A study without a space has confirm cells only."""
        ray = Ray(tiny.plan(tiny.study(space=None)), records)
        cells = [ray.must() for _ in range(4)]
        assert {cell.phase for cell in cells} == {"confirm"}
        assert ray.ask() is None


class TestEnds:
    def test_failed_cell_is_given_up_or_retried_for_ever(
        self, plan: Plan, records: Records
    ) -> None:
        ray = one(plan, records, trials=0, seeds=1)
        for attempt in range(ATTEMPTS):
            cell = ray.must()
            if attempt < ATTEMPTS - 1:
                ray.end(cell, "failed", error="Traceback\nValueError: no")
                assert ray.records.result(cell.id) is None
        ray.end(cell, "failed", error="Traceback\nValueError: no")
        result = ray.records.result(cell.id)
        assert result is not None
        assert result["outcome"] == "failed"
        assert result["attempts"] == ATTEMPTS == 3
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
        for _ in range(ATTEMPTS):
            ray = one(plan, records, trials=0, seeds=1)
            cell = ray.must()
            ray.end(cell, "failed", error="Traceback\nValueError: no")
        result = records.result(cell.id)
        assert result is not None
        assert (result["outcome"], result["attempts"]) == ("failed", ATTEMPTS)
        errors = [attempt["error"] for attempt in records.attempts(cell.id)]
        assert errors == ["Traceback\nValueError: no"] * ATTEMPTS

    def die(self, ray: Ray, cell: Cell) -> None:
        ray.searcher.on_trial_complete(ray.trial(cell), None, error=True)

    def test_preempted_cell_fails(self, plan: Plan, records: Records) -> None:
        """A worker that is killed from outside is nobody's bug, however often."""
        ray = one(plan, records, trials=0, seeds=1)
        objectives: list[float] = []
        for death in range(3 * DEATHS):
            cell = ray.must()
            if death % (DEATHS - 1) == 0:
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
        """A segfault comes at the same place each time; so does Ray's killing for memory."""
        ray = one(plan, records, trials=0, seeds=1)
        for _ in range(DEATHS):
            cell = ray.must()
            if memory:
                ray.searcher.killed_for_memory.add(cell.id)
            self.die(ray, cell)
        assert (records.result(cell.id) or {})["outcome"] == outcome
        assert ray.searcher.suggest("end") == Searcher.FINISHED

    def test_full_disk_fails_cells(
        self, plan: Plan, records: Records, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing may be held against a cell that could not write; the study stops and says so."""
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

        monkeypatch.setattr("study.schedule.write_json", fail)
        monkeypatch.setattr(Records, "accept", fail)
        ray.end(cell)
        assert "No space" in (ray.searcher.problem or "")
        assert records.result(cell.id) is None
        assert ray.searcher.suggest("end") == Searcher.FINISHED

    def test_failed_search_cell_costs_another_trial(self, plan: Plan, records: Records) -> None:
        """A retry is the same cell; a given-up one counts, and Optuna hears of it once."""
        ray = one(plan, records, trials=2, seeds=1)
        first = ray.must()
        for _ in range(ATTEMPTS - 1):
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
        """A half-trained cell would count as a result, and never go on."""
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
        """Ray's result of a trial that the scheduler stopped names no outcome."""
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
        """Tens of megabytes per cell would stay for ever; the generator is kept."""
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


class TestContinuing:
    def test_unfinished_cells_come_last(self, plan: Plan, records: Records) -> None:
        """They come first: their checkpoints hold work that is paid for."""
        ray = one(plan, records, trials=4, seeds=1, parallel=3)
        given = [ray.must() for _ in range(3)]
        ray.finish(given[0])
        again = one(plan, records, trials=4, seeds=1, parallel=3)
        assert [again.must(), again.must()] == [given[1], given[2]]
        assert again.must().number == 3

    def test_accepted_cell_is_touched(self, ray: Ray) -> None:
        """What is accepted is never written again."""
        cells = [ray.must() for _ in range(3)]
        for cell in cells:
            ray.finish(cell)
        before = {p: p.stat().st_mtime_ns for p in ray.records.folder.rglob("*.json")}
        again = Ray(ray.plan, ray.records)
        rest = []
        while (cell := again.ask()) is not None:
            rest.append(cell)
            again.finish(cell)
        assert not {c.id for c in cells} & {c.id for c in rest}
        assert all(path.stat().st_mtime_ns == before[path] for path in before)

    def test_other_order_of_ends_gives_other_cells(self, plan: Plan, records: Records) -> None:
        """The study's first search cells do not depend on which worker was faster."""
        ray = one(plan, records, trials=4, seeds=1)
        cells = [ray.must(), ray.must()]
        ray.finish(cells[1], 2.0)
        ray.finish(cells[0], 3.0)
        assert ray.must().number == 2

    def test_more_seeds(self, plan: Plan, records: Records) -> None:
        ray = one(plan, records, trials=0, seeds=2)
        for _ in range(2):
            ray.finish(ray.must())
        more = one(plan, records, trials=0, seeds=3)
        assert more.must().seed == 2
        assert more.ask() is None

    def test_search_of_a_left_out_condition_goes_on(self, plan: Plan, records: Records) -> None:
        """--only must not continue the cells of another condition."""
        ray = Ray(plan, records)
        cells = [ray.must(), ray.must()]
        assert cells[1].condition_name == "classes=3"
        only = one(plan, records, parallel=4)
        given = [only.must() for _ in range(4)]
        assert {c.condition_name for c in given} == {"classes=2"}

    def test_ray_saves_our_state(self, ray: Ray, tmp_path: Path) -> None:
        """The driver's display and threads cannot be pickled; Ray pickles its searcher."""
        import pickle

        pickle.dumps(ray.searcher)
        ray.searcher.save(str(tmp_path / "searcher"))
        assert (tmp_path / "searcher").exists()
