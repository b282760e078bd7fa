"""Frechet distance within each class. It sees permuted labels and collapsed classes.

The metric is the intra-FID of Miyato & Koyama (2018) on judge features, with diagonal covariances:
the distance of each class's fakes to the real training images of that class, averaged over classes.

Full covariances would mislead. A thousand fakes are twenty for each of 49 classes, and a covariance
of 64 dimensions then has rank 19. On kana the distance with full covariances is 10.3 for real
images and 9.2 for images of half their variance, which is the wrong way round. With variances alone
the two are 2.2 and 3.4 (permuted labels: 82, one image per class: 46).

The variances do not show correlations between features; `coverage_within` does. The remaining bias
is inversely proportional to the number of fakes of a class, so the bias differs between conditions.
Compare with `intra_fcd_floor`, which has the same bias.
"""

from __future__ import annotations

import numpy as np

from study.metrics.core.view import View

NEEDS = frozenset({"labels", "one_label"})
COLUMNS = {
    "intra_fcd": "Frechet distance of each class's fakes to its real training images in judge "
    "features, covariances diagonal, mean over the classes that have ten fakes",
    "intra_fcd_floor": "the same distance of as many other real images: the best possible",
}
DIRECTIONS = {"intra_fcd": "minimize"}
UNBOUNDED = frozenset({"intra_fcd"})
BY_FEATURES = frozenset(COLUMNS)
REAL = {"intra_fcd": "intra_fcd_floor"}


def measure(view: View) -> dict[str, float]:
    means = view.reference.class_means.numpy()
    deviations = np.sqrt(view.reference.class_variances.numpy())
    y, distances = view.y.numpy(), []
    for label in view.measurable_classes:
        fakes = view.features[y == label]
        shift = fakes.mean(0) - means[label]
        spread = fakes.std(0, ddof=1) - deviations[label]
        distances.append((shift**2 + spread**2).sum())
    return {"intra_fcd": float(np.mean(distances))} if distances else {}
