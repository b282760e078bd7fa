"""BigGAN (Brock, Donahue, Simonyan 2019, arXiv:1809.11096) for images of 28 to 64 pixels.

Each of the paper's changes is a hyperparameter: hinge loss (`adversarial`), self-attention,
class-conditional BN, spectral norm in G and D, several turns of D (`n_dis`), an averaged G (`ema`),
orthogonal weights (`init`, `ortho_reg`), larger batches, more parameters (`f`), and skip
connections from z. The truncation trick only concerns sampling: `sample` takes any z.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, StrictBool
from torch import Tensor, nn

from trainables.core import losses
from trainables.core.config import Config, NotNegative
from trainables.core.gan import Gan
from trainables.core.layers_res import (
    Init,
    ProjectionDiscriminator,
    ResGenerator,
    init_network,
    off_diagonal,
)
from trainables.core.player import Batch, Player, Terms


class BigganConfig(Config, frozen=True):
    """The defaults are the paper's, except for the width and the length of training."""

    z_dim: Annotated[int, Field(ge=16, le=65536, strict=True)] = 120  # each block gets a part of it
    lr: Annotated[float, Field(gt=0, strict=True)] = 5e-5
    lr_ratio: Annotated[float, Field(gt=0, strict=True)] = 4.0
    beta1: Annotated[float, Field(ge=0, lt=1, strict=True)] = 0.0  # .5 suits D without SN
    adversarial: losses.Adversarial = "hinge"
    attention: StrictBool = True  # in G and D, at half the images' resolution
    g_condition: Literal["cbn", "concat"] = "cbn"  # where labels enter G
    embedding: Annotated[int, Field(ge=1, le=1024, strict=True)] = 128  # of labels, in G
    sn: StrictBool = True  # in G and D
    n_dis: Annotated[int, Field(ge=1, le=100, strict=True)] = 2  # turns of D for one of G
    init: Init = "orthogonal"
    ortho_reg: NotNegative = 1e-4  # weight of the penalty of eq. 3, on G
    skip_z: StrictBool = True  # a part of z enters each block of G


class Biggan(Gan):
    """A residual G with conditional BN, and a residual projection D."""

    config_type = BigganConfig
    config: BigganConfig
    truncates: ClassVar[bool] = True

    def build(self) -> dict[str, Player]:
        c, spec = self.config, self.data_spec
        self.G = ResGenerator(
            c.z_dim,
            spec.classes,
            c.embedding,
            c.f,
            spec.size,
            spec.channels,
            attention=c.attention,
            cbn=c.g_condition == "cbn",
            skip_z=c.skip_z,
        )
        self.D = ProjectionDiscriminator(
            spec.channels, spec.classes, c.f, spec.size, attention=c.attention
        )
        for network in (self.G, self.D):
            init_network(network, c.init, c.sn)
        return {
            "d": Player([self.D], self.losses_d, c.lr * c.lr_ratio, turns=c.n_dis),
            "g": Player([self.G], self.losses_g, c.lr, {"orthogonal": c.ortho_reg}),
        }

    def generate(self, G: nn.Module, z: Tensor, y: Tensor | None) -> Tensor:
        images: Tensor = G(z, y)
        return images

    def draw(self, x: Tensor, y: Tensor) -> Batch:
        """A batch whose fakes have uniformly drawn labels."""
        y_fake = self.labels_for_fakes(y)
        return Batch(x, y, y_fake, self.generate(self.G, self.noise(len(x)), y_fake))

    def losses_d(self, b: Batch) -> Terms:
        """D's terms, from one pass over real images and fakes: no layer of D mixes images."""
        kind = self.config.adversarial
        logits = self.D(torch.cat([b.x, b.fake.detach()]), torch.cat([b.y, b.y_fake]))
        real, fake = logits.chunk(2)
        return {
            "adversarial_real": losses.d_real(kind, real),
            "adversarial_fake": losses.d_fake(kind, fake),
        }

    def losses_g(self, b: Batch) -> Terms:
        c = self.config
        terms = {"adversarial": losses.g_fake(c.adversarial, self.D(b.fake, b.y_fake))}
        if c.ortho_reg:
            terms["orthogonal"] = off_diagonal(self.G)
        return terms


VARIANT = Biggan
