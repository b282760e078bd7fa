"""How an image changes as it is shifted, turned, scaled, stretched and sheared (Simard 1998)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# Generators of the affine group, [2, 3] in pixels about the centre: shifts to the right and down, a
# clockwise turn, growth, a stretch along one axis, a stretch along the diagonal.
GENERATORS = (
    ((0, 0, 1), (0, 0, 0)),
    ((0, 0, 0), (0, 0, 1)),
    ((0, -1, 0), (1, 0, 0)),
    ((1, 0, 0), (0, 1, 0)),
    ((1, 0, 0), (0, -1, 0)),
    ((0, 1, 0), (1, 0, 0)),
)
STEP = 0.01  # to both sides, within a pixel: interpolation is linear there


def affine_tangents(x: Tensor) -> Tensor:
    """d x / d t for each generator: images [N, C, H, W] -> [N, 6, C, H, W], per pixel of shift,
    radian of turn, factor e of growth and stretch; by central differences."""
    h, w = x.shape[-2:]
    # affine_grid's coordinates go from -1 to 1 along both sides.
    units = x.new_tensor([[1, h / w, 2 / w], [w / h, 1, 2 / h]])
    still = x.new_tensor([[1, 0, 0], [0, 1, 0]])
    tangents = []
    for generator in GENERATORS:
        move = STEP * units * x.new_tensor(generator)
        # A grid says where a pixel comes from, hence the signs; beyond the border all is alike.
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
    """An orthonormal basis, by rows, of the span of rows: [N, k, P] -> [N, k, P]."""
    basis: Tensor = torch.linalg.qr(rows.mT)[0].mT
    return basis
