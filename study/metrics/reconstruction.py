"""Does E invert G?

Held-out real images x are encoded and drawn again as G(E(x)). G(E(x)) is compared with x in pixels,
in the judge's features and by the label that the judge reads. Each column is also measured with
encoders of the same architecture that were never trained.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from study.metrics.core.view import View
from study.metrics.encoder import SHOWN, means, untrained
from trainables.core.gan import Gan
from trainables.core.images import to_float

_RATIO = (
    f"mean distance of at most {SHOWN:,} real images to their G(E(x)) over that to other images'"
)
_TRAINED = {
    "reconstruction/pixels": f"{_RATIO}, Euclid in pixels (EGr / EGr_b); 1 is chance",
    "reconstruction/features": f"{_RATIO}, in the judge's features; 1 is chance",
    "reconstruction/labels": f"share of at most {SHOWN:,} held-out real images whose G(E(x)) the "
    "judge reads as the image's own label",
}
NEEDS = frozenset({"encodes", "one_label"})
COLUMNS = _TRAINED | {
    f"{name}_random": f"{name} of the same G with an E never trained" for name in _TRAINED
}
DIRECTIONS = {
    "reconstruction/pixels": "minimize",
    "reconstruction/features": "minimize",
    "reconstruction/labels": "maximize",
}
BY_FEATURES = frozenset({"reconstruction/features", "reconstruction/features_random"})
BY_LABELS = frozenset({"reconstruction/labels", "reconstruction/labels_random"})


def measure(view: View) -> dict[str, float]:
    features = view.judge.features(view.reference.x[:SHOWN])
    own, *others = view.once(
        "reconstruction", lambda: [_again(view, one) for one in (view.gan, *untrained(view))]
    )
    row = _of(view, own, features)
    random = means(_of(view, again, features) for again in others)
    return row | {f"{name}_random": value for name, value in random.items()}


def _again(view: View, encoder: Gan) -> Tensor:
    """G(E(x)) of the real images shown, uint8; the view's G draws it from the encoder's codes."""
    shown, labels = view.reference.x[:SHOWN], view.reference.y[:SHOWN]
    codes = encoder.encode(to_float(shown.to(encoder.device)))
    asked = labels if view.gan.conditional else None
    return view.gan.sample(asked, len(codes), view.rng, codes).cpu()


def _of(view: View, again: Tensor, real: NDArray[np.float64]) -> dict[str, float]:
    """The columns in `_TRAINED` for one encoder.

    Args:
        again: G(E(x)).
        real: the judge's features of x.
    """
    shown, labels = view.reference.x[:SHOWN], view.reference.y[:SHOWN]
    read = view.judge.logits(again)[:, : view.reference.classes].argmax(1)
    return {
        "reconstruction/pixels": distance_ratio(shown.flatten(1).numpy(), again.flatten(1).numpy()),
        "reconstruction/features": distance_ratio(real, view.judge.features(again)),
        "reconstruction/labels": float((read == labels.numpy()).mean()),
    }


def distance_ratio(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Mean distance of each row of a to the same row of b, over that to the other rows of b.

    a and b are [N, d] each; the distance is Euclidean.
    """
    distances = torch.cdist(torch.from_numpy(a).double(), torch.from_numpy(b).double())
    own, n = float(distances.trace()), len(a)
    return own / n / ((float(distances.sum()) - own) / (n * (n - 1)))
