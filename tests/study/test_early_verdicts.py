"""Whether the verdicts are shown once their cells have ended, and not before or twice."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search_spaces.core import Claim, Group
from study.console import Display
from study.early_verdicts import EarlyVerdicts
from study.planning.cells import Cell
from study.planning.plan import Plan
from study.planning.study_json import claim_json
from study.records.files import write_json
from study.records.records import Records
from study.run import main
from tests.smoke import run_in_turn
from tests.study import tiny
from tests.study.fake_ray import Ray

LINE = "all cells that the claims need have ended"


def run(
    plan: Plan, records: Records, capsys: pytest.CaptureFixture[str], cells: int = 100
) -> list[tuple[Cell, str]]:
    """Run some cells that are missing, on one worker. Returns each with what was then printed."""
    ray, printed = Ray(plan, records, workers=1), list[tuple[Cell, str]]()
    early = EarlyVerdicts(plan, records, Display(plan, records))
    capsys.readouterr()
    while len(printed) < cells and (cell := ray.ask()) is not None:
        early(cell, None)
        early(cell, {"outcome": "again"})  # a crashed cell has not ended
        assert not capsys.readouterr().out
        ray.finish(cell, objective=4.0 + 0.1 * (cell.seed if cell.number is None else -cell.number))
        early(cell, records.result(cell.id))
        printed.append((cell, capsys.readouterr().out))
    return printed


def begun(plan: Plan, records: Records) -> Records:
    tiny.begin(records, plan)
    known = {"claims": [claim_json(claim) for claim in plan.study.claims]}
    write_json(records.folder / "study.json", records.study() | known)
    return records


def plan_of(*groups: Group, **changes: Any) -> Plan:
    of, *against = groups or (Group("classes=2"),)
    claim = Claim(
        id="T1",
        text="it works",
        metric="fcd",
        of=of,
        against=against[0] if against else None,
        region=(0.0, 9.0),
    )
    return dataclasses.replace(tiny.plan(tiny.study(claims=(claim,))), **changes)


def test_verdicts_are_not_shown_before_the_search(
    records: Records, capsys: pytest.CaptureFixture[str]
) -> None:
    """They must come with the last cell of the claim's condition, with its figures, and once."""
    plan = plan_of()
    printed = run(plan, begun(plan, records), capsys)
    shown = [n for n, (_, out) in enumerate(printed) if LINE in out]
    last = max(
        n
        for n, (cell, _) in enumerate(printed)
        if cell.configuration == "reference" and cell.condition_name == "classes=2"
    )
    assert shown == [last]
    assert printed[last + 1][0].phase == "search"
    assert "│ supported" in printed[last][1]
    assert "4.05 [" in printed[last][1]  # the mean of 4.0 and 4.1


def test_stopped_study_never_shows_them(
    records: Records, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command that goes on must count the cells that ended before, and not show verdicts again
    that an earlier command showed.
    """
    plan = plan_of()
    begun(plan, records)
    assert not any(LINE in out for _, out in run(plan, records, capsys, cells=1))
    assert sum(LINE in out for _, out in run(plan, records, capsys, cells=2)) == 1
    assert not any(LINE in out for _, out in run(plan, records, capsys))


def test_stopped_study_goes_on_with_them(
    records: Records, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once a study is told to stop no search goes on, and the cells have little time to end."""
    plan = plan_of()
    (begun(plan, records).folder / ".stop").touch()
    assert not any(LINE in out for _, out in run(plan, records, capsys))


def test_study_ends_for_want_of_a_table(
    records: Records, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error while the verdicts are computed must be told, and must not stop the study."""
    monkeypatch.setattr("study.report.write.claims_frame", lambda records: 1 / 0)
    plan = plan_of()
    printed = run(plan, begun(plan, records), capsys)
    assert "the verdicts cannot be shown yet: division by zero" in "".join(o for _, o in printed)
    assert printed[-1][0].configuration == "found"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_command_leaves_them_out(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command itself must show them, after the confirm cells and before the search."""
    y, y_test = np.repeat(np.arange(5), 10), np.repeat(np.arange(5), 2)
    rng = np.random.default_rng(0)
    x, x_test = (rng.integers(0, 256, (len(part), 8, 8), np.uint8) for part in (y, y_test))
    np.savez(tmp_path / "own.npz", x=x, y=y, x_test=x_test, y_test=y_test)
    monkeypatch.setattr("study.engine.engine.run_cells", run_in_turn)
    small = [f"--set={name}=1" for name in ("kimg", "search_kimg", "tick_kimg", "f")]
    code = main([
        "acgan_kmnist_classes", "--scale", "quick", "--data", str(tmp_path / "own.npz"), *small,
        "--trials", "2", "--seeds", "2", "--set", "samples=200", "--set", "batch=50",
        "--storage", str(tmp_path / "runs"),
    ])  # fmt: skip
    said = capfd.readouterr()
    assert code == 0, said.out + said.err
    confirmed, *rest = said.out.split(LINE)
    assert len(rest) == 1
    assert "reference, seed 1: complete" in confirmed
    assert "search" not in confirmed.split("real images of 5 classes")[1]


@pytest.mark.parametrize(
    "plan",
    [
        plan_of(budget=tiny.budget(trials=0)),
        plan_of(Group("classes=2"), Group("classes=3", "best")),
        plan_of(Group("classes=2"), Group("classes=3"), only="classes=2"),
    ],
    ids=["no search", "search is needed", "a condition does not run"],
)
def test_verdicts_are_shown_twice(
    plan: Plan, records: Records, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where no search goes on, or the claims need other cells, the summary alone has verdicts."""
    printed = run(plan, begun(plan, records), capsys)
    assert printed
    assert not any(LINE in out for _, out in printed)
