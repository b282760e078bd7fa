"""Locks that give a folder to one process: a study's to a command, a cell's to a worker."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import platform
import threading
import time
import uuid
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from study.records import store

BEAT_SECONDS = 2.0  # seconds between two beats of an owner
MISSED_BEATS = 5  # an owner that misses so many counts as dead


class LockedError(OSError):
    """Another process has the folder. The message is one line, with the process if it is known."""


def take(folder: Path, patience: float = 0.0) -> Lock:
    """Lock the folder until `release`, or until the process ends in any way.

    Args:
        patience: seconds to wait for a living owner to release the folder.

    Raises:
        LockedError: a living process has the folder.
    """
    until = time.monotonic() + patience
    while True:
        try:
            return FileLock(folder) if store.is_local(folder) else Lease(folder)
        except LockedError:
            if time.monotonic() > until:
                raise
        time.sleep(min(BEAT_SECONDS, 0.2))


class Lock(ABC):
    """What both kinds of lock share.

    The owner keeps writing a growing number, its beat. Others watch whether the number changes. No
    times of two machines are compared, so a wrong clock does no harm.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._me: dict[str, Any] = {
            "host": platform.node(),
            "pid": os.getpid(),
            "since": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "beat": 0,
        }
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._work, name="lock", daemon=True)

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    @abstractmethod
    def check(self) -> None:
        """Make sure that the folder is still locked by this process. Call this before writing.

        Raises:
            LockedError: another process may have taken the folder.
        """

    def release(self) -> None:
        self._released.set()
        self._thread.join()

    @abstractmethod
    def _beat(self) -> None: ...

    def _work(self) -> None:
        while not self._released.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):  # a full disk, or a store without an answer
                self._beat()

    def _taken(self, owner: dict[str, Any]) -> LockedError:
        who = "another process"
        if owner:
            who = "process {pid} on {host} since {since}".format(**owner)
        return LockedError(f"{self.folder} is being run by {who}")


class FileLock(Lock):
    """A lock on a file system.

    The kernel's file lock decides on one machine, and on network file systems that share it between
    machines. On other network file systems, an owner on another host counts as dead if its beat
    does not change.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        folder.mkdir(parents=True, exist_ok=True)
        # A link is not followed, as what it leads to would be emptied.
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        self._file = os.fdopen(handle, "r+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = self._owner()
            self._file.close()
            raise self._taken(owner) from None
        owner = self._owner()
        if owner.get("host", platform.node()) != platform.node() and self._beats(owner):
            self._file.close()
            raise self._taken(owner)
        self._beat()
        self._thread.start()

    def check(self) -> None:
        """Do nothing: the kernel keeps the lock for this process."""

    def release(self) -> None:
        super().release()
        self._file.truncate(0)
        self._file.close()

    def _owner(self) -> dict[str, Any]:
        """The owner that the file names; empty after a release, and while it is being written."""
        return _owner((self.folder / ".lock").read_bytes())

    def _beats(self, owner: dict[str, Any]) -> bool:
        """Whether an owner on another host is alive. It is watched for up to MISSED_BEATS beats."""
        for _ in range(MISSED_BEATS):
            time.sleep(BEAT_SECONDS)
            if self._owner() != owner:
                return True
        return False

    def _beat(self) -> None:
        self._me["beat"] += 1
        self._file.seek(0)
        self._file.truncate()
        self._file.write(json.dumps(self._me))
        self._file.flush()


class Lease(Lock):
    """A lock in an object store, which has no locks but can refuse to make an object twice.

    The process that made the newest of the objects .lock/1, .lock/2, ... is the owner. An owner
    whose beat does not change counts as dead. Then the process that makes the next object has the
    folder. An old owner that wakes up again learns this from `check` before it writes.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._me |= {"key": uuid.uuid4().hex, "released": False}
        self._place, self._lost, self._mutex = folder / ".lock", False, threading.Lock()
        newest = self._newest()
        owner = self._read(newest)
        if self._lives(newest, owner):
            raise self._taken(owner)
        self._number = newest + 1
        if not store.create(self._object(self._number), self._bytes()):
            raise self._taken(self._read(self._number))
        # Give up if the old owner was late but not dead: it may not have seen the new object. Give
        # up as well if this process was late itself, and others took the folder in the meantime.
        if self._read(newest) != owner or self._newest() != self._number:
            self._object(self._number).unlink(missing_ok=True)
            raise self._taken(owner)
        for number in self._numbers():
            if number < self._number:
                self._object(number).unlink(missing_ok=True)
        self._thread.start()

    def check(self) -> None:
        self._beat()  # from now on, others wait for MISSED_BEATS beats
        if self._lost:
            raise LockedError(f"{self.folder} was taken over by another process")

    def release(self) -> None:
        """Mark the object as released. It is kept, so that the objects' numbers only grow."""
        super().release()
        self._me["released"] = True
        if not self._lost:
            with contextlib.suppress(OSError):  # otherwise others see no more beats
                self._write()

    def _beat(self) -> None:
        with self._mutex:
            if not self._lost:
                self._me["beat"] += 1
                self._write()
                self._lost = self._newest() > self._number

    def _lives(self, number: int, owner: dict[str, Any]) -> bool:
        """Whether an owner has the folder and is alive.

        An owner that did not release the folder is watched for up to MISSED_BEATS beats.
        """
        if not owner or owner["released"]:
            return False
        for _ in range(MISSED_BEATS):
            time.sleep(BEAT_SECONDS)
            if (now := self._read(number)) != owner:
                return not now or not now["released"]
        return False

    def _object(self, number: int) -> Path:
        return self._place / f"{number:09d}"

    def _numbers(self) -> list[int]:
        return [int(name) for name in store.names(self._place) if name.isdigit()]

    def _newest(self) -> int:
        return max(self._numbers(), default=0)

    def _read(self, number: int) -> dict[str, Any]:
        """The owner that an object names; empty if the object is gone or names none."""
        try:
            return _owner(store.read(self._object(number)))
        except FileNotFoundError:
            return {}

    def _bytes(self) -> bytes:
        return json.dumps(self._me).encode()

    def _write(self) -> None:
        store.put(self._object(self._number), self._bytes())


def _owner(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except ValueError:
        return {}
    return value if isinstance(value, dict) and {"pid", "host", "since"} <= value.keys() else {}
