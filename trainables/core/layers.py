"""Networks that several variants share. They take any image size and number of channels."""

import itertools
import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

Norm = Literal["bn", "bn_joint", "sn", "none"]


def halvings(size: tuple[int, int]) -> int:
    """How many stride-2 steps reduce the image to a map of at most 8 pixels a side; at least 1."""
    return max(1, math.ceil(math.log2(max(size) / 8)))


def init_normal(module: nn.Module) -> None:
    """Set weights to N(0, .02) and biases to 0, as in DCGAN (Radford 2015, sec. 3)."""
    for m in module.modules():
        if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(m.weight, 0.0, 0.02)
            if m.bias is not None:
                nn.init.zeros_(m.bias)


class ConditionalNorm(nn.Module):
    """Batch norm whose gain and bias are linear in the condition (Dumoulin 2017; Miyato 2018)."""

    def __init__(self, norm: nn.Module, channels: int, condition: int) -> None:
        super().__init__()
        self.norm = norm
        self.affine = nn.Linear(condition, 2 * channels, bias=False)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x [N, C, ...], condition [N, condition] -> [N, C, ...]."""
        affine = self.affine(condition).view(len(x), -1, *[1] * (x.ndim - 2))
        gain, bias = affine.chunk(2, dim=1)
        out: Tensor = self.norm(x) * (1 + gain) + bias
        return out


class Generator(nn.Module):
    """FC of 16f units, FC to a small map, then transposed convolutions up to the image.

    BN and ReLU follow each layer but the last, which ends in tanh. If `condition` is above 0, the
    norms are conditional, and `condition` is the length of the condition's vector.
    """

    def __init__(
        self, inputs: int, f: int, size: tuple[int, int], channels: int, condition: int = 0
    ) -> None:
        super().__init__()
        ups = halvings(size)
        h, w = (math.ceil(side / 2**ups) for side in size)
        widths = [f * 2 ** (ups - 1 - i) for i in range(ups)]  # 28 px: 2f at 7x7, f at 14x14
        self.size = size

        def norm(kind: type[nn.BatchNorm1d] | type[nn.BatchNorm2d], width: int) -> nn.Module:
            if not condition:
                return kind(width)
            return ConditionalNorm(kind(width, affine=False), width, condition)

        self.stem = nn.Sequential(
            nn.Linear(inputs, 16 * f, bias=False),
            norm(nn.BatchNorm1d, 16 * f),
            nn.ReLU(inplace=True),
            nn.Linear(16 * f, widths[0] * h * w, bias=False),
            norm(nn.BatchNorm1d, widths[0] * h * w),
            nn.ReLU(inplace=True),
            nn.Unflatten(1, (widths[0], h, w)),
        )
        blocks: list[nn.Module] = []
        for wide, narrow in itertools.pairwise(widths):
            blocks += [
                nn.ConvTranspose2d(wide, narrow, 4, 2, 1, bias=False),
                norm(nn.BatchNorm2d, narrow),
                nn.ReLU(inplace=True),
            ]
        self.blocks = nn.Sequential(*blocks, nn.ConvTranspose2d(widths[-1], channels, 4, 2, 1))
        init_normal(self)

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """z [N, inputs], condition [N, condition] -> images [N, C, H, W] in [-1, 1]."""
        x = z
        for layer in [*self.stem, *self.blocks]:
            x = layer(x, condition) if isinstance(layer, ConditionalNorm) else layer(x)
        return torch.tanh(x[:, :, : self.size[0], : self.size[1]])


class CosineLinear(nn.Module):
    """Logits `SCALE` * cos(features, w_k). The norm of a class's weights has no effect on them."""

    SCALE = 10.0  # with orthogonal weights of 49 classes, cross-entropy can fall to .002

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * 0.02)

    def forward(self, x: Tensor) -> Tensor:
        return self.SCALE * F.linear(F.normalize(x), F.normalize(self.weight))


class Discriminator(nn.Module):
    """Stride-2 convolutions f, 2f, ..., FC 16f, and a linear layer to the outputs; LReLU .2.

    In all convolutions but the first, BN follows LReLU. After FC 16f, BN precedes LReLU. Both are
    as in recipe A of the Kuzushiji write-up. With "bn", BN always uses the statistics of the
    current batch: real and generated images come in separate batches, and running averages over
    both would describe neither. "bn_joint" is for batches that hold both kinds, and keeps running
    averages. SN is on every layer but `CosineLinear` (Miyato 2018). Dropout of whole channels comes
    between LReLU and BN, as in recipe B of the i-CLEVR lab.
    """

    def __init__(
        self,
        channels: int,
        f: int,
        size: tuple[int, int],
        norm: Norm,
        outputs: int,
        cosine: int = 0,
        dropout: float = 0.0,
    ) -> None:
        """`outputs` outputs are linear in the features; `cosine` more are from `CosineLinear`."""
        super().__init__()
        widths = [channels, *(f * 2**i for i in range(halvings(size)))]
        h, w = size
        batch_norm, joint = norm in ("bn", "bn_joint"), norm == "bn_joint"
        layers: list[nn.Module] = []
        for i, (narrow, wide) in enumerate(itertools.pairwise(widths)):
            layers += [nn.Conv2d(narrow, wide, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
            if dropout:
                layers.append(nn.Dropout2d(dropout))
            if batch_norm and i > 0:
                layers.append(nn.BatchNorm2d(wide, track_running_stats=joint))
            h, w = h // 2, w // 2
        layers += [nn.Flatten(), nn.Linear(widths[-1] * h * w, 16 * f)]
        if batch_norm:
            layers.append(nn.BatchNorm1d(16 * f, track_running_stats=joint))
        layers.append(nn.LeakyReLU(0.2, inplace=True))
        self.features = nn.Sequential(*layers)
        self.linear = nn.Linear(16 * f, outputs)
        self.cosine = CosineLinear(16 * f, cosine) if cosine else None
        init_normal(self)
        if norm == "sn":
            for m in [*self.features, self.linear]:
                if isinstance(m, nn.Conv2d | nn.Linear):
                    spectral_norm(m)

    def forward(self, x: Tensor) -> Tensor:
        """x [N, C, H, W] -> [N, outputs + cosine] float32."""
        features = self.features(x)
        out: Tensor = self.linear(features)
        if self.cosine is not None:
            out = torch.cat([out, self.cosine(features)], dim=1)
        return out.float()
