"""Recipe C's networks and the two slips of its code.

If these are wrong, the study measures what something else than the slips costs.
"""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import trainables
from trainables.acgan_mnist import DropoutDiscriminator
from trainables.core.player import Batch
from trainables.data.base import DataSpec

LOOKS = DataSpec(10, 1, (28, 28))


def make(name: str = "acgan_mnist", **values: Any) -> Any:
    torch.manual_seed(0)
    variant = trainables.load(name)
    config = variant.config_type.parse({"f": 8, "batch": 16, **values})
    return variant(config, LOOKS, torch.device("cpu"))


def batch(seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    x = torch.rand(16, 1, 28, 28, generator=rng) * 2 - 1
    return x, torch.randint(10, (16,), generator=rng)


def norms(module: nn.Module) -> list[float]:
    found = (nn.BatchNorm2d, nn.BatchNorm1d)
    return [m.eps for m in module.modules() if isinstance(m, found)]


class TestDoubleSoftmax:
    def test_class_loss_leaves_its_bounds(self) -> None:
        """The loss goes from log(1 + 9 / e) = 1.461 (sure and right) to 2.461 (sure and wrong)."""
        floor = math.log(1 + 9 / math.e)
        assert floor == pytest.approx(1.461, abs=1e-3)
        gan = make(double_softmax=True)
        with torch.no_grad():
            gan.D.layers[-1].weight.mul_(1000)  # D is sure of everything
        report = gan.step(*batch())
        for term in ("d/class_real", "d/class_fake", "g/class"):
            assert floor - 1e-3 <= float(report[f"loss/{term}"]) <= floor + 1 + 1e-3
        out = gan.classify(batch()[0])
        torch.testing.assert_close(out.sum(1), torch.ones(16))

    def test_it_is_on_by_default_or_changes_the_adversarial_logit(self) -> None:
        x, y = batch()
        plain, double = make(), make(double_softmax=True)
        plain.D.eval()
        double.D.eval()
        a, b = plain.discriminate(x, y), double.discriminate(x, y)
        torch.testing.assert_close(a[:, 0], b[:, 0])
        torch.testing.assert_close(a[:, 1:].softmax(1), b[:, 1:])
        assert not torch.allclose(a[:, 1:], b[:, 1:])


class TestAccuracyInTraining:
    def test_it_is_of_other_images_or_of_another_head(self) -> None:
        """D reads each real image right, and one fake of four: 20 of 32 in all."""
        gan, (x, y) = make(), batch()
        b = Batch(x, y, (y + 1) % 10, x)
        real = torch.cat([torch.zeros(16, 1), 9.0 * torch.eye(10)[b.y]], dim=1)
        read = torch.where(torch.arange(16) < 4, b.y_fake, b.y)
        fake = torch.cat([torch.full((16, 1), 99.0), 9.0 * torch.eye(10)[read]], dim=1)
        gan.terms_d(real, fake, b)
        assert float(gan.class_accuracy) == 20 / 32

    def test_a_step_does_not_report_it_of_ds_own_turn(self) -> None:
        gan, seen = make(), []
        losses_d = gan.players["d"].losses

        def watched(b: Batch) -> dict[str, Tensor]:
            assert gan.D.training
            terms: dict[str, Tensor] = losses_d(b)
            seen.append(float(gan.class_accuracy))
            return terms

        gan.players["d"].losses = watched
        assert [float(gan.step(*batch())["train/class_accuracy"])] == seen
        assert 0 <= seen[0] <= 1

    def test_a_player_is_trained_on_it(self) -> None:
        gan = make()
        gan.step(*batch())
        assert not gan.class_accuracy.requires_grad
        assert not any("accuracy" in name for p in gan.players.values() for name in p.weights)


def test_eps_slip_is_elsewhere_than_in_the_original() -> None:
    """The slip is in every BatchNorm but G's first, which has the default eps in the original."""
    gan = make(bn_eps=0.8)
    assert norms(gan.G) == [1e-5, 0.8, 0.8]
    assert norms(gan.D) == [0.8, 0.8, 0.8]
    assert {*norms(make().G), *norms(make().D)} == {1e-5}
    assert norms(make("cgan_mnist", bn_eps=0.8).D) == [0.8, 0.8, 0.8]


class TestDropout:
    def test_measuring_drops_maps_or_draws_numbers(self) -> None:
        gan, (x, _) = make(), batch()
        before = torch.get_rng_state()
        first, again = gan.classify(x), gan.classify(x)
        assert torch.equal(first, again)
        assert torch.equal(before, torch.get_rng_state())

    def test_training_drops_nothing_after_measuring(self) -> None:
        gan, (x, y) = make(), batch()
        gan.classify(x)
        assert not torch.equal(gan.discriminate(x, y), gan.discriminate(x, y))

    def test_pretraining_drops_nothing(self) -> None:
        """The class head would be pretrained on other features than it gets in the game."""
        after = []
        for seed in (1, 2):
            gan = make(pretrain_kimg=1.0)
            torch.manual_seed(seed)
            gan.pretrain(*batch())
            after.append(gan.D.layers[0].weight.detach().clone())
        assert not torch.equal(*after)


def test_networks_are_not_recipe_c() -> None:
    gan = make(f=64)
    convolutions = [m for m in gan.D.modules() if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [16, 32, 64, 128]
    assert sum(isinstance(m, nn.Dropout2d) for m in gan.D.modules()) == 4
    convolutions = [m for m in gan.G.modules() if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [128, 64, 1]
    sn = DropoutDiscriminator(1, 8, (28, 28), "sn", 1, 1e-5)
    assert norms(sn) == []


def test_label_does_not_reach_g() -> None:
    gan = make()
    z = gan.noise(2)[:1].expand(10, -1)
    images = gan.generate(gan.G, z, torch.arange(10))
    assert len(images.flatten(1).unique(dim=0)) == 10


def test_label_does_not_reach_the_cgans_d() -> None:
    gan, (x, y) = make("cgan_mnist"), batch()
    gan.D.eval()
    assert not torch.equal(gan.discriminate(x, y), gan.discriminate(x, (y + 1) % 10))
    assert gan.discriminate(x, y).shape == (16, 1)


def test_a_switch_of_other_networks_is_taken_and_ignored() -> None:
    """Recipe C's D has a dropout of its own, and no layer that makes planes of labels."""
    for name in ("acgan_mnist", "cgan_mnist"):
        with pytest.raises(ValueError, match=r"bad value d_dropout=0\.5"):
            make(name, d_dropout=0.5)
    with pytest.raises(ValueError, match="bad value d_planes='learned'"):
        make("cgan_mnist", d_planes="learned")
