"""Check a study's declaration against the data, the metrics, the variants and its own space.

A declaration cannot check this itself, because `search_spaces/` imports nothing heavy. So it is
checked before a study runs. Such errors would otherwise fail every cell, or end the study after
hours.
"""

from __future__ import annotations

import functools
import json
import warnings
from collections.abc import Mapping
from typing import Any, cast

import optuna
import torch

import trainables
from search_spaces.core import IMPORTANCE, LOSS, Study, check_plain
from study.metrics.core import catalog
from study.planning.plan import Plan
from study.planning.probe import probe
from study.planning.space import PartialFixedTrial
from study.records.records import TIMING_COLUMNS
from trainables import data
from trainables.core.config import Config
from trainables.data.base import DataSpec

PROBES = 100  # times that a check runs a space with random values


def check_study(study: Study) -> None:
    """Refuse unknown data or metrics, and an objective or claim on a column that does not suit it.

    An objective is measured at every tick and is better high or low. So is what a claim on the
    largest relapse looks at. All other columns of claims are measured at all.

    Raises:
        ValueError: one line that names the bad value and the valid ones.
    """
    for name in (study.data, study.stand_in):
        if name not in data.names():
            raise ValueError(f"unknown data {name!r}: choose from {', '.join(data.names())}")
    if "fid" in study.metrics:
        raise ValueError("metric 'fid' is measured where fid=True, at the end of confirm cells")
    columns = [column for name in study.metrics for column in catalog.load(name).COLUMNS]
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
        if "largest_relapse" in moments and claim.quantity not in directed:
            valid = ", ".join(directed)
            raise ValueError(
                f"claim {claim.id}: largest_relapse of {claim.quantity!r}: choose from {valid}"
            )
        for column in claim.columns:
            if column in (*columns, *TIMING_COLUMNS) or column.startswith((IMPORTANCE, LOSS)):
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
        measured = [column for column in claim.columns if not column.startswith(LOSS)]
        wanted += [(f"claim {claim.id}", c, group.condition) for group in groups for c in measured]
    for what, column, name in wanted:
        if column not in (*columns[name], *fid, *TIMING_COLUMNS):
            raise ValueError(
                f"{what}: {column} is not measured in condition {name}: "
                f"choose from {', '.join(columns[name])}"
            )


def check_losses(plan: Plan) -> None:
    """Refuse a claim on a loss that its condition's variant does not report.

    Raises:
        ValueError: one line.
    """

    @functools.cache
    def reported(condition: str) -> list[str]:
        terms = probe(plan, condition, torch.device("cpu")).run(0)
        return sorted(name for name in terms if name.startswith(LOSS))

    for claim in plan.study.claims:
        for group in (claim.of, claim.against):
            if group is None or group.condition not in plan.conditions:
                continue
            for column in claim.columns:
                if column.startswith(LOSS) and column not in reported(group.condition):
                    valid = ", ".join(reported(group.condition))
                    raise ValueError(
                        f"claim {claim.id}: {column} is no loss of {group.condition}: "
                        f"choose from {valid}"
                    )


def check_data_spec(plan: Plan, condition: str, config: Config) -> None:
    """Refuse images with several labels, or points in the plane, if a condition cannot use them.

    Raises:
        ValueError: one line.
    """
    variant = trainables.load(plan.variant(condition))
    if plan.data_spec.points and not variant.on_points:
        raise ValueError(f"{plan.data} has points in the plane: {condition} takes images only")
    if plan.labels == 1:
        return
    if (variant.conditional or variant.classifies) and not variant.multilabel:
        raise ValueError(f"{plan.data} has several labels per image: {condition} takes one")
    if config.balanced:
        raise ValueError(f"balanced=True: {plan.data} has several labels per image")


def check_space(plan: Plan) -> None:
    """Refuse a space, or --set values, if search cells could not be made from them or would fail.

    Raises:
        ValueError: one line.
    """
    if plan.study.space is None:
        return
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Optuna only warns about here is refused below
        distributions = _distributions(plan.study)
        valid = ", ".join(sorted(distributions))
        for claim in plan.study.claims:
            name = claim.metric.removeprefix(IMPORTANCE)
            if name != claim.metric and name not in distributions:
                raise ValueError(f"claim {claim.id}: no parameter {name!r}: choose from {valid}")
        if unknown := sorted(plan.study.reference_params.keys() - distributions.keys()):
            raise ValueError(
                f"reference_params: unknown parameter {unknown[0]!r}: choose from {valid}"
            )
        if "classes" in distributions:
            _check_classes(plan, distributions["classes"])
        for name in plan.searched:
            if plan.labels > 1 and plan.class_counts(name)[0] < plan.classes:
                raise ValueError(
                    f"the space suggests classes: images of {plan.data} have several labels"
                )
            _check_suggestions(plan, name)
            _check_reference_params(plan, name, distributions)


def _check_classes(plan: Plan, distribution: optuna.distributions.BaseDistribution) -> None:
    choices = getattr(distribution, "choices", (None,))
    if not all(type(n) is int and 1 <= n <= plan.classes for n in choices):
        needed = f"a choice of whole numbers from 1 to {plan.classes}, the classes of {plan.data}"
        raise ValueError(f"the space suggests classes from {distribution}: {needed}, is needed")
    if plan.budget.seeds:
        raise ValueError("the space suggests classes: a search alone, with seeds=0, is needed")


def _distributions(study: Study) -> dict[str, optuna.distributions.BaseDistribution]:
    """Every parameter that the space suggests, with its distribution.

    Raises:
        ValueError: a parameter has two distributions, or one that JSON cannot hold.
    """
    found: dict[str, optuna.distributions.BaseDistribution] = {}
    probe = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(PROBES):
        trial = probe.ask()
        _suggest(study, trial, {})
        for name, distribution in trial.distributions.items():
            if found.setdefault(name, distribution) != distribution:
                raise ValueError(f"the space suggests {name} from two ranges: give them two names")
    for name, distribution in found.items():
        text = optuna.distributions.distribution_to_json(distribution)
        try:
            json.dumps(json.loads(text), allow_nan=False)
            same = optuna.distributions.json_to_distribution(text) == distribution
        except ValueError:
            same = False
        if not same:
            raise ValueError(f"the space suggests {name} from {distribution}: it must be JSON")
    return found


def _suggest(study: Study, trial: optuna.Trial, overrides: Mapping[str, Any]) -> dict[str, Any]:
    assert study.space is not None
    try:
        values = study.space(cast(optuna.Trial, PartialFixedTrial(trial, overrides)))
    except Exception as error:  # an unfinished space may raise anything
        raise ValueError(f"the space raises {type(error).__name__}: {error}") from error
    check_plain("what the space returns", values)
    return values


def _check_suggestions(plan: Plan, condition: str) -> None:
    """Refuse a space that suggests values which the condition's variant does not take.

    The values that --set fixes are part of what is checked.

    Raises:
        ValueError: one line.
    """
    probe = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    config = trainables.load(plan.variant(condition)).config_type
    counts = plan.class_counts(condition)
    for _ in range(PROBES):
        values = _suggest(plan.study, probe.ask(), plan.overrides)
        if (n := values.get("classes", counts[0])) not in counts:
            raise ValueError(f"the space returns classes={n!r}: suggest them by that name")
        try:
            parsed = config.parse(plan.hyperparameters(condition, values))
            check_data_spec(plan, condition, parsed)
        except ValueError as error:
            advice = "fix it with --set too, or give --trials 0" if plan.overrides else ""
            line = f"{error}; the search suggests that: {advice}".rstrip(": ")
            raise ValueError(line) from None


def _check_reference_params(
    plan: Plan, condition: str, distributions: Mapping[str, optuna.distributions.BaseDistribution]
) -> None:
    """Refuse a reference recipe that lies outside the space: it is the first search cell.

    Raises:
        ValueError: one line.
    """
    recipe = plan.hyperparameters(condition)
    known = {name: recipe[name] for name in distributions if name in recipe}
    study = optuna.create_study()
    study.enqueue_trial({**known, **plan.study.reference_params})
    trial = study.ask()
    try:
        _suggest(plan.study, trial, plan.overrides)
        # The search records its trials with `create_trial`, too. Only there does Optuna refuse
        # values that are out of range.
        optuna.trial.create_trial(params=trial.params, distributions=trial.distributions, value=0.0)
    except ValueError as error:
        raise ValueError(f"{condition}: the reference is not in the space: {error}") from None
