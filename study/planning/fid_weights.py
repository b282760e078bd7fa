"""Decide whether the confirm cells of a run measure FID."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from study.errors import BadInputError
from study.metrics.core import inception
from study.planning.plan import Plan
from study.records.records import Row


def choose(plan: Plan, asked: Path | None, device: torch.device) -> tuple[Path | None, str | None]:
    """Find the file with Inception's weights, if FID is to be measured.

    FID is measured on a GPU, if there are enough fakes for it. Otherwise it is measured only if it
    is asked for: a processor passes some ten images a second through Inception, so that a cell
    would take several times as long as its training.

    Args:
        asked: what --fid-weights names.
        device: on which trials compute, as far as this machine can tell.

    Returns:
        The file, or None if FID is not measured. A line for people that says why FID is left out or
        what weakens it, or None if there is nothing to say.
    """
    fakes = plan.budget.samples
    few = f"{fakes} fakes have a singular covariance in {inception.DIMENSIONS} dimensions"
    asks = "--fid-weights FILE asks for it"
    if not plan.study.fid or not plan.budget.seeds:  # no cell would measure it
        return None, "left out, because no cell of this study measures it" if asked else None
    if asked is not None:
        weak = f"{few}, so most of it is bias: compare it with fid_floor"
        return inception.find_weights(asked), weak if fakes <= inception.DIMENSIONS else None
    if device.type == "cpu":
        here = "this machine, which measures the real images, has no GPU for it"
        return None, f"left out, because {here} ({asks})"
    if fakes <= inception.DIMENSIONS:
        return None, f"left out, because {few} and most of it would be bias ({asks})"
    if (weights := inception.find_weights()) is None:
        return None, "left out, because its Inception weights are neither here nor downloadable"
    return weights, None


def find_again(rows: Sequence[Row], asked: Path | None) -> Path | None:
    """Find the file with Inception's weights if a cell's recorded rows have FID, otherwise None.

    Raises:
        BadInputError: they have FID, and the weights are not found.
    """
    if not any("fid" in row for row in rows):
        return None
    if (weights := inception.find_weights(asked)) is None:
        raise BadInputError("--verify: the cell measured fid: name the weights by --fid-weights")
    return weights
