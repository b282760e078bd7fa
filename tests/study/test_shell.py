"""The command as a shell starts it, in a process of its own: its exit code and what it prints.

If these tests fail, scripts take a refusal for a run, or data that are accepted cannot be run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from study.run import main
from tests.smoke import run_in_turn
from tests.study.refusals import NAME

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def by_hand(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "study.run", *arguments]
    without_data = os.environ | {"STUDY_DATA": "/nowhere"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=without_data)


@pytest.mark.parametrize(
    "arguments",
    [
        ["none"],
        [NAME, "--storage", "/dev/null/runs"],
    ],
)
def test_shell_sees_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = by_hand(*arguments)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_smallest_data_that_are_accepted_cannot_be_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every cell would fail, and only after minutes."""
    y, y_test = np.repeat(np.arange(5), 10), np.repeat(np.arange(5), 2)
    rng = np.random.default_rng(0)
    x, x_test = (rng.integers(0, 256, (len(part), 8, 32), np.uint8) for part in (y, y_test))
    np.savez(tmp_path / "own.npz", x=x, y=y, x_test=x_test, y_test=y_test)
    monkeypatch.setenv("STUDY_DATA", "/nowhere")
    monkeypatch.setattr("study.engine.engine.run_cells", run_in_turn)
    code = main([
        NAME, "--scale", "smoke", "--data", str(tmp_path / "own.npz"), "--trials", "0",
        "--seeds", "1", "--set", "batch=2", "--set", "f=1", "--storage", str(tmp_path / "runs"),
    ])  # fmt: skip
    said = capfd.readouterr()
    assert code == 0, said.out + said.err
    assert "cells: 1 complete" in said.out
    assert "fid: left out, because" in said.out, "a figure is missing without a word"
