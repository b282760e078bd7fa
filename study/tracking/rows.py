"""Rows of cells as MLflow's metrics."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from mlflow.entities import Metric

from study.records.columns import is_of_one_judge
from study.records.records import Records, Row

MOST_METRICS = 1000  # in one batch; MLflow takes no more


def batches(rows: list[Row]) -> Iterator[list[Row]]:
    """Rows in parts that MLflow takes at once; one empty part where there are no rows."""
    part: list[Row] = []
    for row in rows:
        if part and sum(map(len, part)) + len(row) > MOST_METRICS:
            yield part
            part = []
        part.append(row)
    yield part


def measured(row: Row, started: int, **of: str) -> list[Metric]:
    """A row as MLflow's metrics. `of` names a model and a data set to attach them to as well."""
    time, columns = moment(row, started), [key for key in row if not is_of_one_judge(key)]
    return [Metric(key, row[key], time, row["kimg"], **of) for key in columns]


def moment(row: Row, started: int) -> int:
    """When a row was measured, in milliseconds: `started` plus the row's seconds.

    It depends on the records alone, so that a row that is logged twice counts as one.
    """
    return started + int(row["seconds"] * 1000)


def first_start(records: Records, cell_id: str) -> int:
    """When a cell was first started, in milliseconds; 0 where no start is on record."""
    attempts = records.attempts(cell_id)
    return milliseconds(attempts[0]["started"]) if attempts else 0


def milliseconds(time: str) -> int:
    """A recorded ISO time as MLflow takes it: in milliseconds since 1970."""
    return int(datetime.datetime.fromisoformat(time).timestamp() * 1000)
