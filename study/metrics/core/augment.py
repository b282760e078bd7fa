"""Change real images at random before a judge learns from them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

TURN, SCALE, SHEAR, SHIFT = 0.1, 0.1, 0.1, 0.1  # radians, factor - 1, and shares of half a side


def turned(x: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Turn each image by a random number of quarters.

    Images that are not square are turned by none or by two quarters.

    Args:
        x: [N, C, H, W].
        rng: on the CPU.

    Returns:
        The turned images, and for each image, int64 [N], which of its possible turns it got.
    """
    quarters = 1 if x.shape[2] == x.shape[3] else 2
    turns = torch.randint(4 // quarters, (len(x),), generator=rng)
    images = [
        torch.rot90(image, int(k) * quarters, (1, 2)) for image, k in zip(x, turns, strict=True)
    ]
    return torch.stack(images), turns.to(x.device)


def warped(x: Tensor, rng: torch.Generator) -> Tensor:
    """Turn, scale, shear and shift each image a little, and mirror half of those in colour.

    Args:
        x: float [N, C, H, W].
        rng: on the CPU.
    """

    def draw(reach: float) -> Tensor:
        return (2 * torch.rand(len(x), generator=rng) - 1) * reach

    angle, shear, right, down = draw(TURN), draw(SHEAR), draw(SHIFT), draw(SHIFT)
    wide, high = 1 + draw(SCALE), 1 + draw(SCALE)
    if x.shape[1] == 3:
        wide = wide * torch.where(torch.rand(len(x), generator=rng) < 0.5, 1.0, -1.0)
    cos, sin = angle.cos(), angle.sin()
    rows = [wide * cos, -high * (sin + shear), right, wide * sin, high * cos, down]
    maps = torch.stack(rows, 1).reshape(-1, 2, 3).to(x.device)
    grid = F.affine_grid(maps, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)
