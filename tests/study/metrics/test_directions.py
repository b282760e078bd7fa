"""Which values of a column are better, the low or the high ones, as its metric declares.

If these tests fail, a search looks for the worst generator.
"""

from __future__ import annotations

from typing import Any, ClassVar, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from study.metrics.core import catalog
from study.metrics.core.judge import Judge
from study.metrics.core.measure_real import build_references
from study.metrics.core.view import look
from study.records.objective import cost
from tests.study import tiny

METRICS = ["fcd", "kcd", "prdc", "intra_fcd", "labels", "swd"]
SAMPLES = 90


class Source(nn.Module):
    """Images of the labels asked for, with noise in a share of the pixels."""

    conditional: ClassVar[bool] = True

    def __init__(self, noisy: float) -> None:
        super().__init__()
        self.noisy, self.data = noisy, tiny.bars(2_000, 5)

    def sample(self, y: Tensor, n: int, rng: torch.Generator) -> Tensor:
        random = np.random.default_rng(0)
        rows = [random.choice(np.flatnonzero(self.data.y == label)) for label in y.numpy()]
        x = self.data.x[rows].copy()
        noise = random.integers(0, 256, x.shape)
        return torch.from_numpy(np.where(random.random(x.shape) < self.noisy, noise, x)).to(
            torch.uint8
        )


def measure(judges: list[Judge], noisy: float) -> dict[str, float]:
    references = build_references(judges, tiny.dataset(), SAMPLES, 0, METRICS)
    rng = torch.Generator().manual_seed(0)
    return catalog.measure(look(cast(Any, Source(noisy)), references, judges, rng), METRICS)


@pytest.fixture(scope="module")
def good_and_bad(judges: list[Judge]) -> tuple[dict[str, float], dict[str, float]]:
    return measure(judges, 0.0), measure(judges, 1.0)


def test_metrics_here_declare_few_directions() -> None:
    """The test below would pass for nothing."""
    assert len(catalog.directions(METRICS)) >= 13


@pytest.mark.parametrize("column", sorted(catalog.directions(METRICS)))
def test_noise_is_better_than_fresh_real_images(
    good_and_bad: tuple[dict[str, float], dict[str, float]], column: str
) -> None:
    good, bad = (cost(row[column], catalog.directions(METRICS)[column]) for row in good_and_bad)
    assert good < bad
