"""Kill a study at random until it ends, then compare it with one that ran through.

    python -m tests.chaos.kills [--study NAME] [--kills 50] [--seed 0] [--kimg 100] [--s3]
        [--storage DIR]

A tenth of the kills hit the driver when it starts, while judges are trained and references are
measured. Then workers, the driver and the raylet are killed by SIGKILL at random moments, also
during start-up. Whenever the driver has ended, the same command is started again. See `STUDIES` for
the studies. With --s3 the records of the killed study are in an S3-compatible store, SeaweedFS on
this machine, and those of the other one on the disk.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

from study.planning.mlflow_store import default_uri
from study.records import store
from study.records.records import Records
from tests.chaos.compare import compare
from tests.chaos.weed import Weed

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
GAP = (0.5, 12.0)  # seconds from one kill to the next
RESTARTED = "Ray died: it is started again, and the cells go on"


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


def phase(storage: Path, driver: subprocess.Popen[str]) -> str:
    """What a command was doing, as far as its files and processes show."""

    def cells(name: str) -> set[str]:
        return {path.parent.name for path in storage.glob(f"*/cells/*/{name}")}

    begun = cells("cell.json")
    unfinished = begun - cells("result.json")
    if not begun:
        return "before the first cell"
    if not victims("worker", driver):
        return "while it started again" if unfinished else "with no cell open"
    if cells("generator.pt") & unfinished:
        return "between a generator and its result"
    return "in a first tick" if unfinished - cells("ticks.json") else "in a later tick"


def run_through(storage: Path, kimg: int, study: str) -> None:
    process = start(storage, kimg, study=study)
    assert process.wait() == 0, (storage / "chaos.log").read_text()[-3000:]


def kill_at_start(storage: Path, kimg: int, kills: int, study: str, bucket: str) -> Counter[str]:
    """Kill the driver so many times, within eight seconds after it has read its images.

    Judges are trained then, references are measured, and Ray starts. In a store, it waits first
    until the command that was killed before counts as dead.

    Returns how often it was killed, and how often in which phase.
    """
    done, root = Counter[str](), store.folder(bucket) if bucket else storage
    log = storage / "chaos.log"
    for number in range(kills):
        process = start(storage, kimg, *in_store(storage, bucket), study=study)
        while log.read_text().count("images to train on") == number:
            assert process.poll() is None, log.read_text()[-3000:]
            time.sleep(0.05)
        time.sleep(0.1 + 8 * number / kills)
        assert process.poll() is None, log.read_text()[-3000:]
        done.update(["starts", "driver", phase(root, process)])
        process.kill()
        process.wait()
    return done


def in_store(storage: Path, bucket: str) -> list[str]:
    """The options of a command whose records are in a store, and MLflow's on the disk."""
    return ["--storage", bucket, "--tracking-uri", default_uri(storage)] if bucket else []


def run_with_kills(
    storage: Path, kimg: int, kills: int, seed: int, study: str, bucket: str = ""
) -> Counter[str]:
    """Run and kill a study until it ends by itself.

    The first kill hits a raylet while cells are running. The command must survive this by itself
    and accept another cell. The second kill hits the driver, after the driver started Ray again.
    Further kills are random. Every command after the first has a clock that is a year behind.

    Args:
        bucket: s3://BUCKET/PREFIX, where the records are in a store; empty: they are in `storage`.

    Returns: how many processes of each kind were killed, how many in which phase, and how many
        commands were started.
    """
    rng, done, seen = random.Random(seed), Counter[str](), dict[str, bytes]()
    root, options = store.folder(bucket) if bucket else storage, in_store(storage, bucket)
    log, process = storage / "chaos.log", start(storage, kimg, *options, study=study)
    due = time.monotonic()
    done["starts"], killed, next_kind, then = 1, set[str](), "raylet", 0
    while True:
        time.sleep(0.5 if bucket else 0.05)
        now = results(root)
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
            process = start(storage, kimg, *options, year_behind=True, study=study)
            killed = set()
            done["starts"] += 1
        total = sum(done[kind] for kind in KINDS)
        ready = total > 1 or len(seen) >= 2
        if total == 1:
            ready = len(seen) > then and RESTARTED in log.read_text()
        early = time.monotonic() < due or total == kills or not ready
        if early or not (targets := victims(next_kind, process)):
            continue
        assert total > 1 or "Traceback" not in log.read_text(), log.read_text()[-3000:]
        was = phase(root, process)
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended in the meantime
            rng.choice(targets).kill()
            done.update([next_kind, was])
            then = len(results(root))
            killed.add(next_kind)
            next_kind = rng.choice(KINDS) if total else "driver"
            due = time.monotonic() + rng.uniform(*GAP)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", choices=STUDIES, default=NAME)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kimg", type=int, default=100)
    parser.add_argument("--s3", action="store_true", help="keep the killed study in a store")
    parser.add_argument("--storage", type=Path, help="kept; default: a temporary one")
    asked = parser.parse_args()
    root = (asked.storage or Path(tempfile.mkdtemp())).resolve()
    through, killed, kept = (root / name for name in ("through", "killed", "store"))
    for folder in (through, killed, kept):
        folder.mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        if asked.s3:
            weed = Weed(kept)
            os.environ |= weed.env | {"HOME": str(root)}  # where caches are, beside a store
            stack.callback(weed.kill)
            weed.start()
        print(run_both(through, killed, "s3://studies/runs" if asked.s3 else "", asked))
    if asked.storage is None:
        shutil.rmtree(root)


def run_both(through: Path, killed: Path, bucket: str, asked: argparse.Namespace) -> str:
    """Run a study through, and again with kills, and compare. Returns what to say of it."""
    began = time.monotonic()
    run_through(through, asked.kimg, asked.study)
    alone, began = time.monotonic() - began, time.monotonic()
    early = kill_at_start(killed, asked.kimg, asked.kills // 10, asked.study, bucket)
    later = asked.kills - early["driver"]
    done = early + run_with_kills(killed, asked.kimg, later, asked.seed, asked.study, bucket)
    seconds, name = time.monotonic() - began, STUDIES[asked.study].split()[0]
    ours = Records((store.folder(bucket) if bucket else killed) / name)
    cells = compare(Records(through / name), ours, default_uri(through), default_uri(killed))
    if asked.study == NAME:
        stopped = (ours.cells()["outcome"] == "pruned").any()
        assert stopped, "nothing was stopped early: make it longer"
    kinds = ", ".join(f"{done.pop(kind, 0)} {kind}" for kind in KINDS)
    starts = done.pop("starts")
    phases = ", ".join(f"{count} {name}" for name, count in done.most_common())
    return (
        f"{asked.study}{' in S3' if bucket else ''}: {done.total()} kills ({kinds}; {phases}), "
        f"{starts} starts: {cells} cells equal byte for byte, MLflow's rows once each; "
        f"{seconds:.0f} s, without kills {alone:.0f} s"
    )


if __name__ == "__main__":
    main()
