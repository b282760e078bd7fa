"""Compares what two runs of one study left: their records, and what MLflow has of them."""

from __future__ import annotations

from collections import Counter

import pandas as pd
from mlflow import MlflowClient

from study.records.columns import TIMING_COLUMNS, is_of_one_judge
from study.records.records import Records

# Columns that depend on the clock, or on how often a cell was started.
CLOCKED = {
    "seconds",
    "attempts",
    *(f"{at}/{name}" for at in ("last", "best") for name in TIMING_COLUMNS),
}


def table(records: Records) -> bytes:
    """The accepted records as CSV, without the columns that depend on the clock."""
    cells, ticks = records.tables()
    frames = (
        cells.drop(columns=[c for c in cells if c in CLOCKED]),
        ticks.drop(columns=[c for c in TIMING_COLUMNS if c in ticks]),
    )
    return b"".join(frame.to_csv(index=False).encode() for frame in frames)


def mlflow_rows(uri: str, name: str) -> Counter[tuple[str, str, int]]:
    """How often each (cell, metric, step) of a study is in MLflow.

    Also makes sure that each cell has exactly one run, which is finished and has an outcome.
    """
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    rows: Counter[tuple[str, str, int]] = Counter()
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    cells = Counter(run.data.tags["cell"] for run in runs if "cell" in run.data.tags)
    assert len(runs) == len(cells) + 1, "not one parent"
    assert set(cells.values()) == {1}, "more than one run for a cell"
    for run in runs:
        if "cell" in run.data.tags:
            assert run.info.status == "FINISHED", run.info
            assert run.data.tags["outcome"] in ("complete", "pruned")
            for key in run.data.metrics:
                for metric in client.get_metric_history(run.info.run_id, key):
                    rows[run.data.tags["cell"], key, metric.step] += 1
    return rows


def recorded_rows(records: Records) -> Counter[tuple[str, str, int]]:
    ticks = records.ticks()
    columns = [c for c in ticks if c not in ("id", "condition", "phase", "seed")]
    # The mirror leaves out the values of single judges.
    columns = [c for c in columns if not (c.startswith("is_") or is_of_one_judge(c))]
    return Counter(
        (str(row["id"]), column, int(row["kimg"]))
        for row in ticks.to_dict("records")
        for column in columns
        if pd.notna(row[column])
    )


def compare(through: Records, killed: Records, through_uri: str, killed_uri: str) -> int:
    """Refuse any difference between two runs of a study. Returns the number of accepted cells.

    Args:
        through_uri: where MLflow keeps the first run, which ran through.
        killed_uri: where it keeps the second.
    """
    cells, ticks = killed.tables()
    assert not cells["id"].duplicated().any()
    assert set(cells["id"]) == set(through.cells()["id"]), "cells lost or others"
    assert not ticks.duplicated(["id", "kimg"]).any(), "duplicate ticks"
    assert table(killed) == table(through), "the tables differ"
    for records, uri in ((through, through_uri), (killed, killed_uri)):
        rows = mlflow_rows(uri, records.folder.name)
        assert rows == recorded_rows(records), f"MLflow differs in {uri}"
    return len(cells)
