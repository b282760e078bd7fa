"""BigBiGAN (Donahue, Simonyan 2019, arXiv:1907.02544): a BiGAN whose D also scores x and z alone.

This is a small version, with BiGAN's small networks, a deterministic E, and one turn of D for each
turn of G and E. It keeps the game (eq. 1-3), the hinge loss on each score, and E's higher learning
rate.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from trainables.bigan import Bigan, BiganConfig, linear, mlp
from trainables.core import losses
from trainables.core.config import Config, Positive
from trainables.core.player import Terms

Unary = Literal["none", "x", "z", "both"]


class BigbiganConfig(BiganConfig, frozen=True):
    """z is normal. With `unary="none"` the variant is a BiGAN with hinge loss."""

    z_dim: Annotated[int, Field(ge=1, le=65536, strict=True)] = 120
    z_std: Positive = 1.0
    adversarial: losses.Adversarial = "hinge"
    unary: Unary = "both"  # which of the scores s_x and s_z D has
    lr_ratio_e: Positive = 10.0  # E's learning rate divided by G's


class UnaryDiscriminator(nn.Module):
    """The score s_xz = w_xz . J(F(x), H(z)), and also s_x = w_x . F(x) and s_z = w_z . H(z)."""

    def __init__(self, pixels: int, z_dim: int, width: int, unary: Unary) -> None:
        super().__init__()
        self.F, self.H = mlp(pixels, width, width), mlp(z_dim, width, width)
        self.J = mlp(2 * width, width)
        names = [name for name in ("x", "z") if unary in (name, "both")]
        self.w = nn.ModuleDict({name: linear(width, 1) for name in ("joint", *names)})

    def forward(self, x: Tensor, z: Tensor) -> Terms:
        """Scores float32 [N] by name, for x [N, C, H, W] and z [N, z_dim]; high for E's pairs."""
        f, h = self.F(x), self.H(z)
        features = {"joint": self.J(torch.cat([f, h], dim=1)), "x": f, "z": h}
        return {name: w(features[name])[:, 0].float() for name, w in self.w.items()}


class Bigbigan(Bigan):
    """The loss of D is a sum over the scores, and so is the loss of G and E."""

    config_type: ClassVar[type[Config]] = BigbiganConfig
    config: BigbiganConfig
    uniform: ClassVar[bool] = False
    truncates: ClassVar[bool] = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _, encoder = self.optimizers["g"].param_groups
        encoder["lr"] *= self.config.lr_ratio_e

    def make_d(self) -> nn.Module:
        return UnaryDiscriminator(self.pixels, self.config.z_dim, self.width, self.config.unary)


VARIANT = Bigbigan
