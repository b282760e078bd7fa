"""Each column that depends on the judge is measured by every judge.

The contract of all metrics: a metric declares which of its columns depend on the judge's features
(`BY_FEATURES`) and which on the labels that the judge reads (`BY_LABELS`).
"""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import trainables
from study.metrics import cas, encoder
from study.metrics.core import catalog
from study.metrics.core.judge import Judge
from study.metrics.core.measure_real import build_references
from study.metrics.core.reference import Reference, unreadable
from study.metrics.core.view import View, data_spec_of, look
from tests.study import tiny
from tests.study.metrics.test_measure import FakeGan, PixelJudges, reference
from trainables.core.loop import Loop
from trainables.data import Dataset, Split, load

NAMES = [name for name in catalog.names() if name != "fid"]  # fid needs Inception's weights


class HashJudge:
    """Reads random labels and gives random projections, each by a seed."""

    device = torch.device("cpu")

    def __init__(self, data: Dataset, labels: int, features: int) -> None:
        self.shape = (data.channels, *data.size)
        self.classes, self.labels = len(data.classes), data.spec.labels
        self.seeds = labels, features

    def _project(self, x: Any, seed: int, wide: int) -> NDArray[np.float64]:
        pixels = np.asarray(x, dtype=np.float64).reshape(len(x), -1)
        return pixels @ np.random.default_rng(seed).normal(0, 1e-3, (pixels.shape[1], wide))

    def logits(self, x: Any) -> NDArray[np.float64]:
        values = self._project(x, self.seeds[0], self.classes)
        return values - np.median(values, 0)  # each label is read in about as many images

    def features(self, x: Any) -> NDArray[np.float64]:
        return self._project(x, self.seeds[1], 8)


def paired() -> Dataset:
    x = np.random.default_rng(0).integers(0, 256, (240, 1, 16, 16)).astype(np.uint8)
    split = Split(x, np.arange(240) % 4)
    return dataclasses.replace(
        tiny.dataset(), train=split, test=split, classes=("a", "b", "A", "B"), paired=True
    )


def served(name: str) -> tuple[Any, Dataset]:
    """A small GAN that the metric can measure, and its data."""
    for data in (tiny.dataset(), tiny.several_labels(), load("ring8"), paired()):
        for variant in map(trainables.load, trainables.names()):
            spec = data.spec
            fits = spec.labels == 1 or variant.multilabel or not variant.conditional
            fits = fits and (variant.on_points or not spec.points)
            if fits and catalog.suited([name], variant, spec):
                torch.manual_seed(0)
                config = variant.config_type.parse({"f": 4, "batch": 8})
                gan = variant(config, spec, torch.device("cpu"))
                x, y = torch.from_numpy(data.train.x), torch.from_numpy(data.train.y)
                return Loop(gan, x, y, 0).gan, data  # a loop shows its images to some variants
    raise AssertionError(f"no variant is measured by {name}")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cas, "IMAGES", 60)
    monkeypatch.setattr(cas, "DRAWS", 128)
    monkeypatch.setattr(encoder, "PROBED", 100)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow
def test_column_that_depends_on_the_judge_is_not_declared(name: str) -> None:
    """One judge's value would pass for the mean of all, or be measured where none can read."""
    gan, data = served(name)
    metric = catalog.load(name)
    rows = []
    for seeds in ((1, 1), (2, 1), (1, 2)):
        judge = cast(Judge, HashJudge(data, *seeds))
        (own,) = build_references([judge], data, 60, seed=0, wanted=[name])
        rng = torch.Generator().manual_seed(0)
        train = torch.from_numpy(data.train.x), torch.from_numpy(data.train.y)
        (view,) = look(gan, [own], [judge], rng, None, train)
        rows.append(metric.measure(view) | {c: own.on_real[c] for c in own.on_real})
    first, labels, features = rows
    assert catalog.judged(metric) <= metric.COLUMNS.keys()
    by_labels = {column for column in first if first[column] != labels.get(column)}
    assert by_labels <= catalog.by_labels(metric)
    by_features = {column for column in first if first[column] != features.get(column)}
    assert by_features <= catalog.judged(metric)


class Biased(PixelJudges):
    """Sees features that are `factor` times as far apart, and misreads every `miss`-th image."""

    def __init__(self, factor: float, miss: int) -> None:
        self.factor, self.miss = factor, miss

    def features(self, x: Any) -> NDArray[np.float64]:
        return super().features(x) * self.factor

    def logits(self, x: Any) -> NDArray[np.float64]:
        values = super().logits(x)
        values[:: self.miss] = np.roll(values[:: self.miss], 1, axis=1)
        return values


def views(accuracy: float = 0.8) -> list[View]:
    judges = [cast(Judge, Biased(factor, miss)) for factor, miss in ((1, 2), (2, 4), (3, 5))]
    references = [dataclasses.replace(reference(), label_accuracy_real=accuracy)] * 3
    gan = cast(Any, FakeGan([0, 1, 2, 3]))
    return look(gan, references, judges, torch.Generator().manual_seed(0))


def test_column_is_that_of_one_judge() -> None:
    row = catalog.measure(views(), ["labels", "fcd", "gradients"])
    alone = [catalog.measure([view], ["labels", "fcd"]) for view in views()]
    for column in ("label_accuracy", "fcd"):
        values = [one[column] for one in alone]
        assert len(set(values)) == 3
        assert [row[f"judge/{n}/{column}"] for n in range(3)] == values
        assert row[column] == pytest.approx(np.mean(values))
    assert "judge/0/samples" not in row
    assert "judge/0/gradient_norm/class" not in row


def test_judges_that_cannot_read_measure_labels() -> None:
    row = catalog.measure(views(accuracy=0.5), ["labels", "variance", "class_loss", "fcd"])
    assert "fcd" in row
    assert "class_loss/real" in row
    assert not row.keys() & {"label_accuracy", "variance_ratio", "collusion_gap"}


def test_bound_of_reading_does_not_rise_with_chance() -> None:
    """Of four classes a guess reads a quarter, so half the way to 1 is .625."""

    def reason(*accuracies: float, **changes: Any) -> str | None:
        given = [{"label_accuracy_real": accuracy, **changes} for accuracy in accuracies]
        return unreadable([dataclasses.replace(reference(), **one) for one in given])

    assert reason(0.7, 0.6, 0.6) is None
    line = reason(0.7, 0.6, 0.5)
    assert line is not None
    assert "read 0.60 of the labels" in line
    assert "at least 0.62 are needed" in line
    several = torch.eye(4, dtype=torch.uint8)[[0, 1]] + torch.eye(4, dtype=torch.uint8)[[2, 3]]
    assert reason(0.76, y=several) is None
    assert reason(0.74, y=several) is not None
    one = torch.tensor([1.0], dtype=torch.float64)
    assert reason(1.0, marginal=one) == "there is one label only"


def test_references_differ_in_their_images() -> None:
    data = tiny.dataset()
    judges = [cast(Judge, HashJudge(data, n, n)) for n in range(2)]
    a, b = build_references(judges, data, 30, seed=0)
    for name in ("x", "y", "real_y", "pairs"):
        assert getattr(a, name) is getattr(b, name), "kept twice"
    assert a.fcd_floor != b.fcd_floor
    assert isinstance(a, Reference)
    assert data_spec_of(judges[0], a) == data.spec
