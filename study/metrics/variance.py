"""Diversity within a class: the spread of fakes over the spread of real images, in judge features.

An image's class is the one that the label judge reads in it, for fakes and real images alike. If
fakes were grouped by the label asked for instead, wrong labels would pass for diversity: one image
per class, asked for under labels of which 60 % are wrong, would spread as far as the classes lie
apart. Images of several labels are grouped by the labels asked for, because few of them share all
the labels that a judge reads.

Read it together with label accuracy: an accuracy of .99 with a variance ratio of .01 is a collapse.
"""

from __future__ import annotations

import numpy as np

from study.metrics.core.spread import kinds, spread
from study.metrics.core.view import View

NEEDS = frozenset({"labels"})
COLUMNS = {
    "variance_ratio": "tr Cov of judge features among images that the judge reads as one class, "
    "fakes / real, mean over the fakes' classes (where images have several labels: within a label "
    "set, mean over the numbers of labels); 1 is right, near 0 is mode collapse",
}
BY_LABELS = frozenset(COLUMNS)


def measure(view: View) -> dict[str, float]:
    """The value of the column, which is left out if no two fakes are of one class.

    Classes count by their numbers of fakes: a few images that the judge misreads as another class
    have a spread that says little.
    """
    real, several = view.reference.class_traces.numpy(), view.y.ndim > 1
    labels = view.y.numpy() if several else view.predicted
    of = kinds(labels)
    found, sizes = np.unique(of, return_counts=True)
    ratios = np.array([spread(view.features[of == k], labels[of == k]) / real[k] for k in found])
    usable = np.isfinite(ratios)  # not so: one fake, or real images that are never read like this
    if not usable.any():
        return {}
    weights = np.ones(len(found)) if several else sizes
    return {"variance_ratio": float(np.average(ratios[usable], weights=weights[usable]))}
