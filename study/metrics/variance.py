"""Diversity within a class: the spread of fakes over the spread of real images, in judge features.

Read it together with label accuracy: an accuracy of .99 with a variance ratio of .01 is a collapse.
"""

from __future__ import annotations

import numpy as np

from study.metrics.core.spread import kinds, spread
from study.metrics.core.view import View

NEEDS = frozenset({"labels"})
COLUMNS = {
    "variance_ratio": "tr Cov of judge features within a class, fakes / real, mean over classes "
    "(within a label set, mean over the numbers of labels, where images have several); "
    "1 is right, near 0 is mode collapse",
}


def measure(view: View) -> dict[str, float]:
    y, real = view.y.numpy(), view.reference.class_traces.numpy()
    of = kinds(y)
    ratios = [spread(view.features[of == k], y[of == k]) / real[k] for k in np.unique(of)]
    return {"variance_ratio": float(np.nanmean(ratios))}  # NaN: a class with one fake
