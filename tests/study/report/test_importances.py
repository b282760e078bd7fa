"""Claims on which search parameter matters most.

If these tests fail, a study names the wrong parameter.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from study.records.files import read_json, write_json
from study.records.frames import Frames
from study.records.records import Records
from study.report.evidence import Finding, assess
from tests.study import synthetic

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.report.importances.RESAMPLES", 30)


UNIT = {"low": 0.0, "high": 1.0, "log": False, "step": None}
SPACE = {name: {"name": "FloatDistribution", "attributes": UNIT} for name in "ab"}


def judged(folder: Path, cells: int, slope: float) -> dict[str, Finding]:
    """The findings, by claim, on whether a matters most and whether b does.

    They are judged from search cells with fcd = 5 + slope * a + noise.
    """
    group = "classes=5 reference last"
    claims = [
        synthetic.claim(name, group, None, metric=f"importance/{name}", region=[0.0, None])
        for name in "ab"
    ]
    study = synthetic.study_json(claims=claims)
    study["definition"]["space"] = SPACE
    records, rng = Records(folder), np.random.default_rng(0)
    write_json(folder / "study.json", study)
    for n in range(cells):
        a, b, noise = (float(value) for value in rng.random(3))
        rows = [{"kimg": 10, "seconds": 1.0, "fcd": 5 + slope * a + noise}]
        synthetic.write_cell(
            records,
            f"s{n:03d}",
            classes=5,
            phase="search",
            number=n,
            seed=1000 + n,
            hyperparameters={"a": a, "b": b},
            suggested={"a": a, "b": b},
            rows=rows,
        )
    return {found.claim.id: found for found in assess(Frames.read(records))}


def test_parameter_that_decides_does_not_lead(tmp_path: Path) -> None:
    found = judged(tmp_path, 60, 20.0)
    assert {key: value.verdict for key, value in found.items()} == {
        "a": "supported",
        "b": "not supported",
    }
    a, b = found["a"].effect, found["b"].effect
    assert a is not None
    assert b is not None
    assert a.value == pytest.approx(-b.value)
    assert a.n == (60,)


def test_noise_decides_who_leads(tmp_path: Path) -> None:
    assert judged(tmp_path, 60, 0.0)["a"].verdict == "undecided"


def test_few_cells_are_judged(tmp_path: Path) -> None:
    found = judged(tmp_path, 8, 20.0)["a"]
    assert (found.verdict, found.effect) == ("not run", None)
    assert found.reason == "8 finished search cells of classes=5, at least 16 are needed"


def test_parameter_that_set_fixes_is_judged(tmp_path: Path) -> None:
    """b was not varied, so its importance is not a result."""
    judged(tmp_path, 30, 20.0)
    for path in tmp_path.glob("cells/*/cell.json"):
        cell = read_json(path)
        del cell["suggested"]["b"]
        write_json(path, cell)
    found = {each.claim.id: each for each in assess(Frames.read(Records(tmp_path)))}
    assert (found["b"].verdict, found["b"].reason) == (
        "not run",
        "b did not vary in the search of classes=5",
    )
