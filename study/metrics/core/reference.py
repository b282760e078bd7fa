"""The reference that fakes are compared with: a condition's real images, as one judge sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from study.metrics.core.frechet import Moments

READABLE = 0.5  # see `unreadable`


@dataclass(frozen=True)
class Reference:
    """Statistics of one condition's real images. All tensors are on the CPU.

    ```
    reference = build_references(judges, dataset.keep(5), samples=2_000, seed=0)[0]
    ```
    """

    samples: int  # fakes per evaluation, for which the floor holds
    mean: Tensor  # float64 [64]: mean judge features of real training images
    cov: Tensor  # float64 [64, 64]: their covariance
    fcd_floor: float  # distance of `samples` other real training images to mean and cov
    # float64 [K]: tr Cov of judge features of real images that the judge reads as each class,
    # NaN where it reads less than two so. Where images have several labels: [labels], tr Cov within
    # label sets, one of each `kinds`.
    class_traces: Tensor
    label_accuracy_real: float  # of the judge on held-out real images, among these classes
    marginal: Tensor  # float64 [K]: share of the training images that are of each class
    x: Tensor  # uint8 NCHW: held-out real images
    y: Tensor  # labels of x: int64 [N], or uint8 [N, K] where images have several
    # The following fields have defaults: not every kind of data has them. The first two are empty
    # where images have several labels.
    class_means: Tensor = field(default_factory=lambda: torch.empty(0))  # float64 [K, 64]
    class_variances: Tensor = field(default_factory=lambda: torch.empty(0))  # float64 [K, 64]
    # Judge features of as many real training images as there are fakes, in random order. Each class
    # occurs as often as in `view.look`, or with half of its images if that is fewer. Images of
    # several labels are drawn without regard to their label sets.
    real: Tensor = field(default_factory=lambda: torch.empty(0))  # float32 [M, 64]
    real_y: Tensor = field(default_factory=lambda: torch.empty(0))  # labels of `real`, like y
    on_real: Mapping[str, float] = field(default_factory=dict)  # columns: see `catalog.on_real`
    # For images of several labels: the labels that fakes are asked for, [samples, K], which are
    # label sets of real training images, each twice. `conditions` has the data's own label sets by
    # name, uint8 [C, K].
    asked: Tensor | None = None
    conditions: Mapping[str, Tensor] = field(default_factory=dict)
    # For data of two domains: held-out pairs of images that show one thing in both domains.
    pairs: Tensor = field(default_factory=lambda: torch.empty(0))  # uint8 [P, 2, C, H, W]
    pairs_y: Tensor = field(default_factory=lambda: torch.empty(0))  # labels of pairs, int64 [P, 2]

    @property
    def classes(self) -> int:
        return len(self.marginal)

    @property
    def moments(self) -> Moments:
        return Moments(self.mean.numpy(), self.cov.numpy())

    def state(self) -> dict[str, Any]:
        """The fields as plain numbers and CPU tensors, for a file or for shipping to workers."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Reference:
        """The inverse of `state`."""
        return cls(**state)


def unreadable(references: Sequence[Reference]) -> str | None:
    """Why the judges cannot read the labels of a condition's images; None where they can.

    Labels that are mostly misread in real images say nothing of fakes. So the judges' accuracy on
    held-out real images has to be at least half the way from chance to 1, in the mean over judges.
    """
    first = references[0]
    if first.classes == 1:
        return "there is one label only"
    y = first.y.double() if first.y.ndim > 1 else torch.ones(1, 1)
    chance = float(y.sum(1).square().sum() / y.sum() / first.classes)
    least = chance + READABLE * (1 - chance)
    found = sum(reference.label_accuracy_real for reference in references) / len(references)
    if found >= least:
        return None
    return (
        f"the judges read {found:.2f} of the labels of held-out real images right, and at least "
        f"{least:.2f} are needed"
    )


def reference_name(classes: int) -> str:
    """Name of the reference for cells of any condition that have the first `classes` classes."""
    return f"classes={classes}"
