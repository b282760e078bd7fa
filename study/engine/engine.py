"""Start Ray, and let it run the cells that are missing."""

from __future__ import annotations

import contextlib
import gc
import math
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator

# These must be set before Ray Tune is imported. The trials write their own records, to absolute
# paths. Tune's own result files would cost most of its throughput.
os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # `RunSupervisor` handles SIGINT
os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")  # the study prints a line of its own
# Nothing is restored from Tune's own state. Saving it takes the longer the more trials there are,
# and a copy that runs while the next is written fails with a traceback.
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "inf")
# A cell that diverges or fails reports no objective. Without this, Tune would end the whole study.
os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")

import psutil
import ray
from ray import tune

from study.engine.cluster import start_ray
from study.engine.early_stopping import EarlyStopping
from study.engine.schedule import Grow, Observer, StudySearcher
from study.engine.shared_state import Shared
from study.engine.trial import StopFile, StudyTrial
from study.planning.plan import Plan
from study.planning.resources import Resources
from study.records.records import Records

GRACE_SECONDS = 10  # seconds that cells have to checkpoint once they are told to stop
MAX_RESTARTS = 3  # restarts of Ray in a row without a new tick of any cell
# Within so many seconds a second signal counts as a repetition of the first: timeout(1) sends two.
ECHO_SECONDS = 0.5


def run_cells(
    plan: Plan,
    records: Records,
    shared: Shared,
    resources: Resources,
    observer: Observer,
    report: Callable[[str], None],
    grow: Grow | None = None,
) -> bool:
    """Run every cell that is missing, on the Ray that this process is connected to or on a new one.

    A Ray that this function started is started again when it dies, at most `MAX_RESTARTS` times in
    a row without a new tick.

    Args:
        report: called with one line when Ray dies, when a cell may hang, and when a problem ends
            the run early. The same command can then continue the study.
        grow: called when every cell has ended; gives the plan more cells. None: there are no more.

    Returns: whether every cell is accepted. False where the run ended early: by a signal, a full
        disk, the loss of the cluster, or because Ray died several times in a row.
    """
    ticks, deaths, own = -1, 0, not ray.is_initialized()
    while True:
        searcher = StudySearcher(plan, records, observer, resources.concurrent, grow)
        with RunSupervisor(searcher, report) as watch, _short_collections():
            watch.start_ray(resources.cpus * resources.concurrent)
            _tune(searcher, shared, resources)
        if watch.asked or not watch.ray_died:
            break
        ray.shutdown()
        if not own:
            report(f"stopped: the cluster is lost{watch.why}; give the same command again to go on")
            break
        before, ticks = ticks, sum(len(records.rows(cell)) for cell in records.ids())
        deaths = deaths + 1 if ticks == before else 1
        if deaths > MAX_RESTARTS:
            report(f"stopped: Ray died {deaths} times in a row{watch.why}")
            break
        report("Ray died: it is started again, and the cells go on")
    if searcher.problem:
        report(f"stopped: {searcher.problem}; give the same command again to go on")
    return searcher.remaining.is_finished


@contextlib.contextmanager
def _short_collections() -> Iterator[None]:
    """Keep Python's garbage collector from looking at all that was imported again and again.

    There are more than half a million objects, and workers would wait for a quarter of a second.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _tune(searcher: StudySearcher, shared: Shared, resources: Resources) -> None:
    """Let Tune run the cells that the searcher hands out, until there are no more."""
    trainable = tune.with_resources(
        tune.with_parameters(StudyTrial, shared=shared),
        {"CPU": resources.cpus, "GPU": resources.gpus},
    )
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:  # for Tune's files
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
                storage_path=scratch,  # on the driver's machine: workers save nothing there
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
                # In a notebook Tune would take another one, which clears all that was printed.
                progress_reporter=tune.CLIReporter(),
            ),
        ).fit()


class RunSupervisor:
    """Supervises the running cells: stops them when a signal arrives or when Ray dies.

    It also reports cells that may hang.

    After a first SIGINT or SIGTERM the cells checkpoint and stop. After a second one all processes
    end at once. A local Ray that lost its raylet still runs its trials for some seconds, and would
    then end the driver, so the cells are stopped before that.

    A thread does this work, because Python runs its own signal handlers in the main thread, which
    is waiting for Ray.
    """

    NUMBERS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, searcher: StudySearcher, report: Callable[[str], None]) -> None:
        self.searcher, self.report = searcher, report
        self.asked = False  # whether a signal asked for a stop
        self.ray_died, self.why = False, ""
        self._ray: list[psutil.Process] | None = None  # its processes, once started
        # Times of time.monotonic(): the first signal, and when to end all processes.
        self._since, self._deadline = math.inf, math.inf

    def __enter__(self) -> RunSupervisor:
        StopFile(self.searcher.records.folder).path.unlink(missing_ok=True)  # left by a killed run
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
        with contextlib.suppress(OSError):  # if this fails, the next command removes the file
            self.searcher.records.check_lock()
            StopFile(self.searcher.records.folder).path.unlink(missing_ok=True)
        # The connection to a cluster is lost, or a local Ray has died.
        lost = isinstance(error, ray.exceptions.RayError | ConnectionError)
        if lost or (isinstance(error, Exception) and not self._ray_lives()):
            self.ray_died, self.why = True, f": {error}".splitlines()[0]
            return True
        # A KeyboardInterrupt means that the grace period is over. Cells that did not stop in time
        # have their last tick on record. A SystemExit comes from Ray's own handler of SIGTERM,
        # which is in place while Ray starts.
        return isinstance(error, KeyboardInterrupt | SystemExit) and self.searcher.stopping

    def _ray_lives(self) -> bool:
        return self._ray is not None and not self.ray_died and all(map(is_alive, self._ray))

    def _work(self) -> None:
        self._ours.settimeout(0.5)  # seconds between two checks of Ray
        while True:
            try:
                heard = self._ours.recv(1)
            except TimeoutError:
                if time.monotonic() > self._deadline:  # the main thread did not react to the alarm
                    self._end_at_once()
                if self._ray is not None and not self.ray_died and not self._ray_lives():
                    self.ray_died = True
                    self._stop()
                for line in self.searcher.silence.lines():
                    self.report(line)
                continue
            if not heard:
                return
            if heard[0] in self.NUMBERS:
                if self.asked and time.monotonic() > self._since + ECHO_SECONDS:
                    self._end_at_once()
                if not self.asked:
                    self.asked, self._since = True, time.monotonic()
                    self._stop()

    def _stop(self) -> None:
        signal.alarm(GRACE_SECONDS)  # seconds until a KeyboardInterrupt
        self._deadline = time.monotonic() + 1.5 * GRACE_SECONDS
        self.searcher.stop()

    def _end_at_once(self) -> None:
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        os._exit(130)


def is_alive(process: psutil.Process) -> bool:
    """Whether the process runs. A zombie does not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
