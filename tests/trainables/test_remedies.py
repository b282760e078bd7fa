"""ACGAN's remedies, each compared with its formula.

Where these fail, a rung of the ladder in search_spaces/acgan_kmnist_remedies.py is another remedy
than it says.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import trainables
from trainables.core import losses
from trainables.core.layers import ConditionalNorm, CosineLinear
from trainables.core.loop import Loop
from trainables.core.player import Batch
from trainables.data.base import DataSpec
from trainables.reacgan import d2d_ce

K = 3


def gan(variant: str, **config: Any) -> Any:
    torch.manual_seed(0)
    cls = trainables.load(variant)
    given = {"f": 2, "batch": 8, **config}
    return cls(cls.config_type.parse(given), DataSpec(K, 1, (28, 28)), torch.device("cpu"))


def batch(made: Any, n: int = 8) -> Batch:
    x, y = torch.rand(n, 1, 28, 28) * 2 - 1, torch.arange(n) % K
    drawn: Batch = made.draw(x, y)
    return drawn


def outputs(n: int, width: int) -> Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(5))


class TestClassLosses:
    y = torch.tensor([0, 1, 2, 0])

    def test_twin_head_is_trained_on_real_images_or_pays_nothing(self) -> None:
        made = gan("tacgan")
        out, real = outputs(4, 1 + 2 * K), outputs(4, 1 + 2 * K) + 1
        b = Batch(torch.zeros(4), self.y, self.y, torch.zeros(4))
        d, g = made.terms_d(real, out, b), made.terms_g(out, b)
        twin = F.cross_entropy(out[:, 1 + K :], self.y)
        assert torch.equal(d["class_twin"], twin)
        assert torch.equal(d["class_real"], F.cross_entropy(real[:, 1 : 1 + K], self.y))
        assert torch.equal(g["class"], F.cross_entropy(out[:, 1 : 1 + K], self.y))
        assert torch.equal(g["class_twin"], twin)
        assert made.weights("d")["class_fake"] == 0
        assert made.weights("g") == {"class": 1.0, "class_twin": -1.0}

    def test_head_of_2k_classes_mixes_up_real_and_fake(self) -> None:
        made = gan("adcgan")
        out = outputs(4, 1 + 2 * K)
        b = Batch(torch.zeros(4), self.y, self.y, torch.zeros(4))
        d, g = made.terms_d(out, out, b), made.terms_g(out, b)
        log_p = out[:, 1:].log_softmax(1)
        as_real = -log_p[range(4), 2 * self.y].mean()
        as_fake = -log_p[range(4), 2 * self.y + 1].mean()
        torch.testing.assert_close(d["class_real"], as_real)
        torch.testing.assert_close(d["class_fake"], as_fake)
        torch.testing.assert_close(g["class"], as_real)
        torch.testing.assert_close(g["class_as_fake"], as_fake)
        assert made.weights("g") == {"class": 1.0, "class_as_fake": -1.0}
        p = out[:, 1:].softmax(1).view(4, K, 2).sum(2)
        torch.testing.assert_close(made.class_logits(out).softmax(1), p)

    def test_d2d_ce_by_hand(self) -> None:
        """Two images of class 0 and one of class 1 are on the unit circle.

        The first two are not negatives of each other.
        """
        angles = torch.tensor([0.0, 0.4, 1.0])
        features = torch.stack([angles.cos(), angles.sin()], dim=1)
        y = torch.tensor([0, 0, 1])
        proxies = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        tau, margin = 0.5, 0.9
        total = 0.0
        for i in range(3):
            own = min(0.0, float(features[i] @ proxies[i]) - margin) / tau
            others = [
                max(0.0, float(features[i] @ features[j]) - (1 - margin)) / tau
                for j in range(3)
                if y[j] != y[i]
            ]
            total -= math.log(math.exp(own) / (math.exp(own) + sum(map(math.exp, others))))
        assert float(d2d_ce(features, proxies, y, tau, margin)) == pytest.approx(
            total / 3, rel=1e-5
        )

    def test_d2d_ce_of_a_batch_of_one_class(self) -> None:
        """There is nothing to compare with, so the loss must be 0, not NaN."""
        features = F.normalize(outputs(4, 5))
        assert float(d2d_ce(features, features, torch.zeros(4), 0.5, 0.98)) == 0.0

    def test_cosine_logits_grow_with_the_features(self) -> None:
        head = CosineLinear(4, K)
        x = outputs(5, 4)
        torch.testing.assert_close(head(x), head(100 * x))
        expected = F.cosine_similarity(x[:, None], head.weight[None], dim=2) * CosineLinear.SCALE
        torch.testing.assert_close(head(x), expected)
        made = gan("acgan", class_cosine=True)
        assert (
            float(made.classify(torch.rand(8, 1, 28, 28)).detach().abs().max())
            <= CosineLinear.SCALE
        )

    def test_projection_ignores_the_label(self) -> None:
        """D(x, y) - D(x, y') = <V_y - V_y', phi(x)>."""
        made = gan("projgan", d_norm="none")
        x = torch.rand(4, 1, 28, 28)
        with torch.no_grad():
            a, b = (made.discriminate(x, torch.full((4,), k)) for k in (0, 2))
            v = made.V.weight.T
            expected = made.D.features(x) @ (v[0] - v[2])
        torch.testing.assert_close((a - b)[:, 0], expected)


class TestWeights:
    def test_warm_up_is_over_at_once_or_never(self) -> None:
        made = gan("acgan", class_warmup_kimg=2.0, class_g=0.5)
        found = []
        for seen in (0, 1000, 2000, 9000):
            made.on_images(seen)
            found.append(made.players["g"].weights["class"])
        assert found == [0.0, 0.25, 0.5, 0.5]

    def test_fakes_join_the_class_loss_too_early(self) -> None:
        made = gan("acgan", class_fake_from_kimg=3.0)
        found = []
        for seen in (0, 2999, 3000):
            made.on_images(seen)
            found.append(made.players["d"].weights["class_fake"])
        assert found == [0.0, 0.0, 1.0]

    def test_weights_of_a_continued_run_differ(self) -> None:
        """Weights must depend on the images seen alone, not on anything that a kill could lose."""
        x, y = torch.randint(0, 256, (40, 1, 28, 28), dtype=torch.uint8), torch.arange(40) % K
        config = {"class_warmup_kimg": 0.1, "class_fake_from_kimg": 0.05}
        through = Loop(gan("acgan", **config), x, y, 0)
        through.run(64)
        state = copy.deepcopy(through.checkpoint())
        expected = through.run(96)
        again = Loop(gan("acgan", **config), x, y, 0)
        again.restore(state)
        assert again.run(96) == expected


class TestNetworks:
    def test_r1_by_hand(self) -> None:
        """D(x) = sum of x^2 has the gradient 2x."""
        x = outputs(4, 6).requires_grad_()
        found = losses.r1(x.square().sum(1), x)
        torch.testing.assert_close(found, (2 * x).square().sum(1).mean() / 2)

    def test_r1_does_not_reach_d(self) -> None:
        moved = []
        for weight in (0.0, 50.0):
            made = gan("acgan", r1=weight, d_norm="none")
            torch.manual_seed(1)
            report = made.step(torch.rand(8, 1, 28, 28), torch.arange(8) % K)
            assert ("loss/d/r1" in report) == bool(weight)
            moved.append(made.D.features[0].weight.detach().clone())
        assert not torch.equal(*moved)

    def test_joint_batch_norm_sees_one_kind_at_a_time(self) -> None:
        """Real and fake images must be normalised by the same statistics."""
        made = gan("acgan", d_norm="bn_joint")
        b = batch(made)
        real, fake = made.both(b.x, b, b.fake.detach())
        whole = made.D(torch.cat([b.x, b.fake.detach()]))
        assert torch.equal(torch.cat([real, fake]), whole)
        assert not torch.allclose(made.D(b.x), real)

    @pytest.mark.parametrize("variant", ["acgan", "cgan", "projgan"])
    def test_conditional_norm_does_not_hear_the_label(self, variant: str) -> None:
        made = gan(variant, g_condition="cbn")
        z = torch.randn(8, 100)
        with torch.no_grad():
            a, b = (made.generate(made.G, z, torch.full((8,), k)) for k in (0, 1))
        assert not torch.allclose(a, b)
        assert made.G.stem[0].in_features == 100, "labels enter twice"

    def test_conditional_norm_begins_with_gain_0(self) -> None:
        norm = ConditionalNorm(torch.nn.BatchNorm1d(4, affine=False), 4, K)
        x = outputs(16, 4)
        torch.nn.init.zeros_(norm.affine.weight)
        torch.testing.assert_close(norm(x, torch.zeros(16, K)), norm.norm(x))

    def test_shuffled_labels_still_tell_something(self) -> None:
        """A control whose labels still tell something would be no control."""
        made = gan("cgan", shuffled=True)
        x, y = torch.rand(200, 1, 28, 28), torch.arange(200) % K
        seen = []
        made.D.register_forward_pre_hook(lambda _, given: seen.append(given[0][:, 1:, 0, 0]))
        made.discriminate(x, y)
        agree = (seen[0].argmax(1) == y).float().mean()
        assert 0.2 < float(agree) < 0.5


def test_balanced_sampling_begins_on_images_of_several_labels() -> None:
    x = torch.zeros(40, 1, 28, 28, dtype=torch.uint8)
    with pytest.raises(ValueError, match="balanced=True: images have several labels"):
        Loop(gan("acgan", balanced=True), x, torch.ones(40, K, dtype=torch.uint8), 0)


def test_balanced_sampling_follows_the_counts() -> None:
    y = torch.cat([torch.zeros(360, dtype=torch.int64), torch.ones(40, dtype=torch.int64)])
    x = torch.zeros(400, 1, 28, 28, dtype=torch.uint8)
    shares = []
    for balanced in (False, True):
        loop = Loop(gan("acgan", balanced=balanced), x, y, 0)
        shares.append(float(torch.cat([loop.next_batch()[1] for _ in range(50)]).float().mean()))
    assert shares[0] == pytest.approx(0.1)
    assert 0.4 < shares[1] < 0.6
