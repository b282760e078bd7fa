"""Diversity must not depend on whether the labels of the images are right.

Where these tests fail, a collapse with wrong labels passes for diversity, or real images do not
count as diverse.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from study.metrics import variance
from study.metrics.core.judge import Judge
from study.metrics.core.measure_real import _of_classes
from study.metrics.core.reference import Reference
from study.metrics.core.view import View
from trainables.core.gan import Gan

CLASSES, APART, WITHIN = 5, 20, 3  # grey levels between classes, and within one


class Reader:
    """Reads the label off the first pixel. The features are the other pixels."""

    def logits(self, x: Tensor | NDArray[np.uint8]) -> NDArray[np.float64]:
        return np.eye(CLASSES)[np.asarray(x)[:, 0, 0, 0]]

    def features(self, x: Tensor | NDArray[np.uint8]) -> NDArray[np.float64]:
        return np.asarray(x)[:, 0, 0, 1:].astype(float)


JUDGES = cast(Judge, Reader())


def images(y: NDArray[np.int64], varied: bool, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Images uint8 [N, 1, 1, 9] of classes that lie far apart. If not varied, one per class."""
    x = np.repeat(100 + APART * y[:, None], 9, axis=1)
    if varied:
        x = x + np.rint(rng.normal(0, WITHIN, x.shape)).astype(np.int64)
    x[:, 0] = y
    return x[:, None, None, :].astype(np.uint8)


def ratio(varied: bool, accuracy: float, seed: int, shares: list[float] | None = None) -> float:
    rng = np.random.default_rng(seed)
    asked = rng.choice(CLASSES, 1_000, p=shares)
    wrong = rng.random(len(asked)) > accuracy
    shown = (asked + wrong * rng.integers(1, CLASSES, len(asked))) % CLASSES
    real = [images(np.full(100, k), True, rng) for k in range(CLASSES)]
    empty = torch.empty(0)
    reference = Reference(
        samples=len(asked),
        mean=empty,
        cov=empty,
        fcd_floor=0.0,
        label_accuracy_real=1.0,
        marginal=torch.full((CLASSES,), 1 / CLASSES),
        x=empty,
        y=empty,
        **_of_classes(JUDGES, real),
    )
    fakes = torch.from_numpy(images(shown, varied, rng))
    gan = cast(Gan, None)  # the metric looks at the fakes alone
    view = View(gan, reference, JUDGES, fakes, torch.from_numpy(asked), torch.Generator())
    return variance.measure(view)["variance_ratio"]


@settings(deadline=None, max_examples=30)
@given(accuracy=st.floats(0, 1, allow_subnormal=False), seed=st.integers(0, 99))
def test_one_image_per_class_is_diverse(accuracy: float, seed: int) -> None:
    assert ratio(False, accuracy, seed) <= 0.05


@settings(deadline=None, max_examples=30)
@given(accuracy=st.floats(0, 1, allow_subnormal=False), seed=st.integers(0, 99))
def test_real_images_are_not_diverse(accuracy: float, seed: int) -> None:
    assert ratio(True, accuracy, seed) == pytest.approx(1, abs=0.1)


def test_rare_class_counts_as_much_as_a_frequent_one() -> None:
    """Five misread images would otherwise weigh as much as a whole class."""
    assert ratio(True, 0.99, 0, [0.5, 0.3, 0.18, 0.02, 0.0]) == pytest.approx(1, abs=0.1)
