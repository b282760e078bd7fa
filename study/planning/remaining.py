"""Which cells of a plan there are, which are known so far, and which are missing."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping
from typing import Any

from study.planning.cells import Cell
from study.planning.plan import Plan
from study.records.objective import cost
from study.records.records import FAILED, Records, Row

# Numbers of cells, by condition and phase.
Work = Counter[tuple[str, str]]


def planned(plan: Plan) -> Work:
    """All cells of a plan, as if none of them were done.

    Each searched condition counts with two confirmed configurations, although it needs only one if
    the reference turns out to be its best.
    """
    work: Work = Counter()
    for name in plan.conditions:
        work[name, "confirm"] = len(plan.seeds(name, "reference"))
        if name in plan.searched:
            work[name, "search"] = plan.budget.searches * plan.budget.trials
            work[name, "confirm"] += len(plan.seeds(name, "found"))
    return work


class Remaining:
    """Which cells of a plan have ended, and which confirm cell comes next.

    It is read from the records once, and then told of each end. So no answer takes longer the more
    cells there are.

    The confirm cells of the conditions alternate: first comes seed 0 of every condition, then seed
    1. So cells of one condition do not run beside each other while another condition's run later,
    on a busier or quieter machine, and times of training can be compared. (Where those that decide
    the claims are asked for first, this holds among them, and among the others.)
    """

    def __init__(self, plan: Plan, records: Records) -> None:
        self.plan, self.records = plan, records
        self.done: Counter[tuple[str, int]] = Counter()  # accepted cells of each search
        self._best: dict[tuple[str, int], tuple[float, int, Mapping[str, Any]]] = {}
        self._known: dict[str, Cell] = {}  # confirm cells by id
        # Confirm cells that `next` did not look at: seed, place among those of the seed, id. The
        # first list has those that decide the claims, see `Plan.judged`.
        self._deciding: list[tuple[int, int, str]] = []
        self._others: list[tuple[int, int, str]] = []
        self._places = {name: place for place, name in enumerate(plan.conditions)}
        for name in plan.conditions:
            self._add(plan.confirm_cells(name, plan.hyperparameters(name)))
        for cell_id in records.ids():
            if result := records.result(cell_id):
                cell = Cell.from_json(records.cell(cell_id))
                if cell.phase == "search":
                    self._count(cell, result["outcome"], records.rows(cell_id))
        for search in self.done:
            self._confirm(*search)

    def accept(self, cell: Cell, outcome: str, rows: list[Row]) -> None:
        """Take note of the end of a cell.

        Once all cells of a search are accepted, the confirm cells of the best configuration that
        this search found are known.
        """
        if cell.phase == "search":
            self._count(cell, outcome, rows)
            self._confirm(cell.condition_name, cell.search)

    def _count(self, cell: Cell, outcome: str, rows: list[Row]) -> None:
        search = cell.condition_name, cell.search
        self.done[search] += 1
        if outcome == "complete":
            value = cost(rows[-1][self.plan.study.objective], self.plan.direction)
            assert cell.number is not None
            # Of equal cells the one with the lowest number is the best, whichever ended first.
            if search not in self._best or (value, cell.number) < self._best[search][:2]:
                self._best[search] = value, cell.number, cell.hyperparameters

    def _confirm(self, condition: str, search: int) -> None:
        if condition in self.plan.searched and self.is_over(condition, search):
            found: list[Mapping[str, Any] | None] = [None] * self.plan.budget.searches
            found[search] = self._best.get((condition, search), (None,))[-1]
            self._add(self.plan.confirm_cells(condition, *found, of="found"))

    def _add(self, cells: list[Cell]) -> None:
        for cell in cells:
            if cell.id not in self._known:
                self._known[cell.id] = cell
                judged = cell.condition_name in self.plan.judged
                decides = judged and cell.configuration == "reference"
                heap = self._deciding if decides else self._others
                heapq.heappush(heap, (*self._order(cell), cell.id))

    def _order(self, cell: Cell) -> tuple[int, int]:
        return cell.seed, self._places[cell.condition_name]

    def is_over(self, condition: str, search: int) -> bool:
        """Whether all cells of a search are accepted."""
        return self.done[condition, search] >= self.plan.budget.trials

    def next(self, deciding: bool = False) -> Cell | None:
        """The next confirm cell that is not accepted. Each is returned once.

        Args:
            deciding: only the next of those that decide the claims.
        """
        asked = [self._deciding] if deciding else [self._deciding, self._others]
        while heaps := [heap for heap in asked if heap]:
            heap = min(heaps, key=lambda heap: heap[0])
            cell = self._known[heapq.heappop(heap)[-1]]
            if self.records.result(cell.id) is None:
                return cell
        return None

    def failed(self) -> list[str]:
        """The ids of the cells of this plan that failed or ran out of memory."""
        found = []
        for cell_id in self.records.ids():
            result = self.records.result(cell_id)
            if result and result["outcome"] in FAILED:
                cell = Cell.from_json(self.records.cell(cell_id))
                if cell_id in self._known or self._is_of_search(cell):
                    found.append(cell_id)
        return found

    def _is_of_search(self, cell: Cell) -> bool:
        budget = self.plan.budget
        searched = cell.condition_name in self.plan.searched and cell.search < budget.searches
        return searched and cell.number is not None and cell.number < budget.trials

    def confirmations(self) -> list[Cell]:
        """The confirm cells that are known so far, in the order of their seeds."""
        return sorted(self._known.values(), key=self._order)

    def missing(self) -> Work:
        """The cells that are not accepted, at most: see `planned`."""
        work: Work = Counter()
        for cell in self._known.values():
            work[cell.condition_name, "confirm"] += self.records.result(cell.id) is None
        searches = range(self.plan.budget.searches)
        for name in self.plan.searched:
            for search in searches:
                if not self.is_over(name, search):
                    seeds = self.plan.seeds(name, "found")
                    work[name, "search"] += self.plan.budget.trials - self.done[name, search]
                    work[name, "confirm"] += sum(s % len(searches) == search for s in seeds)
        return work

    @property
    def is_finished(self) -> bool:
        """Whether every cell of the plan is accepted."""
        return not self.missing().total()
