"""What the driver spends on each cell, beside what it spends where a study has few cells.

    python -m tests.benchmarks.bench_driver [--repeats 5] [--cells 100 1000 10000]

The cells train nothing: their rows are written here, as a worker would write them, and only what
the driver does is timed. It decides which cell comes next, is told of each tick and of each end,
writes its records and shows its lines, but has no MLflow. Two cells run at a time. A study has
either conditions of ten seeds each and no search, or one condition with a search. The time is the
processor time of this process for each cell, as the median over the repetitions with the worst
beside it, and as a ratio to that of the smallest study. The sizes alternate. The records are in
memory, in /dev/shm, of which they take some 200 MB: on a disk most of the time is the kernel's for
flushing them, and depends on what else the disk has to write.

The start of a command in a folder where every cell has ended is measured in processes of their own:
its seconds, and how much more memory it takes than with the fewest cells.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from search_spaces.core import Budget, Condition
from study.console import Display
from study.engine.schedule import StudySearcher
from study.planning import prepare
from study.planning.cells import Cell
from study.planning.plan import Plan
from study.planning.remaining import Remaining
from study.records.records import Records
from tests.study import tiny

TICKS, METRICS, SEEDS, CONCURRENT = 5, 40, 10, 2


def space(trial: Any) -> dict[str, Any]:
    return {"lr": trial.suggest_float("lr", 1e-5, 1e-2, log=True)}


def plan_of(cells: int, searched: bool) -> Plan:
    """A study of so many cells: a random search, or conditions with ten confirm cells each."""
    trials, seeds = (cells, 0) if searched else (0, SEEDS)
    budget = Budget(
        kimg=TICKS, search_kimg=TICKS, tick_kimg=1, trials=trials, seeds=seeds, samples=6
    )
    conditions: dict[str, Condition] = {"all": {}}
    if not searched:
        conditions = {f"lr={n + 1}e-6": {"lr": (n + 1) * 1e-6} for n in range(cells // SEEDS)}
    study = tiny.study(
        conditions=conditions, space=space, reference={"lr": 1e-3}, reference_params={}, claims=()
    )
    return tiny.plan(study, budget)


def rows(cell: Cell) -> list[dict[str, Any]]:
    quality = 1.0 + cell.seed % 7
    other = {f"metric{n}": 0.5 for n in range(METRICS - 3)}
    return [{"kimg": k, "seconds": 1.0 * k, "fcd": quality / (k + 1), **other} for k in range(6)]


def live(plan: Plan, folder: Path) -> float:
    """Run a study in which nothing is trained. Returns processor seconds per cell."""
    records = tiny.begin(Records(folder), plan)
    spent, cells, running = 0.0, 0, list[tuple[str, Cell]]()
    with prepare.lock(folder) as records.lock, contextlib.redirect_stdout(io.StringIO()):
        began = time.process_time()
        display = Display(plan, records)
        searcher = StudySearcher(plan, records, display, CONCURRENT)
        spent += time.process_time() - began
        while True:
            began = time.process_time()
            answer = searcher.suggest(f"t{cells}")
            spent += time.process_time() - began
            if isinstance(answer, dict):
                running.append((f"t{cells}", Cell.from_json(answer["cell"])))
                cells += 1
                if len(running) < CONCURRENT:
                    continue
            elif not running:
                return spent / cells
            trial, cell = running.pop(0)
            measured, file = rows(cell), records.cell_folder(cell.id) / "ticks.json"
            for n in range(2, len(measured) + 1):
                file.write_text(json.dumps(measured[:n]))
                began = time.process_time()
                if n < len(measured):
                    searcher.observe(cell.id, n - 1)
                else:
                    searcher.on_trial_complete(trial, {"outcome": "complete"})
                spent += time.process_time() - began


def start(folder: Path, cells: int, searched: bool) -> None:
    """Print the seconds and the memory in KiB that a command takes to see that nothing is left."""
    before, plan, records = time.perf_counter(), plan_of(cells, searched), Records(folder)
    with prepare.lock(folder) as records.lock:
        assert records.quarantine_damaged() == []
        assert Remaining(plan, records).is_finished
        StudySearcher(plan, records, lambda *_: None, CONCURRENT)
    seconds = time.perf_counter() - before
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def started(folder: Path, cells: int, searched: bool) -> tuple[float, int]:
    """Seconds and KiB of `start` in a process of its own."""
    order = f"start(Path({str(folder)!r}), {cells}, {searched})"
    code = f"from pathlib import Path; from tests.benchmarks.bench_driver import start; {order}"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    seconds, memory = done.stdout.split()
    return float(seconds), int(memory)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cells", type=int, nargs="+", default=[100, 1000, 10_000])
    arguments = parser.parse_args()
    for searched, name in ((False, "conditions x ten seeds"), (True, "one searched condition")):
        spent: dict[int, list[float]] = {cells: [] for cells in arguments.cells}
        starts: dict[int, tuple[float, int]] = {}
        for _ in range(arguments.repeats):
            for cells, found in spent.items():
                with tempfile.TemporaryDirectory(dir="/dev/shm") as scratch:
                    folder = Path(scratch) / "tiny"
                    found.append(live(plan_of(cells, searched), folder))
                    starts.setdefault(cells, started(folder, cells, searched))
        least = min(spent)
        print(name)
        for cells, found in spent.items():
            median = statistics.median(found)
            seconds, memory = starts[cells]
            print(
                f"{cells:6} cells: {1e3 * median:.2f} ms per cell (worst {1e3 * max(found):.2f}), "
                f"ratio to that at {least}: {median / statistics.median(spent[least]):.2f}; start "
                f"{seconds:.1f} s, {(memory - starts[least][1]) / 1024:.0f} MiB more",
                flush=True,
            )


if __name__ == "__main__":
    main()
