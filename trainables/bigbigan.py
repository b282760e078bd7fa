"""BigBiGAN (Donahue, Simonyan 2019, arXiv:1907.02544): a BiGAN whose D also scores x and z alone.

Here with BiGAN's small networks, a deterministic E and one turn of D for one of G and E: what is
kept is the game (eq. 1-3), hinge loss on each score, and E's higher learning rate.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from trainables.bigan import Bigan, BiganConfig, JointDiscriminator, init
from trainables.core import losses
from trainables.core.gan import Config, Positive, Terms

Unary = Literal["none", "x", "z", "both"]


class BigbiganConfig(BiganConfig, frozen=True):
    """z is normal. `unary="none"` is a BiGAN with hinge loss."""

    z_dim: Annotated[int, Field(ge=1, le=65536, strict=True)] = 120
    z_std: Positive = 1.0
    adversarial: losses.Adversarial = "hinge"
    unary: Unary = "both"  # which of s_x and s_z D has
    lr_ratio_e: Positive = 10.0  # E's learning rate : G's


class UnaryDiscriminator(JointDiscriminator):
    """s_x = w_x . F(x) and s_z = w_z . H(z) beside s_xz."""

    def __init__(
        self, channels: int, f: int, size: tuple[int, int], z_dim: int, unary: Unary
    ) -> None:
        super().__init__(channels, f, size, z_dim)
        self.unary = nn.ModuleDict(
            {
                name: spectral_norm(init(nn.Linear(16 * f, 1)))
                for name in ("x", "z")
                if unary in (name, "both")
            }
        )

    def forward(self, x: Tensor, z: Tensor) -> Terms:
        f, h = self.features(x, z)
        alone = {name: w(f if name == "x" else h)[:, 0] for name, w in self.unary.items()}
        return {"joint": self.joint(f, h)} | {name: s.float() for name, s in alone.items()}


class Bigbigan(Bigan):
    """Each score has its own loss, so that the losses of D and of G and E are their sums."""

    config_type: ClassVar[type[Config]] = BigbiganConfig
    config: BigbiganConfig
    uniform: ClassVar[bool] = False
    truncates: ClassVar[bool] = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _, encoder = self.optimizers["g"].param_groups
        encoder["lr"] *= self.config.lr_ratio_e

    def make_d(self) -> nn.Module:
        c, images = self.config, self.images
        return UnaryDiscriminator(images.channels, c.f, images.size, c.z_dim, c.unary)


VARIANT = Bigbigan
