"""What fakes are measured against: one condition's real images as seen by the judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from study import metrics
from study.metrics.frechet import Moments, frechet_distance, moments
from study.metrics.judge import Judges, accuracy
from study.metrics.view import View, allocate
from trainables.data import Dataset

if TYPE_CHECKING:
    from trainables.core.gan import Gan

REAL = 10_000  # real images behind the mean and covariance, at most
PER_CLASS = 100  # real images behind each class's mean and variances, at most
READ = 5_000  # real test images that the label judge reads, at most
HELD_OUT = 1_024  # real test images kept for what D does on them, unless a metric wants more
PAIRS = 512  # pairs of real test images kept for translation, at most


@dataclass(frozen=True)
class Reference:
    """Statistics of the real images of one condition. All tensors live on the CPU.

    ```
    reference = Reference.build(judges, dataset.keep(5), samples=2_000, seed=0)
    ```
    """

    samples: int  # fakes per evaluation, for which the floor holds
    mean: Tensor  # float64 [64]: judge features of real training images
    cov: Tensor  # float64 [64, 64]
    fcd_floor: float  # distance of `samples` other real training images
    class_traces: Tensor  # float64: tr Cov of judge features within labels, one for each kind
    label_accuracy_real: float  # of the label judge on held-out real images, among these classes
    marginal: Tensor  # float64 [K]: share of the training images that are of each class
    x: Tensor  # uint8 NCHW: held-out real images
    y: Tensor  # their labels: int64 [N], or uint8 [N, K] where images have several
    # What studies begun before these fields were there lack, and none of their metrics needs. The
    # first two are empty where images have several labels.
    class_means: Tensor = field(default_factory=lambda: torch.empty(0))  # float64 [K, 64]
    class_variances: Tensor = field(default_factory=lambda: torch.empty(0))  # float64 [K, 64]
    # Judge features of as many real training images as there are fakes, shuffled: each class as
    # often as in `View.draw`, or half of its images where it has fewer; label sets as they come.
    real: Tensor = field(default_factory=lambda: torch.empty(0))  # float32 [M, 64]
    real_y: Tensor = field(default_factory=lambda: torch.empty(0))  # their labels, as y
    on_real: Mapping[str, float] = field(default_factory=dict)  # columns: see `metrics.on_real`
    # Where images have several labels: what fakes are asked for, the labels of `samples` real
    # training images, each set twice; and the data's own label sets by name, uint8 [C, K].
    asked: Tensor | None = None
    conditions: Mapping[str, Tensor] = field(default_factory=dict)
    # Where the data are of two domains: held-out images of one thing in both.
    pairs: Tensor = field(default_factory=lambda: torch.empty(0))  # uint8 [P, 2, C, H, W]
    pairs_y: Tensor = field(default_factory=lambda: torch.empty(0))  # their labels, int64 [P, 2]

    @property
    def classes(self) -> int:
        return len(self.marginal)

    @property
    def moments(self) -> Moments:
        return Moments(self.mean.numpy(), self.cov.numpy())

    @classmethod
    def build(
        cls,
        judges: Judges,
        dataset: Dataset,
        samples: int,
        seed: int,
        wanted: Sequence[str] = (),
    ) -> Reference:
        """Measure the real images of `dataset`, which has the classes of one condition only.

        The training images are halved at random: at most 10,000 of one half give mean and
        covariance, `samples` of the other the floor. Where that half has fewer, images are drawn
        again, and the floor errs on the high side. Each class is halved likewise: one half gives
        its mean, variances and rows of `real`, the other stands in G's place for `on_real`; where
        images have several labels, the halves of all images do.

        Args:
            wanted: the metrics that will be measured, of which some are on real images first.

        Raises:
            ValueError: more classes than the judges know, fewer than four images of a class, or
                (of several labels) too few images that share all of them; a metric that needs one.
        """
        train, test, classes = dataset.train, dataset.test, len(dataset.classes)
        many = dataset.look.labels > 1
        if classes > judges.classes:
            raise ValueError(
                f"the judges know {judges.classes} classes but the data have {classes}"
            )
        if many and (unfit := [n for n in wanted if "one_label" in metrics.load(n).NEEDS]):
            several = f"one label per image, and {dataset.name} has several"
            raise ValueError(f"metric {unfit[0]!r} needs {several}")
        counts = train.y.sum(0) if many else np.bincount(train.y, minlength=classes)
        if counts.min() < (2 if many else 4):  # two in each half have a variance
            bare = dataset.classes[int(counts.argmin())]
            raise ValueError(f"class {bare} of {dataset.name} has {counts.min()} training images")

        rng = np.random.default_rng(seed)
        first, second = np.array_split(rng.permutation(len(train.y)), 2)
        real = moments(judges.features(train.x[first[:REAL]]))
        others = second[:samples] if len(second) >= samples else rng.choice(second, samples)
        floor = frechet_distance(moments(judges.features(train.x[others])), real)

        halves: list[list[NDArray[np.int64]]] = []
        if not many:
            halves = [
                np.array_split(rng.permutation(np.flatnonzero(train.y == label)), 2)
                for label in range(classes)
            ]
        rows = rng.permutation(len(test.y))
        most = max([HELD_OUT, *(getattr(metrics.load(name), "HELD_OUT", 0) for name in wanted)])
        read, held_out = rows[:READ], rows[:most]
        marginal = counts / len(train.y)
        own: dict[str, Any]
        twins = test.of(np.arange(2 * PAIRS)[: len(test.y)] if dataset.paired else rows[:0])
        if many:
            own = _of_label_sets(judges, dataset, samples, rng)
            near, far = first[:samples], second[:samples]
            near = near[: len(far)]
        else:
            own = _of_classes([judges.features(train.x[near[:PER_CLASS]]) for near, _ in halves])
            shares = np.minimum(allocate(marginal, samples), [len(far) for _, far in halves])
            pairs = [
                np.stack([h[:n] for h in half]) for half, n in zip(halves, shares, strict=True)
            ]
            near, far = rng.permutation(np.concatenate(pairs, axis=1), axis=1)
        reference = cls(
            samples=samples,
            mean=torch.from_numpy(real.mean),
            cov=torch.from_numpy(real.cov),
            fcd_floor=floor,
            label_accuracy_real=accuracy(judges.logits(test.x[read])[:, :classes], test.y[read]),
            marginal=torch.from_numpy(marginal),
            x=torch.from_numpy(test.x[held_out]),
            y=torch.from_numpy(test.y[held_out]),
            real=torch.from_numpy(judges.features(train.x[near])).float(),
            real_y=torch.from_numpy(train.y[near]),
            pairs=torch.from_numpy(twins.x.reshape(-1, 2, *test.x.shape[1:])),
            pairs_y=torch.from_numpy(twins.y.reshape(-1, 2)),
            **own,
        )
        pools = [np.concatenate([far, near]) for near, far in halves]
        g = cast("Gan", RealImages(train.x, pools, judges.device))
        fakes, generator = torch.from_numpy(train.x[far]), torch.Generator().manual_seed(seed)
        view = View(g, reference, judges, fakes, torch.from_numpy(train.y[far]), generator)
        return replace(reference, on_real=metrics.on_real(view, wanted))

    def state(self) -> dict[str, Any]:
        """Plain numbers and CPU tensors: for a file, or for shipping to workers."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Reference:
        """The inverse of `state`."""
        return cls(**state)


def _of_classes(by_class: Sequence[NDArray[np.float64]]) -> dict[str, Tensor]:
    """The fields of a reference that are of single classes; features [n, 64] of each."""
    variances = np.stack([features.var(0, ddof=1) for features in by_class])
    return {
        "class_traces": torch.from_numpy(variances.sum(1)),
        "class_means": torch.from_numpy(np.stack([features.mean(0) for features in by_class])),
        "class_variances": torch.from_numpy(variances),
    }


def _of_label_sets(
    judges: Judges, dataset: Dataset, samples: int, rng: np.random.Generator
) -> dict[str, Any]:
    """The fields of a reference that are of images of several labels."""
    train = dataset.train
    traces = np.empty(dataset.look.labels)
    for kind in range(len(traces)):
        rows = rng.permutation(np.flatnonzero(kinds(train.y) == kind))[:READ]
        traces[kind] = spread(judges.features(train.x[rows]), train.y[rows])
    if np.isnan(traces).any():
        raise ValueError(f"{dataset.name}: too few training images share all of their labels")
    asked = train.y[rng.choice(len(train.y), -(-samples // 2)).repeat(2)[:samples]]
    return {
        "class_traces": torch.from_numpy(traces),
        "asked": torch.from_numpy(asked),
        "conditions": {name: torch.from_numpy(y) for name, y in dataset.conditions.items()},
    }


def kinds(y: NDArray[Any]) -> NDArray[np.int64]:
    """Images whose spread compares: the class of each; 0, 1... for one label, two...; [N]."""
    return np.asarray(y if y.ndim == 1 else y.sum(1) - 1, dtype=np.int64)


def spread(features: NDArray[np.float64], y: NDArray[Any]) -> float:
    """tr Cov of features [N, d] among images that share all labels, pooled; NaN where none do."""
    sets, group, sizes = np.unique(y, axis=0, return_inverse=True, return_counts=True)
    group = group.reshape(-1)  # in numpy 2.0 alone it has a second axis
    means = np.stack([features[group == i].mean(0) for i in range(len(sets))])
    freedom = (sizes - 1).sum()
    return float(((features - means[group]) ** 2).sum() / freedom) if freedom else float("nan")


@dataclass(frozen=True)
class RealImages:
    """Real training images in a generator's place."""

    x: NDArray[np.uint8]  # [N, C, H, W]
    pools: Sequence[NDArray[np.int64]]  # per class its rows, those that others rest on last
    device: torch.device
    conditional = True

    def sample(self, y: Tensor, n: int, rng: torch.Generator) -> Tensor:
        """n images uint8 [n, C, H, W] of the labels y [n], none twice while there are others."""
        rows = np.empty(n, dtype=np.int64)
        for label, pool in enumerate(self.pools):
            places = np.flatnonzero(y.numpy() == label)
            rows[places] = np.resize(pool, len(places))
        return torch.from_numpy(self.x[rows])
