"""Frechet distance within each class: it sees permuted labels and collapsed classes.

The intra-FID of Miyato & Koyama (2018) on judge features, with diagonal covariances. A thousand
fakes are twenty for each of 49 classes, and a covariance of 64 dimensions has then rank 19: on kana
its distance is 10.3 for real images and 9.2 for images of half their variance, the wrong way round.
With variances alone these are 2.2 and 3.4 (permuted labels: 82, one image per class: 46). What is
lost are correlations: `coverage_within` has them. The bias left falls as one over the fakes of a
class, so it differs between conditions: read `intra_fcd_floor`, which has the same.
"""

from __future__ import annotations

import numpy as np

from study.metrics.view import View

NEEDS = frozenset({"labels", "one_label"})
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
