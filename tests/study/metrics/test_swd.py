"""Sliced Wasserstein distance of patches: what it sees at which level, and its mathematics."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import trainables
from study.metrics import ms_ssim_pooled, swd
from study.metrics.core import catalog
from study.metrics.core.view import View
from tests.study.tiny import SPEC

pytestmark = pytest.mark.slow


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def strokes(n: int, seed: int) -> Tensor:
    """White bars of random place and direction on black: uint8 [n, 1, 28, 28]."""
    rng = generator(seed)
    angle, offset = torch.rand(2, n, 1, 1, generator=rng) * 2 - 1
    row, column = torch.meshgrid(torch.arange(28) - 13.5, torch.arange(28) - 13.5, indexing="ij")
    distance = row * torch.cos(3.14 * angle) + column * torch.sin(3.14 * angle) - 6 * offset
    return (255 * (2.5 - distance.abs()).clamp(0, 1)).to(torch.uint8)[:, None]


def measure(real: Tensor, fakes: Tensor, seed: int = 0) -> dict[str, float]:
    view = SimpleNamespace(fakes=fakes, reference=SimpleNamespace(x=real), rng=generator(seed))
    return swd.measure(cast(View, view))


REAL = strokes(400, 0)


def test_a_perfect_generator_looks_bad() -> None:
    good = measure(REAL, strokes(400, 1))
    noise = torch.randint(0, 256, REAL.shape, generator=generator()).to(torch.uint8)
    assert good["swd"] == pytest.approx((good["swd_finest"] + good["swd_coarsest"]) / 2)
    assert max(good.values()) < 40
    assert min(measure(REAL, noise).values()) > 5 * max(good.values())


def test_lost_detail_counts_as_wrong_shapes() -> None:
    """Blocks of 2x2 pixels, as of a G that has not grown, are right at the coarse level."""
    good = measure(REAL, strokes(400, 1))
    small = F.avg_pool2d(strokes(400, 1).float(), 2)
    row = measure(REAL, F.interpolate(small, scale_factor=2.0).to(torch.uint8))
    assert row["swd_finest"] > 3 * good["swd_finest"]
    assert row["swd_coarsest"] < row["swd_finest"] / 2


def test_one_image_passes_for_all() -> None:
    good = measure(REAL, strokes(400, 1))
    assert measure(REAL, REAL[:1].expand(400, -1, -1, -1))["swd"] > 3 * good["swd"]


def test_a_constant_image_is_not_finite() -> None:
    """An untrained G may draw constant images only."""
    row = measure(REAL, torch.full_like(REAL, 7))
    assert all(value > 100 for value in row.values())


def test_another_metric_changes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some metrics make the reference keep ten times as many real images.

    The distance falls with the number of images, so swd must use no more than `SHOWN` of them.
    """
    monkeypatch.setattr(swd, "SHOWN", 100)
    fakes = strokes(400, 1)
    assert measure(REAL, fakes) == measure(REAL[:100], fakes)


def test_fakes_outnumber_the_real_images() -> None:
    """Either set of images may be the larger one.

    Sorted projections are compared one by one, so both sets must have the same number of images.
    """
    few = measure(REAL[:100], strokes(100, 1))
    assert measure(REAL[:100], strokes(400, 1)[:200]).keys() == few.keys()
    fakes = strokes(400, 1)
    assert measure(REAL[:100], fakes) == measure(REAL, fakes[:100])


@pytest.mark.parametrize("size", [(28, 28), (31, 45), (64, 64)])
def test_pyramid_loses_part_of_the_image(size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size, generator=generator())
    *levels, whole = swd.pyramid(x)
    for level in reversed(levels):
        whole = level + swd.enlarged(whole, level)
    torch.testing.assert_close(whole, x)


def test_pyramid_of_a_ramp_has_edges() -> None:
    """Whatever is smooth belongs to the smallest image of the pyramid."""
    x = torch.linspace(0, 1, 64)[None, None, :, None].expand(1, 1, 64, 64)
    finest = swd.pyramid(x)[0]
    assert finest[:, :, 4:-4].abs().max() < 1e-6


def test_levels_are_too_many_or_too_few() -> None:
    sides = {side: [len(x[0, 0]) for x in swd.pyramid(torch.zeros(1, 1, side, side))]
             for side in (7, 27, 28, 32, 64)}  # fmt: skip
    assert sides == {7: [7], 27: [27], 28: [28, 14], 32: [32, 16], 64: [64, 32, 16]}
    with pytest.raises(ValueError, match="swd needs 7 pixels: images are 6x9"):
        swd.pyramid(torch.zeros(1, 1, 6, 9))


def test_patches_are_not_of_all_places_and_whole() -> None:
    places = torch.arange(100.0).view(1, 1, 10, 10).expand(200, 2, -1, -1)
    drawn = swd.patches(places, generator())
    assert drawn.shape == (200 * swd.PER_IMAGE, 2, 7, 7)
    corners = drawn[:, 0, 0, 0]
    assert set(corners.tolist()) == {10.0 * row + column for row in range(4) for column in range(4)}
    assert (drawn - drawn[:, :, :1, :1] == places[:1, :1, :7, :7]).all()


def test_channels_are_normalised_together() -> None:
    x = torch.randn(500, 2, 3, 3, generator=generator()) * torch.tensor([1.0, 50.0])[:, None, None]
    out = swd.normalised(x + 9).view(500, 2, 9)
    for channel in (0, 1):
        assert float(out[:, channel].mean()) == pytest.approx(0, abs=1e-4)
        assert float(out[:, channel].std()) == pytest.approx(1, abs=1e-4)


def test_distance_is_not_wassersteins() -> None:
    a = torch.randn(1000, 1, generator=generator())
    shuffled = a[torch.randperm(1000, generator=generator(1))]
    assert swd.sliced_wasserstein(a, shuffled, generator()) == 0
    assert swd.sliced_wasserstein(a, shuffled + 3, generator()) == pytest.approx(3, rel=1e-5)
    # A shift of length 5 shifts a projection by 5 |cos|. The mean of |cos| is 2 / pi in the plane.
    b = torch.randn(1000, 2, generator=generator())
    found = swd.sliced_wasserstein(b, b + torch.tensor([3.0, 4.0]), generator())
    assert found == pytest.approx(5 * 2 / torch.pi, rel=0.15)


def test_gan_without_labels_cannot_be_measured() -> None:
    catalog.check(["swd", "ms_ssim_pooled"], trainables.load("pggan"), SPEC)


def test_pooled_likeness_misses_a_collapse() -> None:
    def likeness(fakes: Tensor) -> float:
        return ms_ssim_pooled.measure(cast(Any, SimpleNamespace(fakes=fakes)))["ms_ssim"]

    assert likeness(REAL[:1].expand(50, -1, -1, -1)) == pytest.approx(1)
    assert likeness(REAL) < 0.6
    assert likeness(REAL) == pytest.approx(likeness(strokes(400, 1)), abs=0.05)
