"""Machines that lack what Ray and MLflow need.

Where these fail, a command on such a machine ends in a traceback, or after the judges are trained.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from study.errors import BadInputError
from study.planning import machine

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits of this process are left as they are."""
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    for name in ("RAY_TMPDIR", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)


def test_long_temporary_folder_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    most = machine.LONGEST_SOCKET - len(machine.OWN_OF_RAY)
    monkeypatch.setattr(os, "access", lambda path, _: path != "/nowhere")
    monkeypatch.setenv("TMPDIR", "/t" + "x" * (most - 2))
    machine.prepare(own_ray=True)
    assert "RAY_TMPDIR" not in os.environ, "it is short enough"
    monkeypatch.setenv("TMPDIR", "/t" + "x" * (most - 1))
    monkeypatch.setattr(machine, "SHORT", ("/nowhere", str(tmp_path)))
    machine.prepare(own_ray=False)
    assert "RAY_TMPDIR" not in os.environ, "a cluster has its own"
    monkeypatch.setenv("RAY_TMPDIR", "")  # restored after the test
    monkeypatch.delenv("RAY_TMPDIR")
    machine.prepare(own_ray=True)
    assert os.environ["RAY_TMPDIR"] == str(tmp_path)


@pytest.mark.parametrize("variable", ["RAY_TMPDIR", "TMPDIR"])
def test_refusal_does_not_name_the_variable(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "/t" + "é" * 40)
    monkeypatch.setattr(machine, "SHORT", ("/nowhere",))
    with pytest.raises(
        BadInputError, match=f"{variable}=/té+: Ray needs a folder .* set RAY_TMPDIR"
    ):
        machine.prepare(own_ray=True)


@pytest.mark.parametrize(("soft", "hard", "fits"), [(128, 400, False), (128, 600, True)])
def test_few_open_files(monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, fits: bool) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    if fits:
        machine.prepare(own_ray=True)
        return
    with pytest.raises(BadInputError, match=r"at most 400 open files \(ulimit -n\)"):
        machine.prepare(own_ray=True)


@pytest.mark.parametrize("home", [None, "/nonexistent"])
@pytest.mark.skipif(os.getuid() != 0, reason="only root may become a user that does not exist")
def test_user_without_home_or_name(home: str | None, tmp_path: Path) -> None:
    """As in a container that is run under another user id."""
    program = "from study.planning import machine; machine.prepare(True); import getpass, pathlib; "
    program += "print(getpass.getuser(), pathlib.Path.home().is_dir())"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    environment |= {"HOME": home} if home else {}

    def run(program: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["setpriv", "--reuid=12345", "--clear-groups", sys.executable, "-B", "-c", program],
            env=environment,
            cwd=tmp_path.anchor,
            capture_output=True,
            text=True,
            check=False,
        )

    if run("import study.errors").returncode:
        pytest.skip("other users cannot read this Python")
    done = run(program)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "uid12345 True\n"
