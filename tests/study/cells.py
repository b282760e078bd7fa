"""Helpers that run one cell as a worker runs it, but in this process."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch

from study.engine.cell import CellRun
from study.engine.shared_state import Shared
from study.metrics.core.judge import Judge
from study.planning.cells import Cell
from study.planning.plan import Plan
from study.records.columns import TIMING_COLUMNS
from study.records.records import Records, Row

CPU = torch.device("cpu")


def cell_of(plan: Plan, condition: str = "classes=2", seed: int = 0, **values: Any) -> Cell:
    cell = plan.confirm_cells(condition, {**plan.hyperparameters(condition), **values})[0]
    return dataclasses.replace(cell, seed=seed)


def elsewhere(shared: Shared, name: str) -> Shared:
    return dataclasses.replace(shared, folder=shared.folder.parent / name)


OPEN: dict[Path, CellRun] = {}


def begin(cell: Cell, shared: Shared, judges: list[Judge], **rest: Any) -> CellRun:
    """Begin or continue a cell as a new process would.

    An earlier run of the cell in this process is closed first. This frees its lock, as if its
    process had died.
    """
    folder = Records(shared.folder).cell_folder(cell.id)
    if folder in OPEN:
        OPEN.pop(folder).close()
    OPEN[folder] = CellRun(cell, shared, CPU, judges, **rest)
    return OPEN[folder]


def to_end(run: CellRun) -> list[Row]:
    while not run.finished:
        run.advance()
    return run.rows


def plain(rows: list[Row]) -> list[Row]:
    """The rows without the columns that hold times and speeds."""
    return [{k: v for k, v in row.items() if k not in TIMING_COLUMNS} for row in rows]
