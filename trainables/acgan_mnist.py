"""ACGAN (Odena, Olah, Shlens 2017, arXiv:1610.09585) of a public MNIST write-up (recipe C).

G gets z multiplied by the label's embedding, and upsamples. D has dropout. The write-up's code had
two slips, which are switches here: a softmax before the cross-entropy, and BatchNorm's eps set to
0.8 where its momentum was meant. The write-up resized MNIST to 32x32; here images keep their size.
"""

from __future__ import annotations

import itertools
import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, StrictBool
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from trainables.acgan import Acgan, AcganConfig
from trainables.core.config import Config, Positive
from trainables.core.layers import Norm, init_normal
from trainables.core.player import Batch, Player, Terms
from trainables.dcgan import Dcgan, DcganConfig


class RecipeCConfig(DcganConfig, frozen=True):
    bn_eps: Positive = 1e-5  # of every BatchNorm but G's first; the slip was 0.8
    d_norm: Literal["bn", "sn", "none"] = "bn"
    g_condition: Literal["concat"] = "concat"  # no choice: the label's embedding multiplies z
    d_dropout: Annotated[float, Field(ge=0, le=0, strict=True)] = 0.0  # no choice: D's rate is .25


class AcganMnistConfig(RecipeCConfig, AcganConfig, frozen=True):
    # Repeat the slip: cross-entropy of the softmax of class probabilities. With K classes this is
    # never less than log(1 + (K - 1) / e), which is 1.461 for ten.
    double_softmax: StrictBool = False
    class_cosine: Literal[False] = False  # no choice: D's head is linear


class UpsamplingGenerator(nn.Module):
    """The product of z and y's embedding, FC to 2f maps of a quarter of the image's size, BN.

    Upsampling, conv3, BN and LReLU .2 follow twice. Then come conv3 and tanh.
    """

    def __init__(
        self, z_dim: int, classes: int, f: int, size: tuple[int, int], channels: int, eps: float
    ) -> None:
        super().__init__()
        h, w = (math.ceil(side / 4) for side in size)
        self.size = size
        self.embed = nn.Embedding(classes, z_dim)
        layers: list[nn.Module] = [
            nn.Linear(z_dim, 2 * f * h * w),
            nn.Unflatten(1, (2 * f, h, w)),
            nn.BatchNorm2d(2 * f),
        ]
        for width in (2 * f, f):
            layers += [
                nn.Upsample(scale_factor=2),
                nn.Conv2d(2 * f, width, 3, 1, 1),
                nn.BatchNorm2d(width, eps),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(f, channels, 3, 1, 1))
        init_normal(self)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """z [N, z_dim], y [N] -> images [N, C, H, W] in [-1, 1]."""
        images = self.layers(z * self.embed(y))
        return torch.tanh(images[:, :, : self.size[0], : self.size[1]])


class DropoutDiscriminator(nn.Module):
    """Four stride-2 conv3 of f/4, f/2, f and 2f maps, and one linear layer to the outputs.

    LReLU .2 and Dropout2d .25 follow each convolution. After all convolutions but the first, BN
    comes next. BN always uses the statistics of the current batch, as `core.layers.Discriminator`
    does with "bn".
    """

    softmax = False  # whether a softmax follows the class outputs

    def __init__(
        self,
        channels: int,
        f: int,
        size: tuple[int, int],
        norm: Norm,
        outputs: int,
        eps: float,
    ) -> None:
        super().__init__()
        h, w = size
        widths = [channels, *(max(1, 2 * f // 2**i) for i in (3, 2, 1, 0))]
        layers: list[nn.Module] = []
        for i, (narrow, wide) in enumerate(itertools.pairwise(widths)):
            layers += [nn.Conv2d(narrow, wide, 3, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
            layers.append(nn.Dropout2d(0.25))
            if norm == "bn" and i > 0:
                layers.append(nn.BatchNorm2d(wide, eps, track_running_stats=False))
            h, w = math.ceil(h / 2), math.ceil(w / 2)
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * h * w, outputs))
        init_normal(self)
        if norm == "sn":
            for m in self.layers:
                if isinstance(m, nn.Conv2d | nn.Linear):
                    spectral_norm(m)

    def forward(self, x: Tensor) -> Tensor:
        """x [N, C, H, W] -> [N, outputs] float32."""
        out: Tensor = self.layers(x).float()
        if self.softmax:
            out = torch.cat([out[:, :1], out[:, 1:].softmax(1)], dim=1)
        return out


class RecipeC(Dcgan):
    """Recipe C's networks, for a conditional subclass of Dcgan: RecipeC must be its first base."""

    config_type: ClassVar[type[Config]] = RecipeCConfig
    config: RecipeCConfig
    multilabel: ClassVar[bool] = False  # G looks up one label's embedding
    D: DropoutDiscriminator

    def networks(self) -> tuple[nn.Module, nn.Module]:
        c, spec = self.config, self.data_spec
        G = UpsamplingGenerator(c.z_dim, spec.classes, c.f, spec.size, spec.channels, c.bn_eps)
        return G, DropoutDiscriminator(
            self.d_channels(), c.f, spec.size, c.d_norm, sum(self.d_outputs()), c.bn_eps
        )

    def generate(self, G: nn.Module, z: Tensor, y: Tensor | None) -> Tensor:
        images: Tensor = G(z, y)
        return images


class AcganMnist(RecipeC, Acgan):
    """The original code halves every loss. This is left out: it does not change Adam's steps.

    As the original does, a step reports the accuracy of D's class head on its real images and its
    fakes together, in training mode, as "train/class_accuracy". No player is trained on it.
    """

    config_type: ClassVar[type[Config]] = AcganMnistConfig
    config: AcganMnistConfig

    def build(self) -> dict[str, Player]:
        players = super().build()
        self.D.softmax = self.config.double_softmax
        return players

    def step(self, x: Tensor, y: Tensor) -> Terms:
        return super().step(x, y) | {"train/class_accuracy": self.class_accuracy}

    def terms_d(self, real: Tensor, fake: Tensor, b: Batch) -> Terms:
        read = self.class_logits(torch.cat([real, fake])).argmax(1)
        self.class_accuracy = (read == torch.cat([b.y, b.y_fake])).float().mean()
        return super().terms_d(real, fake, b)


VARIANT = AcganMnist
