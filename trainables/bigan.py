"""BiGAN (Donahue, Krähenbühl, Darrell 2017, arXiv:1605.09782): an encoder E is learned in the game.

D sees pairs: an image with its code (x, E(x)), or a latent with its image (G(z), z). At the optimum
E inverts G (theorem 2), although neither E nor G ever sees the other's output.
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
from trainables.core.gan import Gan
from trainables.core.player import Batch, Player, Terms

ENCODED = 500  # images per forward pass of E when it is evaluated


class BiganConfig(Config, frozen=True):
    """z is uniform with mean z_mean and standard deviation z_std.

    The default is U[-1, 1]^50, as in the paper's experiments on MNIST.
    """

    z_dim: Annotated[int, Field(ge=1, le=65536, strict=True)] = 50
    z_std: Positive = 3**-0.5
    adversarial: losses.Adversarial = "non_saturating"


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer with weights of He's variance for LReLU .2, and biases 0.

    With weights N(0, .02), z would have almost no effect on D's output.
    """
    layer = nn.Linear(inputs, outputs)
    nn.init.kaiming_normal_(layer.weight, 0.2)
    nn.init.zeros_(layer.bias)
    return layer


def mlp(*widths: int, norm: bool = False) -> nn.Sequential:
    """Linear layers of widths[1:] units, each with BN (if `norm`) and LReLU .2.

    The first layer has widths[0] inputs.
    """
    layers: list[nn.Module] = [nn.Flatten()]
    for narrow, wide in itertools.pairwise(widths):
        layers.append(linear(narrow, wide))
        if norm:
            layers.append(nn.BatchNorm1d(wide))
        layers.append(nn.LeakyReLU(0.2, inplace=True))
    return nn.Sequential(*layers)


class JointDiscriminator(nn.Module):
    """One MLP on the concatenation of image and latent, without norms.

    In one pilot each on MNIST, E did not learn to invert G within 60 kimg when this MLP had BN, or
    when D was a convolutional network with SN that got z in a late layer.
    """

    def __init__(self, pixels: int, z_dim: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(mlp(pixels + z_dim, width, width), linear(width, 1))

    def features(self, x: Tensor, z: Tensor) -> Tensor:
        """Features [N, width] of pairs x [N, C, H, W], z [N, z_dim]. Scores are linear in them."""
        out: Tensor = self.layers[0](torch.cat([x.flatten(1), z], dim=1))
        return out

    def forward(self, x: Tensor, z: Tensor) -> Terms:
        """Scores float32 [N] by name, for pairs as in `features`. D raises them for E's pairs."""
        out: Tensor = self.layers[1](self.features(x, z))
        return {"joint": out[:, 0].float()}


@dataclass
class PairBatch(Batch):
    """Both kinds of pairs: (x, code) and (fake, z)."""

    z: Tensor  # [N, z_dim] latents of the fakes
    code: Tensor  # [N, z_dim] E(x), with its autograd graph


class Bigan(Gan):
    """G, E and D are MLPs with two hidden layers of 16f units.

    At f = 64 these are 1024 units, as in the paper's experiments on MNIST. G and E are one player,
    because they work together to make the two kinds of pairs alike. A subclass whose D has other
    scores overrides `make_d`. Each score has a loss of its own.
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
        shape = (self.data_spec.channels, *self.data_spec.size)
        self.G = nn.Sequential(
            mlp(c.z_dim, width, width, norm=True),
            linear(width, pixels),
            nn.Tanh(),
            nn.Unflatten(1, shape),
        )
        # The last BN lets `code` give codes the mean and variance of z, as the authors' code does.
        # Otherwise D could tell codes from z by their scale alone.
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
        """How many numbers an image has: C * H * W."""
        return self.data_spec.channels * math.prod(self.data_spec.size)

    def make_d(self) -> nn.Module:
        """Make D, which maps images and latents to scores [N] by name."""
        return JointDiscriminator(self.pixels, self.config.z_dim, self.width)

    def code(self, x: Tensor) -> Tensor:
        """E(x), float32 [N, z_dim], with the mean and standard deviation of z."""
        code: Tensor = self.E(x).float() * self.config.z_std + self.config.z_mean
        return code

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """Codes of x by E's own weights.

        With averaged weights, the running averages of the BN on the codes would be wrong.
        """
        self.E.eval()
        with self.autocast():
            codes = [self.code(part) for part in torch.split(x, ENCODED)]
        self.E.train()
        return torch.cat(codes)

    def draw(self, x: Tensor, y: Tensor) -> PairBatch:
        z = self.noise(len(x))
        return PairBatch(x, y, y, self.generate(self.G, z, None), z, self.code(x))

    def scores(self, b: PairBatch, code: Tensor, fake: Tensor) -> tuple[Terms, Terms]:
        """D's scores of the pairs (x, code) and of the pairs (fake, z), by name.

        One pass through D serves for both, because no layer of D mixes the images of a batch.
        """
        n, scores = len(b.x), self.D(torch.cat([b.x, fake]), torch.cat([code, b.z]))
        return {k: s[:n] for k, s in scores.items()}, {k: s[n:] for k, s in scores.items()}

    def losses_d(self, b: PairBatch) -> Terms:
        """D's terms. E's pairs count as real, G's pairs as fake (eq. 3)."""
        kind = self.config.adversarial
        real, fake = self.scores(b, b.code.detach(), b.fake.detach())
        terms = {f"{name}_real": losses.d_real(kind, s) for name, s in real.items()}
        return terms | {f"{name}_fake": losses.d_fake(kind, s) for name, s in fake.items()}

    def losses_g(self, b: PairBatch) -> Terms:
        """Terms of G and E, with both targets flipped (sec. 3.4).

        G's pairs are to score like E's pairs, and E's like G's.
        """
        kind = self.config.adversarial
        real, fake = self.scores(b, b.code, b.fake)
        return {
            "adversarial": torch.stack([losses.g_fake(kind, s) for s in fake.values()]).sum(),
            "encoder": torch.stack([losses.g_fake(kind, -s) for s in real.values()]).sum(),
        }


VARIANT = Bigan
