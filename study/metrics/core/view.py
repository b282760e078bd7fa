"""What one evaluation sees. Fakes are drawn once and judged once, for any number of metrics."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from study.metrics.core.class_counts import allocate
from trainables.data.base import DataSpec

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from study.metrics.core.inception import Inception
    from study.metrics.core.judge import Judges
    from study.metrics.core.reference import Reference
    from trainables.core.gan import Gan

# Fewer fakes or real images, of a class or in all, have no meaningful distance or neighbourhood.
MIN_TO_COMPARE = 10


@dataclass(frozen=True)
class View:
    """What metrics see in one evaluation of one GAN. `View.draw` makes a view."""

    gan: Gan
    reference: Reference
    judges: Judges
    fakes: Tensor  # uint8 [N, C, H, W]
    y: Tensor  # the labels asked for: int64 [N], or uint8 [N, K] where images have several
    rng: torch.Generator  # on the CPU
    inception: Inception | None = None  # for the metric `fid`
    # Images that the GAN is trained on, uint8 [M, C, H, W], and their labels. Probes use them.
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
        """Draw `reference.samples` fakes in random order.

        The fakes have the class shares of the real images, or label sets of real images.

        Args:
            rng: on the CPU. The same seed at every tick gives the same latents and labels.
        """
        import torch

        if reference.asked is None:
            counts = allocate(reference.marginal.numpy(), reference.samples)
            y = torch.from_numpy(np.repeat(np.arange(len(counts)), counts))
        else:
            y = reference.asked
        y = y[torch.randperm(len(y), generator=rng)]  # so that D sees batches of mixed classes
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
        """The label judge's logits for the fakes, [N, K], for the condition's K classes."""
        return self.judges.logits(self.fakes)[:, : self.reference.classes]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The class that the label judge reads in each fake, [N], if images have one label."""
        return np.asarray(self.logits.argmax(1), dtype=np.int64)

    @cached_property
    def measurable_classes(self) -> list[int]:
        """Classes that have enough fakes and real images to be measured alone.

        If images have several labels, there are no such classes.
        """
        if self.y.ndim > 1:
            return []
        classes = self.reference.classes
        counts = [np.bincount(y, minlength=classes) for y in (self.y, self.reference.real_y)]
        return np.flatnonzero(np.minimum(*counts) >= MIN_TO_COMPARE).tolist()


def data_spec_of(judges: Judges, reference: Reference) -> DataSpec:
    """The description of the images that a condition's cells are trained on."""
    channels, *size = judges.shape
    paired = len(reference.pairs) > 0
    return DataSpec(reference.classes, channels, (size[0], size[1]), judges.labels, paired)
