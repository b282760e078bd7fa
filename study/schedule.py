"""Which cell runs next, and what its end means: Ray's searcher and scheduler over the records."""

from __future__ import annotations

import datetime
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from study.cell import checkpoints
from study.plan import Cell, Plan, confirmations
from study.records import Records, write_json
from study.search import ConditionSearch

ATTEMPTS = 3  # of a cell whose code crashed or whose worker died

Observer = Callable[[Cell, dict[str, Any] | None], None]  # result: None while the cell runs


class StudySearcher(Searcher):
    """Hands out what is missing: unfinished cells, then searches, then confirm cells.

    Confirm cells of the reference fill the machine while a search waits for its last trials; those
    of the best configuration come when their condition's search is over.
    """

    def __init__(self, plan: Plan, records: Records, observer: Observer) -> None:
        super().__init__(metric="objective", mode="min")
        self.plan, self.records, self.observer = plan, records, observer
        self.searches = {
            name: ConditionSearch(plan, name, records)
            for name in (plan.conditions if plan.searches else ())
        }
        self.queue = [cell for search in self.searches.values() for cell in search.unfinished]
        self.running: dict[str, Cell] = {}  # by Ray's trial id
        self.given: set[str] = set()  # ids of cells that were handed out
        self.stopped: set[str] = set()  # ids of cells that were stopped early
        self.attempts: Counter[str] = Counter()

    def suggest(self, trial_id: str) -> Any:
        """The next cell as a trial's configuration; None to wait, FINISHED when all are done."""
        cell = self._next()
        if cell is None:
            return None if self.running else Searcher.FINISHED
        folder = self.records.cell_folder(cell.id)
        if not (folder / "cell.json").exists():
            write_json(folder / "cell.json", cell.as_json())
        self.given.add(cell.id)
        self.attempts[cell.id] += 1
        self.running[trial_id] = cell
        self.observer(cell, None)
        return {"cell": cell.as_json()}

    def _next(self) -> Cell | None:
        if self.queue:
            return self.queue.pop(0)
        for search in sorted(self.searches.values(), key=lambda s: s.asked):
            if (cell := search.ask()) is not None:
                return cell
        missing = [c for c in confirmations(self.plan, self.records) if c.id not in self.given]
        return next((c for c in missing if self.records.result(c.id) is None), None)

    def observe(self, cell_id: str, kimg: int, objective: float) -> bool:
        """One tick of a running cell; whether it should stop."""
        cell = next(cell for cell in self.running.values() if cell.id == cell_id)
        self.observer(cell, None)
        if cell.phase == "confirm":
            return False
        stop = self.searches[cell.condition_name].should_stop(cell, kimg, objective)
        if stop:
            self.stopped.add(cell.id)
        return stop

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Accept the cell, or queue it again where its code crashed and it may be tried again."""
        cell = self.running.pop(trial_id)
        if error:
            result = {"outcome": "failed", "error": "the worker process died"}
        result = result or {}
        if cell.id in self.stopped:
            result = {"outcome": "pruned"}
        outcome = result.get("outcome")
        if outcome is None:  # an interrupt stopped it: it goes on next time
            return
        if outcome == "failed" and self.attempts[cell.id] < ATTEMPTS:
            self.queue.append(cell)
            return
        rows, folder = self.records.rows(cell.id), self.records.cell_folder(cell.id)
        value = rows[-1][self.plan.study.objective] if rows else math.nan
        if cell.phase == "search":
            self.searches[cell.condition_name].tell(cell, outcome, value)
        accepted = {
            "outcome": outcome,
            "error": result.get("error"),
            "seconds": rows[-1]["seconds"] if rows else 0.0,
            "attempts": self.attempts[cell.id],
            "ended": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
        self.records.accept(cell.id, accepted)
        for path in checkpoints(folder):
            path.unlink()
        self.observer(cell, accepted)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing: the scheduler sees each result first and can stop the trial."""

    def __getstate__(self) -> dict[str, Any]:
        """Ray saves its searcher now and then; ours has no state beside the records."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Ray wants a file."""
        Path(checkpoint_path).write_text("")

    def restore(self, checkpoint_path: str) -> None:
        """Never called: we start what is missing and restore nothing."""


class EarlyStopping(FIFOScheduler):
    """Asks the cell's own condition whether it should stop."""

    def __init__(self, searcher: StudySearcher) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.searcher = searcher

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        stop = self.searcher.observe(
            trial.config["cell"]["id"], result["kimg"], result["objective"]
        )
        return str(TrialScheduler.STOP if stop else TrialScheduler.CONTINUE)
