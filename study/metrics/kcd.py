"""Kernel distance (Binkowski et al. 2018) in the feature judge's 64 dimensions. Never call it KID.

The squared maximum mean discrepancy with the kernel (x.y / 64 + 1)^3. Unlike the Frechet distance
it is unbiased: its mean over draws does not depend on the number of samples, is zero where fakes
and real images have one distribution, and single values may then be negative.
"""

from __future__ import annotations

import torch
from torch import Tensor

from study.metrics.view import View

NEEDS = frozenset({"one_label"})  # for `likeness`
COLUMNS = {
    "kcd": "kernel distance of fakes to as many real training images in judge features, unbiased; "
    "lower is better, 0 is right",
    "kcd_floor": "the same distance of other real training images: how far 0 is missed by chance",
}
REAL = {"kcd": "kcd_floor"}
ROWS = 200  # at a time: their kernels with all others must fit into memory


def measure(view: View) -> dict[str, float]:
    real, fakes = view.reference.real.double(), torch.from_numpy(view.features)
    y = view.y if view.gan.conditional else torch.zeros_like(view.y)
    within = likeness(real, view.reference.real_y) + likeness(fakes, y)
    return {"kcd": within - 2 * total(real, fakes) / (len(real) * len(fakes))}


def likeness(x: Tensor, y: Tensor) -> float:
    """Mean kernel of two independent draws, from rows x [N, d] with so many of each label y [N].

    The counts c of the classes are given, not drawn. Pairs of different rows are then of one class
    less often than independent draws, so these count for c / (c - 1). With one class that is the
    U-statistic; with 49 the U-statistic itself would put `kcd` of real images below 0 throughout.
    """
    value = pairs(x)
    for label in sorted(set(y.tolist())):
        mine = x[y == label]
        value += pairs(mine) / (len(mine) - 1)
    return value / len(x) ** 2


def pairs(x: Tensor) -> float:
    """Sum of the kernel over all pairs of two different rows of x [N, d]."""
    return total(x, x) - float(kernel((x * x).sum(1, keepdim=True), x.shape[1]).sum())


def total(x: Tensor, y: Tensor) -> float:
    """Sum of the kernel over all pairs of a row of x [N, d] and one of y [M, d]."""
    return sum(float(kernel(part @ y.T, x.shape[1]).sum()) for part in torch.split(x, ROWS))


def kernel(products: Tensor, d: int) -> Tensor:
    return (products / d + 1) ** 3
