"""Metrics: one family = one file of this folder, found by itself.

A metric file defines `NEEDS`, `COLUMNS` and `measure`; other files here are helpers:

```
NEEDS = frozenset({"labels"})           # what variant and data must offer: see `Need`
COLUMNS = {"label_accuracy": "judge's ...; higher is better"}  # protocol of each column
def measure(view: View) -> dict[str, float]: ...
```

and, where it wants to,

```
WHEN = "end"                      # it is slow: at the end of confirm cells only
REAL = {"recall": "recall_real"}  # measured once of real images too, as the column named here
HELD_OUT = 10_000                 # held-out real images in `Reference.x`, at most; else 1,024
```
"""

from __future__ import annotations

import ast
import functools
import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, cast

from study.metrics.view import View

if TYPE_CHECKING:
    from trainables.core.gan import Gan
    from trainables.data.base import Look

__all__ = [
    "Metric",
    "Need",
    "View",
    "at_end",
    "check",
    "load",
    "measure",
    "names",
    "on_real",
    "suited",
]

Need = Literal[
    "labels",
    "classifies",
    "encodes",
    "tangents",
    "truncates",
    "one_label",
    "several_labels",
    "translates",
    "paired",
    "points",
]
# Whether a variant, on such data, has what is needed; and what it is, for one that has not.
_OFFERS: dict[Need, tuple[Callable[[type[Gan], Look], bool], str]] = {
    "labels": (lambda gan, _: gan.conditional, "a generator that takes labels, which {} has not"),
    "classifies": (lambda gan, _: gan.classifies, "a class head in D, which {} has not"),
    "encodes": (lambda gan, _: gan.encodes, "an encoder, which {} has not"),
    "tangents": (lambda gan, _: gan.spans, "tangents of the data, which {} does not know"),
    "truncates": (
        lambda gan, _: gan.truncates,
        "a normal z that is all of G's randomness and can be cut, which {} has not",
    ),
    "one_label": (
        lambda _, look: look.labels == 1,
        "one label per image, and these data have several",
    ),
    "several_labels": (
        lambda _, look: look.labels > 1,
        "several labels per image, and these data have one",
    ),
    "translates": (
        lambda gan, _: gan.translates,
        "a generator that translates images, which {} does not",
    ),
    "paired": (
        lambda _, look: look.paired,
        "images in pairs of two domains, and these data are of one",
    ),
    "points": (lambda _, look: look.points, "points in the plane, and these data are images"),
}


class Metric(Protocol):
    """What a metric file offers."""

    NEEDS: frozenset[Need]
    COLUMNS: Mapping[str, str]

    def measure(self, view: View) -> dict[str, float]:
        """Values of the columns, all of them finite numbers; what has too few fakes is left out."""


def names() -> list[str]:
    """Names of all metric files. Imports none of them."""
    return sorted(p.stem for p in Path(__file__).parent.glob("*.py") if _is_metric(p))


def load(name: str) -> Metric:
    """The metric file of that name.

    Raises:
        ValueError: no such metric (the message names the valid ones).
    """
    if name not in names():
        raise ValueError(f"unknown metric {name!r}: choose from {', '.join(names())}")
    return cast(Metric, importlib.import_module(f"{__name__}.{name}"))


def at_end(name: str) -> bool:
    """Whether a metric is slow, and so measured at the end of confirm cells only."""
    return getattr(load(name), "WHEN", "tick") == "end"


def check(wanted: Sequence[str], variant: type[Gan], look: Look) -> None:
    """Refuse a metric that needs what a variant or the data lack, before anything starts.

    Args:
        look: what the data look like.

    Raises:
        ValueError: unknown metric, or one that cannot be served; one line.
    """
    for name in wanted:
        for need in _missing(name, variant, look):
            what = _OFFERS[need][1].format(variant.__name__)
            able = ", ".join(suited(names(), variant, look))
            raise ValueError(f"metric {name!r} needs {what}: choose from {able}")


def suited(wanted: Sequence[str], variant: type[Gan], look: Look) -> list[str]:
    """Those metrics that a variant can serve on such data: see `check`."""
    return [name for name in wanted if not _missing(name, variant, look)]


def _missing(name: str, variant: type[Gan], look: Look) -> list[Need]:
    return [need for need in sorted(load(name).NEEDS) if not _OFFERS[need][0](variant, look)]


def measure(view: View, names: Sequence[str]) -> dict[str, float]:
    """All columns of the metrics `names`. The GAN is left exactly as it was.

    Raises:
        FloatingPointError: a value is not finite (the message names its column).
    """
    # In training mode a forward pass of D moves BN averages and spectral norm's vectors:
    # how often one measures must not change what is trained.
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
    """The columns in the metrics' REAL, of a view of real images in place of the fakes."""
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


@functools.cache  # asked at every tick
def _is_metric(path: Path) -> bool:
    tree = ast.parse(path.read_text())
    targets = [
        target
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    ]
    return any(isinstance(target, ast.Name) and target.id == "NEEDS" for target in targets)
