"""Optuna's search within each condition, by ask and tell.

The state of a search is rebuilt from the records.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, cast

import optuna
from optuna.trial import TrialState

from study.planning.plan import TPE_STARTUP, Cell, Plan, SampledBy
from study.planning.space import PartialFixedTrial, describe_space
from study.records.records import Records, Row

# What Optuna is told of each outcome; of all others FAIL, which its sampler ignores.
STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "diverged": TrialState.PRUNED,
}


class ConditionSearch:
    """A search of one condition: which cell is next, and whether a running cell should stop early.

    Conditions never share an Optuna study: 49 classes are harder than 5, and neither TPE nor
    early stopping may compare the two.

    The hyperparameters of cell n, and whether it is stopped early, depend on how cells 0 to
    n - search_parallelism ended and on no other cell. So a search is a function of its definition:
    it is the same search whichever cell ends first, whatever is killed and continued, and on
    whatever machine it runs. Each running cell has an Optuna study of its own that holds just the
    results of those cells. So no trial can be left in it as a zombie.
    """

    def __init__(self, plan: Plan, condition: str, records: Records, search: int = 0) -> None:
        """Read the cells of the search from the records.

        Args:
            search: which of the condition's searches, from 0.
        """
        assert plan.study.space is not None
        self.plan, self.condition, self.search = plan, condition, search
        self.names = list(describe_space(plan.study))
        self.cells: dict[int, Cell] = {}  # all cells that were ever suggested, by number
        self.ended: dict[int, optuna.trial.FrozenTrial] = {}  # trials of ended cells, by number
        self.running: dict[str, optuna.Trial] = {}  # by cell id
        self.handed: set[int] = set()  # numbers of cells that this command began or continued
        cells = [Cell.from_json(records.cell(cell_id)) for cell_id in records.ids()]
        for cell in sorted(cells, key=lambda c: c.number or 0):
            mine = cell.condition_name == condition and cell.search == search
            if cell.phase == "search" and mine:
                assert cell.number is not None
                self.cells[cell.number] = cell
                if result := records.result(cell.id):
                    self.tell(cell, result["outcome"], records.rows(cell.id))

    @property
    def started(self) -> int:
        """How many cells have ended or were handed out."""
        return len(self.handed | self.ended.keys())

    def ask(self) -> Cell | None:
        """The next search cell; None where the budget is spent or an earlier cell must end first.

        The next cell is the one with the lowest number that has neither ended nor been handed out.
        So a cell that an earlier command began, or that was lost, comes before new ones. Cell 0 is
        the reference recipe.
        """
        open_ = (
            n for n in range(self.plan.budget.trials) if n not in self.handed | set(self.ended)
        )
        number = next(open_, None)
        if number is None:
            return None
        if any(n not in self.ended for n in self._known(number)):
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
            start = {**known_values, **self.plan.study.reference_params}
        trial = self._trial(number, start)
        values = self._values(trial)
        sampled_by: SampledBy = "reference" if number == 0 else self._sampled_by(number)
        cell = self.plan.search_cell(
            self.condition, number, trial.params, values, sampled_by, self.search
        )
        self.cells[number] = cell
        self.running[cell.id] = trial

    def _trial(self, number: int, values: Mapping[str, Any] | None) -> optuna.Trial:
        """Optuna's trial for a cell, in a new Optuna study that holds what the cell may know.

        Earlier cells whose results the cell may not know are in that study as running trials. The
        sampler is seeded by the names of study and condition, the number of the search if it is not
        the first, the cell's number and the first seed.

        Args:
            values: where given, the trial suggests these values.
        """
        name, first = f"{self.plan.name}/{self.condition}", self.plan.first_seed
        name += f"/search {self.search}" if self.search else ""
        seed = hashlib.sha256(f"{name}/{number}{f'/{first}' if first else ''}".encode()).digest()
        study = optuna.create_study(
            direction=self.plan.direction,
            sampler=self._sampler(number, int.from_bytes(seed[:4], "big")),
            # A trial is stopped where its best value so far is worse than the median of the
            # finished trials at the same kimg. No trial is stopped before three have finished, or
            # in the first two thirds of its length, where the order of the trials is noise.
            pruner=optuna.pruners.MedianPruner(
                n_startup_trials=3, n_warmup_steps=2 * self.plan.budget.searched_kimg // 3
            ),
        )
        for n in range(number):
            known = self.ended.get(n) if n in self._known(number) else None
            study.add_trial(known or self._frozen(self.cells[n], TrialState.RUNNING, []))
        if values is not None:
            study.enqueue_trial(dict(values))
        return study.ask()

    def _known(self, number: int) -> range:
        """The numbers of the cells whose ends a cell may know."""
        return range(max(0, number - self.plan.budget.search_parallelism + 1))

    def _sampled_by(self, number: int) -> SampledBy:
        """What suggests a cell after the first: TPE, if the cell may know enough results.

        All cells are sampled at random if a study only searches and confirms nothing. Such a study
        looks for importances, not for a good configuration. Importances compare the values that
        were sampled, and TPE samples important parameters mostly where they are good.
        """
        states = [self.ended[n].state for n in self._known(number)]
        few = sum(state != TrialState.FAIL for state in states) < TPE_STARTUP
        return "random" if few or self.plan.budget.seeds == 0 else "tpe"

    def _sampler(self, number: int, seed: int) -> optuna.samplers.BaseSampler:
        if self._sampled_by(number) == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(
            n_startup_trials=0, multivariate=True, group=True, constant_liar=True, seed=seed
        )

    def _values(self, trial: optuna.trial.BaseTrial) -> dict[str, Any]:
        assert self.plan.study.space is not None
        return self.plan.study.space(
            cast(optuna.Trial, PartialFixedTrial(trial, self.plan.overrides))
        )

    def should_stop(self, cell: Cell, rows: list[Row]) -> bool:
        """Whether a running cell with these rows should stop early."""
        if cell.id not in self.running:  # an earlier command began it
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
        """Take note of how a cell ended.

        A cell that diverged is told like one that was stopped early before its first value, which
        Optuna's sampler takes for the worst of all. So it learns which hyperparameters diverge.
        """
        assert cell.number is not None
        self.running.pop(cell.id, None)
        state = STATES.get(outcome, TrialState.FAIL)
        told = [] if outcome == "diverged" else rows
        self.ended[cell.number] = self._frozen(cell, state, told)

    def _frozen(self, cell: Cell, state: TrialState, rows: list[Row]) -> optuna.trial.FrozenTrial:
        suggested, objective = cell.suggested or {}, self.plan.study.objective
        again = optuna.trial.FixedTrial(dict(suggested))
        self._values(again)  # collects the distributions
        return optuna.trial.create_trial(
            state=state,
            value=rows[-1][objective] if state == TrialState.COMPLETE else None,
            params=dict(suggested),
            distributions=again.distributions,
            intermediate_values=self._reported(rows),
        )

    def _reported(self, rows: list[Row]) -> dict[int, float]:
        """The objectives that Optuna is told, by kimg.

        The value before training is left out, because it says nothing about a trial.
        """
        return {row["kimg"]: row[self.plan.study.objective] for row in rows if row["kimg"] > 0}
