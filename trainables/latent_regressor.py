"""The latent regressor (Donahue, Krähenbühl, Darrell 2017, arXiv:1605.09782, sec. 4.1).

It is BiGAN's control: a plain GAN with an E that learns to predict z from G's images. E never sees
a real image in training. E's loss is the squared error, and the paper's is a sigmoid cross-entropy.
Both are least at the mean of z given the image.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from trainables.bigan import Bigan, PairBatch, linear, mlp
from trainables.core import losses
from trainables.core.player import Player, Terms


class LatentRegressor(Bigan):
    """BiGAN's G and E, and a D that sees images alone. E is a player of its own."""

    def build(self) -> dict[str, Player]:
        players = super().build()
        players["g"].networks = [self.G]
        return players | {"e": Player([self.E], self.losses_e, self.config.lr)}

    def make_d(self) -> nn.Module:
        """Make D, which maps images to logits [N, 1]."""
        return nn.Sequential(mlp(self.pixels, self.width, self.width), linear(self.width, 1))

    def discriminate(self, x: Tensor) -> Tensor:
        """D's logits, float32 [N]."""
        logits: Tensor = self.D(x)[:, 0]
        return logits.float()

    def draw(self, x: Tensor, y: Tensor) -> PairBatch:
        """A batch whose codes are those of the fakes."""
        z = self.noise(len(x))
        fake = self.generate(self.G, z, None)
        return PairBatch(x, y, y, fake, z, self.code(fake.detach()))

    def losses_d(self, b: PairBatch) -> Terms:
        kind = self.config.adversarial
        return {
            "adversarial_real": losses.d_real(kind, self.discriminate(b.x)),
            "adversarial_fake": losses.d_fake(kind, self.discriminate(b.fake.detach())),
        }

    def losses_g(self, b: PairBatch) -> Terms:
        return {"adversarial": losses.g_fake(self.config.adversarial, self.discriminate(b.fake))}

    def losses_e(self, b: PairBatch) -> Terms:
        """Mean squared error per entry of z."""
        return {"regression": F.mse_loss(b.code, b.z)}


VARIANT = LatentRegressor
