"""The MLflow mirror: a parent run per study, a child run per cell, made from the records.

A thread of the driver copies what the records hold and MLflow lacks, so a slow or absent server
neither stops nor slows a trial, and whatever it missed is copied at the next opportunity.
"""

from __future__ import annotations

import datetime
import logging
import os
import queue
import threading
import time
from pathlib import Path
from typing import Any

# MLflow tries a request seven times with growing pauses: here the next sync is the retry.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from PIL import Image

from study.plan import Cell
from study.records import Records

logging.getLogger("mlflow").setLevel(logging.WARNING)  # its migrations are no news to a user

STATUS = {"complete": "FINISHED", "pruned": "FINISHED"}  # every other end is FAILED


def default_uri(storage: Path) -> str:
    """MLflow's store where none is named: SQLite in the storage folder."""
    return f"sqlite:///{storage.resolve()}/mlflow.db"


class Mirror:
    """Keeps MLflow equal to the records."""

    def __init__(self, uri: str, storage: Path, records: Records) -> None:
        self.uri, self.storage, self.records = uri, storage, records
        self.problem: str | None = None  # what MLflow last answered, where it failed
        self._behind: set[str] = set()  # cells that MLflow may lack something of
        self._ended: set[str] = set()  # cells whose run has its outcome
        self._runs: dict[str, tuple[str, int]] = {}  # cell -> run id, kimg of its last row there
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="mlflow mirror", daemon=True)
        self._thread.start()

    def touch(self, cell_id: str) -> None:
        """A cell has something new on record. Returns at once."""
        self._queue.put(cell_id)

    def close(self, report: Path | None, verdicts: dict[str, str], finished: bool) -> None:
        """Copy what is missing of all cells, end the parent run, and wait for it (60 s at most)."""
        for cell_id in self.records.ids():
            self._queue.put(cell_id)
        self._end = (report, verdicts, finished)
        self._queue.put(None)
        self._thread.join(60)
        if self._thread.is_alive():
            self.problem = "it did not take everything within a minute"

    def _work(self) -> None:
        closing = False
        while not closing:
            waiting = [self._queue.get()]
            while not self._queue.empty():
                waiting.append(self._queue.get())
            closing = None in waiting
            self._behind |= {cell_id for cell_id in waiting if cell_id is not None}
            try:
                self._connect()
                for cell_id in sorted(self._behind):
                    self._sync(cell_id)
                    self._behind.discard(cell_id)
                if closing:
                    self._finish(*self._end)
                self.problem = None
            except Exception as error:  # whatever MLflow throws must not reach the study
                self.problem = f"{type(error).__name__}: {error}".splitlines()[0]

    def _connect(self) -> None:
        if hasattr(self, "_parent"):
            return
        client = MlflowClient(self.uri)
        name = self.records.folder.name
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            local = self.uri.startswith("sqlite:")
            artifacts = (self.storage.resolve() / "mlartifacts").as_uri() if local else None
            self._experiment = client.create_experiment(name, artifact_location=artifacts)
        else:
            self._experiment = experiment.experiment_id
        self._client = client
        study = self.records.study()
        self._common = {
            "data": study["definition"]["data"],
            "git_commit": study["runs"][-1]["git_commit"],
        }
        parent = self._find("study", name)
        tags = {"study": name, "mlflow.note.content": study["title"], **self._common}
        self._parent = parent.info.run_id if parent else self._create(name, tags)

    def _find(self, tag: str, value: str) -> Run | None:
        found: list[Run] = self._client.search_runs(
            [self._experiment], f"tags.`{tag}` = '{value}'", max_results=1
        )
        return found[0] if found else None

    def _create(self, name: str, tags: dict[str, str]) -> str:
        run = self._client.create_run(self._experiment, tags=tags, run_name=name)
        return str(run.info.run_id)

    def _sync(self, cell_id: str) -> None:
        """Bring one run up to its records: each row once, by the highest kimg that is there."""
        cell, result = self.records.cell(cell_id), self.records.result(cell_id)
        if cell_id not in self._runs:
            self._runs[cell_id] = self._adopt(cell_id, cell)
        run_id, last = self._runs[cell_id]
        for row in self.records.rows(cell_id):
            step = row["kimg"]
            if step <= last:
                continue
            picture = self.records.cell_folder(cell_id) / "samples" / f"{step:06d}.png"
            with Image.open(picture) as image:
                self._client.log_image(run_id, image.copy(), key="samples", step=step)
            now = int(time.time() * 1000)
            batch = [Metric(key, value, now, step) for key, value in row.items()]
            self._client.log_batch(run_id, metrics=batch)
            self._runs[cell_id] = run_id, step
        if result and cell_id not in self._ended:
            ended = datetime.datetime.fromisoformat(result["ended"])
            status = STATUS.get(result["outcome"], "FAILED")
            self._client.set_tag(run_id, "outcome", result["outcome"])
            self._client.set_terminated(run_id, status, int(ended.timestamp() * 1000))
            self._ended.add(cell_id)

    def _adopt(self, cell_id: str, cell: dict[str, Any]) -> tuple[str, int]:
        """The cell's run and the last kimg it holds; a new run where there is none."""
        params = [
            Param(k, str(v)) for k, v in (cell["condition"] | cell["hyperparameters"]).items()
        ]
        run = self._find("cell", cell_id)
        if run:
            run_id = run.info.run_id
            if run.info.status in ("FINISHED", "FAILED"):
                self._ended.add(cell_id)
            if len(run.data.params) < len(params):  # its mirror died before it could write them
                self._client.log_batch(run_id, params=params)
            history = self._client.get_metric_history(run_id, "kimg")
            return run_id, max((metric.step for metric in history), default=-1)
        tags = {
            "mlflow.parentRunId": self._parent,
            "cell": cell_id,
            "condition": cell["condition_name"],
            "phase": cell["phase"],
            "seed": str(cell["seed"]),
            "outcome": "running",
            **self._common,
        }
        if cell["configuration"]:
            tags["configuration"] = cell["configuration"]
        run_id = self._create(Cell.from_json(cell).label, tags)
        self._client.log_batch(run_id, params=params)
        return run_id, -1

    def _finish(self, report: Path | None, verdicts: dict[str, str], finished: bool) -> None:
        tags = [RunTag(f"claim.{claim}", verdict) for claim, verdict in verdicts.items()]
        self._client.log_batch(self._parent, tags=tags)
        if report:
            self._client.log_artifact(self._parent, str(report))
        if finished:
            self._client.set_terminated(self._parent, "FINISHED")
