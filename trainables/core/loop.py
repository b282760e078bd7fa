"""Train a GAN for a number of images. The clock counts images seen.

A step calls no `.item()`, so that the host does not wait for the device.
"""

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from trainables.core.gan import Gan
from trainables.core.images import to_float


class DivergedError(FloatingPointError):
    """A loss became NaN or infinite (the message names it)."""


class StoppedError(Exception):
    """Training was asked to stop between two steps. It can continue from a checkpoint."""


def never() -> bool:
    return False


class Loop:
    """Trains a GAN on shuffled batches of images, which are held as uint8 on the device.

    The order of the images depends only on the seed and the epoch, so three integers are enough as
    a data cursor. The last batch of an epoch is dropped if it is not full.
    """

    def __init__(self, gan: Gan, x: Tensor, y: Tensor, seed: int) -> None:
        """x uint8 [N, C, H, W] and labels y [N, ...], both on the GAN's device.

        Raises:
            ValueError: There are too few images for the hyperparameters, or balanced draws are
                asked for and images have several labels.
        """
        if gan.config.balanced and y.ndim > 1:
            raise ValueError("balanced=True: images have several labels")
        gan.config.check_images(len(x))
        gan.on_data(x, y, seed)
        self.gan, self.x, self.y, self.seed = gan, x, y, seed
        self.seen, self.pretrained, self.batches = 0, 0, 0  # images, images, batches drawn
        # Loss terms since the last `run` that reached its end: names, sums, number of steps.
        self._names: list[str] = []
        self._total, self._steps = torch.zeros((), device=gan.device), 0
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)

    def next_batch(self) -> tuple[Tensor, Tensor]:
        """Images x [batch, C, H, W] in [-1, 1] and labels y [batch, ...]."""
        size = self.gan.config.batch
        epoch, i = divmod(self.batches, len(self.x) // size)
        if epoch != self._epoch:
            rng = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self._epoch = epoch
            self._order = self._draw(rng).to(self.x.device)
        self.batches += 1
        index = self._order[i * size : (i + 1) * size]
        return to_float(self.x[index]), self.y[index]

    def _draw(self, rng: torch.Generator) -> Tensor:
        """The rows of an epoch.

        Each row comes once. If `balanced`, as many rows are drawn with replacement, so that every
        class is equally likely.
        """
        if not self.gan.config.balanced:
            return torch.randperm(len(self.x), generator=rng)
        shares = 1 / torch.bincount(self.y.cpu()).double()
        return torch.multinomial(shares[self.y.cpu()], len(self.x), True, generator=rng)

    def run(self, images: int, stop: Callable[[], bool] = never) -> dict[str, float]:
        """Train until `images` images have been seen since the start.

        Returns the mean of every loss term over the steps since the last `run` that reached its
        end. Before training, these are the finite terms of the first step: see `_first_terms`.

        Args:
            images: Total number of images; pretraining does not count.
            stop: Called before each step. True asks the training to stop.

        Raises:
            DivergedError: The mean of a term is not finite.
            ValueError: The terms of two steps have different names, so they have no mean.
            StoppedError: `stop` returned True. Another `run` continues as if there had been no
                stop.
        """
        gan, size = self.gan, self.gan.config.batch
        while self.pretrained < gan.pretrain_images():
            if stop():
                raise StoppedError
            gan.pretrain(*self.next_batch())
            self.pretrained += size
        while self.seen < images:
            if stop():
                raise StoppedError
            gan.on_images(self.seen)
            terms = gan.step(*self.next_batch())
            if self._steps and list(terms) != self._names:
                raise ValueError(f"a step reports {list(terms)}, and those before {self._names}")
            self._names = list(terms)
            self._total = self._total + torch.stack(list(terms.values()))
            self.seen += size
            self._steps += 1
        if self.seen == 0:
            return self._first_terms()
        means: dict[str, float] = {}
        if self._steps:
            means = dict(zip(self._names, (self._total / self._steps).tolist(), strict=True))
        self._total, self._steps = torch.zeros((), device=gan.device), 0
        for name, mean in means.items():
            if mean - mean != 0:  # NaN or infinite
                raise DivergedError(f"{name} is {mean} after {self.seen} images")
        return means

    def _first_terms(self) -> dict[str, float]:
        """The loss terms of the first step, which is taken and undone.

        A term that is not finite is left out: if training diverges, its next step tells.
        """
        state = copy.deepcopy(self.checkpoint())
        self.gan.on_images(0)
        terms = self.gan.step(*self.next_batch())
        self.restore(state)
        values = torch.stack(list(terms.values()))
        return {
            name: value
            for name, value in zip(terms, values.tolist(), strict=True)
            if math.isfinite(value)
        }

    def checkpoint(self) -> dict[str, Any]:
        """Everything that the next step depends on: the data cursor, the GAN and the RNGs."""
        state = {
            "cursor": [self.seen, self.pretrained, self.batches],
            "terms": [self._names, self._total, self._steps],
            "gan": self.gan.checkpoint(),
            "rng": torch.get_rng_state(),
        }
        if self.gan.device.type == "cuda":
            state["rng_cuda"] = torch.cuda.get_rng_state(self.gan.device)
        return state

    def restore(self, state: dict[str, Any]) -> None:
        self.seen, self.pretrained, self.batches = state["cursor"]
        self._names, total, self._steps = state["terms"]
        self._total = total.to(self.gan.device)
        self.gan.restore(state["gan"])
        torch.set_rng_state(state["rng"].cpu())
        if self.gan.device.type == "cuda":
            torch.cuda.set_rng_state(state["rng_cuda"].cpu(), self.gan.device)
