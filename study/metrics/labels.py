"""Does an independent judge read in a fake the label that was asked for (GAN-test)?

The judge is a network trained on real images. D's own class head is never used as the judge.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from study.metrics.core.view import View

NEEDS = frozenset({"labels", "one_label"})
COLUMNS = {
    "label_accuracy": "share of fakes whose label the judge reads as asked",
    "label_accuracy_matched": "the same under the permutation of labels that suits G best "
    "(Hungarian): far above label_accuracy, labels are permuted; both low, images are no letters",
    "label_accuracy_real": "the judge's own accuracy on held-out real images of these classes",
    "label_accuracy_relative": "label_accuracy / label_accuracy_real",
    "label_error_relative": "1 - label_accuracy_relative",
    "classes_working": "share of classes of which the judge reads at least half as asked",
}
DIRECTIONS = {
    "label_accuracy": "maximize",
    "label_accuracy_relative": "maximize",
    "classes_working": "maximize",
    "label_error_relative": "minimize",
}
BY_LABELS = frozenset(COLUMNS)


def measure(view: View) -> dict[str, float]:
    classes = view.reference.classes
    confusion = np.zeros((classes, classes), dtype=np.int64)  # asked x read
    np.add.at(confusion, (view.y.numpy(), view.predicted), 1)
    asked, total = confusion.sum(1), confusion.sum()
    present = asked > 0
    matched = confusion[linear_sum_assignment(confusion, maximize=True)].sum()
    accuracy = float(confusion.trace() / total)
    real = view.reference.label_accuracy_real
    return {
        "label_accuracy": accuracy,
        "label_accuracy_matched": float(matched / total),
        "label_accuracy_real": real,
        "label_accuracy_relative": accuracy / real,
        "label_error_relative": 1 - accuracy / real,
        "classes_working": float((confusion.diagonal() >= asked / 2)[present].mean()),
    }
