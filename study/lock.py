"""One process per folder: a command has its study's, a worker that of its cell."""

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

from study import store

BEAT = 2.0  # seconds
MISSED = 5  # beats after which the owner is dead


class LockedError(OSError):
    """Another process has the folder; the message is one line that names it."""


def take(folder: Path, patience: float = 0.0) -> Lock:
    """Take the folder until `release`, or until the process ends however it ends.

    Args:
        patience: seconds in which a living owner may still release it.

    Raises:
        LockedError: a living process has it.
    """
    until = time.monotonic() + patience
    while True:
        try:
            return FileLock(folder) if store.is_local(folder) else Lease(folder)
        except LockedError:
            if time.monotonic() > until:
                raise
        time.sleep(min(BEAT, 0.2))


class Lock(ABC):
    """What both kinds share: the owner writes a growing number. No clock is compared, so a wrong
    one does no harm."""

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
        """Ask before writing.

        Raises:
            LockedError: another process may have taken the folder.
        """

    def release(self) -> None:
        self._released.set()
        self._thread.join()

    @abstractmethod
    def _beat(self) -> None: ...

    def _work(self) -> None:
        while not self._released.wait(BEAT):
            with contextlib.suppress(OSError):  # a full disk, a store that does not answer
                self._beat()

    def _taken(self, owner: dict[str, Any]) -> LockedError:
        who = "another process"
        if owner:
            who = "process {pid} on {host} since {since}".format(**owner)
        return LockedError(f"{self.folder} is being run by {who}")


class FileLock(Lock):
    """On a file system.

    The kernel's file lock decides on one machine, and on network file systems that share it. On
    those that do not, an owner on another host whose number stands still is dead.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / ".lock").open("a+")
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
        """Nothing: the kernel keeps it."""

    def release(self) -> None:
        super().release()
        self._file.truncate(0)
        self._file.close()

    def _owner(self) -> dict[str, Any]:
        """What the file says; empty where it was released, or is just being written."""
        return _owner((self.folder / ".lock").read_bytes())

    def _beats(self, owner: dict[str, Any]) -> bool:
        """Whether an owner on another host is alive: watched for a while."""
        for _ in range(MISSED):
            time.sleep(BEAT)
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
    """In an object store, which has no locks but makes an object only once.

    The owner is who made the newest of the objects .lock/1, .lock/2, ... . One whose number stands
    still is dead, and whoever makes the next object has the folder. The old owner, should it wake,
    finds that out before it writes again: `check`.
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
        # It was late, not dead, and may not have seen us; or we were, and others came and went.
        if self._read(newest) != owner or self._newest() != self._number:
            self._object(self._number).unlink(missing_ok=True)
            raise self._taken(owner)
        for number in self._numbers():
            if number < self._number:
                self._object(number).unlink(missing_ok=True)
        self._thread.start()

    def check(self) -> None:
        self._beat()  # others wait for MISSED beats from now on
        if self._lost:
            raise LockedError(f"{self.folder} was taken over by another process")

    def release(self) -> None:
        """The object stays, so that numbers only grow."""
        super().release()
        self._me["released"] = True
        if not self._lost:
            with contextlib.suppress(OSError):  # else it stands still, and that is seen, too
                self._write()

    def _beat(self) -> None:
        with self._mutex:
            if not self._lost:
                self._me["beat"] += 1
                self._write()
                self._lost = self._newest() > self._number

    def _lives(self, number: int, owner: dict[str, Any]) -> bool:
        """Whether an owner that did not release the folder is alive: watched for a while."""
        if not owner or owner["released"]:
            return False
        for _ in range(MISSED):
            time.sleep(BEAT)
            if (now := self._read(number)) != owner:
                return not now or not now["released"]
        return False

    def _object(self, number: int) -> Path:
        return self._place / f"{number:09d}"

    def _numbers(self) -> list[int]:
        return [int(path.name) for path in self._place.glob("*") if path.name.isdigit()]

    def _newest(self) -> int:
        return max(self._numbers(), default=0)

    def _read(self, number: int) -> dict[str, Any]:
        """What an object says; empty where it is gone, or no owner's."""
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
