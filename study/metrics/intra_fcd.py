"""Frechet distance within each class: it sees permuted labels and collapsed classes.

The intra-FID of Miyato & Koyama (2018) on judge features, with diagonal covariances. A thousand
fakes are twenty for each of 49 classes: a covariance of 64 dimensions has then rank 19, and its
distance to the real one measures the number of fakes. Twenty do give 64 means and variances. What
is lost are correlations, on which `coverage_within` rests. The bias left falls as one over the
fakes of a class, hence differs between conditions: `intra_fcd_floor` has the same.
"""

from __future__ import annotations

import numpy as np

from study.metrics.view import View

NEEDS = frozenset({"labels"})
COLUMNS = {
    "intra_fcd": "Frechet distance of each class's fakes to its real training images in judge "
    "features, covariances diagonal, mean over the classes that have ten fakes; lower is better",
    "intra_fcd_floor": "the same distance of as many other real images: the best possible",
}
REAL = {"intra_fcd": "intra_fcd_floor"}


def measure(view: View) -> dict[str, float]:
    means = view.reference.class_means.numpy()
    deviations = np.sqrt(view.reference.class_variances.numpy())
    y, distances = view.y.numpy(), []
    for label in view.ample:
        fakes = view.features[y == label]
        shift = fakes.mean(0) - means[label]
        spread = fakes.std(0, ddof=1) - deviations[label]
        distances.append((shift**2 + spread**2).sum())
    return {"intra_fcd": float(np.mean(distances))} if distances else {}
