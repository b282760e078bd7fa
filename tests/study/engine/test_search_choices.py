"""The samplers and the rules of early stopping that a study can choose.

If these tests fail, a choice is not heeded, or a search that is killed goes on as another search.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from study.engine.search import ConditionSearch
from study.errors import BadInputError
from study.planning.plan import Plan
from study.planning.study_json import refuse_changes
from study.records.records import Records
from tests.study import tiny
from tests.study.engine.searched import NAME, give, run

TRIALS = 10


def plan_of(trials: int = TRIALS, search_kimg: int = 4, **choice: str) -> Plan:
    budget = tiny.budget(trials=trials, search_kimg=search_kimg)
    return tiny.plan(tiny.study(**choice), budget)


@pytest.mark.parametrize("sampler", ["gp", "random"])
def test_choice_of_a_sampler_is_not_heeded(tmp_path: Path, sampler: str) -> None:
    plan = plan_of(sampler=sampler)
    records = tiny.begin(Records(tmp_path / "a"), plan)
    cells = run(ConditionSearch(plan, NAME, records), records, TRIALS)
    later = [cell.sampled_by for cell in cells[7:]]
    assert [cell.sampled_by for cell in cells[:5]] == ["reference"] + ["random"] * 4
    assert later == [sampler] * 3
    assert plan.definition()["sampler"] == sampler
    assert "sampler" not in plan_of().definition(), "folders of earlier versions would be refused"


@pytest.mark.parametrize("choice", [{"sampler": "gp"}, {"pruner": "asha"}])
def test_choice_changes_within_a_folder(tmp_path: Path, choice: dict[str, str]) -> None:
    """In either direction: the usual choice is not in a definition."""
    usual, other = plan_of().definition(), plan_of(**choice).definition()
    for before, now in ((usual, other), (other, usual)):
        with pytest.raises(BadInputError, match=f"holds another definition.*{next(iter(choice))}"):
            refuse_changes({"definition": before}, now, tmp_path)


@pytest.mark.parametrize("sampler", ["gp", "random", "tpe"])
def test_killed_search_goes_on_as_another(tmp_path: Path, sampler: str) -> None:
    """A search that is rebuilt from its records before each cell suggests the same cells."""
    plan, found = plan_of(sampler=sampler), []
    for kept in (True, False):
        records = tiny.begin(Records(tmp_path / str(kept)), plan)
        search, cells = ConditionSearch(plan, NAME, records), []
        for _ in range(TRIALS):
            search = search if kept else ConditionSearch(plan, NAME, Records(records.folder))
            cells += run(search, records, 1)
        found.append(cells)
    assert found[0] == found[1]


@pytest.mark.parametrize(("sampler", "learns"), [("gp", True), ("random", False)])
def test_results_are_ignored(tmp_path: Path, sampler: str, learns: bool) -> None:
    plan, last = plan_of(sampler=sampler), []
    for sign in (1, -1):
        records = tiny.begin(Records(tmp_path / str(sign)), plan)
        search = ConditionSearch(plan, NAME, records)
        run(search, records, TRIALS - 1, sign)
        last.append(search.ask())
    assert (last[0] != last[1]) == learns


@pytest.mark.parametrize(
    ("choice", "line"),
    [
        ({"sampler": "cmaes"}, "sampler 'cmaes': its state is more than the cells that ended"),
        ({"sampler": "grid"}, "sampler 'grid': write the grid as conditions"),
        ({"sampler": "qmc"}, "sampler 'qmc': its points are counted by the order of asking"),
        ({"sampler": "best"}, "sampler='best': choose one of tpe, gp, random"),
        ({"pruner": "hyperband"}, "pruner='hyperband': choose one of median, asha, none"),
    ],
)
def test_choice_that_breaks_the_promise_is_taken(choice: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        tiny.study(**choice)


def begun(plan: Plan, records: Records, values: list[float], kimg: int) -> tuple[Any, Any]:
    """A search of which cells with these values at a tick have ended, and its next cell."""
    search = ConditionSearch(plan, NAME, records)
    for value in values:
        cell = search.ask()
        assert cell is not None
        give(records, cell)
        rows = [{"kimg": k, "fcd": value} for k in range(kimg + 1)]
        search.tell(cell, "complete" if value < 9 else "pruned", rows)
    cell = search.ask()
    assert cell is not None
    return search, cell


def at(kimg: int, value: float) -> list[Any]:
    return [{"kimg": 0, "fcd": 99.0}, {"kimg": kimg, "fcd": value}]


def test_never_is_not_heeded(tmp_path: Path) -> None:
    plan = plan_of(search_kimg=9, pruner="none")
    search, cell = begun(plan, tiny.begin(Records(tmp_path), plan), [1.0] * 6, 9)
    assert not any(search.may_stop(kimg) for kimg in range(10))
    assert not search.should_stop(cell, at(8, 99.0))


class TestSuccessiveHalving:
    """The best third at a ninth and at a third of a cell's length goes on."""

    def test_other_ticks_are_rungs(self) -> None:
        search = ConditionSearch(plan_of(search_kimg=18, pruner="asha"), NAME, Records(Path("no")))
        assert [kimg for kimg in range(20) if search.may_stop(kimg)] == [2, 6]

    @pytest.mark.parametrize(("value", "stops"), [(0.5, False), (1.5, False), (2.5, True)])
    def test_cell_outside_of_the_best_third_goes_on(
        self, tmp_path: Path, value: float, stops: bool
    ) -> None:
        """Five cells are known, three of which were stopped: of six, two go on."""
        plan = plan_of(search_kimg=9, pruner="asha")
        records = tiny.begin(Records(tmp_path), plan)
        values = [1.0, 2.0, 9.0, 10.0, 11.0, 0.1]  # the last is not known yet
        search, cell = begun(plan, records, values, 3)
        assert search.should_stop(cell, at(3, value)) == stops
        assert not search.should_stop(cell, at(4, 99.0)), "that is no rung"

    def test_high_values_are_taken_for_bad(self, tmp_path: Path) -> None:
        study = tiny.study(pruner="asha", objective="label_accuracy")
        plan = tiny.plan(study, tiny.budget(trials=TRIALS, search_kimg=9))
        records = tiny.begin(Records(tmp_path), plan)
        search = ConditionSearch(plan, NAME, records)
        for value in (0.1, 0.2, 0.3, 0.4, 0.5):
            cell = search.ask()
            assert cell is not None
            give(records, cell)
            rows = [{"kimg": k, "label_accuracy": value, "fcd": 1.0} for k in range(10)]
            search.tell(cell, "complete", rows)
        cell = search.ask()
        assert cell is not None
        for value, stops in ((0.45, False), (0.15, True)):
            assert search.should_stop(cell, [{"kimg": 3, "label_accuracy": value}]) == stops

    def test_stopped_by_too_few(self, tmp_path: Path) -> None:
        plan = plan_of(search_kimg=9, pruner="asha")
        search, cell = begun(plan, tiny.begin(Records(tmp_path), plan), [1.0] * 3, 9)
        assert not search.should_stop(cell, at(3, 99.0))


def test_choice_changes_the_cells_of_others() -> None:
    """Cells of a study are the same whatever sampled them: only which are run differs."""
    plain, chosen = plan_of(), plan_of(sampler="gp", pruner="asha")
    cell = plain.search_cell(NAME, 3, {}, {}, "random")
    assert dataclasses.replace(cell).id == chosen.search_cell(NAME, 3, {}, {}, "gp").id
