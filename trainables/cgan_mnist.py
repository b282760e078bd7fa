"""Conditional GAN (Mirza and Osindero 2014, arXiv:1411.1784) with the networks of `acgan_mnist`.

It is the variant that `acgan_mnist` is compared with.
"""

from typing import ClassVar, Literal

from trainables.acgan_mnist import RecipeC, RecipeCConfig
from trainables.cgan import Cgan, CganConfig
from trainables.core.config import Config


class CganMnistConfig(RecipeCConfig, CganConfig, frozen=True):
    """The hyperparameters of recipe C's networks and those of `cgan`."""

    d_planes: Literal["constant"] = "constant"  # no choice: recipe C has no layer for label planes


class CganMnist(RecipeC, Cgan):
    """D gets label planes as further channels of the image. It has no class head."""

    config_type: ClassVar[type[Config]] = CganMnistConfig
    config: CganMnistConfig


VARIANT = CganMnist
