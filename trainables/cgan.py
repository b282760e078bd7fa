"""Conditional GAN (Mirza and Osindero 2014, arXiv:1411.1784): labels enter G and D as one-hot."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from trainables.core.config import Config
from trainables.core.gan import Player
from trainables.dcgan import Dcgan, DcganConfig


class CganConfig(DcganConfig, frozen=True):
    """How D sees labels: as one constant plane for each, or as one plane that a linear layer
    paints of them (recipe B of the i-CLEVR lab; for G, whose first layer is linear, such a layer
    would change nothing)."""

    d_planes: Literal["constant", "learned"] = "constant"
    shuffled: bool = False  # a control that must fail: D sees its labels in random order


class Cgan(Dcgan):
    """D sees the labels' planes beside the image, so it judges the pair (x, y)."""

    config_type: ClassVar[type[Config]] = CganConfig
    config: CganConfig
    conditional: ClassVar[bool] = True
    multilabel: ClassVar[bool] = True

    def build(self) -> dict[str, Player]:
        players = super().build()
        if self.config.d_planes == "learned":
            h, w = self.images.size
            self.paint = nn.Linear(self.images.classes, h * w)
            players["d"].networks.append(self.paint)
        return players

    def d_channels(self) -> int:
        learned = self.config.d_planes == "learned"
        return self.images.channels + (1 if learned else self.images.classes)

    def planes(self, y: Tensor, x: Tensor) -> Tensor:
        """Labels as planes of the images' size and type, [N, 1 or K, H, W]."""
        labels = self.condition(y).to(x.dtype)
        if self.config.d_planes == "learned":
            painted: Tensor = self.paint(labels)
            return painted.to(x.dtype).view(-1, 1, *x.shape[2:])
        return labels[:, :, None, None].expand(-1, -1, *x.shape[2:])

    def discriminate(self, x: Tensor, y: Tensor) -> Tensor:
        if self.config.shuffled:
            y = y[torch.randperm(len(y), device=y.device)]
        out: Tensor = self.D(torch.cat([x, self.planes(y, x)], dim=1))
        return out


VARIANT = Cgan
