"""A study on two nodes of a real Slurm: one controller and two node daemons on this machine.

Where this fails, a study on a Slurm cluster does not start, stays on one node, ends at the job's
time limit, or loses or repeats cells there.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from study.records.records import Records
from tests.chaos.kills import results

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
TOOLS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol")
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin"
NAME = "acgan_kmnist_classes"
STUDY = [NAME, "--scale=smoke", "--data=kana", "--only=classes=5", "--trials=2", "--seeds=8"]
STUDY += ["--set=kimg=10", "--set=search_kimg=1", "--set=tick_kimg=5"]
NODES = ("n1", "n2")
TRIALS = ("ray::StudyTrial", "ray::ResourceTr")  # names of processes that run cells

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
AuthType=auth/munge
# A requeued job waits until the credentials of its last run are void, else two minutes.
AuthInfo=socket={folder}/munge.sock,cred_expire=10
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
GresTypes=gpu
NodeName=DEFAULT CPUs=1 RealMemory=4000 Gres=gpu:1
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]}
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def free_ports(count: int) -> list[int]:
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(server.getsockname()[1]) for server in servers]
    for server in servers:
        server.close()
    return ports


@dataclass
class Slurm:
    folder: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def env(self) -> dict[str, str]:
        return os.environ | {"PATH": PATH, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def daemon(self, *command: object) -> None:
        with (self.folder / "daemons.log").open("ab") as log:
            line = [str(word) for word in command]
            made = subprocess.Popen(line, env=self.env, stdout=log, stderr=log)
        self.running.append(made)

    def start(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(32))
        key.chmod(0o600)
        host, ports = socket.gethostname().partition(".")[0], free_ports(3)
        text = CONFIGURATION.format(host=host, ports=ports, folder=self.folder)
        (self.folder / "slurm.conf").write_text(text)
        # This file is no GPU. Slurm grants it all the same, and no trial here asks for it.
        (self.folder / "gres.conf").write_text("NodeName=n1,n2 Name=gpu File=/dev/null\n")
        for folder in ("state", *NODES):
            (self.folder / folder).mkdir()
        munge = {"key": key, "pid": "munge.pid", "log": "munge.log", "seed": "munge.seed"}
        files = [f"--{name}-file={self.folder / file}" for name, file in munge.items()]
        self.daemon(
            "munged", "--foreground", "--force", f"--socket={self.folder}/munge.sock", *files
        )
        self.daemon("slurmctld", "-D")
        for node in NODES:
            self.daemon("slurmd", "-D", "-N", node)
        self.wait(lambda: self.says("sinfo", "--noheader", "--format=%D %T") == "2 idle", 60)

    def says(self, *command: str) -> str:
        done = subprocess.run(
            command, env=self.env, cwd=ROOT, capture_output=True, text=True, check=False
        )
        return (done.stdout + done.stderr).strip()

    def wait(self, condition: Callable[[], bool], seconds: float) -> None:
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                logs = (file.read_text()[-2000:] for file in self.folder.glob("*.log"))
                pytest.fail("\n".join(logs))
            time.sleep(0.5)


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    absent = [tool for tool in TOOLS if not shutil.which(tool, path=PATH)]
    if absent or os.geteuid() != 0:
        reason = f"not installed: {', '.join(absent)}" if absent else "Slurm's daemons need root"
        warnings.warn(f"no study was run on Slurm: {reason}", stacklevel=1)
        pytest.skip(reason)
    made = Slurm(Path(tempfile.mkdtemp(prefix="slurm")))
    try:
        made.start()
        yield made
    finally:
        made.says("scancel", "--full", "--signal=KILL", "--state=RUNNING")
        for process in made.running:
            process.kill()
            process.wait()
        shutil.rmtree(made.folder, ignore_errors=True)


def raylets(job: str) -> dict[str, psutil.Process]:
    """The running raylets of a job, by the Slurm node that they run on."""
    found = {}
    for process in psutil.process_iter(["name", "environ"]):
        environ = process.info["environ"] or {}
        if process.info["name"] == "raylet" and environ.get("SLURM_JOB_ID") == job:
            found[environ["SLURMD_NODENAME"]] = psutil.Process(process.pid)
    return found


@pytest.mark.parametrize("how", ["signal", pytest.param("limit", marks=pytest.mark.long)])
def test_job_that_reaches_its_time_limit_loses_or_repeats_cells(
    slurm: Slurm, tmp_path: Path, warm: Callable[[Path], Path], how: str
) -> None:
    """The job goes back to the queue when its time is up, and goes on from there.

    Slurm sends a signal before the time is up. Waiting for the limit takes two minutes of work, so
    the long form does that, and the short form sends the same signal.
    """
    storage, log = warm(tmp_path), slurm.folder / f"{how}.log"
    options = ["--parsable", "--cpus-per-task=1", "--gpus-per-node=1", f"--output={log}"]
    options += ["--time=10", "--signal=B:USR1@120"]
    study = [*STUDY, "--gpus-per-trial=0", f"--storage={storage}"]
    job, began = slurm.says("sbatch", *options, "docker/slurm.sbatch", *study), time.monotonic()
    assert job.isdecimal(), job
    worked = set[str]()
    granted = dict[str, str]()

    def half_way() -> bool:
        for node, raylet in raylets(job).items():
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
                granted[node] = str(raylet.cmdline())
                if any(child.name().startswith(TRIALS) for child in raylet.children()):
                    worked.add(node)
        return len(results(storage)) >= 4

    slurm.wait(half_way, 300)
    if how == "signal":
        slurm.says("scancel", "--batch", "--signal=USR1", job)
    else:  # a limit that will be reached within two minutes: Slurm sends USR1 when it looks next
        minutes = (time.monotonic() - began) // 60 + 2
        slurm.says("scontrol", "update", f"JobId={job}", f"TimeLimit={minutes:.0f}")
    slurm.wait(lambda: " Restarts=1 " in slurm.says("scontrol", "show", "job", job), 120)
    before = results(storage)
    assert len(before) < 10, "it was not cut half-way"
    assert worked == set(NODES)
    exactly = re.compile(r"\bCPU,1(\.0+)?,.*\bGPU,1(\.0+)?\b")
    assert all(map(exactly.search, granted.values())), granted
    slurm.says("scontrol", "update", f"JobId={job}", "TimeLimit=10")
    slurm.wait(lambda: "JobState=COMPLETED" in slurm.says("scontrol", "show", "job", job), 300)

    said, records = log.read_text(), Records(storage / NAME)
    assert said.count("2 of 2 nodes have joined") == 2
    assert "interrupted; give the same command again to go on" in said
    assert "Traceback" not in said
    assert before.items() <= results(storage).items(), "a finished cell was run again"
    cells = records.cells()
    assert cells["id"].is_unique
    assert set(cells["id"]) == set(records.ids())
    assert len(cells) >= 10  # 2 search cells and 8 seeds of the reference
    assert not list(Path("/tmp").glob("ray.*")), "a node's folder was left behind"
    cut = next(cell for cell in records.ids() if len(records.attempts(cell)) > 1)
    again = slurm.says(sys.executable, "-m", "study.run", *study, "--verify", cut)
    assert f"equal, all {len(records.rows(cut))} rows" in again


def test_job_that_is_cancelled_comes_back(slurm: Slurm, tmp_path: Path) -> None:
    """TERM, which comes when a job is cancelled, must not put the job back into the queue."""
    log = slurm.folder / "cancelled.log"
    options = ["--parsable", "--cpus-per-task=1", "--nodes=1", f"--output={log}"]
    job = slurm.says("sbatch", *options, "docker/slurm.sbatch", *STUDY, f"--storage={tmp_path}")
    slurm.wait(lambda: log.exists() and "judges: " in log.read_text(), 120)
    slurm.says("scancel", job)
    slurm.wait(lambda: job not in slurm.says("squeue", "--noheader", "--format=%i").split(), 60)
    assert "JobState=CANCELLED" in slurm.says("scontrol", "show", "job", job)
    assert not list(Path("/tmp").glob("ray.*")), "Ray's folder was left behind"
