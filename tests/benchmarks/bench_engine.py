"""Compares the engine with plain Ray Tune and its stock MLflow callback: cells that sleep.

    python -m tests.benchmarks.bench_engine [--repeats 5] [--cells 32] [--seconds 1]

A cell sleeps for its seconds in five ticks and reports 20 metrics each time. Our engine writes
records and mirrors them to MLflow (SQLite), with a sample grid per tick. Plain Ray Tune runs with
OptunaSearch, reused actors, and MLflowLoggerCallback on SQLite. Two cells run at a time. The start
of Ray is not timed, but the engine's own start and end are. "After the start" begins when the first
cell does, and ends when MLflow has everything.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from search_spaces.core import Budget, Study
from study.engine import cluster, engine
from study.engine.shared_state import Shared
from study.engine.trial import StudyTrial
from study.planning.mlflow_store import default_uri
from study.planning.plan import Plan
from study.planning.resources import Resources
from study.records.files import write_json
from study.records.records import FORMAT, Records
from study.tracking.mlflow_mirror import Mirror

TICKS, METRICS, CONCURRENT = 5, 20, 2
CELL_SECONDS = "BENCH_CELL_SECONDS"  # in the environment, which Ray's workers inherit

drawn = io.BytesIO()  # once: drawing is part of a cell's own work
Image.fromarray(np.zeros((233, 291), np.uint8)).save(drawn, "PNG")
GRID = drawn.getvalue()


def tick_seconds() -> float:
    return float(os.environ[CELL_SECONDS]) / TICKS


def space(trial: Any) -> dict[str, Any]:
    return {"lr": trial.suggest_float("lr", 1e-5, 1e-2, log=True)}


def plan_of(cells: int) -> Plan:
    # All cells are equally good, so the reference is the best. Its confirm cells wait for the
    # search, so there are as many as run at a time: with one, the other worker would be idle.
    budget = Budget(
        kimg=TICKS, search_kimg=TICKS, tick_kimg=1, trials=cells - CONCURRENT, seeds=CONCURRENT,
        samples=2,
    )  # fmt: skip
    study = Study(
        title="one-second cells", variant="dcgan", data="none", stand_in="none",
        conditions={"all": {}}, reference={}, space=space, metrics=("fcd",), claims=(),
        scales={"smoke": budget, "quick": budget, "full": budget},
    )  # fmt: skip
    return Plan(
        name="bench", study=study, budget=budget, overrides={}, data="none", classes=1,
        channels=1, size=(28, 28), only=None,
    )  # fmt: skip


class SleepingTrial(StudyTrial):
    """The engine's own trial with a cell that sleeps."""

    def setup(self, config: dict[str, Any], shared: Shared | None = None) -> None:
        assert shared is not None
        self.shared = shared
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.rows: list[dict[str, Any]] = []
        self.folder = Records(self.shared.folder).cell_folder(new_config["cell"]["id"])
        return True

    def step(self) -> dict[str, Any]:
        time.sleep(tick_seconds())
        kimg = len(self.rows) + 1
        row = {"kimg": kimg, "seconds": kimg * tick_seconds(), "fcd": 1.0 / kimg}
        self.rows.append(row | {f"metric{i}": 0.5 for i in range(METRICS - 3)})
        samples = self.folder / "samples"
        samples.mkdir(exist_ok=True)
        (samples / f"{kimg:06d}.png").write_bytes(GRID)
        write_json(self.folder / "ticks.json", self.rows, lasting=False)  # as `CellRun` does
        done = kimg == TICKS
        result = {"kimg": kimg, "objective": row["fcd"], "done": done}
        return result | ({"outcome": "complete"} if done else {})


def ours(cells: int) -> tuple[float, float]:
    """Seconds in all, and after the start."""
    engine.StudyTrial = SleepingTrial  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as scratch:
        storage = Path(scratch)
        records, plan = Records(storage / "bench"), plan_of(cells)
        head = {
            "format": FORMAT, "title": "bench", "definition": plan.definition(),
            "runs": [{"git_commit": "-", "code": "-"}],
            "reference": plan.definition()["reference"], "folder": "bench",
        }  # fmt: skip
        write_json(records.folder / "study.json", head)
        shared = Shared(
            folder=records.folder, x=np.zeros(1), y=np.zeros(1), judges=(), references={},
            ticks={}, metrics=(), objective="fcd", bf16=False, inceptions={},
            judges_digest={},
        )  # fmt: skip
        start = time.perf_counter()
        mirror = Mirror(default_uri(storage), storage, records)
        resources = Resources(cpus=1, gpus=0.0, concurrent=CONCURRENT)
        engine.run_cells(
            plan, records, shared, resources, lambda cell, _: mirror.touch(cell.id), print
        )
        mirror.close(None, {}, True)
        seconds, now = time.perf_counter() - start, time.time()
        firsts = (records.cell_folder(i) / "samples" / "000001.png" for i in records.ids())
        began = min(path.stat().st_mtime for path in firsts) - tick_seconds()
        accepted = sum(records.result(cell) is not None for cell in records.ids())
        assert accepted == cells, f"{accepted} of {cells} cells"
        assert mirror.problem is None, mirror.problem
        return seconds, now - began


def stock(cells: int) -> float:
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback
    from ray.tune.search.optuna import OptunaSearch

    class Sleeping(tune.Trainable):
        def reset_config(self, new_config: dict[str, Any]) -> bool:
            return True

        def step(self) -> dict[str, Any]:
            time.sleep(tick_seconds())
            done = self.iteration + 1 == TICKS
            values = {f"metric{i}": 0.5 for i in range(METRICS - 1)}
            return values | {"fcd": 1.0 / (self.iteration + 1), "done": done}

        def save_checkpoint(self, checkpoint_dir: str) -> None: ...

        def load_checkpoint(self, checkpoint: Any) -> None: ...

    with tempfile.TemporaryDirectory() as scratch:
        start = time.perf_counter()
        tune.Tuner(
            tune.with_resources(Sleeping, {"CPU": 1}),
            param_space={"lr": tune.loguniform(1e-5, 1e-2)},
            tune_config=tune.TuneConfig(
                metric="fcd", mode="min", search_alg=OptunaSearch(), num_samples=cells,
                max_concurrent_trials=CONCURRENT, reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="stock", storage_path=scratch, verbose=0,
                callbacks=[MLflowLoggerCallback(default_uri(Path(scratch)), experiment_name="b")],
            ),
        ).fit()  # fmt: skip
        return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cells", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a cell; default: 1")
    arguments = parser.parse_args()
    os.environ[CELL_SECONDS] = str(arguments.seconds)
    cluster.start_ray(CONCURRENT)
    walls: dict[str, list[float]] = {"ours": [], "after the start": [], "stock": []}
    for repeat in range(arguments.repeats):  # alternating
        whole, after = ours(arguments.cells)
        for name, wall in zip(walls, (whole, after, stock(arguments.cells)), strict=True):
            walls[name].append(wall)
        print(f"{repeat + 1}: " + ", ".join(f"{name} {x[-1]:.1f} s" for name, x in walls.items()))
    ideal, cells = arguments.cells * arguments.seconds / CONCURRENT, arguments.cells
    print(f"{cells} cells of {arguments.seconds:g} s, ideal {ideal:.0f} s, median (and worst):")
    for name, x in walls.items():
        middle, worst = statistics.median(x), max(x)
        own = 1e3 * (middle - ideal) / cells
        print(
            f"{name}: {middle:.1f} s ({worst:.1f}), {middle / ideal:.2f} x the ideal "
            f"({worst / ideal:.2f}), {own:.0f} ms a cell beside it"
        )
    ratios = [mine / other for mine, other in zip(walls["ours"], walls["stock"], strict=True)]
    print(f"ratio, ours / stock: {statistics.median(ratios):.2f} ({max(ratios):.2f})")


if __name__ == "__main__":
    main()
