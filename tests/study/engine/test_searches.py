"""Several searches of one condition, so that "best found" is known with its own spread.

If these tests fail, the searches are copies of each other, or a configuration is confirmed as that
of a search that did not find it.
"""

from __future__ import annotations

import dataclasses

import pytest

from study.errors import BadInputError
from study.planning import pilot
from study.planning.plan import Plan
from study.planning.prepare import resolve_budget
from study.planning.remaining import Remaining, planned
from study.records.records import Records
from tests.study import tiny
from tests.study.fake_ray import Ray

SEARCHES, TRIALS, SEEDS = 2, 3, 4


@pytest.fixture(name="plan")
def repeated() -> Plan:
    budget = tiny.budget(searches=SEARCHES, trials=TRIALS, seeds=SEEDS, search_parallelism=1)
    return tiny.plan(budget_=budget, only="classes=2")


def test_whole_study(plan: Plan, records: Records) -> None:
    """The second search is the better one. Its best is that of seeds 1 and 3."""
    tiny.begin(records, plan)
    ray, cells = Ray(plan, records), []
    assert Remaining(plan, records).missing() == planned(plan)
    while (cell := ray.ask()) is not None:
        cells.append(cell)
        ray.finish(cell, 4.0 - 0.1 * (cell.number or 0) - cell.search)
    searched = {(c.search, c.number): c for c in cells if c.phase == "search"}
    assert len(searched) == SEARCHES * TRIALS
    assert searched.keys() == {(k, n) for k in range(SEARCHES) for n in range(TRIALS)}
    reference = plan.hyperparameters("classes=2")
    assert searched[0, 0].hyperparameters == searched[1, 0].hyperparameters == reference
    for number in range(1, TRIALS):
        one, other = searched[0, number], searched[1, number]
        assert one.suggested != other.suggested, "the second search copies the first"
    confirmed = {c.seed: c for c in cells if c.configuration == "found"}
    assert sorted(confirmed) == [*range(SEEDS)]
    for seed, cell in confirmed.items():
        best = searched[seed % SEARCHES, TRIALS - 1]
        assert cell.hyperparameters == best.hyperparameters
    assert Remaining(plan, records).is_finished
    assert not Remaining(plan, records).missing().total()
    frame = records.cells().set_index("id")
    flagged = frame.index[frame["is_best"]]
    bests = {searched[k, TRIALS - 1].id for k in range(SEARCHES)}
    assert {*flagged} == {c.id for c in confirmed.values()} | bests


def test_first_of_two_equal_cells_depends_on_which_ended_first(
    plan: Plan, records: Records
) -> None:
    """The cells that confirm the best would depend on which worker was faster."""
    budget = dataclasses.replace(plan.budget, search_parallelism=TRIALS)
    tiny.begin(records, plan := dataclasses.replace(plan, budget=budget))
    ray = Ray(plan, records)
    cells = [ray.must() for _ in range(SEARCHES * TRIALS)]
    for cell in reversed(cells):
        ray.finish(cell, 5.0 if cell.number == 0 else 4.0)
    for remaining in (ray.searcher.remaining, Remaining(plan, records)):
        found = [c for c in remaining.confirmations() if c.configuration == "found"]
        assert len(found) == SEEDS
        for cell in found:
            best = next(c for c in cells if (c.search, c.number) == (cell.seed % SEARCHES, 1))
            assert cell.hyperparameters == best.hyperparameters
            assert records.best()["classes=2", best.search] == best.hyperparameters


def test_best_waits_for_a_search_that_did_not_find_it(plan: Plan, records: Records) -> None:
    tiny.begin(records, plan)
    ray = Ray(plan, records)
    first, held = [ray.must()], ray.must()
    assert held.search == 1
    while len(first) < TRIALS:
        ray.finish(first[-1], 5.0)
        first.append(ray.must())
        assert (first[-1].phase, first[-1].search) == ("search", 0)
    ray.finish(first[-1], 2.0)
    given = []
    while (cell := ray.ask()) is not None:
        given.append(cell)
    found = [c for c in given if c.configuration == "found"]
    assert [c.seed for c in found] == [0, 2]
    assert all(c.hyperparameters == first[-1].hyperparameters for c in found)
    left = Remaining(plan, records).missing()
    assert left["classes=2", "search"] == TRIALS
    assert left["classes=2", "confirm"] == 2 * SEEDS


def test_first_search_is_not_that_of_a_study_with_one(plan: Plan, records: Records) -> None:
    """Cells of known studies would run again."""
    one = dataclasses.replace(plan, budget=dataclasses.replace(plan.budget, searches=1))
    ids = []
    for which, folder in ((plan, records.folder / "a"), (one, records.folder / "b")):
        ray = Ray(which, tiny.begin(Records(folder), which))
        found = []
        while (cell := ray.ask()) is not None:
            ray.finish(cell, 4.0 - 0.1 * (cell.number or 0))
            if cell.phase == "search" and cell.search == 0:
                found.append(cell.id)
        ids.append(found)
    assert len(ids[0]) == TRIALS
    assert ids[0] == ids[1]


def test_pilots_seeds_are_used_by_a_further_search(plan: Plan) -> None:
    """Search cell 0 of the second search has this seed."""
    seed = plan.search_cell("classes=2", 0, {}, {}, search=1).seed
    spent = {"folder": "old", "id": "p", "seeds": [seed]}
    with pytest.raises(BadInputError, match=f"would use \\({seed}\\)"):
        pilot.check(dataclasses.replace(plan, pilot=spent), None)


@pytest.mark.parametrize(
    ("searches", "valid"), [(3, "at most 2, the number of seeds"), (0, "at least 1"), (1.5, "1.5")]
)
def test_searches_that_nothing_confirms_are_run(searches: object, valid: str) -> None:
    with pytest.raises(BadInputError, match=f"searches.*{valid}"):
        resolve_budget(tiny.study(), "quick", None, None, {"searches": searches})
