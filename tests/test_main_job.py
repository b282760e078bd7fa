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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import psutil
import pytest

from study.planning.mlflow_store import default_uri
from study.records.records import Records
from tests.chaos.kills import mlflow_rows, recorded_rows

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


# How a run is ended, one after the other in one folder, as soon as it has accepted a cell.
ENDS = ("SIGKILL", "SIGINT", "SIGTERM", "SIGTERM to the group")


@dataclass
class End:
    """What was seen of a run that was ended."""

    code: int
    said: str  # to stdout and stderr
    alive: list[psutil.Process]  # of those it had started
    before: int  # accepted cells when it started
    kept: dict[str, tuple[bytes, int]]  # results when it had ended
    cut: list[str]  # ids of cells that it had begun and not finished


def family(running: subprocess.Popen[str]) -> list[psutil.Process]:
    """The command and all that it started."""
    own = psutil.Process(running.pid)
    return [own, *own.children(recursive=True)]


def end(storage: Path, how: str) -> End:
    """Run until another cell is accepted, then end the run."""
    before, running = len(results(storage)), start(storage)
    wait_for(storage, before + 1, running)
    ours = family(running)
    if how == "SIGTERM to the group":
        os.killpg(running.pid, signal.SIGTERM)
    else:
        running.send_signal(signal.Signals[how])
    out, err = running.communicate(timeout=45)
    _, alive = psutil.wait_procs(ours, timeout=10)
    kept = results(storage)
    cut = [cell for cell in Records(storage / NAME).ids() if cell not in kept]
    return End(running.returncode, out + err, alive, before, kept, cut)


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory, warm: Callable[[Path], Path]) -> Path:
    return warm(tmp_path_factory.mktemp("main_job"))


@pytest.fixture(scope="module", autouse=True)
def ends(storage: Path) -> dict[str, End]:
    """The study, ended in each way and gone on with by the same command, at last to its end."""
    found = {how: end(storage, how) for how in ENDS}
    last = start(storage)
    out, err = last.communicate()
    assert last.returncode == 0, err
    assert "Traceback" not in err
    assert f"[{len(results(storage)):>3}/" in out
    for line in ("claims", "A1", "report: ", "mlflow: python -m study.ui"):
        assert line in out
    return found


@pytest.mark.parametrize("how", ENDS)
def test_ended_run_loses_or_repeats_cells(storage: Path, ends: dict[str, End], how: str) -> None:
    kept = ends[how].kept
    assert ends[how].before < len(kept) < CELLS
    assert kept.items() <= results(storage).items(), "a finished cell was run again"


@pytest.mark.parametrize("how", [how for how in ENDS if how != "SIGKILL"])
def test_interrupted_run_leaves_processes(ends: dict[str, End], how: str) -> None:
    """timeout(1), systemd and batch systems signal the whole group: Ray must not hear of it."""
    assert ends[how].code == 130, ends[how].said
    assert not ends[how].alive
    said = ends[how].said
    assert "report: " in said
    assert "interrupted; the same command goes on" in said
    assert "Ray died" not in said
    assert "Traceback" not in said


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
    records = Records(storage / NAME)
    rows = mlflow_rows(default_uri(storage), NAME)
    assert rows == recorded_rows(records)
    assert {cell for cell, _, _ in rows} == set(records.ids())


def test_finished_study_starts_something(storage: Path) -> None:
    before = results(storage)
    began = time.monotonic()
    again = start(storage)
    out, err = again.communicate()
    assert again.returncode == 0, err
    assert "every cell is accepted, nothing to run" in out
    assert results(storage) == before
    assert time.monotonic() - began < 60  # 15 on a machine with nothing else to do


def test_second_signal_is_not_heard(tmp_path: Path, warm: Callable[[Path], Path]) -> None:
    """Who asks twice does not want to wait for checkpoints."""
    warm(tmp_path)
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
    out, err = running.communicate(timeout=45)
    assert running.returncode == 130, err
    assert "Traceback" not in err + out
    assert not psutil.wait_procs(ours, timeout=10)[1]
    assert time.monotonic() - began < 5


def test_continued_cell_differs_from_one_run_through(storage: Path, ends: dict[str, End]) -> None:
    """--verify runs a cell again: one that was killed half-way."""
    killed, before = ends["SIGKILL"].cut[0], results(storage)
    assert len(Records(storage / NAME).attempts(killed)) > 1
    run = start(storage, "--verify", killed)
    out, err = run.communicate()
    assert run.returncode == 0, err + out
    assert f"{killed} (" in out
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
