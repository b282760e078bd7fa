"""Times a command up to its first new tick, with 10, 100 and 1,000 finished cells on record.

    python -m tests.benchmarks.bench_resume [--repeats 5]

The finished cells are copies of a real one with other hyperparameters, from the study's own space.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import optuna
import psutil

import search_spaces
from study.planning.cells import Cell
from study.records.files import write_json
from study.records.records import Records

NAME, COUNTS = "acgan_kmnist_classes", (10, 100, 1000)


def command(storage: Path, trials: int) -> list[str]:
    head = [sys.executable, "-m", "study.run", NAME, "--scale", "smoke", "--data", "kana"]
    return [*head, "--only", "classes=5", "--trials", str(trials), "--storage", str(storage)]


def grow(records: Records, count: int) -> None:
    """Add finished search cells to the records, until there are `count` of them."""
    space = search_spaces.load(NAME).space
    assert space is not None
    heads = [records.cell(cell_id) for cell_id in records.ids()]
    model = next(head for head in heads if head["phase"] == "search" and head["number"] == 1)
    source = records.cell_folder(model["id"])
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for number in range(2, count):
        trial = study.ask()
        values = model["hyperparameters"] | space(trial)
        changes = {"number": number, "seed": 1000 + number, "hyperparameters": values}
        cell = Cell.from_json(model | changes | {"suggested": trial.params})
        folder = records.cell_folder(cell.id)
        shutil.copytree(source, folder)
        write_json(folder / "cell.json", json.loads(json.dumps(cell.as_json())))


def measure(storage: Path, count: int) -> float:
    """Seconds until a cell that is not on record has its first tick."""
    known = set(Records(storage / NAME).ids())
    start = time.monotonic()
    log = (storage / "log").open("w")
    line = command(storage, count + 1)
    running = subprocess.Popen(line, stdout=log, stderr=log, start_new_session=True)
    while not any(
        path.parent.parent.name not in known
        for path in (storage / NAME).glob("cells/*/samples/000000.png")
    ):
        assert running.poll() is None, (storage / "log").read_text()[-3000:]
        time.sleep(0.02)
    seconds = time.monotonic() - start
    workers = psutil.Process(running.pid).children(recursive=True)
    running.kill()
    running.wait()
    for worker in workers:  # they would finish the cell that is removed below
        with contextlib.suppress(psutil.NoSuchProcess):
            worker.kill()
    psutil.wait_procs(workers)
    for cell_id in Records(storage / NAME).ids():
        if cell_id not in known:
            shutil.rmtree(storage / NAME / "cells" / cell_id)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch) / "base"
        subprocess.run(command(base, 2), check=True, stdout=subprocess.DEVNULL)
        for count in COUNTS:
            shutil.copytree(base, Path(scratch) / str(count))
            grow(Records(Path(scratch) / str(count) / NAME), count)
        seconds: dict[int, list[float]] = {count: [] for count in COUNTS}
        for _ in range(repeats):  # alternating
            for count in COUNTS:
                seconds[count].append(measure(Path(scratch) / str(count), count))
    medians = {count: statistics.median(values) for count, values in seconds.items()}
    for count, value in medians.items():
        print(f"{count:5} finished cells: {value:.1f} s to the first new tick")
    ratio = medians[COUNTS[-1]] / medians[COUNTS[0]]
    print(f"{COUNTS[-1]} beside {COUNTS[0]}: {ratio:.2f}x (to be at most 2)")


if __name__ == "__main__":
    main()
