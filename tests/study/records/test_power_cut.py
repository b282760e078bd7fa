"""A power cut leaves only what was flushed. If this fails, it can take cells that were accepted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from study.planning.plan import Plan
from study.records.files import write_json
from study.records.records import TICKS_SEAL, Records
from tests.study import tiny


def test_accepted_cell_is_not_flushed(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file is flushed before it gets its name, and each folder after it got an entry."""
    flushed: list[tuple[int, Path]] = []
    named: list[tuple[int, Path, Path | None]] = []  # when, what, and what it was called before
    fsync, replace, mkdir = os.fsync, Path.replace, Path.mkdir

    def now() -> int:
        return len(flushed) + len(named)

    def flush(handle: int) -> None:
        flushed.append((now(), Path(f"/proc/self/fd/{handle}").readlink()))
        fsync(handle)

    def rename(self: Path, target: Path) -> Path:
        named.append((now(), target, self))
        return replace(self, target)

    def make(self: Path, *arguments: Any, **named_arguments: Any) -> None:
        mkdir(self, *arguments, **named_arguments)
        named.append((now(), self, None))

    records = tiny.begin(Records(tmp_path / "tiny"), plan)
    cell = plan.confirm_cells("classes=2", plan.hyperparameters("classes=2"))[0]
    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(Path, "replace", rename)
    monkeypatch.setattr(Path, "mkdir", make)
    records.begin(cell.as_json(), {"started": "now", "run": 0, "error": None})
    folder = records.cell_folder(cell.id)
    for ticks in (1, 2):
        write_json(folder / "ticks.json", tiny.rows(*range(ticks)), lasting=False)  # as `CellRun`
    _, seal = records.sealed_rows(cell.id)
    result = {"outcome": "complete", "error": None, "seconds": 1.0, "attempts": 1, "ended": "now"}
    records.accept(cell.id, result | {TICKS_SEAL: seal})
    names = {path.name for _, path, _ in named}
    assert {"cell.json", "attempts.json", "ticks.json", "result.json", cell.id} <= names
    for when, path, before in named:
        assert any(at > when and place == path.parent for at, place in flushed), path
        if before is not None:
            assert any(at < when and place == before for at, place in flushed), path
