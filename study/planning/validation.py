"""Check a study's declaration against the data, the metrics, the variants and its own space.

A declaration cannot check this itself, because `search_spaces/` imports nothing heavy. So it is
checked before a study runs. Such errors would otherwise fail every cell, or end the study after
hours.
"""

from __future__ import annotations

import functools

import torch

import trainables
from search_spaces.core import IMPORTANCE, LOSS, TRAIN, Study
from study.metrics.core import catalog
from study.planning.plan import Plan
from study.planning.probe import probe
from study.records.columns import TIMING_COLUMNS
from trainables import data
from trainables.core.config import Config
from trainables.data.base import DataSpec


def check_study(study: Study) -> None:
    """Refuse unknown data or metrics, and an objective or claim on a column that does not suit it.

    An objective is measured at every tick and is better high or low. So is what a claim on the
    largest relapse looks at. All other columns of claims are measured at all.

    Raises:
        ValueError: one line that names the bad value and the valid ones.
    """
    for name in (study.data, study.stand_in):
        if not data.is_known(name):
            raise ValueError(f"unknown data {name!r}: choose from {', '.join(data.names())}")
    if "fid" in study.metrics:
        raise ValueError("metric 'fid' is measured where fid=True, at the end of confirm cells")
    columns = [column for name in study.metrics for column in catalog.load(name).COLUMNS]
    seen: dict[str, str] = {}
    for name in (*study.metrics, "fid"):
        for column in catalog.load(name).COLUMNS:
            if (other := seen.setdefault(column, name)) != name:
                raise ValueError(f"metrics {other!r} and {name!r} both have a column {column!r}")
            if column in (*TIMING_COLUMNS, "kimg") or column.startswith((LOSS, TRAIN)):
                raise ValueError(f"metric {name!r}: every cell has a column {column!r} already")
    slow = {c for name in study.metrics if catalog.at_end(name) for c in catalog.load(name).COLUMNS}
    steady = [column for column in columns if column not in slow]
    directions = catalog.directions((*study.metrics, "fid"))
    directed = [column for column in steady if column in directions]
    if study.objective not in directed:
        raise ValueError(f"objective {study.objective!r}: choose from {', '.join(directed)}")
    if study.fid:
        columns += catalog.load("fid").COLUMNS
    if study.failure is not None and study.failure.metric not in steady:
        valid = ", ".join(steady)
        raise ValueError(f"failure: metric {study.failure.metric!r}: choose from {valid}")
    unbounded = {
        column
        for name in (*study.metrics, "fid")
        for column in getattr(catalog.load(name), "UNBOUNDED", ())
    }
    for claim in study.claims:
        losses = any(column.startswith(LOSS) for column in claim.columns)
        if not claim.log and (losses or unbounded & {*claim.columns}):
            needed = "log=True is needed, because it has no upper bound"
            raise ValueError(f"claim {claim.id}: metric {claim.metric!r}: {needed}")
        moments = [group.at for group in (claim.of, claim.against) if group is not None]
        one_loss = losses and claim.over is None
        if "largest_relapse" in moments and not (one_loss or claim.quantity in directed):
            valid = ", ".join(directed)
            raise ValueError(
                f"claim {claim.id}: largest_relapse of {claim.quantity!r}: choose a loss or {valid}"
            )
        for column in claim.columns:
            if column in (*columns, *TIMING_COLUMNS) or column.startswith(
                (IMPORTANCE, LOSS, TRAIN)
            ):
                continue
            valid = ", ".join([*columns, *TIMING_COLUMNS])
            example = f"or a loss, as in {LOSS}d/class_real"
            raise ValueError(f"claim {claim.id}: metric {column!r}: choose from {valid}, {example}")


def check_metrics(study: Study, spec: DataSpec) -> None:
    """Refuse metrics and claims that the study's conditions cannot serve.

    Every metric needs a condition whose variant can serve it on the data. Every condition needs the
    objective, and the columns of the claims on it. A claim on a best configuration or on an
    importance needs a condition that is searched.

    Args:
        spec: of the data that the study runs on.

    Raises:
        ValueError: one line.
    """
    variants = {
        name: trainables.load(condition.get("variant", study.variant))
        for name, condition in study.conditions.items()
    }
    able = {
        name: catalog.suited(study.metrics, variant, spec) for name, variant in variants.items()
    }
    for metric in study.metrics:
        if not any(metric in served for served in able.values()):
            first = next(iter(variants.values()))
            try:
                catalog.check([metric], first, spec)
            except ValueError as error:
                own = " or ".join(dict.fromkeys((study.data, study.stand_in)))
                raise ValueError(f"{error}; the study's own data are {own}") from None
    fid = catalog.load("fid").COLUMNS if study.fid else {}
    columns = {
        name: [column for metric in served for column in catalog.load(metric).COLUMNS]
        for name, served in able.items()
    }
    wanted = [("objective", study.objective, name) for name in variants]
    for claim in study.claims:
        searched = study.conditions if study.searched is None else study.searched
        for group in (claim.of, claim.against):
            of_search = claim.metric.startswith(IMPORTANCE) or (group and group.config == "best")
            if group and of_search and (study.space is None or group.condition not in searched):
                raise ValueError(f"claim {claim.id}: {group.condition!r} is not searched in")
        if claim.metric.startswith(IMPORTANCE):
            continue
        groups = [group for group in (claim.of, claim.against) if group is not None]
        measured = [column for column in claim.columns if not column.startswith((LOSS, TRAIN))]
        wanted += [(f"claim {claim.id}", c, group.condition) for group in groups for c in measured]
    for what, column, name in wanted:
        if column not in (*columns[name], *fid, *TIMING_COLUMNS):
            raise ValueError(
                f"{what}: {column} is not measured in condition {name}: "
                f"choose from {', '.join(columns[name])}"
            )


def check_losses(plan: Plan) -> None:
    """Refuse a claim on a loss or other column of training that its variant does not report.

    Raises:
        ValueError: one line.
    """

    @functools.cache
    def reported(condition: str) -> list[str]:
        terms = probe(plan, condition, torch.device("cpu")).run(0)
        return sorted(name for name in terms if name.startswith((LOSS, TRAIN)))

    for claim in plan.study.claims:
        for group in (claim.of, claim.against):
            if group is None or group.condition not in plan.conditions:
                continue
            for column in claim.columns:
                if column.startswith((LOSS, TRAIN)) and column not in reported(group.condition):
                    valid = ", ".join(reported(group.condition))
                    raise ValueError(
                        f"claim {claim.id}: {column} is no loss or other column of training of "
                        f"{group.condition}: choose from {valid}"
                    )


def check_data_spec(plan: Plan, condition: str, config: Config) -> None:
    """Refuse several labels, points in the plane or small images, if a condition cannot use them.

    Raises:
        ValueError: one line.
    """
    variant = trainables.load(plan.variant(condition))
    if plan.data_spec.points and not variant.on_points:
        raise ValueError(f"{plan.data} has points in the plane: {condition} takes images only")
    if min(plan.size) < (least := variant.least_side) and not plan.data_spec.points:
        height, width = plan.size
        raise ValueError(f"{plan.data} has images of {height}x{width}: {condition} takes {least}+")
    if plan.labels == 1:
        return
    if (variant.conditional or variant.classifies) and not variant.multilabel:
        raise ValueError(f"{plan.data} has several labels per image: {condition} takes one")
    if config.balanced:
        raise ValueError(f"balanced=True: {plan.data} has several labels per image")
