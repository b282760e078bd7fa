"""Networks that grow (Karras, Aila, Laine, Lehtinen 2018, arXiv:1710.10196), for `pggan`.

All layers are there from the start. How far a network has grown is a number, the level: at 1 it
has layers for images of the second size, at 1.3 those of the third are faded in by .3.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

SMALLEST = 4  # pixels a side
UNCUT = 32  # pixels a side up to which all layers have f maps; from there on half per doubling
GROUP = 4  # images that are compared by the minibatch standard deviation
HE = math.sqrt(2)

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


def growth(size: tuple[int, int]) -> list[tuple[int, int]]:
    """Sizes [H, W] of the images on the way to `size`: halved while they are even and not small."""
    sizes = [size]
    while all(side % 2 == 0 and side // 2 >= SMALLEST for side in sizes[0]):
        sizes.insert(0, (sizes[0][0] // 2, sizes[0][1] // 2))
    return sizes


class Scaled(nn.Module):
    """A layer's weights times a constant."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.scale


def equalised(layer: Layer, gain: float = HE) -> Layer:
    """Weights N(0, 1), times He's gain / sqrt(fan in) wherever they are used; biases 0 (sec. 4.1).

    So Adam's steps are as large, relative to the weights, in each layer.
    """
    nn.init.normal_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    register_parametrization(layer, "weight", Scaled(gain / math.sqrt(layer.weight[0].numel())))
    return layer


class PixelNorm(nn.Module):
    """Each place's vector of maps [N, C, ...] at a root mean square of 1 (sec. 4.2)."""

    def forward(self, x: Tensor) -> Tensor:
        power = x.float().square().mean(1, keepdim=True)
        return x * (power + 1e-8).rsqrt().to(x.dtype)


class MinibatchStddev(nn.Module):
    """One more map, the same everywhere: standard deviations over groups of four images, mean over
    maps and places (sec. 3). [N, C, H, W] -> [N, C + 1, H, W], N a multiple of four."""

    def forward(self, x: Tensor) -> Tensor:
        groups = x.float().view(-1, GROUP, *x.shape[1:])
        deviation = (groups.var(1, correction=0) + 1e-8).sqrt().mean((1, 2, 3))
        spread = deviation.repeat_interleave(GROUP).to(x.dtype)
        return torch.cat([x, spread[:, None, None, None].expand(-1, 1, *x.shape[2:])], dim=1)


def half(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 2)


def twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0)  # nearest


def faded(level: float) -> tuple[int, float]:
    """The newest layers in use at a level, and how far they are faded in: (0, 1]."""
    newest = math.ceil(level)
    return newest, 1 - (newest - level)


def width(f: int, size: tuple[int, int]) -> int:
    """Maps of the layers of a size."""
    return max(1, f * UNCUT // max(UNCUT, *size))


class GrowingGenerator(nn.Module):
    """Dense and conv3; for each further size upsampling and two conv3; LReLU and pixel norm after
    each; images by a linear 1x1 convolution of each size's own (table 2)."""

    def __init__(self, z_dim: int, f: int, sizes: list[tuple[int, int]], channels: int) -> None:
        super().__init__()
        widths = [width(f, size) for size in sizes]
        dense = equalised(nn.Linear(z_dim, widths[0] * math.prod(sizes[0])), HE / 4)
        maps = [nn.Unflatten(1, (widths[0], *sizes[0])), nn.LeakyReLU(0.2), PixelNorm()]
        first = nn.Sequential(PixelNorm(), dense, *maps, *self.conv3(widths[0], widths[0]))
        self.stages = nn.ModuleList([first])
        for wide, narrow in pairwise(widths):
            convs = [*self.conv3(wide, narrow), *self.conv3(narrow, narrow)]
            self.stages.append(nn.Sequential(nn.Upsample(scale_factor=2), *convs))
        self.images = nn.ModuleList(equalised(nn.Conv2d(w, channels, 1), 1.0) for w in widths)

    @staticmethod
    def conv3(wide: int, narrow: int) -> list[nn.Module]:
        return [equalised(nn.Conv2d(wide, narrow, 3, 1, 1)), nn.LeakyReLU(0.2), PixelNorm()]

    def forward(self, z: Tensor, level: float) -> Tensor:
        """z [N, z_dim] -> images [N, C, h, w] of the newest size at this level."""
        newest, alpha = faded(level)
        x = z
        for stage in self.stages[:newest]:
            x = stage(x)
        images: Tensor = self.images[newest](self.stages[newest](x)).float()
        if alpha < 1:
            images = twice(self.images[newest - 1](x).float()).lerp(images, alpha)
        return images


class GrowingDiscriminator(nn.Module):
    """G's mirror image: 1x1 convolution from images, two conv3 and a mean over 2x2 pixels for each
    size but the smallest; there minibatch stddev, conv3, dense, and a dense critic (table 2)."""

    def __init__(
        self, channels: int, f: int, sizes: list[tuple[int, int]], minibatch_stddev: bool
    ) -> None:
        super().__init__()
        widths = [width(f, size) for size in sizes]
        w, stddev = widths[0], [MinibatchStddev()] if minibatch_stddev else []
        dense = [equalised(nn.Linear(w * math.prod(sizes[0]), w)), nn.LeakyReLU(0.2)]
        critic = [nn.Flatten(), *dense, equalised(nn.Linear(w, 1), 1.0)]
        last = nn.Sequential(*stddev, *self.conv(w + len(stddev), w, 3), *critic)
        self.stages = nn.ModuleList([last])
        for wide, narrow in pairwise(widths):
            convs = [*self.conv(narrow, narrow, 3), *self.conv(narrow, wide, 3)]
            self.stages.append(nn.Sequential(*convs, nn.AvgPool2d(2)))
        self.images = nn.ModuleList(nn.Sequential(*self.conv(channels, w, 1)) for w in widths)

    @staticmethod
    def conv(narrow: int, wide: int, size: int) -> list[nn.Module]:
        return [equalised(nn.Conv2d(narrow, wide, size, 1, size // 2)), nn.LeakyReLU(0.2)]

    def forward(self, x: Tensor, level: float) -> Tensor:
        """x [N, C, h, w] of the newest size at this level -> critic's values [N] float32."""
        newest, alpha = faded(level)
        h = self.stages[newest](self.images[newest](x))
        if alpha < 1:
            h = self.images[newest - 1](half(x)).lerp(h, alpha)
        for stage in reversed(self.stages[:newest]):
            h = stage(h)
        out: Tensor = h[:, 0].float()
        return out
