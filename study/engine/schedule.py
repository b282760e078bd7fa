"""Decides which cell runs next and what the end of a cell means: a searcher for Ray Tune."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from study.engine.search import ConditionSearch
from study.engine.silence import Silence
from study.engine.trial import StopFile
from study.planning.cells import Cell
from study.planning.plan import Plan
from study.planning.remaining import Remaining
from study.records import store
from study.records.files import write_json
from study.records.records import TICKS_SEAL, Records

MAX_ATTEMPTS = 3  # attempts at a cell whose code crashes
# Deaths of a cell's workers without a new tick, after which the cell has failed. Preemption causes
# several deaths in a burst, whereas a segmentation fault comes every time.
MAX_DEATHS = 10

# Called with a cell and its result. The result is None while the cell runs. Its outcome is "again"
# where the cell crashed and will be tried again.
Observer = Callable[[Cell, dict[str, Any] | None], None]
# Called with a plan of which every cell has ended. Returns the plan with which to go on, or None if
# there is nothing more to run.
Grow = Callable[[Plan], Plan | None]


class StudySearcher(Searcher):
    """Hands out the cells that are missing: search cells first, then confirm cells.

    Where the reference recipes alone decide all claims, their confirm cells come before the search
    cells, so that the verdicts are known early. But where the searches could hardly keep all
    workers busy later, the study would take longer that way, and the search cells come first.

    Within a search, cells that an earlier command left unfinished come before new ones. Confirm
    cells that are left keep the machine busy while a search waits for its last cells.
    Confirm cells of the best configuration come when the search that found it is over. Confirm
    cells of the conditions alternate, see `Remaining`.
    """

    def __init__(
        self,
        plan: Plan,
        records: Records,
        observer: Observer,
        workers: int,
        grow: Grow | None = None,
    ) -> None:
        """Read what is missing from the records.

        Args:
            workers: how many cells can run at once.
            grow: called when every cell of the plan has ended. None: the study ends then.
        """
        mode = "min" if plan.direction == "minimize" else "max"
        super().__init__(metric="objective", mode=mode)
        self.grow = grow
        self.plan, self.records, self.observer = plan, records, observer
        self.searches = {
            (name, search): ConditionSearch(plan, name, records, search)
            for search in range(plan.budget.searches)
            for name in plan.searched
        }
        self.queue: list[Cell] = []  # cells that crashed and will be tried again
        self.running: dict[str, Cell] = {}  # by Ray's trial id
        self.remaining, self.silence = Remaining(plan, records), Silence()
        self._run = len(records.study()["runs"]) - 1
        self.stopped: set[str] = set()  # ids of cells that were stopped early
        # Cell id -> rows at the last death of its worker, deaths in a row at that number of rows.
        self.deaths: dict[str, tuple[int, int]] = {}
        # Each worker may have died unnoticed while it waited for a cell.
        self.workers, self.max_deaths = workers, MAX_DEATHS + workers
        trials, most = plan.budget.trials, plan.budget.search_parallelism
        left = [trials - self.remaining.done[search] for search in self.searches]
        self._verdicts_first = workers < sum(min(most, max(0, n)) for n in left)
        # Ids of cells whose worker Ray killed to free memory.
        self.killed_for_memory: set[str] = set()
        self.problem: str | None = None  # why the study cannot go on for now
        self.stopping = False

    def stop(self, problem: str | None = None) -> None:
        """Hand out no more cells, and tell the running cells to checkpoint and stop.

        Args:
            problem: why the study cannot go on for now. The first one is kept.
        """
        self.stopping = True
        self.problem = self.problem or problem
        with contextlib.suppress(OSError):  # on a full disk the cells stop by themselves
            # If another command has taken the folder, the running cells are that command's.
            self.records.check_lock()
            StopFile(self.records.folder).path.touch()

    def suggest(self, trial_id: str) -> Any:
        """The next cell as a trial's configuration.

        Returns: None where Ray should wait for a running cell, FINISHED where there is nothing more
            to run.
        """
        cell = None
        try:
            if not self.stopping and (cell := self._next()) is not None:
                start = {"started": now(), "run": self._run, "error": None}
                self.records.begin(cell.as_json(), start)
                self.observer(cell, None)
        except OSError as error:
            self.stop(str(error))
            cell = None
        if cell is None:
            return None if self.running else Searcher.FINISHED
        self.running[trial_id] = cell
        self.silence.hear(cell)
        return {"cell": cell.as_json()}

    def _next(self) -> Cell | None:
        if self.queue:
            return self.queue.pop(0)
        if self._verdicts_first and (cell := self.remaining.next(deciding=True)):
            return cell
        for search in sorted(self.searches.values(), key=lambda s: s.started):
            if (cell := search.ask()) is not None:
                return cell
        cell = self.remaining.next()
        if cell is None and not self.running and self.grow and (plan := self.grow(self.plan)):
            self.plan, self.remaining = plan, Remaining(plan, self.records)
            return self._next()
        return cell

    def observe(self, cell_id: str, kimg: int) -> bool:
        """Take note of a running cell's new tick. Returns whether the cell should stop early."""
        cell = next(cell for cell in self.running.values() if cell.id == cell_id)
        self.silence.hear(cell)
        try:
            self.observer(cell, None)
            if cell.phase == "confirm":
                return False
            search = self.searches[cell.condition_name, cell.search]
            if not search.may_stop(kimg):
                return False
            rows = self.records.rows(cell.id)
        except OSError as error:
            self.stop(str(error))
            return False
        stop = search.should_stop(cell, rows)
        if stop:
            self.stopped.add(cell.id)
        return stop

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Accept the cell, or queue it again where it crashed and may be tried again.

        A cell that stopped because the run ends is neither accepted nor queued.
        """
        cell = self.running.pop(trial_id, None)
        if cell is None:  # Ray calls twice where it failed during the first call
            return
        self.silence.forget(cell)
        try:
            self._end(cell, {"outcome": "died"} if error else result or {})
        except OSError as problem:
            self.stop(str(problem))

    def _end(self, cell: Cell, result: dict[str, Any]) -> None:
        outcome, error = result.get("outcome"), result.get("error")
        if problem := result.get("storage"):
            self.stop(problem)
        if cell.id in self.stopped:
            outcome = "pruned"
        elif outcome == "died":
            outcome, error = self._death(cell)
        elif outcome == "failed" and self._crashes(cell, error) < MAX_ATTEMPTS:
            outcome = "again"
        if outcome == "again":
            self.queue.append(cell)
            self.observer(cell, {"outcome": outcome, "error": error})
        elif outcome is not None:  # None: it was stopped, and goes on next time
            self._accept(cell, outcome, error)

    def _death(self, cell: Cell) -> tuple[str, str | None]:
        """Count the death of a cell's worker. Returns the outcome and the error.

        The cell is not to blame for a death, unless its workers die `max_deaths` times without a
        new tick in between.
        """
        rows = len(self.records.rows(cell.id))
        then, deaths = self.deaths.get(cell.id, (rows, 0))
        deaths = deaths + 1 if rows == then else 1
        self.deaths[cell.id] = rows, deaths
        if deaths < self.max_deaths:
            return "again", "its worker died"
        if cell.id in self.killed_for_memory:
            return "out_of_memory", f"Ray killed the worker {deaths} times for want of memory"
        return "failed", f"the worker process died {deaths} times without a tick in between"

    def _crashes(self, cell: Cell, error: str | None) -> int:
        """Record the traceback of the last attempt.

        Returns: how many attempts crashed, those of earlier runs of the command included.
        """
        attempts = self.records.attempts(cell.id)
        attempts[-1]["error"] = error
        write_json(self.records.cell_folder(cell.id) / "attempts.json", attempts)
        return sum(attempt["error"] is not None for attempt in attempts)

    def _accept(self, cell: Cell, outcome: str, error: str | None) -> None:
        rows, seal = self.records.sealed_rows(cell.id)
        accepted = {
            "outcome": outcome,
            "error": error,
            "seconds": rows[-1]["seconds"] if rows else 0.0,
            "attempts": len(self.records.attempts(cell.id)),
            "ended": now(),
            TICKS_SEAL: seal,
        }
        self.records.accept(cell.id, accepted)
        left = self.records.cell_folder(cell.id) / "checkpoints"
        for name in store.names(left):
            (left / name).unlink()
        if cell.phase == "search":
            self.searches[cell.condition_name, cell.search].tell(cell, outcome, rows)
        self.remaining.accept(cell, outcome, rows)
        self.observer(cell, accepted)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Do nothing: the scheduler sees each result first and can stop the trial."""

    def __getstate__(self) -> dict[str, Any]:
        """Empty: Ray saves its searcher now and then, but this one's state is in the records."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Write an empty file, because Ray expects a file."""
        Path(checkpoint_path).write_text("")

    def restore(self, checkpoint_path: str) -> None:
        """Never called: a run starts the cells that are missing, and restores nothing from Ray."""


def now() -> str:
    """The present time (UTC, ISO 8601) for a record. Nothing is ever decided by it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
