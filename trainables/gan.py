"""GAN (Goodfellow et al. 2014, arXiv:1406.2661): the first GAN, fully connected."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from torch import Tensor, nn

from trainables.core.config import Config, Fraction
from trainables.core.layers import init_normal
from trainables.core.layers_mlp import MlpGenerator
from trainables.dcgan import Dcgan, DcganConfig

PIECES = 5  # linear functions in a maxout unit


class GanConfig(DcganConfig, frozen=True):
    """The hyperparameters of `dcgan`, except those that do not apply to fully connected networks.

    The paper uses SGD with momentum. Here the optimizer is Adam, as in all variants.
    """

    d_norm: Literal["none"] = "none"
    d_dropout: Fraction = 0.5  # dropout rate of D's hidden units
    g_condition: Literal["concat"] = "concat"  # no choice: G takes no labels
    fake_labels: Literal["uniform"] = "uniform"


class Maxout(nn.Module):
    """The largest of `PIECES` linear functions (Goodfellow 2013, arXiv:1302.4389)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs * PIECES)

    def forward(self, x: Tensor) -> Tensor:
        """x [N, inputs] -> [N, outputs]."""
        out: Tensor = self.linear(x).unflatten(1, (-1, PIECES)).amax(2)
        return out


class MaxoutDiscriminator(nn.Module):
    """Two layers of 4f maxout units, each with dropout, and a linear layer without a sigmoid."""

    def __init__(self, channels: int, f: int, size: tuple[int, int], dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            Maxout(channels * math.prod(size), 4 * f),
            nn.Dropout(dropout),
            Maxout(4 * f, 4 * f),
            nn.Dropout(dropout),
            nn.Linear(4 * f, 1),
        )
        init_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        """x [N, C, H, W] -> [N, 1] float32."""
        out: Tensor = self.layers(x)
        return out.float()


class FirstGan(Dcgan):
    """z is uniform. G has two layers of 16f rectifiers.

    G ends in tanh, because images are in [-1, 1]. The paper's G ends in a sigmoid.
    """

    config_type: ClassVar[type[Config]] = GanConfig
    config: GanConfig
    truncates: ClassVar[bool] = False
    uniform: ClassVar[bool] = True

    def networks(self) -> tuple[nn.Module, nn.Module]:
        c, spec = self.config, self.data_spec
        G = MlpGenerator(c.z_dim, c.f, spec.size, spec.channels, width=16, hidden=2)
        init_normal(G)
        return G, MaxoutDiscriminator(spec.channels, c.f, spec.size, c.d_dropout)


VARIANT = FirstGan
