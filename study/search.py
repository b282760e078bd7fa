"""Optuna within each condition, by ask and tell; its state is rebuilt from the records."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, cast

import optuna
from optuna.trial import TrialState

from study.plan import Cell, Plan, describe_space
from study.records import Records, Row

STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}  # every other end: FAIL


class Fixed:
    """A trial without the parameters that --set fixes: they may lie outside the space, so Optuna
    never hears of them."""

    def __init__(self, trial: optuna.Trial, values: Mapping[str, Any]) -> None:
        self.trial, self.values = trial, values

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.trial, name)
        if not name.startswith("suggest_"):
            return method
        return lambda key, *a, **k: self.values[key] if key in self.values else method(key, *a, **k)


class ConditionSearch:
    """One condition's search: which cell is next, whether a running one should stop.

    Conditions never share an Optuna study: 49 classes are harder than 5, and neither TPE nor
    early stopping may compare the two.
    """

    def __init__(self, plan: Plan, condition: str, records: Records) -> None:
        """Replays the recorded search cells of the condition, unfinished ones as running."""
        assert plan.study.space is not None
        self.plan, self.condition = plan, condition
        self.study = optuna.create_study(
            study_name=f"{plan.name}/{condition}",
            direction="minimize",
            # A trial is stopped where its best value so far is worse than the median of those
            # finished, at the same kimg; not in the first two thirds, where the order is noise.
            pruner=optuna.pruners.MedianPruner(
                n_startup_trials=3, n_warmup_steps=2 * plan.budget.search_kimg // 3
            ),
        )
        self.distributions = {
            name: optuna.distributions.json_to_distribution(json.dumps(value))
            for name, value in describe_space(plan.study).items()
        }
        self.running: dict[str, optuna.Trial] = {}
        self.unfinished: list[Cell] = []
        cells = [Cell.from_json(records.cell(cell_id)) for cell_id in records.ids()]
        mine = [c for c in cells if c.phase == "search" and c.condition_name == condition]
        for cell in sorted(mine, key=lambda c: c.number or 0):
            result, rows = records.result(cell.id), records.rows(cell.id)
            if result is None:
                self.study.enqueue_trial(dict(cell.suggested or {}))
                trial = self.running[cell.id] = self.study.ask()
                self._values(trial)
                for kimg, value in self._reported(rows).items():
                    trial.report(value, kimg)
                self.unfinished.append(cell)
            else:
                self._replay(cell, result["outcome"], rows)

    def _replay(self, cell: Cell, outcome: str, rows: list[Row]) -> None:
        state, objective = STATES.get(outcome, TrialState.FAIL), self.plan.study.objective
        suggested = cell.suggested or {}
        self.study.add_trial(
            optuna.trial.create_trial(
                state=state,
                value=rows[-1][objective] if state == TrialState.COMPLETE else None,
                params=dict(suggested),
                distributions={name: self.distributions[name] for name in suggested},
                intermediate_values=self._reported(rows),
            )
        )

    def _reported(self, rows: list[Row]) -> dict[int, float]:
        """What Optuna hears: the value before training says nothing of a trial."""
        return {row["kimg"]: row[self.plan.study.objective] for row in rows if row["kimg"] > 0}

    @property
    def asked(self) -> int:
        return len(self.study.trials)

    def ask(self) -> Cell | None:
        """The next search cell; None where the budget is spent. The first is the reference.

        The sampler is seeded by condition and number, so a suggestion depends on the results so
        far and on nothing else: a search rebuilt from its records goes on alike.
        """
        number = self.asked
        if number >= self.plan.budget.trials:
            return None
        seed = hashlib.sha256(f"{self.study.study_name}/{number}".encode()).digest()
        self.study.sampler = optuna.samplers.TPESampler(
            multivariate=True,
            group=True,
            constant_liar=True,
            seed=int.from_bytes(seed[:4], "big"),
        )
        if number == 0:
            recipe = self.plan.hyperparameters(self.condition)
            known = {k: recipe[k] for k in self.distributions if k in recipe}
            self.study.enqueue_trial({**known, **self.plan.study.start})
        trial = self.study.ask()
        values = self._values(trial)
        cell = self.plan.search_cell(self.condition, number, trial.params, values)
        self.running[cell.id] = trial
        return cell

    def _values(self, trial: optuna.Trial) -> dict[str, Any]:
        assert self.plan.study.space is not None
        return self.plan.study.space(cast(optuna.Trial, Fixed(trial, self.plan.overrides)))

    def should_stop(self, cell: Cell, kimg: int, value: float) -> bool:
        """Report a running cell's objective; whether it should stop early."""
        if kimg == 0:
            return False
        trial = self.running[cell.id]
        trial.report(value, kimg)
        return trial.should_prune()

    def tell(self, cell: Cell, outcome: str, value: float | None) -> None:
        """How a cell ended: stopped is PRUNED, diverged or failed is FAIL."""
        state = STATES.get(outcome, TrialState.FAIL)
        complete = state == TrialState.COMPLETE
        self.study.tell(self.running.pop(cell.id), value if complete else None, state=state)
