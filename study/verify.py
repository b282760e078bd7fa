"""Run an accepted cell again and compare it with its record, row by row."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study import plan
from study.cell import CellRun, Shared
from study.metrics.judge import Judges
from study.plan import Cell
from study.records import CLOCK, Records, Row
from study.trial import prepare_process

if TYPE_CHECKING:
    from study.plan import Resources


def verify(records: Records, cell_id: str, shared: Shared, resources: Resources) -> str | None:
    """The first difference between a cell's record and the same cell run here; None if equal.

    It runs in a scratch folder, with as many threads as it had, and nothing is written to the
    records. Times are not compared.
    """
    cell, recorded = Cell.from_json(records.cell(cell_id)), records.rows(cell_id)
    result = records.result(cell_id)
    assert result is not None
    device = prepare_process(resources.cpus, resources.gpus)
    judges = Judges.from_state(dict(shared.judges), device)
    with tempfile.TemporaryDirectory() as scratch:
        run = CellRun(cell, dataclasses.replace(shared, folder=Path(scratch)), device, judges)
        ended = None
        while len(run.rows) < len(recorded) and ended is None:
            try:
                run.advance()
            except FloatingPointError as error:
                ended = error
            else:
                if line := difference(recorded[len(run.rows) - 1], run.rows[-1]):
                    return line
        run.close()
        if ended is not None:
            return f"kimg {run.marks[len(run.rows)]}: recorded a row, now it diverged: {ended}"
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
    """One "key: then -> now" for what differs in versions, code or hardware between two runs of
    study.json; of old ones the code is not known."""
    known = [key for key in ("versions", "code", "hardware") if key in then]
    return plan.difference({key: then[key] for key in known}, {key: now[key] for key in known})


def difference(recorded: Row, now: Row) -> str | None:
    """The first column, in alphabetical order, that differs between two rows of one tick."""
    now = json.loads(json.dumps(now))  # as it would be on record
    for key in sorted((recorded.keys() | now.keys()) - set(CLOCK)):
        if recorded.get(key) != now.get(key):
            return f"kimg {recorded['kimg']}: {key} is {recorded.get(key)!r}, now {now.get(key)!r}"
    return None
