"""Coulomb GAN: the field that D learns, the way G moves in it, and the schedules of recipe D.

If a sign here is wrong, G moves away from the real images, and the study measures that.
"""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import trainables
from study.planning.validation import check_data_spec
from tests.study import tiny
from trainables.core.loop import Loop
from trainables.coulomb import potentials
from trainables.data.base import DataSpec
from trainables.standard_gan import RecipeD, clipped_bce

LOOKS = DataSpec(2, 1, (9, 9))


def make(name: str = "coulomb", bf16: bool = False, **values: Any) -> Any:
    torch.manual_seed(0)
    variant = trainables.load(name)
    config = variant.config_type.parse({"f": 2, "batch": 8, "z_dim": 8, **values})
    return variant(config, LOOKS, torch.device("cpu"), bf16)


def clusters(*centres: float) -> torch.Tensor:
    """Two points near each centre, on a line in 3 dimensions."""
    points = [[c + d, 0.0, 0.0] for c in centres for d in (-0.1, 0.1)]
    return torch.tensor(points)


def test_missing_fakes_do_not_attract() -> None:
    """Real images are at 0 and 10. Fakes are at 10 and far from all images, and missing at 0."""
    phi_real, phi_fake = potentials(clusters(0, 10), clusters(10, 50), 1.0, 3, True)
    at_0, at_10 = phi_real[:2].mean(), phi_real[2:].mean()
    assert at_0 > 0.2
    assert at_0 > at_10 + 0.2
    assert phi_fake[2:].max() < 0, "fakes among themselves, far from all images, do not repel"
    # One fake of six is at the cluster that lacks fakes. Its potential must be higher than that of
    # the fakes in the crowd.
    fakes = torch.cat([clusters(0)[:1], clusters(10, 10)[:3], clusters(10)])
    _, phi = potentials(clusters(0, 10, 10), fakes, 1.0, 3, True)
    assert phi[0] > phi[1:].max() + 0.05


def test_equal_distributions_make_a_field() -> None:
    points = torch.randn(16, 5)
    for phi in potentials(points, points, 1.0, 3, True):
        torch.testing.assert_close(phi, torch.zeros(16), atol=1e-5, rtol=0)
    # Without the self-potential, the field of two draws is zero on average, and its means at real
    # and at generated points are equal.
    real, fake = torch.randn(2, 2000, 5, generator=torch.Generator().manual_seed(0))
    phi_real, phi_fake = potentials(real, fake, 0.1, 3, False)
    assert abs(float(phi_real.mean())) < 5e-3
    assert abs(float(phi_real.mean() - phi_fake.mean())) < 5e-3


@pytest.mark.parametrize(("eps", "dimension"), [(1.0, 3), (0.3, 5)])
def test_potential_is_not_the_papers_sum(eps: float, dimension: int) -> None:
    rng = torch.Generator().manual_seed(1)
    real, fake = torch.randn(2, 6, 4, generator=rng)

    def k(a: torch.Tensor, b: torch.Tensor) -> float:
        return float((a - b).square().sum() + eps**2) ** (-(dimension - 2) / 2)

    for kept in (False, True):
        phi_real, phi_fake = potentials(real, fake, eps, dimension, kept)
        for i in range(6):
            others = [j for j in range(6) if kept or j != i]
            near = sum(k(real[i], real[j]) for j in others) / len(others)
            far = sum(k(real[i], fake[j]) for j in range(6)) / 6
            assert float(phi_real[i]) == pytest.approx(near - far, abs=1e-4)
            near = sum(k(fake[i], fake[j]) for j in others) / len(others)
            far = sum(k(fake[i], real[j]) for j in range(6)) / 6
            assert float(phi_fake[i]) == pytest.approx(far - near, abs=1e-4)


def test_self_potential_is_no_offset_between_real_and_fake() -> None:
    """The self-potential lifts real points and lowers fakes, by about eps^(2 - dimension) / N.

    D could learn this offset in place of the field. The switch takes the offset away.
    """
    real, fake = torch.randn(2, 10, 4, generator=torch.Generator().manual_seed(0))
    gaps = []
    for kept in (False, True):
        phi_real, phi_fake = potentials(real, fake, 0.01, 3, kept)
        gaps.append(float(phi_real.mean() - phi_fake.mean()))
    assert gaps[1] - gaps[0] == pytest.approx(2 * 100 / 10, rel=0.1)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.slow
def test_g_moves_away_from_the_real_images(scaled: bool) -> None:
    gan = make(scale_distances=scaled, lr=1e-3)
    x = torch.full((8, 1, 9, 9), 0.8) + 0.05 * torch.randn(8, 1, 9, 9)
    batch = gan.draw(x, torch.zeros(8, dtype=torch.int64))
    batch.fake = (-batch.x).requires_grad_()
    gan.D.eval()  # without dropout D needs fewer steps
    for _ in range(300):
        gan.turn("d", batch)
    (grad,) = torch.autograd.grad(gan.losses_g(batch)["adversarial"], batch.fake)
    direction = (batch.x - batch.fake).flatten(1)
    cosine = F.cosine_similarity(-grad.flatten(1), direction)
    assert cosine.min() > 0.1


def test_targets_are_rounded_in_bf16() -> None:
    """In bf16, the differences of nearly equal potentials would be noise."""
    targets = []
    for bf16 in (False, True):
        gan = make(bf16=bf16)
        x = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        batch = gan.draw(x, torch.zeros(8, dtype=torch.int64))
        batch.fake = -x.flip(0)
        with gan.autocast():
            targets.append(torch.cat(gan.targets(batch)))
    assert targets[1].dtype == torch.float32
    assert torch.equal(*targets)


def test_scaled_distances_depend_on_the_number_of_pixels() -> None:
    found = []
    for n in (1, 4):
        gan = make(scale_distances=True)
        x = torch.linspace(-1, 1, 8)[:, None, None, None].expand(8, 1, n, n)
        batch = gan.draw(torch.zeros(8, 1, 9, 9), torch.zeros(8, dtype=torch.int64))
        batch.x, batch.fake = x, -x / 2
        found.append(gan.targets(batch)[0])
    torch.testing.assert_close(*found)


def test_networks_are_not_the_write_ups() -> None:
    """D's second convolution has no padding, and Keras' BatchNorm has an eps of .001."""
    variants = [trainables.load(name) for name in ("coulomb", "standard_gan")]
    spec, cpu = DataSpec(10, 1, (28, 28)), torch.device("cpu")
    gans = [variant(variant.config_type.parse({}), spec, cpu) for variant in variants]
    shapes = [{name: p.shape for name, p in gan.named_parameters()} for gan in gans]
    assert shapes[0] == shapes[1], "the two GANs differ in more than their losses"
    for gan in gans:
        x = gan.generate(gan.G, gan.noise(2), None)
        assert x.shape == (2, 1, 28, 28)
        maps = []
        for layer in gan.D.layers:
            x = layer(x)
            if isinstance(layer, nn.Conv2d):
                maps.append(x.shape[1:])
        assert maps == [(64, 14, 14), (128, 5, 5)]
        norms = [m for m in gan.G.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
        assert [norm.num_features for norm in norms] == [1024, 128 * 7 * 7, 64]
        assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}


def test_images_without_room_for_a_convolution_start_a_study() -> None:
    """The cells would fail one by one."""
    study = tiny.study(variant="coulomb", space=None, reference={}, conditions={"c": {}}, claims=())
    config = trainables.load("coulomb").config_type.parse({})
    with pytest.raises(ValueError, match=r"^bars has images of 9x8: c takes 9\+$"):
        check_data_spec(tiny.plan(study, size=(9, 8)), "c", config)
    check_data_spec(tiny.plan(study, size=(9, 9)), "c", config)


class TestSchedules:
    def rates(self, gan: RecipeD) -> list[float]:
        return [gan.optimizers[name].param_groups[0]["lr"] for name in ("d", "g")]

    def test_decay_is_not_keras(self) -> None:
        gan = make(lr=1e-3, lr_ratio=0.1, decay_d=1e-2, decay_g=1e-3)
        assert self.rates(gan) == pytest.approx([1e-4, 1e-3])
        gan.on_images(100 * 8)
        assert self.rates(gan) == pytest.approx([1e-4 / 2, 1e-3 / 1.1])

    def test_half_life_of_eps_is_not_one(self) -> None:
        gan = make(eps=2.0, eps_half_life=50.0)
        assert gan.eps == 2
        gan.on_images(100 * 8)
        assert gan.eps == pytest.approx(0.5)
        constant = make(eps=2.0, eps_half_life=0.0)
        constant.on_images(10**9)
        assert constant.eps == 2

    def test_speed_is_another_schedule(self) -> None:
        """With speed=10, a step stands for ten steps of the published schedule.

        After a tenth of the images, eps must be the published one, and the learning rates must be
        the published ones times `lr_scale`.
        """
        schedule = {"lr": 1e-4, "decay_d": 1e-2, "decay_g": 1e-3, "eps_half_life": 50.0}
        published, fast = make(**schedule), make(**schedule, speed=10.0, lr_scale=3.0)
        published.on_images(1000 * 8)
        fast.on_images(100 * 8)
        assert self.rates(fast) == pytest.approx([3 * rate for rate in self.rates(published)])
        assert fast.eps == pytest.approx(published.eps)

    def test_continued_cell_forgets_the_schedule(self) -> None:
        reports = []
        for stop in (False, True):
            gan = make(decay_d=0.1, decay_g=0.1, eps_half_life=2.0)
            x = torch.randint(0, 256, (40, 1, 9, 9), generator=torch.Generator().manual_seed(1))
            loop = Loop(gan, x.to(torch.uint8), torch.zeros(40, dtype=torch.int64), 0)
            loop.run(48)
            if stop:
                state = loop.checkpoint()
                gan = make(decay_d=0.1, decay_g=0.1, eps_half_life=2.0)
                loop = Loop(gan, loop.x, loop.y, 0)
                loop.restore(state)
            reports.append(loop.run(96))
        assert reports[0] == reports[1]


def test_z_is_not_uniform() -> None:
    z = make(z_dim=1000).noise(50)
    assert float(z.min()) == pytest.approx(-1, abs=1e-3)
    assert float(z.max()) == pytest.approx(1, abs=1e-3)
    shifted = make(z_dim=1000, z_mean=3.0, z_std=2.0).noise(50)
    assert float(shifted.mean()) == pytest.approx(3, abs=0.05)
    assert float(shifted.std()) == pytest.approx(2, abs=0.05)


class TestClipped:
    def test_loss_is_not_keras(self) -> None:
        p = torch.tensor([0.1, 0.7])
        for target in (0.0, 1.0):
            expected = F.binary_cross_entropy(p, torch.full((2,), target))
            torch.testing.assert_close(clipped_bce(p, target), expected)
        worst = clipped_bce(torch.tensor([-3.0]), 1.0)
        assert float(worst) == pytest.approx(16.1, abs=0.1)  # -log 1e-7

    def test_gradient_goes_on_beyond_the_interval(self) -> None:
        out = torch.tensor([-0.5, 0.5, 1.5], requires_grad=True)
        clipped_bce(out, 1.0).backward()
        assert out.grad is not None
        assert (out.grad != 0).tolist() == [False, True, False]

    def test_switch_does_nothing(self) -> None:
        reports = []
        for clipped in (False, True):
            gan = make("standard_gan", clipped=clipped)
            reports.append(gan.step(torch.rand(8, 1, 9, 9), torch.zeros(8, dtype=torch.int64)))
        assert reports[0]["loss/d/adversarial_real"] != reports[1]["loss/d/adversarial_real"]
