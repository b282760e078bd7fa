"""CycleGAN (Zhu, Park, Isola, Efros 2017, arXiv:1703.10593): unpaired translation, there and back.

The labels say both class and domain: 2k is class k in the first domain, 2k + 1 in the second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from trainables.core.config import Config, NotNegative
from trainables.core.gan import Gan
from trainables.core.images import to_float, to_uint8
from trainables.core.layers import init_normal
from trainables.core.losses import least_squares
from trainables.core.player import Batch, Player, Terms


class CycleganConfig(Config, frozen=True):
    """Weights and pool are as in the authors' code. z_dim, z_mean and z_std have no effect."""

    cycle: NotNegative = 10.0  # weight: L1 distance of an image to its translation there and back
    identity: NotNegative = 5.0  # weight: L1 distance to its translation into its own domain
    pool: Annotated[int, Field(ge=0, le=65536, strict=True)] = 50  # past fakes kept per domain
    blocks: Annotated[int, Field(ge=0, le=32, strict=True)] = 2  # residual blocks; 9 at 256 pixels
    steady_kimg: NotNegative = 0.0  # kimg after which learning rates begin to fall
    decay_kimg: NotNegative = 0.0  # kimg over which they fall linearly to 0; 0: rates are constant


def conv(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    """A conv3 with reflected edges, and instance norm."""
    kind = nn.Conv2d(inputs, outputs, 3, stride, 1, padding_mode="reflect")
    return [kind, nn.InstanceNorm2d(outputs)]


class Residual(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)  # type: ignore[no-any-return, no-untyped-call]


class Translator(nn.Module):
    """conv3 of f maps, two stride-2 conv3 of 2f and 4f, residual blocks, and back up to the image.

    All convolutions but the last have IN, and ReLU except at the end of a residual block. The last
    ends in tanh. In the authors' code, whose images are nine times as wide, the first and the last
    convolution are conv7.
    """

    def __init__(self, channels: int, f: int, blocks: int) -> None:
        super().__init__()
        layers = [*conv(channels, f), nn.ReLU(inplace=True)]
        for width in (f, 2 * f):
            layers += [*conv(width, 2 * width, 2), nn.ReLU(inplace=True)]
        for _ in range(blocks):
            layers.append(Residual(*conv(4 * f, 4 * f), nn.ReLU(inplace=True), *conv(4 * f, 4 * f)))
        for width in (4 * f, 2 * f):
            up = nn.ConvTranspose2d(width, width // 2, 3, 2, 1, 1)
            layers += [up, nn.InstanceNorm2d(width // 2), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, conv(f, channels)[0])
        init_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        """x [N, C, H, W] -> [N, C, H, W] in [-1, 1]."""
        h, w = x.shape[2:]
        return torch.tanh(self.layers(x)[:, :, :h, :w])


def patch_critic(channels: int, f: int) -> nn.Sequential:
    """Stride-2 conv4 of f and of 2f maps (with IN), each with LReLU .2, and conv4 to the outputs.

    The outputs are [N, 1, h, w]. Each of them sees 22x22 pixels.
    """
    layers = nn.Sequential(
        nn.Conv2d(channels, f, 4, 2, 1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(f, 2 * f, 4, 2, 1),
        nn.InstanceNorm2d(2 * f),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(2 * f, 1, 4, 1, 2),
    )
    init_normal(layers)
    return layers


@dataclass
class Pairing(Batch):
    """The first half of x is from domain 0, the second half from domain 1.

    `fake` holds the translation of each image of x into the other domain.
    """

    same: Tensor  # [N, C, H, W] the translation of each image of x into its own domain


class Cyclegan(Gan):
    """G[d] translates into domain d, and D[d] tells what is real in domain d.

    One Adam trains both networks of G, and another both of D.
    """

    config_type: ClassVar[type[Config]] = CycleganConfig
    config: CycleganConfig
    G: nn.ModuleList
    G_ema: nn.ModuleList
    translates: ClassVar[bool] = True
    pool: Tensor

    def build(self) -> dict[str, Player]:
        c, spec = self.config, self.data_spec
        self.G = nn.ModuleList(Translator(spec.channels, c.f, c.blocks) for _ in range(2))
        self.D = nn.ModuleList(patch_critic(spec.channels, c.f) for _ in range(2))
        self.register_buffer("pool", torch.zeros(2, c.pool, spec.channels, *spec.size))
        halved = {"adversarial_real": 0.5, "adversarial_fake": 0.5}
        return {  # G first, as in the authors' code
            "g": Player([self.G], self.losses_g, c.lr, {"cycle": c.cycle, "identity": c.identity}),
            "d": Player([self.D], self.losses_d, c.lr * c.lr_ratio, halved),
        }

    def on_data(self, x: Tensor, y: Tensor, seed: int) -> None:
        """Find the rows of each domain's images.

        Raises:
            ValueError: A domain has no images.
        """
        self.x, self.y = x, y
        self.rows = [torch.nonzero(y % 2 == domain)[:, 0] for domain in range(2)]
        if not all(map(len, self.rows)):
            raise ValueError("cyclegan: images of even and of odd labels are needed, two domains")

    def on_images(self, seen: int) -> None:
        c = self.config
        if c.decay_kimg:
            left = min(1.0, max(0.0, 1 - (seen / 1000 - c.steady_kimg) / c.decay_kimg))
            for name, optimizer in self.optimizers.items():
                for group in optimizer.param_groups:
                    group["lr"] = self.players[name].lr * left

    def side(self, x: Tensor, y: Tensor, domain: int) -> Tensor:
        """Half a batch of images of one domain.

        They are the batch's own. Where the batch has too few, random training images are added.
        """
        half = len(x) // 2
        others: Tensor = y % 2 != domain
        rows = others.int().argsort(stable=True)[:half]
        more = torch.randint(len(self.rows[domain]), (half,), device=x.device)
        spare = to_float(self.x[self.rows[domain][more]])
        return torch.where(others[rows][:, None, None, None], spare, x[rows])

    def draw(self, x: Tensor, y: Tensor) -> Pairing:
        """One pass through each G serves both for the fakes and for the identity term."""
        a, b = (self.side(x, y, domain) for domain in range(2))
        to_a, to_b = self.G[0](torch.cat([b, a])), self.G[1](torch.cat([a, b]))
        (fake_a, same_a), (fake_b, same_b) = to_a.float().chunk(2), to_b.float().chunk(2)
        y = torch.arange(2, device=x.device).repeat_interleave(len(a))  # domains in place of labels
        return Pairing(
            torch.cat([a, b]), y, 1 - y, torch.cat([fake_b, fake_a]), torch.cat([same_a, same_b])
        )

    def losses_g(self, b: Pairing) -> Terms:
        fake_b, fake_a = b.fake.chunk(2)
        back = torch.cat([self.G[0](fake_b), self.G[1](fake_a)]).float()
        outs = torch.cat([self.D[1](fake_b), self.D[0](fake_a)])
        return {  # twice the mean over both halves, which is the sum of the halves' means
            "adversarial": 2 * least_squares(outs, 1.0),
            "cycle": 2 * F.l1_loss(back, b.x),
            "identity": 2 * F.l1_loss(b.same, b.x),
        }

    def losses_d(self, b: Pairing) -> Terms:
        x, fakes = b.x.chunk(2), b.fake.detach().chunk(2)[::-1]
        outs = torch.cat([D(x[d]) for d, D in enumerate(self.D)])
        past = torch.cat([D(self.pooled(d, fakes[d])) for d, D in enumerate(self.D)])
        return {
            "adversarial_real": 2 * least_squares(outs, 1.0),
            "adversarial_fake": 2 * least_squares(past, 0.0),
        }

    @torch.no_grad()
    def pooled(self, domain: int, fakes: Tensor) -> Tensor:
        """The images that D sees in place of these fakes (Shrivastava 2017).

        Until the pool is full, fakes are stored in the pool and shown. From then on, D sees either
        the fake itself or, with probability 1/2, a past fake, which the new one replaces in the
        pool.
        """
        pool, start = self.pool[domain], self.updates * len(fakes)
        if start < len(pool):
            part = pool[start : start + len(fakes)]
            part.copy_(fakes[: len(part)])
            return fakes
        slots = torch.randperm(len(pool), device=fakes.device)[: len(fakes)]
        swap = torch.rand(len(slots), 1, 1, 1, device=fakes.device) < 0.5
        now, past = fakes[: len(slots)], pool[slots]
        pool[slots] = torch.where(swap, now, past)
        return torch.cat([torch.where(swap, past, now), fakes[len(slots) :]])

    def noise(self, n: int, rng: torch.Generator | None = None) -> Tensor:
        """Random numbers [n, 1] in [0, 1) that choose the images to translate.

        They come from the trial's RNG, or from `rng` where it is given.
        """
        return torch.rand(n, 1, device="cpu" if rng else self.device, generator=rng).to(self.device)

    def generate(self, G: nn.Module, z: Tensor, y: Tensor | None) -> Tensor:
        """Images of labels y: translations of training images, which z chooses."""
        assert y is not None
        out = torch.empty(len(y), self.data_spec.channels, *self.data_spec.size, device=self.device)
        for label in set(y.tolist()):
            places, rows = y == label, torch.nonzero(self.y == label ^ 1)[:, 0]
            if not len(rows):  # no class to translate from, as with an odd number of labels
                rows = self.rows[1 - label % 2]
            which = (z[places, 0] * len(rows)).long().clamp(max=len(rows) - 1)
            into = G[label % 2]  # type: ignore[index]
            out[places] = into(to_float(self.x[rows[which]])).float()
        return out

    @torch.no_grad()
    def translate(self, x: Tensor, domain: int) -> Tensor:
        with self.autocast():
            parts = [self.G_ema[domain](to_float(s.to(self.device))) for s in torch.split(x, 500)]
        return to_uint8(torch.cat(parts))


VARIANT = Cyclegan
