"""Least-squares GAN (Mao et al. 2016, arXiv:1611.04076), as somebody outside would write it."""

from networks import mlp
from torch import Tensor, nn

from trainables.core.gan import Gan
from trainables.core.player import Batch, Player, Terms


class Lsgan(Gan):
    conditional = False
    has_critic = True  # what the metric beside it needs
    D: nn.Module

    def build(self) -> dict[str, Player]:
        c, shape = self.config, (self.data_spec.channels, *self.data_spec.size)
        pixels = shape[0] * shape[1] * shape[2]
        self.G = nn.Sequential(mlp(c.z_dim, pixels, 16 * c.f), nn.Tanh(), nn.Unflatten(1, shape))
        self.D = nn.Sequential(nn.Flatten(), mlp(pixels, 1, 16 * c.f))
        return {
            "d": Player([self.D], self.losses_d, c.lr * c.lr_ratio),
            "g": Player([self.G], self.losses_g, c.lr),
        }

    def draw(self, x: Tensor, y: Tensor) -> Batch:
        return Batch(x, y, y, self.generate(self.G, self.noise(len(x)), None))

    def generate(self, G: nn.Module, z: Tensor, y: Tensor | None) -> Tensor:
        images: Tensor = G(z)
        return images

    def losses_d(self, b: Batch) -> Terms:
        real, fake = self.D(b.x), self.D(b.fake.detach())
        return {"real": (real - 1).square().mean(), "fake": fake.square().mean()}

    def losses_g(self, b: Batch) -> Terms:
        return {"fake": (self.D(b.fake) - 1).square().mean()}


VARIANT = Lsgan
