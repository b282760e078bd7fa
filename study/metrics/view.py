"""What one evaluation sees: fakes drawn once, judged once, however many metrics look."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from study.metrics.fid import Inception
    from study.metrics.judge import Judges
    from study.metrics.reference import Reference
    from trainables.core.gan import Gan

LEAST = 2  # fakes of each class: the fewest that have a variance
ENOUGH = 10  # fakes and real images of a class: the fewest that have a distance or a neighbourhood


@dataclass(frozen=True)
class View:
    """One evaluation of one GAN. `View.draw` makes it."""

    gan: Gan
    reference: Reference
    judges: Judges
    fakes: Tensor  # uint8 [N, C, H, W]
    y: Tensor  # the labels asked for: int64 [N], or uint8 [N, K] where images have several
    rng: torch.Generator  # on the CPU
    inception: Inception | None = None  # what `fid` needs
    # The images that the GAN is trained on, uint8 [M, C, H, W], and their labels: for probes.
    train: tuple[Tensor, Tensor] | None = None

    @classmethod
    def draw(
        cls,
        gan: Gan,
        reference: Reference,
        judges: Judges,
        rng: torch.Generator,
        inception: Inception | None = None,
        train: tuple[Tensor, Tensor] | None = None,
    ) -> View:
        """Draw `reference.samples` fakes with the class shares, or the label sets, of the real
        images, shuffled.

        Args:
            rng: on the CPU; seed it alike to see the same latents and labels at every tick.
        """
        import torch

        if reference.asked is None:
            counts = allocate(reference.marginal.numpy(), reference.samples)
            y = torch.from_numpy(np.repeat(np.arange(len(counts)), counts))
        else:
            y = reference.asked
        y = y[torch.randperm(len(y), generator=rng)]  # D sees batches of mixed classes
        fakes = gan.sample(y if gan.conditional else None, len(y), rng)
        return cls(gan, reference, judges, fakes, y, rng, inception, train)

    @cached_property
    def features(self) -> NDArray[np.float64]:
        """The feature judge's features of the fakes, [N, 64].

        Raises:
            FloatingPointError: a feature is not finite.
        """
        return self.judges.features(self.fakes)

    @cached_property
    def logits(self) -> NDArray[np.float32]:
        """The label judge's logits for the fakes, of the condition's K classes, [N, K]."""
        return self.judges.logits(self.fakes)[:, : self.reference.classes]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The label judge's choice for each fake, where images have one label, [N]."""
        return np.asarray(self.logits.argmax(1), dtype=np.int64)

    @cached_property
    def ample(self) -> list[int]:
        """The classes that have enough fakes and real images to be measured alone: none where
        images have several labels."""
        if self.y.ndim > 1:
            return []
        classes = self.reference.classes
        counts = [np.bincount(y, minlength=classes) for y in (self.y, self.reference.real_y)]
        return np.flatnonzero(np.minimum(*counts) >= ENOUGH).tolist()


def allocate(marginal: NDArray[np.float64], n: int) -> NDArray[np.int64]:
    """How many of `n` images each class gets: its share, yet at least two where n allows.

    Classes whose share is less than the least get the least; the others divide what remains by
    the largest remainder. Nothing is random.
    """
    least = min(LEAST, n // len(marginal))
    small = np.zeros(len(marginal), dtype=bool)
    while True:
        left = n - least * small.sum()
        quota = np.where(small, 0.0, marginal) / marginal[~small].sum() * left
        if not (newly := ~small & (quota < least)).any():
            break
        small |= newly
    counts: NDArray[np.int64] = np.floor(quota).astype(np.int64)
    remainder = np.where(small, -1.0, quota - counts)
    counts[np.argsort(-remainder, kind="stable")[: left - counts.sum()]] += 1
    counts[small] = least
    return counts
