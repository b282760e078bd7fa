"""What the console shows of a study's cells, and the summary at the end of a study.

The summary is printed whatever results there are, and whatever is missing.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from study.console import Display
from study.records.records import Records
from tests.study import tiny

CLAIM = {"id": "T1", "text": "it works", "verdict": "undecided", "n_of": 1, "n_against": None}
CLAIM |= {"reason": "one seed"}


@pytest.mark.parametrize(
    ("effect", "low", "high", "shown"),
    [(0.5, 0.4, 0.6, "0.5 [0.4, 0.6]"), (0.5, None, None, "0.5 "), (None, None, None, "- ")],
)
def test_claim_without_interval_ends_in_a_traceback(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    effect: float | None,
    low: float | None,
    high: float | None,
    shown: str,
) -> None:
    """One seed gives no interval, and a claim that was not run has no effect."""
    plan = tiny.plan()
    records = tiny.begin(Records(tmp_path / "tiny"), plan)
    for cell in plan.confirm_cells("classes=2", plan.hyperparameters("classes=2")):
        tiny.write_cell(records, cell, tiny.rows(3.0, 2.0))
    claims = pd.DataFrame([CLAIM | {"effect": effect, "low": low, "high": high}])
    Display(plan, records).summary(records.cells(), claims, finished=True)
    out = capsys.readouterr().out
    assert shown in out
    assert "classes=2" in out
    assert "T1: one seed\n" in out
    assert "cells: 2 complete" in out
    assert f"{sum(plan.count) - 2} fewer than the most" in out  # the counter's total


def test_table_is_printed_into_the_bar(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verdicts may come while the bar is shown. The bar must be taken away, and come back."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    plan = tiny.plan()
    display = Display(plan, tiny.begin(Records(tmp_path / "tiny"), plan))
    with display.progress:
        display.verdicts(pd.DataFrame([CLAIM | {"effect": 0.5, "low": 0.4, "high": 0.6}]))
        assert display.progress.live.is_started
    title = next(line for line in capsys.readouterr().out.splitlines() if "claims" in line)
    assert "0:00:00" not in title


@pytest.mark.parametrize("columns", [20, 60])
def test_small_terminal_cuts_what_tells_rows_apart(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    columns: int,
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    plan = tiny.plan()
    records = tiny.begin(Records(tmp_path / "tiny"), plan)
    for name in ("classes=2", "classes=3"):
        for cell in plan.confirm_cells(name, plan.hyperparameters(name)):
            tiny.write_cell(records, cell, tiny.rows(3.0, label_accuracy=0.123))
    claims = pd.DataFrame([CLAIM | {"effect": 0.512, "low": 0.412, "high": 0.612}])
    Display(plan, records).summary(records.cells(), claims, finished=True)
    out = capsys.readouterr().out
    assert "…" not in out
    for text in ("classes=2", "classes=3", "0.123", "T1", "undecided", "0.512 [0.412, 0.612]"):
        assert text in out


def test_cells_that_diverged_are_in_the_means(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No verdict counts diverged cells, so the means of the summary must not count them either."""
    plan = tiny.plan()
    records = tiny.begin(Records(tmp_path / "tiny"), plan)
    cells = plan.confirm_cells("classes=2", plan.hyperparameters("classes=2"))
    for cell, fcd, outcome in zip(cells, (2.0, 300.0), ("complete", "diverged"), strict=True):
        tiny.write_cell(records, cell, tiny.rows(fcd), outcome)
    Display(plan, records).summary(records.cells(), pd.DataFrame(), finished=False)
    out = capsys.readouterr().out
    assert "151" not in out
    assert "1 complete" in out
    assert "1 diverged" in out


def test_count_holds_cells_of_conditions_that_do_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The count of finished cells would exceed its total, as in [25/18]."""
    plan = tiny.plan(only="classes=3")
    records = tiny.begin(Records(tmp_path / "tiny"), plan)
    for name in ("classes=2", "classes=3"):
        for cell in tiny.plan().confirm_cells(name, plan.hyperparameters(name)):
            tiny.write_cell(records, cell, tiny.rows(3.0))
    cell = plan.confirm_cells("classes=3", plan.hyperparameters("classes=3"))[0]
    Display(plan, records)(cell, records.result(cell.id))
    assert "[  2/" in capsys.readouterr().out


def test_crash_that_is_retried_goes_unsaid(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tiny.plan()
    records = tiny.begin(Records(tmp_path / "tiny"), plan)
    cell = plan.confirm_cells("classes=2", plan.hyperparameters("classes=2"))[0]
    tiny.write_cell(records, cell, tiny.rows(3.0, 2.0), None)
    Display(plan, records)(cell, {"outcome": "again", "error": "Traceback\nValueError: no"})
    said = capsys.readouterr().out.strip()
    assert said == "classes=2 reference, seed 0: ValueError: no; it goes on from 1 kimg"


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("reader", ["head -1", "true"])
def test_study_ends_with_its_reader(tmp_path: Path, reader: str) -> None:
    """`python -m study.run NAME | head -5` ended the study without a word."""
    code = (
        "from pathlib import Path\n"
        "import time\n"
        "from study.console import Display\n"
        "from study.records.records import Records\n"
        "from tests.study import tiny\n"
        "display = Display(tiny.plan(), Records(Path('nowhere')))\n"
        "for n in range(20):\n"
        "    display.say(f'cell {n}')\n"
        "    time.sleep(0.05)\n"
        f"Path({str(tmp_path / 'end')!r}).touch()\n"
    )
    line = f"set -o pipefail; {shlex.quote(sys.executable)} -c {shlex.quote(code)} | {reader}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert (tmp_path / "end").exists(), done.stderr
    assert (done.returncode, done.stderr) == (0, "")
