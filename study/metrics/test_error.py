"""The error of D's class head on real images that D was not trained on.

The metric measures D as a classifier; G's fakes play no part. The held-out real images are split
into two halves: a search goes by the error in the first half (`validation_error`), and nothing is
chosen on the second half (`test_error`).
"""

from __future__ import annotations

import numpy as np

from study.metrics.class_loss import class_logits
from study.metrics.core.judge import accuracy
from study.metrics.core.view import View

NEEDS = frozenset({"classifies", "one_label"})
COLUMNS = {
    "validation_error": "share of held-out real images that D's class head reads wrong, in one "
    "half of them: what a search goes by",
    "test_error": "the same in the other half, which nothing was chosen on",
    "test_accuracy": "1 - test_error",
}
DIRECTIONS = {
    "validation_error": "minimize",
    "test_error": "minimize",
    "test_accuracy": "maximize",
}
HELD_OUT = 10_000


def measure(view: View) -> dict[str, float]:
    x, y = view.reference.x, view.reference.y
    errors = []
    for rows in np.array_split(np.arange(len(y)), 2):  # images are in random order
        logits = class_logits(view, x[rows]).numpy()
        errors.append(1 - accuracy(logits, y[rows[: len(logits)]].numpy()))
    return {
        "validation_error": errors[0],
        "test_error": errors[1],
        "test_accuracy": 1 - errors[1],
    }
