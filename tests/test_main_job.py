"""The main job at its smallest, by the command that a user types: killed, gone on with, repeated.

Where these fail, `python -m study.run` does not end, repeats work, or loses it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import psutil
import pytest
from mlflow import MlflowClient

from study.records import Records
from study.tracking import default_uri

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

NAME = "acgan_kmnist_classes"
CELLS = 14  # 3 conditions x 2 search cells + 2 seeds of the reference; the best comes on top


def start(storage: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "study.run", NAME, "--scale", "smoke", "--data", "kana"]
    return subprocess.Popen(
        [*command, "--storage", str(storage), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def results(storage: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and time of every accepted cell's result."""
    found = storage.glob(f"{NAME}/cells/*/result.json")
    return {path.parent.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


def wait_for(storage: Path, count: int, running: subprocess.Popen[str]) -> None:
    while len(results(storage)) < count:
        assert running.poll() is None, running.communicate()
        time.sleep(0.05)


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run killed half-way, then gone on with to its end."""
    folder = tmp_path_factory.mktemp("main_job")
    running = start(folder)
    wait_for(folder, 4, running)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    before = results(folder)
    assert 4 <= len(before) < CELLS
    again = start(folder)
    out, err = again.communicate()
    assert again.returncode == 0, err
    assert "Traceback" not in err
    after = results(folder)
    assert before.items() <= after.items(), "a finished cell was run again"
    assert f"[{len(after):>3}/" in out
    for line in ("claims", "A1", "report: ", "mlflow: python -m study.ui"):
        assert line in out
    return folder


def test_cell_is_lost_or_repeated(storage: Path) -> None:
    records = Records(storage / NAME)
    cells, ticks = records.cells(), records.ticks()
    assert set(cells["outcome"]) <= {"complete", "pruned"}
    counts = Counter(zip(cells["condition"], cells["phase"], strict=True))
    for condition in ("classes=5", "classes=10", "classes=49"):
        assert counts[condition, "search"] == 2
        assert counts[condition, "confirm"] in (2, 4)  # 2: the reference was the best
    whole = cells[cells["outcome"] == "complete"]
    assert set(ticks.groupby("id")["kimg"].apply(tuple)[whole["id"]]) == {(0, 1)}
    assert pd.read_csv(storage / NAME / "cells.csv")["id"].tolist() == cells["id"].tolist()


def test_mlflow_differs_from_the_records(storage: Path) -> None:
    records, client = Records(storage / NAME), MlflowClient(default_uri(storage))
    experiment = client.get_experiment_by_name(NAME)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    children = [run for run in runs if "cell" in run.data.tags]
    assert sorted(run.data.tags["cell"] for run in children) == records.ids()
    assert len(runs) == len(children) + 1
    for run in children:
        rows = records.rows(run.data.tags["cell"])
        points = Counter(
            (metric.key, metric.step)
            for key in run.data.metrics
            for metric in client.get_metric_history(run.info.run_id, key)
        )
        assert points == Counter((key, row["kimg"]) for row in rows for key in row)
        assert run.info.status == "FINISHED"


def test_finished_study_starts_something(storage: Path) -> None:
    before = results(storage)
    began = time.monotonic()
    again = start(storage)
    out, err = again.communicate()
    assert again.returncode == 0, err
    assert "every cell is accepted, nothing to run" in out
    assert results(storage) == before
    assert time.monotonic() - began < 60  # 15 on a machine with nothing else to do


def family(running: subprocess.Popen[str]) -> list[psutil.Process]:
    """The command and all that it started."""
    own = psutil.Process(running.pid)
    return [own, *own.children(recursive=True)]


def interrupted(running: subprocess.Popen[str], ours: list[psutil.Process]) -> str:
    """It ends within seconds, with all that it started; what it printed."""
    out, err = running.communicate(timeout=45)
    assert running.returncode == 130, err
    assert "Traceback" not in err + out
    _, alive = psutil.wait_procs(ours, timeout=10)
    assert not alive
    return out


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "SIGTERM to the group"])
def test_interrupted_run_leaves_processes_or_loses_cells(
    storage: Path, tmp_path: Path, how: str
) -> None:
    """timeout(1), systemd and batch systems signal the whole group: Ray must not hear of it."""
    shutil.copytree(storage / "cache", tmp_path / "cache")
    running = start(tmp_path)
    wait_for(tmp_path, 2, running)
    ours = family(running)
    if how == "SIGTERM to the group":
        os.killpg(running.pid, signal.SIGTERM)
    else:
        running.send_signal(signal.Signals[how])
    out = interrupted(running, ours)
    assert "report: " in out
    assert "interrupted; the same command goes on" in out
    assert "Ray died" not in out
    before = results(tmp_path)
    again = start(tmp_path)
    _, err = again.communicate()
    assert again.returncode == 0, err
    assert before.items() <= results(tmp_path).items()


def test_second_signal_is_not_heard(storage: Path, tmp_path: Path) -> None:
    """Who asks twice does not want to wait for checkpoints."""
    shutil.copytree(storage / "cache", tmp_path / "cache")
    running = start(tmp_path, "--set", "kimg=500", "--set", "tick_kimg=500")
    while not list(tmp_path.glob(f"{NAME}/cells/*/ticks.json")):
        assert running.poll() is None, running.communicate()
        time.sleep(0.05)
    ours = family(running)
    for process in ours[1:]:  # none of them answers, so that the first signal has to wait
        if process.name().startswith("ray::"):
            process.suspend()
    began = time.monotonic()
    running.send_signal(signal.SIGINT)
    time.sleep(1)
    assert running.poll() is None
    running.send_signal(signal.SIGINT)
    interrupted(running, ours)
    assert time.monotonic() - began < 5


def test_continued_cell_differs_from_one_run_through(storage: Path) -> None:
    """--verify runs a cell again: one that the kill half-way hit, and two others."""
    records = Records(storage / NAME)
    attempts = {cell: len(records.attempts(cell)) for cell in records.ids()}
    killed = max(attempts, key=lambda cell: attempts[cell])
    assert attempts[killed] > 1, "the kill hit no cell"
    before = results(storage)
    for cell in [killed, *(cell for cell in records.ids() if cell != killed)][:3]:
        run = start(storage, "--verify", cell)
        out, err = run.communicate()
        assert run.returncode == 0, err + out
        assert f"{cell} (" in out
        assert "equal, all 2 rows" in out
    assert results(storage) == before


def test_larger_number_of_seeds_repeats_cells(storage: Path, tmp_path: Path) -> None:
    """A finished study can grow: what is there stays as it is."""
    copy = tmp_path / "runs"
    shutil.copytree(storage, copy)
    before = results(copy)
    grown = start(copy, "--seeds", "3", "--only", "classes=5")
    _, err = grown.communicate()
    assert grown.returncode == 0, err
    after = results(copy)
    assert before.items() <= after.items()
    assert len(after) - len(before) in (1, 2)
