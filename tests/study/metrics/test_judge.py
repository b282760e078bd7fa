"""What judges and references are made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from study.metrics.core import catalog
from study.metrics.core.class_counts import allocate
from study.metrics.core.classifier import Recipe, balanced
from study.metrics.core.frechet import frechet_distance, moments
from study.metrics.core.judge import Judge
from study.metrics.core.measure_real import build_references
from study.metrics.core.reference import Reference
from study.metrics.core.train_judges import train_judges
from study.metrics.core.view import View
from trainables.data import Dataset, Split

RECIPE = Recipe(label_images=1_500, feature_images=1_500, batch=50)


def bars(n: int, seed: int, channels: int = 1, size: int = 12) -> Split:
    """Class k: a bright bar in rows 4k to 4k+3, on noise. Class 2 is rare."""
    rng = np.random.default_rng(seed)
    y = rng.choice(3, n, p=[0.5, 0.4, 0.1])
    x = rng.integers(0, 120, (n, channels, size, size))
    for image, label in zip(x, y, strict=True):
        image[:, 4 * label : 4 * label + 4] += rng.integers(20, 130)
    return Split(x.astype(np.uint8), y.astype(np.int64))


def dataset(**shape: int) -> Dataset:
    train, test = bars(800, 1, **shape), bars(300, 2, **shape)
    return Dataset("bars", train, test, ("a", "b", "c"), "rendered")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def judge(cache: Path) -> Judge:
    return train_judges(dataset(), cache, recipe=RECIPE, count=1)[0]


def test_judges_cannot_read_an_easy_set(judge: Judge) -> None:
    assert judge.accuracy["label"] > 0.95
    assert judge.accuracy["feature"] > 0.95


def test_judges_are_the_same_network(judge: Judge) -> None:
    """With one architecture or one seed for both, what fools one judge would fool the other."""
    shapes = [[p.shape for p in n.parameters()] for n in (judge.label, judge.feature)]
    assert shapes[0] != shapes[1]


def test_shipping_changes_a_judgement(judge: Judge) -> None:
    x = dataset().test.x[:40]
    shipped = Judge.from_state(judge.state())
    assert np.array_equal(shipped.features(x), judge.features(torch.from_numpy(x)))
    assert np.array_equal(shipped.logits(x), judge.logits(x))
    assert shipped.features(x).dtype == np.float64
    assert shipped.features(x).shape == (40, 64)
    assert shipped.logits(x).shape == (40, 3)


def test_features_are_not_of_unit_variance(judge: Judge) -> None:
    variance = judge.features(dataset().train.x).var(0).mean()
    assert 0.5 < variance < 2


def test_wrong_images_are_judged(judge: Judge) -> None:
    with pytest.raises(ValueError, match=r"\(1, 12, 12\)"):
        judge.features(np.zeros((4, 3, 12, 12), np.uint8))
    with pytest.raises(ValueError, match="float32"):
        judge.features(torch.zeros(4, 1, 12, 12))


def test_broken_judge_gives_features(judge: Judge) -> None:
    broken = Judge.from_state(judge.state())
    next(broken.feature.parameters()).data.fill_(np.nan)
    with pytest.raises(FloatingPointError):
        broken.features(dataset().test.x[:4])


def test_rare_classes_are_seldom_drawn() -> None:
    y = np.repeat([0, 1, 2], [900, 90, 10])
    rows = balanced(y, 3_000, np.random.default_rng(0))
    assert np.bincount(y[rows]).min() > 900
    assert set(np.flatnonzero(y == 2)) <= set(rows)  # every image of the rare class is used
    common = rows[y[rows] == 0]
    assert len(np.unique(common)) > 890


def test_reference_is_not_of_this_condition(judge: Judge) -> None:
    data = dataset().keep(2)
    reference = build_references([judge], data, samples=100, seed=0)[0]
    assert reference.classes == 2
    assert reference.marginal.sum() == pytest.approx(1)
    assert reference.y.max() == 1
    assert reference.x.shape == (len(data.test.y), 1, 12, 12)
    assert reference.label_accuracy_real > 0.95
    assert (reference.class_traces > 0).all()
    # A perfect generator's score: small beside the distance of one class from both.
    one = judge.features(data.train.x[data.train.y == 0])
    assert 0 < reference.fcd_floor < frechet_distance(moments(one), reference.moments) / 5


def test_reference_depends_on_more_than_its_seed(judge: Judge) -> None:
    a, b = (build_references([judge], dataset(), 100, seed=3)[0].state() for _ in range(2))
    b = Reference.from_state(b).state()
    for name, value in a.items():
        same = torch.equal(value, b[name]) if isinstance(value, torch.Tensor) else value == b[name]
        assert same, name


def test_small_data_have_no_floor(judge: Judge) -> None:
    """The 1,000 samples are more than half of the training images.

    The floor must nevertheless be that of 1,000 images.
    """
    reference = build_references([judge], dataset(), samples=1_000, seed=0)[0]
    assert 0 < reference.fcd_floor < 10
    assert reference.samples == 1_000


def test_real_images_are_compared_with_themselves(
    judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The floors would be too good.

    So would the distance of fakes that copy training images.
    """
    seen: list[View] = []
    monkeypatch.setattr(catalog, "on_real", lambda views, names: seen.extend(views) or [{}])
    data = dataset()
    known = {row.tobytes(): n for n, row in enumerate(judge.features(data.train.x).astype("f4"))}
    for samples in (90, 10_000):
        reference = build_references([judge], data, samples, seed=0)[0]
        real = {known[row.tobytes()] for row in reference.real.numpy()}
        others = {known[row.tobytes()] for row in seen.pop().features.astype("f4")}
        assert len(real) == len(others) == len(reference.real)
        assert not real & others
        assert (data.train.y[[known[r.tobytes()] for r in reference.real.numpy()]]
                == reference.real_y.numpy()).all()  # fmt: skip
        counts = np.bincount(data.train.y)
        expected = allocate(counts / counts.sum(), 90) if samples == 90 else counts // 2
        assert np.bincount(reference.real_y).tolist() == expected.tolist()
        assert (np.diff(reference.real_y.numpy()) != 0).sum() > 20, "not shuffled"


def test_reference_of_unknown_classes_is_built(judge: Judge) -> None:
    data = dataset()
    more = Dataset("more", data.train, data.test, ("a", "b", "c", "d"), "rendered")
    with pytest.raises(ValueError, match="know 3 classes but the data have 4"):
        build_references([judge], more, 100, 0)[0]
