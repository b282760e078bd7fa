"""Networks that several variants share, for any image size and channel count."""

import itertools
import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

Norm = Literal["bn", "sn", "none"]


def halvings(size: tuple[int, int]) -> int:
    """How many stride-2 steps lead from the image to a map of at most 8 pixels a side."""
    return max(1, math.ceil(math.log2(max(size) / 8)))


def init_normal(module: nn.Module) -> None:
    """Weights N(0, .02), biases 0, as in DCGAN (Radford 2015, sec. 3)."""
    for m in module.modules():
        if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(m.weight, 0.0, 0.02)
            if m.bias is not None:
                nn.init.zeros_(m.bias)


class Generator(nn.Module):
    """FC 16f, FC to a small map, transposed convolutions up to the image; BN, ReLU, tanh."""

    def __init__(self, inputs: int, f: int, size: tuple[int, int], channels: int) -> None:
        super().__init__()
        ups = halvings(size)
        h, w = (math.ceil(side / 2**ups) for side in size)
        widths = [f * 2 ** (ups - 1 - i) for i in range(ups)]  # 28 px: 2f at 7x7, f at 14x14
        self.size = size
        self.stem = nn.Sequential(
            nn.Linear(inputs, 16 * f, bias=False),
            nn.BatchNorm1d(16 * f),
            nn.ReLU(inplace=True),
            nn.Linear(16 * f, widths[0] * h * w, bias=False),
            nn.BatchNorm1d(widths[0] * h * w),
            nn.ReLU(inplace=True),
            nn.Unflatten(1, (widths[0], h, w)),
        )
        blocks: list[nn.Module] = []
        for wide, narrow in itertools.pairwise(widths):
            blocks += [
                nn.ConvTranspose2d(wide, narrow, 4, 2, 1, bias=False),
                nn.BatchNorm2d(narrow),
                nn.ReLU(inplace=True),
            ]
        self.blocks = nn.Sequential(*blocks, nn.ConvTranspose2d(widths[-1], channels, 4, 2, 1))
        init_normal(self)

    def forward(self, z: Tensor) -> Tensor:
        """z [N, inputs] -> images [N, C, H, W] in [-1, 1]."""
        images = self.blocks(self.stem(z))
        return torch.tanh(images[:, :, : self.size[0], : self.size[1]])


class Discriminator(nn.Module):
    """Stride-2 convolutions f, 2f, ..., FC 16f, and a linear layer to the outputs; LReLU .2.

    BN follows LReLU in all convolutions but the first, and precedes it after FC 16f, as in recipe A
    of the Kuzushiji write-up. It always uses the statistics of the batch at hand: real
    and generated images come in batches of their own, and running averages over both would
    describe neither. SN is on every layer (Miyato 2018). Dropout of whole channels comes between
    LReLU and BN, as in recipe B of the i-CLEVR lab.
    """

    def __init__(
        self,
        channels: int,
        f: int,
        size: tuple[int, int],
        norm: Norm,
        outputs: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        widths = [channels, *(f * 2**i for i in range(halvings(size)))]
        h, w = size
        layers: list[nn.Module] = []
        for i, (narrow, wide) in enumerate(itertools.pairwise(widths)):
            layers += [nn.Conv2d(narrow, wide, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
            if dropout:
                layers.append(nn.Dropout2d(dropout))
            if norm == "bn" and i > 0:
                layers.append(nn.BatchNorm2d(wide, track_running_stats=False))
            h, w = h // 2, w // 2
        layers += [nn.Flatten(), nn.Linear(widths[-1] * h * w, 16 * f)]
        if norm == "bn":
            layers.append(nn.BatchNorm1d(16 * f, track_running_stats=False))
        layers.append(nn.LeakyReLU(0.2, inplace=True))
        self.layers = nn.Sequential(*layers, nn.Linear(16 * f, outputs))
        init_normal(self)
        if norm == "sn":
            for m in self.layers:
                if isinstance(m, nn.Conv2d | nn.Linear):
                    spectral_norm(m)

    def forward(self, x: Tensor) -> Tensor:
        """x [N, C, H, W] -> [N, outputs] float32."""
        out: Tensor = self.layers(x)
        return out.float()
