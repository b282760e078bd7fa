"""Conditional GAN (Mirza and Osindero 2014, arXiv:1411.1784): labels enter G and D as one-hot."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.core.gan import Config
from trainables.dcgan import Dcgan, DcganConfig


class CganConfig(DcganConfig, frozen=True):
    shuffled: bool = False  # a control that must fail: D sees its labels in random order


class Cgan(Dcgan):
    """D sees K label planes beside the image, so it judges the pair (x, y)."""

    config_type: ClassVar[type[Config]] = CganConfig
    config: CganConfig
    conditional: ClassVar[bool] = True

    def d_channels(self) -> int:
        return self.images.channels + self.images.classes

    def discriminate(self, x: Tensor, y: Tensor) -> Tensor:
        if self.config.shuffled:
            y = y[torch.randperm(len(y), device=y.device)]
        planes = F.one_hot(y, self.images.classes).to(x.dtype)[:, :, None, None]
        out: Tensor = self.D(torch.cat([x, planes.expand(-1, -1, *x.shape[2:])], dim=1))
        return out


VARIANT = Cgan
