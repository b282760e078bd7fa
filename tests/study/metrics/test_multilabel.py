"""Images of several labels: what judges and metrics say about fakes whose quality is known.

If these tests fail, a generator is praised for objects that nobody sees, or blamed for the judge.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import trainables
from study.metrics.core import catalog, networks
from study.metrics.core.classifier import Recipe
from study.metrics.core.judge import Judge, accuracy
from study.metrics.core.measure_real import build_references
from study.metrics.core.reference import Reference
from study.metrics.core.spread import spread
from study.metrics.core.train_judges import train_judges
from study.metrics.core.view import look
from study.records.tensors import load_tensors, save_tensors
from tests.study import tiny
from tests.study.tiny import SEVERAL, SPEC
from trainables.data import Dataset, load

pytestmark = pytest.mark.timeout(30)  # two networks are trained

SCENE_NETWORK = networks.SceneNetwork
RECIPE = Recipe(label_images=1_000, feature_images=1_000, batch=50)
EVERY = ["class_loss", "fcd", "gradients", "multilabel", "prdc", "variance"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """Put a small network in the place of `SceneNetwork`.

    `SceneNetwork` takes seconds for 20 steps on a busy core.
    """
    with pytest.MonkeyPatch.context() as patch:
        network = networks.small_network((3, tiny.SIZE, tiny.SIZE), tiny.SQUARES)
        patch.setattr(networks, "SceneNetwork", lambda channels, classes: copy.deepcopy(network))
        yield


@pytest.fixture(scope="module")
def judge(cache: Path) -> Judge:
    return train_judges(tiny.several_labels(), cache, recipe=RECIPE, count=1)[0]


@pytest.fixture(scope="module")
def reference(judge: Judge) -> Reference:
    return build_references([judge], tiny.several_labels(), samples=240, seed=0, wanted=EVERY)[0]


class FakeGan(nn.Module):
    """Paints the label sets that `change` makes of those asked for."""

    conditional: ClassVar[bool] = True
    classifies: ClassVar[bool] = True

    def __init__(self, change: Any = lambda y: y, noise: int = 60) -> None:
        super().__init__()
        self.change, self.noise = change, noise
        self.config, self.device = SimpleNamespace(batch=16), torch.device("cpu")

    def sample(self, y: Tensor, n: int, rng: torch.Generator) -> Tensor:
        assert y.shape == (n, tiny.SQUARES)
        if not self.noise:
            return tiny.squares(self.change(y), rng, 1)
        return tiny.squares(self.change(y), rng, self.noise)

    def classify(self, x: Tensor) -> Tensor:
        """D's head believes that every image shows labels 0 and 1."""
        return torch.tensor([3.0, 2, -2, -2, -2, -2]).expand(len(x), -1)

    def gradient_norms(self, x: Tensor, y: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        assert y.shape == (16, tiny.SQUARES)
        return {"adversarial": torch.tensor(2.0), "class": torch.tensor(0.5)}


def row(judge: Judge, reference: Reference, gan: Any, names: list[str]) -> dict[str, float]:
    rng = torch.Generator().manual_seed(0)
    return catalog.measure(look(gan, [reference], [judge], rng), names)


class TestAccuracy:
    def test_hits_are_not_pooled_over_labels(self) -> None:
        """An image of three labels counts three times as much as an image of one label."""
        y = np.array([[1, 0, 0, 0], [1, 1, 1, 0]], dtype=np.uint8)
        logits = np.array([[1.0, 2, 0, 0], [4, 3, 0, 1]])  # 0 of 1, 2 of 3
        assert accuracy(logits, y) == 2 / 4

    def test_one_label_is_not_the_share_of_images_read_right(self) -> None:
        logits = np.random.default_rng(0).normal(size=(500, 7))
        y = np.random.default_rng(1).integers(0, 7, 500)
        assert accuracy(logits, y) == (logits.argmax(1) == y).mean()
        assert accuracy(logits, np.eye(7, dtype=np.uint8)[y]) == accuracy(logits, y)


class TestJudges:
    def test_judges_cannot_read_an_easy_set(self, judge: Judge) -> None:
        assert judge.accuracy["label"] > 0.95
        assert judge.accuracy["feature"] > 0.9

    @pytest.mark.parametrize("channels", [1, 3])
    def test_label_judge_mixes_up_places(
        self, channels: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An object at one place is in the image, however many other places show nothing."""
        monkeypatch.setattr(networks, "SceneNetwork", SCENE_NETWORK)
        network = networks.label_network((channels, 64, 64), 24, 3).eval()
        assert isinstance(network, SCENE_NETWORK)
        assert network.places(torch.zeros(2, channels, 64, 64)).shape == (2, 24, 4, 4)
        network.places = nn.Identity()
        maps = torch.full((1, 24, 4, 4), -9.0)
        maps[0, 5, 2, 1] = 9
        assert network(maps)[0].argmax() == 5
        assert (network(maps)[0] > 0).sum() == 1

    @pytest.mark.long
    @pytest.mark.timeout(900)
    def test_default_recipe_cannot_read_shapes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Below .95, accuracies of fakes would say more about the judge than about G."""
        monkeypatch.setattr(networks, "SceneNetwork", SCENE_NETWORK)
        judge = train_judges(load("shapes", cache=tmp_path), tmp_path, count=1)[0]
        assert judge.accuracy["label"] >= 0.95
        assert judge.accuracy["feature"] >= 0.7

    def test_shipping_or_the_cache_changes_a_judgement(self, judge: Judge, cache: Path) -> None:
        x = tiny.several_labels().test.x[:40]
        again = train_judges(tiny.several_labels(), cache, recipe=RECIPE, count=1)[0]
        for other in (again, Judge.from_state(judge.state())):
            assert np.array_equal(other.logits(x), judge.logits(x))
            assert np.array_equal(other.features(x), judge.features(x))


class TestReference:
    def test_fakes_are_asked_for_other_sets_than_the_images_have(
        self, reference: Reference
    ) -> None:
        """FCD would measure the difference between the label sets of fakes and real images."""
        assert reference.asked is not None
        assert reference.asked.shape == (240, tiny.SQUARES)
        assert torch.equal(reference.asked[::2], reference.asked[1::2]), "no set is there twice"
        known = {tuple(y) for y in tiny.several_labels().train.y.tolist()}
        assert {tuple(y) for y in reference.asked.tolist()} <= known
        sizes = reference.asked.sum(1).bincount(minlength=4)[1:] / 240
        assert (sizes - 1 / 3).abs().max() < 0.1
        expected = tiny.several_labels().train.y.mean(0)
        assert np.allclose(reference.marginal.numpy(), expected)

    def test_state_forgets_what_is_asked(self, reference: Reference, tmp_path: Path) -> None:
        save_tensors(tmp_path / "kept.pt", reference.state())
        kept = load_tensors(tmp_path / "kept.pt")
        assert kept is not None
        again = Reference.from_state(kept)
        assert again.asked is not None
        assert reference.asked is not None
        assert torch.equal(again.asked, reference.asked)
        assert [*again.conditions] == ["test", "new_test"]
        assert reference.class_traces.shape == (3,)
        assert (reference.class_traces > 0).all()

    def test_spread_is_not_within_label_sets(self) -> None:
        y = np.array([[1, 0], [1, 0], [0, 1], [0, 1], [0, 1]])
        features = np.array([[0.0], [2], [10], [10], [13]])
        assert spread(features, y) == pytest.approx((2 + 6) / 3)
        assert np.isnan(spread(features[[0, 2]], y[[0, 2]]))
        single = np.array([3, 3, 3])
        assert spread(features[2:], single) == pytest.approx(features[2:].var(ddof=1))


class TestColumns:
    def test_good_generator_scores_badly(self, judge: Judge, reference: Reference) -> None:
        got = row(judge, reference, FakeGan(), EVERY)
        assert got["topk_accuracy"] > 0.95
        assert got["topk_accuracy/test"] > 0.9
        assert got["topk_accuracy/new_test"] > 0.9
        assert got["exact_set"] > 0.6
        assert got["topk_accuracy_real"] == reference.label_accuracy_real > 0.95
        assert got["variance_ratio"] == pytest.approx(1, abs=0.3)
        assert got["fcd"] < 5 * got["fcd_floor"]
        assert got["gradient_norm/class"] == 0.5

    def test_floor_is_not_what_guessing_gives(self, judge: Judge, reference: Reference) -> None:
        floor = row(judge, reference, FakeGan(), ["multilabel"])["topk_random"]
        sets = torch.cat([*reference.conditions.values()]).numpy()
        guesses = np.random.default_rng(0).normal(size=(200, *sets.shape))
        assert floor == pytest.approx(np.mean([accuracy(g, sets) for g in guesses]), abs=0.02)

    def test_other_objects_count_as_hits(self, judge: Judge, reference: Reference) -> None:
        got = row(judge, reference, FakeGan(lambda y: y.roll(1, 1)), ["multilabel"])
        assert got["topk_accuracy"] < 0.6
        assert got["exact_set"] < 0.1

    def test_too_many_objects_count_as_an_exact_set(
        self, judge: Judge, reference: Reference
    ) -> None:
        got = row(judge, reference, FakeGan(lambda y: torch.ones_like(y)), ["multilabel"])
        assert got["exact_set"] < 0.1

    def test_collapse_within_a_label_set_is_missed(
        self, judge: Judge, reference: Reference
    ) -> None:
        got = row(judge, reference, FakeGan(noise=0), ["variance", "multilabel"])
        assert got["variance_ratio"] < 1e-6

    def test_sets_of_fakes_are_not_compared_with_real_ones(
        self, judge: Judge, reference: Reference
    ) -> None:
        """Precision and recall know no labels; coverage within a class is left out."""
        assert reference.real.shape == (240, 64)
        assert reference.real_y.shape == (240, tiny.SQUARES)
        assert not len(reference.class_means)
        good = row(judge, reference, FakeGan(), ["prdc"])
        bad = row(judge, reference, FakeGan(lambda y: torch.ones_like(y)), ["prdc"])
        assert good["coverage_real"] > 0.9
        assert good["coverage"] > 0.7
        assert bad["recall"] < 0.3 < good["recall"]
        assert not {"coverage_within", "coverage_within_real"} & good.keys()

    def test_order_of_metrics_changes_their_values(
        self, judge: Judge, reference: Reference
    ) -> None:
        some = row(judge, reference, FakeGan(), ["multilabel", "fcd"])
        other = row(judge, reference, FakeGan(), ["gradients", "fcd", "multilabel"])
        assert all(other[name] == value for name, value in some.items())

    def test_class_loss_is_not_of_the_whole_set(self, judge: Judge, reference: Reference) -> None:
        got = row(judge, reference, FakeGan(), ["class_loss"])
        y = reference.y[: len(reference.y) // 16 * 16].double()
        logits = FakeGan().classify(y).double()
        expected = nn.functional.binary_cross_entropy_with_logits(logits, y, reduction="none")
        assert got["class_loss/real"] == pytest.approx(float(expected.sum(1).mean()), rel=1e-5)
        assert got["collusion_gap"] < -0.3
        hits = accuracy(logits.numpy(), reference.y[: len(y)].numpy())
        assert got["class_accuracy/real"] == hits


class TestRefusals:
    def test_metric_of_one_label_starts_on_several(self) -> None:
        acgan = trainables.load("acgan")
        catalog.check(EVERY, acgan, SEVERAL)
        with pytest.raises(ValueError, match="'labels' needs one label per image, and these data"):
            catalog.check(["labels"], acgan, SEVERAL)
        with pytest.raises(ValueError, match="'multilabel' needs several labels") as caught:
            catalog.check(["multilabel"], acgan, SPEC)
        assert "multilabel" not in str(caught.value).split("choose from ")[1]
        with pytest.raises(ValueError, match="needs a generator that takes labels"):
            catalog.check(["multilabel"], trainables.load("dcgan"), SEVERAL)

    def test_metric_by_class_starts_on_several(self) -> None:
        """None of these metrics has a meaning if an image has more than one label."""
        acgan = trainables.load("acgan")
        by_class = ["cas", "intra_fcd", "kcd", "ms_ssim", "truncation"]
        assert catalog.suited([*EVERY, *by_class], acgan, SEVERAL) == EVERY
        assert catalog.suited(by_class, acgan, SPEC) == by_class
        for name in by_class:
            with pytest.raises(ValueError, match=f"'{name}' needs one label per image"):
                catalog.check([name], acgan, SEVERAL)

    def test_real_images_are_drawn_by_class(self, judge: Judge) -> None:
        """Images that belong to no single class would be drawn from uninitialised row numbers."""
        data = tiny.several_labels()
        with pytest.raises(ValueError, match="'cas' needs one label per image, and squares"):
            build_references([judge], data, samples=240, seed=0, wanted=["cas"])[0]

    def test_data_without_repeated_sets_get_a_spread_of_none(self, judge: Judge) -> None:
        data = tiny.several_labels()
        _, rows = np.unique(data.train.y, axis=0, return_index=True)
        few = Dataset("few", data.train.of(rows), data.test, data.classes, "rendered")
        with pytest.raises(ValueError, match="few: too few training images share all of their"):
            build_references([cast(Any, judge)], few, samples=20, seed=0)[0]
