"""DCGAN as in its paper (Radford, Metz, Chintala 2015, arXiv:1511.06434, sec. 3).

Each guideline of the paper is a switch. `dcgan` and the variants based on it differ from the paper:
they have hidden layers, as other write-ups do.
"""

from __future__ import annotations

import itertools
import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StrictBool
from torch import Tensor, nn

from trainables.core.config import Config
from trainables.core.layers import halvings, init_normal
from trainables.dcgan import Dcgan, DcganConfig


class DcganGuidelinesConfig(DcganConfig, frozen=True):
    """By default all guidelines are followed."""

    # Strided convolutions change the size. If False, max-pooling does in D, and upsampling in G.
    strided: StrictBool = True
    g_bn: StrictBool = True
    d_bn: StrictBool = True
    bn_ends: StrictBool = False  # BN also on G's output and D's input; the paper advises against it
    hidden_layers: StrictBool = False  # a fully connected layer of 16f units in G and in D
    g_relu: StrictBool = True  # ReLU in G; if False, LeakyReLU
    d_leaky: StrictBool = True  # LeakyReLU in D; if False, ReLU
    tanh: StrictBool = True  # at G's end; if False, G's output is not bounded
    # The fields below have no choice here: `d_bn` replaces `d_norm`, and the others do not apply.
    d_norm: Literal["bn"] = "bn"
    g_condition: Literal["concat"] = "concat"
    fake_labels: Literal["uniform"] = "uniform"
    d_dropout: Annotated[float, Field(ge=0, le=0, strict=True)] = 0.0


def activation(leaky: bool) -> nn.Module:
    return nn.LeakyReLU(0.2, inplace=True) if leaky else nn.ReLU(inplace=True)


class PaperGenerator(nn.Module):
    """A linear layer to a small map, then transposed convolutions up to the image."""

    def __init__(self, c: DcganGuidelinesConfig, size: tuple[int, int], channels: int) -> None:
        super().__init__()
        ups = halvings(size)
        h, w = (math.ceil(side / 2**ups) for side in size)
        widths = [*(c.f * 2 ** (ups - 1 - i) for i in range(ups)), channels]
        self.size, inputs = size, c.z_dim
        layers: list[nn.Module] = []
        if c.hidden_layers:
            layers.append(nn.Linear(c.z_dim, inputs := 16 * c.f))
            layers += [nn.BatchNorm1d(inputs)] if c.g_bn else []
            layers.append(activation(not c.g_relu))
        layers += [nn.Linear(inputs, widths[0] * h * w), nn.Unflatten(1, (widths[0], h, w))]
        for wide, narrow in itertools.pairwise(widths):
            layers += [nn.BatchNorm2d(wide)] if c.g_bn else []
            layers.append(activation(not c.g_relu))
            if c.strided:
                layers.append(nn.ConvTranspose2d(wide, narrow, 4, 2, 1))
            else:
                layers += [nn.Upsample(scale_factor=2), nn.Conv2d(wide, narrow, 3, 1, 1)]
        layers += [nn.BatchNorm2d(channels)] if c.bn_ends else []
        layers += [nn.Tanh()] if c.tanh else []
        self.layers = nn.Sequential(*layers)
        init_normal(self)

    def forward(self, z: Tensor) -> Tensor:
        """z [N, z_dim] -> images [N, C, H, W]."""
        images: Tensor = self.layers(z)[:, :, : self.size[0], : self.size[1]]
        return images


class PaperDiscriminator(nn.Module):
    """Stride-2 convolutions of f, 2f, ... maps, and a linear layer.

    With `d_bn`, all convolutions but the first have BN, which always uses the statistics of the
    current batch.
    """

    def __init__(self, c: DcganGuidelinesConfig, size: tuple[int, int], channels: int) -> None:
        super().__init__()
        widths = [channels, *(c.f * 2**i for i in range(halvings(size)))]
        h, w = size
        layers: list[nn.Module] = []
        if c.bn_ends:
            layers.append(nn.BatchNorm2d(channels, track_running_stats=False))
        for i, (narrow, wide) in enumerate(itertools.pairwise(widths)):
            layers.append(nn.Conv2d(narrow, wide, *((4, 2, 1) if c.strided else (3, 1, 1))))
            if c.d_bn and i > 0:
                layers.append(nn.BatchNorm2d(wide, track_running_stats=False))
            layers.append(activation(c.d_leaky))
            layers += [] if c.strided else [nn.MaxPool2d(2)]
            h, w = h // 2, w // 2
        layers.append(nn.Flatten())
        inputs = widths[-1] * h * w
        if c.hidden_layers:
            layers.append(nn.Linear(widths[-1] * h * w, inputs := 16 * c.f))
            layers += [nn.BatchNorm1d(inputs, track_running_stats=False)] if c.d_bn else []
            layers.append(activation(c.d_leaky))
        self.layers = nn.Sequential(*layers, nn.Linear(inputs, 1))
        init_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        """x [N, C, H, W] -> [N, 1] float32."""
        out: Tensor = self.layers(x)
        return out.float()


class DcganGuidelines(Dcgan):
    """The paper's networks in the game of `dcgan`."""

    config_type: ClassVar[type[Config]] = DcganGuidelinesConfig
    config: DcganGuidelinesConfig

    def networks(self) -> tuple[nn.Module, nn.Module]:
        c, spec = self.config, self.data_spec
        G = PaperGenerator(c, spec.size, spec.channels)
        return G, PaperDiscriminator(c, spec.size, spec.channels)


VARIANT = DcganGuidelines
