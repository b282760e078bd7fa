"""Does E invert G, and do E's codes tell classes apart?

Reconstruction: held-out real images x are encoded and drawn again as G(E(x)). G(E(x)) is compared
with x in pixels, in the judge's features and by the label that the judge reads.

Probes: nearest neighbours and logistic regression learn labels from the codes of training images
and are scored on the codes of held-out real images.

A random encoder of the same architecture does well in such probes (Donahue 2017 found 1NN .968
before training). Each column is therefore measured for encoders that were never trained, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from study.metrics.core.classifier import repeatable
from study.metrics.core.view import View
from trainables.core.gan import Gan, to_float

PROBED = 10_000  # training images that the probes learn from, at most
NEIGHBOURS = 5
# Held-out images, at most. The reference may hold ten times as many for other metrics of a study.
SHOWN = 1_024
RANDOM = 3  # untrained encoders, whose mean is the control

_CODES = f"a probe on E(x) that has seen {PROBED:,} training images"
_RATIO = (
    f"mean distance of at most {SHOWN:,} real images to their G(E(x)) over that to other images'"
)
_TRAINED = {
    "reconstruction/pixels": f"{_RATIO}, Euclid in pixels (EGr / EGr_b); 1 is chance",
    "reconstruction/features": f"{_RATIO}, in the judge's features; 1 is chance",
    "reconstruction/labels": f"share of at most {SHOWN:,} held-out real images whose G(E(x)) the "
    "label judge reads as the image's own label",
    "encoder/knn": f"accuracy on held-out real images of the {NEIGHBOURS} nearest neighbours, "
    + _CODES,
    "encoder/linear": f"accuracy on held-out real images of logistic regression, {_CODES}",
}
_GAINS = ("encoder/knn", "encoder/linear")
NEEDS = frozenset({"encodes", "one_label"})
COLUMNS = (
    _TRAINED
    | {f"{name}_random": f"{name} of the same G with an E never trained" for name in _TRAINED}
    | {f"{name}_gain": f"{name} minus {name}_random" for name in _GAINS}
)
DIRECTIONS = {
    "reconstruction/pixels": "minimize",
    "reconstruction/features": "minimize",
    "reconstruction/labels": "maximize",
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
    controls = [_of(view, other, x, y) for other in _untrained(view)]
    random = {name: float(np.mean([control[name] for control in controls])) for name in row}
    return (
        row
        | {f"{name}_random": value for name, value in random.items()}
        | {f"{name}_gain": row[name] - random[name] for name in _GAINS}
    )


def _of(view: View, encoder: Gan, x: Tensor, y: Tensor) -> dict[str, float]:
    """The columns in `_TRAINED` for one encoder; the images G(E(x)) are drawn by the view's G.

    The probes learn from the training images x and their labels y.
    """
    shown, labels = view.reference.x[:SHOWN], view.reference.y[:SHOWN]
    codes = encoder.encode(to_float(shown.to(encoder.device)))
    asked = labels if view.gan.conditional else None
    again = view.gan.sample(asked, len(codes), view.rng, codes).cpu()
    judges = view.judges
    read = judges.logits(again)[:, : view.reference.classes].argmax(1)
    learnt, found = encoder.encode(to_float(x)).cpu().numpy(), codes.cpu().numpy()
    knn = KNeighborsClassifier(NEIGHBOURS).fit(learnt, y.cpu())
    regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1_000))
    regression.fit(learnt, y.cpu())
    return {
        "reconstruction/pixels": distance_ratio(shown.flatten(1).numpy(), again.flatten(1).numpy()),
        "reconstruction/features": distance_ratio(judges.features(shown), judges.features(again)),
        "reconstruction/labels": float((read == labels.numpy()).mean()),
        "encoder/knn": float(knn.score(found, labels)),
        "encoder/linear": float(regression.score(found, labels)),
    }


def distance_ratio(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Mean distance of each row of a to the same row of b, over that to the other rows of b.

    a and b are [N, d] each; the distance is Euclidean.
    """
    distances = cdist(a, b)
    own, n = distances.trace(), len(a)
    return float(own / n / ((distances.sum() - own) / (n * (n - 1))))


def _untrained(view: View) -> Iterator[Gan]:
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
