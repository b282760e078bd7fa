"""Kernel distance (Binkowski et al. 2018) in the feature judge's 64 dimensions. Never call it KID.

The squared maximum mean discrepancy with the kernel (x.y / 64 + 1)^3. Unlike the Frechet distance
it is unbiased: its mean over draws does not depend on the number of samples, is zero where fakes
and real images have one distribution, and single values may then be negative.
"""

from __future__ import annotations

import math

import torch
from torchmetrics.image.kid import poly_mmd

from study.metrics.view import View

NEEDS: frozenset[str] = frozenset()
COLUMNS = {
    "kcd": "kernel distance of fakes to as many real training images in judge features, unbiased; "
    "lower is better, 0 is right",
    "kcd_floor": "the same distance of other real training images: how far 0 is missed by chance",
}
REAL = {"kcd": "kcd_floor"}
BLOCK = 1_000  # images on either side, at most: as in KID, the mean over disjoint blocks


def measure(view: View) -> dict[str, float]:
    real = view.reference.real.double()
    fakes = torch.from_numpy(view.features)
    n = min(len(real), len(fakes))
    blocks = math.ceil(n / BLOCK)
    pairs = zip(real[:n].tensor_split(blocks), fakes[:n].tensor_split(blocks), strict=True)
    return {"kcd": float(torch.stack([poly_mmd(x, y) for x, y in pairs]).mean())}
