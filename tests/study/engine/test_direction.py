"""A study whose objective is better high: everything that compares objectives must heed it.

If these tests fail, a search finds the worst configuration, stops its best cells, or the report and
MLflow show the worst cell as the best.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from search_spaces.core import Claim, Group
from study.engine.schedule import StudySearcher
from study.engine.search import ConditionSearch
from study.planning.cells import Cell
from study.planning.plan import Plan
from study.planning.validation import check_study
from study.records.records import Records, Row
from study.report.evidence import _at
from study.tracking.compare import best_cells
from tests.study import tiny

NAME, COLUMN, TRIALS = "classes=2", "label_accuracy", 30


def plan_of(direction: str, **budget: Any) -> Plan:
    objective = COLUMN if direction == "maximize" else "fcd"
    return tiny.plan(tiny.study(objective=objective), tiny.budget(trials=TRIALS, **budget))


def row(kimg: int, value: float) -> Row:
    """A tick at which both objectives have one value."""
    return {"kimg": kimg, "seconds": 1.0, "fcd": value, COLUMN: value}


def searched(folder: Path, direction: str) -> tuple[list[float], Records]:
    """Search a value that is the better, in either direction, the nearer log10(lr) is to an end."""
    plan = plan_of(direction)
    records = tiny.begin(Records(folder), plan)
    search, values = ConditionSearch(plan, NAME, records), []
    for _ in range(TRIALS):
        cell = search.ask()
        assert cell is not None
        value = (math.log10(cell.hyperparameters["lr"]) + 5) / 3  # 0 at 1e-5, 1 at 1e-2
        values.append(value)
        ticks = [row(0, 0.5), row(3, value)]
        search.tell(cell, "complete", ticks)
        tiny.write_cell(records, cell, ticks)
    return values, records


def test_search_looks_for_the_wrong_end(tmp_path: Path) -> None:
    for direction, best in (("minimize", min), ("maximize", max)):
        values, records = searched(tmp_path / direction, direction)
        late = float(np.mean(values[TRIALS // 2 :]))
        assert late < 0.35 if direction == "minimize" else late > 0.65
        lr = records.best()[NAME, 0]["lr"]
        assert (math.log10(lr) + 5) / 3 == pytest.approx(best(values)), "the best is another cell"


@pytest.mark.parametrize(("value", "stops"), [(0.1, True), (0.9, False)])
def test_best_cell_is_stopped_early(tmp_path: Path, value: float, stops: bool) -> None:
    plan = plan_of("maximize")
    search = ConditionSearch(plan, NAME, tiny.begin(Records(tmp_path), plan))
    for _ in range(4):
        cell = search.ask()
        assert cell is not None
        search.tell(cell, "complete", [row(k, 0.5) for k in range(4)])
    cell = search.ask()
    assert cell is not None
    assert search.should_stop(cell, [row(0, value), row(2, value)]) == stops


def confirm(records: Records, plan: Plan, *lasts: float) -> list[Cell]:
    """One confirm cell for each last value. All have their highest value, and lowest, before."""
    cells = plan.confirm_cells(NAME, plan.hyperparameters(NAME))
    for cell, last in zip(cells, lasts, strict=True):
        ticks = [row(0, 0.5), row(1, 0.95), row(2, 0.05), row(3, last)]
        tiny.write_cell(records, cell, ticks)
    return cells


def test_worst_cell_is_shown_as_the_best(tmp_path: Path) -> None:
    for direction, best_kimg in (("minimize", 2), ("maximize", 1)):
        plan = plan_of(direction)
        records = tiny.begin(Records(tmp_path / direction), plan)
        cells = confirm(records, plan, 0.2, 0.7)
        best = cells[direction == "maximize"].id
        assert records.confirmed()["id"].iloc[0] == best
        assert best_cells(records)[0] == best, "MLflow's comparison begins with another cell"
        assert set(records.cells()["best_kimg"]) == {best_kimg}


def test_searcher_tells_ray_the_wrong_end(tmp_path: Path) -> None:
    for direction, mode in (("minimize", "min"), ("maximize", "max")):
        plan = plan_of(direction)
        records = tiny.begin(Records(tmp_path / direction), plan)
        assert StudySearcher(plan, records, lambda *_: None, 1).mode == mode


@pytest.mark.parametrize(("direction", "expected"), [("minimize", 4.0), ("maximize", 4.5)])
def test_relapse_is_measured_from_the_worst_value(direction: Any, expected: float) -> None:
    """The value before training, 9, does not count."""
    ticks = pd.DataFrame({"id": "a", "kimg": range(5), "value": [9.0, 0.4, 0.9, 0.2, 0.8]})
    cell, group = pd.Series({"id": "a"}), Group(NAME, at="largest_relapse")
    assert _at(group, cell, ticks, direction) == pytest.approx(expected)


def test_objective_or_relapse_without_a_better_end_is_taken() -> None:
    """Of a ratio to real images 1 is right: a search could only drive it away from there."""
    study = tiny.study(data="kana", stand_in="kana", fid=False, claims=())
    valid = "choose from fcd, label_accuracy, .*label_error_relative"
    with pytest.raises(ValueError, match=f"objective 'variance_ratio': {valid}"):
        check_study(dataclasses.replace(study, objective="variance_ratio"))
    check_study(dataclasses.replace(study, objective=COLUMN))
    claim = Claim(
        id="X",
        text="it is steady",
        metric="class_loss_ratio",
        of=Group(NAME, at="largest_relapse"),
        region=(0.0, 2.0),
        log=True,
    )
    with pytest.raises(
        ValueError, match="X: largest_relapse of 'class_loss_ratio': choose a loss or f"
    ):
        check_study(dataclasses.replace(study, claims=(claim,)))
    check_study(dataclasses.replace(study, claims=(dataclasses.replace(claim, metric=COLUMN),)))
