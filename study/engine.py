"""Start Ray and let it run what is missing."""

from __future__ import annotations

import logging
import os
import shutil
import signal

# Before Ray is imported. The trials write their own records, in absolute paths; Tune's own result
# files cost most of its throughput.
os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# A cell that diverges or fails has no objective to show; Tune would end the whole study for it.
os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")

import ray
from ray import tune

from study.cell import Shared
from study.plan import Plan, Resources, is_finished
from study.records import Records
from study.schedule import EarlyStopping, Observer, StudySearcher
from study.trial import StudyTrial


def run_cells(
    plan: Plan, records: Records, shared: Shared, resources: Resources, observer: Observer
) -> bool:
    """Run every cell that is missing; returns False where a signal stopped it early."""
    start_ray(resources.cpus * resources.concurrent)
    # SIGTERM ends like SIGINT: Tune stops its trials, whose last checkpoints are on record.
    before = signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    scratch = records.folder.resolve() / ".ray"
    shutil.rmtree(scratch, ignore_errors=True)  # what a killed run left
    searcher = StudySearcher(plan, records, observer)
    trainable = tune.with_resources(
        tune.with_parameters(StudyTrial, shared=shared),
        {"CPU": resources.cpus, "GPU": resources.gpus},
    )
    try:
        tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=EarlyStopping(searcher),
                num_samples=-1,
                max_concurrent_trials=resources.concurrent,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(name="tune", storage_path=str(scratch), verbose=0),
        ).fit()
    finally:
        signal.signal(signal.SIGTERM, before)
        shutil.rmtree(scratch, ignore_errors=True)  # the records are what remains
    return is_finished(plan, records)


def start_ray(cpus: int) -> None:
    """A local Ray, with token authentication as Ray has it by default, no dashboard, no noise.

    Args:
        cpus: what its trials take together: Ray's own count may differ from ours.
    """
    if not ray.is_initialized():
        ray.init(
            num_cpus=cpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
