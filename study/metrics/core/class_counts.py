"""Divide a sample's images among the classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MIN_PER_CLASS = 2  # images of each class: the fewest that have a variance


def allocate(marginal: NDArray[np.float64], n: int) -> NDArray[np.int64]:
    """Divide `n` images among classes by their shares, with at least two each where n allows.

    If n is too small for two images of each class, the minimum is n over the number of classes,
    rounded down. Classes whose share comes to less than the minimum get the minimum. The other
    classes divide the remaining images by the method of the largest remainder. Nothing is random.

    Args:
        marginal: share of each class, [K].
        n: number of images.

    Returns:
        Number of images of each class, [K].
    """
    least = min(MIN_PER_CLASS, n // len(marginal))
    small = np.zeros(len(marginal), dtype=bool)
    while True:
        left = n - least * small.sum()
        quota = np.where(small, 0.0, marginal) / marginal[~small].sum() * left
        if not (newly := ~small & (quota < least)).any():
            break
        small |= newly
    counts: NDArray[np.int64] = np.floor(quota).astype(np.int64)
    remainder = np.where(small, -1.0, quota - counts)
    counts[np.argsort(-remainder, kind="stable")[: left - counts.sum()]] += 1
    counts[small] = least
    return counts
