"""SGAN: K+1 classes from K logits, which images keep their label, and the supervised control.

If one of these is wrong, D learns from labels that it should not know, or SGAN is compared with
another CNN than the study says.
"""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import trainables
from trainables.core.loop import Loop
from trainables.data.base import DataSpec
from trainables.sgan import choose_labelled, realness

LOOKS = DataSpec(3, 1, (8, 8))


def make(seed: int = 0, images: int = 40, **values: Any) -> Loop:
    torch.manual_seed(0)
    variant = trainables.load("sgan")
    config = variant.config_type.parse({"f": 2, "batch": 8, "z_dim": 8, "labels": 12, **values})
    gan = variant(config, LOOKS, torch.device("cpu"))
    x = torch.randint(0, 256, (images, 1, 8, 8), generator=torch.Generator().manual_seed(1))
    return Loop(gan, x.to(torch.uint8), torch.arange(images) % 3, seed)


def logits(gan: Any, x: Tensor) -> Tensor:
    """D's logits [N, K+1] of K+1 classes. The last class is that of fakes."""
    out: Tensor = gan.D(x)
    return torch.cat([out, torch.zeros(len(out), 1)], dim=1)


class TestLosses:
    def test_d_has_not_one_class_more(self) -> None:
        gan: Any = make().gan
        b = gan.draw(torch.rand(8, 1, 8, 8), torch.zeros(8, dtype=torch.int64))
        gan.D.linear.bias.data += torch.tensor([1.0, -2.0, 0.5])
        terms = gan.losses_d(b)
        p = logits(gan, b.x).softmax(1)
        torch.testing.assert_close(terms["adversarial_real"], -(1 - p[:, 3]).log().mean())
        p = logits(gan, b.fake).softmax(1)
        torch.testing.assert_close(terms["adversarial_fake"], -p[:, 3].log().mean())
        torch.testing.assert_close(
            gan.losses_g(b)["adversarial"], -(1 - p[:, 3]).log().mean(), msg="not the paper's"
        )
        # For a labelled image: the probability of its class, given that the image is real.
        p = logits(gan, b.labelled_x).softmax(1)
        own = p[torch.arange(8), b.labelled_y] / (1 - p[:, 3])
        torch.testing.assert_close(terms["class_real"], -own.log().mean())

    def test_large_logits_overflow(self) -> None:
        out = torch.tensor([[1e4, 0.0], [-1e4, -1e4]])
        torch.testing.assert_close(realness(out), torch.tensor([1e4, 0.6931 - 1e4]))
        assert F.softplus(realness(out)).isfinite().all()

    def test_weight_of_the_unlabelled_does_nothing(self) -> None:
        """With a weight of 0, D's gradient must be that of the labelled images alone."""
        steps = []
        for values in ({"unlabelled": 0.0}, {"supervised_only": True}, {}):
            gan: Any = make(**values).gan
            b = gan.draw(torch.rand(8, 1, 8, 8), torch.zeros(8, dtype=torch.int64))
            b.labelled_x, b.labelled_y = torch.linspace(-1, 1, 512).view(8, 1, 8, 8), b.y
            gan.turn("d", b)
            steps.append(gan.D.linear.weight.detach().clone())
        assert torch.equal(steps[0], steps[1])
        assert not torch.equal(steps[0], steps[2])

    @pytest.mark.parametrize("loss", ["class", "feature_matching"])
    def test_noise_is_missing_or_in_what_is_measured(self, loss: str) -> None:
        gan: Any = make(d_noise=0.5, generator_loss=loss).gan
        b = gan.draw(torch.rand(8, 1, 8, 8), torch.zeros(8, dtype=torch.int64))
        assert float((gan.noisy(b.x) - b.x).std()) == pytest.approx(0.5, rel=0.2)
        assert float((gan.noisy(b.x) - b.x).mean()) == pytest.approx(0, abs=0.1)
        for losses in (gan.losses_d, gan.losses_g):
            for (name, first), again in zip(losses(b).items(), losses(b).values(), strict=True):
                assert first != again, name
        assert torch.equal(gan.classify(b.x), gan.classify(b.x))

    def test_features_are_not_matched(self) -> None:
        gan: Any = make(generator_loss="feature_matching", lr=1e-2).gan
        b = gan.draw(torch.rand(8, 1, 8, 8), torch.zeros(8, dtype=torch.int64))
        means = [gan.D.features(x).mean(0) for x in (b.x, b.fake)]
        expected = (means[0] - means[1]).norm() ** 2
        torch.testing.assert_close(gan.losses_g(b), {"feature_matching": expected})
        for _ in range(40):
            b = gan.draw(b.x, b.y)
            after = gan.turn("g", b)["feature_matching"]
        assert after < expected / 2
        b.fake = b.x.flip(0)
        assert float(gan.losses_g(b)["feature_matching"]) == pytest.approx(0, abs=1e-9)


class TestLabelledImages:
    Y = torch.randint(10, (1000,), generator=torch.Generator().manual_seed(0))

    @pytest.mark.parametrize("n", [10, 25, 100, 500])
    def test_a_class_has_more_labels_than_another(self, n: int) -> None:
        rows = choose_labelled(self.Y, n, 0)
        assert len(rows.unique()) == n
        counts = self.Y[rows].bincount(minlength=10)
        assert counts.max() - counts.min() <= (n % 10 > 0)

    def test_images_are_not_drawn_at_random(self) -> None:
        assert torch.equal(choose_labelled(self.Y, 100, 3), choose_labelled(self.Y, 100, 3))
        torch.manual_seed(5)
        assert torch.equal(choose_labelled(self.Y, 100, 3), choose_labelled(self.Y, 100, 3))
        both = torch.cat([choose_labelled(self.Y, 100, seed) for seed in (3, 4)])
        assert len(both.unique()) > 150
        # With 5 labels for 10 classes, the classes that get one depend on the seed.
        extra = [self.Y[choose_labelled(self.Y, 5, seed)].sort().values for seed in range(8)]
        assert len(torch.stack(extra).unique(dim=0)) > 4

    def test_a_small_class_leaves_labels_unused(self) -> None:
        y = torch.tensor([0] * 3 + [1] * 50 + [2] * 50)
        counts = y[choose_labelled(y, 63, 0)].bincount()
        assert counts.tolist() == [3, 30, 30]

    def test_labels_of_the_rest_are_used(self) -> None:
        reports = []
        for rest, labelled in ((0, 0), (1, 0), (0, 1)):
            loop = make()
            gan: Any = loop.gan
            loop.y = (loop.y + rest) % 3  # labels of the loop's batches
            gan.labelled_y = (gan.labelled_y + labelled) % 3
            reports.append(loop.run(48))
        assert reports[0] == reports[1]
        assert reports[0] != reports[2]

    def test_an_image_is_left_out_or_comes_twice(self) -> None:
        gan: Any = make(labels=5).gan
        b = gan.draw(torch.rand(8, 1, 8, 8), torch.zeros(8, dtype=torch.int64))
        assert len(b.labelled_x.unique(dim=0)) == len(b.labelled_y) == 5
        gan = make(labels=12).gan
        drawn = [gan.draw(b.x, b.y).labelled_x for _ in range(12)]
        assert all(len(x) == 8 for x in drawn)
        assert len(torch.cat(drawn).unique(dim=0)) == 12
        x, y = gan.labelled_x, gan.labelled_y
        rows = [(make().x == image).flatten(1).all(1).nonzero() for image in x]
        assert torch.equal(torch.cat(rows)[:, 0] % 3, y), "labels of other images"

    def test_share_is_not_of_the_training_images(self) -> None:
        assert len(make(labels=0.5).gan.labelled_y) == 20  # type: ignore[arg-type]

    @pytest.mark.parametrize(("labels", "needed"), [(41, 41), (0.001, 1000)])
    def test_more_labels_than_images(self, labels: float, needed: int) -> None:
        line = rf"labels={labels}\S* needs {needed} images, and there are 40"
        with pytest.raises(ValueError, match=line):
            make(labels=labels)

    def test_two_and_a_half_labels(self) -> None:
        with pytest.raises(ValueError, match=r"bad value labels=2\.5: a whole number, or a share"):
            make(labels=2.5)


class TestSupervisedOnly:
    def test_it_is_another_network_or_knows_other_labels(self) -> None:
        ours, alone = (make(supervised_only=s).gan for s in (False, True))
        for a, b in zip(ours.state_dict().values(), alone.state_dict().values(), strict=True):
            assert torch.equal(a, b)
        for name in ("labelled_x", "labelled_y"):
            assert torch.equal(getattr(ours, name), getattr(alone, name))

    def test_it_learns_from_the_rest(self) -> None:
        trained = []
        for black in (False, True):
            loop = make(supervised_only=True)
            before = [p.clone() for p in loop.gan.G.parameters()]
            if black:
                loop.x.zero_()  # images of the loop's batches
            assert list(loop.run(48)) == ["loss/d/class_real"]
            assert all(map(torch.equal, before, loop.gan.G.parameters()))
            trained.append(loop.gan.state_dict())
        for a, b in zip(*(state.values() for state in trained), strict=True):
            assert torch.equal(a, b)

    def test_gradients_of_a_g_that_is_not_trained_fail(self) -> None:
        gan = make(supervised_only=True).gan
        rng = torch.Generator().manual_seed(0)
        y = torch.zeros(8, dtype=torch.int64)
        assert gan.gradient_norms(torch.rand(8, 1, 8, 8), y, rng) == {}

    def test_it_does_not_learn(self) -> None:
        """The classes are three levels of brightness. Only the labelled images show them."""
        loop = make(supervised_only=True, lr=1e-2)
        gan: Any = loop.gan
        gan.labelled_x = (gan.labelled_y * 100 + 20).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)
        loop.run(800)
        x = torch.tensor([20.0, 120, 220]).view(3, 1, 1, 1).expand(3, 1, 8, 8) / 127.5 - 1
        assert gan.classify(x).argmax(1).tolist() == [0, 1, 2]
