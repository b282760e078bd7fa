"""The truncation trick (Brock 2019, sec. 3.1): cutting z trades variety for quality.

Every entry of z comes from a normal distribution that is truncated at a threshold, in standard
deviations from the mean. This has the same effect as drawing an entry again until it lies within
the threshold. The labels are the same at every threshold, and so are the uniform numbers that z is
computed from. The untruncated fakes (threshold `inf`) are the view's, which all other metrics see.
"""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import torch
from torch import Tensor

from study.metrics.core.frechet import frechet_distance, moments
from study.metrics.core.view import MIN_TO_COMPARE, View
from study.metrics.prdc import prdc

THRESHOLDS = (math.inf, 2.0, 1.0, 0.5, 0.25)  # from none to the tightest
QUALITIES = ("precision", "recall", "fcd", "label_accuracy")

NEEDS = frozenset({"labels", "one_label", "truncates"})
WHEN = "end"
COLUMNS = {
    f"truncation/{quality}/{threshold:g}": f"{quality} of fakes with z cut at {threshold:g}"
    for quality in QUALITIES
    for threshold in THRESHOLDS
} | {
    "truncation/precision_gain": "precision at the tightest threshold minus untruncated",
    "truncation/recall_loss": "recall untruncated minus at the tightest threshold",
    "truncation/precision_tau": "Kendall's tau-a of tightness and precision over the thresholds: "
    "1 where every tighter one has the higher precision",
    "truncation/recall_tau": "Kendall's tau-a of tightness and lost recall over the thresholds: "
    "1 where every tighter one has the lower recall",
}

BY_LABELS = frozenset(f"truncation/label_accuracy/{threshold:g}" for threshold in THRESHOLDS)
BY_FEATURES = frozenset(COLUMNS) - BY_LABELS


def measure(view: View) -> dict[str, float]:
    if min(len(view.reference.real), len(view.fakes)) < MIN_TO_COMPARE:
        return {}
    curves = {quality: list[float]() for quality in QUALITIES}
    for fakes in view.once("truncation", lambda: _draw(view)):
        cut = view if fakes is view.fakes else dataclasses.replace(view, fakes=fakes)
        for quality, value in _qualities(cut).items():
            curves[quality].append(value)
    precision, recall = curves["precision"], curves["recall"]
    return {
        f"truncation/{quality}/{threshold:g}": value
        for quality, curve in curves.items()
        for threshold, value in zip(THRESHOLDS, curve, strict=True)
    } | {
        "truncation/precision_gain": precision[-1] - precision[0],
        "truncation/recall_loss": recall[0] - recall[-1],
        "truncation/precision_tau": _tau(precision),
        "truncation/recall_tau": -_tau(recall),
    }


def _draw(view: View) -> list[Tensor]:
    """Fakes of each threshold for the same labels, drawn with z from the truncated normal."""
    gan, c = view.gan, view.gan.config
    u = torch.rand(len(view.fakes), c.z_dim, dtype=torch.float64, generator=view.rng)
    found = []
    for threshold in THRESHOLDS:
        if math.isinf(threshold):
            found.append(view.fakes)
            continue
        z = (truncated_normal(u, threshold) * c.z_std + c.z_mean).float().to(gan.device)
        found.append(gan.sample(view.y, len(z), view.rng, z))
    return found


def truncated_normal(u: Tensor, threshold: float) -> Tensor:
    """Map u ~ U[0, 1), float64, to standard normal z, given that |z| <= threshold; the same shape.

    The map is the inverse of the distribution function, so one u gives similar z at all thresholds.
    """
    low = torch.special.ndtr(torch.tensor(-threshold, dtype=torch.float64))
    z: Tensor = torch.special.ndtri(low + u * (1 - 2 * low))
    return z


def _qualities(view: View) -> dict[str, float]:
    real, fakes = view.reference.real.double(), torch.from_numpy(view.features)
    near = prdc(real, fakes[: len(real)])
    return {
        "precision": near["precision"],
        "recall": near["recall"],
        "fcd": frechet_distance(moments(view.features), view.reference.moments),
        "label_accuracy": float((view.predicted == view.y.numpy()).mean()),
    }


def _tau(values: list[float]) -> float:
    """Share of pairs that rise minus share of pairs that fall (Kendall 1938).

    Pairs of equal values count as 0.
    """
    return float(np.mean([np.sign(b - a) for a, b in itertools.combinations(values, 2)]))
