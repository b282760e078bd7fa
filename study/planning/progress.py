"""Which confirm cells of a plan are known so far, and whether all of its cells have ended."""

from __future__ import annotations

from study.planning.plan import Cell, Plan
from study.records.records import Records


def confirmations(plan: Plan, records: Records) -> list[Cell]:
    """The confirm cells that are known so far.

    Each condition has those of its reference. Once all its search cells are accepted, it also has
    those of the best configuration found.
    """
    best, searches = records.best(), plan.searched
    cells: dict[str, Cell] = {}
    for name in plan.conditions:
        configurations = [plan.hyperparameters(name)]
        if name in searches and name in best and is_searched(plan, records, name):
            configurations.append(best[name])
        for values in configurations:
            cells |= {cell.id: cell for cell in plan.confirm_cells(name, values)}
    return list(cells.values())


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
