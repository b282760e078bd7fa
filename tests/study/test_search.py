"""Optuna within each condition: rebuilt from records at any moment, never mixed."""

from __future__ import annotations

import dataclasses
import math
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


@pytest.fixture
def records(tmp_path: Path, plan: Plan) -> Records:
    return tiny.begin(Records(tmp_path / "tiny"), plan)


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
    known = len(records.rows(cell.id))  # of a continued cell
    for row in (ticks[:-1] if outcome == "complete" else ticks)[known:]:
        search.should_stop(cell, row["kimg"], row["fcd"])
    search.tell(cell, outcome, ticks[-1]["fcd"])
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
            for _ in range(12):
                cell = search.ask()
                assert cell is not None
                live(search, records, cell, scale)
            found.append(search.ask())
        assert found[0] != found[1]

    def test_unfinished_cell_is_lost_or_doubled(self, plan: Plan, records: Records) -> None:
        """It goes on with its recorded parameters, and the budget counts it once."""
        lived = ConditionSearch(plan, NAME, records)
        done = run(lived, records, 12)
        waiting = []
        for ticks in ([], tiny.rows(4, 3)):
            cell = lived.ask()
            assert cell is not None
            for row in ticks:
                lived.should_stop(cell, row["kimg"], row["fcd"])
            tiny.write_cell(records, cell, ticks, None)
            waiting.append(cell)

        rebuilt = ConditionSearch(plan, NAME, records)
        assert rebuilt.unfinished == waiting
        assert rebuilt.asked == 14
        for cell in waiting:
            assert rebuilt.running[cell.id].params == cell.suggested
        rest = run(rebuilt, records, 2)
        assert [cell.number for cell in rest] == [14, 15]
        assert rebuilt.ask() is None
        for cell in waiting:
            live(rebuilt, records, cell)
        ids = {cell.id for cell in (*done, *waiting, *rest)}
        assert len(ids) == TRIALS
        assert set(records.ids()) == ids

    def test_continued_beside_unfinished_goes_another_way(
        self, plan: Plan, records: Records
    ) -> None:
        lived = ConditionSearch(plan, NAME, records)
        run(lived, records, 12)
        running = lived.ask()
        assert running is not None
        give(records, running)
        assert ConditionSearch(plan, NAME, records).ask() == lived.ask()

    def test_ends_are_mixed_up(self, plan: Plan, records: Records) -> None:
        """Optuna would take a diverged cell for a good or a merely slow one."""
        lived = ConditionSearch(plan, NAME, records)
        run(lived, records, 8)
        states = {3: TrialState.PRUNED, 5: TrialState.FAIL, 6: TrialState.FAIL}
        for search in (lived, ConditionSearch(plan, NAME, records)):
            found = [trial.state for trial in search.study.trials]
            assert found == [states.get(n, TrialState.COMPLETE) for n in range(8)]

    def test_replay_loses_results(self, plan: Plan, records: Records) -> None:
        lived = ConditionSearch(plan, NAME, records)
        cells = run(lived, records, 8)
        trials = ConditionSearch(plan, NAME, records).study.trials
        for cell, trial, before in zip(cells, trials, lived.study.trials, strict=True):
            assert trial.params == cell.suggested == before.params
            assert trial.distributions == before.distributions
            steps = {row["kimg"]: row["fcd"] for row in records.rows(cell.id)}
            del steps[0]  # before training
            assert trial.intermediate_values == steps
            if trial.state == TrialState.COMPLETE:
                assert trial.value == before.value

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
            assert search.asked == 11
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
        assert ConditionSearch(plan, NAME, records).asked == 0


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
        for _ in range(3):
            cell = search.ask()
            assert cell is not None
            for k in range(8):
                search.should_stop(cell, k, 10.0 - k)
            search.tell(cell, "complete", 2.0)
        cell = search.ask()
        assert cell is not None
        assert not search.should_stop(cell, 0, bad), "stopped before any training"
        return search.should_stop(cell, kimg, bad)

    def test_obviously_bad_cell_goes_on(self, plan: Plan, records: Records) -> None:
        assert self.bad_one(plan, records, 100.0)

    def test_good_cell_is_stopped(self, plan: Plan, records: Records) -> None:
        assert not self.bad_one(plan, records, 1.0)

    def test_stopped_in_the_warm_up(self, records: Records) -> None:
        """Two thirds of the search's length are everyone's."""
        plan = tiny.plan(budget_=tiny.budget(search_kimg=9, trials=TRIALS))
        assert not self.bad_one(plan, records, 100.0, kimg=5)
        assert self.bad_one(plan, records, 100.0, kimg=6)

    def test_stopped_by_too_few(self, plan: Plan, records: Records) -> None:
        search = ConditionSearch(plan, NAME, records)
        cells = [search.ask() for _ in range(3)]
        for cell in cells[:2]:
            assert cell is not None
            search.should_stop(cell, 2, 1.0)
            search.tell(cell, "complete", 1.0)
        assert cells[2] is not None
        assert not search.should_stop(cells[2], 2, 100.0)

    @pytest.mark.filterwarnings("ignore:The reported value is ignored")
    def test_repeated_tick_stops_the_study(self, plan: Plan, records: Records) -> None:
        """A cell whose newest checkpoint is damaged reports some ticks a second time."""
        search = ConditionSearch(plan, NAME, records)
        cell = search.ask()
        assert cell is not None
        search.should_stop(cell, 1, 3.0)
        assert not search.should_stop(cell, 1, 3.0)


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
            assert again.asked == 3
            assert again.ask() is not None


def test_optuna_talks(plan: Plan, records: Records, capfd: pytest.CaptureFixture[str]) -> None:
    """Its log lines and warnings would tear the progress display."""
    optuna.logging.set_verbosity(optuna.logging.INFO)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        run(ConditionSearch(plan, NAME, records), records, 12)
    said = capfd.readouterr()
    assert said.out + said.err == ""
