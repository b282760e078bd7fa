"""`--verify`: an accepted cell is run again and is equal, or its first difference is named.

If these tests fail, `--verify` gives a wrong answer.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from study.console import Display
from study.engine.shared_state import Shared
from study.engine.trial import prepare_process
from study.engine.verify import circumstances, verify
from study.errors import BadInputError
from study.metrics.core.judge import Judge
from study.planning import prepare
from study.planning.cells import Cell
from study.planning.plan import Plan
from study.planning.resources import Resources
from study.records import environment
from study.records.files import write_json
from study.records.records import Records
from study.verify_cell import verify_cell
from tests.study import tiny
from tests.study.cells import begin, cell_of

RESOURCES = Resources(1, 0.0, 1)


@pytest.fixture
def records(shared: Shared, plan: Plan) -> Records:
    return tiny.begin(Records(shared.folder), plan)


def accepted(
    records: Records, shared: Shared, judges: list[Judge], cell: Cell, ticks: int = 4
) -> list[dict[str, Any]]:
    """Run the cell for so many ticks or until it diverges, and accept it. Returns its rows."""
    prepare_process(RESOURCES.cpus, RESOURCES.gpus)
    write_json(records.cell_folder(cell.id) / "cell.json", cell.as_json())
    run, outcome, error = begin(cell, shared, judges), "complete", None
    try:
        while len(run.rows) < ticks:
            run.advance()
    except FloatingPointError as problem:
        outcome, error = "diverged", str(problem)
    records.accept(cell.id, {"outcome": outcome, "error": error})
    return run.rows


def alter(records: Records, cell: Cell, tick: int, column: str, value: float) -> Records:
    """The records with one figure of one row changed."""
    rows = records.rows(cell.id)
    rows[tick] |= {column: value}
    write_json(records.cell_folder(cell.id) / "ticks.json", rows)
    return Records(records.folder)


def contents(folder: Path) -> dict[Path, bytes]:
    """The content of all files except locks, in which a number grows while they are held."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {path: path.read_bytes() for path in files}


def test_equal_cell_is_called_different(
    records: Records, shared: Shared, judges: list[Judge], plan: Plan
) -> None:
    cell = cell_of(plan)
    accepted(records, shared, judges, cell)
    before = contents(shared.folder)
    assert verify(records, cell.id, shared, RESOURCES) is None
    assert contents(shared.folder) == before, "it wrote to the records"
    again = alter(records, cell, 3, "seconds", 1e6)
    assert verify(again, cell.id, shared, RESOURCES) is None, "times are no results"


def test_cell_that_was_stopped_early_is_called_different(
    records: Records, shared: Shared, judges: list[Judge], plan: Plan
) -> None:
    cell = cell_of(plan)
    accepted(records, shared, judges, cell, ticks=2)
    assert verify(records, cell.id, shared, RESOURCES) is None


def test_gpu_that_is_not_here_is_asked_for(
    records: Records, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --address, the nodes may have GPUs while the machine that verifies has none."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    on_gpu, display = Resources(1, 0.25, 1), Display(plan, records)
    with pytest.raises(BadInputError, match="this machine has none"):
        verify_cell(argparse.Namespace(), plan, records, on_gpu, display)


def test_difference_goes_unnoticed(
    records: Records, shared: Shared, judges: list[Judge], plan: Plan
) -> None:
    """The difference is in the last digits of one column in one row."""
    cell = cell_of(plan)
    rows = accepted(records, shared, judges, cell)
    value = rows[2]["fcd"] * (1 + 1e-15)
    line = verify(alter(records, cell, 2, "fcd", value), cell.id, shared, RESOURCES)
    assert line == f"kimg 2: fcd is {value!r}, now {rows[2]['fcd']!r}"
    more = alter(records, cell, 0, "new", 1.0)
    assert verify(more, cell.id, shared, RESOURCES) == "kimg 0: new is 1.0, now None"


def test_diverged_cell_is_not_compared(
    records: Records, shared: Shared, judges: list[Judge], plan: Plan
) -> None:
    cell = cell_of(plan, lr=1e30)
    assert len(accepted(records, shared, judges, cell)) == 1
    assert verify(records, cell.id, shared, RESOURCES) is None
    path = records.cell_folder(cell.id) / "result.json"
    write_json(path, {"outcome": "diverged", "error": "loss/d/other is nan after 100 images"})
    line = verify(Records(shared.folder), cell.id, shared, RESOURCES)
    assert line is not None
    assert line.startswith("recorded 'loss/d/other is nan after 100 images', now '")


@pytest.mark.parametrize("damage", ["unknown", "unfinished", "torn", "no judges"])
def test_cell_that_cannot_be_verified_ends_in_a_traceback(
    records: Records, plan: Plan, damage: str
) -> None:
    cell = cell_of(plan)
    (records.folder / "judges.pt").write_bytes(b"x")
    tiny.write_cell(records, cell, tiny.rows(3.0), None if damage == "unfinished" else "complete")
    prepared = Path(records.cell_folder(cell.id))
    if damage == "torn":
        (prepared / "ticks.json").write_text("[")
    if damage == "no judges":
        (records.folder / "judges.pt").unlink()
    asked = "none" if damage == "unknown" else cell.id
    with pytest.raises(BadInputError, match=f"--verify '{asked}': ") as refused:
        prepare.check_cell(records, asked)
    assert "\n" not in str(refused.value)


def test_change_of_code_goes_unnoticed(tmp_path: Path) -> None:
    """A submitted job has no .git, so only the content and the names of files show a change."""
    root = Path(environment.__file__).parents[2]
    for name in ("search_spaces", "study", "trainables"):
        shutil.copytree(root / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    code = environment.describe()["code"]
    assert environment.code_digest(tmp_path) == code, "the same code elsewhere"
    seen = {code}
    changed = tmp_path / "trainables" / "core" / "losses.py"
    changed.write_text(changed.read_text() + "\n")
    seen.add(environment.code_digest(tmp_path))
    changed.rename(changed.with_name("lost.py"))
    seen.add(environment.code_digest(tmp_path))
    assert len(seen) == 3

    then = {"versions": {"torch": "1"}, "hardware": {"cpus": 2}, "code": code}
    now = {"versions": {"torch": "2"}, "hardware": {"cpus": 2}, "code": code}
    assert circumstances(then, now) == ['versions.torch: "1" -> "2"']
    assert circumstances({**now, "code": "a"}, now) == [f'code: "a" -> "{code}"']
