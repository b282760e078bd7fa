"""Mirrors the records in MLflow: a parent run per study, and a child run per cell.

A thread of the driver copies what the records hold and MLflow lacks. So a slow or absent server
neither stops nor slows a trial. What could not be copied is copied at the next opportunity.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# By default MLflow retries a request seven times with growing pauses. Here the next sync retries.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # hides a line per run

from mlflow import MlflowClient
from mlflow.entities import Param, Run, RunTag

from study.planning.cells import Cell
from study.planning.mlflow_store import follow
from study.records import store
from study.records.records import Records, Row
from study.tracking import database, images
from study.tracking.cell_runs import RunProgress, all_runs, experiment_of, progress_of
from study.tracking.compare import best_cells, compare_page
from study.tracking.rows import batches, first_start, measured, milliseconds, moment

logging.getLogger("mlflow").setLevel(logging.WARNING)  # hides what it logs of its migrations

# Seconds for which a mirror that closes tries a failing MLflow again, since it last took something.
PATIENCE = 10
# Seconds for which the mirror gathers what is new, so that short cells cost few transactions.
LAG = 2.0
STATUS = {"complete": "FINISHED", "pruned": "FINISHED"}  # every other end is FAILED


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
        # By cell id; None: must be read from MLflow first.
        self._progress: dict[str, RunProgress] | None = None
        self._runs = True  # whether the parent run is shown as running
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.is_slow = False  # whether `close` gave up waiting, and there was no error
        self._closing, self._abandoned = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="mlflow mirror", daemon=True)
        self._thread.start()

    def touch(self, cell_id: str) -> None:
        """Tell the mirror that a cell has something new on record. Returns at once."""
        self._queue.put(cell_id)

    def close(
        self,
        report: Path | None,
        verdicts: dict[str, str],
        finished: bool,
        seconds: float | None = None,
    ) -> None:
        """Copy what MLflow lacks of all cells, the verdicts and the report, and wait for it.

        The verdicts, the report and the best cells come first, then all other cells, so that a
        store that is far behind has what matters most. What it has stays there: the next mirror
        goes on with the rest.

        Args:
            verdicts: by claim id.
            finished: whether the study is finished, as the status of the parent run shows once
                every cell is there.
            seconds: how long to wait; None: until everything is there.
        """
        self._end = (report, verdicts, finished)
        self._patient_until = time.monotonic() + PATIENCE
        self._closing.set()
        self._queue.put(None)
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._abandoned.set()
            self.is_slow = self.problem is None
            cells = f", {len(self._behind)} cells are not up to date there" if self._behind else ""
            self.problem = self.problem or f"it did not take everything within {seconds:g} s{cells}"

    def _gather(self) -> list[str | None]:
        """What was put into the queue, with all that follows within LAG seconds."""
        waiting = [self._queue.get()]
        until = time.monotonic() + LAG
        while None not in waiting and (left := until - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                waiting.append(self._queue.get(timeout=left))
        return waiting

    def _work(self) -> None:
        closing = False
        # Where MLflow makes its tables, this takes seconds. Ray starts meanwhile.
        with contextlib.suppress(Exception):  # it is tried again below, and said there
            self._progress = self._connect()
        while not closing:
            waiting = self._gather()
            closing = None in waiting
            self._behind |= {cell_id for cell_id in waiting if cell_id is not None}
            problem = None
            try:
                if self._progress is None:
                    self._progress = self._connect()
                if closing:
                    problem = self._close(self._progress)
                else:
                    if not self._runs:  # the study was finished, and has grown
                        self._client.update_run(self._parent, status="RUNNING")
                        self._runs = True
                    problem = self._copy(self._progress, sorted(self._behind))
            except Exception as error:  # no error of MLflow's may reach the study
                self._progress = None
                problem = f"{type(error).__name__}: {error}".splitlines()[0]
            self.problem = problem
            if closing and problem and time.monotonic() < self._patient_until:
                closing = False
                time.sleep(0.5)
                self._queue.put(None)

    def _copy(self, progress: dict[str, RunProgress], cells: Iterable[str]) -> str | None:
        """Bring the runs of cells up to their records. Returns why one could not be read, if so.

        While a study runs, this stops as soon as the mirror is to be closed.
        """
        problem, interrupted = None, not self._closing.is_set()
        for cell_id in cells:
            if self._abandoned.is_set() or (interrupted and self._closing.is_set()):
                break
            try:
                read = self._read(cell_id)
            except (OSError, ValueError) as error:  # copy the other cells all the same
                problem = f"{cell_id}: {error}".splitlines()[0]
                continue
            self._sync(progress, *read)
            self._behind.discard(cell_id)
            self._patient_until, self.problem = time.monotonic() + PATIENCE, None
        return problem

    def _close(self, progress: dict[str, RunProgress]) -> str | None:
        report, verdicts, finished = self._end
        for cell_id in self.records.ids():
            run, result = progress.get(cell_id), self.records.result(cell_id)
            if run is None or result is None or run.ended != milliseconds(result["ended"]):
                self._behind.add(cell_id)
        first, best = None, list[str]()
        try:
            best = best_cells(self.records)
        except (OSError, ValueError) as error:  # a damaged record, which keeps nothing else back
            first = str(error).splitlines()[0]
        first = self._copy(progress, [cell for cell in best if cell in self._behind]) or first
        self._describe([progress[cell].run_id for cell in best if cell in progress], verdicts)
        if report:
            self._client.log_text(self._parent, store.read(report).decode(), report.name)
        problem = self._copy(progress, sorted(self._behind)) or first
        if problem is None and not self._abandoned.is_set():
            if finished:
                self._client.set_terminated(self._parent, "FINISHED")
            else:
                self._client.update_run(self._parent, status="RUNNING")
        return problem

    def _connect(self) -> dict[str, RunProgress]:
        """Find or make the experiment and the parent run. Returns every run's progress by cell."""
        database.make(self.uri)
        if store.is_local(self.storage):
            follow(self.uri, self.storage)
        client = self._client = MlflowClient(self.uri)
        name, study = self.records.folder.name, self.records.study()
        local = self.uri.startswith("sqlite:")
        artifacts = (self.storage.resolve() / "mlartifacts").as_uri() if local else None
        self._experiment = experiment_of(client, name, artifacts)
        self._common = {
            "folder": study["folder"],
            "data": study["definition"]["data"],
            "git_commit": study["runs"][-1]["git_commit"],
            "code": study["runs"][-1]["code"],
        }
        runs: dict[str, Run] = {}  # by cell id; "" is the parent run
        for run in all_runs(client, self._experiment, study["folder"]):
            key = run.data.tags.get("cell", "")
            if key in runs:  # made twice: the first request had failed here, but not in MLflow
                client.delete_run(run.info.run_id)
            runs.setdefault(key, run)
        parent = runs.pop("", None)
        if parent is None:
            tags = {"study": name, "mlflow.note.content": study["title"], **self._common}
            self._parent = self._create(name, tags)
        else:
            self._parent, self._runs = parent.info.run_id, parent.info.status == "RUNNING"
        return {cell_id: progress_of(run) for cell_id, run in runs.items()}

    def _create(self, name: str, tags: dict[str, str]) -> str:
        return str(self._client.create_run(self._experiment, tags=tags, run_name=name).info.run_id)

    def _read(self, cell_id: str) -> tuple[Cell, list[Row], dict[str, Any] | None, int]:
        """A cell, its rows, its result, and the time of its first start in milliseconds."""
        cell = Cell.from_json(self.records.cell(cell_id))
        started = first_start(self.records, cell_id)
        result = self.records.result(cell_id)  # before the rows, which are whole if there is one
        return cell, self.records.rows(cell_id), result, started

    def _sync(
        self,
        progress: dict[str, RunProgress],
        cell: Cell,
        rows: list[Row],
        result: dict[str, Any] | None,
        started: int,
    ) -> None:
        """Bring one run up to its records. Log only rows above the highest kimg that it has."""
        outcome = result["outcome"] if result else "running"
        mirrored = progress.get(cell.id)
        if mirrored and mirrored.started != started:  # it failed and begins anew
            self._client.delete_run(mirrored.run_id)
            mirrored = None
        mirrored = progress[cell.id] = mirrored or self._begin(cell, outcome, started)
        end = milliseconds(result["ended"]) if result else None
        if mirrored.ended not in (None, end):  # its record was damaged, so the cell ran again
            self._client.update_run(mirrored.run_id, status="RUNNING")
            mirrored.ended = None
        values = {**cell.condition, **cell.hyperparameters}
        params = [Param(key, str(value)) for key, value in values.items()]
        if mirrored.params >= len(params):
            params = []
        new = [row for row in rows if row["kimg"] > mirrored.kimg]
        self._log_images(mirrored, cell, new, started)
        tags = [] if mirrored.outcome == outcome else [RunTag("outcome", outcome)]
        if new and mirrored.images:
            tags.append(images.LOGGED)
        for part in batches(new):
            metrics = [metric for row in part for metric in measured(row, started)]
            if metrics or params or tags:
                self._client.log_batch(mirrored.run_id, metrics, params, tags)
            mirrored.kimg = part[-1]["kimg"] if part else mirrored.kimg
            mirrored.params, mirrored.outcome = len(values), outcome
            params, tags = [], []
        if end is not None and mirrored.ended is None:
            status = STATUS.get(outcome, "FAILED")
            self._client.set_terminated(mirrored.run_id, status, end)
            mirrored.ended = end

    def _begin(self, cell: Cell, outcome: str, started: int) -> RunProgress:
        tags = {
            "mlflow.parentRunId": self._parent,
            "cell": cell.id,
            "condition": cell.condition_name,
            "phase": cell.phase,
            "seed": str(cell.seed),
            "outcome": outcome,
            "started": str(started),
            **self._common,
        }
        if cell.configuration:
            tags["configuration"] = cell.configuration
        run_id = self._create(cell.label, tags)
        return RunProgress(run_id, outcome=outcome, started=started, images=set())

    def _log_images(self, mirrored: RunProgress, cell: Cell, rows: list[Row], started: int) -> None:
        """Log sample grids before their rows. So a row in MLflow means that both are there."""
        if not rows:
            return
        if mirrored.images is None:
            mirrored.images = images.logged(self._client, mirrored.run_id)
        missing = [row for row in rows if row["kimg"] not in mirrored.images]
        moments = {row["kimg"]: moment(row, started) for row in missing}
        mirrored.images |= images.log_grids(
            self._client, mirrored.run_id, self.records, cell.id, moments
        )

    def _describe(self, runs: list[str], verdicts: dict[str, str]) -> None:
        """Tag the parent run with the verdicts, and link to the comparison of the best runs."""
        tags = [RunTag(f"claim.{claim}", verdict) for claim, verdict in verdicts.items()]
        if runs:
            link = f"[the best cells compared]({compare_page(runs, self._experiment)})"
            title, noted = self.records.study()["title"], "mlflow.note.content"
            there = self._client.get_run(self._parent).data.tags.get(noted, title)
            # Any other note is a user's and stays.
            if there == title or there.startswith(f"{title}: [the best"):
                tags.append(RunTag(noted, f"{title}: {link}"))
        self._client.log_batch(self._parent, tags=tags)
