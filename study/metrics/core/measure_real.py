"""Measure the real images of a condition. The fakes are later compared with the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from study.metrics.core import catalog
from study.metrics.core.class_counts import allocate
from study.metrics.core.frechet import frechet_distance, moments
from study.metrics.core.judge import Judge, accuracy
from study.metrics.core.reference import Reference
from study.metrics.core.spread import kinds, spread
from study.metrics.core.view import View
from trainables.data import Dataset

if TYPE_CHECKING:
    from trainables.core.gan import Gan

MAX_FOR_MOMENTS = 10_000  # real images for the mean and covariance, at most
MAX_PER_CLASS = 100  # real images for each class's mean and variances, at most
# Real test images that a judge reads, at most. For images of several labels this is also
# the most training images whose spread is measured, for each number of labels.
MAX_READ = 5_000
HELD_OUT = 1_024  # real test images kept in `Reference.x`, unless a metric wants more
MAX_PAIRS = 512  # pairs of real test images kept for translation, at most


def build_references(
    judges: Sequence[Judge],
    dataset: Dataset,
    samples: int,
    seed: int,
    wanted: Sequence[str] = (),
    share: float = 1.0,
) -> list[Reference]:
    """Measure the real images of `dataset`, which has only the classes of one condition.

    There is one reference for each judge. All of them are of the same images.

    The training images are halved at random. At most 10,000 images of the first half give the mean
    and covariance, and `samples` images of the second half give the floor. If the second half has
    fewer, images are drawn again, and the floor is then too high.

    Each class is halved likewise. The first half gives the class's mean, variances and rows of
    `real`. The second half stands in G's place for `on_real`. If images have several labels, the
    two halves of all images are used instead.

    Args:
        wanted: the metrics that will be measured. Some of them are measured on real images first.
        share: share of the real images that are measured otherwise. Below 1 suits runs in which
            little depends on them.

    Raises:
        ValueError: the data have more classes than the judges know, or a class has fewer than four
            training images (two, if images have several labels). If images have several labels:
            too few images share all their labels, or a metric needs one label per image.
    """
    generator = torch.Generator().manual_seed(seed)  # which the views share, as in `look`
    views = [_measure(judge, dataset, samples, seed, wanted, share, generator) for judge in judges]
    # The references share the images, which are the same, so that they are kept only once.
    first = views[0].reference
    shared = {name: getattr(first, name) for name in ("x", "y", "real_y", "pairs", "pairs_y")}
    shared |= {"asked": first.asked, "conditions": first.conditions}
    return [
        replace(view.reference, **shared, on_real=row)
        for view, row in zip(views, catalog.on_real(views, wanted), strict=True)
    ]


def _measure(
    judge: Judge,
    dataset: Dataset,
    samples: int,
    seed: int,
    wanted: Sequence[str],
    share: float,
    generator: torch.Generator,
) -> View:
    """One judge's reference, but for `on_real`, in a view that has real images as fakes."""
    train, test, classes = dataset.train, dataset.test, len(dataset.classes)
    many = dataset.spec.labels > 1
    if classes > judge.classes:
        raise ValueError(f"the judges know {judge.classes} classes but the data have {classes}")
    if many and (unfit := [n for n in wanted if "one_label" in catalog.load(n).NEEDS]):
        several = f"one label per image, and {dataset.name} has several"
        raise ValueError(f"metric {unfit[0]!r} needs {several}")
    counts = train.y.sum(0) if many else np.bincount(train.y, minlength=classes)
    if counts.min() < (2 if many else 4):  # a variance needs two in each half
        bare = dataset.classes[int(counts.argmin())]
        raise ValueError(f"class {bare} of {dataset.name} has {counts.min()} training images")

    rng = np.random.default_rng(seed)
    first, second = np.array_split(rng.permutation(len(train.y)), 2)
    most_for_moments, most_per_class, most_read = (
        round(share * most) for most in (MAX_FOR_MOMENTS, MAX_PER_CLASS, MAX_READ)
    )
    real = moments(judge.features(train.x[first[:most_for_moments]]))
    others = second[:samples] if len(second) >= samples else rng.choice(second, samples)
    floor = frechet_distance(moments(judge.features(train.x[others])), real)

    halves: list[list[NDArray[np.int64]]] = []
    if not many:
        halves = [
            np.array_split(rng.permutation(np.flatnonzero(train.y == label)), 2)
            for label in range(classes)
        ]
    rows = rng.permutation(len(test.y))
    most = max([HELD_OUT, *(getattr(catalog.load(name), "HELD_OUT", 0) for name in wanted)])
    read, held_out = rows[:most_read], rows[:most]
    marginal = counts / len(train.y)
    own: dict[str, Any]
    twins = test.of(np.arange(2 * MAX_PAIRS)[: len(test.y)] if dataset.paired else rows[:0])
    if many:
        own = _of_label_sets(judge, dataset, samples, most_read, rng)
        near, far = first[:samples], second[:samples]
        near = near[: len(far)]
    else:
        own = _of_classes(judge, [train.x[near[:most_per_class]] for near, _ in halves])
        shares = np.minimum(allocate(marginal, samples), [len(far) for _, far in halves])
        pairs = [np.stack([h[:n] for h in half]) for half, n in zip(halves, shares, strict=True)]
        near, far = rng.permutation(np.concatenate(pairs, axis=1), axis=1)
    reference = Reference(
        samples=samples,
        mean=torch.from_numpy(real.mean),
        cov=torch.from_numpy(real.cov),
        fcd_floor=floor,
        label_accuracy_real=accuracy(judge.logits(test.x[read])[:, :classes], test.y[read]),
        marginal=torch.from_numpy(marginal),
        x=torch.from_numpy(test.x[held_out]),
        y=torch.from_numpy(test.y[held_out]),
        real=torch.from_numpy(judge.features(train.x[near])).float(),
        real_y=torch.from_numpy(train.y[near]),
        pairs=torch.from_numpy(twins.x.reshape(-1, 2, *test.x.shape[1:])),
        pairs_y=torch.from_numpy(twins.y.reshape(-1, 2)),
        **own,
    )
    pools = [np.concatenate([far, near]) for near, far in halves]
    g = cast("Gan", RealImages(train.x, pools, judge.device))
    fakes = torch.from_numpy(train.x[far])
    return View(g, reference, judge, fakes, torch.from_numpy(train.y[far]), generator)


def _of_classes(judge: Judge, images: Sequence[NDArray[np.uint8]]) -> dict[str, Tensor]:
    """The fields of a reference that describe single classes.

    Args:
        images: [n, C, H, W] of each class.
    """
    by_class = [judge.features(x) for x in images]
    variances = np.stack([features.var(0, ddof=1) for features in by_class])
    every, features = np.concatenate(images), np.concatenate(by_class)
    read = judge.logits(every)[:, : len(images)].argmax(1)
    groups = [features[read == label] for label in range(len(images))]
    traces = [spread(group, np.zeros(len(group))) if len(group) else np.nan for group in groups]
    return {
        "class_traces": torch.from_numpy(np.array(traces)),
        "class_means": torch.from_numpy(np.stack([features.mean(0) for features in by_class])),
        "class_variances": torch.from_numpy(variances),
    }


def _of_label_sets(
    judge: Judge, dataset: Dataset, samples: int, most_read: int, rng: np.random.Generator
) -> dict[str, Any]:
    """The fields of a reference that only images of several labels have.

    Args:
        most_read: training images whose spread is measured, for each number of labels, at most.

    Raises:
        ValueError: too few training images share all their labels.
    """
    train = dataset.train
    traces = np.empty(dataset.spec.labels)
    for kind in range(len(traces)):
        rows = rng.permutation(np.flatnonzero(kinds(train.y) == kind))[:most_read]
        traces[kind] = spread(judge.features(train.x[rows]), train.y[rows])
    if np.isnan(traces).any():
        raise ValueError(f"{dataset.name}: too few training images share all of their labels")
    asked = train.y[rng.choice(len(train.y), -(-samples // 2)).repeat(2)[:samples]]
    return {
        "class_traces": torch.from_numpy(traces),
        "asked": torch.from_numpy(asked),
        "conditions": {name: torch.from_numpy(y) for name, y in dataset.conditions.items()},
    }


@dataclass(frozen=True)
class RealImages:
    """Stands in for a `Gan` when metrics are measured on real training images."""

    x: NDArray[np.uint8]  # [N, C, H, W]
    pools: Sequence[NDArray[np.int64]]  # rows of each class, the reference's last
    device: torch.device
    conditional = True

    def sample(self, y: Tensor, n: int, rng: torch.Generator) -> Tensor:
        """n images, uint8 [n, C, H, W], of the labels y [n].

        No image of a class appears twice before every image of the class has appeared once.
        """
        rows = np.empty(n, dtype=np.int64)
        for label, pool in enumerate(self.pools):
            places = np.flatnonzero(y.numpy() == label)
            rows[places] = np.resize(pool, len(places))
        return torch.from_numpy(self.x[rows])
