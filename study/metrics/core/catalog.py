"""Find metrics by name, check which of them suit a variant and its data, and measure them."""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from study.metrics.core.needs import OFFERS, Need
from study.metrics.core.view import View
from study.records.objective import Direction

if TYPE_CHECKING:
    from trainables.core.gan import Gan
    from trainables.data.base import DataSpec

METRICS = Path(__file__).parents[1]  # the folder of the metric files


class Metric(Protocol):
    """What every metric file defines. `study/metrics/__init__.py` has the optional definitions."""

    NEEDS: frozenset[Need]
    COLUMNS: Mapping[str, str]

    def measure(self, view: View) -> dict[str, float]:
        """Values by column, finite numbers. A column is left out if there are too few fakes."""


def names() -> list[str]:
    """Names of all metric files. The files are not imported."""
    return [module.name for module in pkgutil.iter_modules([str(METRICS)]) if not module.ispkg]


def load(name: str) -> Metric:
    """The metric file of that name.

    Raises:
        ValueError: there is no such metric (the message names the valid ones).
    """
    if name not in names():
        raise ValueError(f"unknown metric {name!r}: choose from {', '.join(names())}")
    return cast(Metric, importlib.import_module(f"study.metrics.{name}"))


def at_end(name: str) -> bool:
    """Whether a metric is slow.

    A slow metric is measured at the end of confirm cells only (on a GPU, at each of their ticks).
    """
    return getattr(load(name), "WHEN", "tick") == "end"


def directions(wanted: Sequence[str]) -> dict[str, Direction]:
    """Which values are better, the low or the high ones, of each column that has better ones."""
    found: dict[str, Direction] = {}
    for name in wanted:
        found |= getattr(load(name), "DIRECTIONS", {})
    return found


def check(wanted: Sequence[str], variant: type[Gan], spec: DataSpec) -> None:
    """Refuse metrics that need something that the variant or the data lack.

    This is called before anything starts.

    Args:
        spec: describes the data that the variant is trained on.

    Raises:
        ValueError: a metric is unknown, or the variant or the data lack what it needs; one line.
    """
    for name in wanted:
        for need in _missing(name, variant, spec):
            what = OFFERS[need][1].format(variant.__name__)
            able = ", ".join(suited(names(), variant, spec))
            raise ValueError(f"metric {name!r} needs {what}: choose from {able}")


def suited(wanted: Sequence[str], variant: type[Gan], spec: DataSpec) -> list[str]:
    """The metrics in `wanted` whose needs the variant and the data meet: see `check`."""
    return [name for name in wanted if not _missing(name, variant, spec)]


def _missing(name: str, variant: type[Gan], spec: DataSpec) -> list[Need]:
    return [need for need in sorted(load(name).NEEDS) if not OFFERS[need][0](variant, spec)]


def measure(view: View, names: Sequence[str]) -> dict[str, float]:
    """Measure all columns of the metrics `names`. The GAN is left exactly as it was.

    Raises:
        FloatingPointError: a value is not finite (the message names its column).
        KeyError: a metric measures a column that is not in its `COLUMNS`.
    """
    # A forward pass in training mode changes BatchNorm averages and spectral norm's vectors. All
    # buffers are restored afterwards, so that measuring does not change what is trained.
    kept = {name: buffer.clone() for name, buffer in view.gan.named_buffers()}
    row: dict[str, float] = {}
    try:
        for name in names:
            metric = load(name)
            values = metric.measure(view)
            if unknown := values.keys() - metric.COLUMNS.keys():
                raise KeyError(f"{name} measures {', '.join(sorted(unknown))}, not in its COLUMNS")
            real = view.reference.on_real
            row |= values | {column: real[column] for column in metric.COLUMNS if column in real}
    finally:
        for name, buffer in view.gan.named_buffers():
            buffer.data.copy_(kept[name])
    return _finite(row)


def on_real(view: View, names: Sequence[str]) -> dict[str, float]:
    """The columns named in the metrics' REAL; the view has real images in place of fakes."""
    row: dict[str, float] = {}
    for name in names:
        columns: Mapping[str, str] = getattr(load(name), "REAL", {})
        values = load(name).measure(view) if columns else {}
        row |= {columns[column]: value for column, value in values.items() if column in columns}
    return _finite(row)


def _finite(row: dict[str, float]) -> dict[str, float]:
    for column, value in row.items():
        if not math.isfinite(value):
            raise FloatingPointError(f"{column} is {value}")
    return row
