"""Layers of growing networks: equalised learning rate, pixel norm and minibatch deviation.

Where these fail, the layers do something else than what the paper describes, or gradients break.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trainables.core.layers_grow import MinibatchStddev, PixelNorm, equalised


class TestEqualisedRate:
    @pytest.mark.parametrize(
        ("layer", "fan_in"),
        [(nn.Conv2d(16, 64, 3), 16 * 9), (nn.Linear(100, 400), 100), (nn.Conv2d(50, 90, 1), 50)],
    )
    def test_layers_are_not_scaled_by_fan_in(self, layer: Any, fan_in: int) -> None:
        torch.manual_seed(0)
        equalised(layer)
        stored = layer.parametrizations.weight.original
        assert float(stored.detach().std()) == pytest.approx(1, abs=0.03)
        assert float(layer.weight.detach().std()) == pytest.approx((2 / fan_in) ** 0.5, rel=0.03)
        assert not layer.bias.any()
        assert [name for name, _ in layer.named_parameters()] == [
            "bias",
            "parametrizations.weight.original",
        ], "the scaled weights are trained"

    def test_a_step_is_not_as_large_in_every_layer(self) -> None:
        """Relative to a layer's weights, a step must be as large in every layer.

        This is the purpose of an equalised learning rate.
        """
        torch.manual_seed(0)
        moved = []
        for width in (32, 512):
            layer = equalised(nn.Linear(width, 64))
            before = layer.weight.detach().clone()
            optimizer = torch.optim.Adam(layer.parameters(), lr=1e-2)
            layer(torch.randn(16, width)).square().mean().backward()
            optimizer.step()
            moved.append(float((layer.weight.detach() - before).norm() / before.norm()))
        assert moved == pytest.approx([1e-2, 1e-2], rel=0.05)


class TestPixelNorm:
    @pytest.mark.parametrize("shape", [(3, 8, 5, 5), (3, 8)])
    def test_places_do_not_have_unit_power(self, shape: tuple[int, ...]) -> None:
        x = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 7
        out = PixelNorm()(x)
        torch.testing.assert_close(out.square().mean(1), torch.ones_like(out[:, 0]))
        cosine = F.cosine_similarity(x, out, dim=1)
        torch.testing.assert_close(cosine, torch.ones_like(cosine))

    def test_zero_is_not_finite(self) -> None:
        x = torch.zeros(2, 8, 3, 3, requires_grad=True)
        PixelNorm()(x).sum().backward()
        assert x.grad is not None
        assert x.grad.isfinite().all()


class TestMinibatchStddev:
    def test_map_is_not_the_mean_deviation_of_its_group(self) -> None:
        x = torch.randn(8, 3, 2, 5, generator=torch.Generator().manual_seed(0))
        out = MinibatchStddev()(x)
        assert out.shape == (8, 4, 2, 5)
        assert torch.equal(out[:, :3], x)
        for group in (slice(0, 4), slice(4, 8)):
            expected = x[group].std(0, correction=0).mean()
            torch.testing.assert_close(out[group, 3], expected.expand(4, 2, 5))

    def test_equal_images_differ_or_break_the_gradient(self) -> None:
        x = torch.randn(1, 3, 2, 2).expand(4, -1, -1, -1).clone().requires_grad_()
        out = MinibatchStddev()(x)
        assert out[:, 3].max() < 1e-3
        out.sum().backward()
        assert x.grad is not None
        assert x.grad.isfinite().all()
