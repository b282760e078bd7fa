"""Records in an S3-compatible object store: SeaweedFS, which runs as a process on this machine.

Where these fail, a study on a cluster without a shared folder loses, repeats or changes cells.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import pytest

from study.records import store
from study.records.lock import LockedError, take
from study.records.records import Records
from tests.chaos.kills import table

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NAME = "egan_ring"
STUDY = (
    f"{NAME} --scale smoke --only egan --seeds 5 --set kimg=10 --set tick_kimg=2 --max-concurrent 1"
)
SECRET = "not-a-secret-but-a-test"
IDENTITIES = {
    "identities": [
        {
            "name": "test",
            "actions": ["Admin"],
            "credentials": [{"accessKey": "test", "secretKey": SECRET}],
        }
    ]
}


def free_ports(count: int) -> list[int]:
    """Find free ports. SeaweedFS also takes the port 10,000 above each of them, for gRPC.

    Ray's workers take ports between 10,002 and 19,999, and Linux gives out those from 32,768.
    """
    ports: list[int] = []
    for port in random.sample(range(20_000, 22_700), 1_000):
        with contextlib.suppress(OSError), contextlib.ExitStack() as probes:
            for one in (port, port + 10_000):
                probes.enter_context(socket.create_server(("127.0.0.1", one)))
            ports.append(port)
        if len(ports) == count:
            break
    return ports


@dataclass
class Weed:
    folder: Path
    ports: list[int] = field(default_factory=lambda: free_ports(4))
    process: subprocess.Popen[bytes] | None = None

    @property
    def env(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.ports[0]}",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def start(self) -> None:
        (self.folder / "identities.json").write_text(json.dumps(IDENTITIES))
        s3, master, volume, filer = self.ports
        options = {
            "dir": self.folder,
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "master.telemetry": "false",
            "master.volumeSizeLimitMB": 64,
            "volume.max": 0,
            "s3.port": s3,
            "master.port": master,
            "volume.port": volume,
            "filer.port": filer,
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "s3.config": self.folder / "identities.json",
        }
        weed = Path(sys.executable).with_name("weed")
        command = [weed, "server", "-s3", *(f"-{key}={value}" for key, value in options.items())]
        with (self.folder / "weed.log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        wait_for(self._answers)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "weed.log").read_text()[-3000:]
        client = boto3.client("s3")
        try:
            with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):
                client.create_bucket(Bucket="studies")
            client.put_object(Bucket="studies", Key="up", Body=b"")
        except Exception:  # of several kinds, while the store is starting
            return False
        return True

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.fixture(scope="module")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weed]:
    made = Weed(tmp_path_factory.mktemp("weed"))
    with pytest.MonkeyPatch.context() as patch:
        for key, value in {**made.env, "HOME": str(made.folder)}.items():
            patch.setenv(key, value)  # judges are kept in ~/.cache where records are in a store
        try:
            made.start()
            yield made
        finally:
            made.kill()


def start(storage: str, log: Path) -> subprocess.Popen[bytes]:
    where = ["--storage", storage, "--tracking-uri", f"sqlite:///{log}.db"]
    command = [sys.executable, "-m", "study.run", *shlex.split(STUDY), *where]
    with log.open("ab") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)


def results(storage: str) -> dict[str, bytes]:
    found = store.folder(f"{storage}/{NAME}").glob("cells/*/result.json")
    return {path.parent.name: path.read_bytes() for path in found}


def test_records_in_a_store_differ(weed: Weed, tmp_path: Path) -> None:
    """First the driver is killed, then the store. The same command must go on each time."""
    disk, bucket, log = str(tmp_path / "disk"), "s3://studies/runs", tmp_path / "log"
    through = start(disk, tmp_path / "through")  # runs beside the others: each takes one processor

    first = start(bucket, log)
    wait_for(lambda: len(results(bucket)) >= 1)
    with pytest.raises(LockedError, match=f"is being run by process {first.pid} on "):
        take(store.folder(f"{bucket}/{NAME}"))
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    begun = results(bucket)
    assert len(begun) < 4, "it ended too early to be killed"

    second = start(bucket, tmp_path / "second")  # waits until the killed driver counts as dead
    wait_for(lambda: len(results(bucket)) > len(begun))
    weed.kill()
    assert second.wait() == 130, (tmp_path / "second").read_text()
    said = (tmp_path / "second").read_text()
    assert "give the same command again to go on" in said
    assert "Traceback" not in said
    weed.start()

    assert start(bucket, tmp_path / "third").wait() == 0, (tmp_path / "third").read_text()
    after = results(bucket)
    assert begun.items() <= after.items(), "a finished cell was run again"
    assert len(after) == 5
    assert through.wait() == 0, (tmp_path / "through").read_text()
    assert table(Records(f"{disk}/{NAME}")) == table(Records(f"{bucket}/{NAME}"))
    study = store.folder(f"{bucket}/{NAME}/study.json").read_text()
    assert SECRET not in log.read_text() + said + study


def test_store_has_no_locks(weed: Weed) -> None:
    """If two processes make the same object, the store must refuse one of them.

    The rest of the lock builds on this, and is tested in tests/study.
    """
    place = store.folder("s3://studies/locked")
    store.check(place)
    held = take(place)
    with pytest.raises(LockedError, match=f"process {os.getpid()} on "):
        take(place)
    held.check()
    held.release()
    take(place).release()


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "Forbidden"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "Could not connect"),
    ],
)
def test_store_that_cannot_be_used_is_tried(weed: Weed, changed: dict[str, str], why: str) -> None:
    command = f"{STUDY} --storage s3://studies/runs --tracking-uri http://127.0.0.1:9"
    done = subprocess.run(
        [sys.executable, "-m", "study.run", *shlex.split(command)],
        env=os.environ | changed,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert f"--storage s3://studies/runs: {why}" in done.stderr
