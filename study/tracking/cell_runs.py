"""What MLflow has of a study: its runs, and how much each holds of its cell's records."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.entities import Run


@dataclass
class RunProgress:
    """How much of one cell's records its run in MLflow has."""

    run_id: str
    kimg: int = -1  # of its last row; -1: none. Rows are logged whole, so none is ever partial
    params: int = 0  # how many are logged
    outcome: str = "running"  # the tag
    ended: int | None = None  # when it ended, in milliseconds; None: it has not
    started: int = 0  # the tag: when the cell was first started, in milliseconds
    images: set[int] | None = None  # kimg of its sample grids; None: MLflow was not asked yet


def experiment_of(client: MlflowClient, name: str, artifacts: str | None) -> str:
    """The id of an experiment, which is made where there is none.

    Args:
        artifacts: the address of its artifacts, if it is made; None: MLflow chooses.

    Raises:
        RuntimeError: somebody deleted it. The message says how it comes back.
    """
    known = client.get_experiment_by_name(name)
    if known is None:
        return str(client.create_experiment(name, artifact_location=artifacts))
    if known.lifecycle_stage != "active":
        there = f"MLFLOW_TRACKING_URI={shlex.quote(client.tracking_uri)}"
        restore = f"{there} mlflow experiments restore -x {known.experiment_id}"
        raise RuntimeError(f"the experiment {name!r} is deleted there; {restore}")
    return str(known.experiment_id)


def all_runs(client: MlflowClient, experiment: str, folder: str) -> list[Run]:
    """All runs of a study's folder, the oldest first.

    Args:
        experiment: its id. It may hold other runs: a user's own, or those of the same study run
            elsewhere.
        folder: the value of the runs' tag "folder".
    """
    runs: list[Run] = []
    token = None
    while token != "":
        page = client.search_runs(
            [experiment],
            f"tags.folder = '{folder}'",
            order_by=["attributes.start_time ASC"],
            max_results=1000,
            page_token=token,
        )
        runs += page
        token = page.token or ""
    return runs


def progress_of(run: Run) -> RunProgress:
    """The progress that a run in MLflow shows."""
    return RunProgress(
        run_id=run.info.run_id,
        kimg=int(run.data.metrics.get("kimg", -1)),
        params=len(run.data.params),
        outcome=run.data.tags.get("outcome", "running"),
        started=int(run.data.tags.get("started", 0)),
        ended=run.info.end_time if run.info.status in ("FINISHED", "FAILED") else None,
    )
