"""Every study by the command that a user types, at its smallest, on data that need no network.

Where this fails, a study that is listed does not run, or ends without a word on its claims.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import search_spaces
from study import report
from study.records import Records

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

OWN_TEST = "acgan_kmnist_classes"  # tests/test_main_job.py


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all: judges are trained once per data set."""
    return tmp_path_factory.mktemp("smoke")


@pytest.mark.parametrize("name", [name for name in search_spaces.names() if name != OWN_TEST])
def test_study_does_not_run(storage: Path, name: str) -> None:
    study = search_spaces.load(name)
    command = [sys.executable, "-m", "study.run", name, "--scale", "smoke"]
    command += ["--data", study.standin, "--storage", str(storage)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "Traceback" not in done.stdout + done.stderr
    records = Records(storage / name)
    cells = records.cells()
    assert set(cells["outcome"]) <= {"complete", "pruned"}
    assert set(cells["condition"]) == set(study.conditions)
    assert (records.folder / "report.html").stat().st_size > 10_000
    claims = report.claims_frame(records)
    assert list(claims["id"]) == [claim.id for claim in study.claims]
    assert claims["verdict"].notna().all()
    assert "is behind" not in done.stdout
