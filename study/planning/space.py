"""A study's search space: the parameters that it can suggest, and those that --set fixes."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from search_spaces.core import Study
from study.planning.source_files import explain

if TYPE_CHECKING:
    import optuna


# What Optuna is told of each outcome (names of its TrialState); of all others FAIL, which its
# sampler ignores.
STATES = {"complete": "COMPLETE", "pruned": "PRUNED", "diverged": "PRUNED"}


class PartialFixedTrial:
    """An Optuna trial in which --set fixes some parameters.

    Asked to suggest a fixed parameter, it returns the fixed value without asking Optuna, because
    the value may lie outside the space. Everything else is passed on to the trial.
    """

    def __init__(self, trial: optuna.trial.BaseTrial, values: Mapping[str, Any]) -> None:
        self.trial, self.values = trial, values

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.trial, name)
        if not name.startswith("suggest_"):
            return method
        return lambda key, *a, **k: self.values[key] if key in self.values else method(key, *a, **k)


def distributions(
    space: Mapping[str, Any], params: Mapping[str, Any]
) -> dict[str, optuna.distributions.BaseDistribution]:
    """The distributions of a trial's parameters, from a space as `describe_space` returns it."""
    import optuna

    read = optuna.distributions.json_to_distribution
    return {name: read(json.dumps(space[name])) for name in params if name in space}


def describe_space(study: Study) -> dict[str, Any]:
    """Every parameter that the space can suggest, with its distribution (Optuna's JSON form).

    The space is a function whose branches show only when it runs, so it is run 200 times with
    random values.
    """
    import optuna

    if study.space is None:
        return {}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    found: dict[str, optuna.distributions.BaseDistribution] = {}
    probe = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(200):
        trial = probe.ask()
        try:
            study.space(trial)
        except Exception as error:  # a stranger's function may raise anything
            raise ValueError(f"space: {explain(error)}") from error
        found |= trial.distributions
    to_json = optuna.distributions.distribution_to_json
    return {name: json.loads(to_json(found[name])) for name in sorted(found)}
