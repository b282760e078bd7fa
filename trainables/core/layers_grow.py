"""Networks that grow (Karras, Aila, Laine, Lehtinen 2018, arXiv:1710.10196), for `pggan`.

All layers are created at the start. A number, the level, says how far a network has grown: at level
1 it uses the layers for images of the second size; at 1.3 the layers for the third size are faded
in by .3.
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
UNCUT = 32  # pixels a side up to which layers have f maps; each doubling beyond halves them
GROUP = 4  # images in a group of the minibatch standard deviation
HE = math.sqrt(2)  # gain of He's initialisation

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


def growth(size: tuple[int, int]) -> list[tuple[int, int]]:
    """Sizes (H, W) of the images on the way to `size`, the smallest first.

    `size` is halved as long as both sides are even and their halves have `SMALLEST` pixels or more.
    """
    sizes = [size]
    while all(side % 2 == 0 and side // 2 >= SMALLEST for side in sizes[0]):
        sizes.insert(0, (sizes[0][0] // 2, sizes[0][1] // 2))
    return sizes


class Scaled(nn.Module):
    """Multiplies a layer's weights by a constant."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.scale


def equalised(layer: Layer, gain: float = HE) -> Layer:
    """Equalise a layer's learning rate (sec. 4.1): weights N(0, 1), biases 0.

    Whenever the weights are used, they are multiplied by He's gain / sqrt(fan in). Adam's steps are
    thus equally large, relative to the weights, in all layers.
    """
    nn.init.normal_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    register_parametrization(layer, "weight", Scaled(gain / math.sqrt(layer.weight[0].numel())))
    return layer


class PixelNorm(nn.Module):
    """Scales the vector of C maps at each position to a root mean square of 1 (sec. 4.2).

    [N, C, ...] -> the same shape.
    """

    def forward(self, x: Tensor) -> Tensor:
        power = x.float().square().mean(1, keepdim=True)
        return x * (power + 1e-8).rsqrt().to(x.dtype)


class MinibatchStddev(nn.Module):
    """Adds a map that shows how much the images of a batch differ (sec. 3).

    The map is constant over an image: the standard deviation over the image's group of four, mean
    over maps and positions. [N, C, H, W] -> [N, C + 1, H, W], where N is a multiple of four.
    """

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
    """The index of the newest stage in use at a level, and how far it is faded in: (0, 1]."""
    newest = math.ceil(level)
    return newest, 1 - (newest - level)


def width(f: int, size: tuple[int, int]) -> int:
    """The number of maps of the layers for images of a size."""
    return max(1, f * UNCUT // max(UNCUT, *size))


class GrowingGenerator(nn.Module):
    """G of table 2: a dense layer and conv3; for each further size, upsampling and two conv3.

    LReLU and pixel norm follow the dense layer and each conv3. Each size has its own linear 1x1
    convolution to images.
    """

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
    """D of table 2, G's mirror image: each size has its own 1x1 convolution from images.

    Each size but the smallest has two conv3 and a mean over 2x2 pixels. The smallest has minibatch
    stddev (if switched on), conv3, a dense layer, and a dense layer to the critic's value.
    """

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
