"""Diversity within a class. An accuracy of .99 with a ratio of .01 is a collapse."""

from __future__ import annotations

import numpy as np

from study.metrics.view import View

NEEDS = frozenset({"labels"})
COLUMNS = {
    "variance_ratio": "tr Cov of judge features within a class, fakes / real, mean over classes; "
    "1 is right, near 0 is mode collapse",
}


def measure(view: View) -> dict[str, float]:
    y, real = view.y.numpy(), view.reference.class_traces.numpy()
    present = [label for label in range(len(real)) if (y == label).sum() >= 2]
    ratios = [view.features[y == label].var(0, ddof=1).sum() / real[label] for label in present]
    return {"variance_ratio": float(np.mean(ratios))}
