"""Which cell the searcher hands out next. The tests play Ray's part by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from ray.tune.search import Searcher

from search_spaces.core import Claim, Group
from study.planning.plan import Plan
from study.planning.remaining import Remaining
from study.records.records import Records
from tests.study import tiny
from tests.study.fake_ray import Ray, one


@pytest.fixture
def ray(plan: Plan, records: Records) -> Ray:
    return Ray(plan, records)


class TestOrder:
    def test_whole_study(self, ray: Ray) -> None:
        """The searches take turns, then confirm cells follow.

        Each cell comes once, and then the searcher says that it has finished.
        """
        cells = []
        while (cell := ray.ask()) is not None:
            cells.append(cell)
            ray.finish(cell, objective=4.0 - 0.1 * (cell.number or 0))
        assert ray.searcher.suggest("end") == Searcher.FINISHED
        assert [cell.phase for cell in cells] == ["search"] * 8 + ["confirm"] * 8
        searched = [(cell.condition_name, cell.number) for cell in cells[:8]]
        assert searched == [(name, n) for n in range(4) for name in ("classes=2", "classes=3")]
        assert len({cell.id for cell in cells}) == 16
        assert Remaining(ray.plan, ray.records).is_finished
        again = Ray(ray.plan, ray.records)
        assert again.ask() is None
        assert again.searcher.suggest("end") == Searcher.FINISHED

    def test_cell_runs_before_it_is_on_record(self, ray: Ray) -> None:
        cell = ray.must()
        assert ray.records.cell(cell.id) == cell.as_json()
        assert ray.observed == [(cell.id, None)]

    def test_end_is_announced_while_cells_run(self, plan: Plan, records: Records) -> None:
        """If FINISHED came too early, the best would never be confirmed.

        Nor would a failed cell be tried again.
        """
        ray = one(plan, records, trials=1, seeds=1)
        search, confirm = ray.must(), ray.must()
        assert confirm.phase == "confirm"
        assert ray.searcher.suggest("wait") is None
        ray.finish(confirm)
        assert ray.searcher.suggest("wait") is None
        ray.finish(search)
        assert ray.searcher.suggest("end") == Searcher.FINISHED  # the best is the reference

    def test_reference_idles_the_machine(self, plan: Plan, records: Records) -> None:
        """While the last search cells run, confirm cells of the reference must fill the machine.

        Confirm cells of the best must wait.
        """
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
        """classes=2 must be confirmed while classes=3 still searches."""
        ray = Ray(dataclasses.replace(plan, budget=tiny.budget(search_parallelism=4)), records)
        cells = [ray.must() for _ in range(8)]
        for cell in cells:
            if cell.condition_name == "classes=2":
                ray.finish(cell, 1.0 if cell.number == 2 else 3.0)
        later = [ray.must() for _ in range(6)]
        best = cells[4].hyperparameters
        assert sum(c.condition_name == "classes=2" for c in later) == 4
        assert sum(c.hyperparameters == best for c in later) == 2

    def test_conditions_run_one_after_the_other(self, plan: Plan, records: Records) -> None:
        """Training times of conditions compare only if their cells had like neighbours.

        So the conditions must take turns, with the reference's cells and with the best's.
        """
        ray = Ray(dataclasses.replace(plan, budget=tiny.budget(seeds=3)), records)
        cells = []
        while (cell := ray.ask()) is not None:
            cells.append(cell)
            ray.finish(cell, objective=4.0 - 0.1 * (cell.number or 0))
        names = list(plan.conditions)
        turns = [(seed, name) for seed in range(3) for name in names for _ in range(2)]
        assert [(c.seed, c.condition_name) for c in cells if c.phase == "confirm"] == turns

    def test_verdicts_wait_for_a_search_that_they_do_not_need(
        self, plan: Plan, records: Records
    ) -> None:
        """On few workers the cells on which claims are judged must come before the search cells.

        The reference recipe of a condition without claims comes last, as ever.
        """
        ray = Ray(plan, records, workers=3)
        first = [ray.must() for _ in range(2)]
        assert {(c.condition_name, c.configuration) for c in first} == {("classes=2", "reference")}
        for n in range(8):
            cell = ray.must()
            assert cell.phase == "search"
            ray.finish(cell, objective=4.0 - 0.1 * n)
        rest = [ray.must() for _ in range(6)]
        assert sorted(f"{c.condition_name} {c.configuration}" for c in rest) == [
            *["classes=2 found"] * 2,
            *["classes=3 found"] * 2,
            *["classes=3 reference"] * 2,
        ]

    def test_almost_finished_search_leaves_workers_idle(self, plan: Plan, records: Records) -> None:
        """A command that goes on must look at what is left of the searches.

        With one trial left they keep one worker busy, so that trial must begin at once.
        """
        ray = Ray(plan, records)
        for _ in range(7):
            ray.finish(ray.must())
        again = Ray(plan, records, workers=1)
        assert again.must().phase == "search"

    @pytest.mark.parametrize(
        ("claim", "workers"),
        [
            ({"of": Group("classes=2")}, 4),  # two searches of two cells at once keep no more busy
            ({"of": Group("classes=2"), "against": Group("classes=3", "best")}, 1),
            ({"of": Group("classes=2", "best")}, 1),
            ({"of": Group("classes=2"), "metric": "importance/lr"}, 1),
        ],
    )
    def test_search_comes_last(self, records: Records, claim: dict[str, Any], workers: int) -> None:
        """Where the search takes longest, or claims wait for it, it must come first."""
        given = {"id": "X", "text": "x", "metric": "fcd", "region": (0, 1), **claim}
        study = tiny.study(claims=(Claim(**given),))
        ray = Ray(tiny.plan(study), records, workers=workers)
        assert ray.must().phase == "search"

    def test_plain_factorial(self, records: Records) -> None:
        """A study without a space has confirm cells only."""
        ray = Ray(tiny.plan(tiny.study(space=None)), records)
        cells = [ray.must() for _ in range(4)]
        assert {cell.phase for cell in cells} == {"confirm"}
        assert ray.ask() is None


class TestContinuing:
    def test_unfinished_cells_come_last(self, plan: Plan, records: Records) -> None:
        """Unfinished cells must come first: their checkpoints hold work that was paid for."""
        ray = one(plan, records, trials=4, seeds=1, search_parallelism=3)
        given = [ray.must() for _ in range(3)]
        ray.finish(given[0])
        again = one(plan, records, trials=4, seeds=1, search_parallelism=3)
        assert [again.must(), again.must()] == [given[1], given[2]]
        assert again.must().number == 3

    def test_accepted_cell_is_touched(self, ray: Ray) -> None:
        """What is accepted must never be written again."""
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
        """Which search cell comes next must not depend on which worker was faster."""
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
        only = one(plan, records, search_parallelism=4)
        given = [only.must() for _ in range(4)]
        assert {c.condition_name for c in given} == {"classes=2"}

    def test_ray_saves_our_state(self, ray: Ray, tmp_path: Path) -> None:
        """Ray pickles its searcher, but the driver's display and threads cannot be pickled."""
        import pickle

        pickle.dumps(ray.searcher)
        ray.searcher.save(str(tmp_path / "searcher"))
        assert (tmp_path / "searcher").exists()
