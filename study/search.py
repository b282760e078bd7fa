"""Optuna within each condition, by ask and tell; its state is rebuilt from the records."""

from __future__ import annotations

import hashlib
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

    def __init__(self, trial: optuna.trial.BaseTrial, values: Mapping[str, Any]) -> None:
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

    Cell n is suggested, and stopped early, by the ends of cells 0 to n - parallel and by nothing
    else. So a search is a function of its definition: whichever cell ends first, whatever is
    killed and continued, on whatever machine, it is the same search. Each running cell has an
    Optuna study of its own that holds just those ends; no trial in it can be left a zombie.
    """

    def __init__(self, plan: Plan, condition: str, records: Records) -> None:
        """Reads the condition's search cells from the records."""
        assert plan.study.space is not None
        self.plan, self.condition = plan, condition
        self.names = list(describe_space(plan.study))
        self.cells: dict[int, Cell] = {}  # all that were ever asked for, by number
        self.ended: dict[int, optuna.trial.FrozenTrial] = {}
        self.running: dict[str, optuna.Trial] = {}  # by cell id
        self.handed: set[int] = set()  # numbers of cells that this command began or goes on with
        cells = [Cell.from_json(records.cell(cell_id)) for cell_id in records.ids()]
        for cell in sorted(cells, key=lambda c: c.number or 0):
            if cell.phase == "search" and cell.condition_name == condition:
                assert cell.number is not None
                self.cells[cell.number] = cell
                if result := records.result(cell.id):
                    self.tell(cell, result["outcome"], records.rows(cell.id))

    @property
    def given(self) -> int:
        """How many cells ended or were handed out."""
        return len(self.handed | self.ended.keys())

    def ask(self) -> Cell | None:
        """The next search cell; None where the budget is spent or an earlier cell must end first.

        It is the lowest number that has neither ended nor been handed out: a cell that an earlier
        command began, or lost, comes before new ones. The first is the reference.
        """
        open_ = (
            n for n in range(self.plan.budget.trials) if n not in self.handed | set(self.ended)
        )
        number = next(open_, None)
        if number is None:
            return None
        known = range(max(0, number - self.plan.budget.parallel + 1))
        if any(n not in self.ended for n in known):
            return None
        self.handed.add(number)
        if number not in self.cells:
            self._suggest(number)
        return self.cells[number]

    def _suggest(self, number: int) -> None:
        start = None
        if number == 0:
            recipe = self.plan.hyperparameters(self.condition)
            known_values = {k: recipe[k] for k in self.names if k in recipe}
            start = {**known_values, **self.plan.study.start}
        trial = self._trial(number, start)
        values = self._values(trial)
        cell = self.plan.search_cell(self.condition, number, trial.params, values)
        self.cells[number] = cell
        self.running[cell.id] = trial

    def _trial(self, number: int, values: Mapping[str, Any] | None) -> optuna.Trial:
        """Optuna's trial of a cell, in a study that holds what the cell may know.

        The sampler is seeded by condition and number. With `values` they are what it suggests.
        """
        name = f"{self.plan.name}/{self.condition}"
        seed = hashlib.sha256(f"{name}/{number}".encode()).digest()
        study = optuna.create_study(
            direction="minimize",
            sampler=self._sampler(int.from_bytes(seed[:4], "big")),
            # A trial is stopped where its best value so far is worse than the median of those
            # finished, at the same kimg; not in the first two thirds, where the order is noise.
            pruner=optuna.pruners.MedianPruner(
                n_startup_trials=3, n_warmup_steps=2 * self.plan.budget.searched_kimg // 3
            ),
        )
        for n in range(number):
            lower = self.ended.get(n) if n <= number - self.plan.budget.parallel else None
            study.add_trial(lower or self._frozen(self.cells[n], TrialState.RUNNING, []))
        if values is not None:
            study.enqueue_trial(dict(values))
        return study.ask()

    def _sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        """TPE; for a search alone plain random numbers. There nothing is to be found: importances
        compare what was sampled, and TPE samples the important dimensions where they are good."""
        if self.plan.budget.seeds == 0:
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(
            multivariate=True, group=True, constant_liar=True, seed=seed
        )

    def _values(self, trial: optuna.trial.BaseTrial) -> dict[str, Any]:
        assert self.plan.study.space is not None
        return self.plan.study.space(cast(optuna.Trial, Fixed(trial, self.plan.overrides)))

    def should_stop(self, cell: Cell, rows: list[Row]) -> bool:
        """Whether a running cell with these rows should stop early."""
        if cell.id not in self.running:  # it is continued
            assert cell.number is not None
            self.running[cell.id] = self._trial(cell.number, cell.suggested)
            self._values(self.running[cell.id])
        trial = self.running[cell.id]
        told = trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values
        for kimg, value in self._reported(rows).items():
            if kimg not in told:
                trial.report(value, kimg)
        return trial.should_prune()

    def tell(self, cell: Cell, outcome: str, rows: list[Row]) -> None:
        """How a cell ended: stopped is PRUNED, diverged or failed is FAIL."""
        assert cell.number is not None
        self.running.pop(cell.id, None)
        state = STATES.get(outcome, TrialState.FAIL)
        self.ended[cell.number] = self._frozen(cell, state, rows)

    def _frozen(self, cell: Cell, state: TrialState, rows: list[Row]) -> optuna.trial.FrozenTrial:
        suggested, objective = cell.suggested or {}, self.plan.study.objective
        again = optuna.trial.FixedTrial(dict(suggested))
        self._values(again)  # what it was suggested from
        return optuna.trial.create_trial(
            state=state,
            value=rows[-1][objective] if state == TrialState.COMPLETE else None,
            params=dict(suggested),
            distributions=again.distributions,
            intermediate_values=self._reported(rows),
        )

    def _reported(self, rows: list[Row]) -> dict[int, float]:
        """What Optuna hears: the value before training says nothing of a trial."""
        return {row["kimg"]: row[self.plan.study.objective] for row in rows if row["kimg"] > 0}
