"""Run an accepted cell again and compare it with its record, row by row."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.engine.cell import CellRun
from study.engine.shared_state import Shared
from study.engine.trial import prepare_process
from study.metrics.core.judge import Judge
from study.planning import study_json
from study.planning.cells import Cell
from study.records.columns import TIMING_COLUMNS
from study.records.records import Records, Row

if TYPE_CHECKING:
    from study.planning.resources import Resources


def verify(records: Records, cell_id: str, shared: Shared, resources: Resources) -> str | None:
    """The first difference between a cell's record and a new run of the cell; None if equal.

    The cell runs here, in a scratch folder, and nothing is written to the records. Times are not
    compared.

    Args:
        resources: of the trial, with as many CPUs (threads) as the recorded run had.
    """
    cell, recorded = Cell.from_json(records.cell(cell_id)), records.rows(cell_id)
    result = records.result(cell_id)
    assert result is not None
    device = prepare_process(resources.cpus, resources.gpus)
    judges = [Judge.from_state(dict(state), device) for state in shared.judges]
    with tempfile.TemporaryDirectory() as scratch:
        here = dataclasses.replace(shared, folder=Path(scratch))
        with contextlib.closing(CellRun(cell, here, device, judges)) as run:
            for row in recorded:
                try:
                    run.advance()
                except FloatingPointError as error:
                    kimg = run.marks[len(run.rows)]
                    return f"kimg {kimg}: recorded a row, now it diverged: {error}"
                if line := difference(row, run.rows[-1]):
                    return line
            if result["outcome"] == "diverged":
                try:
                    run.advance()
                except FloatingPointError as error:
                    if str(error) != result["error"]:
                        return f"recorded {result['error']!r}, now {str(error)!r}"
                else:
                    return f"recorded {result['error']!r}, now it goes on"
    return None


def circumstances(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """One "key: then -> now" for everything that differs in versions, code or hardware.

    Args:
        then: a run, as study.json lists it.
        now: what `environment.describe` returns.
    """
    keys = ("versions", "code", "hardware")
    return study_json.difference({key: then[key] for key in keys}, {key: now[key] for key in keys})


def difference(recorded: Row, now: Row) -> str | None:
    """The first column, in alphabetical order, that differs between two rows of one tick.

    None if there is none. Columns of times are not compared.
    """
    now = json.loads(json.dumps(now))  # as JSON would record the row
    for key in sorted((recorded.keys() | now.keys()) - set(TIMING_COLUMNS)):
        if recorded.get(key) != now.get(key):
            return f"kimg {recorded['kimg']}: {key} is {recorded.get(key)!r}, now {now.get(key)!r}"
    return None
