"""What fakes are measured against: one condition's real images as seen by the judges."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from study.metrics.frechet import Moments, frechet_distance, moments
from study.metrics.judge import Judges
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
    class_traces: Tensor  # float64 [K]: tr Cov of judge features within each class
    label_accuracy_real: float  # of the label judge on held-out real images, among these classes
    marginal: Tensor  # float64 [K]: share of each class in the training images
    x: Tensor  # uint8 NCHW: held-out real images
    y: Tensor  # int64 [N]: their labels

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
        if classes > judges.classes:
            raise ValueError(
                f"the judges know {judges.classes} classes but the data have {classes}"
            )
        counts = np.bincount(train.y, minlength=classes)
        if counts.min() < 2:
            bare = dataset.classes[int(counts.argmin())]
            raise ValueError(f"class {bare} of {dataset.name} has {counts.min()} training images")

        rng = np.random.default_rng(seed)
        first, second = np.array_split(rng.permutation(len(train.y)), 2)
        real = moments(judges.features(train.x[first[:REAL]]))
        others = second[:samples] if len(second) >= samples else rng.choice(second, samples)
        floor = frechet_distance(moments(judges.features(train.x[others])), real)

        traces = np.empty(classes)
        for label in range(classes):
            rows = rng.permutation(np.flatnonzero(train.y == label))[:PER_CLASS]
            traces[label] = judges.features(train.x[rows]).var(0, ddof=1).sum()

        rows = rng.permutation(len(test.y))
        read = rows[:READ]
        predicted = judges.logits(test.x[read])[:, :classes].argmax(1)
        held_out = rows[:HELD_OUT]
        return cls(
            samples=samples,
            mean=torch.from_numpy(real.mean),
            cov=torch.from_numpy(real.cov),
            fcd_floor=floor,
            class_traces=torch.from_numpy(traces),
            label_accuracy_real=float((predicted == test.y[read]).mean()),
            marginal=torch.from_numpy(counts / counts.sum()),
            x=torch.from_numpy(test.x[held_out]),
            y=torch.from_numpy(test.y[held_out]),
        )

    def state(self) -> dict[str, Any]:
        """Plain numbers and CPU tensors: for a file, or for shipping to workers."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Reference:
        """The inverse of `state`."""
        return cls(**state)
