"""Which cells --retry-failed runs again.

If this test fails, a command takes back results of cells that it does not run.
"""

from __future__ import annotations

from study.planning.plan import Plan
from study.planning.remaining import Remaining
from study.records.records import Records
from tests.study import tiny

VALUES = {"lr": 1e-3, "adversarial": "hinge", "label_noise": "none"}


def test_cells_of_others_are_taken_back(records: Records, plan: Plan) -> None:
    """Of one condition, two trials and one seed, although more of each failed before."""
    ours, others = [], []
    for name in plan.conditions:
        cells = [plan.search_cell(name, n, VALUES, VALUES) for n in range(4)]
        seeds = plan.confirm_cells(name, plan.hyperparameters(name))
        mine = [*cells[:2], *seeds[:1]] if name == "classes=2" else []
        ours += [cell.id for cell in mine]
        others += [cell for cell in [*cells, *seeds] if cell not in mine]
        for cell in [*cells, *seeds]:
            tiny.write_cell(records, cell, tiny.rows(3.0), "failed")
    asked = tiny.plan(budget_=tiny.budget(trials=2, seeds=1), only="classes=2")
    assert len(others) > len(ours)
    assert sorted(Remaining(asked, records).failed()) == sorted(ours)
