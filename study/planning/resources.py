"""The CPUs and GPUs of one trial, and how many trials run at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from study.errors import BadInputError
from study.records import environment


@dataclass(frozen=True)
class Resources:
    """The CPUs and GPUs of one trial, and how many trials run at once."""

    cpus: int  # of one trial
    gpus: float  # of one trial; may be a fraction
    concurrent: int  # trials at once


@dataclass(frozen=True)
class Node:
    """The CPUs and GPUs of a machine that runs trials."""

    cpus: int
    gpus: float


def here() -> list[Node]:
    """This machine, as the only node."""
    return [Node(environment.cpus(), torch.cuda.device_count())]


def device_of(resources: Resources) -> torch.device:
    """The device that trials compute on, as far as this machine can tell.

    It is CUDA if trials have a share of a GPU and this machine has one.
    """
    return torch.device("cuda" if resources.gpus and torch.cuda.is_available() else "cpu")


def fit(
    nodes: Sequence[Node], cpus_per_trial: int, gpus_per_trial: float | None, most: int | None
) -> Resources:
    """What one trial gets, and how many trials run at once on the nodes.

    Args:
        gpus_per_trial: None: 0.25 if any node has a GPU, otherwise 0.
        most: the largest number of trials at once. None: as many as fit.

    Raises:
        BadInputError: no node has enough for one trial.
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
