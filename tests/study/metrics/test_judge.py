"""Judges and references: trained once, the same for the same seed, and kept whole."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tqdm import tqdm

from study.metrics.core import catalog, judge
from study.metrics.core.class_counts import allocate
from study.metrics.core.classifier import Recipe, balanced
from study.metrics.core.frechet import frechet_distance, moments
from study.metrics.core.judge import Judges, train_judges
from study.metrics.core.measure_real import build_reference
from study.metrics.core.reference import Reference
from study.metrics.core.view import View
from trainables.data import Dataset, Split, load

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
def judges(cache: Path) -> Judges:
    return train_judges(dataset(), cache, seed=0, recipe=RECIPE)


def test_judges_cannot_read_an_easy_set(judges: Judges) -> None:
    assert judges.accuracy["label"] > 0.95
    assert judges.accuracy["feature"] > 0.95


def test_judges_are_the_same_network(judges: Judges) -> None:
    """With one architecture or one seed for both, what fools one judge would fool the other."""
    shapes = [[p.shape for p in n.parameters()] for n in (judges.label, judges.feature)]
    assert shapes[0] != shapes[1]


def test_second_call_trains_again(judges: Judges, cache: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge, "train", None)
        again = train_judges(dataset(), cache, seed=0, recipe=RECIPE)
    assert again.digest == judges.digest
    assert again.accuracy == judges.accuracy


def test_same_seed_gives_other_judges(judges: Judges, tmp_path: Path) -> None:
    again = train_judges(dataset(), tmp_path, seed=0, recipe=RECIPE)
    assert again.digest == judges.digest


def test_other_content_reads_the_same_cache(judges: Judges, cache: Path) -> None:
    """Judges of other data, seed or recipe must never be taken for these."""
    files = len(list((cache / "judges").iterdir()))
    train_judges(dataset(), cache, seed=1, recipe=Recipe(100, 100, batch=50))
    assert len(list((cache / "judges").iterdir())) == files + 1


def test_damaged_cache_stops_a_study(judges: Judges, tmp_path: Path) -> None:
    recipe = Recipe(100, 100, batch=50)
    train_judges(dataset(), tmp_path, recipe=recipe)
    (file,) = (tmp_path / "judges").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:1000])
    train_judges(dataset(), tmp_path, recipe=recipe)
    assert len(file.read_bytes()) == len(whole)


def test_training_disturbs_the_global_random_state(tmp_path: Path) -> None:
    torch.manual_seed(7)
    np.random.seed(7)
    expected = torch.rand(3), np.random.rand(3)
    torch.manual_seed(7)
    np.random.seed(7)
    judges = train_judges(dataset(), tmp_path, recipe=Recipe(100, 100, batch=50))
    Judges.from_state(judges.state())
    assert torch.equal(torch.rand(3), expected[0])
    assert np.array_equal(np.random.rand(3), expected[1])


def test_bar_does_not_reach_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bars: list[tqdm[Any]] = []

    def bar(total: int, **_: object) -> tqdm[Any]:
        bars.append(tqdm(total=total, file=io.StringIO()))
        return bars[0]

    monkeypatch.setattr(judge, "tqdm", bar)
    train_judges(dataset(), tmp_path, recipe=Recipe(200, 100, batch=50))
    assert (bars[0].n, bars[0].total) == (300, 300)


def test_shipping_changes_a_judgement(judges: Judges) -> None:
    x = dataset().test.x[:40]
    shipped = Judges.from_state(judges.state())
    assert np.array_equal(shipped.features(x), judges.features(torch.from_numpy(x)))
    assert np.array_equal(shipped.logits(x), judges.logits(x))
    assert shipped.features(x).dtype == np.float64
    assert shipped.features(x).shape == (40, 64)
    assert shipped.logits(x).shape == (40, 3)


def test_features_are_not_of_unit_variance(judges: Judges) -> None:
    variance = judges.features(dataset().train.x).var(0).mean()
    assert 0.5 < variance < 2


def test_wrong_images_are_judged(judges: Judges) -> None:
    with pytest.raises(ValueError, match=r"\(1, 12, 12\)"):
        judges.features(np.zeros((4, 3, 12, 12), np.uint8))
    with pytest.raises(ValueError, match="float32"):
        judges.features(torch.zeros(4, 1, 12, 12))


def test_broken_judge_gives_features(judges: Judges) -> None:
    broken = Judges.from_state(judges.state())
    next(broken.feature.parameters()).data.fill_(np.nan)
    with pytest.raises(FloatingPointError):
        broken.features(dataset().test.x[:4])


@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 32), (3, 64), (1, 33)])
def test_judges_take_one_size_only(channels: int, size: int, tmp_path: Path) -> None:
    data = dataset(channels=channels, size=size)
    judges = train_judges(data, tmp_path, recipe=Recipe(64, 64, batch=32))
    assert judges.features(data.test.x[:3]).shape == (3, 64)
    assert Judges.from_state(judges.state()).logits(data.test.x[:3]).shape == (3, 3)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_default_recipe_cannot_read_49_kana(tmp_path: Path) -> None:
    """Below .92, label accuracies of fakes would say more about the judge than about G."""
    judges = train_judges(load("kana", cache=tmp_path), tmp_path)
    assert judges.accuracy["label"] >= 0.92
    assert judges.accuracy["feature"] >= 0.92


def test_rare_classes_are_seldom_drawn() -> None:
    y = np.repeat([0, 1, 2], [900, 90, 10])
    rows = balanced(y, 3_000, np.random.default_rng(0))
    assert np.bincount(y[rows]).min() > 900
    assert set(np.flatnonzero(y == 2)) <= set(rows)  # every image of the rare class is used
    common = rows[y[rows] == 0]
    assert len(np.unique(common)) > 890


def test_reference_is_not_of_this_condition(judges: Judges) -> None:
    data = dataset().keep(2)
    reference = build_reference(judges, data, samples=100, seed=0)
    assert reference.classes == 2
    assert reference.marginal.sum() == pytest.approx(1)
    assert reference.y.max() == 1
    assert reference.x.shape == (len(data.test.y), 1, 12, 12)
    assert reference.label_accuracy_real > 0.95
    assert (reference.class_traces > 0).all()
    # A perfect generator's score: small beside the distance of one class from both.
    one = judges.features(data.train.x[data.train.y == 0])
    assert 0 < reference.fcd_floor < frechet_distance(moments(one), reference.moments) / 5


def test_reference_depends_on_more_than_its_seed(judges: Judges) -> None:
    build = build_reference
    a = build(judges, dataset(), 100, seed=3).state()
    b = Reference.from_state(build(judges, dataset(), 100, seed=3).state()).state()
    for name, value in a.items():
        same = torch.equal(value, b[name]) if isinstance(value, torch.Tensor) else value == b[name]
        assert same, name


def test_small_data_have_no_floor(judges: Judges) -> None:
    """The 1,000 samples are more than half of the training images.

    The floor must nevertheless be that of 1,000 images.
    """
    reference = build_reference(judges, dataset(), samples=1_000, seed=0)
    assert 0 < reference.fcd_floor < 10
    assert reference.samples == 1_000


def test_real_images_are_compared_with_themselves(
    judges: Judges, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The floors would be too good.

    So would the distance of fakes that copy training images.
    """
    seen: list[View] = []
    monkeypatch.setattr(catalog, "on_real", lambda view, names: seen.append(view) or {})
    data = dataset()
    known = {row.tobytes(): n for n, row in enumerate(judges.features(data.train.x).astype("f4"))}
    for samples in (90, 10_000):
        reference = build_reference(judges, data, samples, seed=0)
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


def test_reference_of_unknown_classes_is_built(judges: Judges) -> None:
    data = dataset()
    more = Dataset("more", data.train, data.test, ("a", "b", "c", "d"), "rendered")
    with pytest.raises(ValueError, match="know 3 classes but the data have 4"):
        build_reference(judges, more, 100, 0)
