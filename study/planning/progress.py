"""Which cells of a plan there are, which are known so far, and which are missing."""

from __future__ import annotations

from collections import Counter

from study.planning.plan import Cell, Plan
from study.records.records import Records

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


def missing(plan: Plan, records: Records) -> Work:
    """The cells of a plan that are not accepted, at most: see `planned`."""
    work: Work = Counter()
    for cell in confirmations(plan, records):
        work[cell.condition_name, "confirm"] += records.result(cell.id) is None
    done = searched_cells(records)
    for name in plan.searched:
        for search in range(plan.budget.searches):
            if left := max(0, plan.budget.trials - done[name, search]):
                seeds = plan.seeds(name, "found")
                work[name, "search"] += left
                work[name, "confirm"] += sum(s % plan.budget.searches == search for s in seeds)
    return work


def confirmations(plan: Plan, records: Records) -> list[Cell]:
    """The confirm cells that are known so far.

    Each condition has those of its reference. Once all cells of a search are accepted, it also has
    those of the best configuration that this search found.

    The conditions alternate: first comes seed 0 of every condition, then seed 1. So cells of one
    condition do not run beside each other while another condition's run later, on a busier or
    quieter machine, and times of training can be compared.
    """
    best, done, searches = records.best(), searched_cells(records), range(plan.budget.searches)
    cells: list[Cell] = []
    for name in plan.conditions:
        cells += plan.confirm_cells(name, plan.hyperparameters(name))
        if name in plan.searched:
            ended = [done[name, search] >= plan.budget.trials for search in searches]
            found = [best.get((name, search)) if ended[search] else None for search in searches]
            cells += plan.confirm_cells(name, *found, of="found")
    different = {cell.id: cell for cell in cells}
    return sorted(different.values(), key=lambda cell: cell.seed)


def searched_cells(records: Records) -> Counter[tuple[str, int]]:
    """Numbers of accepted search cells, by condition and search."""
    cells = [records.cell(cell_id) for cell_id in records.ids() if records.result(cell_id)]
    return Counter((c["condition_name"], c["search"]) for c in cells if c["phase"] == "search")


def is_finished(plan: Plan, records: Records) -> bool:
    """Whether every cell of the plan is accepted."""
    return not missing(plan, records).total()
