"""A stand-in for Ray, with which a test calls a study's searcher step by step."""

from __future__ import annotations

import dataclasses
from typing import Any

from ray.tune.search import Searcher

from study.engine.schedule import Grow, StudySearcher
from study.planning.cells import Cell
from study.planning.plan import Plan
from study.records.files import write_json
from study.records.records import Records
from tests.study import tiny

Observed = list[tuple[str, str | None]]


class Ray:
    """Asks the searcher for cells, and tells it of ticks and ends, as Tune does."""

    def __init__(
        self, plan: Plan, records: Records, grow: Grow | None = None, workers: int = 99
    ) -> None:
        self.observed: Observed = []
        self.plan, self.records, self.asked = plan, records, 0
        self.searcher = StudySearcher(plan, records, self.observe, workers, grow)

    def observe(self, cell: Cell, result: dict[str, Any] | None) -> None:
        self.observed.append((cell.id, result and result["outcome"]))

    def ask(self) -> Cell | None:
        self.asked += 1
        answer = self.searcher.suggest(f"t{self.asked}")
        if answer is None or answer == Searcher.FINISHED:
            return None
        return Cell.from_json(answer["cell"])

    def must(self) -> Cell:
        cell = self.ask()
        assert cell is not None
        return cell

    def trial(self, cell: Cell) -> str:
        return next(t for t, c in self.searcher.running.items() if c.id == cell.id)

    def tick(self, cell: Cell, *objectives: float) -> bool:
        """Record one tick per objective. Returns whether the last tick stops the cell."""
        write_json(self.records.cell_folder(cell.id) / "ticks.json", tiny.rows(*objectives))
        return self.searcher.observe(cell.id, len(objectives) - 1)

    def end(self, cell: Cell, outcome: str | None = "complete", **rest: Any) -> None:
        result = {"outcome": outcome, **rest} if outcome else {"kimg": 1, "objective": 3.0}
        self.searcher.on_trial_complete(self.trial(cell), result)

    def finish(self, cell: Cell, objective: float = 3.0) -> None:
        """Record the ticks of a whole cell, and end it as complete."""
        if not self.records.rows(cell.id):
            self.tick(cell, 9.0)
        write_json(
            self.records.cell_folder(cell.id) / "ticks.json", tiny.rows(9.0, 6.0, 5.0, objective)
        )
        self.end(cell)


def one(plan: Plan, records: Records, workers: int = 99, **budget: Any) -> Ray:
    """A Ray for a plan of classes=2 only. `budget` changes the budget of `tiny`."""
    own = dataclasses.replace(plan, only="classes=2", budget=tiny.budget(**budget))
    return Ray(own, records, workers=workers)
