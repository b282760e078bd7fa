"""The metric `test_error`: D's errors on real images, and on which real images.

The metric needs no fakes, so the GAN of these tests takes no labels.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, cast

import numpy as np
import pytest
import torch
from torch import Tensor

import trainables
from study.metrics.core import catalog
from study.metrics.core.judge import Judge
from study.metrics.core.measure_real import build_references
from tests.study.metrics import measure
from tests.study.metrics.test_measure import FakeGan, PixelJudges, reference, view
from tests.study.tiny import SEVERAL, SPEC
from trainables.data.base import Dataset, Split


class Unconditional(FakeGan):
    conditional: ClassVar[bool] = False

    def sample(self, y: Tensor | None, n: int, rng: torch.Generator) -> Tensor:
        assert y is None
        return super().sample(torch.zeros(n, dtype=torch.int64), n, rng)


def measured(read: list[int], x: Tensor | None = None) -> dict[str, float]:
    """The metric's columns.

    D takes images of label `read[k]` for label k. `x`, if given, replaces the real images.
    """
    seen = view(Unconditional(read))
    known = seen.reference if x is None else dataclasses.replace(reference(), x=x)
    return measure(dataclasses.replace(seen, reference=known), ["test_error"])


def test_errors_are_not_those_of_d() -> None:
    right = {"validation_error": 0.0, "test_error": 0.0, "test_accuracy": 1.0}
    assert measured([0, 1, 2, 3]) == right
    wrong = {"validation_error": 1.0, "test_error": 1.0, "test_accuracy": 0.0}
    assert measured([1, 2, 3, 0]) == wrong


def test_search_chooses_on_the_images_of_the_test() -> None:
    """A configuration chosen for its luck on the test images would look better than it is."""
    for half, column in ((slice(25), "validation_error"), (slice(25, 50), "test_error")):
        x = reference().x.clone()
        x[half, 0, 0, 0] = (x[half, 0, 0, 0] + 1) % 4
        row = measured([0, 1, 2, 3], x)
        assert row.pop("test_accuracy") == 1 - row["test_error"]
        assert row == {"validation_error": 0, "test_error": 0} | {column: 1}


def test_it_is_refused_where_it_can_be_had_or_the_reverse() -> None:
    catalog.check(["test_error"], trainables.load("sgan"), SPEC)
    catalog.check(["test_error"], trainables.load("acgan"), SPEC)
    with pytest.raises(ValueError, match="'test_error' needs a class head in D"):
        catalog.check(["test_error"], trainables.load("dcgan"), SPEC)
    with pytest.raises(ValueError, match="'test_error' needs one label per image"):
        catalog.check(["test_error"], trainables.load("acgan"), SEVERAL)


class AllJudges(PixelJudges):
    classes = 4
    device = torch.device("cpu")

    def features(self, x: Any) -> np.ndarray:
        return super().features(torch.as_tensor(x))

    def logits(self, x: Any) -> np.ndarray:
        return super().logits(torch.as_tensor(x))


@pytest.mark.parametrize(("wanted", "n"), [(("fcd", "test_error"), 1_500), (("fcd",), 1_024)])
def test_few_of_the_real_images_are_kept(wanted: tuple[str, ...], n: int) -> None:
    """On a thousand images, an error of some percent is hardly known to half a percent.

    `test_error` therefore makes the reference keep more than 1,024 held-out images.
    """
    y = np.arange(1_500) % 4
    x = np.random.default_rng(0).integers(0, 256, (1_500, 1, 1, 4)).astype(np.uint8)
    x[:, 0, 0, 0] = y
    train = Split(x[:400], y[:400])
    data = Dataset("pixels", train, Split(x, y), ("a", "b", "c", "d"), "made")
    built = build_references([cast(Judge, AllJudges())], data, 40, 0, wanted)[0]
    assert len(built.x) == len(built.y) == n
    assert torch.equal(built.x[:, 0, 0, 0], built.y)
    few = build_references([cast(Judge, AllJudges())], data, 40, 0)[0]
    assert torch.equal(built.x[:1_024], few.x), "a metric more, and others see other images"
