"""The central abstraction: a GAN is players taking turns on named losses."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.core.config import Config
from trainables.data.base import Look


@dataclass
class Batch:
    """What one step works on; a variant with other networks makes a richer one."""

    x: Tensor  # [N, C, H, W] real, in [-1, 1]
    y: Tensor  # labels of x: int64 [N], or uint8 [N, classes] where images have several
    y_fake: Tensor  # labels asked of G
    fake: Tensor  # [N, C, H, W] G's images, with their graph: D's turn detaches them


Terms = dict[str, Tensor]


@dataclass
class Player:
    """Who trains what, on which named losses."""

    networks: list[nn.Module]  # in its optimizer each is a group, whose rate a variant may change
    losses: Callable[[Any], Terms]
    lr: float
    weights: Mapping[str, float] = field(default_factory=dict)  # of each term; 1 where missing


class Gan(nn.Module, ABC):
    """Networks, the players who train them, and one step of their game.

    A variant says who plays (`build`) and what a step works on (`draw`). Everything else has a
    default: `step` lets the players take turns; `on_data`, `on_images` (growth) and `pretrain` do
    nothing. Evaluation uses `sample`, and `classify`, `encode`, `tangents`, `translate` where
    `classifies`, `encodes`, `spans`, `translates` is True.
    """

    config_type: ClassVar[type[Config]] = Config
    conditional: ClassVar[bool] = True  # G takes labels
    multilabel: ClassVar[bool] = False  # it takes multi-hot labels too: see `condition`
    classifies: ClassVar[bool] = False  # D has a class head
    encodes: ClassVar[bool] = False  # an E reads z off images
    truncates: ClassVar[bool] = False  # z is normal and all of G's randomness
    spans: ClassVar[bool] = False  # it knows directions in which an image stays of its class
    translates: ClassVar[bool] = False  # G turns images of one domain into another's
    uniform: ClassVar[bool] = False  # z is uniform, else normal
    on_points: ClassVar[bool] = False  # it has networks for points in the plane: images of 1x2
    G: nn.Module

    def __init__(
        self, config: Config, images: Look, device: torch.device, bf16: bool = False
    ) -> None:
        super().__init__()
        self.config, self.images, self.device, self.bf16 = config, images, device, bf16
        self.players = self.build()
        for player in self.players.values():
            player.lr *= config.lr_scale
        self.to(device)
        self.G_ema = copy.deepcopy(self.G).requires_grad_(False).eval()
        self.updates = 0
        betas = config.beta1, config.beta2
        self.optimizers = {
            name: torch.optim.Adam(
                [{"params": n.parameters()} for n in player.networks], player.lr, betas, fused=True
            )
            for name, player in self.players.items()
        }

    @abstractmethod
    def build(self) -> dict[str, Player]:
        """Make the networks (as attributes) and name the players in the order of their turns."""

    @abstractmethod
    def draw(self, x: Tensor, y: Tensor) -> Any:
        """What the players of one step share: x [N, C, H, W] in [-1, 1] and y -> a Batch."""

    def generate(self, G: nn.Module, z: Tensor, y: Tensor | None) -> Tensor:
        """z [N, z_dim], labels y -> images [N, C, H, W] in [-1, 1]; a conditional GAN's own."""
        assert not self.conditional, "a G that takes labels needs a generate of its own"
        images: Tensor = G(z)
        return images

    def on_data(self, x: Tensor, y: Tensor, seed: int) -> None:
        """Called once, before the first step and before a checkpoint is restored, with all training
        images x uint8 [N, C, H, W] and their labels y [N, ...], on the device, and the trial's
        seed. What is chosen here must depend on these alone, not on torch's own RNG."""

    def on_images(self, seen: int) -> None:
        """Called before each step with the number of images seen so far."""

    def pretrain_images(self) -> int:
        """How many images `pretrain` wants before the game starts."""
        return 0

    def pretrain(self, x: Tensor, y: Tensor) -> None:
        """One step before the game."""

    def step(self, x: Tensor, y: Tensor) -> Terms:
        """Every player takes one turn.

        Returns the unweighted terms as "loss/<player>/<term>", scalars on the device.
        """
        self.unfreeze(*self.players)
        with self.autocast():
            batch = self.draw(x, y)
        report: Terms = {}
        for name in self.players:
            terms = self.turn(name, batch)
            report |= {f"loss/{name}/{term}": value for term, value in terms.items()}
        self.update_average()
        return report

    def turn(self, name: str, batch: Any) -> Terms:
        """One player minimises the weighted sum of its terms; the others are frozen."""
        player = self.players[name]
        self.unfreeze(name)
        with self.autocast():
            terms = player.losses(batch)
        return self.descend(name, terms, player.weights)

    def unfreeze(self, *names: str) -> None:
        """Only these players' networks record gradients."""
        for name, player in self.players.items():
            for network in player.networks:
                network.requires_grad_(name in names)

    def descend(self, name: str, terms: Terms, weights: Mapping[str, float]) -> Terms:
        """One optimizer step of a player on a weighted sum; returns the detached terms."""
        weighted = [value * weights.get(term, 1.0) for term, value in terms.items()]
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        torch.stack(weighted).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return {term: value.detach() for term, value in terms.items()}

    @torch.no_grad()
    def update_average(self) -> None:
        """EMA of G's weights. The decay ramps up, lest the first weights linger for 1,000 steps;
        BN statistics are running averages already and are copied."""
        self.updates += 1
        decay = min(self.config.ema, self.updates / (self.updates + 9))
        for mean, now in zip(self.G_ema.parameters(), self.G.parameters(), strict=True):
            mean.lerp_(now, 1 - decay)
        for kept, buffer in zip(self.G_ema.buffers(), self.G.buffers(), strict=True):
            kept.copy_(buffer)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def noise(self, n: int, rng: torch.Generator | None = None) -> Tensor:
        """z [n, z_dim], normal or uniform with mean z_mean and standard deviation z_std, from the
        trial's RNG or from `rng` (on the CPU)."""
        c, draw = self.config, torch.rand if self.uniform else torch.randn
        z = draw(n, c.z_dim, device="cpu" if rng else self.device, generator=rng).to(self.device)
        return ((z * 2 - 1) * 3**0.5 if self.uniform else z) * c.z_std + c.z_mean

    def condition(self, y: Tensor) -> Tensor:
        """Labels as networks take them, [N, classes]: one-hot, or multi-hot as they are."""
        return y if self.images.labels > 1 else F.one_hot(y, self.images.classes)

    def random_labels(self, n: int) -> Tensor:
        """Labels that G may be asked for: int64 [n], each class as often; where images have
        several, uint8 [n, classes]: any set of one label or more, every number as often."""
        i = self.images
        if i.labels == 1:
            return torch.randint(i.classes, (n,), device=self.device)
        ranks = torch.rand(n, i.classes, device=self.device).argsort(1)
        sizes = torch.randint(1, i.labels + 1, (n, 1), device=self.device)
        return (ranks < sizes).to(torch.uint8)

    @torch.no_grad()
    def sample(
        self, y: Tensor | None, n: int, rng: torch.Generator, z: Tensor | None = None
    ) -> Tensor:
        """n images uint8 [n, C, H, W] of the averaged G in eval mode, quantised as the real
        ones are; y as in training where it is conditional; z [n, z_dim] where not drawn from `rng`.

        Raises:
            FloatingPointError: G's images are not finite, which quantising would hide.
        """
        z, parts = self.noise(n, rng) if z is None else z, []
        for i in range(0, n, 500):
            labels = None if y is None else y[i : i + 500].to(self.device)
            with self.autocast():
                images = self.generate(self.G_ema, z[i : i + 500], labels)
            if not images.isfinite().all():
                raise FloatingPointError("G's images are not finite")
            parts.append(to_uint8(images))
        return torch.cat(parts)

    def classify(self, x: Tensor) -> Tensor:
        """D's own class logits [N, K] for x [N, C, H, W] in [-1, 1]."""
        raise NotImplementedError(f"{type(self).__name__} has no class head")

    def encode(self, x: Tensor) -> Tensor:
        """E's latents float32 [N, z_dim] for x [N, C, H, W] in [-1, 1], in eval mode."""
        raise NotImplementedError(f"{type(self).__name__} has no encoder")

    def tangents(self, x: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """k orthonormal directions [N, k, C*H*W] float32 at images x [N, C, H, W] in [-1, 1]; where
        they are drawn, from the trial's RNG or from `rng` (on the CPU)."""
        raise NotImplementedError(f"{type(self).__name__} knows no tangents")

    def translate(self, x: Tensor, domain: int) -> Tensor:
        """Images x of the other domain in domain 0 or 1, by the averaged G: uint8 [N, C, H, W]."""
        raise NotImplementedError(f"{type(self).__name__} does not translate")

    def gradient_norms(self, x: Tensor, y: Tensor, rng: torch.Generator) -> Terms:
        """Per loss term of G: mean over the batch of ||d term / d image||_2 at G's output, each
        image's own term (the batch mean's gradient times N). All networks in eval mode: a forward
        pass in training mode moves spectral norm's vectors. Terms of G's weights alone have none,
        and there are no terms where nobody trains G.
        """
        if "g" not in self.players:
            return {}
        seed = int(torch.randint(2**31, (), generator=rng))
        devices = [self.device] if self.device.type == "cuda" else []
        self.unfreeze("g")
        networks = [network for player in self.players.values() for network in player.networks]
        for network in networks:
            network.eval()
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            with self.autocast():
                batch = self.draw(x, y)
                batch.fake = batch.fake.detach().requires_grad_()
                terms = self.players["g"].losses(batch)
        for network in networks:
            network.train()
        norms = {}
        for name, term in terms.items():
            (grad,) = torch.autograd.grad(term, batch.fake, retain_graph=True, allow_unused=True)
            if grad is not None:
                norms[name] = grad.flatten(1).norm(dim=1).mean() * len(grad)
        return norms

    def checkpoint(self) -> dict[str, Any]:
        """Everything the next step depends on, but for the RNGs."""
        return {
            "networks": self.state_dict(),
            "optimizers": {name: o.state_dict() for name, o in self.optimizers.items()},
            "updates": self.updates,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.load_state_dict(state["networks"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.updates = state["updates"]


def to_float(x: Tensor) -> Tensor:
    """uint8 [0, 255] -> float32 [-1, 1]."""
    return x.float().div_(127.5).sub_(1)


def to_uint8(x: Tensor) -> Tensor:
    """float [-1, 1] -> uint8 [0, 255], rounded."""
    return x.float().add(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
