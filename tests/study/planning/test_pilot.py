"""A pilot's seeds are not used to confirm what was tuned on them.

If these tests fail, a setting is confirmed on the very seeds that made it look good.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from study.errors import BadInputError
from study.planning import pilot
from study.planning.plan import Plan
from study.planning.study_json import looks
from study.records.files import write_json
from study.records.records import Records
from study.run import main
from tests.study import tiny
from tests.study.refusals import NAME, refused


def begun(folder: Path, seeds: int = 3, first: int = 0, **more: Any) -> Records:
    """A study that has run four search cells and its confirm cells."""
    plan = tiny.plan(budget_=tiny.budget(seeds=seeds), first_seed=first)
    records = tiny.begin(Records(folder), plan)
    write_json(folder / "study.json", records.study() | {"looks": looks(seeds)} | more)
    for cell in plan.confirm_cells("classes=2", plan.hyperparameters("classes=2")):
        tiny.write_cell(records, cell, tiny.rows(3, 2))
    for n in range(plan.budget.trials):
        tiny.write_cell(records, plan.search_cell("classes=2", n, {}, {}), tiny.rows(3, 2))
    return records


def plan_with(folder: Path, first: int, **budget: int) -> Plan:
    found = pilot.of_folder(folder, None, folder.parent / "new")
    return tiny.plan(budget_=tiny.budget(**budget), first_seed=first, pilot=found)


def test_seeds_of_some_cells_are_forgotten(tmp_path: Path) -> None:
    found = pilot.of_folder(begun(tmp_path / "a").folder, None, tmp_path)
    assert found is not None
    assert found["seeds"] == [*range(12), 1000, 1001, 1002, 1003], "planned looks count, too"
    assert found["id"] == "f" * 32


@pytest.mark.parametrize(
    ("pilot_first", "first", "line"),
    [
        (0, 0, r"--first-seed 0: .*/a, the pilot, .*\(0 to 11, 1000 to 1003\): .* free is 12$"),
        (0, 11, r"\(11\): the first that is free is 12$"),
        (0, 3, r"\(3 to 11, 1003\): the first that is free is 12$"),
        (20, 12, r"\(20 to 23\): the first that is free is 0$"),  # looks may take 12 seeds
        (20, 17, r"\(20 to 28, 1020\): the first that is free is 0$"),
    ],
)
def test_spent_seeds_are_used_again(
    tmp_path: Path, pilot_first: int, first: int, line: str
) -> None:
    folder = begun(tmp_path / "a", first=pilot_first).folder
    with pytest.raises(BadInputError, match=line):
        pilot.check(plan_with(folder, first, seeds=3), None)


def test_free_seeds_are_refused(tmp_path: Path) -> None:
    folder = begun(tmp_path / "a").folder
    pilot.check(plan_with(folder, 12, seeds=3), None)
    pilot.check(tiny.plan(), None)
    # Without a search, no seeds of search cells are needed.
    pilot.check(plan_with(begun(tmp_path / "b", first=1012).folder, 12, seeds=3, trials=0), None)


def test_grown_search_reaches_the_seeds_of_the_pilot(tmp_path: Path) -> None:
    """--trials may grow, so each command is checked."""
    folder = begun(tmp_path / "a", first=20).folder  # its search cells have seeds from 1020 on
    plan = plan_with(folder, 0, seeds=3)
    known = {"looks": looks(3), "pilot": plan.pilot}
    pilot.check(plan, known)
    with pytest.raises(BadInputError, match=r"\(1020 to 1023\): the first that is free is 32$"):
        pilot.check(dataclasses.replace(plan, budget=tiny.budget(trials=40)), known)


def test_pilot_of_a_pilot_is_forgotten(tmp_path: Path) -> None:
    """What was tuned twice has seen the seeds of both."""
    first = pilot.of_folder(begun(tmp_path / "a").folder, None, tmp_path)
    second = begun(tmp_path / "b", first=20, pilot=first)
    with pytest.raises(BadInputError, match=r"\(0 to 11, 1000 to 1003\): .* free is 32$"):
        pilot.check(plan_with(second.folder, 0, seeds=3), None)


def test_study_changes_its_pilot(tmp_path: Path) -> None:
    folder, other = begun(tmp_path / "a").folder, tmp_path / "other"
    second = begun(tmp_path / "b")
    write_json(second.folder / "study.json", second.study() | {"folder": "e" * 32})
    kept = {"pilot": pilot.of_folder(folder, None, other)}
    assert (
        pilot.of_folder(None, kept, other) == kept["pilot"] == pilot.of_folder(folder, kept, other)
    )
    spelled = folder / ".." / folder.name
    assert pilot.of_folder(spelled, kept, other) == kept["pilot"], "the same folder"
    for known, begun_with in ((kept, f"with pilot {folder}"), ({"pilot": None}, "without a pilot")):
        with pytest.raises(BadInputError, match=f"other was begun {begun_with}: begin anew with"):
            pilot.of_folder(tmp_path / "b", known, other)


def test_pilot_that_is_no_study_starts(storage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, NAME, "--data", "kana", "--pilot", "runs/nothing")
    assert "--pilot runs/nothing: no study was begun there" in line
    pilot_folder = begun(storage / "tiny").folder
    (pilot_folder / "study.json").write_text("{}")
    assert "damaged" in refused(capsys, NAME, "--data", "kana", "--pilot", str(pilot_folder))


def test_command_confirms_on_the_seeds_of_its_pilot(
    storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = begun(storage / "tiny").folder
    asked = [NAME, "--data", "kana", "--scale", "smoke", "--pilot", str(folder), "--dry-run"]
    line = refused(capsys, *asked, "--first-seed", "4")
    assert "--first-seed 4: " in line
    assert "(4 to 11): the first that is free is 12" in line
    assert main([*asked, "--first-seed", "12"]) == 0
