"""Every study at its smallest, on data that need no network.

Where this fails, a study that is listed does not run, or ends without a word on its claims.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray

import search_spaces
from study.records.records import Records
from study.report.write import claims_frame
from study.run import main

# The engine has an alarm of its own.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900, method="thread")]

OWN_TEST = "acgan_kmnist_classes"  # tests/test_main_job.py


@pytest.fixture(scope="module")
def storage(
    tmp_path_factory: pytest.TempPathFactory, warm: Callable[[Path], Path]
) -> Iterator[Path]:
    """One for all, and one Ray: judges are trained once per data set."""
    yield warm(tmp_path_factory.mktemp("smoke"))
    ray.shutdown()


@pytest.mark.parametrize("name", [name for name in search_spaces.names() if name != OWN_TEST])
def test_study_does_not_run(storage: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    study = search_spaces.load(name)
    command = [name, "--scale", "smoke", "--data", study.stand_in, "--storage", str(storage)]
    # One seed; a search alone, whose claims are on importances, keeps its cells.
    fewest = ["--seeds", "1"] if study.scales["smoke"].seeds else []
    assert main([*command, *fewest]) == 0
    said = capfd.readouterr()
    assert "Traceback" not in said.out + said.err
    assert "is behind" not in said.out
    records = Records(storage / name)
    cells = records.cells()
    assert set(cells["outcome"]) <= {"complete", "pruned"}
    assert set(cells["condition"]) == set(study.conditions)
    assert (records.folder / "report.html").stat().st_size > 10_000
    claims = claims_frame(records)
    assert list(claims["id"]) == [claim.id for claim in study.claims]
    assert claims["verdict"].notna().all()
