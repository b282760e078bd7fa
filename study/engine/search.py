"""Optuna's search within each condition, by ask and tell.

The state of a search is rebuilt from the records.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from functools import cached_property
from typing import Any, cast

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import TrialState

from study.planning.cells import Cell, SampledBy
from study.planning.plan import TPE_STARTUP, Plan
from study.planning.space import STATES, PartialFixedTrial
from study.records.records import Records, Row

MIN_PEERS = 3  # complete cells beside which a cell is judged


class ConditionSearch:
    """A search of one condition: which cell is next, and whether a running cell should stop early.

    Conditions never share an Optuna study: 49 classes are harder than 5, and neither TPE nor
    early stopping may compare the two.

    The hyperparameters of cell n, and whether it is stopped early, depend on how cells 0 to
    n - search_parallelism ended and on no other cell. So a search is a function of its definition:
    it is the same search whichever cell ends first, whatever is killed and continued, and on
    whatever machine it runs. What a cell may not know yet is told to Optuna later.
    """

    def __init__(self, plan: Plan, condition: str, records: Records, search: int = 0) -> None:
        """Read the cells of the search from the records.

        Args:
            search: which of the condition's searches, from 0.
        """
        assert plan.study.space is not None
        self.plan, self.condition, self.search = plan, condition, search
        self.names = list(plan.space)
        self.cells: dict[int, Cell] = {}  # all cells that were ever suggested, by number
        self.ended: dict[int, optuna.trial.FrozenTrial] = {}  # trials of ended cells, by number
        self._begun: set[int] = set()  # numbers of cells that have ended or were handed out
        self._next = 0  # all cells below are among these
        self._all_ended = 0  # all cells below have ended
        # The objectives at each kimg of cells that others are compared with, by number; else NaN.
        self._peers: dict[int, NDArray[np.float64]] = {}
        self._study: optuna.Study | None = None  # see `_history`
        # The trials in it that have no end there, by number: always the last ones.
        self._open: dict[int, optuna.Trial] = {}
        cells = [records.cell(cell_id) for cell_id in records.ids()]
        for cell in sorted(cells, key=lambda c: c["number"] or 0):
            mine = cell["condition_name"] == condition and cell["search"] == search
            if cell["phase"] == "search" and mine:
                self.cells[cell["number"]] = Cell.from_json(cell)
        self._size = max([plan.budget.trials, *(number + 1 for number in self.cells)])
        for known in self.cells.values():
            if result := records.result(known.id):
                self.tell(known, result["outcome"], records.rows(known.id))

    @property
    def started(self) -> int:
        """How many cells have ended or were handed out."""
        return len(self._begun)

    def ask(self) -> Cell | None:
        """The next search cell; None where the budget is spent or an earlier cell must end first.

        The next cell is the one with the lowest number that has neither ended nor been handed out.
        So a cell that an earlier command began, or that was lost, comes before new ones. Cell 0 is
        the reference recipe.
        """
        while self._next in self._begun:
            self._next += 1
        while self._all_ended in self.ended:
            self._all_ended += 1
        number = self._next
        if number >= self.plan.budget.trials or self._all_ended < self._known(number):
            return None
        self._begun.add(number)
        if number not in self.cells:
            self.cells[number] = self._suggest(number)
        return self.cells[number]

    def _suggest(self, number: int) -> Cell:
        """A new cell. Its sampler is seeded by its name, so that no other cell draws the same.

        The seed comes from the names of study and condition, the number of the search if it is not
        the first, the cell's number and the first seed.
        """
        name, first = f"{self.plan.name}/{self.condition}", self.plan.first_seed
        name += f"/search {self.search}" if self.search else ""
        seed = hashlib.sha256(f"{name}/{number}{f'/{first}' if first else ''}".encode()).digest()
        sampled_by: SampledBy = "reference" if number == 0 else self._sampled_by(number)
        informed = sampled_by in ("tpe", "gp")
        study = self._history(number) if informed else optuna.create_study()
        study.sampler = self._sampler(sampled_by, int.from_bytes(seed[:4], "big"))
        if number == 0:
            recipe = self.plan.hyperparameters(self.condition)
            known_values = {k: recipe[k] for k in self.names if k in recipe}
            study.enqueue_trial({**known_values, **self.plan.study.reference_params})
        trial = study.ask()
        values = self._values(trial)
        if number == 0:  # the reference to the last digit, however the space computes its values
            values = {name: value for name, value in values.items() if name == "classes"}
        cell = self.plan.search_cell(
            self.condition, number, trial.params, values, sampled_by, self.search
        )
        if informed:
            # TPE noted in this trial also what it suggested for parameters that the space did not
            # ask for, and would heed that. A search that is rebuilt does not know it.
            study.tell(trial, state=TrialState.FAIL)
            self._open[number] = self._running(study, cell)
        return cell

    def _running(self, study: optuna.Study, cell: Cell) -> optuna.Trial:
        """Add a running trial with a cell's parameters to a study."""
        study.sampler = optuna.samplers.RandomSampler(seed=0)  # for nothing
        study.enqueue_trial(dict(cell.suggested or {}))
        trial = study.ask()
        self._values(trial)
        return trial

    def _history(self, number: int) -> optuna.Study:
        """An Optuna study that holds what a cell may know, before its own trial.

        Earlier cells whose results the cell may not know are in it as running trials. The study of
        the cell before is used again where it lacks nothing but ends.
        """
        known = self._known(number)
        if self._study is None or max(self._open) != number - 1:
            self._study = optuna.create_study(direction=self.plan.direction)
            self._study.add_trials([self.ended[n] for n in range(known)])
            self._open = {
                n: self._running(self._study, self.cells[n]) for n in range(known, number)
            }
        for n in [n for n in self._open if n < known]:
            trial, end = self._open.pop(n), self.ended[n]
            for kimg, value in end.intermediate_values.items():
                trial.report(value, kimg)
            complete = end.state == TrialState.COMPLETE
            self._study.tell(trial, end.value if complete else None, end.state)
        return self._study

    def _known(self, number: int) -> int:
        """A cell may know the ends of all cells below this number."""
        return max(0, number - self.plan.budget.search_parallelism + 1)

    def _sampled_by(self, number: int) -> SampledBy:
        """What suggests a cell after the first: the study's sampler, if it may know enough results.

        All cells are sampled at random if a study only searches and confirms nothing. Such a study
        looks for importances, not for a good configuration. Importances compare the values that
        were sampled, and TPE samples important parameters mostly where they are good.
        """
        sampler = self.plan.study.sampler
        if self.plan.budget.seeds == 0 or sampler == "random":
            return "random"
        states = [TrialState.COMPLETE]
        if sampler == "tpe":  # a Gaussian process learns nothing from the others
            states.append(TrialState.PRUNED)
        told = (n for n in range(self._known(number)) if self.ended[n].state in states)
        enough = len([*itertools.islice(told, TPE_STARTUP)]) == TPE_STARTUP
        return sampler if enough else "random"

    def _sampler(self, kind: SampledBy, seed: int) -> optuna.samplers.BaseSampler:
        if kind == "gp":
            return optuna.samplers.GPSampler(n_startup_trials=0, seed=seed)
        if kind != "tpe":
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(
            n_startup_trials=0, multivariate=True, group=True, constant_liar=True, seed=seed
        )

    def _values(self, trial: optuna.trial.BaseTrial) -> dict[str, Any]:
        assert self.plan.study.space is not None
        return self.plan.study.space(
            cast(optuna.Trial, PartialFixedTrial(trial, self.plan.overrides))
        )

    def may_stop(self, kimg: int) -> bool:
        """Whether `should_stop` can say yes at a tick."""
        if self.plan.study.pruner == "none":
            return False
        if self.plan.study.pruner == "asha":
            return kimg in self._rungs
        return kimg >= max(1, 2 * self.plan.budget.searched_kimg // 3)

    @cached_property
    def _rungs(self) -> set[int]:
        """The ticks at which successive halving compares: a ninth and a third of a cell's length.

        Each is the first tick of at least this length.
        """
        length = self.plan.budget.searched_kimg
        ticks = self.plan.budget.ticks(length)[1:]
        return {next(t for t in ticks if t * part >= length) for part in (9, 3)} - {ticks[-1]}

    def should_stop(self, cell: Cell, rows: list[Row]) -> bool:
        """Whether a running cell with these rows should stop early.

        By the pruner "median" it stops if its best value so far is worse than the median of the
        complete cells that it may know at the same kimg: the rule of Optuna's MedianPruner. It does
        not stop in the first two thirds of its length, where the order of the cells is noise.

        By "asha" (asynchronous successive halving, Li et al. 2018, arXiv:1810.05934, with a
        reduction by 3) it stops at a rung unless its value there is in the best third, among itself
        and the cells that it may know and that came so far.

        By either, no cell stops before there are three others to compare with.
        """
        assert cell.number is not None
        values = self._reported(rows)
        kimg = max(values, default=0)
        if not self.may_stop(kimg):
            return False
        peers = self._peers.get(kimg, np.empty(0))[: self._known(cell.number)]
        peers = peers[~np.isnan(peers)]
        if len(peers) < MIN_PEERS:
            return False
        sign = 1.0 if self.plan.direction == "minimize" else -1.0
        if self.plan.study.pruner == "asha":
            better = int((sign * peers < sign * values[kimg]).sum())
            return better >= math.ceil((len(peers) + 1) / 3)
        return bool(min(sign * value for value in values.values()) > np.median(sign * peers))

    def tell(self, cell: Cell, outcome: str, rows: list[Row]) -> None:
        """Take note of how a cell ended.

        A cell that diverged is told like one that was stopped early before its first value, which
        Optuna's sampler takes for the worst of all. So it learns which hyperparameters diverge.
        """
        assert cell.number is not None
        state = TrialState[STATES.get(outcome, "FAIL")]
        told = [] if outcome == "diverged" else rows
        self.ended[cell.number] = self._frozen(cell, state, told)
        self._begun.add(cell.number)
        halving = self.plan.study.pruner == "asha"
        seen = outcome == "complete" or (halving and outcome == "pruned")
        for kimg, value in self._reported(rows).items() if seen else ():
            if kimg not in self._peers:
                self._peers[kimg] = np.full(self._size, np.nan)
            self._peers[kimg][cell.number] = value

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
