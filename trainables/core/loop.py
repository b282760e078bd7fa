"""Train a GAN for a number of images. The clock is images seen; no `.item()` in the step."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from trainables.core.gan import Gan, to_float


class DivergedError(FloatingPointError):
    """A loss became NaN or infinite (the message names it)."""


class StoppedError(Exception):
    """Training was asked to stop between two steps; it can go on from a checkpoint."""


def never() -> bool:
    return False


class Loop:
    """Feeds shuffled batches of images held as uint8 on the device.

    The order of the images depends on the seed and the epoch alone, so the data cursor is three
    integers. A last batch that is not full is dropped.
    """

    def __init__(self, gan: Gan, x: Tensor, y: Tensor, seed: int) -> None:
        """x uint8 [N, C, H, W] and labels y [N, ...], both on the GAN's device.

        Raises:
            ValueError: fewer images than one batch, or balanced draws of images of several labels.
        """
        if gan.config.balanced and y.ndim > 1:
            raise ValueError("balanced=True: images have several labels")
        if len(x) < gan.config.batch:
            raise ValueError(f"batch={gan.config.batch} is more than the {len(x)} images")
        self.gan, self.x, self.y, self.seed = gan, x, y, seed
        self.seen, self.pretrained, self.batches = 0, 0, 0  # images, images, batches drawn
        # Of the loss terms since the last `run` that came to its end: names, sums, steps.
        self._names: list[str] = []
        self._total, self._steps = torch.zeros((), device=gan.device), 0
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)
        gan.begin(x, y, seed)

    def next_batch(self) -> tuple[Tensor, Tensor]:
        """x [batch, C, H, W] in [-1, 1] and y [batch, ...]."""
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
        """The rows of an epoch: each once, or as many with every class equally likely."""
        if not self.gan.config.balanced:
            return torch.randperm(len(self.x), generator=rng)
        shares = 1 / torch.bincount(self.y.cpu()).double()
        return torch.multinomial(shares[self.y.cpu()], len(self.x), True, generator=rng)

    def run(self, images: int, stop: Callable[[], bool] = never) -> dict[str, float]:
        """Train until `images` were seen since the start; the mean of every loss term over them.

        Args:
            stop: asked before each step.

        Raises:
            DivergedError: a term is not finite.
            StoppedError: `stop` said so; another `run` goes on in the same way.
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
            self._names = list(terms)
            self._total = self._total + torch.stack(list(terms.values()))
            self.seen += size
            self._steps += 1
        means: dict[str, float] = {}
        if self._steps:
            means = dict(zip(self._names, (self._total / self._steps).tolist(), strict=True))
        self._total, self._steps = torch.zeros((), device=gan.device), 0
        for name, mean in means.items():
            if mean - mean != 0:  # NaN or infinite
                raise DivergedError(f"{name} is {mean} after {self.seen} images")
        return means

    def checkpoint(self) -> dict[str, Any]:
        """The data cursor, the GAN and the RNGs: all that the next step depends on."""
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
