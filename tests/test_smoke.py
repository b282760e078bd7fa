"""Runs every study whose rendered data are kana at scale smoke: see `tests/smoke.py`.

The other studies are in test_smoke_other_data.py, so that two processes share the work. Where this
fails, a study that is listed does not run, or ends without verdicts on its claims.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import search_spaces
from study.records.files import write_json
from study.records.records import Records
from study.report.write import claims_frame
from study.run import main
from tests.smoke import check_study, run_in_turn

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ON_KANA = [name for name in search_spaces.names() if search_spaces.load(name).stand_in == "kana"]


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory, warm: Callable[[Path], Path]) -> Path:
    """One storage folder for all studies, so that judges are trained once per data set."""
    return warm(tmp_path_factory.mktemp("smoke"))


@pytest.mark.parametrize("name", ON_KANA)
def test_study_does_not_run(
    storage: Path,
    name: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check_study(name, storage, capfd, monkeypatch)


def test_larger_number_of_seeds_repeats_cells(
    tmp_path: Path, warm: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a finished study is enlarged, its results must stay as they are."""
    monkeypatch.setattr("study.engine.engine.run_cells", run_in_turn)
    name, storage = "acgan_kmnist_classes", warm(tmp_path)
    command = [name, "--scale=smoke", "--data=kana", "--only=classes=5", "--trials=2"]

    def results() -> dict[str, bytes]:
        found = storage.glob(f"{name}/cells/*/result.json")
        return {path.parent.name: path.read_bytes() for path in found}

    assert main([*command, f"--storage={storage}", "--seeds=1"]) == 0
    before = results()
    assert main([*command, f"--storage={storage}", "--seeds=3"]) == 0
    assert before.items() <= results().items()
    cells = Records(storage / name).cells()
    grown = cells[~cells["id"].isin(before)]
    assert set(grown["phase"]) == {"confirm"}
    assert set(grown["seed"]) == {1, 2}


def test_decide_ends_before_claims_are_decided(
    tmp_path: Path, warm: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At scale smoke no claim can be decided, so all planned looks are needed."""
    monkeypatch.setattr("study.engine.engine.run_cells", run_in_turn)
    name, storage = "acgan_kmnist_classes", warm(tmp_path)
    command = [name, "--scale=smoke", "--data=kana", "--only=classes=5", "--trials=0", "--seeds=1"]
    assert main([*command, f"--storage={storage}", "--decide"]) == 0
    records = Records(storage / name)
    assert records.study()["looks"] == [1, 3, 5, 8]
    decided = claims_frame(records).query("primary and verdict != 'not run'")
    assert list(decided["id"]) == ["A4a"]
    last = 8 if decided["verdict"].item() == "undecided" else decided["n_of"].item()
    assert sorted(records.cells()["seed"]) == [*range(last)]


def test_failed_cell_is_not_run_again(
    tmp_path: Path,
    warm: Callable[[Path], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Once its cause is mended, a cell that failed must run without beginning the study anew."""
    monkeypatch.setattr("study.engine.engine.run_cells", run_in_turn)
    name, storage = "acgan_kmnist_classes", warm(tmp_path)
    command = [name, "--scale=smoke", "--data=kana", "--only=classes=5", "--trials=0", "--seeds=2"]
    command.append(f"--storage={storage}")
    assert main(command) == 0
    records = Records(storage / name)
    whole, rows = records.cells(), {i: records.rows(i) for i in records.ids()}
    broken = records.ids()[0]
    path = records.cell_folder(broken) / "result.json"
    write_json(path, records.result(broken) | {"outcome": "failed", "error": "it was broken"})
    capsys.readouterr()
    assert main(command) == 3
    assert "cells that failed: 1; --retry-failed would run them again" in capsys.readouterr().out
    assert main([*command, "--retry-failed"]) == 0
    after = Records(storage / name)
    assert list(after.cells()["outcome"]) == ["complete", "complete"]
    assert list(after.cells()["id"]) == list(whole["id"])
    for cell, old in rows.items():
        new = after.rows(cell)
        assert [row["fcd"] for row in new] == [row["fcd"] for row in old], cell
