"""PGGAN: how it grows, and how it uses equalised learning rates, minibatch stddev and WGAN-GP.

Where these fail, the study compares something else than what the paper describes.
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
from trainables.core.layers_grow import growth
from trainables.core.loop import Loop
from trainables.core.player import Batch
from trainables.data.base import DataSpec

LOOKS = DataSpec(2, 1, (28, 28))
NOBODY = torch.zeros(8, dtype=torch.int64)  # labels


def make(images: DataSpec = LOOKS, bf16: bool = False, **values: Any) -> Any:
    torch.manual_seed(0)
    variant = trainables.load("pggan")
    config = variant.config_type.parse({"f": 4, "batch": 8, "z_dim": 8, **values})
    return variant(config, images, torch.device("cpu"), bf16)


def loop_of(gan: Any) -> Loop:
    x = torch.randint(0, 256, (40, 1, 28, 28), generator=torch.Generator().manual_seed(1))
    return Loop(gan, x.to(torch.uint8), torch.zeros(40, dtype=torch.int64), 0)


class TestFadeIn:
    """New layers must not shock layers that are trained already."""

    @pytest.mark.parametrize("newest", [1, 2])
    def test_g_jumps_when_layers_are_added(self, newest: int) -> None:
        gan = make()
        z = gan.noise(4)
        with torch.no_grad():
            before = gan.G(z, float(newest - 1))
            after = gan.G(z, newest - 1 + 1e-9)
            other = gan.G(z, float(newest))
        assert after.shape == other.shape == (4, 1, 7 * 2**newest, 7 * 2**newest)
        upsampled = before.repeat_interleave(2, 2).repeat_interleave(2, 3)
        assert (after - upsampled).abs().max() < 1e-6
        assert (other - upsampled).abs().max() > 0.1, "the new layers do nothing"

    @pytest.mark.parametrize("newest", [1, 2])
    def test_d_jumps_when_layers_are_added(self, newest: int) -> None:
        gan = make()
        x = torch.randn(4, 1, 7 * 2**newest, 7 * 2**newest)
        with torch.no_grad():
            before = gan.D(F.avg_pool2d(x, 2), float(newest - 1))
            after = gan.D(x, newest - 1 + 1e-9)
            other = gan.D(x, float(newest))
        assert (after - before).abs().max() < 1e-6
        assert (other - before).abs().max() > 1e-3, "the new layers do nothing"

    def test_fade_is_not_linear(self) -> None:
        gan = make()
        z = gan.noise(4)
        with torch.no_grad():
            ends = [gan.G(z, 1 + 1e-9), gan.G(z, 2.0)]
            between = gan.G(z, 1.25)
        torch.testing.assert_close(between, 0.75 * ends[0] + 0.25 * ends[1])

    def test_real_images_are_sharper_than_fakes_can_be(self) -> None:
        """D would recognise real images by details that G's fading layers cannot make yet."""
        gan = make()
        x = torch.rand(8, 1, 28, 28)

        def seen(level: float) -> Tensor:
            gan.level = level
            batch: Batch = gan.draw(x, NOBODY)
            assert batch.x.shape == batch.fake.shape
            return batch.x

        torch.testing.assert_close(seen(0.0), F.avg_pool2d(x, 4))
        assert torch.equal(seen(2.0), x)
        coarse = F.avg_pool2d(x, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
        torch.testing.assert_close(seen(1 + 1e-9), coarse)
        torch.testing.assert_close(seen(1.25), 0.75 * coarse + 0.25 * x)


class TestSchedule:
    @pytest.mark.parametrize(
        ("abrupt", "levels"),
        [
            (
                False,
                {0: 0, 400: 0, 500: 0, 750: 0.5, 1000: 1, 1400: 1, 1600: 1.2, 2000: 2, 9000: 2},
            ),
            (True, {0: 0, 740: 0, 760: 1, 1000: 1, 1740: 1, 1760: 2, 2000: 2, 9000: 2}),
        ],
    )
    def test_growth_does_not_follow_the_images_seen(
        self, abrupt: bool, levels: dict[int, float]
    ) -> None:
        gan = make(stage_kimg=1.0, abrupt=abrupt)
        for seen, level in levels.items():
            gan.on_images(seen)
            assert gan.level == pytest.approx(level), seen
        control = make(stage_kimg=1.0, abrupt=abrupt, grow=False)
        for seen in levels:
            control.on_images(seen)
            assert control.level == 2, "the control grows"

    def test_sizes_are_not_halves(self) -> None:
        assert growth((28, 28)) == [(7, 7), (14, 14), (28, 28)]
        assert growth((32, 32)) == [(4, 4), (8, 8), (16, 16), (32, 32)]
        assert growth((24, 40)) == [(6, 10), (12, 20), (24, 40)]
        assert growth((27, 28)) == [(27, 28)]

    def test_images_that_cannot_grow_pass(self) -> None:
        with pytest.raises(ValueError, match=r"grow=True: \(27, 27\) has no half of 4 pixels"):
            make(DataSpec(2, 1, (27, 27)))
        assert make(DataSpec(2, 1, (27, 27)), grow=False).level == 0

    def test_layers_not_in_use_are_trained(self) -> None:
        """Adam must not change layers that are not in use.

        Adam must not keep moments for these layers either, which would distort their first step.
        """
        gan = make(stage_kimg=1.0, beta1=0.5)
        new = [*gan.G.stages[1].parameters(), *gan.D.images[1].parameters()]
        before = [p.detach().clone() for p in new]
        gan.step(torch.rand(8, 1, 28, 28), NOBODY)
        assert all(torch.equal(a, b) for a, b in zip(before, new, strict=True))
        assert all(p not in gan.optimizers["g"].state for p in gan.G.stages[1].parameters())
        gan.on_images(600)
        gan.step(torch.rand(8, 1, 28, 28), NOBODY)
        assert not any(torch.equal(a, b) for a, b in zip(before, new, strict=True))

    def test_new_layers_find_old_moments_and_averages(self) -> None:
        gan = make(stage_kimg=1.0)
        for _ in range(3):
            gan.step(torch.rand(8, 1, 28, 28), NOBODY)
        gan.on_images(450)
        assert gan.updates == 3
        assert all(optimizer.state for optimizer in gan.optimizers.values())
        gan.on_images(550)  # the second size
        assert gan.updates == 0
        assert not any(optimizer.state for optimizer in gan.optimizers.values())
        gan.step(torch.rand(8, 1, 28, 28), NOBODY)
        gan.on_images(950)
        gan.on_images(1050)  # no new layers: the second size is fully faded in
        assert gan.updates == 1
        assert all(optimizer.state for optimizer in gan.optimizers.values())

    @pytest.mark.slow
    def test_cell_continued_between_two_sizes_starts_another_growth(self) -> None:
        expected = loop_of(make(stage_kimg=0.08))
        expected.run(64)
        assert 0 < expected.gan.level < 1
        state = copy.deepcopy(expected.checkpoint())
        last = expected.run(240)
        assert expected.gan.level == 2
        again = loop_of(make(stage_kimg=0.08))
        again.restore(state)
        assert again.run(240) == last
        for a, b in zip(
            expected.gan.state_dict().values(), again.gan.state_dict().values(), strict=True
        ):
            assert torch.equal(a, b)

    @pytest.mark.parametrize("level", [0.0, 0.5, 2.0])
    def test_samples_are_of_the_size_in_training(self, level: float) -> None:
        gan = make()
        gan.level = level
        x = gan.sample(None, 4, torch.Generator().manual_seed(0))
        assert x.shape == (4, 1, 28, 28)
        side = 28 // 7 // 2 ** math.ceil(level)
        blocks = x[:, :, ::side, ::side].repeat_interleave(side, 2).repeat_interleave(side, 3)
        assert torch.equal(x, blocks), "enlarged by something else than repeated pixels"


class TestEqualisedRate:
    def test_gains_are_not_the_authors(self) -> None:
        """The gain must be He's for most layers.

        It must be 1 for G's layers to images and for D's last layer, and a quarter of He's for the
        layer after z.
        """
        gan = make(f=64, z_dim=64)
        dense, convolution, critic = gan.G.stages[0][1], gan.G.stages[0][5], gan.D.stages[0][-1]
        image = gan.D.images[2][0]
        for layer, gain, fan_in in [
            (dense, 2**0.5 / 4, 64),
            (convolution, 2**0.5, 64 * 9),
            (gan.G.images[2], 1, 64),
            (critic, 1, 64),
            (image, 2**0.5, 1),
        ]:
            scale = layer.weight / layer.parametrizations.weight.original
            torch.testing.assert_close(scale, torch.full_like(scale, gain / fan_in**0.5))


class TestMinibatchStddev:
    @pytest.mark.parametrize("on", [True, False])
    def test_switch_does_nothing(self, on: bool) -> None:
        """D's value for an image must depend on the rest of its batch if the switch is on.

        If the switch is off, the value must not depend on the rest.
        """
        gan = make(minibatch_stddev=on)
        x = torch.randn(4, 1, 28, 28)
        crowd = torch.cat([x[:1], x[:1] + 1e-3 * x[1:]])
        values = [gan.D(batch, 2.0)[0] for batch in (x, crowd)]
        assert (abs(float(values[0] - values[1])) > 1e-4) == on

    def test_batch_does_not_divide_into_groups(self) -> None:
        config = trainables.load("pggan").config_type
        with pytest.raises(ValueError, match="batch=6: minibatch_stddev needs a multiple of 4"):
            config.parse({"batch": 6})
        config.parse({"batch": 6, "minibatch_stddev": False})

    def test_real_and_generated_images_share_a_group(self) -> None:
        """D sees both kinds in one pass. Equal fakes must not hide among diverse real images."""
        gan = make()
        gan.level = 2.0
        batch = Batch(torch.rand(8, 1, 28, 28), NOBODY, NOBODY, torch.zeros(8, 1, 28, 28))
        terms = gan.losses_d(batch)
        alone = gan.D(batch.x, 2.0), gan.D(batch.fake, 2.0)
        torch.testing.assert_close(terms["adversarial_real"], -alone[0].mean())
        torch.testing.assert_close(terms["adversarial_fake"], alone[1].mean())
        torch.testing.assert_close(terms["drift"], alone[0].square().mean())


class TestLosses:
    def test_penalty_of_a_linear_critic_is_not_that_of_its_slope(self) -> None:
        """D(x) = w.x has the gradient w everywhere, so the penalty must be (||w|| - 1)^2."""
        w = torch.randn(1, 6, 6, generator=torch.Generator().manual_seed(0)).requires_grad_()
        real, fake = torch.randn(2, 5, 1, 6, 6)
        penalty = losses.gradient_penalty(lambda x: (x * w).flatten(1).sum(1), real, fake)
        torch.testing.assert_close(penalty, (w.norm() - 1) ** 2)
        (grad,) = torch.autograd.grad(penalty, w)
        torch.testing.assert_close(grad, 2 * (w.norm() - 1) * w / w.norm())

    def test_penalty_is_not_between_real_and_fake(self) -> None:
        """The critic is half the sum of x^2, whose gradient is x. Each image has a single value."""
        torch.manual_seed(0)
        at: list[Tensor] = []

        def critic(x: Tensor) -> Tensor:
            at.append(x.detach())
            return x.square().flatten(1).sum(1) / 2

        real, fake = torch.full((500, 1, 2, 2), 1.0), torch.full((500, 1, 2, 2), 3.0)
        penalty = losses.gradient_penalty(critic, real, fake)
        x = at[0].flatten(1)
        assert (x == x[:, :1]).all(), "each pixel has a share of its own"
        assert float(x.min()) >= 1
        assert float(x.max()) <= 3
        assert float(x.mean()) == pytest.approx(2, abs=0.1)
        assert float(x.std()) == pytest.approx(2 / 12**0.5, rel=0.1)
        torch.testing.assert_close(penalty, (2 * x[:, 0] - 1).square().mean())

    def test_signs_and_weights_are_not_wgan_gps(self) -> None:
        gan = make(gp=7.0, drift=0.5)
        assert gan.players["d"].weights == {"gradient_penalty": 7.0, "drift": 0.5}
        gan.level = 2.0
        x = torch.rand(8, 1, 28, 28)
        batch = gan.draw(x, NOBODY)
        assert gan.losses_g(batch)["adversarial"] == -gan.D(batch.fake, 2.0).mean()
        for _ in range(60):
            gan.turn("d", batch)
        with torch.no_grad():
            assert gan.D(x, 2.0).mean() > gan.D(batch.fake, 2.0).mean()
