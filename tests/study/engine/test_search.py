"""Optuna's search within a condition. It is rebuilt from the records at any moment.

If these tests fail, a study that was stopped and continued is not the study that ran through.
"""

from __future__ import annotations

import dataclasses
import shutil
import warnings
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from study.engine.search import ConditionSearch
from study.planning.plan import Plan
from study.records.records import Records
from tests.study import tiny
from tests.study.engine.searched import (
    NAME,
    TRIALS,
    give,
    live,
    longer_plan,  # noqa: F401  the fixture `plan` of these tests
    outcome_of,
    run,
)


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
        """A search that ignores the results that it is told is not a search."""
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
        """A study would depend on which of two workers was faster, and on every kill."""
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
        live(search, records, cells[1])  # cell 2 must know cell 0, which still runs
        assert search.ask() is None
        assert cells[0] is not None
        live(search, records, cells[0])
        assert search.ask() is not None

    def test_unfinished_cell_is_lost_or_doubled(self, plan: Plan, records: Records) -> None:
        """A cell must go on with its recorded parameters, and count once in the budget."""
        lived = ConditionSearch(plan, NAME, records)
        done = run(lived, records, 12)
        waiting = []
        for ticks in ([], tiny.rows(4, 3)):
            cell = lived.ask()
            assert cell is not None
            tiny.write_cell(records, cell, ticks, None)
            waiting.append(cell)

        rebuilt = ConditionSearch(plan, NAME, records)
        assert rebuilt.started == 12
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
        """A cell whose folder is gone, or torn, must be suggested again, the same as before."""
        cells = run(ConditionSearch(plan, NAME, records), records, 6)
        shutil.rmtree(records.cell_folder(cells[3].id))
        search = ConditionSearch(plan, NAME, Records(records.folder))
        assert search.ask() == cells[3]

    def test_lost_folder_below_an_unfinished_one(self, plan: Plan, records: Records) -> None:
        """A cell that goes on is judged beside all cells before it.

        The lost cell with the lower number must therefore come first.
        """
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
        """Optuna would take a diverged cell for a good one, or forget it."""
        lived = ConditionSearch(plan, NAME, records)
        run(lived, records, 8)
        states = {3: TrialState.PRUNED, 5: TrialState.PRUNED, 6: TrialState.FAIL}
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
            diverged = outcome_of(cell.number or 0) == "diverged"
            assert trial.intermediate_values == ({} if diverged else steps)
            if trial.state == TrialState.COMPLETE:
                assert trial.value == before.value

    def test_zombies_are_left(self, plan: Plan, records: Records) -> None:
        """If Optuna believes that a trial still runs, the search avoids the trial's parameters."""
        search = ConditionSearch(plan, NAME, records)
        run(search, records, 12)
        assert search.ask() is not None
        assert search._study is not None
        states = [t.state for t in search._study.trials]
        assert states.count(TrialState.RUNNING) == plan.budget.search_parallelism

    def test_larger_budget_starts_over(self, plan: Plan, records: Records) -> None:
        run(ConditionSearch(plan, NAME, records), records, TRIALS)
        search = ConditionSearch(plan, NAME, records)
        assert search.ask() is None
        more = dataclasses.replace(plan, budget=tiny.budget(trials=TRIALS + 1))
        cell = ConditionSearch(more, NAME, records).ask()
        assert cell is not None
        assert cell.number == TRIALS


def test_optuna_talks(plan: Plan, records: Records, capfd: pytest.CaptureFixture[str]) -> None:
    """Optuna's log lines and warnings would tear the progress display."""
    optuna.logging.set_verbosity(optuna.logging.INFO)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        run(ConditionSearch(plan, NAME, records), records, 12)
    said = capfd.readouterr()
    assert said.out + said.err == ""
