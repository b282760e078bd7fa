"""The MLflow mirror: a parent run per study, a child run per cell, made from the records.

A thread of the driver copies what the records hold and MLflow lacks, so a slow or absent server
neither stops nor slows a trial, and whatever it missed is copied at the next opportunity.
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

# MLflow tries a request seven times with growing pauses: here the next sync is the retry.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # a line for each run

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from PIL import Image

from study import store
from study.plan import Cell
from study.records import Records, Row
from study.ui import best_cells, compare_page

logging.getLogger("mlflow").setLevel(logging.WARNING)  # its migrations are no news to a user

IMAGE = re.compile(r"samples\W+step\W+(\d+)\W")  # what log_image calls its files
PATIENCE = 10  # seconds in which a failing MLflow is tried again at the end
STATUS = {"complete": "FINISHED", "pruned": "FINISHED"}  # every other end is FAILED


def default_uri(storage: Path) -> str:
    """MLflow's store where none is named: SQLite in the storage folder."""
    return f"sqlite:///{storage.resolve()}/mlflow.db"


@dataclass
class Place:
    """How far one run has got in MLflow."""

    run_id: str
    kimg: int = -1  # of its last row; a row is written in one transaction, so it is there whole
    params: int = 0
    ended: bool = False
    images: set[int] | None = None  # kimg of its sample grids; None: not asked yet


class Mirror:
    """Keeps MLflow equal to the records.

    A request that failed may have been carried out all the same. So after a failure all places
    are read anew, and a row that is written twice is one row: its timestamps are the records'.
    """

    def __init__(self, uri: str, storage: Path, records: Records) -> None:
        self.uri, self.storage, self.records = uri, storage, records
        self.problem: str | None = None  # what MLflow last answered, where it failed
        self._behind: set[str] = set()  # cells that MLflow may lack something of
        self._places: dict[str, Place] | None = None  # by cell; None: to be read from MLflow
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="mlflow mirror", daemon=True)
        self._thread.start()

    def touch(self, cell_id: str) -> None:
        """A cell has something new on record. Returns at once."""
        self._queue.put(cell_id)

    def close(self, report: Path | None, verdicts: dict[str, str], finished: bool) -> None:
        """Copy what is missing of all cells, end the parent run, and wait for it: a minute at most,
        five seconds where the study was interrupted."""
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
                if self._places is None:
                    self._places = self._connect()
                for cell_id in sorted(self._behind):
                    try:
                        read = self._read(cell_id)
                    except (OSError, ValueError) as error:  # one cell must not keep the others back
                        problem = f"{cell_id}: {error}".splitlines()[0]
                        continue
                    self._sync(self._places, *read)
                    self._behind.discard(cell_id)
                if closing:
                    self._finish(self._places, *self._end)
            except Exception as error:  # whatever MLflow throws must not reach the study
                self._places = None
                problem = f"{type(error).__name__}: {error}".splitlines()[0]
            self.problem = problem
            if closing and problem and time.monotonic() < self._patient_until:
                closing = False
                time.sleep(0.5)
                self._queue.put(None)

    def _connect(self) -> dict[str, Place]:
        """Find or make the experiment and the parent run; where every cell's run stands."""
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
        }
        if code := study["runs"][-1].get("code"):  # of old runs it is not known
            self._common["code"] = code
        runs: dict[str, Run] = {}  # by cell; the parent's by ""
        for run in self._all_runs():
            key = run.data.tags.get("cell", "")
            if key in runs:  # its making failed here, but not there
                client.delete_run(run.info.run_id)
            runs.setdefault(key, run)
        parent = runs.pop("", None)
        if parent is None:
            tags = {"study": name, "mlflow.note.content": study["title"], **self._common}
            self._parent = self._create(name, tags)
        else:
            self._parent = parent.info.run_id
            if parent.info.status != "RUNNING":  # it has grown since
                client.update_run(self._parent, status="RUNNING")
        return {cell_id: _place(run) for cell_id, run in runs.items()}

    def _all_runs(self) -> list[Run]:
        """All runs of this folder, the oldest first. Others may be in the experiment: a user's, or
        those of the same study run elsewhere."""
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
        """A cell, its rows, its result and the time of its first start, in milliseconds."""
        cell = Cell.from_json(self.records.cell(cell_id))
        started = first_start(self.records, cell_id)
        return cell, self.records.rows(cell_id), self.records.result(cell_id), started

    def _sync(
        self,
        places: dict[str, Place],
        cell: Cell,
        rows: list[Row],
        result: dict[str, Any] | None,
        started: int,
    ) -> None:
        """Bring one run up to its records: each row once, by the highest kimg that is there."""
        place = places.get(cell.id) or self._begin(cell)
        places[cell.id] = place
        values = {**cell.condition, **cell.hyperparameters}
        if place.params < len(values):
            params = [Param(key, str(value)) for key, value in values.items()]
            self._client.log_batch(place.run_id, params=params)
            place.params = len(params)
        if place.ended and result is None:  # its record was damaged, and it runs again
            self._client.update_run(place.run_id, status="RUNNING")
            self._client.set_tag(place.run_id, "outcome", "running")
            place.ended = False
        for row in rows:
            if row["kimg"] > place.kimg:
                self._log(place, cell, row, started)
        if result and not place.ended:
            status = STATUS.get(result["outcome"], "FAILED")
            self._client.set_tag(place.run_id, "outcome", result["outcome"])
            self._client.set_terminated(place.run_id, status, milliseconds(result["ended"]))
            place.ended = True

    def _begin(self, cell: Cell) -> Place:
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
        return Place(self._create(cell.label, tags), images=set())

    def _log(self, place: Place, cell: Cell, row: Row, started: int) -> None:
        """One row and its sample grid, the grid first: the row says that both are there."""
        step, time = row["kimg"], moment(row, started)
        if place.images is None:
            files = self._client.list_artifacts(place.run_id, "images")
            found = [IMAGE.search(file.path) for file in files]
            place.images = {int(match[1]) for match in found if match}
        picture = self.records.cell_folder(cell.id) / "samples" / f"{step:06d}.png"
        if step not in place.images and picture.exists():
            with Image.open(io.BytesIO(store.read(picture))) as image:
                self._client.log_image(
                    place.run_id, image.copy(), key="samples", step=step, timestamp=time
                )
            place.images.add(step)
        self._client.log_batch(place.run_id, metrics=measured(row, started))
        place.kimg = step

    def _finish(
        self,
        places: dict[str, Place],
        report: Path | None,
        verdicts: dict[str, str],
        finished: bool,
    ) -> None:
        tags = [RunTag(f"claim.{claim}", verdict) for claim, verdict in verdicts.items()]
        if runs := [places[cell].run_id for cell in best_cells(self.records) if cell in places]:
            link = f"[the best cells compared]({compare_page(runs, self._experiment)})"
            title, noted = self.records.study()["title"], "mlflow.note.content"
            there = self._client.get_run(self._parent).data.tags.get(noted, title)
            if there == title or there.startswith(f"{title}: [the best"):  # else it is a user's own
                tags.append(RunTag(noted, f"{title}: {link}"))
        self._client.log_batch(self._parent, tags=tags)
        if report:
            self._client.log_text(self._parent, store.read(report).decode(), report.name)
        if finished:
            self._client.set_terminated(self._parent, "FINISHED")


def _place(run: Run) -> Place:
    return Place(
        run_id=run.info.run_id,
        kimg=int(run.data.metrics.get("kimg", -1)),
        params=len(run.data.params),
        ended=run.info.status in ("FINISHED", "FAILED"),
    )


def measured(row: Row, started: int, **of: str) -> list[Metric]:
    """A row as MLflow takes it, `of` a model and a data set where it is to be theirs too."""
    time = moment(row, started)
    return [Metric(key, value, time, row["kimg"], **of) for key, value in row.items()]


def moment(row: Row, started: int) -> int:
    """When a row was measured, in milliseconds: of the records alone, so that a row that is logged
    twice is one."""
    return started + int(row["seconds"] * 1000)


def first_start(records: Records, cell_id: str) -> int:
    """When a cell was first started, in milliseconds."""
    attempts = records.attempts(cell_id)
    return milliseconds(attempts[0]["started"]) if attempts else 0


def milliseconds(time: str) -> int:
    """A recorded time, as MLflow counts."""
    return int(datetime.datetime.fromisoformat(time).timestamp() * 1000)
