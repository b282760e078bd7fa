"""Conditional GAN (Mirza and Osindero 2014, arXiv:1411.1784) with the networks of `acgan_mnist`:
what that one is compared with."""

from trainables.acgan_mnist import RecipeC
from trainables.cgan import Cgan


class CganMnist(RecipeC, Cgan):
    """D sees label planes beside the image; it has no class head."""


VARIANT = CganMnist
