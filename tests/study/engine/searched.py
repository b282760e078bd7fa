"""Helpers that go through a condition's search cell by cell, without training anything."""

from __future__ import annotations

import math

import pytest

from study.engine.search import ConditionSearch
from study.planning.cells import Cell
from study.planning.plan import Plan
from study.records.files import write_json
from study.records.records import Records
from tests.study import tiny

NAME = "classes=2"
TRIALS = 16


@pytest.fixture(name="plan")
def longer_plan() -> Plan:
    """A plan whose searches are so long that TPE suggests cells by their results."""
    return tiny.plan(budget_=tiny.budget(trials=TRIALS))


def objective(cell: Cell) -> float:
    values = cell.hyperparameters
    return abs(math.log10(values["lr"] / 1e-3)) + (values["adversarial"] == "hinge") + 1


def outcome_of(number: int) -> str:
    return {3: "pruned", 5: "diverged", 6: "failed"}.get(number, "complete")


def give(records: Records, cell: Cell) -> None:
    """Put a cell on record before it runs, as the schedule does."""
    write_json(records.cell_folder(cell.id) / "cell.json", cell.as_json())


def live(search: ConditionSearch, records: Records, cell: Cell, scale: float = 1.0) -> None:
    """Tell the search of a cell's ticks and end as Ray would, and put the cell on record.

    Ray tells nothing of the last tick.
    """
    outcome = outcome_of(cell.number or 0)
    ticks = tiny.rows(*(scale * (objective(cell) + 3 - k) for k in range(4)))
    if outcome != "complete":
        ticks = ticks[:2]
    for n in range(1, len(ticks)):
        search.should_stop(cell, ticks[:n])
    search.tell(cell, outcome, ticks)
    tiny.write_cell(records, cell, ticks, outcome)


def run(search: ConditionSearch, records: Records, n: int, scale: float = 1.0) -> list[Cell]:
    """The next n cells of a search, each of which ends before the next begins."""
    cells = []
    for _ in range(n):
        cell = search.ask()
        assert cell is not None
        give(records, cell)
        live(search, records, cell, scale)
        cells.append(cell)
    return cells
