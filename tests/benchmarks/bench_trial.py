"""Compares the images per second of a Ray trial with those of the same loop without Ray.

    python -m tests.benchmarks.bench_trial [--repeats 5] [--f 16] [--kimg 3]

One trial runs at a time. The trial and the loop have one thread each. Only training is timed, in
both.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from search_spaces.acgan_kmnist_classes import RECIPE_A
from search_spaces.core import Budget, Study, crossed
from study.engine import cluster, engine
from study.engine.shared_state import make_shared
from study.planning.plan import Plan
from study.planning.resources import Resources
from study.records.files import write_json
from study.records.records import FORMAT, Records
from trainables.acgan import Acgan
from trainables.core.loop import Loop
from trainables.data.base import Dataset, DataSpec, Split

CLASSES = 10


def noise(n: int) -> Split:
    rng = np.random.default_rng(0)
    return Split(rng.integers(0, 256, (n, 1, 28, 28), dtype=np.uint8), np.arange(n) % CLASSES)


def plan_of(f: int, kimg: int) -> Plan:
    budget = Budget(kimg=kimg, tick_kimg=kimg, seeds=1, samples=100)
    study = Study(
        title="speed", variant="acgan", data="none", stand_in="none",
        conditions=crossed(classes=(CLASSES,)), reference=RECIPE_A | {"f": f}, space=None,
        metrics=("fcd",), claims=(), fid=False,
        scales={"smoke": budget, "quick": budget, "full": budget},
    )  # fmt: skip
    return Plan(
        name="bench", study=study, budget=budget, overrides={}, data="none", classes=CLASSES,
        channels=1, size=(28, 28), only=None,
    )  # fmt: skip


def in_trial(plan: Plan, data: Dataset, scratch: Path) -> float:
    """images/s of one cell, from its record."""
    records = Records(scratch / "bench")
    definition = plan.definition()
    head = {
        "format": FORMAT, "title": "bench", "definition": definition,
            "runs": [{"git_commit": "-", "code": "-"}],
        "reference": definition["reference"],
    }  # fmt: skip
    write_json(records.folder / "study.json", head)
    shared = make_shared(plan, records, data, scratch, None, False, lambda _: None, smoke=True)
    engine.run_cells(plan, records, shared, Resources(1, 0.0, 1), lambda cell, result: None, print)
    (cell,) = records.ids()
    return float(records.rows(cell)[-1]["images_per_second"])


def bare(plan: Plan, data: Dataset) -> float:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    values = plan.hyperparameters(next(iter(plan.conditions)))
    gan = Acgan(
        Acgan.config_type.parse(values), DataSpec(CLASSES, 1, (28, 28)), torch.device("cpu")
    )
    loop = Loop(gan, torch.from_numpy(data.train.x), torch.from_numpy(data.train.y), 0)
    start = time.perf_counter()
    loop.run(plan.budget.kimg * 1000)
    return loop.seen / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--f", type=int, default=16)
    parser.add_argument("--kimg", type=int, default=3)
    arguments = parser.parse_args()
    plan = plan_of(arguments.f, arguments.kimg)
    data = Dataset("none", noise(2000), noise(500), tuple("0123456789"), "made up")
    cluster.start_ray(2)
    speeds: dict[str, list[float]] = {"trial": [], "bare": []}
    for _ in range(arguments.repeats):  # alternating
        with tempfile.TemporaryDirectory() as scratch:
            speeds["trial"].append(in_trial(plan, data, Path(scratch)))
        speeds["bare"].append(bare(plan, data))
    trial, alone = (statistics.median(speeds[name]) for name in ("trial", "bare"))
    print(
        f"median of {arguments.repeats}: {trial:.0f} images/s in a trial, {alone:.0f} bare, "
        f"ratio {trial / alone:.3f} (to be at least 0.95)"
    )


if __name__ == "__main__":
    main()
