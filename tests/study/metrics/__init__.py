"""Tests of the metrics. Most of them need one judge only."""

from __future__ import annotations

from collections.abc import Sequence

from study.metrics.core import catalog
from study.metrics.core.view import View


def measure(view: View, names: Sequence[str]) -> dict[str, float]:
    """What the metrics `names` measure with the eyes of one judge."""
    return catalog.measure([view], names)
