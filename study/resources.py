"""What one trial takes, and how many fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from study import environment
from study.plan import Resources
from study.prepare import BadInputError


@dataclass(frozen=True)
class Node:
    """A machine that runs trials."""

    cpus: int
    gpus: float


def here() -> list[Node]:
    """This machine, as the only node there is."""
    return [Node(environment.cpus(), torch.cuda.device_count())]


def device_of(resources: Resources) -> torch.device:
    """What trials of that share compute on, judged by this machine."""
    return torch.device("cuda" if resources.gpus and torch.cuda.is_available() else "cpu")


def fit(
    nodes: Sequence[Node], cpus_per_trial: int, gpus_per_trial: float | None, most: int | None
) -> Resources:
    """What a trial takes, and how many fit on the nodes, at most `most`.

    Raises:
        BadInputError: one trial is more than any node has.
    """
    if gpus_per_trial is None:
        gpus_per_trial = 0.25 if any(node.gpus for node in nodes) else 0.0
    counts = []
    for node in nodes:
        count = node.cpus // cpus_per_trial
        if gpus_per_trial:
            count = min(count, int(node.gpus / gpus_per_trial))
        counts.append(count)
    if not any(counts):
        has = " | ".join(f"{node.cpus} CPU and {node.gpus:g} GPU" for node in nodes)
        where = "this machine has" if len(nodes) == 1 else "no node has both:"
        asked = f"--cpus-per-trial {cpus_per_trial} --gpus-per-trial {gpus_per_trial:g}"
        raise BadInputError(f"{asked}: {where} {has}")
    return Resources(cpus_per_trial, gpus_per_trial, min(most or sum(counts), sum(counts)))
