"""Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020).

Fakes and as many real training images are points in the feature judge's space. Each point has a
ball that reaches to its k-th nearest neighbour among the points of its own kind (real or fake).
k is 3 for precision and recall, and 5 for density and coverage.
"""

from __future__ import annotations

import torch
from torch import Tensor

from study.metrics.core.view import MIN_TO_COMPARE, View

NEEDS: frozenset[str] = frozenset()
COLUMNS = {
    "precision": "share of fakes inside the ball of some real image (k=3)",
    "recall": "share of real images inside the ball of some fake (k=3)",
    "density": "real balls that a fake lies in, over k=5, mean over fakes; about 1 is right",
    "coverage": "share of real balls that hold a fake (k=5); .97 is right",
    "coverage_within": "coverage among the images of one class, mean over the classes that have "
    "ten fakes, where images have one label; .97 is right",
}
DIRECTIONS = {
    "precision": "maximize",
    "recall": "maximize",
    "coverage": "maximize",
    "coverage_within": "maximize",
}
REAL = {column: f"{column}_real" for column in COLUMNS}
COLUMNS |= {REAL[column]: f"{column} of other real images in place of fakes" for column in REAL}
BY_FEATURES = frozenset(COLUMNS)
K_PR, K_DC = 3, 5  # the papers' values
ROWS = 200  # real images at a time, whose distances to all fakes must fit into memory


def measure(view: View) -> dict[str, float]:
    reference = view.reference
    real, fakes = reference.real.double(), torch.from_numpy(view.features)
    if min(len(real), len(fakes)) < MIN_TO_COMPARE:
        return {}
    row = prdc(real, fakes[: len(real)])
    if view.gan.conditional:
        within = []
        for label in view.measurable_classes:
            mine = real[reference.real_y == label]
            within.append(prdc(mine, fakes[view.y == label][: len(mine)])["coverage"])
        if within:
            row["coverage_within"] = sum(within) / len(within)
    return row


def prdc(real: Tensor, fakes: Tensor) -> dict[str, float]:
    """The four columns that are not within classes, for real [N, d] and fakes [M, d]; N, M > 5."""
    real_radii, fake_radii = radii(real), radii(fakes)
    precise = torch.zeros(len(fakes), dtype=torch.bool)
    recalled = covered = inside = 0
    for part, own in zip(torch.split(real, ROWS), torch.split(real_radii, ROWS), strict=True):
        distances = torch.cdist(part, fakes)  # [real, fakes]
        precise |= (distances <= own[:, K_PR, None]).any(0)
        recalled += int((distances <= fake_radii[:, K_PR]).any(1).sum())
        within = distances <= own[:, K_DC, None]
        inside += int(within.sum())
        covered += int(within.any(1).sum())
    return {
        "precision": float(precise.double().mean()),
        "recall": recalled / len(real),
        "density": inside / (K_DC * len(fakes)),
        "coverage": covered / len(real),
    }


def radii(x: Tensor) -> Tensor:
    """Distances [N, 6] of points x [N, d] to their nearest neighbours among x.

    Column k is the distance to the k-th neighbour; column 0 is the distance to the point itself.
    """
    parts = [
        torch.cdist(part, x).topk(K_DC + 1, largest=False).values for part in torch.split(x, ROWS)
    ]
    return torch.cat(parts)
