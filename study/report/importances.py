"""Which search parameter matters most, by fANOVA (Hutter, Hoos, Leyton-Brown 2014).

fANOVA runs over a condition's search cells and divides the variance of the objective over the whole
space among the parameters. Optuna's default, PED-ANOVA, asks instead what distinguishes the best
tenth of the cells. Of 60 cells these are only six, so its ranking changes from resample to
resample.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from study.planning.space import distributions
from study.records.frames import Frames
from study.report.stats import ALPHA, Effect

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

MIN_CELLS = 4  # finished search cells that `importances` needs
MIN_TO_RESAMPLE = 16  # finished search cells that `importance_leads` needs
RESAMPLES = 100
TREES = 8  # in fANOVA's forest; 64 trees give the same shares within .03


def importances(frames: Frames, condition: str) -> dict[str, float] | str:
    """The share of each search parameter in the objective's variance, or the reason for none."""
    trials = _trials(frames, condition)
    if isinstance(trials, str):
        return trials
    if len(trials) < MIN_CELLS:
        need = f"at least {MIN_CELLS} are needed"
        return f"not computed: {len(trials)} finished search cells, {need}"
    try:
        return _shares(trials) or "not computed: no parameter varied"
    except (ValueError, RuntimeError) as error:  # e.g. all cells are alike
        return f"not computed: {error}"


def importance_leads(frames: Frames, condition: str) -> dict[str, Effect] | str:
    """How far each parameter's share exceeds the largest share of the others, or why it is unknown.

    A negative value means that another parameter has a larger share. The 95 % intervals come from a
    percentile bootstrap over the search cells.
    """
    trials = _trials(frames, condition)
    if isinstance(trials, str):
        return trials
    if len(trials) < MIN_TO_RESAMPLE:
        need = f"at least {MIN_TO_RESAMPLE} are needed"
        return f"{len(trials)} finished search cells of {condition}, {need}"

    def leads(of: Sequence[FrozenTrial], names: Iterable[str]) -> dict[str, float]:
        try:
            shares = _shares(of)
        except RuntimeError:  # all cells of the resample are alike, so nothing leads
            shares = {}
        others = {n: max((v for k, v in shares.items() if k != n), default=0.0) for n in names}
        return {name: shares.get(name, 0.0) - others[name] for name in names}

    rng, n = np.random.default_rng(0), len(trials)
    try:
        names = list(_shares(trials))
    except (ValueError, RuntimeError) as error:  # e.g. all cells are alike
        return f"not computed: {error}"
    found = leads(trials, names)
    again = [leads([trials[i] for i in rng.integers(n, size=n)], names) for _ in range(RESAMPLES)]
    ends = [ALPHA / 2, 1 - ALPHA / 2]
    bounds = {name: np.quantile([one[name] for one in again], ends) for name in names}
    return {k: Effect(found[k], float(low), float(high), (n,)) for k, (low, high) in bounds.items()}


def _trials(frames: Frames, condition: str) -> list[FrozenTrial] | str:
    """The finished search cells as Optuna's trials, or the reason why the study cannot have any."""
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
    trials = []
    for cell_id, value in zip(finished["id"], finished[last], strict=True) if len(finished) else ():
        params = frames.records.cell(cell_id).get("suggested") or {}
        known = distributions(space, params)
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
