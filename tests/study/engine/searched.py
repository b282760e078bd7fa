"""A condition's search, lived through cell by cell without training any."""

from __future__ import annotations

import math

import pytest

from study.engine.search import ConditionSearch
from study.planning.plan import Cell, Plan
from study.records.records import Records, write_json
from tests.study import tiny

NAME = "classes=2"
TRIALS = 16  # TPE suggests at random until it has ten results


@pytest.fixture(name="plan")
def longer_plan() -> Plan:
    """A search long enough that TPE has its say."""
    return tiny.plan(budget_=tiny.budget(trials=TRIALS))


def objective(cell: Cell) -> float:
    values = cell.hyperparameters
    return abs(math.log10(values["lr"] / 1e-3)) + (values["adversarial"] == "hinge") + 1


def outcome_of(number: int) -> str:
    return {3: "pruned", 5: "diverged", 6: "failed"}.get(number, "complete")


def give(records: Records, cell: Cell) -> None:
    """As the schedule does: on record before it runs."""
    write_json(records.cell_folder(cell.id) / "cell.json", cell.as_json())


def live(search: ConditionSearch, records: Records, cell: Cell, scale: float = 1.0) -> None:
    """One cell from its first tick to its end, as Ray tells of it: of the last tick not at all."""
    outcome = outcome_of(cell.number or 0)
    ticks = tiny.rows(*(scale * (objective(cell) + 3 - k) for k in range(4)))
    if outcome != "complete":
        ticks = ticks[:2]
    for n in range(1, len(ticks)):
        search.should_stop(cell, ticks[:n])
    search.tell(cell, outcome, ticks)
    tiny.write_cell(records, cell, ticks, outcome)


def run(search: ConditionSearch, records: Records, n: int) -> list[Cell]:
    cells = []
    for _ in range(n):
        cell = search.ask()
        assert cell is not None
        give(records, cell)
        live(search, records, cell)
        cells.append(cell)
    return cells
