"""Truncation's curve on generators for which the right answer is known.

The tests check that z is cut at the thresholds, and that gains and losses have the right sign.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

import trainables
from search_spaces.biggan_truncation import STUDY
from study.metrics import truncation
from study.metrics.core import catalog
from study.metrics.core.frechet import moments
from study.metrics.core.reference import Reference
from study.metrics.core.view import View, look
from study.metrics.truncation import THRESHOLDS, truncated_normal
from tests.study.metrics import measure
from tests.study.tiny import SPEC

CLASSES, Z_DIM, N = 2, 3, 400


class PixelJudges:
    """Reads the label off the first pixel; the features are the other three."""

    def logits(self, x: Tensor) -> Any:
        return np.eye(CLASSES)[x[:, 0, 0, 0].numpy()]

    def features(self, x: Tensor) -> Any:
        return x[:, 0, 0, 1:].double().numpy()


class FakeGan(nn.Module):
    """Pixels are 100 + spread * (z - z_mean) / z_std: z's mean gives the real images' centre."""

    conditional: ClassVar[bool] = True

    def __init__(self, spread: float, z_mean: float = 0.0, z_std: float = 1.0) -> None:
        super().__init__()
        self.config = SimpleNamespace(z_dim=Z_DIM, z_mean=z_mean, z_std=z_std)
        self.device, self.spread = torch.device("cpu"), spread
        self.seen: list[Tensor] = []

    def sample(self, y: Tensor, n: int, rng: torch.Generator, z: Tensor | None = None) -> Tensor:
        if z is None:
            z = torch.randn(n, Z_DIM, generator=rng) * self.config.z_std + self.config.z_mean
        z = (z - self.config.z_mean) / self.config.z_std
        self.seen.append(z)
        pixels = (100 + self.spread * z).round().clamp(0, 255)
        return torch.cat([y[:, None].float(), pixels], dim=1)[:, None, None].to(torch.uint8)


def view(gan: Any, seed: int = 0) -> View:
    rng = np.random.default_rng(0)
    real = 100 + 20 * rng.standard_normal((N, Z_DIM))
    many = moments(100 + 20 * rng.standard_normal((5000, Z_DIM)))
    reference = Reference(
        samples=N,
        mean=torch.from_numpy(many.mean),
        cov=torch.from_numpy(many.cov),
        fcd_floor=1.0,
        class_traces=torch.ones(CLASSES, dtype=torch.float64),
        label_accuracy_real=1.0,
        marginal=torch.full((CLASSES,), 1 / CLASSES, dtype=torch.float64),
        x=torch.zeros(0),
        y=torch.zeros(0),
        real=torch.from_numpy(real),
        real_y=torch.arange(N) % CLASSES,
    )
    judges: Any = PixelJudges()
    return look(gan, [reference], [judges], torch.Generator().manual_seed(seed))[0]


def test_wide_generator_gains_nothing_or_loses_nothing() -> None:
    """The fakes are spread twice as wide as the real images.

    A cut of z moves the fakes in among the real images, and leaves some real images out.
    """
    row = measure(view(FakeGan(40)), ["truncation", "fcd", "labels", "prdc"])
    assert row["truncation/precision/inf"] < 0.9
    assert row["truncation/precision/0.25"] == 1
    assert row["truncation/precision_gain"] == pytest.approx(1 - row["truncation/precision/inf"])
    assert row["truncation/recall_loss"] > 0.4
    assert row["truncation/precision_tau"] > 0.7
    assert row["truncation/recall_tau"] > 0.7
    for column in ("precision", "recall", "fcd", "label_accuracy"):
        assert row[f"truncation/{column}/inf"] == row[column], "untruncated are other fakes"
        assert f"truncation/{column}/2" in row
    assert row["truncation/label_accuracy/0.5"] == 1
    assert row["truncation/fcd/1"] < row["fcd"]


def test_generator_that_ignores_z_seems_to_gain() -> None:
    row = measure(view(FakeGan(0)), ["truncation"])
    for column in ("precision_gain", "recall_loss", "precision_tau", "recall_tau"):
        assert row[f"truncation/{column}"] == 0
        (claim,) = [c for c in STUDY.claims if c.metric == f"truncation/{column}"]
        assert claim.region[0] > 0, "a collapse would support the claim"


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_z_is_not_truncated_normal(threshold: float) -> None:
    u = torch.rand(4000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    z = truncated_normal(u, threshold)
    assert z.abs().max() <= threshold
    exact = stats.truncnorm(-threshold, threshold) if math.isfinite(threshold) else stats.norm()
    assert stats.kstest(z.numpy(), exact.cdf).pvalue > 0.01


def test_thresholds_see_other_labels_or_other_noise() -> None:
    """The points of the curve would then differ by chance as well."""
    gan = FakeGan(20, z_mean=0.5, z_std=2.0)
    seen = view(gan)
    measure(seen, ["truncation"])
    assert len(gan.seen) == len(THRESHOLDS)
    for z, threshold in zip(gan.seen[1:], THRESHOLDS[1:], strict=True):
        assert z.abs().max() <= threshold + 1e-6
        assert z.abs().max() > 0.95 * threshold
        order = stats.spearmanr(z[:, 0], gan.seen[1][:, 0]).statistic
        assert order == pytest.approx(1), "another draw of u"


def test_too_few_fakes_crash() -> None:
    seen = view(FakeGan(20))
    few = View(seen.gan, seen.reference, seen.judge, seen.fakes[:6], seen.y[:6], seen.rng)
    assert measure(few, ["truncation"]) == {}


def test_variant_without_a_normal_z_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("biggan", "cgan", "acgan"):
        catalog.check(["truncation"], trainables.load(name), SPEC)
    other = trainables.load("cgan")
    monkeypatch.setattr(other, "truncates", False)
    with pytest.raises(ValueError, match="'truncation' needs a normal z that is all of G's"):
        catalog.check(["truncation"], other, SPEC)


def test_it_is_measured_at_every_tick() -> None:
    assert catalog.at_end("truncation")
    assert all("\n" not in text for text in truncation.COLUMNS.values())
