"""Sliced Wasserstein distance of patches (Karras et al. 2018, arXiv:1710.10196, sec. 5).

Fakes and held-out real images are decomposed into Laplacian pyramids (Burt and Adelson 1983). At
each level, 32 patches of 7x7 pixels are drawn from each image. The patches of the fakes and those
of the real images are normalised separately, by their own mean and standard deviation, channel by
channel. The patches are then projected onto random directions, and the distance is the mean
absolute difference of the sorted projections. If it is near 0, the fakes have the structures of
real images at that scale.

The paper took 128 patches of each of 16,384 images and 512 directions, so the paper's figures are
not comparable with these.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from study.metrics.core.view import View

SHOWN = 1_024  # fakes, and as many real images, at most: the distance depends on their number
NEEDS: frozenset[str] = frozenset()
COLUMNS = {
    "swd": "sliced Wasserstein distance of 7x7 patches to those of held-out real images x 1000, "
    f"mean over the levels of a Laplacian pyramid, of {SHOWN:,} images at most",
    "swd_floor": "the same of real training images in place of fakes",
    "swd_finest": "swd of the finest level: sharp detail",
    "swd_coarsest": "swd of the coarsest level: large shapes",
}
DIRECTIONS = {"swd": "minimize", "swd_finest": "minimize", "swd_coarsest": "minimize"}
UNBOUNDED = frozenset({"swd", "swd_finest", "swd_coarsest"})
REAL = {"swd": "swd_floor"}
PATCH = 7  # pixels a side
# No level is halved to fewer pixels a side: a smaller one has hardly room for two patches.
MIN_SIDE = 2 * PATCH
PER_IMAGE = 32  # patches of each image at each level
PROJECTIONS = 128
BLUR = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16


def measure(view: View) -> dict[str, float]:
    n = min(len(view.fakes), len(view.reference.x), SHOWN)
    real, fakes = (pyramid(x[:n].cpu().float() / 127.5 - 1) for x in (view.reference.x, view.fakes))
    levels = []
    for a, b in zip(real, fakes, strict=True):
        p, q = (normalised(patches(level, view.rng)) for level in (a, b))
        levels.append(1000 * sliced_wasserstein(p, q, view.rng))
    mean = sum(levels) / len(levels)
    return {"swd": mean, "swd_finest": levels[0], "swd_coarsest": levels[-1]}


def pyramid(x: Tensor) -> list[Tensor]:
    """Laplacian pyramid of images x [N, C, H, W], finest level first.

    Each level but the last is what an image of that size adds to the next smaller image, which has
    half the size. The last level is the smallest image itself. The sum of all levels, each enlarged
    to the full size, is x.

    Raises:
        ValueError: the images are smaller than a patch.
    """
    if min(x.shape[2:]) < PATCH:
        raise ValueError(f"swd needs {PATCH} pixels: images are {x.shape[2]}x{x.shape[3]}")
    levels = []
    while min(x.shape[2:]) // 2 >= MIN_SIDE:
        smaller = blur(x)[:, :, ::2, ::2]
        levels.append(x - enlarged(smaller, x))
        x = smaller
    return [*levels, x]


def blur(x: Tensor) -> Tensor:
    """Blur images with Burt and Adelson's five weights along both axes, mirrored at the edges."""
    kernel = torch.outer(BLUR, BLUR).expand(x.shape[1], 1, -1, -1)
    return F.conv2d(F.pad(x, (2, 2, 2, 2), "reflect"), kernel, groups=x.shape[1])


def enlarged(smaller: Tensor, like: Tensor) -> Tensor:
    """Enlarge images of half the size to the size of `like`."""
    spread = torch.zeros_like(like)
    spread[:, :, ::2, ::2] = smaller
    return blur(spread) * 4


def patches(x: Tensor, rng: torch.Generator) -> Tensor:
    """Patches [N * PER_IMAGE, C, PATCH, PATCH] at random places of images x [N, C, H, W]."""
    windows = x.unfold(2, PATCH, 1).unfold(3, PATCH, 1)  # [N, C, rows, columns, 7, 7]
    n = len(x) * PER_IMAGE
    image = torch.arange(len(x)).repeat_interleave(PER_IMAGE)
    row, column = (torch.randint(windows.shape[i], (n,), generator=rng) for i in (2, 3))
    return windows[image, :, row, column]


def normalised(x: Tensor) -> Tensor:
    """Patches x [N, C, ...] with mean 0 and standard deviation 1 in each channel, flat: [N, P].

    A channel that is constant over all patches, as in G's first images, becomes 0.
    """
    dims = [0, *range(2, x.ndim)]
    x = x - x.mean(dims, keepdim=True)
    return (x / x.std(dims, keepdim=True).clamp_min(1e-8)).flatten(1)


def sliced_wasserstein(a: Tensor, b: Tensor, rng: torch.Generator) -> float:
    """1-Wasserstein distance of points a, b [N, P] along directions, mean over random ones."""
    directions = F.normalize(torch.randn(a.shape[1], PROJECTIONS, generator=rng), dim=0)
    along = [(points @ directions).T.contiguous().sort().values for points in (a, b)]
    return float((along[0] - along[1]).abs().mean())
