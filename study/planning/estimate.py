"""Estimate how long cells of a plan will take, from a few timed training steps of its variants."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from study.planning.plan import Plan
from study.planning.probe import probe
from study.planning.remaining import Work
from study.planning.resources import Resources, device_of

MOMENTS = 4  # points of training at which a step is timed


def estimate(plan: Plan, resources: Resources, works: Sequence[Work]) -> list[float]:
    """Seconds that each of some numbers of a plan's cells take.

    The time for training the judges and for start-up is left out. Search cells count with their
    full length, although some are stopped early. An evaluation counts as the sampling of its fakes
    only.
    """
    # Steps are timed on this machine, also if a cluster runs the cells. If the cluster has GPUs and
    # this machine has none, the estimate is for this machine's CPUs.
    device = device_of(resources)
    torch.set_num_threads(resources.cpus)
    budget, seconds = plan.budget, [0.0] * len(works)
    for name in plan.conditions:
        pretraining, per_image, per_sample = _speed(plan, name, device)
        for phase, kimg in (("search", budget.searched_kimg), ("confirm", budget.kimg)):
            per_cell = pretraining + kimg * 1000 * per_image
            per_cell += len(budget.ticks(kimg)) * budget.samples * per_sample
            for i, work in enumerate(works):
                seconds[i] += work[name, phase] * per_cell / resources.concurrent
    return seconds


def _speed(plan: Plan, condition: str, device: torch.device) -> tuple[float, float, float]:
    """Time one cell of a condition while no other trial runs beside it.

    Steps are timed at MOMENTS points of training, because networks may grow.

    Returns:
        Seconds of the whole pretraining, seconds per image trained, seconds per image sampled.
    """
    loop = probe(plan, condition, device)
    gan, config = loop.gan, loop.gan.config
    pretraining, images = 0.0, gan.pretrain_images()
    for _ in range(2 if images else 0):  # the first step is a warm-up, the second one counts
        start = time.monotonic()
        gan.pretrain(*loop.next_batch())
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        pretraining = images / config.batch * (time.monotonic() - start)
    seconds = 0.0
    for moment in range(MOMENTS):
        loop.seen = round((moment + 0.5) / MOMENTS * plan.budget.kimg * 1000)
        loop.run(loop.seen + config.batch)
        start = time.monotonic()
        loop.run(loop.seen + config.batch)
        seconds += time.monotonic() - start
    trained = seconds / (MOMENTS * config.batch)
    start = time.monotonic()
    y = gan.random_labels(100)
    gan.sample(y if gan.conditional else None, 100, torch.Generator().manual_seed(0))
    return pretraining, trained, (time.monotonic() - start) / 100
