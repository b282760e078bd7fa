"""Coulomb GAN against a standard GAN on MNIST: the seven rows of a public table (claims D).

Recipe D trained each row once, for 100 epochs of 469 batches of 128, and compared their FID on
3,000 samples. A row says D's and G's learning rate, their Keras decays, and eps. Its standard GAN
lost D's sigmoid but kept Keras' binary_crossentropy (`clipped`): `standard_logits` is the same row
with cross-entropy on logits, as it was meant.

At scale quick the published schedule is run in fewer steps (`speed`), so that the rows keep their
ratios: see trainables/standard_gan.py. Rows are not searched; `tuned` is, from scaled distances on.
FCD is the objective everywhere; FID comes with it where its weights are to be had.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from search_spaces.core import Budget, Claim, Condition, Group, Study

if TYPE_CHECKING:
    import optuna


def row(
    d: tuple[float, float], g: tuple[float, float], eps: float | None = None
) -> dict[str, Any]:
    """A row of the table: learning rate and decay of D and of G, eps."""
    rates = {"lr": g[0], "lr_ratio": d[0] / g[0], "decay_d": d[1], "decay_g": g[1]}
    return rates if eps is None else rates | {"eps": eps}


STANDARD = {"variant": "standard_gan", **row((1e-5, 1e-4), (1e-4, 1e-4))}
ROWS: dict[str, Condition] = {
    "coulomb_1": row((1e-3, 1e-3), (1e-3, 1e-3), 1.0),
    "coulomb_2": row((1e-4, 1e-3), (1e-3, 1e-3), 1.0),
    "coulomb_3": row((1e-3, 1e-4), (1e-4, 1e-4), 1.0),
    "coulomb_4": row((1e-3, 1e-3), (1e-3, 1e-3), 0.1),
    "coulomb_5": row((1e-3, 1e-2), (1e-3, 1e-2), 10.0),
    "coulomb_6": row((1e-3, 1e-4), (1e-3, 1e-4), 1.0),
}
