"""A scheduler for Ray Tune that stops search cells early, and lets no worker go."""

from __future__ import annotations

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from study.engine.schedule import StudySearcher


class EarlyStopping(FIFOScheduler):
    """Asks the search of a cell's own condition whether the cell should stop.

    It also keeps Tune from losing workers. Tune has no option for this, so names of its own that
    begin with an underscore are used. `tests/study/engine/test_workers.py` shows whether they still
    do what they did.
    """

    def __init__(self, searcher: StudySearcher) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.searcher, self._keeps_workers = searcher, False

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Let Tune keep every worker that it has started.

        Tune keeps a single idle worker, unless a trial waits for one. So of two cells that end
        together, one would cost its worker, and a new one would have to start.
        """
        if not self._keeps_workers:
            cache = tune_controller._tune_controller._actor_cache
            cache.increase_max(trial.placement_group_factory, by=self.searcher.workers)
            self._keeps_workers = True

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """Choose no trial: Tune starts pending trials in order by itself.

        FIFOScheduler would choose the first pending trial, and so does Tune itself as soon as a
        worker is free. But that trial's own worker may be starting, and would be thrown away.
        Where cells end sooner than a worker starts, this would go on for ever. So trials whose
        workers are starting are taken out of those to which Tune gives a free worker. Trials whose
        workers wait for resources stay among them, because a free worker has the resources.
        """
        tune = tune_controller._tune_controller
        for trial in tune._pending_trials & tune._trial_to_actor.keys():
            if tune._actor_manager.is_actor_started(tune._trial_to_actor[trial]):
                tune._resources_to_pending_trials[trial.placement_group_factory].discard(trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        stop = self.searcher.observe(trial.config["cell"]["id"], result["kimg"])
        return str(TrialScheduler.STOP if stop else TrialScheduler.CONTINUE)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Note whether Ray killed the worker for want of memory.

        Ray tells the searcher itself that the trial ended, but not why.
        """
        if "OutOfMemoryError" in str(trial.get_error()):  # only the text names the cause
            self.searcher.killed_for_memory.add(trial.config["cell"]["id"])
