"""What samples the cells of a search: the reference recipe first, then chance, then TPE.

If these tests fail, a search of few cells learns nothing from its results, a search that grows is
another search, or the report says of random cells that they were searched for.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from study.engine.search import ConditionSearch
from study.planning.plan import TPE_STARTUP, Plan
from study.records.frames import Frames
from study.records.records import Records
from study.report.configurations import sampled_by
from tests.study import tiny
from tests.study.engine.searched import NAME, outcome_of, run

QUICK = 8  # search cells of a condition of the main study at scale quick


def plan_of(trials: int = QUICK, **budget: int) -> Plan:
    return tiny.plan(budget_=tiny.budget(trials=trials, **budget))


def samplers(plan: Plan, records: Records) -> list[str | None]:
    """Run a search to its end. Returns what sampled each cell."""
    cells = run(ConditionSearch(plan, NAME, records), records, plan.budget.trials)
    return [cell.sampled_by for cell in cells]


def test_short_search_is_random(records: Records) -> None:
    """Eight cells are too few for Optuna's default, which samples ten at random."""
    assert samplers(plan_of(), records) == ["reference"] + ["random"] * 4 + ["tpe"] * 3


@pytest.mark.parametrize("scale", [1, -1])
def test_short_search_ignores_results(tmp_path: Path, scale: int) -> None:
    """The last of eight cells must depend on how the others ended."""
    found = []
    for sign in (1, scale):
        records = tiny.begin(Records(tmp_path / f"{len(found)}"), plan_of())
        search = ConditionSearch(plan_of(), NAME, records)
        run(search, records, QUICK - 1, sign)
        found.append(search.ask())
    assert (found[0] == found[1]) == (scale == 1)


def test_tpe_begins_before_it_knows_enough_results(records: Records) -> None:
    """A cell does not know the ends of those beside it, and a failed cell tells nothing."""
    plan = plan_of(trials=16, search_parallelism=4)
    found = samplers(plan, records)
    assert [outcome_of(n) for n in range(3)] == ["complete"] * 3
    assert found.index("tpe") == TPE_STARTUP + plan.budget.search_parallelism - 1
    failing = ConditionSearch(plan_of(search_parallelism=1), NAME, records)
    for number, cell in enumerate(failing.cells.values()):
        failing.tell(
            cell, "failed" if number < QUICK - TPE_STARTUP else "complete", tiny.rows(3, 2)
        )
    assert failing._sampled_by(QUICK - 1) == "random"
    assert failing._sampled_by(QUICK) == "tpe"


def test_grown_search_is_another_search(tmp_path: Path) -> None:
    """--trials may grow in a folder: cells that were suggested before must stay as they were."""
    at_once = tiny.begin(Records(tmp_path / "at once"), plan_of(12))
    through = run(ConditionSearch(plan_of(12), NAME, at_once), at_once, 12)
    records = tiny.begin(Records(tmp_path / "grown"), plan_of(5))
    grown = []
    for trials in (5, 12):
        search = ConditionSearch(plan_of(trials), NAME, records)
        grown += run(search, records, trials - len(grown))
        assert search.ask() is None
    assert grown == through
    assert plan_of(5).definition() == plan_of(12).definition()


def test_importances_are_searched_by_tpe(records: Records) -> None:
    """TPE samples important parameters mostly where they are good, which biases importances."""
    plan = tiny.plan(budget_=tiny.budget(trials=12, seeds=0))
    tiny.begin(records, plan)
    assert samplers(plan, records) == ["reference"] + ["random"] * 11


def test_sampler_changes_the_id_of_a_cell(plan: Plan) -> None:
    """How values were found decides nothing in a cell, so a folder would lose its cells by it."""
    cell = plan.search_cell(NAME, 1, {}, {}, "random")
    assert dataclasses.replace(cell, sampled_by="tpe").id == cell.id


@pytest.mark.parametrize(
    ("trials", "line"),
    [
        (
            4,
            "Random search. The first cell was the reference recipe, and 3 were sampled at random.",
        ),
        (
            6,
            "Search by TPE. The first cell was the reference recipe, 4 were sampled at random, and "
            "TPE suggested 1.",
        ),
    ],
)
def test_random_search_passes_for_tpe(records: Records, trials: int, line: str) -> None:
    tiny.begin(records, plan_of(trials))
    assert sampled_by(Frames.read(records), NAME) is None
    samplers(plan_of(trials), records)
    assert sampled_by(Frames.read(records), NAME) == line
