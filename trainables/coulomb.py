"""Coulomb GAN (Unterthiner et al. 2018, arXiv:1708.08819): D learns the potential of charges.

Real images are charges that attract, and fakes are charges that repel. G's images move along the
gradient of the potential.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field, StrictBool
from torch import Tensor

from trainables.core.config import NotNegative, Positive
from trainables.core.player import Batch, Player, Terms
from trainables.standard_gan import RecipeD, RecipeDConfig


class CoulombConfig(RecipeDConfig, frozen=True):
    """Hyperparameters of the kernel."""

    eps: Positive = 1.0  # distance below which the kernel hardly grows any more
    eps_half_life: NotNegative = 5000.0  # in steps; 0: eps is constant
    dimension: Annotated[int, Field(ge=3, le=16, strict=True)] = 3  # 3: like charges in space
    self_potential: StrictBool = False  # each charge acts on itself, too: eps^(2 - dimension) / N
    # Divide distances by sqrt(C H W), which makes them a root mean square over the pixels. Images
    # are then about 0.7 apart instead of 20, and potentials are no longer small compared with the
    # outputs of a new D.
    scale_distances: StrictBool = False


def plummer(a: Tensor, b: Tensor, eps: float, dimension: int) -> Tensor:
    """The kernel (|a - b|^2 + eps^2)^(-(dimension - 2) / 2): a [N, P], b [M, P] -> [N, M].

    The paper's exponent d is dimension - 2. The authors' code counts like this, with dimension = 3.
    """
    return (torch.cdist(a, b).square() + eps**2).pow((2 - dimension) / 2)


def potentials(
    real: Tensor, fake: Tensor, eps: float, dimension: int, self_potential: bool
) -> tuple[Tensor, Tensor]:
    """Potentials [N] at N real points and [N] at N generated points, from points [N, P] each.

    Phi(a) = mean k(a, real) - mean k(a, fake) is high where fakes are lacking.
    """
    n = len(real)
    own = []
    for points in (real, fake):
        k = plummer(points, points, eps, dimension)
        # The diagonal is set explicitly, because distances of points to themselves suffer from
        # rounding.
        k.fill_diagonal_(eps ** (2 - dimension) if self_potential else 0.0)
        own.append(k.sum(1) / (n if self_potential else n - 1))
    across = plummer(real, fake, eps, dimension)
    return own[0] - across.mean(1), across.mean(0) - own[1]


class Coulomb(RecipeD):
    """D is fitted to the potential, at real and at generated images."""

    config_type = CoulombConfig
    config: CoulombConfig
    weights_d: ClassVar[dict[str, float]] = {"potential_real": 0.25, "potential_fake": 0.25}

    def build(self) -> dict[str, Player]:
        self.eps = self.config.eps
        return super().build()

    def on_images(self, seen: int) -> None:
        super().on_images(seen)
        c = self.config
        if c.eps_half_life:
            self.eps = c.eps * 0.5 ** (self.steps(seen) / c.eps_half_life)

    @torch.no_grad()
    def targets(self, b: Batch) -> tuple[Tensor, Tensor]:
        """Potentials float32 [N] at the real images, and [N] at the generated images."""
        c = self.config
        with torch.autocast(self.device.type, enabled=False):
            points = [images.float().flatten(1) for images in (b.x, b.fake)]
            if c.scale_distances:
                points = [p / p.shape[1] ** 0.5 for p in points]
            return potentials(points[0], points[1], self.eps, c.dimension, c.self_potential)

    def losses_d(self, b: Batch) -> Terms:
        real, fake = self.targets(b)
        return {
            "potential_real": F.mse_loss(self.D(b.x), real),
            "potential_fake": F.mse_loss(self.D(b.fake.detach()), fake),
        }

    def losses_g(self, b: Batch) -> Terms:
        return {"adversarial": -self.D(b.fake).mean() / 2}


VARIANT = Coulomb
