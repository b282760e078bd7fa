"""BiGAN (Donahue, Krähenbühl, Darrell 2017, arXiv:1605.09782): an encoder E is learned in the game.

D sees pairs: an image with its code (x, E(x)), or a latent with its image (G(z), z). At the optimum
E inverts G (theorem 2), although neither ever sees what the other made of its output.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from trainables.core import losses
from trainables.core.gan import Batch, Config, Gan, Player, Positive, Terms
from trainables.core.layers import Discriminator, Generator, init_normal

ENCODED = 500  # images per forward pass of E when it is evaluated


class BiganConfig(Config, frozen=True):
    """z is uniform with mean z_mean and standard deviation z_std: U[-1, 1]^50 as on MNIST."""

    z_dim: Annotated[int, Field(ge=1, le=65536, strict=True)] = 50
    z_std: Positive = 3**-0.5
    adversarial: losses.Adversarial = "non_saturating"


class Encoder(nn.Sequential):
    """D's convolutions with BN that keeps averages, FC 16f, FC z_dim; a last BN without gain gives
    each entry of the code mean 0 and variance 1, as the authors do: z's scale is not to be learned.
    """

    def __init__(self, channels: int, f: int, size: tuple[int, int], z_dim: int) -> None:
        super().__init__(
            Discriminator(channels, f, size, "bn_joint", z_dim),
            nn.BatchNorm1d(z_dim, affine=False),
        )


class JointDiscriminator(nn.Module):
    """s_xz = w . J(F(x), H(z)): F strided convolutions, H and J MLPs; LReLU .2, SN everywhere."""

    def __init__(self, channels: int, f: int, size: tuple[int, int], z_dim: int) -> None:
        super().__init__()
        width = 16 * f
        self.F = nn.Sequential(
            Discriminator(channels, f, size, "sn", width), nn.LeakyReLU(0.2, inplace=True)
        )
        self.H = mlp(z_dim, width, width)
        self.J = mlp(2 * width, width)
        self.w = spectral_norm(init(nn.Linear(width, 1)))

    def features(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """F(x) and H(z), [N, 16f] each, of images [N, C, H, W] and latents [N, z_dim]."""
        return self.F(x), self.H(z)

    def joint(self, f: Tensor, h: Tensor) -> Tensor:
        """s_xz [N] float32 from F(x) and H(z)."""
        out: Tensor = self.w(self.J(torch.cat([f, h], dim=1)))
        return out[:, 0].float()

    def forward(self, x: Tensor, z: Tensor) -> Terms:
        """Scores [N] float32 of pairs by name; high where D takes z for E(x)."""
        return {"joint": self.joint(*self.features(x, z))}


def init(layer: nn.Linear) -> nn.Linear:
    init_normal(layer)
    return layer


def mlp(*widths: int) -> nn.Sequential:
    """Linear layers from widths[0] inputs on, SN, each with LReLU .2."""
    layers: list[nn.Module] = []
    for narrow, wide in itertools.pairwise(widths):
        layers += [spectral_norm(init(nn.Linear(narrow, wide))), nn.LeakyReLU(0.2, inplace=True)]
    return nn.Sequential(*layers)


@dataclass
class PairBatch(Batch):
    """Both kinds of pairs: (x, code) and (fake, z)."""

    z: Tensor  # [N, z_dim] behind the fakes
    code: Tensor  # [N, z_dim] E(x), with its graph


class Bigan(Gan):
    """G and E are one player: together they make the two kinds of pairs alike.

    Subclasses whose D has other scores override `make_d`.
    """

    config_type: ClassVar[type[Config]] = BiganConfig
    config: BiganConfig
    conditional: ClassVar[bool] = False
    encodes: ClassVar[bool] = True
    uniform: ClassVar[bool] = True
    averaged: ClassVar[tuple[str, ...]] = ("G", "E")
    E: nn.Module
    E_ema: nn.Module
    D: nn.Module

    def build(self) -> dict[str, Player]:
        c, images = self.config, self.images
        self.G = Generator(c.z_dim, c.f, images.size, images.channels)
        self.E = Encoder(images.channels, c.f, images.size, c.z_dim)
        self.D = self.make_d()
        return {
            "d": Player([self.D], self.losses_d, c.lr * c.lr_ratio),
            "g": Player([self.G, self.E], self.losses_g, c.lr),
        }

    def make_d(self) -> nn.Module:
        """Images and latents -> scores [N] by name."""
        c, images = self.config, self.images
        return JointDiscriminator(images.channels, c.f, images.size, c.z_dim)

    def generate(self, G: nn.Module, z: Tensor, y: Tensor | None) -> Tensor:
        images: Tensor = G(z)
        return images

    def code(self, E: nn.Module, x: Tensor) -> Tensor:
        """E's codes [N, z_dim], of z's mean and standard deviation."""
        code: Tensor = E(x).float() * self.config.z_std + self.config.z_mean
        return code

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        with self.autocast():
            return torch.cat([self.code(self.E_ema, part) for part in torch.split(x, ENCODED)])

    def draw(self, x: Tensor, y: Tensor) -> PairBatch:
        z = self.noise(len(x))
        return PairBatch(x, y, y, self.generate(self.G, z, None), z, self.code(self.E, x))

    def scores(self, b: PairBatch, code: Tensor, fake: Tensor) -> tuple[Terms, Terms]:
        """D's scores [N] of (x, code) and of (fake, z): one pass, as no layer of D mixes images."""
        n, scores = len(b.x), self.D(torch.cat([b.x, fake]), torch.cat([code, b.z]))
        return {k: s[:n] for k, s in scores.items()}, {k: s[n:] for k, s in scores.items()}

    def losses_d(self, b: PairBatch) -> Terms:
        """E's pairs are the real ones (eq. 3); each score has a loss of its own."""
        kind = self.config.adversarial
        real, fake = self.scores(b, b.code.detach(), b.fake.detach())
        terms = {f"{name}_real": losses.d_real(kind, s) for name, s in real.items()}
        return terms | {f"{name}_fake": losses.d_fake(kind, s) for name, s in fake.items()}

    def losses_g(self, b: PairBatch) -> Terms:
        """Both targets flipped: G's pairs shall score as E's do, and E's as G's."""
        kind = self.config.adversarial
        real, fake = self.scores(b, b.code, b.fake)
        return {
            "adversarial": torch.stack([losses.g_fake(kind, s) for s in fake.values()]).sum(),
            "encoder": torch.stack([losses.g_fake(kind, -s) for s in real.values()]).sum(),
        }


VARIANT = Bigan
