"""Every study by the command that a user types, at its smallest, on data that need no network.

Where this fails, a study that is listed does not run, or ends without a word on its claims.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

import search_spaces
from study import report
from study.records import Records

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

OWN_TEST = "acgan_kmnist_classes"  # tests/test_main_job.py
NAMES = [name for name in search_spaces.names() if name != OWN_TEST]
AT_ONCE = 2  # studies, each with one worker: what takes time at smoke is to start processes

Run = subprocess.CompletedProcess[str]


def smoke(name: str, storage: Path) -> Run:
    command = [sys.executable, "-m", "study.run", name, "--scale", "smoke"]
    command += ["--data", search_spaces.load(name).standin, "--storage", str(storage)]
    command += ["--max-concurrent", "1"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=800)


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all: judges are trained once per data set."""
    return tmp_path_factory.mktemp("smoke")


@pytest.fixture(scope="module")
def runs(storage: Path, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Run]]]:
    """The selected studies, each given to the pool before the first test waits for its own."""
    tests = [item for item in request.session.items if item.path == request.path]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        names = [test.callspec.params["name"] for test in tests]
        yield {name: pool.submit(smoke, name, storage) for name in names}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", NAMES)
def test_study_does_not_run(storage: Path, runs: dict[str, Future[Run]], name: str) -> None:
    study, done = search_spaces.load(name), runs[name].result()
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
