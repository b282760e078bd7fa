"""Does an independent judge see the objects that were asked for? For images of several labels.

The accuracy is the i-CLEVR lab's: an image with k labels counts the hits among the judge's k
highest outputs. G is asked for the data's own label sets, such as `test` and `new_test`. Each label
set is asked for EACH times with different noise. The label sets of training images, for which the
view's fakes are drawn, serve other metrics.
"""

from __future__ import annotations

import numpy as np
import torch

from study.metrics.core.judge import accuracy
from study.metrics.core.view import View

NEEDS = frozenset({"labels", "several_labels"})
COLUMNS = {
    "topk_accuracy": "share of the labels asked for that are among the judge's k highest outputs, "
    "k labels asked for, over all test label sets",
    "topk_accuracy/test": "the same over the label sets of test.json",
    "topk_accuracy/new_test": "the same over the label sets of new_test.json",
    "topk_accuracy_real": "the same on held-out real images: the ceiling",
    "topk_random": "the same of a judge that guesses: the floor",
    "exact_set": "share of fakes in which the judge sees (output > 1/2) the labels asked for and "
    "no other",
}
DIRECTIONS = {
    "topk_accuracy": "maximize",
    "topk_accuracy/test": "maximize",
    "topk_accuracy/new_test": "maximize",
    "exact_set": "maximize",
}
BY_LABELS = frozenset(COLUMNS)
EACH = 4  # fakes per label set and evaluation


def measure(view: View) -> dict[str, float]:
    reference, gan = view.reference, view.gan
    series = {name: y.repeat(EACH, 1) for name, y in reference.conditions.items()}
    y = torch.cat([*series.values()])
    # A generator of its own keeps the noise independent of what other metrics have drawn.
    seed = torch.Generator().manual_seed(view.rng.initial_seed())
    fakes = view.once("multilabel", lambda: gan.sample(y, len(y), seed))
    logits = view.judge.logits(fakes)
    row = {
        "topk_accuracy": accuracy(logits, y.numpy()),
        "topk_accuracy_real": reference.label_accuracy_real,
        "topk_random": float(y.sum(1).double().square().sum() / y.sum() / reference.classes),
        "exact_set": float(((logits > 0) == y.numpy().astype(bool)).all(1).mean()),
    }
    ends = np.cumsum([len(asked) for asked in series.values()])
    for (name, asked), part in zip(series.items(), np.split(logits, ends[:-1]), strict=True):
        row[f"topk_accuracy/{name}"] = accuracy(part, asked.numpy())
    return row
