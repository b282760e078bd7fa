"""Do E's codes tell classes apart?

Nearest neighbours and logistic regression learn labels from the codes of training images and are
scored on the codes of held-out real images.

A random encoder of the same architecture does well in such probes (Donahue 2017 found 1NN .968
before training). Each column is therefore measured for encoders that were never trained, too.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from study.metrics.core.classifier import repeatable
from study.metrics.core.view import View
from trainables.core.gan import Gan
from trainables.core.images import to_float

PROBED = 10_000  # training images that the probes learn from, at most
NEIGHBOURS = 5
# Held-out images, at most. The reference may hold ten times as many for other metrics of a study.
SHOWN = 1_024
RANDOM = 3  # untrained encoders, whose mean is the control

_CODES = f"a probe on E(x) that has seen {PROBED:,} training images"
_TRAINED = {
    "encoder/knn": f"accuracy on held-out real images of the {NEIGHBOURS} nearest neighbours, "
    + _CODES,
    "encoder/linear": f"accuracy on held-out real images of logistic regression, {_CODES}",
}
NEEDS = frozenset({"encodes", "one_label"})
COLUMNS = (
    _TRAINED
    | {f"{name}_random": f"{name} with an E never trained" for name in _TRAINED}
    | {f"{name}_gain": f"{name} minus {name}_random" for name in _TRAINED}
)
DIRECTIONS = {
    "encoder/knn": "maximize",
    "encoder/linear": "maximize",
    "encoder/knn_gain": "maximize",
    "encoder/linear_gain": "maximize",
}


def measure(view: View) -> dict[str, float]:
    """The values of all columns.

    Raises:
        ValueError: the view has no training images.
    """
    if view.train is None:
        raise ValueError("metric 'encoder' needs the training images in its view")
    rows = torch.randperm(len(view.train[0]), generator=view.rng)[:PROBED]
    x, y = (part[rows.to(part.device)] for part in view.train)
    row = _of(view, view.gan, x, y)
    random = means(_of(view, other, x, y) for other in untrained(view))
    return (
        row
        | {f"{name}_random": value for name, value in random.items()}
        | {f"{name}_gain": row[name] - random[name] for name in row}
    )


def _of(view: View, encoder: Gan, x: Tensor, y: Tensor) -> dict[str, float]:
    """The columns in `_TRAINED` for one encoder. Probes learn from the images x with labels y."""
    shown, labels = view.reference.x[:SHOWN], view.reference.y[:SHOWN]
    found = encoder.encode(to_float(shown.to(encoder.device))).cpu().numpy()
    learnt = encoder.encode(to_float(x)).cpu().numpy()
    knn = KNeighborsClassifier(NEIGHBOURS).fit(learnt, y.cpu())
    regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1_000))
    regression.fit(learnt, y.cpu())
    return {
        "encoder/knn": float(knn.score(found, labels)),
        "encoder/linear": float(regression.score(found, labels)),
    }


def untrained(view: View) -> Iterator[Gan]:
    """Yield RANDOM GANs of the same architecture that were never trained.

    Their BatchNorm averages stay at their initial values, too. With averages that had settled on
    these images the codes would be whitened, which makes a weaker control (MNIST: kNN .83 instead
    of .86).
    """
    gan = view.gan
    for seed in torch.randint(2**31, (RANDOM,), generator=view.rng).tolist():
        with repeatable(gan.device, seed):
            fresh = type(gan)(gan.config, gan.data_spec, gan.device, gan.bf16)
        yield fresh


def means(rows: Iterator[dict[str, float]]) -> dict[str, float]:
    """The mean of each column over rows of the same columns."""
    first, *others = rows
    return {name: float(np.mean([row[name] for row in (first, *others)])) for name in first}
