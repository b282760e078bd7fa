"""What fakes are measured against: one condition's real images as seen by the judges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from study.metrics.frechet import Moments, frechet_distance, moments
from study.metrics.judge import Judges, accuracy
from trainables.data import Dataset

REAL = 10_000  # real images behind the mean and covariance, at most
PER_CLASS = 100  # real images behind each class's variance, at most
READ = 5_000  # real test images that the label judge reads, at most
HELD_OUT = 1_024  # real test images kept for the discriminator's class loss, at most


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
    # Where they have: what fakes are asked for, the labels of `samples` real training images, each
    # set twice; and the data's own label sets by name, uint8 [C, K].
    asked: Tensor | None = None
    conditions: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def classes(self) -> int:
        return len(self.marginal)

    @property
    def moments(self) -> Moments:
        return Moments(self.mean.numpy(), self.cov.numpy())

    @classmethod
    def build(cls, judges: Judges, dataset: Dataset, samples: int, seed: int) -> Reference:
        """Measure the real images of `dataset`, which has the classes of one condition only.

        The training images are halved at random: at most 10,000 of one half give mean and
        covariance, `samples` of the other the floor. Where that half has fewer, images are drawn
        again, and the floor errs on the high side.

        Raises:
            ValueError: more classes than the judges know, or fewer than two images of a class.
        """
        train, test, classes = dataset.train, dataset.test, len(dataset.classes)
        many = dataset.look.labels > 1
        if classes > judges.classes:
            raise ValueError(
                f"the judges know {judges.classes} classes but the data have {classes}"
            )
        counts = train.y.sum(0) if many else np.bincount(train.y, minlength=classes)
        if counts.min() < 2:
            bare = dataset.classes[int(counts.argmin())]
            raise ValueError(f"class {bare} of {dataset.name} has {counts.min()} training images")

        rng = np.random.default_rng(seed)
        first, second = np.array_split(rng.permutation(len(train.y)), 2)
        real = moments(judges.features(train.x[first[:REAL]]))
        others = second[:samples] if len(second) >= samples else rng.choice(second, samples)
        floor = frechet_distance(moments(judges.features(train.x[others])), real)

        traces = np.empty(dataset.look.labels if many else classes)
        for kind in range(len(traces)):
            rows = rng.permutation(np.flatnonzero(kinds(train.y) == kind))
            rows = rows[: READ if many else PER_CLASS]
            traces[kind] = spread(judges.features(train.x[rows]), train.y[rows])
        if np.isnan(traces).any():
            raise ValueError(f"{dataset.name}: too few training images share all of their labels")

        rows = rng.permutation(len(test.y))
        read, held_out = rows[:READ], rows[:HELD_OUT]
        pairs = rng.choice(len(train.y), -(-samples // 2)).repeat(2)[:samples] if many else None
        return cls(
            samples=samples,
            mean=torch.from_numpy(real.mean),
            cov=torch.from_numpy(real.cov),
            fcd_floor=floor,
            class_traces=torch.from_numpy(traces),
            label_accuracy_real=accuracy(judges.logits(test.x[read])[:, :classes], test.y[read]),
            marginal=torch.from_numpy(counts / len(train.y)),
            x=torch.from_numpy(test.x[held_out]),
            y=torch.from_numpy(test.y[held_out]),
            asked=None if pairs is None else torch.from_numpy(train.y[pairs]),
            conditions={name: torch.from_numpy(y) for name, y in dataset.conditions.items()},
        )

    def state(self) -> dict[str, Any]:
        """Plain numbers and CPU tensors: for a file, or for shipping to workers."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Reference:
        """The inverse of `state`."""
        return cls(**state)


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
