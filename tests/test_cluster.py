"""A Ray cluster of two nodes on this machine, and jobs submitted to it as the README says.

Where these fail, a study does not run beyond one machine, or loses or repeats cells there.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from study.records.environment import code_digest
from study.records.records import Records
from tests import elsewhere

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[1]
RAY = str(Path(sys.executable).with_name("ray"))
NAME = "acgan_kmnist_classes"
STUDY = f"{NAME} --scale smoke --data kana --only classes=5 --trials 2 --seeds 6"
WAIT = {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "60"}}


@dataclass
class Cluster:
    folder: Path
    env: dict[str, str]
    port: int
    dashboard: int

    def ray(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [RAY, *arguments],
            env=self.env | env,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    def start(self, *arguments: str) -> psutil.Process:
        """Start a node. Returns its raylet."""
        before = self.raylets()
        done = self.ray("start", "--num-cpus", "1", "--disable-usage-stats", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        (raylet,) = self.raylets() - before
        return raylet

    def raylets(self) -> set[psutil.Process]:
        found = psutil.process_iter(["name", "cmdline"])
        mine = f"{self.folder}/"
        return {p for p in found if p.info["name"] == "raylet" and mine in str(p.info["cmdline"])}

    def job(self, command: str, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
        """`ray job ...` at the dashboard's address."""
        address = f"http://127.0.0.1:{self.dashboard}"
        return self.ray("job", command, "--address", address, *options, **env)

    def submit(
        self, name: str, arguments: str, *options: str, folder: Path = ROOT, **env: str
    ) -> str:
        options = (*options, "--submission-id", name, "--runtime-env-json", json.dumps(WAIT))
        run = ["--", "python", "-m", "study.run", *shlex.split(arguments)]
        done = self.job("submit", *options, "--working-dir", str(folder), *run, **env)
        return done.stdout + done.stderr


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head and a worker node, one processor each."""
    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))  # a socket's path has to be short
    env = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    env |= {
        "HOME": str(folder),
        "RAY_AUTH_MODE": "token",
        "PATH": f"{Path(RAY).parent}:{env['PATH']}",
    }
    made = Cluster(folder, env, free_port(), free_port())
    assert made.ray("get-auth-token", "--generate").returncode == 0
    agents = [("--dashboard-agent-listen-port", str(free_port())) for _ in range(2)]
    head = ("--head", "--port", str(made.port), "--dashboard-port", str(made.dashboard))
    try:
        made.start(*head, *agents[0], "--temp-dir", str(folder / "r"))
        made.start("--address", f"127.0.0.1:{made.port}", *agents[1])
        yield made
    finally:
        for process in psutil.process_iter(["cmdline", "environ"]):
            ours = (process.info["environ"] or {}).get("HOME") == str(folder)
            if ours or f"{folder}/" in str(process.info["cmdline"]):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        shutil.rmtree(folder, ignore_errors=True)


def results(storage: Path) -> dict[str, bytes]:
    found = storage.glob(f"{NAME}/cells/*/result.json")
    return {path.parent.name: path.read_bytes() for path in found}


def wait_for(storage: Path, count: int) -> None:
    until = time.monotonic() + 300
    while len(results(storage)) < count:
        assert time.monotonic() < until
        time.sleep(0.1)


def test_cluster_that_cannot_do_it_is_tried(cluster: Cluster, tmp_path: Path) -> None:
    def refused(*arguments: str, **env: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "study.run", *shlex.split(STUDY), *arguments],
            env={k: v for k, v in (cluster.env | env).items() if k != "RAY_AUTH_MODE"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert not list(tmp_path.glob(f"{NAME}/*"))
        return done.stderr

    address, storage = f"127.0.0.1:{cluster.port}", ("--storage", str(tmp_path))
    there = ("--address", address, *storage)
    assert "no node has both: 1 CPU and 0 GPU | 1 CPU" in refused(*there, "--cpus-per-trial", "2")
    nobody = f"127.0.0.1:{free_port()}"
    assert "Connection refused" in refused("--address", nobody, *storage)
    stale = refused(*storage, RAY_ADDRESS=nobody)
    assert f"RAY_ADDRESS '{nobody}'" in stale, "an option is blamed that nobody gave"
    assert "--address" not in stale
    assert "no authentication token" in refused(*there, HOME=str(tmp_path))


def test_own_study_does_not_reach_the_nodes(cluster: Cluster, tmp_path: Path) -> None:
    """The driver runs in a folder of its own, and no node has what the study consists of."""
    elsewhere.copy_to(tmp_path / "own")
    there = ["--address", f"127.0.0.1:{cluster.port}", "--storage", str(tmp_path / "runs")]
    done = subprocess.run(
        [sys.executable, "-m", "study.run", "own/my_study.py", "--scale", "smoke", *there],
        env={k: v for k, v in cluster.env.items() if k != "RAY_AUTH_MODE"}
        | {"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,  # Ray's workers look for modules in the driver's working folder
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "cells: 2 complete" in done.stdout


@pytest.mark.long
def test_own_study_is_no_job(cluster: Cluster, tmp_path: Path) -> None:
    study = elsewhere.copy_to(tmp_path / "own")
    job = f"{study.name} --scale smoke --storage {tmp_path / 'jobs'}"
    # Both nodes unpack a job's folder into one place here, the second one over the first, from
    # under the job that runs there. So a job that is refused comes before.
    cluster.submit("unpack", study.name, folder=study.parent)
    said = cluster.submit("own", job, folder=study.parent)
    assert "'own' succeeded" in cluster.job("status", "own").stdout, said
    cells = Records(tmp_path / "jobs" / "my_study").cells()
    assert list(cells["outcome"]) == ["complete"] * 2


def test_job_loses_or_repeats_cells(
    cluster: Cluster, tmp_path: Path, warm: Callable[[Path], Path]
) -> None:
    """A worker node is killed, and the job is stopped. Submitted again, the job continues."""
    warm(tmp_path)
    stays = f"{STUDY} --storage {tmp_path}"
    assert "name one that stays" in cluster.submit("relative", STUDY)
    stranger = cluster.submit("stranger", stays, HOME=str(tmp_path / "nobody"))
    assert "AuthenticationError" in stranger

    cluster.submit("first", stays, "--no-wait")
    wait_for(tmp_path, 2)
    worker = next(p for p in cluster.raylets() if "--head" not in p.info["cmdline"])
    worker.kill()
    wait_for(tmp_path, 4)
    assert cluster.job("stop", "first").returncode == 0
    assert "'first' was stopped" in cluster.job("status", "first").stdout
    said = cluster.job("logs", "first").stdout
    assert "interrupted; give the same command again to go on" in said
    assert "Traceback" not in said
    before = results(tmp_path)

    out = cluster.submit("second", stays)
    assert "'second' succeeded" in cluster.job("status", "second").stdout, out
    after = results(tmp_path)
    assert before.items() <= after.items(), "a finished cell was run again"
    cells = Records(tmp_path / NAME).cells()
    assert set(cells["outcome"]) <= {"complete", "pruned"}
    assert cells["id"].is_unique
    assert len(cells) == len(after) >= 8  # 2 search cells and 6 seeds of the reference
    (run,) = {(run["git_commit"], run["code"]) for run in Records(tmp_path / NAME).study()["runs"]}
    assert run == ("none", code_digest(ROOT)), "nobody can tell which code a job ran"
