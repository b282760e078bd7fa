"""The picture of points in the plane: what a sample grid is for images."""

from __future__ import annotations

import torch
from torch import Tensor

REAL, FAKE = (86, 180, 233), (0, 0, 0)  # Okabe & Ito's light blue; black
SIDE = 256  # pixels: one for each level of a coordinate


def scatter(real: Tensor, fakes: Tensor) -> Tensor:
    """Real points [N, 1, 1, 2] and before them fakes [M, 1, 1, 2], uint8 -> uint8 [3, 256, 256].

    The first coordinate goes to the right, the second upwards.
    """
    picture = torch.full((3, SIDE, SIDE), 255, dtype=torch.uint8)
    for points, colour in ((real, REAL), (fakes, FAKE)):
        right, up = points.cpu().long().flatten(1).unbind(1)
        picture[:, SIDE - 1 - up, right] = torch.tensor(colour, dtype=torch.uint8)[:, None]
    return picture
