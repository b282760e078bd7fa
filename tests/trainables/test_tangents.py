"""Tangents: which directions they are, how much D changes along them, and when they are learned.

If one of these is wrong, D is kept from changing along other directions than the study says, or
the study's controls are no controls.
"""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import trainables
from trainables.core.affine import affine_tangents, orthonormal
from trainables.core.loop import Loop, StoppedError
from trainables.data.base import DataSpec
from trainables.tangents import change, leading

LOOKS = DataSpec(3, 1, (8, 8))


def make(name: str = "tangents", **values: Any) -> Loop:
    torch.manual_seed(0)
    variant = trainables.load(name)
    given = {"f": 2, "batch": 8, "z_dim": 8, "labels": 12, "latents": 6, "k": 4}
    given |= {"inference_kimg": 0.04} | values
    gan = variant(variant.config_type.parse(given), LOOKS, torch.device("cpu"))
    x = torch.randint(0, 256, (40, 1, 8, 8), generator=torch.Generator().manual_seed(1))
    return Loop(gan, x.to(torch.uint8), torch.arange(40) % 3, 0)


def images(n: int = 8, size: int = 8) -> Tensor:
    return torch.rand(n, 1, size, size, generator=torch.Generator().manual_seed(2)) * 2 - 1


def same_span(a: Tensor, b: Tensor) -> None:
    """Make sure that orthonormal rows a and b, both [N, k, P], span the same space."""
    torch.testing.assert_close(a.mT @ a, b.mT @ b, atol=1e-4, rtol=0)


class TestLinear:
    """Networks whose Jacobian is known from their weights."""

    def test_tangents_are_not_the_columns_of_a_decoder(self) -> None:
        gan: Any = make(directions="decoder", latents=4).gan
        gan.inference.G_ema = nn.Sequential(nn.Linear(4, 64), nn.Unflatten(1, (1, 8, 8)))
        columns = gan.inference.G_ema[0].weight.detach().T.expand(8, 4, 64)
        found = gan.tangents(images())
        assert found.shape == (8, 4, 64)
        torch.testing.assert_close(found @ found.mT, torch.eye(4).expand(8, 4, 4))
        same_span(found, torch.linalg.qr(columns.mT)[0].mT)

    def test_tangents_are_an_encoders_directions_in_z(self) -> None:
        """Tangents are the right singular vectors of the largest singular values: images, not z."""
        gan: Any = make(directions="encoder", k=3).gan
        directions = torch.linalg.qr(torch.randn(64, 6))[0].T  # rows
        scales = torch.tensor([0.1, 5.0, 0.3, 4.0, 3.0, 0.2])
        gan.inference.E = nn.Sequential(nn.Flatten(), nn.Linear(64, 6))
        turned = torch.linalg.qr(torch.randn(6, 6))[0]
        gan.inference.E[1].weight.data = turned @ (scales[:, None] * directions)
        same_span(gan.tangents(images(1)), directions[[1, 3, 4]][None])

    def test_leading_span_is_not_that_of_the_svd(self) -> None:
        jacobian = torch.randn(5, 7, 40)
        same_span(leading(jacobian, 3), torch.linalg.svd(jacobian, full_matrices=False)[2][:, :3])

    def test_change_is_not_the_exact_one(self) -> None:
        classifier = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
        v = torch.randn(8, 1, 8, 8)
        exact = (v.flatten(1) @ classifier[1].weight.T).square().sum(1)
        torch.testing.assert_close(change(classifier, images(), v), exact)

    def test_change_has_no_gradient(self) -> None:
        """The gradient for the weights must be that of finite differences.

        The network has kinks.
        """
        classifier = nn.Sequential(nn.Flatten(), nn.Linear(64, 9), nn.LeakyReLU(0.2, inplace=True))
        classifier.append(nn.Linear(9, 3)).double()
        x, v, step = images().double(), torch.randn(8, 1, 8, 8).double(), 1e-7
        weights = list(classifier.parameters())
        grads = torch.autograd.grad(change(classifier, x, v).sum(), weights, allow_unused=True)
        apart = (classifier(x + step * v) - classifier(x)) / step
        for weight, ours, expected in zip(
            weights,
            grads,
            torch.autograd.grad(apart.square().sum(), weights, allow_unused=True),
            strict=True,
        ):
            if ours is not None:  # biases do not affect the change
                torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)
                assert weight.ndim == 1 or bool(ours.any())

    @pytest.mark.parametrize("directions", ["encoder", "decoder", "random", "affine"])
    def test_penalty_is_not_the_sum_over_tangents(self, directions: str) -> None:
        """The other penalty, `jacobian`, must be the squared Frobenius norm."""
        gan: Any = make(directions=directions, jacobian=1.0).gan
        gan.D = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
        weight = gan.D[1].weight
        same = gan.tangents(images())
        gan.tangents = lambda x: same.repeat(len(x) // 8, 1, 1)
        b = gan.draw(images().repeat(500, 1, 1, 1), torch.zeros(4_000, dtype=torch.int64))
        terms = gan.losses_d(b)
        expected = (same @ weight.T).square().sum((1, 2)).mean()
        assert terms["tangent"].item() == pytest.approx(expected.item(), rel=0.1)
        assert terms["jacobian"].item() == pytest.approx(weight.square().sum().item(), rel=0.1)


class TestDirections:
    def test_random_ones_repeat_or_are_not_orthonormal(self) -> None:
        gan: Any = make(directions="random").gan
        first, second = gan.tangents(images()), gan.tangents(images())
        torch.testing.assert_close(first @ first.mT, torch.eye(4).expand(8, 4, 4))
        assert not torch.allclose(first, second)
        assert not torch.allclose(first[0], first[1]), "the same at all images"
        again = [gan.tangents(images(), torch.Generator().manual_seed(3)) for _ in range(2)]
        assert torch.equal(*again)

    def test_measuring_draws_from_the_rng_of_the_trial(self) -> None:
        gan: Any = make(directions="random").gan
        before = torch.get_rng_state()
        gan.tangents(images(), torch.Generator().manual_seed(3))
        assert torch.equal(before, torch.get_rng_state())

    @pytest.mark.parametrize(
        ("values", "most"),
        [
            ({"directions": "encoder", "latents": 3}, "'encoder' has 3 at most"),
            ({"directions": "decoder", "latents": 3}, "'decoder' has 3 at most"),
            ({"directions": "affine", "k": 7}, "'affine' has 6 at most"),
        ],
    )
    def test_more_than_there_are(self, values: dict[str, Any], most: str) -> None:
        with pytest.raises(ValueError, match=most):
            make(**values)
        make(directions="random", k=7)

    def test_control_without_tangents_has_them(self) -> None:
        """The penalty needs unlabelled images. A D that is trained on labels alone gets none."""
        with pytest.raises(ValueError, match="supervised_only=True"):
            make(supervised_only=True)

    def test_jacobian_of_an_image_is_that_of_the_batch(self) -> None:
        """BN mixes the images of a batch."""
        with pytest.raises(ValueError, match="d_norm='bn'"):
            make(d_norm="bn")

    def test_jacobian_is_not_finite(self) -> None:
        """A GAN whose inference diverged would be recorded as a crash."""
        gan: Any = make().gan
        nn.init.constant_(next(gan.inference.E.parameters()), float("nan"))
        with pytest.raises(FloatingPointError, match="Jacobian"):
            gan.tangents(images())


def blob(size: tuple[int, int], centre: tuple[float, float], turn: float = 0.0) -> Tensor:
    """A smooth ellipse [1, 1, H, W].

    Its `centre` is so many pixels to the right of the image's centre, and so many below it. After
    that the ellipse is turned clockwise by `turn` radians about the image's centre.
    """
    h, w = size
    y, x = torch.meshgrid(
        torch.arange(h) - (h - 1) / 2, torch.arange(w) - (w - 1) / 2, indexing="ij"
    )
    angle = torch.tensor(turn)
    back = (angle.cos() * x + angle.sin() * y, angle.cos() * y - angle.sin() * x)
    u, v = back[0] - centre[0], back[1] - centre[1]
    return torch.exp(-(u**2) / 40 - v**2 / 20)[None, None] * 2 - 1


@pytest.mark.parametrize("size", [(28, 28), (24, 36)])
class TestAffine:
    """Tangents compared with images drawn shifted or turned, and with gradients of pixels."""

    def close(self, tangent: Tensor, difference: Tensor) -> None:
        a, b = tangent.flatten(), difference.flatten()
        assert float(F.cosine_similarity(a, b, dim=0)) > 0.99
        assert float(a.norm() / b.norm()) == pytest.approx(1, abs=0.06), "another unit"

    def test_shift_is_not_to_the_right_or_down(self, size: tuple[int, int]) -> None:
        right, down = affine_tangents(blob(size, (2, 1)))[0, :2]
        self.close(right, (blob(size, (3, 1)) - blob(size, (1, 1))) / 2)
        self.close(down, (blob(size, (2, 2)) - blob(size, (2, 0))) / 2)

    def test_turn_is_not_one(self, size: tuple[int, int]) -> None:
        """Images that are not square could be sheared instead of turned."""
        turned = affine_tangents(blob(size, (2, 1)))[0, 2]
        self.close(turned, (blob(size, (2, 1), 0.02) - blob(size, (2, 1), -0.02)) / 0.04)

    def test_growth_stretch_or_shear_is_not_what_a_gradient_says(
        self, size: tuple[int, int]
    ) -> None:
        """Off the border, d x / d t = -(A p) . grad x at a pixel p, where A is the generator."""
        image = blob(size, (2, 1))
        gy, gx = torch.gradient(image[0, 0])
        h, w = size
        y, x = torch.meshgrid(
            torch.arange(h) - (h - 1) / 2, torch.arange(w) - (w - 1) / 2, indexing="ij"
        )
        expected = [-(x * gx + y * gy), -(x * gx - y * gy), -(y * gx + x * gy)]
        for ours, other in zip(affine_tangents(image)[0, 3:], expected, strict=True):
            torch.testing.assert_close(ours[0, 1:-1, 1:-1], other[1:-1, 1:-1], atol=0.02, rtol=0)

    def test_border_moves_on_plain_ground(self, size: tuple[int, int]) -> None:
        """Beyond the border lies no grey frame that a shift would bring into the image."""
        plain = torch.full((2, 1, *size), -1.0)
        assert affine_tangents(plain).abs().max() < 1e-4
        assert orthonormal(affine_tangents(plain).flatten(2)).isfinite().all()


class TestInference:
    def test_h_is_trained_in_the_game_or_not_before(self) -> None:
        loop = make()
        gan: Any = loop.gan
        first = copy.deepcopy(gan.inference.state_dict())
        players = {n: copy.deepcopy(p.networks[0].state_dict()) for n, p in gan.players.items()}
        loop.run(0)
        assert loop.pretrained == 40
        before = copy.deepcopy(gan.inference.state_dict())
        assert any(
            not torch.equal(a, b) for a, b in zip(first.values(), before.values(), strict=True)
        )
        for name, old in players.items():
            new = gan.players[name].networks[0].state_dict()
            assert all(torch.equal(old[key], new[key]) for key in old), name
        loop.run(48)
        for name, value in gan.inference.state_dict().items():
            assert torch.equal(before[name], value), name
        assert gan.inference.E.training

    @pytest.mark.parametrize("directions", ["random", "affine"])
    def test_control_waits_for_what_it_does_not_use(self, directions: str) -> None:
        loop = make(directions=directions)
        loop.run(8)
        assert loop.pretrained == 0
        assert loop.batches == 1

    def test_checkpoint_in_the_middle_loses_the_optimizers(self) -> None:
        loop, calls = make(inference_kimg=0.08), iter([False] * 5 + [True])
        with pytest.raises(StoppedError):
            loop.run(0, lambda: next(calls))
        assert 0 < loop.pretrained < 80
        state = copy.deepcopy(loop.checkpoint())
        expected = loop.run(16)
        other = make(inference_kimg=0.08)
        other.restore(state)
        assert other.run(16) == expected

    def test_network_without_the_penalty_is_another(self) -> None:
        ours: Any = make(tangent=0.0).gan
        torch.manual_seed(0)
        variant = trainables.load("sgan")
        values = {"f": 2, "batch": 8, "z_dim": 8, "labels": 12}
        values["generator_loss"] = "feature_matching"
        plain: Any = variant(variant.config_type.parse(values), LOOKS, torch.device("cpu"))
        for part in ("D", "G"):
            pairs = zip(
                getattr(ours, part).parameters(), getattr(plain, part).parameters(), strict=True
            )
            assert all(torch.equal(a, b) for a, b in pairs)
        ours_b = ours.draw(images(), torch.zeros(8, dtype=torch.int64))
        assert list(ours.losses_g(ours_b)) == ["feature_matching"]
        assert "tangent" not in ours.losses_d(ours_b)

    @pytest.mark.parametrize("values", [{"d_norm": "sn"}, {"d_dropout": 0.5, "d_noise": 0.3}])
    def test_d_of_another_kind_has_no_derivative(self, values: dict[str, Any]) -> None:
        """Each forward pass changes SN's vectors. A second one must be possible all the same."""
        report = make(jacobian=0.1, **values).run(24)
        assert report["loss/d/tangent"] > 0
        assert report["loss/d/jacobian"] > 0

    @pytest.mark.parametrize("directions", ["encoder", "decoder", "random", "affine"])
    @pytest.mark.slow
    def test_penalty_does_not_lower_the_change(self, directions: str) -> None:
        changes = []
        for weight in (0.0, 3.0):
            loop = make(directions=directions, tangent=weight, lr=1e-2)
            loop.run(400)
            gan: Any = loop.gan
            v = gan.tangents(images(), torch.Generator().manual_seed(0))
            sums = [change(gan.D, images(), v[:, i].reshape(8, 1, 8, 8)) for i in range(4)]
            changes.append(float(torch.stack(sums).sum(0).mean()))
        assert changes[1] < changes[0] / 2
