"""Which search parameter matters most: fANOVA (Hutter, Hoos, Leyton-Brown 2014) over a condition's
search cells.

It shares out the variance over the whole space. Optuna's default, PED-ANOVA, asks what sets the
best tenth apart: of 60 cells those are six, and resampled it says anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from study.frames import Frames
from study.stats import LEVEL, Effect

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

FEWEST = 4  # finished search cells
FEWEST_TO_RESAMPLE = 16
RESAMPLES = 100
TREES = 8  # of the forest: 64 give the same within .03


def importances(frames: Frames, condition: str) -> dict[str, float] | str:
    """Share of each search parameter in the objective (fANOVA), or why there are none."""
    trials = _trials(frames, condition)
    if isinstance(trials, str):
        return trials
    if len(trials) < FEWEST:
        need = f"at least {FEWEST} are needed"
        return f"not computed: {len(trials)} finished search cells, {need}"
    try:
        return _shares(trials) or "not computed: no parameter varied"
    except (ValueError, RuntimeError) as error:  # e.g. a value that --set forced out of the space
        return f"not computed: {error}"


def importance_leads(frames: Frames, condition: str) -> dict[str, Effect] | str:
    """By how much each parameter's share exceeds the largest other one, or why that is not known.

    Intervals are a percentile bootstrap's over the search cells.
    """
    trials = _trials(frames, condition)
    if isinstance(trials, str):
        return trials
    if len(trials) < FEWEST_TO_RESAMPLE:
        need = f"at least {FEWEST_TO_RESAMPLE} are needed"
        return f"{len(trials)} finished search cells of {condition}, {need}"

    def leads(of: Sequence[FrozenTrial], names: Iterable[str]) -> dict[str, float]:
        try:
            shares = _shares(of)
        except RuntimeError:  # cells drawn that are all alike: nothing leads
            shares = {}
        others = {n: max((v for k, v in shares.items() if k != n), default=0.0) for n in names}
        return {name: shares.get(name, 0.0) - others[name] for name in names}

    rng, n = np.random.default_rng(0), len(trials)
    try:
        names = list(_shares(trials))
    except (ValueError, RuntimeError) as error:  # all cells alike, say
        return f"not computed: {error}"
    found = leads(trials, names)
    again = [leads([trials[i] for i in rng.integers(n, size=n)], names) for _ in range(RESAMPLES)]
    ends = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    bounds = {name: np.quantile([one[name] for one in again], ends) for name in names}
    return {k: Effect(found[k], float(low), float(high), (n,)) for k, (low, high) in bounds.items()}


def _trials(frames: Frames, condition: str) -> list[FrozenTrial] | str:
    """The finished search cells as Optuna's trials."""
    import optuna

    space = frames.study["definition"].get("space") or {}
    if not space:
        return "the study has no search space"
    cells = frames.cells
    mine = cells[
        cells["phase"].eq("search")
        & cells["condition"].eq(condition)
        & cells["outcome"].eq("complete")
    ]
    last = f"last/{frames.objective}"
    finished = mine[mine[last].notna()] if last in mine.columns else mine.iloc[:0]
    to_distribution = optuna.distributions.json_to_distribution
    trials = []
    for cell_id, value in zip(finished["id"], finished[last], strict=True) if len(finished) else ():
        params = frames.records.cell(cell_id).get("suggested") or {}
        known = {k: to_distribution(json.dumps(space[k])) for k in params if k in space}
        trials.append(
            optuna.trial.create_trial(
                params={k: params[k] for k in known}, distributions=known, value=float(value)
            )
        )
    return trials


def _shares(trials: Sequence[FrozenTrial]) -> dict[str, float]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rebuilt = optuna.create_study(direction="minimize")
    rebuilt.add_trials(trials)
    evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=TREES, seed=0)
    found = optuna.importance.get_param_importances(rebuilt, evaluator=evaluator)
    return {str(k): float(v) for k, v in found.items()}
