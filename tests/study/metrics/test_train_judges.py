"""Judges are trained once, are the same for the same data, and can read what they judge."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tqdm import tqdm

from study.metrics.core import train_judges as module
from study.metrics.core.augment import turned, warped
from study.metrics.core.classifier import Recipe
from study.metrics.core.judge import Judge
from study.metrics.core.train_judges import train_judges
from tests.study.metrics.test_judge import RECIPE, bars, dataset
from trainables.data import Dataset, Split, load
from trainables.data.base import DataSpec

TINY = Recipe(label_images=100, feature_images=100, batch=50)


def digests(judges: list[Judge]) -> list[str]:
    return [judge.digest for judge in judges]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def judges(cache: Path) -> list[Judge]:
    return train_judges(dataset(), cache, recipe=TINY)


def test_three_judges_are_one(judges: list[Judge]) -> None:
    assert len(set(digests(judges))) == 3


def test_judge_is_made_or_told_of_twice(tmp_path: Path) -> None:
    said: list[str] = []
    train_judges(dataset(), tmp_path, recipe=TINY, report=said.append)
    assert said == [f"judges: {n} of 3 trained" for n in (1, 2, 3)]


def test_judges_change_with_the_number_of_threads_or_of_judges(
    judges: list[Judge], tmp_path: Path
) -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        again = train_judges(dataset(), tmp_path, recipe=TINY, count=2)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    assert digests(again) == digests(judges)[:2]


def test_second_call_trains_again(judges: list[Judge], cache: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "train", None)
        again = train_judges(dataset(), cache, recipe=TINY)
    assert digests(again) == digests(judges)
    assert [one.accuracy for one in again] == [one.accuracy for one in judges]


def test_other_content_reads_the_same_cache(judges: list[Judge], cache: Path) -> None:
    """Judges of another recipe must never be taken for these."""
    files = len(list((cache / "judges").iterdir()))
    train_judges(dataset(), cache, recipe=Recipe(100, 150, batch=50), count=1)
    assert len(list((cache / "judges").iterdir())) == files + 1


def test_damaged_cache_stops_a_study(tmp_path: Path) -> None:
    (first,) = train_judges(dataset(), tmp_path, recipe=TINY, count=1)
    (file,) = (tmp_path / "judges").iterdir()
    file.write_bytes(file.read_bytes()[:1000])
    (again,) = train_judges(dataset(), tmp_path, recipe=TINY, count=1)
    assert again.digest == first.digest


def test_interrupted_training_loses_what_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first judge is kept when Ctrl-C ends the training of the second one."""
    said: list[str] = []

    def interrupted(line: str) -> None:
        said.append(line)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_judges(dataset(), tmp_path, recipe=TINY, report=interrupted)
    assert said == ["judges: 1 of 3 trained"]
    assert len(list((tmp_path / "judges").iterdir())) == 1
    seeds: list[int] = []
    make = module._networks
    monkeypatch.setattr(module, "_networks", lambda *a: seeds.append(a[1]) or make(*a))
    train_judges(dataset(), tmp_path, recipe=TINY)
    assert seeds == [1, 2]


def test_training_disturbs_the_global_random_state(tmp_path: Path) -> None:
    torch.manual_seed(7)
    np.random.seed(7)
    expected = torch.rand(3), np.random.rand(3)
    torch.manual_seed(7)
    np.random.seed(7)
    (one,) = train_judges(dataset(), tmp_path, recipe=TINY, count=1)
    Judge.from_state(one.state())
    assert torch.equal(torch.rand(3), expected[0])
    assert np.array_equal(np.random.rand(3), expected[1])


def test_bar_does_not_reach_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bars: list[tqdm[Any]] = []

    def bar(total: int, **_: object) -> tqdm[Any]:
        bars.append(tqdm(total=total, file=io.StringIO()))
        return bars[0]

    monkeypatch.setattr(module, "tqdm", bar)
    train_judges(dataset(), tmp_path, recipe=Recipe(200, 100, batch=50), count=2)
    assert (bars[0].n, bars[0].total) == (600, 600)


@pytest.mark.parametrize(
    ("channels", "size"),
    [(1, (28, 28)), (3, (32, 32)), (3, (64, 64)), (1, (33, 33)), (3, (20, 32))],
)
@pytest.mark.slow
def test_judges_take_one_size_only(channels: int, size: tuple[int, int], tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (60, channels, *size)).astype(np.uint8)
    split = Split(x, np.arange(60) % 3)
    data = Dataset("noise", split, split, ("a", "b", "c"), "rendered")
    (one,) = train_judges(data, tmp_path, recipe=Recipe(64, 64, batch=32), count=1)
    assert one.features(x[:3]).shape == (3, 64)
    assert Judge.from_state(one.state()).logits(x[:3]).shape == (3, 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_judge_of_one_class_has_learnt_nothing(channels: int, tmp_path: Path) -> None:
    """The cross-entropy of one class is 0, so a network learns nothing from it.

    Features that tell turned images apart tell pale images from strong ones, too. Images in colour
    are mirrored as well, which must not make three quarters of a quarter.
    """
    data = dataset(channels=channels, size=16).keep(1)
    (one,) = train_judges(data, tmp_path, recipe=RECIPE, count=1)
    assert one.classes == 1
    assert one.accuracy["label"] > 0.9, "it cannot tell how an image was turned"
    assert one.accuracy["feature"] > 0.9
    real = one.features(data.test.x)
    mixed = [data.test.x * (1 - w) + 128 * w for w in np.linspace(0, 1, 6)]
    far = [np.linalg.norm(one.features(x.astype(np.uint8)).mean(0) - real.mean(0)) for x in mixed]
    assert far[1] < min(far[2:]), "images that are hardly paler are the nearest"


@pytest.mark.parametrize("wide", [8, 12])
def test_turned_images_are_others(wide: int) -> None:
    x = torch.arange(4 * 8 * wide).reshape(4, 1, 8, wide).float()
    images, turns = turned(x, torch.Generator().manual_seed(0))
    step = 1 if wide == 8 else 2
    assert set(turns.tolist()) > {0}
    for before, after, k in zip(x, images, turns.tolist(), strict=True):
        assert torch.equal(torch.rot90(after, -k * step, (1, 2)), before)


def test_warped_images_are_others_or_all_alike() -> None:
    x = torch.from_numpy(bars(40, 1, size=28).x).float()
    again = [warped(x, torch.Generator().manual_seed(1)) for _ in range(2)]
    assert torch.equal(*again)
    assert again[0].shape == x.shape
    change = (again[0] - x).abs().flatten(1).mean(1)
    assert change.min() > 1
    middle = (slice(None), slice(None), slice(8, 20), slice(8, 20))
    assert (again[0][middle] - x[middle]).mean().abs() < 20, "brightness stays about the same"


@pytest.mark.long
@pytest.mark.timeout(300)
def test_default_recipe_cannot_read_49_kana(tmp_path: Path) -> None:
    """Below .92, label accuracies of fakes would say more about the judge than about G."""
    for one in train_judges(load("kana", cache=tmp_path), tmp_path):
        assert one.accuracy["label"] >= 0.92
        assert one.accuracy["feature"] >= 0.92


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_few_images_of_a_class_are_learnt_by_heart(tmp_path: Path) -> None:
    """49 characters with 20 images each, as in Omniglot: without warps .1 less is read."""
    data = load("kana", cache=tmp_path)
    rows = np.concatenate([np.flatnonzero(data.train.y == label)[:20] for label in range(49)])
    few = Dataset("few", data.train.of(rows), data.test, data.classes, "rendered")
    (one,) = train_judges(few, tmp_path, count=1)
    assert one.accuracy["label"] >= 0.6


@pytest.mark.parametrize("labels", [1, 3])
def test_estimate_disturbs_what_follows(labels: int) -> None:
    """The number of threads is torch's own state, and so are its random numbers."""
    spec = DataSpec(4, 3, (16, 16), labels)
    torch.manual_seed(7)
    threads, expected = torch.get_num_threads(), torch.rand(3)
    torch.manual_seed(7)
    few, many = (module.training_seconds(spec, share) for share in (0.01, 1.0))
    assert 0 < few < many
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.rand(3), expected)
