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
        work[name, "confirm"] = plan.seeds(name, "reference")
        if name in plan.searched:
            work[name, "search"] = plan.budget.trials
            work[name, "confirm"] += plan.seeds(name, "found")
    return work


def missing(plan: Plan, records: Records) -> Work:
    """The cells of a plan that are not accepted, at most: see `planned`."""
    cells = [records.cell(cell_id) for cell_id in records.ids() if records.result(cell_id)]
    searched = Counter(c["condition_name"] for c in cells if c["phase"] == "search")
    work: Work = Counter()
    for cell in confirmations(plan, records):
        work[cell.condition_name, "confirm"] += records.result(cell.id) is None
    for name in plan.searched:
        if left := max(0, plan.budget.trials - searched[name]):
            work[name, "search"] = left
            work[name, "confirm"] += plan.seeds(name, "found")
    return work


def confirmations(plan: Plan, records: Records) -> list[Cell]:
    """The confirm cells that are known so far.

    Each condition has those of its reference. Once all its search cells are accepted, it also has
    those of the best configuration found.

    The conditions alternate: first comes seed 0 of every condition, then seed 1. So cells of one
    condition do not run beside each other while another condition's run later, on a busier or
    quieter machine, and times of training can be compared.
    """
    best, searches = records.best(), plan.searched
    cells: dict[str, Cell] = {}
    for name in plan.conditions:
        configurations = [plan.hyperparameters(name)]
        if name in searches and name in best and is_searched(plan, records, name):
            configurations.append(best[name])
        for values in configurations:
            cells |= {cell.id: cell for cell in plan.confirm_cells(name, values)}
    return sorted(cells.values(), key=lambda cell: cell.seed)


def is_searched(plan: Plan, records: Records, condition: str) -> bool:
    """Whether every search cell of a condition is accepted."""
    cells = [records.cell(cell_id) for cell_id in records.ids() if records.result(cell_id)]
    done = sum(c["phase"] == "search" and c["condition_name"] == condition for c in cells)
    return bool(done >= plan.budget.trials)


def is_finished(plan: Plan, records: Records) -> bool:
    """Whether every cell of the plan is accepted."""
    return all(is_searched(plan, records, name) for name in plan.searched) and all(
        records.result(cell.id) for cell in confirmations(plan, records)
    )
