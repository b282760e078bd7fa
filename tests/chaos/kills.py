"""Kill a study at random until it ends, then compare it with one that ran through.

    python -m tests.chaos.kills [--study NAME] [--kills 50] [--seed 0] [--kimg 100] [--storage DIR]

Workers, the driver and the raylet are killed by SIGKILL at random moments, also during start-up.
Whenever the driver has ended, the same command is started again. See `STUDIES` for the studies.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import psutil
from mlflow import MlflowClient

from study.planning.mlflow_store import default_uri
from study.records.columns import TIMING_COLUMNS, is_of_one_judge
from study.records.records import Records

NAME = "acgan_kmnist_classes"
# Beside scale, lengths and storage. The first has enough search cells for TPE to model what ended,
# and for early stopping; the others a population, a pool of fakes, growing networks, and looks.
STUDIES = {
    NAME: f"{NAME} --data kana --only classes=5 --trials 12",
    "egan": "egan_ring --seeds 8",
    "cyclegan": "cyclegan_kana --seeds 5",
    "pggan": "pggan_growth --seeds 5",
    "decide": "egan_ring --decide",
}
# Runs study.run under a clock that is a year behind.
CLOCK_A_YEAR_BEHIND = """
import datetime, runpy, time
from types import SimpleNamespace
from study.engine import schedule
from study.records import environment, lock
now, year = time.time, 365 * 86400
time.time = lambda: now() - year
class Past(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) - datetime.timedelta(seconds=year)
for module in (environment, lock, schedule):
    module.datetime = SimpleNamespace(datetime=Past, UTC=datetime.UTC)
runpy.run_module("study.run", run_name="__main__")
"""
KIMG = 4  # kimg of a cell in a study that tests start
KINDS = ("worker", "driver", "raylet")
INTERRUPTIONS = ("SIGINT to the group", "SIGINT twice")
GAP = (0.5, 16.0)  # seconds from one kill to the next
RESTARTED = "Ray died: it is started again, and the cells go on"
CLOCKED = {
    "seconds",
    "attempts",
    *(f"{at}/{name}" for at in ("last", "best") for name in TIMING_COLUMNS),
}


def command(storage: Path, kimg: int, *arguments: str, study: str = NAME) -> list[str]:
    """The command line of one of `STUDIES`, whose cells train for so many kimg."""
    lengths = f"--set kimg={kimg} --set tick_kimg={max(1, kimg // 10)}"
    if study == NAME:
        lengths += f" --set search_kimg={kimg}"
    words = f"{STUDIES[study]} --scale smoke {lengths}".split()
    return [sys.executable, "-m", "study.run", *words, "--storage", str(storage), *arguments]


def start(
    storage: Path, kimg: int, *arguments: str, year_behind: bool = False, study: str = NAME
) -> subprocess.Popen[str]:
    log = (storage / "chaos.log").open("a")
    line = command(storage, kimg, *arguments, study=study)
    if year_behind:
        line = [sys.executable, "-c", CLOCK_A_YEAR_BEHIND, *line[3:]]  # what follows "-m study.run"
    return subprocess.Popen(line, stdout=log, stderr=log, text=True, start_new_session=True)


def victims(kind: str, driver: subprocess.Popen[str]) -> list[psutil.Process]:
    """The living processes of a kind that a driver started; for "driver", the driver itself."""
    try:
        own = psutil.Process(driver.pid)
        below = own.children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    if kind == "driver":
        return [own]
    words = {"worker": ("ray::StudyTrial", "ray::ResourceTr"), "raylet": ("raylet",)}[kind]
    found = []
    for process in below:
        try:
            if process.name().startswith(words) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def results(storage: Path) -> dict[str, bytes]:
    found = storage.glob("*/cells/*/result.json")
    return {path.parent.name: path.read_bytes() for path in found}


def run_through(storage: Path, kimg: int, study: str) -> None:
    process = start(storage, kimg, study=study)
    assert process.wait() == 0, (storage / "chaos.log").read_text()[-3000:]


@dataclass
class Interrupted:
    """What was seen of a command that was interrupted."""

    code: int
    said: str
    seconds: float  # from the last signal to the command's end
    alive: list[psutil.Process]  # processes that it left behind
    before: dict[str, bytes]  # results when it started
    kept: dict[str, bytes]  # results when it had ended


def family(running: subprocess.Popen[str]) -> list[psutil.Process]:
    """The command and all that it started."""
    own = psutil.Process(running.pid)
    return [own, *own.children(recursive=True)]


def interrupt(storage: Path, kimg: int, how: str) -> Interrupted:
    """Go on with the study until another cell is accepted, then interrupt the command."""
    log, before = storage / "chaos.log", results(storage)
    log.touch()
    begin, running = log.stat().st_size, start(storage, kimg)
    while len(results(storage)) == len(before):
        assert running.poll() is None, log.read_text()[-3000:]
        time.sleep(0.05)
    ours, began = family(running), time.monotonic()
    if how == "SIGINT twice":
        for process in ours[1:]:  # suspended workers do not answer: the first signal has to wait
            if process.name().startswith("ray::"):
                process.suspend()
        running.send_signal(signal.SIGINT)
        time.sleep(1)
        assert running.poll() is None, "the first signal did not wait for the cells"
        began = time.monotonic()
        running.send_signal(signal.SIGINT)
    else:
        os.killpg(running.pid, signal.SIGINT)
    code, seconds = running.wait(45), time.monotonic() - began
    _, alive = psutil.wait_procs(ours, timeout=10)
    said = log.read_bytes()[begin:].decode()
    return Interrupted(code, said, seconds, alive, before, results(storage))


def run_with_kills(storage: Path, kimg: int, kills: int, seed: int, study: str) -> Counter[str]:
    """Run and kill a study until it ends by itself.

    The first kill hits a raylet while cells are running. The command must survive this by itself
    and accept another cell. The second kill hits the driver, after the driver started Ray again.
    Further kills are random. Every command after the first has a clock that is a year behind.

    Returns how many processes of each kind were killed, and how many commands were started.
    """
    rng, done, seen = random.Random(seed), Counter[str](), dict[str, bytes]()
    log, process = storage / "chaos.log", start(storage, kimg, study=study)
    due = time.monotonic()
    done["starts"], killed, next_kind, then = 1, set[str](), "raylet", 0
    while True:
        time.sleep(0.05)
        now = results(storage)
        changed = [cell for cell, content in seen.items() if now.get(cell) != content]
        assert not changed, f"accepted results were lost or changed: {changed}"
        seen = now
        if process.poll() is not None:
            if process.returncode == 0:
                return done
            ends = {-signal.SIGKILL} if "driver" in killed else set()
            if "raylet" in killed and done["driver"]:  # Ray ends a driver that is just starting
                ends |= {1}
            tail = log.read_text()[-3000:]
            assert process.returncode in ends, f"exit {process.returncode}: {tail}"
            process, killed = start(storage, kimg, year_behind=True, study=study), set()
            done["starts"] += 1
        total = sum(done[kind] for kind in KINDS)
        ready = total > 1 or len(seen) >= 2
        if total == 1:
            ready = len(seen) > then and RESTARTED in log.read_text()
        early = time.monotonic() < due or total == kills or not ready
        if not early and (targets := victims(next_kind, process)):
            assert total > 1 or "Traceback" not in log.read_text(), log.read_text()[-3000:]
            os.kill(rng.choice(targets).pid, signal.SIGKILL)
            then = len(results(storage))
            done[next_kind] += 1
            killed.add(next_kind)
            next_kind = rng.choice(KINDS) if total else "driver"
            due = time.monotonic() + rng.uniform(*GAP)


def table(records: Records) -> bytes:
    """The accepted records as CSV, without the columns that depend on the clock."""
    cells, ticks = records.tables()
    frames = (
        cells.drop(columns=[c for c in cells if c in CLOCKED]),
        ticks.drop(columns=[c for c in TIMING_COLUMNS if c in ticks]),
    )
    return b"".join(frame.to_csv(index=False).encode() for frame in frames)


def mlflow_rows(uri: str, name: str = NAME) -> Counter[tuple[str, str, int]]:
    """How often each (cell, metric, step) is in MLflow.

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


def compare(through: Path, killed: Path, study: str = NAME) -> int:
    """Refuse any difference between the two studies. Returns the number of accepted cells."""
    name = STUDIES[study].split()[0]
    cells, ticks = Records(killed / name).tables()
    assert not cells["id"].duplicated().any()
    assert set(cells["id"]) == set(Records(through / name).cells()["id"]), "cells lost or others"
    if study == NAME:
        assert (cells["outcome"] == "pruned").any(), "nothing was stopped early: make it longer"
    assert not ticks.duplicated(["id", "kimg"]).any(), "duplicate ticks"
    assert table(Records(killed / name)) == table(Records(through / name)), "the tables differ"
    for storage in (through, killed):
        rows = mlflow_rows(default_uri(storage), name)
        assert rows == recorded_rows(Records(storage / name)), f"MLflow differs in {storage}"
    return len(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", choices=STUDIES, default=NAME)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kimg", type=int, default=100)
    parser.add_argument("--storage", type=Path, help="kept; default: a temporary one")
    asked = parser.parse_args()
    root = asked.storage or Path(tempfile.mkdtemp())
    through, killed = root / "through", root / "killed"
    through.mkdir(parents=True)
    began = time.monotonic()
    run_through(through, asked.kimg, asked.study)
    alone = time.monotonic() - began
    shutil.copytree(through / "cache", killed / "cache")
    began = time.monotonic()
    done = run_with_kills(killed, asked.kimg, asked.kills, asked.seed, asked.study)
    seconds = time.monotonic() - began
    cells = compare(through, killed, asked.study)
    kinds = ", ".join(f"{done[kind]} {kind}" for kind in KINDS)
    print(
        f"{asked.study}: {sum(done[kind] for kind in KINDS)} kills ({kinds}), {done['starts']} "
        f"starts: {cells} cells equal byte for byte, MLflow's rows once each; "
        f"{seconds:.0f} s, without kills {alone:.0f} s"
    )
    if asked.storage is None:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
