"""What one evaluation sees. Fakes are drawn once and judged once, for any number of metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from study.metrics.core.class_counts import allocate
from trainables.data.base import DataSpec

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from study.metrics.core.inception import Inception
    from study.metrics.core.judge import Judge
    from study.metrics.core.reference import Reference
    from trainables.core.gan import Gan

T = TypeVar("T")

# Fewer fakes or real images, of a class or in all, have no meaningful distance or neighbourhood.
MIN_TO_COMPARE = 10


@dataclass(frozen=True)
class View:
    """What metrics see in one evaluation of one GAN, with the eyes of one judge: see `look`."""

    gan: Gan
    reference: Reference
    judge: Judge
    fakes: Tensor  # uint8 [N, C, H, W]
    y: Tensor  # the labels asked for: int64 [N], or uint8 [N, K] where images have several
    rng: torch.Generator  # on the CPU
    inception: Inception | None = None  # for the metric `fid`
    # Images that the GAN is trained on, uint8 [M, C, H, W], and their labels. Probes use them.
    train: tuple[Tensor, Tensor] | None = None
    # What `once` has computed: one dictionary for the views of all judges.
    known: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What `make` returns, computed once for all judges. It must not depend on the judge.

        Afterwards the random state is that after the computation, for each judge.

        Args:
            name: unique among all metrics.
        """
        if name not in self.known:
            self.known[name] = make(), self.rng.get_state()
        value, state = self.known[name]
        self.rng.set_state(state)
        return cast(T, value)

    @cached_property
    def features(self) -> NDArray[np.float64]:
        """The judge's features of the fakes, [N, 64].

        Raises:
            FloatingPointError: a feature is not finite.
        """
        return self.judge.features(self.fakes)

    @cached_property
    def logits(self) -> NDArray[np.float32]:
        """The judge's label logits for the fakes, [N, K], for the condition's K classes."""
        return self.judge.logits(self.fakes)[:, : self.reference.classes]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The class that the judge reads in each fake, [N], if images have one label."""
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


def look(
    gan: Gan,
    references: Sequence[Reference],
    judges: Sequence[Judge],
    rng: torch.Generator,
    inception: Inception | None = None,
    train: tuple[Tensor, Tensor] | None = None,
) -> list[View]:
    """Draw as many fakes as the references hold for, in random order, and view them by each judge.

    The fakes have the class shares of the real images, or label sets of real images.

    Args:
        references: of the judges, in the same order.
        rng: on the CPU. The same seed at every tick gives the same latents and labels.
    """
    import torch

    first = references[0]
    if first.asked is None:
        counts = allocate(first.marginal.numpy(), first.samples)
        y = torch.from_numpy(np.repeat(np.arange(len(counts)), counts))
    else:
        y = first.asked
    y = y[torch.randperm(len(y), generator=rng)]  # so that D sees batches of mixed classes
    fakes = gan.sample(y if gan.conditional else None, len(y), rng)
    known: dict[str, Any] = {}
    return [
        View(gan, reference, judge, fakes, y, rng, inception, train, known)
        for reference, judge in zip(references, judges, strict=True)
    ]


def data_spec_of(judge: Judge, reference: Reference) -> DataSpec:
    """The description of the images that a condition's cells are trained on."""
    channels, *size = judge.shape
    paired = len(reference.pairs) > 0
    return DataSpec(reference.classes, channels, (size[0], size[1]), judge.labels, paired)
