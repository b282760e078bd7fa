"""How an image changes when it is shifted, turned, scaled, stretched or sheared (Simard 1998)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# Generators of the affine group: matrices [2, 3] on pixel coordinates about the image's centre.
# In order: a shift to the right, a shift down, a clockwise turn, growth, a stretch along one axis,
# and a stretch along the diagonal.
GENERATORS = (
    ((0, 0, 1), (0, 0, 0)),
    ((0, 0, 0), (0, 0, 1)),
    ((0, -1, 0), (1, 0, 0)),
    ((1, 0, 0), (0, 1, 0)),
    ((1, 0, 0), (0, -1, 0)),
    ((0, 1, 0), (1, 0, 0)),
)
# Step of the central difference, to each side. The step moves the image by less than a pixel, and
# interpolation is linear within a pixel.
STEP = 0.01


def affine_tangents(x: Tensor) -> Tensor:
    """Derivatives d x / d t of images along each generator, by central differences.

    Takes images x [N, C, H, W] and returns [N, 6, C, H, W]. The unit of t is a pixel for shifts, a
    radian for the turn, and a factor of e for growth and stretches.
    """
    h, w = x.shape[-2:]
    # Conversion from pixels to the coordinates of affine_grid, which go from -1 to 1 on both axes.
    units = x.new_tensor([[1, h / w, 2 / w], [w / h, 1, 2 / h]])
    still = x.new_tensor([[1, 0, 0], [0, 1, 0]])
    tangents = []
    for generator in GENERATORS:
        move = STEP * units * x.new_tensor(generator)
        # A grid says where each pixel comes from. The image before the move therefore has the plus
        # sign. Beyond the border the outermost pixels are repeated.
        before, after = (
            F.grid_sample(
                x,
                F.affine_grid(theta.expand(len(x), 2, 3), list(x.shape), align_corners=False),
                padding_mode="border",
                align_corners=False,
            )
            for theta in (still + move, still - move)
        )
        tangents.append((after - before) / (2 * STEP))
    return torch.stack(tangents, dim=1)


def orthonormal(rows: Tensor) -> Tensor:
    """An orthonormal basis of the span of the given rows, as rows: [N, k, P] -> [N, k, P]."""
    basis: Tensor = torch.linalg.qr(rows.mT)[0].mT
    return basis
