"""The contract of a metric."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Sequence
from typing import get_args

import torch

from study.check import need
from study.metrics.core import catalog
from study.metrics.core.judge import Judge
from study.metrics.core.measure_real import build_references
from study.metrics.core.view import View, look
from study.records.objective import Direction
from trainables.core.gan import Gan
from trainables.data import Dataset

OPTIONAL = ("DIRECTIONS", "WHEN", "REAL", "UNBOUNDED", "BY_FEATURES", "BY_LABELS", "HELD_OUT")
SAMPLES = 200  # fakes that a metric is tried on


def columns_are_declared(name: str) -> None:
    metric = catalog.load(name)
    need(metric.__doc__, "it has no docstring, which says what is measured and where it is from")
    need(metric.COLUMNS, "it has no COLUMNS")
    for column, text in metric.COLUMNS.items():
        need(text and "\n" not in text, f"COLUMNS[{column!r}]={text!r}: one line is needed")
        # The report adds it from DIRECTIONS, which alone says which values are better.
        need("er is better" not in text, f"COLUMNS[{column!r}]: DIRECTIONS says what is better")
        clash = column in {"kimg", "seconds"} or column.startswith(("loss/", "train/"))
        need(not clash, f"column {column!r} is one that every cell has")


def what_is_optional_fits_the_columns(name: str) -> None:
    metric = catalog.load(name)
    columns = metric.COLUMNS.keys()
    need(getattr(metric, "WHEN", "end") == "end", 'WHEN can only be "end"')
    directions = catalog.directions([name])
    valid = get_args(Direction)
    need({*directions.values()} <= {*valid}, f"DIRECTIONS: choose from {', '.join(valid)}")
    real = getattr(metric, "REAL", {})
    need(not {*real} & {*real.values()}, "REAL: a column stands for real images of itself")
    named = {"REAL": {*real, *real.values()}, "DIRECTIONS": {*directions}}
    for part in ("UNBOUNDED", "BY_FEATURES", "BY_LABELS"):
        named[part] = {*getattr(metric, part, ())}
    for part, found in named.items():
        unknown = ", ".join(sorted(found - columns))
        need(not unknown, f"{part} names {unknown}, which COLUMNS does not")
    for part in vars(metric).keys() - {*OPTIONAL}:
        meant = difflib.get_close_matches(part, OPTIONAL, n=1, cutoff=0.8)
        need(not meant, f"{part} is no definition of a metric: {' '.join(meant)} is")


def views(
    gan: Gan, dataset: Dataset, judges: Sequence[Judge], name: str
) -> Callable[[], list[View]]:
    """A function that makes views of a GAN's fakes, as a study's cells have them."""
    references = build_references(judges, dataset, SAMPLES, 0, (name,))
    train = torch.from_numpy(dataset.train.x), torch.from_numpy(dataset.train.y)
    return lambda: look(gan, references, judges, torch.Generator().manual_seed(0), train=train)


def values_are_finite_and_repeat(name: str, make: Callable[[], list[View]]) -> None:
    """Measure the same fakes twice.

    Args:
        make: the views, made anew.
    """
    rows = [catalog.measure(make(), [name]) for _ in range(2)]
    need(rows[0], "no column was measured")
    for column, value in rows[0].items():
        need(math.isfinite(value), f"{column} is {value}")
        again = rows[1].get(column)
        need(again == value, f"{column} is {value}, and {again} with the same random numbers")


def training_goes_on_as_if_not_measured(name: str, make: Callable[[], list[View]]) -> None:
    seen = make()
    gan = seen[0].gan
    before = {key: value.clone() for key, value in gan.state_dict().items()}
    training = [module.training for module in gan.modules()]
    state = torch.get_rng_state()
    catalog.measure(seen, [name])
    need(torch.equal(state, torch.get_rng_state()), "it draws from torch's global random state")
    for key, value in gan.state_dict().items():
        need(torch.equal(value, before[key]), f"it changes {key} of the GAN")
    modes = [module.training for module in gan.modules()]
    need(modes == training, "it leaves networks in another mode")


DECLARED = (columns_are_declared, what_is_optional_fits_the_columns)
# In this order, because the second would not notice what the first has changed for good.
MEASURED = (training_goes_on_as_if_not_measured, values_are_finite_and_repeat)
