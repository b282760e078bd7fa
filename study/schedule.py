"""Which cell runs next, and what its end means: Ray's searcher and scheduler over the records."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from study.plan import Cell, Plan, confirmations
from study.records import Records, write_json
from study.search import ConditionSearch
from study.trial import StopFile

ATTEMPTS = 3  # of a cell whose code crashes
DEATHS = 10  # of a cell's workers without a tick: preemption comes in bursts, a segfault always

# result: None while the cell runs, outcome "again" where a crash did not end it
Observer = Callable[[Cell, dict[str, Any] | None], None]


class StudySearcher(Searcher):
    """Hands out what is missing: searches, unfinished cells first, then confirm cells.

    Confirm cells of the reference fill the machine while a search waits for its last trials; those
    of the best configuration come when their condition's search is over.
    """

    def __init__(self, plan: Plan, records: Records, observer: Observer) -> None:
        super().__init__(metric="objective", mode="min")
        self.plan, self.records, self.observer = plan, records, observer
        self.searches = {name: ConditionSearch(plan, name, records) for name in plan.searched}
        self.queue: list[Cell] = []  # those that crashed and are tried again
        self.running: dict[str, Cell] = {}  # by Ray's trial id
        self.given: set[str] = set()  # ids of cells that were handed out
        self.stopped: set[str] = set()  # ids of cells that were stopped early
        self.deaths: dict[str, tuple[int, int]] = {}  # cell id -> rows then, deaths since
        self.killed_for_memory: set[str] = set()  # ids of cells whose worker Ray killed for it
        self.problem: str | None = None  # why the study cannot go on for now
        self.stopping = False

    def stop(self, problem: str | None = None) -> None:
        """No more cells; those that run are told to checkpoint and stop."""
        self.stopping = True
        self.problem = self.problem or problem
        with contextlib.suppress(OSError):  # on a full disk they stop by themselves
            self.records.check_lock()  # else the cells that run there are another command's
            StopFile(self.records.folder).path.touch()

    def suggest(self, trial_id: str) -> Any:
        """The next cell as a trial's configuration; None to wait, FINISHED when all are done."""
        cell = None if self.stopping else self._next()
        if cell is None:
            return None if self.running else Searcher.FINISHED
        try:
            self._begin(cell)
        except OSError as error:
            self.stop(str(error))
            return None if self.running else Searcher.FINISHED
        self.running[trial_id] = cell
        self.observer(cell, None)
        return {"cell": cell.as_json()}

    def _begin(self, cell: Cell) -> None:
        self.records.check_lock()
        folder, attempts = self.records.cell_folder(cell.id), self.records.attempts(cell.id)
        if not (folder / "cell.json").exists():
            write_json(folder / "cell.json", cell.as_json())
        run = len(self.records.study()["runs"]) - 1
        attempts.append({"started": now(), "run": run, "error": None})
        write_json(folder / "attempts.json", attempts)
        self.given.add(cell.id)

    def _next(self) -> Cell | None:
        if self.queue:
            return self.queue.pop(0)
        for search in sorted(self.searches.values(), key=lambda s: s.given):
            if (cell := search.ask()) is not None:
                return cell
        missing = [c for c in confirmations(self.plan, self.records) if c.id not in self.given]
        return next((c for c in missing if self.records.result(c.id) is None), None)

    def observe(self, cell_id: str) -> bool:
        """One tick of a running cell; whether it should stop."""
        cell = next(cell for cell in self.running.values() if cell.id == cell_id)
        self.observer(cell, None)
        if cell.phase == "confirm":
            return False
        search = self.searches[cell.condition_name]
        try:
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
        """Accept the cell, or queue it again where its code crashed and it may be tried again."""
        cell = self.running.pop(trial_id, None)
        if cell is None:  # Ray tells twice where it stumbled over the first time
            return
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
        elif outcome == "failed" and self._crashes(cell, error) < ATTEMPTS:
            outcome = "again"
        if outcome == "again":
            self.queue.append(cell)
            self.observer(cell, {"outcome": outcome, "error": error})
        elif outcome is not None:  # else it was stopped: it goes on next time
            self._accept(cell, outcome, error)

    def _death(self, cell: Cell) -> tuple[str, str | None]:
        """A worker died: nobody's fault, unless it happens time and again at the same place."""
        rows = len(self.records.rows(cell.id))
        then, deaths = self.deaths.get(cell.id, (rows, 0))
        deaths = deaths + 1 if rows == then else 1
        self.deaths[cell.id] = rows, deaths
        if deaths < DEATHS:
            return "again", "its worker died"
        if cell.id in self.killed_for_memory:
            return "out_of_memory", f"Ray killed the worker {deaths} times for want of memory"
        return "failed", f"the worker process died {deaths} times without a tick in between"

    def _crashes(self, cell: Cell, error: str | None) -> int:
        """Note the traceback; how many there are, those of earlier runs of the command included."""
        attempts = self.records.attempts(cell.id)
        attempts[-1]["error"] = error
        write_json(self.records.cell_folder(cell.id) / "attempts.json", attempts)
        return sum(attempt["error"] is not None for attempt in attempts)

    def _accept(self, cell: Cell, outcome: str, error: str | None) -> None:
        rows, folder = self.records.rows(cell.id), self.records.cell_folder(cell.id)
        accepted = {
            "outcome": outcome,
            "error": error,
            "seconds": rows[-1]["seconds"] if rows else 0.0,
            "attempts": len(self.records.attempts(cell.id)),
            "ended": now(),
        }
        self.records.accept(cell.id, accepted)
        for path in (folder / "checkpoints").glob("*"):
            path.unlink()
        if cell.phase == "search":
            self.searches[cell.condition_name].tell(cell, outcome, rows)
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

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """None: Tune starts pending trials in order by itself. FIFO's choice, the first of them,
        may have an actor that is still starting: a free worker would take its cell, time and again.
        """

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        stop = self.searcher.observe(trial.config["cell"]["id"])
        return str(TrialScheduler.STOP if stop else TrialScheduler.CONTINUE)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """The searcher hears of the end itself, but not of its cause."""
        if "OutOfMemoryError" in str(trial.get_error()):  # the text of it
            self.searcher.killed_for_memory.add(trial.config["cell"]["id"])


def now() -> str:
    """The time for a record; nothing is ever decided by it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
