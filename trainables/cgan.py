"""Conditional GAN (Mirza and Osindero 2014, arXiv:1411.1784): labels enter G and D as one-hot."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from trainables.core.config import Config
from trainables.core.player import Player
from trainables.dcgan import Dcgan, DcganConfig


class CganConfig(DcganConfig, frozen=True):
    """How D sees labels.

    With "constant", D gets one constant plane per class, from one-hot or multi-hot labels. With
    "learned", D gets a single plane that a linear layer computes from the labels, as in recipe B of
    the i-CLEVR lab. For G such a layer would change nothing, because G's first layer is linear.
    """

    d_planes: Literal["constant", "learned"] = "constant"
    shuffled: bool = False  # control that must fail: D gets the labels in random order


class Cgan(Dcgan):
    """D gets planes of the labels as further channels of the image, so D judges pairs (x, y)."""

    config_type: ClassVar[type[Config]] = CganConfig
    config: CganConfig
    conditional: ClassVar[bool] = True
    multilabel: ClassVar[bool] = True

    def build(self) -> dict[str, Player]:
        players = super().build()
        if self.config.d_planes == "learned":
            h, w = self.data_spec.size
            self.paint = nn.Linear(self.data_spec.classes, h * w)
            players["d"].networks.append(self.paint)
        return players

    def d_channels(self) -> int:
        learned = self.config.d_planes == "learned"
        return self.data_spec.channels + (1 if learned else self.data_spec.classes)

    def planes(self, y: Tensor, x: Tensor) -> Tensor:
        """Labels y as planes [N, 1 or K, H, W] of the size and type of images x."""
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
