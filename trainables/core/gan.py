"""The central abstraction: a GAN is a set of players that take turns on named losses."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.core.config import Config
from trainables.core.images import to_uint8
from trainables.core.optimizers import Adam
from trainables.core.player import Player, Terms, named
from trainables.core.standing import standing_statistics
from trainables.data.base import DataSpec


class Gan(nn.Module, ABC):
    """Networks, the players who train them, and one step of their game.

    A variant must define the players (`build`) and the data of a step (`draw`). All other methods
    have defaults: `step` lets the players take turns; `on_data`, `on_images` (for growth) and
    `pretrain` do nothing. Evaluation calls `sample`. It also calls `classify`, `encode`, `tangents`
    and `translate` where `classifies`, `encodes`, `has_tangents` and `translates` are True.
    """

    config_type: ClassVar[type[Config]] = Config
    conditional: ClassVar[bool] = True  # G takes labels
    multilabel: ClassVar[bool] = False  # the variant takes multi-hot labels too: see `condition`
    classifies: ClassVar[bool] = False  # D has a class head
    encodes: ClassVar[bool] = False  # an encoder E computes z from images
    truncates: ClassVar[bool] = False  # z is normal and G's only randomness, so it can be truncated
    has_tangents: ClassVar[bool] = False  # computes directions along which an image keeps its class
    translates: ClassVar[bool] = False  # G turns images of one domain into images of another
    uniform: ClassVar[bool] = False  # z is uniform; if False, z is normal
    on_points: ClassVar[bool] = False  # has networks for points in the plane, which are 1x2 images
    least_side: ClassVar[int] = 1  # of the images that the networks take, in pixels
    G: nn.Module

    def __init__(
        self, config: Config, data_spec: DataSpec, device: torch.device, bf16: bool = False
    ) -> None:
        super().__init__()
        self.turn_number = 0  # of the player with the most turns
        self.last_terms: dict[str, Terms] = {}  # of each player's last turn
        self.config, self.data_spec, self.device, self.bf16 = config, data_spec, device, bf16
        self.players = self.build()
        for player in self.players.values():
            player.lr *= config.lr_scale
        self.to(device)
        self.G_ema = copy.deepcopy(self.G).requires_grad_(False).eval()
        self.updates = 0
        betas = config.beta1, config.beta2
        self.optimizers = {}
        for name, player in self.players.items():
            groups = [{"params": n.parameters()} for n in player.networks]
            self.optimizers[name] = Adam(groups, player.lr, betas, fused=True)

    @abstractmethod
    def build(self) -> dict[str, Player]:
        """Make the networks as attributes. Return the players by name, "g" for the one of G."""

    @abstractmethod
    def draw(self, x: Tensor, y: Tensor) -> Any:
        """Make the Batch that all players of a step share, from x [N, C, H, W] in [-1, 1] and y."""

    def generate(self, G: nn.Module, z: Tensor, y: Tensor | None) -> Tensor:
        """Images [N, C, H, W] in [-1, 1] from z [N, z_dim] and labels y.

        A conditional GAN must override this method.
        """
        assert not self.conditional, "a G that takes labels needs a generate of its own"
        images: Tensor = G(z)
        return images

    def on_data(self, x: Tensor, y: Tensor, seed: int) -> None:
        """Called once, before the first step and before a checkpoint is restored.

        Gets all training images x uint8 [N, C, H, W] and their labels y [N, ...], both on the
        device, and the trial's seed. Choices made here must depend on these arguments alone, not on
        torch's own RNG.
        """

    def on_images(self, seen: int) -> None:
        """Called before each step, with the number of images seen so far."""

    def pretrain_images(self) -> int:
        """How many images `pretrain` gets in total before the game starts."""
        return 0

    def pretrain(self, x: Tensor, y: Tensor) -> None:
        """One step of training on a batch before the game starts."""

    def step(self, x: Tensor, y: Tensor) -> Terms:
        """Let the players take turns on a batch: see `Player.turns`.

        Returns the unweighted loss terms of each player's last turn by the name
        "loss/<player>/<term>", as scalars on the device. A variant may add other quantities of the
        step, such as "train/<quantity>".
        """
        place = self.turn_number % max(player.turns for player in self.players.values())
        self.turn_number += 1
        active = [name for name, player in self.players.items() if place < player.turns]
        self.unfreeze(*active)  # a frozen G makes fakes without an autograd graph
        with self.autocast():
            batch = self.draw(x, y)
        for name in active:
            self.last_terms[name] = self.turn(name, batch)
        if "g" in active or "g" not in self.players:
            self.update_average()
        return named(self.last_terms)

    def turn(self, name: str, batch: Any) -> Terms:
        """Train one player for a step on the weighted sum of its terms. The others are frozen."""
        player = self.players[name]
        self.unfreeze(name)
        with self.autocast():
            terms = player.losses(batch)
        return self.optimizer_step(name, terms, player.weights)

    def unfreeze(self, *names: str) -> None:
        """Let the networks of the named players record gradients, and those of no other player."""
        for name, player in self.players.items():
            for network in player.networks:
                network.requires_grad_(name in names)

    def optimizer_step(self, name: str, terms: Terms, weights: Mapping[str, float]) -> Terms:
        """One optimizer step of a player on the weighted sum. Returns the detached terms."""
        weighted = [value * weights.get(term, 1.0) for term, value in terms.items()]
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        torch.stack(weighted).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return {term: value.detach() for term, value in terms.items()}

    @torch.no_grad()
    def update_average(self) -> None:
        """Update the exponential moving average of G's weights; copy its BatchNorm statistics.

        The decay ramps up. Otherwise the first weights would remain in the average for 1,000 steps.
        """
        self.updates += 1
        decay = min(self.config.ema, self.updates / (self.updates + 9))
        for mean, now in zip(self.G_ema.parameters(), self.G.parameters(), strict=True):
            mean.lerp_(now, 1 - decay)
        for kept, buffer in zip(self.G_ema.buffers(), self.G.buffers(), strict=True):
            kept.copy_(buffer)

    @torch.no_grad()
    def standing_statistics(self, y: Tensor, seed: int) -> None:
        """Give the averaged G the BatchNorm statistics of its own weights.

        To be called before the averaged G is measured, sampled or saved. Training goes on as if it
        had not been: the next step copies the statistics anew, and torch's RNGs stay as they were.

        Args:
            y: labels of the training images, [M] or [M, K].
            seed: of the latents and labels, which are drawn as in training.
        """

        def draw() -> None:
            shown = y[torch.randint(len(y), (self.config.batch,), device=y.device)]
            asked = self.labels_for_fakes(shown) if self.conditional else None
            with self.autocast():
                self.generate(self.G_ema, self.noise(len(shown)), asked)

        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(seed)
            standing_statistics(self.G_ema, draw)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def noise(self, n: int, rng: torch.Generator | None = None) -> Tensor:
        """Draw z [n, z_dim], normal or uniform, with mean z_mean and standard deviation z_std.

        The numbers come from the trial's RNG, or from `rng` (on the CPU) where it is given.
        """
        c, draw = self.config, torch.rand if self.uniform else torch.randn
        z = draw(n, c.z_dim, device="cpu" if rng else self.device, generator=rng).to(self.device)
        return ((z * 2 - 1) * 3**0.5 if self.uniform else z) * c.z_std + c.z_mean

    def condition(self, y: Tensor) -> Tensor:
        """Labels as networks take them, [N, classes]: one-hot, or multi-hot labels unchanged."""
        return y if self.data_spec.labels > 1 else F.one_hot(y, self.data_spec.classes)

    def random_labels(self, n: int) -> Tensor:
        """Draw labels to ask G for.

        For data with one label per image: int64 [n], all classes equally likely. For data with
        several: uint8 [n, classes], random sets of at least one label. All set sizes up to the
        data's maximum are equally likely.
        """
        spec = self.data_spec
        if spec.labels == 1:
            return torch.randint(spec.classes, (n,), device=self.device)
        ranks = torch.rand(n, spec.classes, device=self.device).argsort(1)
        sizes = torch.randint(1, spec.labels + 1, (n, 1), device=self.device)
        return (ranks < sizes).to(torch.uint8)

    def labels_for_fakes(self, y: Tensor) -> Tensor:
        """The labels that G is asked for in a step on real images of the labels y."""
        return self.random_labels(len(y))

    @torch.no_grad()
    def sample(
        self, y: Tensor | None, n: int, rng: torch.Generator, z: Tensor | None = None
    ) -> Tensor:
        """n images uint8 [n, C, H, W] of the averaged G in eval mode, quantised like real images.

        A conditional G takes labels y as in training. z [n, z_dim] is drawn from `rng` if missing.

        Raises:
            FloatingPointError: G's images are not finite. Quantising would hide this.
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
        """Class logits [N, K] of D's own class head for images x [N, C, H, W] in [-1, 1]."""
        raise NotImplementedError(f"{type(self).__name__} has no class head")

    def encode(self, x: Tensor) -> Tensor:
        """Latents float32 [N, z_dim] that E, in eval mode, gives to x [N, C, H, W] in [-1, 1]."""
        raise NotImplementedError(f"{type(self).__name__} has no encoder")

    def tangents(self, x: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """k orthonormal directions float32 [N, k, C*H*W] at images x [N, C, H, W] in [-1, 1].

        Random directions come from the trial's RNG, or from `rng` (on the CPU) where it is given.
        """
        raise NotImplementedError(f"{type(self).__name__} knows no tangents")

    def translate(self, x: Tensor, domain: int) -> Tensor:
        """Translate images x of the other domain into `domain`, 0 or 1, with the averaged G.

        Both x and the result are uint8 [N, C, H, W].
        """
        raise NotImplementedError(f"{type(self).__name__} does not translate")

    def gradient_norms(self, x: Tensor, y: Tensor, rng: torch.Generator) -> Terms:
        """Gradient norm of each loss term of G: mean over the batch of ||d term / d image||_2.

        The gradient is taken at G's output, and `term` is an image's own term: the gradient of the
        batch mean is multiplied by N. All networks are in eval mode, because a forward pass in
        training mode changes the vectors of spectral norm. Terms that depend on G's weights alone
        have no norm. The result is empty where no player trains G.
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
        """Everything that the next step depends on, except the RNGs."""
        return {
            "networks": self.state_dict(),
            "optimizers": {name: o.state_dict() for name, o in self.optimizers.items()},
            "updates": self.updates,
            "turn_number": self.turn_number,
            "last_terms": self.last_terms,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.load_state_dict(state["networks"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.updates, self.turn_number = state["updates"], state["turn_number"]
        kept = state["last_terms"].items()
        self.last_terms = {n: {t: v.to(self.device) for t, v in own.items()} for n, own in kept}
