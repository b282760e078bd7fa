"""The truncation trick (Brock 2019, sec. 3.1): cutting z trades variety for quality.

Every entry of z that lies beyond a threshold, in standard deviations from the mean, is drawn again
until it does not. Labels, and the uniform numbers behind z, are the same at every threshold;
untruncated, `inf`, are the fakes that all other metrics see.
"""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import torch
from torch import Tensor

from study.metrics import fcd, labels, prdc
from study.metrics.view import View

THRESHOLDS = (math.inf, 2.0, 1.0, 0.5, 0.25)
QUALITIES = {"precision": prdc, "recall": prdc, "fcd": fcd, "label_accuracy": labels}

NEEDS = frozenset({"labels", "truncates"})
COLUMNS = {
    f"truncation/{name}/{threshold:g}": f"{name} of fakes with z cut at {threshold:g}"
    for name in QUALITIES
    for threshold in THRESHOLDS
} | {
    "truncation/precision_gain": "precision at the tightest threshold minus untruncated",
    "truncation/recall_loss": "recall untruncated minus at the tightest threshold",
    "truncation/precision_tau": "Kendall's tau-a of tightness and precision over the thresholds: "
    "1 where each tighter one has the higher precision",
    "truncation/recall_tau": "Kendall's tau-a of tightness and lost recall over the thresholds: "
    "1 where each tighter one has the lower recall",
}


def measure(view: View) -> dict[str, float]:
    n, z_dim = len(view.fakes), view.gan.config.z_dim
    u = torch.rand(n, z_dim, dtype=torch.float64, generator=view.rng)
    row: dict[str, float] = {}
    for threshold in THRESHOLDS:
        cut = view if math.isinf(threshold) else _cut(view, u, threshold)
        for metric in dict.fromkeys(QUALITIES.values()):
            values = metric.measure(cut)
            row |= {
                f"truncation/{name}/{threshold:g}": values[name]
                for name, source in QUALITIES.items()
                if source is metric
            }
    curves = {name: [row[f"truncation/{name}/{t:g}"] for t in THRESHOLDS] for name in QUALITIES}
    precision, recall = curves["precision"], curves["recall"]
    return row | {
        "truncation/precision_gain": precision[-1] - precision[0],
        "truncation/recall_loss": recall[0] - recall[-1],
        "truncation/precision_tau": _tau(precision),
        "truncation/recall_tau": -_tau(recall),
    }


def _cut(view: View, u: Tensor, threshold: float) -> View:
    """The view with other fakes, of z from the truncated normal distribution."""
    c = view.gan.config
    z = truncated_normal(u, threshold).float().to(view.gan.device) * c.z_std + c.z_mean
    return dataclasses.replace(view, fakes=view.gan.sample(view.y, len(z), view.rng, z))


def truncated_normal(u: Tensor, threshold: float) -> Tensor:
    """u ~ U[0, 1), float64 -> standard normal given that |z| <= threshold, the same shape.

    The inverse of the distribution function, so that one u gives like z at every threshold.
    """
    low = torch.special.ndtr(torch.tensor(-threshold, dtype=torch.float64))
    return torch.special.ndtri(low + u * (1 - 2 * low)).clamp(-threshold, threshold)


def _tau(values: list[float]) -> float:
    """Share of pairs that rise minus share that fall (Kendall 1938); equal ones count as 0."""
    return float(np.mean([np.sign(b - a) for a, b in itertools.combinations(values, 2)]))
