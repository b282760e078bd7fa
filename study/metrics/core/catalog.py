"""Find metrics by name, check which of them suit a variant and its data, and measure them."""

from __future__ import annotations

import functools
import importlib
import math
import pkgutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast, get_args

from study.metrics.core.needs import description, is_offered
from study.metrics.core.reference import unreadable
from study.metrics.core.view import View
from study.records.columns import judge_column
from study.records.objective import Direction

if TYPE_CHECKING:
    from trainables.core.gan import Gan
    from trainables.data.base import DataSpec

METRICS = Path(__file__).parents[1]  # the folder of the metric files


class Metric(Protocol):
    """What every metric file defines. `study/metrics/__init__.py` has the optional definitions."""

    __name__: str  # of the module
    NEEDS: frozenset[str]  # see core/needs.py
    COLUMNS: Mapping[str, str]

    def measure(self, view: View) -> dict[str, float]:
        """Values by column, finite numbers. A column is left out if there are too few fakes."""


_added: dict[str, Metric] = {}


def add(name: str, metric: Metric) -> None:
    """Make a metric from anywhere known by a name, until this process ends.

    Raises:
        ValueError: it lacks something that a metric defines, or has it in another form.
    """
    for part in ("__name__", "NEEDS", "COLUMNS", "measure"):
        if not hasattr(metric, part):
            raise ValueError(f"metric {name!r} defines no {part}")
    texts = isinstance(metric.COLUMNS, Mapping) and metric.COLUMNS
    if not texts or not all(isinstance(t, str) for item in metric.COLUMNS.items() for t in item):
        raise ValueError(f"metric {name!r}: COLUMNS={metric.COLUMNS!r}: columns and meanings")
    if not isinstance(metric.NEEDS, frozenset | set):
        raise ValueError(f"metric {name!r}: NEEDS={metric.NEEDS!r}: a frozenset is needed")
    directions = getattr(metric, "DIRECTIONS", {})
    valid = get_args(Direction)
    if not isinstance(directions, Mapping) or not {*directions.values()} <= {*valid}:
        choices = ", ".join(valid)
        raise ValueError(f"metric {name!r}: DIRECTIONS={directions!r}: choose from {choices}")
    _added[name] = metric


@functools.cache  # a cell asks at each tick
def names() -> list[str]:
    """Names of all metric files. The files are not imported."""
    return [module.name for module in pkgutil.iter_modules([str(METRICS)]) if not module.ispkg]


def load(name: str) -> Metric:
    """The metric file of that name.

    Raises:
        ValueError: there is no such metric (the message names the valid ones).
    """
    if name in _added:
        return _added[name]
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
            what = description(need).format(variant.__name__)
            able = ", ".join(suited(names(), variant, spec))
            raise ValueError(f"metric {name!r} needs {what}: choose from {able}")


def suited(wanted: Sequence[str], variant: type[Gan], spec: DataSpec) -> list[str]:
    """The metrics in `wanted` whose needs the variant and the data meet: see `check`."""
    return [name for name in wanted if not _missing(name, variant, spec)]


def _missing(name: str, variant: type[Gan], spec: DataSpec) -> list[str]:
    return [need for need in sorted(load(name).NEEDS) if not is_offered(need, variant, spec)]


def measure(views: Sequence[View], names: Sequence[str]) -> dict[str, float]:
    """Measure all columns of the metrics `names`. The GAN is left exactly as it was.

    A column that depends on the judge is the mean over the judges. The values of the single judges
    are added as columns of their own, which `columns.judge_column` names. Columns that depend on
    labels are left out where the judges cannot read labels (see `reference.unreadable`).

    Args:
        views: of one evaluation by each judge.

    Raises:
        FloatingPointError: a value is not finite (the message names its column).
        KeyError: a metric measures a column that is not in its `COLUMNS`.
    """
    gan, blind = views[0].gan, unreadable([view.reference for view in views]) is not None
    # A forward pass in training mode changes BatchNorm averages and spectral norm's vectors. All
    # buffers are restored afterwards, so that measuring does not change what is trained.
    kept = {name: buffer.clone() for name, buffer in gan.named_buffers()}
    row: dict[str, float] = {}
    try:
        for metric in map(load, names):
            hidden = by_labels(metric) if blind else frozenset()
            if hidden >= metric.COLUMNS.keys():
                continue
            rows = _by_judge(metric, views)
            for values, view in zip(rows, views, strict=True):
                real = view.reference.on_real
                values |= {column: real[column] for column in metric.COLUMNS if column in real}
            row |= _joined(metric, [{c: v for c, v in r.items() if c not in hidden} for r in rows])
    finally:
        for name, buffer in gan.named_buffers():
            buffer.data.copy_(kept[name])
    return _finite(row)


def on_real(views: Sequence[View], names: Sequence[str]) -> list[dict[str, float]]:
    """The columns named in the metrics' REAL, by each judge. The views' fakes are real images."""
    found: list[dict[str, float]] = [{} for _ in views]
    for metric in map(load, names):
        columns: Mapping[str, str] = getattr(metric, "REAL", {})
        if columns:
            for known, values in zip(found, _by_judge(metric, views), strict=True):
                known |= {columns[column]: v for column, v in values.items() if column in columns}
    return [_finite(row) for row in found]


def columns_by_labels(names: Sequence[str]) -> frozenset[str]:
    """The columns of metrics that depend on the labels that a judge reads."""
    return frozenset[str]().union(*(by_labels(load(name)) for name in names))


def by_labels(metric: Metric) -> frozenset[str]:
    """The columns of a metric that depend on the labels that a judge reads."""
    return frozenset(getattr(metric, "BY_LABELS", ()))


def judged(metric: Metric) -> frozenset[str]:
    """The columns of a metric that depend on the judge."""
    return by_labels(metric) | getattr(metric, "BY_FEATURES", frozenset())


def _by_judge(metric: Metric, views: Sequence[View]) -> list[dict[str, float]]:
    """What a metric measures with each judge's eyes, drawing the same random numbers for each.

    A metric that does not depend on the judge is measured once.
    """
    rng, rows = views[0].rng, []
    state = rng.get_state()
    for view in views if judged(metric) else views[:1]:
        rng.set_state(state)
        values = metric.measure(view)
        if unknown := values.keys() - metric.COLUMNS.keys():
            columns = ", ".join(sorted(unknown))
            raise KeyError(f"{metric.__name__} measures {columns}, not in its COLUMNS")
        rows.append(dict(values))
    return rows if judged(metric) else [dict(rows[0]) for _ in views]


def _joined(metric: Metric, rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """The columns of all judges in one row. A column that one judge lacks is left out."""
    row: dict[str, float] = {}
    for column, value in rows[0].items():
        if column not in judged(metric):
            row[column] = value
        elif all(column in other for other in rows):
            values = [other[column] for other in rows]
            row[column] = sum(values) / len(values)
            if len(rows) > 1:
                row |= {judge_column(place, column): v for place, v in enumerate(values)}
    return row


def _finite(row: dict[str, float]) -> dict[str, float]:
    for column, value in row.items():
        if not math.isfinite(value):
            raise FloatingPointError(f"{column} is {value}")
    return row
