"""The latent regressor (Donahue, Krähenbühl, Darrell 2017, arXiv:1605.09782, sec. 4.1), BiGAN's
control: a plain GAN beside which E learns to read z off G's images, and never sees a real one."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from trainables.bigan import Bigan, PairBatch
from trainables.core import losses
from trainables.core.gan import Player, Terms
from trainables.core.layers import Discriminator


class ImageDiscriminator(Discriminator):
    """SN, one score; it knows nothing of latents."""

    def forward(self, x: Tensor) -> Tensor:
        """x [N, C, H, W] -> [N] float32."""
        return super().forward(x)[:, 0]


class LatentRegressor(Bigan):
    """BiGAN's G and E; a D of images alone; E is a player of its own."""

    def build(self) -> dict[str, Player]:
        players = super().build()
        players["g"].networks = [self.G]
        return players | {"e": Player([self.E], self.losses_e, self.config.lr)}

    def make_d(self) -> nn.Module:
        return ImageDiscriminator(self.images.channels, self.config.f, self.images.size, "sn", 1)

    def draw(self, x: Tensor, y: Tensor) -> PairBatch:
        """The codes are of the fakes."""
        z = self.noise(len(x))
        fake = self.generate(self.G, z, None)
        return PairBatch(x, y, y, fake, z, self.code(self.E, fake.detach()))

    def losses_d(self, b: PairBatch) -> Terms:
        kind = self.config.adversarial
        return {
            "adversarial_real": losses.d_real(kind, self.D(b.x)),
            "adversarial_fake": losses.d_fake(kind, self.D(b.fake.detach())),
        }

    def losses_g(self, b: PairBatch) -> Terms:
        return {"adversarial": losses.g_fake(self.config.adversarial, self.D(b.fake))}

    def losses_e(self, b: PairBatch) -> Terms:
        """Mean squared error of the code, per entry."""
        return {"regression": F.mse_loss(b.code, b.z)}


VARIANT = LatentRegressor
