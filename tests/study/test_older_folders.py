"""Folders that were begun by earlier versions, as those versions wrote them.

Each is `python -m study.run egan_ring --scale smoke --only egan --seeds 1` of its time. If these
tests fail, such a folder is continued by half: some of its records are lost, changed or misread.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from study.records.records import FORMAT, READABLE, Records
from study.run import main
from tests.smoke import run_in_turn

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

FOLDERS = sorted((Path(__file__).parent / "folders").iterdir())
NAME = "egan_ring"
COMMAND = [NAME, "--scale", "smoke", "--only", "egan", "--seeds", "3"]


def files(folder: Path) -> dict[str, bytes]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.mark.parametrize("kept", FOLDERS, ids=lambda path: path.name)
def test_folder_is_half_continued(
    kept: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("study.engine.engine.run_cells", run_in_turn)
    shutil.copytree(kept, tmp_path / NAME)
    before = files(tmp_path / NAME)
    written = json.loads(before["study.json"]).get("format", 1)
    try:
        code: object = main([*COMMAND, "--storage", str(tmp_path)])
    except SystemExit as refused:
        code = refused.code
    after = files(tmp_path / NAME)
    if written not in READABLE:
        error = capsys.readouterr().err
        assert (code, error.count("\n")) == (2, 1)
        assert f"has format {written} and this version reads formats 6 and {FORMAT}" in error
        assert after == before
        return
    assert code == 0
    cells = {name: content for name, content in before.items() if name.startswith("cells/")}
    assert cells
    assert cells.items() <= after.items()
    assert json.loads(after["study.json"])["format"] == FORMAT
    read = Records(tmp_path / NAME).cells()
    assert sorted(read["seed"]) == [0, 1, 2]
    assert set(read["outcome"]) == {"complete"}


def test_present_format_has_no_folder() -> None:
    """Before FORMAT is raised, a folder of the format of until then must have been kept."""
    formats = {json.loads((path / "study.json").read_text()).get("format", 1) for path in FOLDERS}
    assert {1, FORMAT} <= formats
