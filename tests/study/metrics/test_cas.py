"""The classification accuracy score: what a CNN learns from fakes whose fault is known.

If these tests fail, wrong labels or images that are all alike seem to teach as much as real ones.
"""

from __future__ import annotations

from typing import Any, ClassVar, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from study.metrics import cas
from study.metrics.core import catalog
from study.metrics.core.classifier import Recipe
from study.metrics.core.judge import Judge
from study.metrics.core.measure_real import build_references
from study.metrics.core.reference import Reference
from study.metrics.core.train_judges import train_judges
from study.metrics.core.view import View, look
from tests.study import tiny


@pytest.fixture(scope="module", autouse=True)
def small() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cas, "IMAGES", 300)
        patch.setattr(cas, "DRAWS", 2_000)
        yield


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    recipe = Recipe(label_images=960, feature_images=960)
    return train_judges(tiny.dataset(), tmp_path_factory.mktemp("cache"), recipe=recipe, count=1)[0]


@pytest.fixture(scope="module")
def reference(judge: Judge) -> Reference:
    return build_references([judge], tiny.dataset(), 60, seed=0, wanted=["cas"])[0]


class Copier(nn.Module):
    """A generator that returns real images of the label `read[y]` where label y is asked for."""

    conditional: ClassVar[bool] = True
    device = torch.device("cpu")

    def __init__(self, read: list[int]) -> None:
        super().__init__()
        train = tiny.dataset().train
        self.pools = [torch.from_numpy(train.x[train.y == label]) for label in read]

    def sample(self, y: Tensor, n: int, rng: torch.Generator) -> Tensor:
        seen = torch.randint(len(self.pools[0]), (n,), generator=rng)
        return torch.stack([self.pools[k][i] for k, i in zip(y, seen, strict=True)])


class Noise(Copier):
    """A generator of noise, from which nothing can be learnt.

    Scores are at chance, and differ from seed to seed.
    """

    def sample(self, y: Tensor, n: int, rng: torch.Generator) -> Tensor:
        return torch.randint(256, (n, *self.pools[0].shape[1:]), generator=rng, dtype=torch.uint8)


def measure(gan: nn.Module, reference: Reference, judge: Judge, seed: int = 0) -> dict[str, float]:
    rng = torch.Generator().manual_seed(seed)
    return catalog.measure(look(cast(Any, gan), [reference], [judge], rng), ["cas"])


def test_real_images_teach_less_than_real_images(reference: Reference, judge: Judge) -> None:
    row = measure(Copier([0, 1, 2]), reference, judge)
    assert row["cas_real"] == reference.on_real["cas_real"] > 0.9
    assert row["cas_relative"] == pytest.approx(1, abs=0.1)
    assert row["cas_relative"] == row["cas"] / row["cas_real"]


def test_permuted_labels_teach_the_truth(reference: Reference, judge: Judge) -> None:
    assert measure(Copier([1, 2, 0]), reference, judge)["cas"] < 0.1


def test_a_class_that_is_never_drawn_is_learnt(reference: Reference, judge: Judge) -> None:
    row = measure(Copier([0, 1, 1]), reference, judge)
    assert row["cas"] == pytest.approx(2 / 3, abs=0.2)
    assert row["cas_relative"] < 0.9


def test_same_seed_gives_another_score(reference: Reference, judge: Judge) -> None:
    """The global RNG, with which the cell's training goes on, must not move either."""
    hard = Noise([0, 1, 2])
    before = torch.get_rng_state()
    a, b, c = (measure(hard, reference, judge, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert a == b != c


def test_the_classifier_is_judged_by_what_it_was_trained_on(
    reference: Reference, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The classifier must be tested on the held-out images, all of them."""
    read: list[Tensor] = []
    apply = cas.batched
    monkeypatch.setattr(cas, "batched", lambda n, x: read.append(x) or apply(n, x))
    measure(Copier([0, 1, 2]), reference, judge)
    assert [torch.equal(x, reference.x) for x in read] == [True]
    held_out = {x.tobytes() for x in reference.x.numpy()}
    assert not held_out & {x.tobytes() for x in tiny.dataset().train.x}


def test_baseline_is_trained_where_nobody_asked(judge: Judge) -> None:
    """Training the baseline takes seconds for each condition."""
    assert build_references([judge], tiny.dataset(), 60, seed=0, wanted=["fcd"])[0].on_real == {}


def test_real_images_are_used_twice_before_all_were(judge: Judge) -> None:
    """Real images would be fewer different ones than the fakes, and would teach too little."""
    seen: list[View] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalog, "on_real", lambda views, names: seen.extend(views) or [{}])
        build_references([judge], tiny.dataset(), 60, seed=0)[0]
    (view,) = seen
    y = torch.arange(600) % 3
    x = view.gan.sample(y, 600, view.rng)
    assert len({image.tobytes() for image in x.numpy()}) == 600
    train = tiny.dataset().train
    known = {image.tobytes(): label for image, label in zip(train.x, train.y, strict=True)}
    assert [known[image.tobytes()] for image in x.numpy()] == y.tolist()
    more = view.gan.sample(torch.zeros(250, dtype=torch.int64), 250, view.rng)
    assert len(more) == 250
    assert np.array_equal(more[:50], more[200:])
