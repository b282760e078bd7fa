"""A study's folder belongs to one command at a time.

A living owner keeps the folder. A dead owner does not keep others out.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from upath import UPath

from study.records import lock, store
from study.records.lock import Lock, LockedError, take

HOLD = "import sys; from pathlib import Path; from study.records.lock import take\nlock = take(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"  # noqa: E501


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.05)


def owner(folder: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((folder / ".lock").read_text())
    return value


def test_second_command_runs_beside_the_first(tmp_path: Path) -> None:
    first = take(tmp_path / "runs")
    with pytest.raises(LockedError, match=r"process \d+ on .* since 20") as refused:
        take(tmp_path / "runs")
    assert platform.node() in str(refused.value)
    assert "\n" not in str(refused.value)
    first.release()
    take(tmp_path / "runs").release()


def test_dead_owner_locks_the_folder_for_ever(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    held = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert held.stdout is not None
    assert held.stdout.readline() == "held\n"
    assert owner(tmp_path)["pid"] == held.pid
    with pytest.raises(LockedError, match=f"process {held.pid} "):
        take(tmp_path)
    held.send_signal(signal.SIGKILL)
    held.communicate()
    start = time.monotonic()
    take(tmp_path).release()
    assert time.monotonic() - start < 1, "the heartbeat of a dead process was waited for"


def test_many_at_once(tmp_path: Path) -> None:
    one_of_many(tmp_path)


def one_of_many(folder: Path) -> None:
    """Let eight threads take the lock at once. Exactly one may get it, whatever the timing."""
    won: list[Lock] = []
    barrier = threading.Barrier(8)

    def attempt() -> None:
        barrier.wait()
        with contextlib.suppress(LockedError):
            won.append(take(folder))

    threads = [threading.Thread(target=attempt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    won[0].release()


@pytest.mark.usefixtures("quick")
class TestOtherHost:
    """The owner named in the lock file is on another host.

    If the file system does not share its locks between hosts, only the owner's heartbeat tells
    whether the owner is alive.
    """

    def elsewhere(self, folder: Path, beat: int) -> None:
        folder.mkdir(exist_ok=True)
        them = {"host": "elsewhere", "pid": 7, "since": "2026-01-01T00:00:00+00:00", "beat": beat}
        (folder / "new").write_text(json.dumps(them))
        (folder / "new").replace(folder / ".lock")  # or it is empty for a moment

    def test_living_owner_is_ignored(self, tmp_path: Path) -> None:
        over = threading.Event()

        def live() -> None:
            for beat in range(1000):
                self.elsewhere(tmp_path, beat)
                if over.wait(0.02):
                    return

        thread = threading.Thread(target=live)
        thread.start()
        time.sleep(0.1)
        with pytest.raises(LockedError, match="process 7 on elsewhere since 2026"):
            take(tmp_path)
        over.set()
        thread.join()

    def test_dead_owner_locks_the_folder_for_ever(self, tmp_path: Path) -> None:
        self.elsewhere(tmp_path, 3)
        taken = take(tmp_path)
        assert owner(tmp_path)["host"] == platform.node()
        taken.release()

    def test_released_folder_is_waited_for(self, tmp_path: Path) -> None:
        take(tmp_path).release()
        assert (tmp_path / ".lock").read_text() == ""

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 3}', "\x00\x00"])
    def test_torn_owner_ends_in_a_traceback(self, tmp_path: Path, text: str) -> None:
        (tmp_path / ".lock").write_text(text)
        take(tmp_path).release()


@pytest.mark.usefixtures("quick")
def test_clock_moved_back_kills_the_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A heartbeat that is a time of day would stand still when clocks go back an hour in autumn."""
    held = take(tmp_path)
    first = owner(tmp_path)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    wait_until(lambda: owner_or_none(tmp_path) not in (None, first))
    assert owner(tmp_path).keys() >= {"pid", "host", "since"}
    held.release()


class TestStore:
    """The lock in an object store, which has no locks but can refuse to make an object twice."""

    @pytest.fixture(autouse=True)
    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lock, "BEAT_SECONDS", 0.2)

    @pytest.fixture
    def folder(self) -> Iterator[Path]:
        place = UPath(f"memory://{uuid.uuid4().hex}")
        yield cast(Path, place)
        place.fs.rm(place.path, recursive=True)

    def test_second_command_runs_beside_the_first(self, folder: Path) -> None:
        first = take(folder)
        with pytest.raises(LockedError, match=rf"process {os.getpid()} on .* since 20"):
            take(folder)
        first.check()
        first.release()
        start = time.monotonic()
        take(folder).release()
        assert time.monotonic() - start < lock.MISSED_BEATS * lock.BEAT_SECONDS, (
            "a released folder was watched"
        )

    def test_release_is_not_waited_for(self, folder: Path) -> None:
        first = take(folder)
        threading.Timer(0.3, first.release).start()
        take(folder, patience=5).release()

    def test_dead_owner_locks_the_folder_for_ever(self, folder: Path) -> None:
        dead = take(folder)
        dead._released.set()  # its thread ends as if it had been killed
        dead._thread.join()
        second = take(folder)
        second.check()
        second.release()

    def test_owner_that_wakes_writes_on(self, folder: Path) -> None:
        late = take(folder)
        late._released.set()
        late._thread.join()
        second = take(folder)
        with pytest.raises(LockedError, match="was taken over"):
            late.check()
        late.release()
        second._beat()
        second.check()
        with pytest.raises(LockedError, match="is being run by"):
            take(folder)
        second.release()

    def test_late_owner_is_robbed(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The owner has not beaten for long, so another process begins to take the folder.

        If the owner beats again just then, the other process must give up.
        """
        late = take(folder)
        late._released.set()
        late._thread.join()
        create = store.create

        def beaten(path: Path, content: bytes) -> bool:
            late._me["beat"] += 1
            late._beat()
            return create(path, content)

        monkeypatch.setattr(store, "create", beaten)
        with pytest.raises(LockedError, match="is being run by"):
            take(folder)
        late._beat()
        late.check()

    def test_many_at_once(self, folder: Path) -> None:
        one_of_many(folder)


def owner_or_none(folder: Path) -> dict[str, Any] | None:
    try:
        return owner(folder)
    except ValueError:  # the file is just being written
        return None


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)
