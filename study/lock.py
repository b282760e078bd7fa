"""One command per study folder."""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import platform
import threading
import time
from pathlib import Path
from typing import Any

BEAT = 2.0  # seconds
MISSED = 5  # beats after which the owner is dead


class LockedError(Exception):
    """Another command has the folder; the message is one line that names it."""


class StudyLock:
    """Holds a study's folder until `release`, or until the process ends however it ends.

    The kernel's file lock decides on one machine, and on network file systems that share it. For
    those that do not, the owner writes a growing number into the file: an owner on another host
    whose number stands still is dead. No clock is compared, so a wrong one does no harm.
    """

    def __init__(self, folder: Path) -> None:
        """Take the folder.

        Raises:
            LockedError: a living process has it.
        """
        self.folder = folder
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
        since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._me: dict[str, Any] = {
            "host": platform.node(),
            "pid": os.getpid(),
            "since": since,
            "beat": 0,
        }
        self._write()
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._work, name="study lock", daemon=True)
        self._thread.start()

    def __enter__(self) -> StudyLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        self._released.set()
        self._thread.join()
        self._file.truncate(0)
        self._file.close()

    def _taken(self, owner: dict[str, Any]) -> LockedError:
        who = "another process"
        if owner:
            who = "process {pid} on {host} since {since}".format(**owner)
        return LockedError(f"{self.folder} is being run by {who}")

    def _owner(self) -> dict[str, Any]:
        """What the file says; empty where it was released, or is just being written."""
        try:
            value = json.loads((self.folder / ".lock").read_text())
        except ValueError:
            return {}
        return value if isinstance(value, dict) and {"pid", "host", "since"} <= value.keys() else {}

    def _beats(self, owner: dict[str, Any]) -> bool:
        """Whether an owner on another host is alive: watched for a while."""
        for _ in range(MISSED):
            time.sleep(BEAT)
            if self._owner() != owner:
                return True
        return False

    def _work(self) -> None:
        while not self._released.wait(BEAT):
            self._me["beat"] = self._me.get("beat", 0) + 1
            try:
                self._write()
            except OSError:  # a full disk: the kernel's lock holds all the same
                continue

    def _write(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._file.write(json.dumps(self._me))
        self._file.flush()
