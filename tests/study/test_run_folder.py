"""A study's folder is continued as it was begun, or the command is refused in one line.

If these tests fail, cells of two definitions stand in one table, a damaged record is overwritten,
or two commands write over each other.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest

from study.errors import BadInputError
from study.planning import prepare
from study.planning.plan import Plan
from study.planning.study_json import looks
from study.records.files import write_json
from study.records.lock import take
from study.records.records import FORMAT, Records
from study.report.__main__ import main as report
from study.run import main
from tests.study.refusals import NAME, refused


@functools.cache
def planned() -> Plan:
    """The plan of a smoke study on kana."""
    plan: Any = None

    def keep(asked: object, *_: object) -> int:
        nonlocal plan
        plan = asked
        return 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("study.dry_run.dry_run", keep)
        main([NAME, "--data", "kana", "--scale", "smoke", "--dry-run"])
    assert isinstance(plan, Plan)
    return plan


def begun(storage: Path) -> Records:
    """Make the folder of a smoke study on kana that has begun but has no cells yet."""
    plan = planned()
    records = Records(storage / NAME)
    more = {"data_source": "data: kana, rendered", "digest": "0" * 16, "scale": "smoke"}
    definition = plan.definition() | more
    value = {
        "format": FORMAT,
        "definition": definition,
        "looks": looks(plan.budget.seeds),
        "pilot": None,
    }
    write_json(records.folder / "study.json", value | {"runs": []})
    return records


@pytest.mark.parametrize(
    ("arguments", "change"),
    [
        (["--set", "lr=0.5"], "reference.classes=10.lr: 0.0002 -> 0.5"),
        (["--set", "kimg=7"], "kimg: 1 -> 7"),
        (["--data", "kana_digits"], 'data: "kana" -> "kana_digits"'),
    ],
)
def test_folder_of_another_definition_is_gone_on_with(
    storage: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], change: str
) -> None:
    """Cells of two definitions would stand in one table."""
    begun(storage)
    capsys.readouterr()
    line = refused(capsys, NAME, "--scale", "smoke", *arguments)
    assert f"runs/{NAME}, begun at scale smoke, holds another definition" in line
    assert change in line
    assert "--fresh" in line


def test_refusal_fills_the_screen(storage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another scale changes the recipe of every condition: too much to list in one line."""
    begun(storage)
    capsys.readouterr()
    line = refused(capsys, NAME, "--scale", "quick")
    assert "kimg: 1 -> " in line
    assert " more): give --scale smoke and the other options" in line
    assert len(line) < 500


def test_data_of_a_begun_folder_pass_for_the_wanted_ones(
    storage: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder keeps its data, even if the study's own data have come within reach since.

    A command without --data must therefore say which data it goes on with.
    """
    begun(storage)
    monkeypatch.setattr("study.dry_run.dry_run", lambda *_: 0)
    capsys.readouterr()
    assert main([NAME, "--scale", "smoke", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "data: kana, rendered (with which this folder was begun)" in " ".join(said.split())


def test_damaged_study_file_is_overwritten(
    storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = begun(storage).folder / "study.json"
    path.write_bytes(path.read_bytes()[:100])
    capsys.readouterr()
    assert f"{NAME}/study.json is damaged" in refused(capsys, NAME, "--scale", "smoke")


def test_folder_of_another_format_is_read(
    storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names on record differ between formats, so half of the records would be read wrongly."""
    records = begun(storage)
    first = records.study()
    del first["format"]  # as the first version wrote it
    write_json(records.folder / "study.json", first)
    capsys.readouterr()
    said = f"{NAME}/study.json has format 1 and this version reads formats 6 and {FORMAT}"
    assert said in refused(capsys, NAME, "--scale", "smoke")
    assert report([NAME]) == 2
    assert said in capsys.readouterr().err


def test_two_commands_share_a_folder(storage: Path) -> None:
    """Both would run the same cells, and write over each other's checkpoints."""
    first = prepare.lock(storage)
    with pytest.raises(BadInputError, match=r"runs is being run by process \d+ on "):
        prepare.lock(storage)
    first.release()
    prepare.lock(storage).release()


def test_data_of_the_users_own_moved_away(
    storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = begun(storage)
    known = records.study()
    known["definition"]["data"] = "own.npz"
    write_json(records.folder / "study.json", known)
    capsys.readouterr()
    assert "own.npz: no such file" in refused(capsys, NAME, "--scale", "smoke")


def test_setting_equal_to_the_recipe_slips_through(
    storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such a setting changes no reference recipe, but takes a dimension out of the search."""
    begun(storage)
    capsys.readouterr()
    line = refused(capsys, NAME, "--scale", "smoke", "--set", "lr_ratio=1.0")
    assert "overrides.lr_ratio: null -> 1.0" in line


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("--seeds=4", "looks were planned after 2, 3, 5, 8: choose one of these"),
        ("--first-seed=20", "first_seed: 0 -> 20"),
    ],
)
def test_other_seeds_than_planned_are_run(
    storage: Path, capsys: pytest.CaptureFixture[str], option: str, line: str
) -> None:
    """Whoever adds seeds until a claim is decided errs more often than the report says."""
    begun(storage)
    capsys.readouterr()
    assert line in refused(capsys, NAME, "--scale", "smoke", option)


@pytest.mark.parametrize("place", [".lock", "cells/abc", "cells/abc/checkpoints", "sources"])
def test_link_is_followed(storage: Path, place: str) -> None:
    """What a link leads to would be emptied, or its files deleted."""
    records = begun(storage)
    elsewhere = storage.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "000000001.pt").write_text("precious")
    target = elsewhere / "000000001.pt" if place == ".lock" else elsewhere
    link = records.folder / place
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target)
    with pytest.raises(BadInputError, match=f"{place} is a link: put what it leads to"):
        prepare.lock(records.folder)
    assert (elsewhere / "000000001.pt").read_text() == "precious"


def test_link_that_comes_later_is_emptied(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / ".lock").symlink_to("precious")
    with pytest.raises(OSError, match="symbolic link"):
        take(tmp_path)
    assert (tmp_path / "precious").read_text() == "precious"


def test_folder_behind_a_link_is_refused(storage: Path, tmp_path: Path) -> None:
    """The folder itself may lie on another disk."""
    records = begun(storage)
    records.folder.rename(tmp_path / "other disk")
    records.folder.symlink_to(tmp_path / "other disk")
    prepare.lock(records.folder).release()


def test_cells_of_a_lost_definition_are_adopted(
    storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = begun(storage)
    write_json(records.folder / "cells" / "abc" / "cell.json", {})
    (records.folder / "study.json").unlink()
    capsys.readouterr()
    line = refused(capsys, NAME, "--scale", "smoke")
    assert f"runs/{NAME}/study.json is lost, and cells are there: restore it, or give" in line
