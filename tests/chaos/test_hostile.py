"""Hostile files of every format are read, or refused in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_hostile_file_ends_a_command_or_takes_its_memory(tmp_path: Path) -> None:
    """A file from somewhere would crash the interpreter, or show a traceback of a library's."""
    command = [sys.executable, "-m", "tests.chaos.hostile", "--files", "200"]
    done = subprocess.run(
        [*command, "--keep", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert sum(int(line.split(" refused")[0].split()[-1]) for line in done.stdout.splitlines()) > 99
