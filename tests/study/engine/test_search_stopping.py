"""Early stopping within a search, by a rule that kills and restarts do not change.

If these tests fail, the search wastes its time on bad cells, or throws good ones away.
"""

from __future__ import annotations

from pathlib import Path

from study.engine.search import ConditionSearch
from study.planning.plan import Plan
from study.records.records import Records
from tests.study import tiny
from tests.study.engine.searched import (
    NAME,
    TRIALS,
    give,
    longer_plan,  # noqa: F401  the fixture `plan` of these tests
)


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
        """No cell may be stopped in the first two thirds of the search's length."""
        plan = tiny.plan(budget_=tiny.budget(search_kimg=9, trials=TRIALS))
        for kimg, stop in ((5, False), (6, True)):
            records = tiny.begin(Records(tmp_path / str(kimg)), plan)
            assert self.bad_one(plan, records, 100.0, kimg=kimg) == stop

    def test_stopped_by_too_few(self, plan: Plan, records: Records) -> None:
        """A cell may be stopped only if three of the cells whose results it may know have ended.

        Cell 3 may know only the results of cells 0 and 1.
        """
        search = ConditionSearch(plan, NAME, records)
        for _ in range(3):
            cell = search.ask()
            assert cell is not None
            search.tell(cell, "complete", tiny.rows(1.0, 1.0, 1.0, 1.0))
        cell = search.ask()
        assert cell is not None
        assert not search.should_stop(cell, tiny.rows(100.0, 100.0, 100.0))

    def test_continued_cell_is_judged_otherwise(self, plan: Plan, records: Records) -> None:
        """A cell may be killed between its tick and the answer.

        It would then go on, though it should have stopped.
        """
        assert self.bad_one(plan, records, 100.0)
        *before, bad_one = ConditionSearch(plan, NAME, records).cells.values()
        for cell in before:
            tiny.write_cell(records, cell, tiny.rows(*(10.0 - k for k in range(10))))
        for bad, stop in ((100.0, True), (1.0, False)):
            again = ConditionSearch(plan, NAME, records)
            assert again.ask() == bad_one
            assert again.should_stop(bad_one, tiny.rows(bad, bad, bad)) == stop
