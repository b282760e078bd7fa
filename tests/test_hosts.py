"""A Ray head and two workers, each on a host of its own, and a study that loses a worker.

Where this fails, cells are lost, repeated or changed when a machine is cut off from the network but
lives on.
"""

from __future__ import annotations

import math
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from study.engine.engine import is_alive
from study.planning.mlflow_store import default_uri
from study.records.records import Records
from tests import boxes
from tests.boxes import ROOT, Box, Boxes
from tests.chaos import kills
from tests.chaos.kills import NAME

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(1200)]

# Each cell has several ticks, so that a cell can be cut off in the middle.
STUDY = (
    f"python -m study.run {NAME} --scale smoke --data kana --only classes=5 --trials 2 --seeds 4"
    " --set kimg=3 --set search_kimg=3 --storage /shared"
)
# A host notices that it is cut off when a ping gets no answer. Without these settings, Ray waits
# two minutes for the answer.
IMPATIENT = {
    "RAY_grpc_client_keepalive_time_ms": "10000",
    "RAY_grpc_client_keepalive_timeout_ms": "10000",
}
SUBMIT = "ray job submit --address http://head:8265 --submission-id study --no-wait --"
# Waits for the job, like `ray job submit`, but does not end early if it loses its connection.
WAIT = """
import sys, time
from ray.job_submission import JobSubmissionClient
client = JobSubmissionClient("http://head:8265")
while not (status := client.get_job_status("study")).is_terminal():
    time.sleep(1)
print(client.get_job_logs("study"))
sys.exit(status.value != "SUCCEEDED")
"""


@pytest.fixture
def hosts() -> Iterator[Boxes]:
    """Three hosts that run compose's own commands: a head without trials, and two workers.

    Each worker runs one trial at a time.
    """
    if reason := boxes.missing():
        warnings.warn(f"no study was run on several hosts: {reason}", stacklevel=1)
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="hosts"))
    subprocess.run([ROOT / "docker" / "secrets.sh", folder / "secrets"], check=True)
    file = boxes.compose(WORKER_CPUS="1")
    services = {name: file["services"][name] for name in ("head", "worker")}
    for service in services.values():
        service["environment"] |= IMPATIENT
    made = Boxes(folder, folder / "secrets", {"services": services, "volumes": ["shared"]})
    try:
        made.up()
        yield made
    finally:
        made.down()


def holder(worker: Box) -> tuple[psutil.Process, str] | None:
    """The process on a worker's host that has a cell's lock, and the cell. None if none has."""
    for process in worker.init.children(recursive=True):
        try:  # psutil's open_files would look for the box's paths on this machine
            paths = [file.readlink() for file in Path(f"/proc/{process.pid}/fd").glob("*")]
        except (FileNotFoundError, ProcessLookupError):  # closed, or ended, just now
            continue
        for path in paths:
            if path.match("cells/*/.lock"):
                return process, path.parent.name
    return None


def test_host_that_is_cut_off_loses_or_repeats_cells(hosts: Boxes) -> None:
    """The trial on the host that is cut off lives on for a while, and writes.

    It keeps its cell from others until it ends.
    """
    head, workers, storage = hosts["head"], ("worker-1", "worker-2"), hosts.folder / "shared"
    records, orphan, cell = Records(storage / NAME), None, ""
    seen: dict[str, bytes] = {}  # results
    after: dict[str, float] = {}  # seconds from the cut to each event
    done = head.run(*SUBMIT.split(), *STUDY.split())
    assert done.returncode == 0, done.stdout + done.stderr
    began = time.monotonic()
    job = ThreadPoolExecutor().submit(head.run, "python", "-c", WAIT)
    while not job.done():
        time.sleep(0.1)
        now = kills.results(storage)
        assert seen.items() <= now.items(), "an accepted result was lost or changed"
        seen = now
        if orphan is None:
            if len(seen) < 2:
                continue
            held = {name: one for name in workers if (one := holder(hosts[name]))}
            if not held:
                continue
            name, (begun, cell) = held.popitem()
            if len(records.rows(cell)) > 2:  # the cell might end before its host is cut off
                continue
            hosts.cut(name)
            orphan = begun
            cut = time.monotonic()
            assert cell not in seen
        happened = {
            "given to another": len(records.attempts(cell)) > 1,
            "dead": not is_alive(orphan),
            "accepted": cell in seen,
        }
        for event, has in happened.items():
            if has:
                after.setdefault(event, time.monotonic() - cut)
    done, seconds = job.result(), time.monotonic() - began
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert orphan is not None, f"nobody was cut off: {done.stdout}"
    assert after.get("dead", math.inf) > 5, "its network was cut, not its life"
    assert after["accepted"] > after.get("given to another", math.inf), after

    cells = records.cells()
    retries = cells["attempts"].sum() - len(cells)
    times = ", ".join(f"{event} after {value:.0f} s" for event, value in after.items())
    print(f"{len(cells)} cells in {seconds:.0f} s, {retries} retries; the one cut off: {times}")
    assert cells["id"].is_unique
    assert set(cells["id"]) == set(seen) == set(records.ids())
    assert set(cells["outcome"]) == {"complete"}
    searched, confirmed = (cells[cells["phase"] == phase] for phase in ("search", "confirm"))
    assert len(searched) == 2
    kinds = ["is_reference", "is_best"]
    assert (confirmed[kinds].sum() == 4).all()
    assert confirmed[kinds].any(axis=1).all()
    again = head.run(*STUDY.split(), "--verify", cell)
    assert again.returncode == 0, again.stdout + again.stderr
    assert kills.mlflow_rows(default_uri(storage)) == kills.recorded_rows(records)
