"""Kernel distance (Binkowski et al. 2018) in the feature judge's 64 dimensions. Never call it KID.

The metric is the squared maximum mean discrepancy of fakes and real training images with the kernel
(x.y / 64 + 1)^3. Unlike the Frechet distance it is unbiased: its mean over draws does not depend on
the number of samples. The mean is zero if fakes and real images have the same distribution, and
single values may then be negative.
"""

from __future__ import annotations

import torch
from torch import Tensor

from study.metrics.core.view import View

NEEDS = frozenset({"one_label"})  # `likeness` needs classes
COLUMNS = {
    "kcd": "kernel distance of fakes to as many real training images in judge features, unbiased; "
    "0 is right",
    "kcd_floor": "the same distance of other real training images: how far 0 is missed by chance",
}
DIRECTIONS = {"kcd": "minimize"}
REAL = {"kcd": "kcd_floor"}
BY_FEATURES = frozenset(COLUMNS)
ROWS = 200  # rows at a time, whose kernels with all other rows must fit into memory


def measure(view: View) -> dict[str, float]:
    real, fakes = view.reference.real.double(), torch.from_numpy(view.features)
    y = view.y if view.gan.conditional else torch.zeros_like(view.y)
    within = likeness(real, view.reference.real_y) + likeness(fakes, y)
    return {"kcd": within - 2 * total(real, fakes) / (len(real) * len(fakes))}


def likeness(x: Tensor, y: Tensor) -> float:
    """Estimate the mean kernel of two independent draws from rows x [N, d] with labels y [N].

    The number c of rows of each class is given, not drawn. Two different rows are therefore of one
    class less often than two independent draws would be. To correct this, a pair of different rows
    of one class counts c / (c - 1) times. With one class the result is the U-statistic. With 49
    classes the U-statistic itself would put the `kcd` of real images below 0 throughout.
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
