"""The standard GAN (Goodfellow 2014, arXiv:1406.2661) of a public write-up (recipe D), which had
it and a Coulomb GAN play on MNIST; `coulomb` has the networks and learning rates from here."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

import torch
from pydantic import StrictBool
from torch import Tensor, nn

from trainables.core import losses
from trainables.core.config import Config, NotNegative, Positive
from trainables.core.gan import Batch, Gan, Player, Terms

EPSILON = 1e-7  # Keras'


class RecipeDConfig(Config, frozen=True):
    """z is uniform with mean z_mean and standard deviation z_std: U[-1, 1] by default."""

    z_std: Positive = 3**-0.5
    decay_g: NotNegative = 0.0  # Keras' decay: after n steps the rate is lr / (1 + decay * n)
    decay_d: NotNegative = 0.0
    # The same schedule in so many times fewer steps: decays are multiplied by it, half-lives
    # divided; `lr_scale` can make up for it.
    speed: Positive = 1.0


class UpsamplingGenerator(nn.Module):
    """FC 16f, FC to 2f maps of a quarter of the size (BN, ReLU), twice (upsample, conv5); tanh."""

    def __init__(self, z_dim: int, f: int, size: tuple[int, int], channels: int) -> None:
        super().__init__()
        h, w = (math.ceil(side / 4) for side in size)
        self.size = size
        self.layers = nn.Sequential(
            nn.Linear(z_dim, 16 * f),
            nn.BatchNorm1d(16 * f),
            nn.ReLU(inplace=True),
            nn.Linear(16 * f, 2 * f * h * w),
            nn.BatchNorm1d(2 * f * h * w),
            nn.ReLU(inplace=True),
            nn.Unflatten(1, (2 * f, h, w)),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(2 * f, f, 5, 1, 2),
            nn.BatchNorm2d(f),
            nn.ReLU(inplace=True),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(f, channels, 5, 1, 2),
        )
        init_glorot(self)

    def forward(self, z: Tensor) -> Tensor:
        """z [N, z_dim] -> images [N, C, H, W] in [-1, 1]."""
        images = self.layers(z)
        return torch.tanh(images[:, :, : self.size[0], : self.size[1]])


class Critic(nn.Module):
    """Stride-2 conv5 of f and 2f maps, FC 4f, LReLU .2 after each, dropout .5, FC 1: no sigmoid."""

    def __init__(self, channels: int, f: int, size: tuple[int, int]) -> None:
        super().__init__()
        h, w = (math.ceil(side / 4) for side in size)
        self.layers = nn.Sequential(
            nn.Conv2d(channels, f, 5, 2, 2),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(f, 2 * f, 5, 2, 2),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Flatten(),
            nn.Linear(2 * f * h * w, 4 * f),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Dropout(0.5),
            nn.Linear(4 * f, 1),
        )
        init_glorot(self)

    def forward(self, x: Tensor) -> Tensor:
        """x [N, C, H, W] -> [N] float32."""
        out: Tensor = self.layers(x)[:, 0]
        return out.float()


def init_glorot(module: nn.Module) -> None:
    """Keras' defaults, which the write-up has: Glorot uniform weights, biases 0."""
    for m in module.modules():
        if isinstance(m, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(m.weight)
            nn.init.zeros_(m.bias)  # type: ignore[arg-type]


class RecipeD(Gan):
    """Networks, z and learning rates; subclasses bring the losses.

    The write-up evaluated G itself; here it is G's average, as everywhere.
    """

    config_type = RecipeDConfig
    config: RecipeDConfig
    conditional: ClassVar[bool] = False
    uniform: ClassVar[bool] = True
    weights_d: ClassVar[dict[str, float]] = {}  # of D's terms

    def build(self) -> dict[str, Player]:
        c, images = self.config, self.images
        self.G = UpsamplingGenerator(c.z_dim, c.f, images.size, images.channels)
        self.D = Critic(images.channels, c.f, images.size)
        return {
            "d": Player([self.D], self.losses_d, c.lr * c.lr_ratio, self.weights_d),
            "g": Player([self.G], self.losses_g, c.lr),
        }

    @abstractmethod
    def losses_d(self, b: Batch) -> Terms:
        """D's terms."""

    @abstractmethod
    def losses_g(self, b: Batch) -> Terms:
        """G's terms."""

    def steps(self, seen: int) -> float:
        """Steps of the published schedule that `seen` images stand for."""
        return seen / self.config.batch * self.config.speed

    def on_images(self, seen: int) -> None:
        for name, decay in (("d", self.config.decay_d), ("g", self.config.decay_g)):
            for group in self.optimizers[name].param_groups:
                group["lr"] = self.players[name].lr / (1 + decay * self.steps(seen))

    def draw(self, x: Tensor, y: Tensor) -> Batch:
        return Batch(x, y, y, self.generate(self.G, self.noise(len(x)), None))


class StandardGanConfig(RecipeDConfig, frozen=True):
    # As in the write-up, which took D's sigmoid away and kept Keras' binary_crossentropy: D's
    # output is a probability, clipped to [1e-7, 1 - 1e-7], and beyond it there is no gradient.
    clipped: StrictBool = False


def clipped_bce(probability: Tensor, target: float) -> Tensor:
    """Keras' binary_crossentropy of any numbers [N] taken as probabilities: a scalar."""
    p = probability.clamp(EPSILON, 1 - EPSILON)
    return -(target * p.log() + (1 - target) * (1 - p).log()).mean()


class StandardGan(RecipeD):
    """Non-saturating; targets 1 and 0."""

    config_type = StandardGanConfig
    config: StandardGanConfig

    def bce(self, out: Tensor, target: float) -> Tensor:
        return clipped_bce(out, target) if self.config.clipped else losses.bce(out, target)

    def losses_d(self, b: Batch) -> Terms:
        return {
            "adversarial_real": self.bce(self.D(b.x), 1.0),
            "adversarial_fake": self.bce(self.D(b.fake.detach()), 0.0),
        }

    def losses_g(self, b: Batch) -> Terms:
        return {"adversarial": self.bce(self.D(b.fake), 1.0)}


VARIANT = StandardGan
