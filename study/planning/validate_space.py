"""Check that search cells can be made from a study's space, and that their values are valid."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from typing import Any, cast

import optuna

import trainables
from search_spaces.checks import check_plain
from search_spaces.core import IMPORTANCE, Study
from study.planning.plan import Plan
from study.planning.space import PartialFixedTrial
from study.planning.validation import check_data_spec

PROBES = 100  # times that a check runs a space with random values


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
        values = plan.hyperparameters(condition, _suggest(plan.study, trial, plan.overrides))
        # The search records its trials with `create_trial`, too. Only there does Optuna refuse
        # values that are out of range.
        optuna.trial.create_trial(params=trial.params, distributions=trial.distributions, value=0.0)
    except ValueError as error:
        raise ValueError(f"{condition}: the reference is not in the space: {error}") from None
    for name, value in recipe.items():
        if not _is_near(values[name], value):
            raise ValueError(
                f"{condition}: the reference is not in the space: it has {name}={value!r}, and the "
                f"space returns {values[name]!r} for it; give reference_params the values of the "
                "parameters that mean the reference"
            )


def _is_near(a: Any, b: Any) -> bool:
    """Whether two hyperparameters are equal, but for the last digits of a calculation."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_is_near, a, b))
    return a == b or (isinstance(b, float) and math.isclose(a, b, rel_tol=1e-9))
