"""Mirrors the records in MLflow: a parent run per study, and a child run per cell.

A thread of the driver copies what the records hold and MLflow lacks. So a slow or absent server
neither stops nor slows a trial. What could not be copied is copied at the next opportunity.
"""

from __future__ import annotations

import datetime
import io
import logging
import os
import queue
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# By default MLflow retries a request seven times with growing pauses. Here the next sync retries.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # hides a line per run

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from PIL import Image

from study.planning.plan import Cell
from study.records import store
from study.records.columns import is_of_one_judge
from study.records.records import Records, Row
from study.tracking.compare import best_cells, compare_page

logging.getLogger("mlflow").setLevel(logging.WARNING)  # hides what it logs of its migrations

IMAGE = re.compile(r"samples\W+step\W+(\d+)\W")  # how log_image names its files
PATIENCE = 10  # seconds for which a failing MLflow is tried again when the mirror closes
STATUS = {"complete": "FINISHED", "pruned": "FINISHED"}  # every other end is FAILED


@dataclass
class RunProgress:
    """How much of one cell's records its run in MLflow has."""

    run_id: str
    kimg: int = -1  # of its last row; -1: none. A row is one transaction, so it is never partial
    params: int = 0  # how many are logged
    ended: bool = False
    images: set[int] | None = None  # kimg of its sample grids; None: MLflow was not asked yet


class Mirror:
    """Keeps MLflow equal to the records.

    MLflow may have carried out a request although the request failed here. So after a failure the
    progress of all runs is read anew. A row that is written twice still counts as one row, because
    its timestamps come from the records.
    """

    def __init__(self, uri: str, storage: Path, records: Records) -> None:
        self.uri, self.storage, self.records = uri, storage, records
        self.problem: str | None = None  # why the last copying failed; None: it did not
        self._behind: set[str] = set()  # ids of cells of which MLflow may lack something
        self._progress: dict[str, RunProgress] | None = (
            None  # by cell id; None: must be read from MLflow first
        )
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="mlflow mirror", daemon=True)
        self._thread.start()

    def touch(self, cell_id: str) -> None:
        """Tell the mirror that a cell has something new on record. Returns at once."""
        self._queue.put(cell_id)

    def close(self, report: Path | None, verdicts: dict[str, str], finished: bool) -> None:
        """Copy what MLflow lacks of all cells, the verdicts and the report, and wait for it.

        The wait takes at most a minute, or five seconds where the study is not `finished`. The
        parent run is ended only where the study is finished. `verdicts` are by claim id.
        """
        for cell_id in self.records.ids():
            self._queue.put(cell_id)
        self._end = (report, verdicts, finished)
        seconds = 60 if finished else 5
        self._patient_until = time.monotonic() + min(seconds, PATIENCE)
        self._queue.put(None)
        self._thread.join(seconds)
        if self._thread.is_alive():
            self.problem = f"it did not take everything within {seconds} s"

    def _work(self) -> None:
        closing = False
        while not closing:
            waiting = [self._queue.get()]
            while not self._queue.empty():
                waiting.append(self._queue.get())
            closing = None in waiting
            self._behind |= {cell_id for cell_id in waiting if cell_id is not None}
            problem = None
            try:
                if self._progress is None:
                    self._progress = self._connect()
                for cell_id in sorted(self._behind):
                    try:
                        read = self._read(cell_id)
                    except (OSError, ValueError) as error:  # copy the other cells all the same
                        problem = f"{cell_id}: {error}".splitlines()[0]
                        continue
                    self._sync(self._progress, *read)
                    self._behind.discard(cell_id)
                if closing:
                    self._finish(self._progress, *self._end)
            except Exception as error:  # no error of MLflow's may reach the study
                self._progress = None
                problem = f"{type(error).__name__}: {error}".splitlines()[0]
            self.problem = problem
            if closing and problem and time.monotonic() < self._patient_until:
                closing = False
                time.sleep(0.5)
                self._queue.put(None)

    def _connect(self) -> dict[str, RunProgress]:
        """Find or make the experiment and the parent run. Returns every run's progress by cell."""
        client = self._client = MlflowClient(self.uri)
        name, study = self.records.folder.name, self.records.study()
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            local = self.uri.startswith("sqlite:")
            artifacts = (self.storage.resolve() / "mlartifacts").as_uri() if local else None
            self._experiment = client.create_experiment(name, artifact_location=artifacts)
        else:
            self._experiment = experiment.experiment_id
        self._common = {
            "folder": study["folder"],
            "data": study["definition"]["data"],
            "git_commit": study["runs"][-1]["git_commit"],
            "code": study["runs"][-1]["code"],
        }
        runs: dict[str, Run] = {}  # by cell id; "" is the parent run
        for run in self._all_runs():
            key = run.data.tags.get("cell", "")
            if key in runs:  # made twice: the first request had failed here, but not in MLflow
                client.delete_run(run.info.run_id)
            runs.setdefault(key, run)
        parent = runs.pop("", None)
        if parent is None:
            tags = {"study": name, "mlflow.note.content": study["title"], **self._common}
            self._parent = self._create(name, tags)
        else:
            self._parent = parent.info.run_id
            if parent.info.status != "RUNNING":  # the study may have grown since its end
                client.update_run(self._parent, status="RUNNING")
        return {cell_id: _progress_of(run) for cell_id, run in runs.items()}

    def _all_runs(self) -> list[Run]:
        """All runs of this folder, the oldest first.

        The experiment may hold other runs: a user's own, or those of the same study run elsewhere.
        """
        runs: list[Run] = []
        token = None
        while token != "":
            page = self._client.search_runs(
                [self._experiment],
                f"tags.folder = '{self._common['folder']}'",
                order_by=["attributes.start_time ASC"],
                max_results=1000,
                page_token=token,
            )
            runs += page
            token = page.token or ""
        return runs

    def _create(self, name: str, tags: dict[str, str]) -> str:
        run = self._client.create_run(self._experiment, tags=tags, run_name=name)
        return str(run.info.run_id)

    def _read(self, cell_id: str) -> tuple[Cell, list[Row], dict[str, Any] | None, int]:
        """A cell, its rows, its result, and the time of its first start in milliseconds."""
        cell = Cell.from_json(self.records.cell(cell_id))
        started = first_start(self.records, cell_id)
        return cell, self.records.rows(cell_id), self.records.result(cell_id), started

    def _sync(
        self,
        progress: dict[str, RunProgress],
        cell: Cell,
        rows: list[Row],
        result: dict[str, Any] | None,
        started: int,
    ) -> None:
        """Bring one run up to its records. Log only rows above the highest kimg that it has."""
        mirrored = progress.get(cell.id) or self._begin(cell)
        progress[cell.id] = mirrored
        values = {**cell.condition, **cell.hyperparameters}
        if mirrored.params < len(values):
            params = [Param(key, str(value)) for key, value in values.items()]
            self._client.log_batch(mirrored.run_id, params=params)
            mirrored.params = len(params)
        if mirrored.ended and result is None:  # its record was damaged, so the cell runs again
            self._client.update_run(mirrored.run_id, status="RUNNING")
            self._client.set_tag(mirrored.run_id, "outcome", "running")
            mirrored.ended = False
        for row in rows:
            if row["kimg"] > mirrored.kimg:
                self._log(mirrored, cell, row, started)
        if result and not mirrored.ended:
            status = STATUS.get(result["outcome"], "FAILED")
            self._client.set_tag(mirrored.run_id, "outcome", result["outcome"])
            self._client.set_terminated(mirrored.run_id, status, milliseconds(result["ended"]))
            mirrored.ended = True

    def _begin(self, cell: Cell) -> RunProgress:
        tags = {
            "mlflow.parentRunId": self._parent,
            "cell": cell.id,
            "condition": cell.condition_name,
            "phase": cell.phase,
            "seed": str(cell.seed),
            "outcome": "running",
            **self._common,
        }
        if cell.configuration:
            tags["configuration"] = cell.configuration
        return RunProgress(self._create(cell.label, tags), images=set())

    def _log(self, mirrored: RunProgress, cell: Cell, row: Row, started: int) -> None:
        """Log a sample grid, then its row. So a row in MLflow means that both are there."""
        step, time = row["kimg"], moment(row, started)
        if mirrored.images is None:
            files = self._client.list_artifacts(mirrored.run_id, "images")
            found = [IMAGE.search(file.path) for file in files]
            mirrored.images = {int(match[1]) for match in found if match}
        picture = self.records.cell_folder(cell.id) / "samples" / f"{step:06d}.png"
        if step not in mirrored.images and picture.exists():
            with Image.open(io.BytesIO(store.read(picture))) as image:
                self._client.log_image(
                    mirrored.run_id, image.copy(), key="samples", step=step, timestamp=time
                )
            mirrored.images.add(step)
        self._client.log_batch(mirrored.run_id, metrics=measured(row, started))
        mirrored.kimg = step

    def _finish(
        self,
        progress: dict[str, RunProgress],
        report: Path | None,
        verdicts: dict[str, str],
        finished: bool,
    ) -> None:
        tags = [RunTag(f"claim.{claim}", verdict) for claim, verdict in verdicts.items()]
        if runs := [progress[cell].run_id for cell in best_cells(self.records) if cell in progress]:
            link = f"[the best cells compared]({compare_page(runs, self._experiment)})"
            title, noted = self.records.study()["title"], "mlflow.note.content"
            there = self._client.get_run(self._parent).data.tags.get(noted, title)
            # Any other note was written by a user and stays.
            if there == title or there.startswith(f"{title}: [the best"):
                tags.append(RunTag(noted, f"{title}: {link}"))
        self._client.log_batch(self._parent, tags=tags)
        if report:
            self._client.log_text(self._parent, store.read(report).decode(), report.name)
        if finished:
            self._client.set_terminated(self._parent, "FINISHED")


def _progress_of(run: Run) -> RunProgress:
    return RunProgress(
        run_id=run.info.run_id,
        kimg=int(run.data.metrics.get("kimg", -1)),
        params=len(run.data.params),
        ended=run.info.status in ("FINISHED", "FAILED"),
    )


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
