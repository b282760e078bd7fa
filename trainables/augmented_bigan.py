"""Augmented BiGAN (Kumar, Sattigeri, Fletcher 2017, arXiv:1705.08850, sec. 2.2).

D gets reconstructions G(E(x)) as fakes, too, and G and E match features of D. This is to make
reconstructions keep what x shows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from trainables.bigan import Bigan, BiganConfig, JointDiscriminator, PairBatch
from trainables.core.config import Config, NotNegative
from trainables.core.player import Player, Terms


class AugmentedBiganConfig(BiganConfig, frozen=True):
    matching: NotNegative = 1.0  # weight of feature matching


class AugmentedBigan(Bigan):
    """BiGAN's networks. D tells (x, E(x)) from (G(z), z) and, equally often, (G(E(x)), E(x))."""

    config_type: ClassVar[type[Config]] = AugmentedBiganConfig
    config: AugmentedBiganConfig
    D: JointDiscriminator

    def build(self) -> dict[str, Player]:
        players = super().build()
        players["g"].weights = {"feature_matching": self.config.matching}
        return players

    def draw(self, x: Tensor, y: Tensor) -> PairBatch:
        """BiGAN's batch, with N reconstructions after the N fakes and their codes after z.

        A mean over all 2N pairs gives each of the two kinds half the weight.
        """
        b = super().draw(x, y)
        again = self.generate(self.G, b.code, None)
        return replace(b, fake=torch.cat([b.fake, again]), z=torch.cat([b.z, b.code]))

    def losses_d(self, b: PairBatch) -> Terms:
        return super().losses_d(replace(b, z=b.z.detach()))

    def losses_g(self, b: PairBatch) -> Terms:
        """BiGAN's terms and feature matching.

        Feature matching is the squared distance between two means of D's features: that of the
        pairs (x, E(x)), and that of the pairs (G(z), z).
        """
        n = len(b.x)
        real, fake = self.D.features(b.x, b.code), self.D.features(b.fake[:n], b.z[:n])
        apart = real.float().mean(0) - fake.float().mean(0)
        return super().losses_g(b) | {"feature_matching": apart.square().sum()}


VARIANT = AugmentedBigan
