"""The standard GAN (Goodfellow 2014, arXiv:1406.2661) of a public write-up (recipe D).

The write-up compared it with a Coulomb GAN on MNIST. The variant `coulomb` takes its networks and
learning rates from this module.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

import torch
from pydantic import StrictBool
from torch import Tensor, nn

from trainables.core import losses
from trainables.core.config import Config, NotNegative, Positive
from trainables.core.gan import Gan
from trainables.core.player import Batch, Player, Terms

EPSILON = 1e-7  # at which Keras clips probabilities
# Keras' eps of BatchNorm, and its momentum of .99, which PyTorch counts as .01. No figure depends
# on the momentum: training uses the statistics of each batch, and the averaged G has its own.
KERAS_BN = (1e-3, 0.01)


class RecipeDConfig(Config, frozen=True):
    """z is uniform with mean z_mean and standard deviation z_std: U[-1, 1] by default."""

    z_std: Positive = 3**-0.5
    decay_g: NotNegative = 0.0  # Keras' decay: after n steps the rate is lr / (1 + decay * n)
    decay_d: NotNegative = 0.0
    # Run the published schedule in so many times fewer steps: decays are multiplied by `speed`, and
    # half-lives are divided by it. `lr_scale` can make up for the lost steps.
    speed: Positive = 1.0


class UpsamplingGenerator(nn.Module):
    """FC 16f, FC to 2f maps of a quarter of the image's size, and twice upsampling and conv5.

    BN and ReLU follow each layer but the last, which ends in tanh. BN has Keras' defaults.
    """

    def __init__(self, z_dim: int, f: int, size: tuple[int, int], channels: int) -> None:
        super().__init__()
        h, w = (math.ceil(side / 4) for side in size)
        self.size = size
        self.layers = nn.Sequential(
            nn.Linear(z_dim, 16 * f),
            nn.BatchNorm1d(16 * f, *KERAS_BN),
            nn.ReLU(inplace=True),
            nn.Linear(16 * f, 2 * f * h * w),
            nn.BatchNorm1d(2 * f * h * w, *KERAS_BN),
            nn.ReLU(inplace=True),
            nn.Unflatten(1, (2 * f, h, w)),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(2 * f, f, 5, 1, 2),
            nn.BatchNorm2d(f, *KERAS_BN),
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
    """Stride-2 conv5 of f and 2f maps, FC 4f, dropout .5, and FC 1 without a sigmoid.

    LReLU .2 follows each layer but the last. Only the first convolution is padded, so that images
    of 28 pixels become maps of 14 and 5.
    """

    def __init__(self, channels: int, f: int, size: tuple[int, int]) -> None:
        super().__init__()
        h, w = ((math.ceil(side / 2) - 5) // 2 + 1 for side in size)
        self.layers = nn.Sequential(
            nn.Conv2d(channels, f, 5, 2, 2),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(f, 2 * f, 5, 2),
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
    """Set Keras' default weights, which the write-up uses: Glorot uniform, with biases 0."""
    for m in module.modules():
        if isinstance(m, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(m.weight)
            nn.init.zeros_(m.bias)  # type: ignore[arg-type]


class RecipeD(Gan):
    """Networks, z and learning rates of recipe D. Subclasses add the losses.

    The write-up evaluated G itself. Here G's average is evaluated, as in all variants.
    """

    config_type = RecipeDConfig
    config: RecipeDConfig
    conditional: ClassVar[bool] = False
    uniform: ClassVar[bool] = True
    least_side: ClassVar[int] = 9  # D's second convolution needs maps of 5 pixels
    weights_d: ClassVar[dict[str, float]] = {}  # weights of D's terms

    def build(self) -> dict[str, Player]:
        c, spec = self.config, self.data_spec
        self.G = UpsamplingGenerator(c.z_dim, c.f, spec.size, spec.channels)
        self.D = Critic(spec.channels, c.f, spec.size)
        return {
            "d": Player([self.D], self.losses_d, c.lr * c.lr_ratio, self.weights_d),
            "g": Player([self.G], self.losses_g, c.lr),
        }

    @abstractmethod
    def losses_d(self, b: Batch) -> Terms:
        """D's loss terms."""

    @abstractmethod
    def losses_g(self, b: Batch) -> Terms:
        """G's loss terms."""

    def steps(self, seen: int) -> float:
        """The number of steps of the published schedule that `seen` images stand for."""
        return seen / self.config.batch * self.config.speed

    def on_images(self, seen: int) -> None:
        for name, decay in (("d", self.config.decay_d), ("g", self.config.decay_g)):
            for group in self.optimizers[name].param_groups:
                group["lr"] = self.players[name].lr / (1 + decay * self.steps(seen))

    def draw(self, x: Tensor, y: Tensor) -> Batch:
        return Batch(x, y, y, self.generate(self.G, self.noise(len(x)), None))


class StandardGanConfig(RecipeDConfig, frozen=True):
    # Do as the write-up, which removed D's sigmoid but kept Keras' binary_crossentropy. D's output
    # is then taken as a probability and clipped to [1e-7, 1 - 1e-7]. Outside this range there is no
    # gradient.
    clipped: StrictBool = False


def clipped_bce(probability: Tensor, target: float) -> Tensor:
    """Keras' binary_crossentropy, a scalar. Takes any numbers [N] as probabilities."""
    p = probability.clamp(EPSILON, 1 - EPSILON)
    return -(target * p.log() + (1 - target) * (1 - p).log()).mean()


class StandardGan(RecipeD):
    """Non-saturating losses, with targets 1 for real images and 0 for fakes."""

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
