"""What a search suggests: the reference first, each condition for itself, and what --set fixes.

If these tests fail, the reference has no place in the comparison, conditions mislead each other, or
what is run is not what was asked for.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import pytest

from study.engine.search import STATES, ConditionSearch
from study.planning.cells import Cell
from study.planning.plan import Plan
from study.records.records import Records
from tests.study import tiny
from tests.study.engine.searched import (
    NAME,
    TRIALS,
    longer_plan,  # noqa: F401  the fixture `plan` of these tests
    run,
)


class TestConditions:
    def test_one_condition_learns_from_another(self, plan: Plan, tmp_path: Path) -> None:
        """49 classes are harder than 5: the results of one condition would mislead the other."""
        found = []
        for name in ("alone", "beside"):
            records = tiny.begin(Records(tmp_path / name), plan)
            if name == "beside":
                run(ConditionSearch(plan, "classes=3", records), records, 12)
            run(ConditionSearch(plan, NAME, records), records, 11)
            search = ConditionSearch(plan, NAME, records)
            assert search.started == 11
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
        plan = tiny.plan(tiny.study(reference_params={}))
        assert ConditionSearch(plan, NAME, records).ask() is not None


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
            assert again.started == 3
            assert again.ask() is not None


class TestDivergence:
    @staticmethod
    def diverged(folder: Path) -> int:
        """How many of the last 20 of 40 cells diverge, if those above the best lr do."""
        plan = tiny.plan(budget_=tiny.budget(trials=40))
        search = ConditionSearch(plan, NAME, tiny.begin(Records(folder), plan))
        outcomes = []
        for _ in range(40):
            cell = search.ask()
            assert cell is not None
            lr = cell.hyperparameters["lr"]
            outcomes.append("diverged" if lr > 1.1e-3 else "complete")
            search.tell(cell, outcomes[-1], tiny.rows(9.0, abs(math.log10(lr / 1e-3))))
        return outcomes[20:].count("diverged")

    def test_search_goes_on_where_cells_diverge(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Near a cliff most cells would be lost, because what failed is forgotten."""
        told = self.diverged(tmp_path / "told")
        monkeypatch.delitem(STATES, "diverged")
        assert told < 0.75 * self.diverged(tmp_path / "forgotten")
