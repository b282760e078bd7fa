"""What one trial takes on this machine, and how many fit."""

from __future__ import annotations

import torch

from study import environment
from study.plan import Resources
from study.prepare import BadInputError


def has_gpu() -> bool:
    return torch.cuda.is_available()


def fit(cpus_per_trial: int, gpus_per_trial: float | None, most: int | None) -> Resources:
    """What a trial takes on this machine, and how many fit, at most `most`.

    Raises:
        BadInputError: one trial is more than the machine has.
    """
    gpus, cpus = torch.cuda.device_count(), environment.cpus()
    if gpus_per_trial is None:
        gpus_per_trial = 0.25 if gpus else 0.0
    if cpus_per_trial > cpus:
        raise BadInputError(f"--cpus-per-trial {cpus_per_trial}: this machine has {cpus}")
    if gpus_per_trial > gpus:
        raise BadInputError(f"--gpus-per-trial {gpus_per_trial}: this machine has {gpus}")
    fitting = cpus // cpus_per_trial
    if gpus_per_trial:
        fitting = min(fitting, int(gpus / gpus_per_trial))
    return Resources(cpus_per_trial, gpus_per_trial, min(most or fitting, fitting))
