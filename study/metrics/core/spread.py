"""How far apart the features of images with the same labels lie."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def kinds(y: NDArray[Any]) -> NDArray[np.int64]:
    """Number of the group of each image, [N]. The spread is compared within one group.

    For labels y [N] the group is the class. For multi-hot y [N, K] the group is the image's number
    of labels minus 1.
    """
    return np.asarray(y if y.ndim == 1 else y.sum(1) - 1, dtype=np.int64)


def spread(features: NDArray[np.float64], y: NDArray[Any]) -> float:
    """Pooled trace of the covariance of features [N, d] among images that share all labels.

    The result is NaN if no two images share all labels.
    """
    sets, group, sizes = np.unique(y, axis=0, return_inverse=True, return_counts=True)
    group = group.reshape(-1)  # numpy 2.0 (no other version) adds a second axis
    means = np.stack([features[group == i].mean(0) for i in range(len(sets))])
    freedom = (sizes - 1).sum()
    return float(((features - means[group]) ** 2).sum() / freedom) if freedom else float("nan")
