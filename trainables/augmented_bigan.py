"""Augmented BiGAN (Kumar, Sattigeri, Fletcher 2017, arXiv:1705.08850, sec. 2.2): reconstructions
are fakes, too, and features of D are matched, so that G(E(x)) keeps what x shows."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from trainables.bigan import Bigan, BiganConfig, JointDiscriminator, PairBatch
from trainables.core.config import Config, NotNegative
from trainables.core.gan import Player, Terms


class AugmentedBiganConfig(BiganConfig, frozen=True):
    matching: NotNegative = 1.0  # weight of feature matching


class AugmentedBigan(Bigan):
    """BiGAN's networks; D tells (x, E(x)) from (G(z), z) and, as often, (G(E(x)), E(x))."""

    config_type: ClassVar[type[Config]] = AugmentedBiganConfig
    config: AugmentedBiganConfig
    D: JointDiscriminator

    def build(self) -> dict[str, Player]:
        players = super().build()
        players["g"].weights = {"feature_matching": self.config.matching}
        return players

    def draw(self, x: Tensor, y: Tensor) -> PairBatch:
        """As many reconstructions behind N fakes, with codes behind their z: a mean over all
        counts either kind half."""
        b = super().draw(x, y)
        again = self.generate(self.G, b.code, None)
        return replace(b, fake=torch.cat([b.fake, again]), z=torch.cat([b.z, b.code]))

    def losses_d(self, b: PairBatch) -> Terms:
        return super().losses_d(replace(b, z=b.z.detach()))

    def losses_g(self, b: PairBatch) -> Terms:
        """BiGAN's, and the squared distance of the means of D's features of (x, E(x)) and of
        (G(z), z)."""
        n = len(b.x)
        real, fake = self.D.features(b.x, b.code), self.D.features(b.fake[:n], b.z[:n])
        apart = real.float().mean(0) - fake.float().mean(0)
        return super().losses_g(b) | {"feature_matching": apart.square().sum()}


VARIANT = AugmentedBigan
