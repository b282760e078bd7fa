"""Records in an S3-compatible object store: SeaweedFS, which runs as a process on this machine.

Where these fail, a study on a cluster without a shared folder loses, repeats or changes cells.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from study.records import store
from study.records.lock import LockedError, take
from study.records.records import Records
from tests.chaos.compare import table
from tests.chaos.weed import SECRET, Weed, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NAME = "egan_ring"
STUDY = (
    f"{NAME} --scale smoke --only egan --seeds 5 --set kimg=5 --set tick_kimg=1 --max-concurrent 1"
)


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
