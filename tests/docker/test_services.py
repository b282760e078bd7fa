"""Starts every service of compose.yaml outside Docker, by its own command, and runs a study there.

Each service is on a host of its own. In the middle of the study, one of the two workers is cut off
from the network, and lives on for a while.

Where this fails, `docker compose up` does not come up, loses results, or lets strangers in; or
cells are lost, repeated or changed when a machine is cut off.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from study.engine.engine import is_alive
from study.records.records import Records
from tests import boxes
from tests.boxes import ROOT, Box, Boxes
from tests.chaos import kills
from tests.chaos.kills import NAME
from tests.docker.scripts import DATABASE, LOAD, ONCE, RUNS, STATUS, STORE
from tests.docker.test_files import memory_limit
from tests.docker.test_rayjob import pods

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

TOOLS = ("weed", "wget", "initdb", "pg_isready")
WORKERS = ("worker-1", "worker-2")
# Each cell has several ticks, so that its worker can be cut off in the middle.
STUDY = [NAME, "--scale=smoke", "--data=kana", "--only=classes=5", "--trials=2", "--seeds=4"]
STUDY += ["--set=kimg=3", "--set=search_kimg=3"]
# A host notices that it is cut off when a ping gets no answer. Without these settings, Ray waits
# two minutes for the answer.
IMPATIENT = {
    "RAY_grpc_client_keepalive_time_ms": "10000",
    "RAY_grpc_client_keepalive_timeout_ms": "10000",
}


@pytest.fixture(scope="module")
def up() -> Iterator[Boxes]:
    """All services, healthy by their own health checks. Each worker has one processor."""
    if reason := boxes.missing(*TOOLS):
        warnings.warn(f"compose's services were NOT run: {reason}", stacklevel=1)
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="compose"))
    secrets = folder / "secrets"
    subprocess.run([ROOT / "docker" / "secrets.sh", secrets], check=True)
    file = boxes.compose(WORKER_CPUS="1")
    for service in ("head", "worker"):
        file["services"][service]["environment"] |= IMPATIENT
    made = Boxes(folder, secrets, file)
    try:
        made.up()
        yield made
    finally:
        made.down()


@dataclass
class Cut:
    """A study that ran to its end, although one of its workers was cut off in the middle."""

    records: Records
    worked: set[str]  # the workers that had a cell
    cell: str  # which the worker had that was cut off
    after: dict[str, float]  # seconds from the cut to each event


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


@pytest.fixture(scope="module")
def study(up: Boxes, warm: Callable[[Path], Path]) -> Cut:
    """A study of which accepted results were neither lost nor changed at any moment."""
    driver, storage = up["driver"], up.folder / "shared" / "runs"
    storage.mkdir()
    for path in (storage, *warm(storage).rglob("*")):
        shutil.chown(path, 1000, 1000)
    records, orphan, cell = Records(storage / NAME), None, ""
    worked: set[str] = set()
    seen: dict[str, bytes] = {}  # results
    after: dict[str, float] = {}
    job = ThreadPoolExecutor().submit(driver.run, *driver.service["entrypoint"], *STUDY)
    while not job.done():
        time.sleep(0.1)
        now = kills.results(storage)
        assert seen.items() <= now.items(), "an accepted result was lost or changed"
        seen = now
        if orphan is None:
            held = {name: one for name in WORKERS if (one := holder(up[name]))}
            worked |= held.keys()
            if not held or len(seen) < 2 or worked != set(WORKERS):
                continue
            name, (begun, cell) = held.popitem()
            if len(records.rows(cell)) > 2:  # the cell might end before its host is cut off
                continue
            up.cut(name)
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
    done = job.result()
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert orphan is not None, f"nobody was cut off: {done.stdout}"
    return Cut(records, worked, cell, after)


def status(up: Boxes, url: str, **headers: str) -> str:
    return up["driver"].python(STATUS.format(url=url, headers=headers)).strip()


def test_probe_of_kubernetes_fails(up: Boxes) -> None:
    """A kubelet asks from another machine and without the token."""
    for pod, host in zip(pods(), ("head", "worker-1"), strict=True):
        for kind in ("livenessProbe", "readinessProbe"):
            get = pod["spec"]["containers"][0][kind]["httpGet"]
            assert status(up, f"http://{host}:{get['port']}{get['path']}") == "200", (host, kind)


def test_host_that_is_cut_off_loses_or_repeats_cells(up: Boxes, study: Cut) -> None:
    """The trial on the host that is cut off lives on for a while, and writes.

    It keeps its cell from others until it ends.
    """
    after = study.after
    print("the cell cut off:", ", ".join(f"{event} after {s:.0f} s" for event, s in after.items()))
    assert study.worked == set(WORKERS)
    assert after.get("dead", math.inf) > 5, "its network was cut, not its life"
    assert after["accepted"] > after.get("given to another", math.inf), after
    cells = study.records.cells()
    assert cells["id"].is_unique
    assert set(cells["id"]) == set(study.records.ids())
    assert set(cells["outcome"]) == {"complete"}
    searched, confirmed = (cells[cells["phase"] == phase] for phase in ("search", "confirm"))
    assert len(searched) == 2
    kinds = ["is_reference", "is_best"]
    assert (confirmed[kinds].sum() == 4).all()
    assert confirmed[kinds].any(axis=1).all()
    command = ("python", "-m", "study.run", *STUDY, "--storage=/shared/runs")
    again = up["head"].run(*command, "--verify", study.cell)
    assert again.returncode == 0, again.stdout + again.stderr


def test_study_is_not_in_mlflow(up: Boxes, study: Cut) -> None:
    """Runs and metrics must be in PostgreSQL, and artifacts in the S3-compatible store.

    All of them get there through MLflow.
    """
    runs = json.loads(up["driver"].python(RUNS))
    children = {run["data"]["tags"]["cell"]: run for run in runs if "cell" in run["data"]["tags"]}
    cells = study.records.cells().set_index("id")
    assert children.keys() == set(cells.index)
    (parent,) = [run for run in runs if "cell" not in run["data"]["tags"]]
    assert parent["info"]["status"] == "FINISHED"
    for cell, run in children.items():
        fcd = run["data"]["metrics"].get("fcd", math.nan)
        assert fcd == pytest.approx(cells.loc[cell, "last/fcd"], nan_ok=True)
        pictures = [*study.records.cell_folder(cell).glob("samples/*.png")]
        assert sum(file.startswith("images/") for file in run["files"]) >= len(pictures)
    assert cells["last/fcd"].notna().sum() >= 5
    assert "report.html" in parent["files"]
    up["driver"].python(ONCE)

    stored = json.loads(up["mlflow"].python(STORE))
    for run in runs:
        for file in run["files"]:
            key = f"{run['info']['experiment_id']}/{run['info']['run_id']}/artifacts/{file}"
            assert stored[key] > 0
    assert len(stored) == sum(len(run["files"]) for run in runs)
    ours = "password = open('/run/secrets/postgres_password').read()"
    assert int(up["mlflow"].python(DATABASE.format(password=ours))) == len(runs)


def test_service_needs_the_memory_that_it_may_take(up: Boxes, study: Cut) -> None:
    """The limits are for studies that are larger than this one."""
    for name, box in up.items():
        if not box.lives:
            assert name in WORKERS, f"{name} has ended"  # the one that was cut off
            continue
        used, limit = box.memory, memory_limit(box.service)
        print(f"{name}: {used / 2**20:.0f} MiB of {limit / 2**20:.0f}")
        assert used < limit / 2, name


def test_generator_does_not_reach_the_registry(up: Boxes, study: Cut) -> None:
    """Generators are registered twice. Their files must be in the S3-compatible store once.

    They must load from there.
    """
    command = ("python", "-m", "study.report", NAME, "--register", "--storage=/shared/runs")
    for _ in range(2):
        done = up["driver"].run(*command, "--tracking-uri=http://mlflow:5000")
        assert done.returncode == 0, done.stderr
        assert done.stdout.count(f": models:/{NAME}.classes-") == 1, done.stdout
    assert done.stdout.count("/1 was there") == 1
    assert up["driver"].python(LOAD).strip() == "2 1 28 28"
    stored = json.loads(up["mlflow"].python(STORE))
    assert sum(key.endswith("/generator.safetensors") for key in stored) == 1


def test_stranger_is_let_in(up: Boxes, study: Cut) -> None:
    driver = up["driver"]
    done = driver.run(*driver.service["entrypoint"], *STUDY, RAY_AUTH_TOKEN="0" * 64)
    assert "AuthenticationError" in done.stderr
    assert status(up, "http://head:8265/api/jobs/") == "401"
    assert status(up, "http://mlflow:5000/api/2.0/mlflow/experiments/get?experiment_id=0") == "200"
    evil = status(up, "http://mlflow:5000/api/2.0/mlflow/experiments/get?experiment_id=0", Host="e")
    assert evil == "403"
    assert status(up, "http://s3:8333/mlflow?list-type=2") == "403"
    assert status(up, "http://s3:8888/") == "ConnectionRefusedError", "SeaweedFS' own ports"
    wrong = up["mlflow"].run("python", "-c", DATABASE.format(password="password = 'x'"))
    assert "password authentication failed" in wrong.stderr


def test_secret_is_seen(up: Boxes, study: Cut) -> None:
    """No secret may be in process lists, logs, records or MLflow."""
    made = {file.name: file.read_text() for file in up.secrets.iterdir()}
    key = made["s3_credentials"].split()[-1]
    assert key in made["s3_identities.json"]
    secrets = [made["ray_token"], made["postgres_password"], key]
    shown = [" ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"])]
    assert any("mlflow server" in line for line in shown)
    shown.append(up["driver"].python(RUNS))
    files = [box.log for box in up.values()]
    for box in up.values():
        if box.lives:  # the one that was cut off has ended, and its files with it
            files += box.tmp.glob("ray/session_*/logs/**/*.*")
    files += study.records.folder.rglob("*")
    shown += [file.read_text(errors="replace") for file in files if file.is_file()]
    assert len(files) > 100
    for secret in secrets:
        assert len(secret) == 64
        assert not any(secret in text for text in shown)
