"""Interrupts a command of tests/chaos/kills.py, and notes what it does then."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.chaos.kills import results, start

INTERRUPTIONS = ("SIGINT to the group", "SIGINT twice")


@dataclass
class Interrupted:
    """What was seen of a command that was interrupted."""

    code: int
    said: str
    seconds: float  # from the last signal to the command's end
    alive: list[psutil.Process]  # processes that it left behind
    before: dict[str, bytes]  # results when it started
    kept: dict[str, bytes]  # results when it had ended


def family(running: subprocess.Popen[str]) -> list[psutil.Process]:
    """The command and all that it started."""
    own = psutil.Process(running.pid)
    return [own, *own.children(recursive=True)]


def interrupt(storage: Path, kimg: int, how: str) -> Interrupted:
    """Go on with the study until another cell is accepted, then interrupt the command."""
    log, before = storage / "chaos.log", results(storage)
    log.touch()
    begin, running = log.stat().st_size, start(storage, kimg)
    while len(results(storage)) == len(before):
        assert running.poll() is None, log.read_text()[-3000:]
        time.sleep(0.05)
    ours, began = family(running), time.monotonic()
    if how == "SIGINT twice":
        for process in ours[1:]:  # suspended workers do not answer: the first signal has to wait
            if process.name().startswith("ray::"):
                process.suspend()
        running.send_signal(signal.SIGINT)
        time.sleep(1)
        assert running.poll() is None, "the first signal did not wait for the cells"
        began = time.monotonic()
        running.send_signal(signal.SIGINT)
    else:
        os.killpg(running.pid, signal.SIGINT)
    code, seconds = running.wait(45), time.monotonic() - began
    _, alive = psutil.wait_procs(ours, timeout=10)
    said = log.read_bytes()[begin:].decode()
    return Interrupted(code, said, seconds, alive, before, results(storage))
