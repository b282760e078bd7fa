"""Conditional GAN (Mirza and Osindero 2014, arXiv:1411.1784) with the networks of `acgan_mnist`:
what that one is compared with."""

from typing import ClassVar, Literal

from trainables.acgan_mnist import RecipeC, RecipeCConfig
from trainables.cgan import Cgan, CganConfig
from trainables.core.config import Config


class CganMnistConfig(RecipeCConfig, CganConfig, frozen=True):
    """Both's."""

    d_planes: Literal["constant"] = "constant"  # of the networks of `acgan_mnist` none paints


class CganMnist(RecipeC, Cgan):
    """D sees label planes beside the image; it has no class head."""

    config_type: ClassVar[type[Config]] = CganMnistConfig
    config: CganMnistConfig


VARIANT = CganMnist
