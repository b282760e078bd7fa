"""MLflow's server hangs, and later dies, in the middle of a study. The study must not wait for it.

Where this fails, MLflow slows a study down, or points are missing or doubled in MLflow's runs.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow import MlflowClient
from PIL import Image

from study.records.files import write_json
from study.records.records import Records
from study.tracking.mlflow_mirror import Mirror
from tests.chaos.compare import mlflow_rows, recorded_rows
from tests.study import tiny

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(300)]

CELLS, TICKS, TICK = 8, 5, 0.5  # cells, ticks of a cell, seconds between ticks


class Server:
    """A real MLflow server, on SQLite."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.command = [sys.executable, "-m", "mlflow", "server", "--port", str(self.port)]
        self.command += ["--host", "127.0.0.1", "--workers", "1"]
        self.command += ["--backend-store-uri", f"sqlite:///{folder}/server.db"]
        self.command += ["--artifacts-destination", str(folder / "artifacts")]

    def start(self) -> None:
        quiet = subprocess.DEVNULL
        # Leave out MLflow's job runners: they are seven more processes, and no study needs them.
        light = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        self.process = subprocess.Popen(
            self.command, stdout=quiet, stderr=quiet, start_new_session=True, env=light
        )

    def wait(self) -> None:
        until = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=1):
                    return
            except OSError:
                assert time.monotonic() < until, "the server does not start"
                time.sleep(0.2)

    def send(self, number: signal.Signals) -> None:
        os.killpg(self.process.pid, number)


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    server = Server(folder)
    server.start()
    try:
        server.wait()
        yield server
    finally:
        server.send(signal.SIGKILL)
        server.process.wait()


def test_outage_slows_the_study_or_loses_rows(tmp_path: Path) -> None:
    plan = tiny.plan(budget_=tiny.budget(seeds=CELLS))
    records = tiny.begin(Records(tmp_path / "tiny"), plan)
    cells = plan.confirm_cells("classes=2", plan.hyperparameters("classes=2"))
    with serving(tmp_path) as server:
        mirror = Mirror(server.uri, tmp_path, records)
        start, slowest = time.monotonic(), 0.0
        for n, cell in enumerate(cells):
            if n == 1:
                server.send(signal.SIGSTOP)
            if n == 3:
                server.send(signal.SIGCONT)
            if n == 5:
                server.send(signal.SIGKILL)
            if n == 7:
                server.process.wait()
                server.start()
            folder = records.cell_folder(cell.id)
            attempts = [{"started": "2026-01-02T03:00:00+00:00", "run": 0, "error": None}]
            write_json(folder / "attempts.json", attempts)
            for kimg in range(TICKS):
                due = start + (n * TICKS + kimg + 1) * TICK
                time.sleep(max(0.0, due - time.monotonic()))
                (folder / "samples").mkdir(exist_ok=True)
                Image.new("L", (9, 9)).save(folder / "samples" / f"{kimg:06d}.png")
                tiny.write_cell(records, cell, tiny.rows(*range(9, 8 - kimg, -1)), None)
                if kimg == TICKS - 1:
                    end = {"outcome": "complete", "seconds": 1.0, "attempts": 1}
                    end |= {"ended": "2026-01-02T04:00:00+00:00"}
                    records.accept(cell.id, end)
                before = time.monotonic()
                mirror.touch(cell.id)
                slowest = max(slowest, time.monotonic() - before)
        seconds = time.monotonic() - start
        server.wait()
        mirror.close(None, {}, True)
        assert mirror.problem is None
        assert slowest < 0.05
        assert seconds < 1.05 * CELLS * TICKS * TICK
        rows = mlflow_rows(server.uri, "tiny")
        assert rows == recorded_rows(records)
        assert {cell for cell, _, _ in rows} == set(records.ids())
        assert images(server.uri) == dict.fromkeys(records.ids(), TICKS)


def images(uri: str) -> dict[str, int]:
    """How many sample grids each cell's run has."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.cell != ''")
    files = {
        run.data.tags["cell"]: client.list_artifacts(run.info.run_id, "images") for run in runs
    }
    return {
        cell: sum(file.path.endswith(".png") for file in found) for cell, found in files.items()
    }
