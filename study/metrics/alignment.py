"""Do learned tangents at an image span the affine changes of that same image?

The affine changes are shifts, turns, scalings and shears: six directions at each image. The metric
is the mean cosine of the principal angles between their span and the span of the k learned tangents
at held-out real images. The cosines are the singular values of the product of the two orthonormal
bases (Björck and Golub 1973).

Random directions are too weak a control: any direction that looks like a stroke is nearer to the
affine directions than white noise is, no matter at which image the direction was learned. The main
control is therefore the same network's tangents at another image.
"""

from __future__ import annotations

import torch
from torch import Tensor

from study.metrics.core.view import View
from trainables.core.affine import affine_tangents, orthonormal
from trainables.core.images import to_float

SHOWN = 256  # held-out real images, at most
NEEDS = frozenset({"tangents"})
COLUMNS = {
    "alignment": "mean cosine of the principal angles between the span of the tangents at "
    f"at most {SHOWN} held-out real images and that of affine changes; 1 is the same span",
    "alignment_random": "the same of as many random directions",
    "alignment_elsewhere": "the same of the tangents at another image",
    "alignment_gain": "alignment - alignment_elsewhere",
}
DIRECTIONS = {"alignment": "maximize", "alignment_gain": "maximize"}


def measure(view: View) -> dict[str, float]:
    gan = view.gan
    x = to_float(view.reference.x[:SHOWN].to(gan.device))
    own = gan.tangents(x, view.rng).cpu()
    affine = orthonormal(affine_tangents(x).flatten(2).cpu())
    of_own = principal_cosines(own, affine)
    elsewhere = principal_cosines(own.roll(1, 0), affine)
    chance = principal_cosines(orthonormal(torch.randn(own.shape, generator=view.rng)), affine)
    return {
        "alignment": of_own,
        "alignment_random": chance,
        "alignment_elsewhere": elsewhere,
        "alignment_gain": of_own - elsewhere,
    }


def principal_cosines(a: Tensor, b: Tensor) -> float:
    """Mean over images and angles; the rows of a [N, k, P] and b [N, l, P] are orthonormal."""
    return float(torch.linalg.svdvals(a @ b.mT).mean())
