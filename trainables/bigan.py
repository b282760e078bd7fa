"""BiGAN (Donahue, Krähenbühl, Darrell 2017, arXiv:1605.09782): an encoder E is learned in the game.

D sees pairs: an image with its code (x, E(x)), or a latent with its image (G(z), z). At the optimum
E inverts G (theorem 2), although neither ever sees what the other makes of its output.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from trainables.core import losses
from trainables.core.config import Config, Positive
from trainables.core.gan import Batch, Gan, Player, Terms

ENCODED = 500  # images per forward pass of E when it is evaluated


class BiganConfig(Config, frozen=True):
    """z is uniform with mean z_mean and standard deviation z_std: U[-1, 1]^50 as on MNIST."""

    z_dim: Annotated[int, Field(ge=1, le=65536, strict=True)] = 50
    z_std: Positive = 3**-0.5
    adversarial: losses.Adversarial = "non_saturating"


def linear(inputs: int, outputs: int) -> nn.Linear:
    """Weights of He's variance for LReLU .2, biases 0: with N(0, .02) D would not hear of z."""
    layer = nn.Linear(inputs, outputs)
    nn.init.kaiming_normal_(layer.weight, 0.2)
    nn.init.zeros_(layer.bias)
    return layer


def mlp(*widths: int, norm: bool = False) -> nn.Sequential:
    """Linear layers from widths[0] inputs on, each with BN (where `norm`) and LReLU .2."""
    layers: list[nn.Module] = [nn.Flatten()]
    for narrow, wide in itertools.pairwise(widths):
        layers.append(linear(narrow, wide))
        if norm:
            layers.append(nn.BatchNorm1d(wide))
        layers.append(nn.LeakyReLU(0.2, inplace=True))
    return nn.Sequential(*layers)


class JointDiscriminator(nn.Module):
    """One MLP on images beside latents; no norm: with BN here, or in convolutional nets with SN and
    z added late, E did not come to invert G within 60 kimg (one pilot each, MNIST)."""

    def __init__(self, pixels: int, z_dim: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(mlp(pixels + z_dim, width, width), linear(width, 1))

    def features(self, x: Tensor, z: Tensor) -> Tensor:
        """What the scores of pairs x [N, C, H, W], z [N, z_dim] are linear in: [N, width]."""
        out: Tensor = self.layers[0](torch.cat([x.flatten(1), z], dim=1))
        return out

    def forward(self, x: Tensor, z: Tensor) -> Terms:
        """Scores [N] float32 by name, of pairs as above; high for E's."""
        out: Tensor = self.layers[1](self.features(x, z))
        return {"joint": out[:, 0].float()}


@dataclass
class PairBatch(Batch):
    """Both kinds of pairs: (x, code) and (fake, z)."""

    z: Tensor  # [N, z_dim] behind the fakes
    code: Tensor  # [N, z_dim] E(x), with its graph


class Bigan(Gan):
    """G, E and D are MLPs of two layers of 16f, 1024 as in the paper's experiments on MNIST.

    G and E are one player: together they make the two kinds of pairs alike. A subclass whose D has
    other scores overrides `make_d`: each score gets a loss of its own.
    """

    config_type: ClassVar[type[Config]] = BiganConfig
    config: BiganConfig
    conditional: ClassVar[bool] = False
    encodes: ClassVar[bool] = True
    uniform: ClassVar[bool] = True
    E: nn.Module
    D: nn.Module

    def build(self) -> dict[str, Player]:
        c, width, pixels = self.config, self.width, self.pixels
        shape = (self.images.channels, *self.images.size)
        self.G = nn.Sequential(
            mlp(c.z_dim, width, width, norm=True),
            linear(width, pixels),
            nn.Tanh(),
            nn.Unflatten(1, shape),
        )
        # The last BN gives codes z's mean and variance, as the authors' code does: D could else
        # tell them apart by scale alone.
        self.E = nn.Sequential(
            mlp(pixels, width, width, norm=True),
            linear(width, c.z_dim),
            nn.BatchNorm1d(c.z_dim, affine=False),
        )
        self.D = self.make_d()
        return {
            "d": Player([self.D], self.losses_d, c.lr * c.lr_ratio),
            "g": Player([self.G, self.E], self.losses_g, c.lr),
        }

    @property
    def width(self) -> int:
        return 16 * self.config.f

    @property
    def pixels(self) -> int:
        """Numbers in an image."""
        return self.images.channels * math.prod(self.images.size)

    def make_d(self) -> nn.Module:
        """Images and latents -> scores [N] by name."""
        return JointDiscriminator(self.pixels, self.config.z_dim, self.width)

    def code(self, x: Tensor) -> Tensor:
        """E(x): float32 [N, z_dim], of z's mean and standard deviation."""
        code: Tensor = self.E(x).float() * self.config.z_std + self.config.z_mean
        return code

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """By E itself: under averaged weights the BN averages of its code would not hold."""
        self.E.eval()
        with self.autocast():
            codes = [self.code(part) for part in torch.split(x, ENCODED)]
        self.E.train()
        return torch.cat(codes)

    def draw(self, x: Tensor, y: Tensor) -> PairBatch:
        z = self.noise(len(x))
        return PairBatch(x, y, y, self.generate(self.G, z, None), z, self.code(x))

    def scores(self, b: PairBatch, code: Tensor, fake: Tensor) -> tuple[Terms, Terms]:
        """D's scores [N] of (x, code) and of (fake, z): one pass, as no layer of D mixes images."""
        n, scores = len(b.x), self.D(torch.cat([b.x, fake]), torch.cat([code, b.z]))
        return {k: s[:n] for k, s in scores.items()}, {k: s[n:] for k, s in scores.items()}

    def losses_d(self, b: PairBatch) -> Terms:
        """E's pairs are the real ones (eq. 3)."""
        kind = self.config.adversarial
        real, fake = self.scores(b, b.code.detach(), b.fake.detach())
        terms = {f"{name}_real": losses.d_real(kind, s) for name, s in real.items()}
        return terms | {f"{name}_fake": losses.d_fake(kind, s) for name, s in fake.items()}

    def losses_g(self, b: PairBatch) -> Terms:
        """Both targets are flipped: G's pairs shall score as E's do, and E's as G's (sec. 3.4)."""
        kind = self.config.adversarial
        real, fake = self.scores(b, b.code, b.fake)
        return {
            "adversarial": torch.stack([losses.g_fake(kind, s) for s in fake.values()]).sum(),
            "encoder": torch.stack([losses.g_fake(kind, -s) for s in real.values()]).sum(),
        }


VARIANT = Bigan
