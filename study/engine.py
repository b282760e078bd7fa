"""Start Ray and let it run what is missing."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable

# Before Ray Tune is imported. The trials write their own records, in absolute paths; Tune's own
# result files cost most of its throughput.
os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # `Watch` is in its place
os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")  # a line of ours says it
# A cell that diverges or fails has no objective to show; Tune would end the whole study for it.
os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")

import psutil
import ray
from ray import tune

from study.cell import Shared
from study.cluster import start_ray
from study.plan import Plan, Resources, is_finished
from study.records import Records
from study.schedule import EarlyStopping, Observer, StudySearcher
from study.trial import StopFile, StudyTrial

GRACE = 10  # seconds that cells have to checkpoint once they are to stop
RESTARTS = 3  # of Ray, where it dies again and again before any cell has a new tick
ECHO = 0.5  # seconds in which a second signal is the first one again: timeout(1) sends two


def run_cells(
    plan: Plan,
    records: Records,
    shared: Shared,
    resources: Resources,
    observer: Observer,
    report: Callable[[str], None],
) -> bool:
    """Run every cell that is missing; False where it ended early: by a signal, a full disk, or
    because Ray died several times in a row.

    On the Ray that this process is connected to, or one of its own.

    Args:
        report: called with one line where something goes wrong that the study survives.
    """
    ticks, deaths, own = -1, 0, not ray.is_initialized()
    while True:
        searcher = StudySearcher(plan, records, observer)
        with Watch(searcher) as watch:
            watch.start_ray(resources.cpus * resources.concurrent)
            _tune(searcher, shared, resources)
        if watch.asked or not watch.ray_died:
            break
        ray.shutdown()
        if not own:
            report(f"stopped: the cluster is lost{watch.why}; the same command goes on")
            break
        before, ticks = ticks, sum(len(records.rows(cell)) for cell in records.ids())
        deaths = deaths + 1 if ticks == before else 1
        if deaths > RESTARTS:
            report(f"stopped: Ray died {deaths} times in a row{watch.why}")
            break
        report("Ray died: it is started again, and the cells go on")
    if searcher.problem:
        report(f"stopped: {searcher.problem}; the same command goes on")
    return is_finished(plan, records)


def _tune(searcher: StudySearcher, shared: Shared, resources: Resources) -> None:
    """Let Tune run what the searcher hands out, to the end."""
    trainable = tune.with_resources(
        tune.with_parameters(StudyTrial, shared=shared),
        {"CPU": resources.cpus, "GPU": resources.gpus},
    )
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:  # of Tune's own
        tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=EarlyStopping(searcher),
                num_samples=-1,
                max_concurrent_trials=resources.concurrent,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=scratch,  # the driver's own: workers save nothing there
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
            ),
        ).fit()


class Watch:
    """While cells run: stops them where a signal comes, or Ray dies.

    SIGINT or SIGTERM: they checkpoint and stop; a second one: all ends at once. A local Ray that
    lost its raylet still runs its trials for some seconds, and would then end the driver.

    A thread does it: Python's own handlers wait for the main thread, which waits for Ray.
    """

    NUMBERS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, searcher: StudySearcher) -> None:
        self.searcher = searcher
        self.asked = False  # to stop, by a signal
        self.ray_died, self.why = False, ""
        self._ray: list[psutil.Process] | None = None  # its processes, once it has started
        self._since, self._deadline = math.inf, math.inf

    def __enter__(self) -> Watch:
        StopFile(self.searcher.records.folder).path.unlink(missing_ok=True)  # of a killed run
        self._ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        self._theirs, self._fd = theirs, signal.set_wakeup_fd(theirs.fileno())
        self._handlers = {number: signal.signal(number, lambda *_: None) for number in self.NUMBERS}
        self._handlers[signal.SIGALRM] = signal.signal(signal.SIGALRM, signal.default_int_handler)
        self._thread = threading.Thread(target=self._work, name="watch", daemon=True)
        self._thread.start()
        return self

    def start_ray(self, cpus: int) -> None:
        start_ray(cpus)
        children = psutil.Process().children()
        self._ray = [child for child in children if child.name() in ("raylet", "gcs_server")]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> bool:
        signal.alarm(0)
        signal.set_wakeup_fd(self._fd)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._theirs.close()  # ends the thread
        self._thread.join()
        self._ours.close()
        with contextlib.suppress(OSError):  # the next command begins with it
            self.searcher.records.check_lock()
            StopFile(self.searcher.records.folder).path.unlink(missing_ok=True)
        lost = isinstance(error, ray.exceptions.RayError | ConnectionError)  # a cluster
        if lost or (isinstance(error, Exception) and not self._ray_lives()):
            self.ray_died, self.why = True, f": {error}".splitlines()[0]
            return True
        # The grace is over: the cells that did not make it have their last tick on record. Ray's
        # own handler of SIGTERM, in place while it starts, exits.
        return isinstance(error, KeyboardInterrupt | SystemExit) and self.searcher.stopping

    def _ray_lives(self) -> bool:
        return self._ray is not None and not self.ray_died and all(map(is_alive, self._ray))

    def _work(self) -> None:
        self._ours.settimeout(0.5)  # seconds between two looks at Ray
        while True:
            try:
                heard = self._ours.recv(1)
            except TimeoutError:
                if time.monotonic() > self._deadline:  # not even the main thread answers
                    self._end_at_once()
                if self._ray is not None and not self.ray_died and not self._ray_lives():
                    self.ray_died = True
                    self._stop()
                continue
            if not heard:
                return
            if heard[0] in self.NUMBERS:
                if self.asked and time.monotonic() > self._since + ECHO:
                    self._end_at_once()
                if not self.asked:
                    self.asked, self._since = True, time.monotonic()
                    self._stop()

    def _stop(self) -> None:
        signal.alarm(GRACE)  # then a KeyboardInterrupt
        self._deadline = time.monotonic() + 1.5 * GRACE
        self.searcher.stop()

    def _end_at_once(self) -> None:
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        os._exit(130)


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs: a zombie does not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
