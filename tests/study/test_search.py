"""Optuna within each condition: rebuilt from records at any moment, never mixed."""

from __future__ import annotations

import dataclasses
import math
import shutil
import warnings
from pathlib import Path
from typing import Any

import optuna
import pytest
import tiny
from optuna.trial import TrialState

from study.plan import Cell, Plan
from study.records import Records, write_json
from study.search import ConditionSearch

NAME = "classes=2"
TRIALS = 16  # TPE suggests at random until it has ten results


@pytest.fixture
def plan() -> Plan:
    return tiny.plan(budget_=tiny.budget(trials=TRIALS))


def objective(cell: Cell) -> float:
    values = cell.hyperparameters
    return abs(math.log10(values["lr"] / 1e-3)) + (values["adversarial"] == "hinge") + 1


def outcome_of(number: int) -> str:
    return {3: "pruned", 5: "diverged", 6: "failed"}.get(number, "complete")


def give(records: Records, cell: Cell) -> None:
    """As the schedule does: on record before it runs."""
    write_json(records.cell_folder(cell.id) / "cell.json", cell.as_json())


def live(search: ConditionSearch, records: Records, cell: Cell, scale: float = 1.0) -> None:
    """One cell from its first tick to its end, as Ray tells of it: of the last tick not at all."""
    outcome = outcome_of(cell.number or 0)
    ticks = tiny.rows(*(scale * (objective(cell) + 3 - k) for k in range(4)))
    if outcome != "complete":
        ticks = ticks[:2]
    for n in range(1, len(ticks)):
        search.should_stop(cell, ticks[:n])
    search.tell(cell, outcome, ticks)
    tiny.write_cell(records, cell, ticks, outcome)


def run(search: ConditionSearch, records: Records, n: int) -> list[Cell]:
    cells = []
    for _ in range(n):
        cell = search.ask()
        assert cell is not None
        give(records, cell)
        live(search, records, cell)
        cells.append(cell)
    return cells


class TestRebuilding:
    @pytest.mark.parametrize("n", [0, 1, 4, 7, 12])
    def test_rebuilt_search_goes_another_way(self, plan: Plan, records: Records, n: int) -> None:
        """A study that was stopped and continued would not be the study that ran through."""
        lived = ConditionSearch(plan, NAME, records)
        run(lived, records, n)
        rebuilt = ConditionSearch(plan, NAME, records)
        for _ in range(2):  # the second while the first is running
            assert rebuilt.ask() == (expected := lived.ask())
            assert expected is not None

    def test_suggestions_depend_on_the_process(self, plan: Plan, tmp_path: Path) -> None:
        found = []
        for name in ("a", "b"):
            records = tiny.begin(Records(tmp_path / name), plan)
            found.append([c.id for c in run(ConditionSearch(plan, NAME, records), records, 12)])
        assert found[0] == found[1]
        assert len(set(found[0])) == 12

    def test_results_do_not_matter(self, plan: Plan, tmp_path: Path) -> None:
        """A search that suggests the same whatever it was told is no search."""
        found = []
        for scale in (1, -1):
            records = tiny.begin(Records(tmp_path / str(scale)), plan)
            search = ConditionSearch(plan, NAME, records)
            for _ in range(13):
                cell = search.ask()
                assert cell is not None
                live(search, records, cell, scale)
            found.append(search.ask())
        assert found[0] != found[1]

    @pytest.mark.parametrize("first", [0, 1])
    def test_order_of_ends_changes_the_search(self, plan: Plan, tmp_path: Path, first: int) -> None:
        """Two workers race: a study would depend on which was faster, and on every kill."""
        records = tiny.begin(Records(tmp_path / "raced"), plan)
        search = ConditionSearch(plan, NAME, records)
        racing = [cell for cell in (search.ask(), search.ask()) if cell]
        assert len(racing) == 2
        while racing:
            live(search, records, racing.pop(first if len(racing) == 2 else 0))
            while (cell := search.ask()) is not None:
                racing.append(cell)
        calm = tiny.begin(Records(tmp_path / "calm"), plan)
        run(ConditionSearch(plan, NAME, calm), calm, TRIALS)
        assert records.ids() == calm.ids()

    def test_more_cells_than_allowed_run_at_once(self, plan: Plan, records: Records) -> None:
        search = ConditionSearch(plan, NAME, records)
        cells = [search.ask(), search.ask()]
        assert search.ask() is None
        assert cells[1] is not None
        live(search, records, cells[1])  # not the one that cell 2 must know of
        assert search.ask() is None
        assert cells[0] is not None
        live(search, records, cells[0])
        assert search.ask() is not None

    def test_unfinished_cell_is_lost_or_doubled(self, plan: Plan, records: Records) -> None:
        """It goes on with its recorded parameters, and the budget counts it once."""
        lived = ConditionSearch(plan, NAME, records)
        done = run(lived, records, 12)
        waiting = []
        for ticks in ([], tiny.rows(4, 3)):
            cell = lived.ask()
            assert cell is not None
            tiny.write_cell(records, cell, ticks, None)
            waiting.append(cell)

        rebuilt = ConditionSearch(plan, NAME, records)
        assert rebuilt.given == 12
        assert [rebuilt.ask(), rebuilt.ask()] == waiting
        assert rebuilt.ask() is None
        for cell in waiting:
            live(rebuilt, records, cell)
            assert rebuilt.ended[cell.number or 0].params == cell.suggested
        rest = run(rebuilt, records, 2)
        assert [cell.number for cell in rest] == [14, 15]
        assert rebuilt.ask() is None
        ids = {cell.id for cell in (*done, *waiting, *rest)}
        assert len(ids) == TRIALS
        assert set(records.ids()) == ids

    def test_lost_folder_ends_the_search(self, plan: Plan, records: Records) -> None:
        """A cell whose folder is gone, or torn, is asked for again, the same as before."""
        cells = run(ConditionSearch(plan, NAME, records), records, 6)
        shutil.rmtree(records.cell_folder(cells[3].id))
        search = ConditionSearch(plan, NAME, Records(records.folder))
        assert search.ask() == cells[3]

    def test_lost_folder_below_an_unfinished_one(self, plan: Plan, records: Records) -> None:
        """What goes on is judged beside all cells before it: the lost one comes first."""
        lived = ConditionSearch(plan, NAME, records)
        run(lived, records, 3)
        for _ in range(2):
            cell = lived.ask()
            assert cell is not None
            tiny.write_cell(records, cell, tiny.rows(4, 3), None)
        lost, other = (cell for cell in lived.cells.values() if cell.number in (3, 4))
        shutil.rmtree(records.cell_folder(lost.id))
        search = ConditionSearch(plan, NAME, Records(records.folder))
        assert [search.ask(), search.ask()] == [lost, other]
        assert not search.should_stop(other, tiny.rows(4, 3, 3))

    def test_continued_beside_unfinished_goes_another_way(
        self, plan: Plan, records: Records
    ) -> None:
        lived = ConditionSearch(plan, NAME, records)
        run(lived, records, 12)
        running = lived.ask()
        assert running is not None
        give(records, running)
        rebuilt = ConditionSearch(plan, NAME, records)
        assert [rebuilt.ask(), rebuilt.ask()] == [running, lived.ask()]

    def test_ends_are_mixed_up(self, plan: Plan, records: Records) -> None:
        """Optuna would take a diverged cell for a good or a merely slow one."""
        lived = ConditionSearch(plan, NAME, records)
        run(lived, records, 8)
        states = {3: TrialState.PRUNED, 5: TrialState.FAIL, 6: TrialState.FAIL}
        for search in (lived, ConditionSearch(plan, NAME, records)):
            found = {number: trial.state for number, trial in search.ended.items()}
            assert found == {n: states.get(n, TrialState.COMPLETE) for n in range(8)}

    def test_replay_loses_results(self, plan: Plan, records: Records) -> None:
        lived = ConditionSearch(plan, NAME, records)
        cells = run(lived, records, 8)
        trials = ConditionSearch(plan, NAME, records).ended
        for cell in cells:
            trial, before = (ended[cell.number or 0] for ended in (trials, lived.ended))
            assert trial.params == cell.suggested == before.params
            assert trial.distributions == before.distributions
            steps = {row["kimg"]: row["fcd"] for row in records.rows(cell.id)}
            del steps[0]  # before training
            assert trial.intermediate_values == steps
            if trial.state == TrialState.COMPLETE:
                assert trial.value == before.value

    def test_zombies_are_left(self, plan: Plan, records: Records) -> None:
        """A trial that Optuna believes to run for ever keeps the search away from its place."""
        search = ConditionSearch(plan, NAME, records)
        run(search, records, 12)
        assert search.running == {}
        cell = search.ask()
        assert cell is not None
        states = [t.state for t in search.running[cell.id].study.trials]
        assert states.count(TrialState.RUNNING) == plan.budget.parallel

    def test_larger_budget_starts_over(self, plan: Plan, records: Records) -> None:
        run(ConditionSearch(plan, NAME, records), records, TRIALS)
        search = ConditionSearch(plan, NAME, records)
        assert search.ask() is None
        more = dataclasses.replace(plan, budget=tiny.budget(trials=TRIALS + 1))
        cell = ConditionSearch(more, NAME, records).ask()
        assert cell is not None
        assert cell.number == TRIALS


class TestConditions:
    def test_one_condition_learns_from_another(self, plan: Plan, tmp_path: Path) -> None:
        """49 classes are harder than 5: their results would mislead the search."""
        found = []
        for name in ("alone", "beside"):
            records = tiny.begin(Records(tmp_path / name), plan)
            if name == "beside":
                run(ConditionSearch(plan, "classes=3", records), records, 12)
            run(ConditionSearch(plan, NAME, records), records, 11)
            search = ConditionSearch(plan, NAME, records)
            assert search.given == 11
            found.append(search.ask())
        assert found[0] == found[1]

    def test_conditions_try_the_same(self, plan: Plan, records: Records) -> None:
        """Each condition draws its own random numbers."""
        a, b = (ConditionSearch(plan, name, records) for name in plan.conditions)
        pairs = zip(run(a, records, 4)[1:], run(b, records, 4)[1:], strict=True)
        assert all(x.suggested != y.suggested for x, y in pairs)

    def test_confirm_cells_are_replayed(self, plan: Plan, records: Records) -> None:
        for cell in plan.confirm_cells(NAME, plan.hyperparameters(NAME)):
            tiny.write_cell(records, cell, tiny.rows(9, 1))
        assert ConditionSearch(plan, NAME, records).cells == {}


class TestFirstCell:
    def test_first_cell_is_not_the_reference(self, plan: Plan, records: Records) -> None:
        """The reference recipe would have no place in the comparison."""
        for name in plan.conditions:
            cell = ConditionSearch(plan, name, records).ask()
            assert cell is not None
            assert cell.number == 0
            assert cell.hyperparameters == plan.hyperparameters(name)

    def test_study_without_start(self, records: Records) -> None:
        plan = tiny.plan(tiny.study(start={}))
        assert ConditionSearch(plan, NAME, records).ask() is not None


class TestEarlyStopping:
    def bad_one(self, plan: Plan, records: Records, bad: float, kimg: int = 2) -> bool:
        search = ConditionSearch(plan, NAME, records)
        for _ in range(4):
            cell = search.ask()
            assert cell is not None
            give(records, cell)
            search.tell(cell, "complete", tiny.rows(*(10.0 - k for k in range(10))))
        cell = search.ask()
        assert cell is not None
        give(records, cell)
        rows = [{"kimg": 0, "fcd": bad}, {"kimg": kimg, "fcd": bad}]
        assert not search.should_stop(cell, rows[:1]), "stopped before any training"
        stop = search.should_stop(cell, rows)
        assert search.should_stop(cell, rows) == stop, "asked twice, other answer"
        return stop

    def test_obviously_bad_cell_goes_on(self, plan: Plan, records: Records) -> None:
        assert self.bad_one(plan, records, 100.0)

    def test_good_cell_is_stopped(self, plan: Plan, records: Records) -> None:
        assert not self.bad_one(plan, records, 1.0)

    def test_stopped_in_the_warm_up(self, tmp_path: Path) -> None:
        """Two thirds of the search's length are everyone's."""
        plan = tiny.plan(budget_=tiny.budget(search_kimg=9, trials=TRIALS))
        for kimg, stop in ((5, False), (6, True)):
            records = tiny.begin(Records(tmp_path / str(kimg)), plan)
            assert self.bad_one(plan, records, 100.0, kimg=kimg) == stop

    def test_stopped_by_too_few(self, plan: Plan, records: Records) -> None:
        """Three must have ended, of those that the cell may know: cell 3 knows 0 and 1."""
        search = ConditionSearch(plan, NAME, records)
        for _ in range(3):
            cell = search.ask()
            assert cell is not None
            search.tell(cell, "complete", tiny.rows(1.0, 1.0, 1.0, 1.0))
        cell = search.ask()
        assert cell is not None
        assert not search.should_stop(cell, tiny.rows(100.0, 100.0, 100.0))

    def test_continued_cell_is_judged_otherwise(self, plan: Plan, records: Records) -> None:
        """Killed between its tick and the answer, it would go on where it would have stopped."""
        assert self.bad_one(plan, records, 100.0)
        *before, bad_one = ConditionSearch(plan, NAME, records).cells.values()
        for cell in before:
            tiny.write_cell(records, cell, tiny.rows(*(10.0 - k for k in range(10))))
        for bad, stop in ((100.0, True), (1.0, False)):
            again = ConditionSearch(plan, NAME, records)
            assert again.ask() == bad_one
            assert again.should_stop(bad_one, tiny.rows(bad, bad, bad)) == stop


class TestOverrides:
    def cells(self, records: Records, overrides: dict[str, Any], n: int = 14) -> list[Cell]:
        plan = tiny.plan(budget_=tiny.budget(trials=TRIALS), overrides=overrides)
        tiny.begin(records, plan)
        return run(ConditionSearch(plan, NAME, records), records, n)

    @pytest.mark.parametrize(
        "overrides", [{"lr": 3e-4}, {"adversarial": "hinge", "label_noise": "none"}]
    )
    def test_set_does_not_fix_a_searched_parameter(
        self, records: Records, overrides: dict[str, Any]
    ) -> None:
        """What was run would differ from what Optuna believes to have suggested."""
        cells = self.cells(records, overrides)
        for cell in cells:
            for name, value in overrides.items():
                assert cell.hyperparameters[name] == value
                assert (cell.suggested or {}).get(name, value) == value
        assert len({cell.hyperparameters["lr"] for cell in cells}) == (
            1 if "lr" in overrides else 14
        )

    @pytest.mark.parametrize(
        "overrides",
        [{"lr": 0.5}, {"adversarial": "non_saturating"}],
        ids=["out of the range", "none of the choices"],
    )
    def test_set_outside_the_space(self, records: Records, overrides: dict[str, Any]) -> None:
        """A valid hyperparameter that the space never suggests is fixed all the same."""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            cells = self.cells(records, overrides, 3)
            for cell in cells:
                assert overrides.items() <= cell.hyperparameters.items()
            plan = tiny.plan(budget_=tiny.budget(trials=TRIALS), overrides=overrides)
            again = ConditionSearch(plan, NAME, records)
            assert again.given == 3
            assert again.ask() is not None


def test_optuna_talks(plan: Plan, records: Records, capfd: pytest.CaptureFixture[str]) -> None:
    """Its log lines and warnings would tear the progress display."""
    optuna.logging.set_verbosity(optuna.logging.INFO)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        run(ConditionSearch(plan, NAME, records), records, 12)
    said = capfd.readouterr()
    assert said.out + said.err == ""
