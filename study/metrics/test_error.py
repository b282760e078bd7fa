"""How D reads real images that it was not trained on: D as a classifier, whatever G makes."""

from __future__ import annotations

import numpy as np

from study.metrics.class_loss import class_logits
from study.metrics.judge import accuracy
from study.metrics.view import View

NEEDS = frozenset({"classifies", "one_label"})
COLUMNS = {
    "validation_error": "share of held-out real images that D's class head reads wrong, in one "
    "half of them: what a search goes by; lower is better",
    "test_error": "the same in the other half, which nothing was chosen on; lower is better",
    "test_accuracy": "1 - test_error",
}
HELD_OUT = 10_000


def measure(view: View) -> dict[str, float]:
    x, y = view.reference.x, view.reference.y
    errors = []
    for rows in np.array_split(np.arange(len(y)), 2):  # they are in random order
        logits = class_logits(view, x[rows]).numpy()
        errors.append(1 - accuracy(logits, y[rows[: len(logits)]].numpy()))
    return {
        "validation_error": errors[0],
        "test_error": errors[1],
        "test_accuracy": 1 - errors[1],
    }
