"""What a study declares, against what there is: data, metrics and what its space suggests.

Declarations know neither (`search_spaces/` imports nothing heavy), so this is looked at when a
study is to run: what is wrong would fail every cell, or end the study after hours.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from typing import Any, cast

import optuna

import trainables
from search_spaces.core import IMPORTANCE, Study, check_plain
from study import metrics
from study.plan import Plan
from study.records import CLOCK
from study.search import Fixed
from trainables import data
from trainables.core.config import Config
from trainables.data.base import Look

PROBES = 100  # times that a space is run at random


def check_study(study: Study) -> None:
    """Refuse data that nobody knows and columns that nothing measures.

    Raises:
        ValueError: one line that names the bad value and the valid ones.
    """
    for name in (study.data, study.standin):
        if name not in data.names():
            raise ValueError(f"unknown data {name!r}: choose from {', '.join(data.names())}")
    if "fid" in study.metrics:
        raise ValueError("metric 'fid' is measured where fid=True, at the end of confirm cells")
    columns = [column for name in study.metrics for column in metrics.load(name).COLUMNS]
    slow = {c for name in study.metrics if metrics.at_end(name) for c in metrics.load(name).COLUMNS}
    steady = [column for column in columns if column not in slow]
    if study.objective not in steady:
        raise ValueError(f"objective {study.objective!r}: choose from {', '.join(steady)}")
    if study.fid:
        columns += metrics.load("fid").COLUMNS
    for claim in study.claims:
        if claim.metric not in (*columns, *CLOCK) and not claim.metric.startswith(IMPORTANCE):
            valid = ", ".join([*columns, *CLOCK])
            raise ValueError(f"claim {claim.id}: metric {claim.metric!r}: choose from {valid}")


def check_metrics(study: Study, look: Look) -> None:
    """Refuse a metric that no condition's variant can serve, and a condition that lacks the
    objective or the column of a claim on it.

    Raises:
        ValueError: one line.
    """
    variants = {
        name: trainables.load(condition.get("variant", study.variant))
        for name, condition in study.conditions.items()
    }
    able = {
        name: metrics.suited(study.metrics, variant, look) for name, variant in variants.items()
    }
    for metric in study.metrics:
        if not any(metric in served for served in able.values()):
            first = next(iter(variants.values()))
            try:
                metrics.check([metric], first, look)
            except ValueError as error:
                own = " or ".join(dict.fromkeys((study.data, study.standin)))
                raise ValueError(f"{error}; the study's own data are {own}") from None
    fid = metrics.load("fid").COLUMNS if study.fid else {}
    columns = {
        name: [column for metric in served for column in metrics.load(metric).COLUMNS]
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
        wanted += [(f"claim {claim.id}", claim.metric, group.condition) for group in groups]
    for what, column, name in wanted:
        if column not in (*columns[name], *fid, *CLOCK):
            raise ValueError(
                f"{what}: {column} is not measured in condition {name}: "
                f"choose from {', '.join(columns[name])}"
            )


def check_looks(plan: Plan, condition: str, config: Config) -> None:
    """Refuse data of several labels per image, or points, where a condition cannot do with them.

    Raises:
        ValueError: one line.
    """
    variant = trainables.load(plan.variant(condition))
    if plan.look.points and not variant.on_points:
        raise ValueError(f"{plan.data} has points in the plane: {condition} takes images only")
    if plan.labels == 1:
        return
    if (variant.conditional or variant.classifies) and not variant.multilabel:
        raise ValueError(f"{plan.data} has several labels per image: {condition} takes one")
    if config.balanced:
        raise ValueError(f"balanced=True: {plan.data} has several labels per image")


def check_space(plan: Plan) -> None:
    """Refuse a space, or --set values, of which search cells could not be made or would fail.

    Raises:
        ValueError: one line.
    """
    if plan.study.space is None:
        return
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Optuna warns of here is refused below
        distributions = _distributions(plan.study)
        valid = ", ".join(sorted(distributions))
        for claim in plan.study.claims:
            name = claim.metric.removeprefix(IMPORTANCE)
            if name != claim.metric and name not in distributions:
                raise ValueError(f"claim {claim.id}: no parameter {name!r}: choose from {valid}")
        if unknown := sorted(plan.study.start.keys() - distributions.keys()):
            raise ValueError(f"start: unknown parameter {unknown[0]!r}: choose from {valid}")
        if "classes" in distributions:
            _check_classes(plan, distributions["classes"])
        for name in plan.searched:
            if plan.labels > 1 and plan.class_counts(name)[0] < plan.classes:
                raise ValueError(
                    f"the space suggests classes: images of {plan.data} have several labels"
                )
            _check_suggestions(plan, name)
            _check_start(plan, name, distributions)


def _check_classes(plan: Plan, distribution: optuna.distributions.BaseDistribution) -> None:
    choices = getattr(distribution, "choices", (None,))
    if not all(type(n) is int and 1 <= n <= plan.classes for n in choices):
        needed = f"a choice of whole numbers from 1 to {plan.classes}, the classes of {plan.data}"
        raise ValueError(f"the space suggests classes from {distribution}: {needed}, is needed")
    if plan.budget.seeds:
        raise ValueError("the space suggests classes: a search alone, with seeds=0, is needed")


def _distributions(study: Study) -> dict[str, optuna.distributions.BaseDistribution]:
    """What the space suggests, each parameter from one range that JSON can hold."""
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
        values = study.space(cast(optuna.Trial, Fixed(trial, overrides)))
    except Exception as error:  # whatever a function in the making raises
        raise ValueError(f"the space raises {type(error).__name__}: {error}") from error
    check_plain("what the space returns", values)
    return values


def _check_suggestions(plan: Plan, condition: str) -> None:
    """The condition's variant takes what the search suggests beside what --set fixes."""
    probe = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    config = trainables.load(plan.variant(condition)).config_type
    counts = plan.class_counts(condition)
    for _ in range(PROBES):
        values = _suggest(plan.study, probe.ask(), plan.overrides)
        if (n := values.get("classes", counts[0])) not in counts:
            raise ValueError(f"the space returns classes={n!r}: suggest them by that name")
        try:
            parsed = config.parse(plan.hyperparameters(condition, values))
            check_looks(plan, condition, parsed)
        except ValueError as error:
            advice = "fix it with --set too, or give --trials 0" if plan.overrides else ""
            line = f"{error}; the search suggests that: {advice}".rstrip(": ")
            raise ValueError(line) from None


def _check_start(
    plan: Plan, condition: str, distributions: Mapping[str, optuna.distributions.BaseDistribution]
) -> None:
    """The first search cell, the reference, lies in the space."""
    recipe = plan.hyperparameters(condition)
    known = {name: recipe[name] for name in distributions if name in recipe}
    study = optuna.create_study()
    study.enqueue_trial({**known, **plan.study.start})
    trial = study.ask()
    try:
        _suggest(plan.study, trial, plan.overrides)
        # As the search will put it on record: Optuna refuses what is out of range only there.
        optuna.trial.create_trial(params=trial.params, distributions=trial.distributions, value=0.0)
    except ValueError as error:
        raise ValueError(f"{condition}: the reference is not in the space: {error}") from None
