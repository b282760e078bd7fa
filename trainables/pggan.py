"""PGGAN (Karras, Aila, Laine, Lehtinen 2018, arXiv:1710.10196): G and D grow as they train.

Both start at the smallest size. One after another, they take layers for twice the size into use.
Layers that are not in use yet are not trained. Images of 28x28 begin as 7x7, and images of 32x32 as
4x4: see core/layers_grow.py.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Self

import torch
import torch.nn.functional as F
from pydantic import Field, StrictBool, model_validator
from torch import Tensor, nn

from trainables.core import losses
from trainables.core.config import Config, Fraction, NotNegative, Positive
from trainables.core.gan import Gan
from trainables.core.layers_grow import (
    GROUP,
    SMALLEST,
    GrowingDiscriminator,
    GrowingGenerator,
    faded,
    growth,
    half,
    twice,
)
from trainables.core.player import Batch, Player, Terms


class PgganConfig(Config, frozen=True):
    """The defaults are those of the authors' code, except for the width, which is 512 there."""

    batch: Annotated[int, Field(ge=2, le=65536, strict=True)] = 16
    z_dim: Annotated[int, Field(ge=1, le=65536, strict=True)] = 512
    lr: Positive = 1e-3
    beta1: Fraction = 0.0
    beta2: Fraction = 0.99
    grow: StrictBool = True  # if False, all layers are in use from the start
    # kimg of each size. During the last `fade` of them, as a fraction, the next size is faded in.
    stage_kimg: Annotated[float, Field(gt=0, le=1_000_000, strict=True)] = 1200.0
    fade: Annotated[float, Field(gt=0, lt=1, strict=True)] = 0.5
    abrupt: StrictBool = False  # the next size comes at once, when it would be half faded in
    minibatch_stddev: StrictBool = True  # D sees how much the images of a batch differ
    gp: NotNegative = 10.0  # weight of the gradient penalty
    drift: NotNegative = 0.001  # weight of D's squared output on real images, to stop its drift

    @model_validator(mode="after")
    def _in_groups(self) -> Self:
        if self.minibatch_stddev and self.batch % GROUP:
            raise ValueError(f"batch={self.batch}: minibatch_stddev needs a multiple of {GROUP}")
        return self


class Pggan(Gan):
    """WGAN-GP on images whose size grows with the number of images seen."""

    config_type = PgganConfig
    config: PgganConfig
    conditional: ClassVar[bool] = False

    def build(self) -> dict[str, Player]:
        c, spec = self.config, self.data_spec
        sizes = growth(spec.size)
        if c.grow and len(sizes) == 1:
            raise ValueError(f"grow=True: {spec.size} has no half of {SMALLEST} pixels or more")
        self.top = len(sizes) - 1
        self.level = 0.0 if c.grow else float(self.top)
        self.G = GrowingGenerator(c.z_dim, c.f, sizes, spec.channels)
        self.D = GrowingDiscriminator(spec.channels, c.f, sizes, c.minibatch_stddev)
        for network in (self.G, self.D):
            network.to(memory_format=torch.channels_last)  # a third faster in bf16
        weights = {"gradient_penalty": c.gp, "drift": c.drift}
        return {
            "d": Player([self.D], self.losses_d, c.lr * c.lr_ratio, weights),
            "g": Player([self.G], self.losses_g, c.lr),
        }

    def on_images(self, seen: int) -> None:
        """Set the level that fits the number of images seen.

        When new layers come into use, the optimizers' state is cleared, as in the authors' code,
        which clears it at the end of a fade, too. The average of G begins anew as well. Otherwise
        the average would keep the first weights of the new layers for as long as the training at
        a size lasts.
        """
        c = self.config
        if not c.grow:
            return
        sizes, part = divmod(seen / 1000 / c.stage_kimg, 1)
        fade = max(0.0, part - (1 - c.fade)) / c.fade
        fade = float(fade >= 0.5) if c.abrupt else fade
        level = min(float(self.top), sizes + fade)
        if math.ceil(level) > math.ceil(self.level):
            self.updates = 0
            for optimizer in self.optimizers.values():
                optimizer.state.clear()
        self.level = level

    def generate(self, G: nn.Module, z: Tensor, y: Tensor | None) -> Tensor:
        """Images of the full size, however far G has grown."""
        return F.interpolate(G(z, self.level), self.data_spec.size)  # nearest

    def draw(self, x: Tensor, y: Tensor) -> Batch:
        """Real and generated images of the newest size. Real images are faded in like G's."""
        newest, alpha = faded(self.level)
        x = F.avg_pool2d(x, 2 ** (self.top - newest))
        if alpha < 1:
            x = twice(half(x)).lerp(x, alpha)
        return Batch(x, y, y, self.G(self.noise(len(x)), self.level))

    def critic(self, x: Tensor) -> Tensor:
        out: Tensor = self.D(x, self.level)
        return out

    def losses_d(self, b: Batch) -> Terms:
        fake = b.fake.detach()
        on_real, on_fake = self.critic(torch.cat([b.x, fake])).chunk(2)
        return {
            "adversarial_real": -on_real.mean(),
            "adversarial_fake": on_fake.mean(),
            "gradient_penalty": losses.gradient_penalty(self.critic, b.x, fake),
            "drift": on_real.square().mean(),
        }

    def losses_g(self, b: Batch) -> Terms:
        return {"adversarial": -self.critic(b.fake).mean()}

    def checkpoint(self) -> dict[str, Any]:
        return super().checkpoint() | {"level": self.level}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.level = state["level"]


VARIANT = Pggan
