"""The records: each cell is accepted once, and what is damaged is found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from study.planning.cells import Cell
from study.planning.plan import Plan
from study.records.files import write_atomically, write_json
from study.records.frames import natural
from study.records.lock import LockedError, take
from study.records.objective import best_row
from study.records.records import TICKS_SEAL, Records
from tests.study import tiny

OTHER = {"lr": 1e-3, "adversarial": "hinge", "label_noise": "none"}


def search(plan: Plan, number: int, condition: str = "classes=2", **values: Any) -> Cell:
    return plan.search_cell(condition, number, values, {**OTHER, **values})


def test_temporary_file_is_taken_for_a_cell(records: Records, plan: Plan) -> None:
    """A crash between writing and renaming leaves a file that nobody may read."""
    cell = search(plan, 0)
    tiny.write_cell(records, cell, [])
    (records.cell_folder(cell.id) / ".ticks.json.x1y2").write_text("[")
    records.cell_folder("f" * 12).mkdir()  # crashed before cell.json
    assert records.ids() == [cell.id]


def test_cell_is_accepted_twice(records: Records, plan: Plan) -> None:
    cell = search(plan, 0)
    tiny.write_cell(records, cell, tiny.rows(3), None)
    assert records.result(cell.id) is None
    records.accept(cell.id, {"outcome": "complete"})
    with pytest.raises(FileExistsError, match=cell.id):
        records.accept(cell.id, {"outcome": "failed"})
    assert records.result(cell.id) == {"outcome": "complete"}


def test_rows_are_changed_after_they_were_accepted(records: Records, plan: Plan) -> None:
    cell = search(plan, 0)
    tiny.write_cell(records, cell, tiny.rows(3, 2), None)
    rows, seal = records.sealed_rows(cell.id)
    records.accept(cell.id, {"outcome": "complete", TICKS_SEAL: seal})
    assert records.rows(cell.id) == rows == tiny.rows(3, 2)
    write_json(records.cell_folder(cell.id) / "ticks.json", tiny.rows(3, 1))
    for reader in (records, Records(records.folder)):
        with pytest.raises(ValueError, match=r"ticks\.json is damaged"):
            reader.rows(cell.id)
    (line,) = Records(records.folder).quarantine_damaged()
    assert line.endswith("this cell runs again: ticks.json, result.json")
    assert Records(records.folder).result(cell.id) is None


def accept(records: Records, cell: Cell, outcome: str, *values: float) -> None:
    tiny.write_cell(records, cell, tiny.rows(*values), None)
    _, seal = records.sealed_rows(cell.id)
    ended = {"outcome": outcome, "seconds": 1.0, "attempts": 1}
    records.accept(cell.id, ended | {TICKS_SEAL: seal})


def test_reader_takes_a_cell_that_ran_again_for_damaged(records: Records, plan: Plan) -> None:
    """A notebook reads while another command runs, and keeps what it read."""
    cell = search(plan, 0)
    accept(records, cell, "failed", 3)
    reader, other = Records(records.folder), Records(records.folder)
    assert reader.cells()["outcome"].tolist() == ["failed"]
    assert other.rows(cell.id) == tiny.rows(3)
    records.retry(cell.id)
    tiny.write_cell(records, cell, tiny.rows(2, 1), None)
    assert reader.cells().empty
    assert other.rows(cell.id) == tiny.rows(2, 1)
    accept(Records(records.folder), cell, "complete", 2, 1)
    assert reader.cells()["outcome"].tolist() == ["complete"]
    assert other.rows(cell.id) == tiny.rows(2, 1)


def test_lost_rows_end_every_later_command(records: Records, plan: Plan) -> None:
    cells = [search(plan, n, lr=n + 1.0) for n in range(3)]
    for cell, outcome in zip(cells, ("complete", "failed", "complete"), strict=True):
        accept(records, cell, outcome, 3)
    for cell in cells[:2]:
        (records.cell_folder(cell.id) / "ticks.json").unlink()
    with pytest.raises(ValueError, match=r"ticks\.json is lost"):
        Records(records.folder).cells()
    (records.cell_folder(cells[2].id) / "cell.json").unlink()
    said = " ".join(Records(records.folder).quarantine_damaged())
    assert f"{cells[0].id}: damaged, so this cell runs again: ticks.json, result.json" in said
    assert f"{cells[2].id}: damaged, so this cell runs again: cell.json, result.json" in said
    assert cells[1].id not in said
    assert Records(records.folder).cells()["id"].tolist() == [cells[1].id]


class TestBest:
    def test_another_cell_is_taken_for_the_best(self, records: Records, plan: Plan) -> None:
        """The best cell has the lowest objective at its last tick.

        Only complete search cells of the same condition are compared.
        """
        given = [
            (0, "complete", (9, 2, 5)),  # was the best for a while, and collapsed
            (1, "complete", (9, 6, 4)),  # the best
            (2, "pruned", (9, 1)),
            (3, "diverged", (9, 0.5)),
            (4, "failed", ()),
            (5, None, (9, 0.1)),
        ]
        for n, outcome, values in given:
            tiny.write_cell(records, search(plan, n, lr=n + 1.0), tiny.rows(*values), outcome)
        tiny.write_cell(records, search(plan, 0, "classes=3", lr=7.0), tiny.rows(9, 0.2))
        for cell in plan.confirm_cells("classes=2", {"lr": 99.0}):
            tiny.write_cell(records, cell, tiny.rows(9, 0.1))
        best = records.best()
        assert {name: values["lr"] for name, values in best.items()} == {
            ("classes=2", 0): 2.0,
            ("classes=3", 0): 7.0,
        }

    def test_nothing_is_complete(self, records: Records, plan: Plan) -> None:
        tiny.write_cell(records, search(plan, 0), tiny.rows(9), "pruned")
        assert records.best() == {}

    def test_best_tick_of_a_cell_without_objective(self) -> None:
        assert best_row([{"kimg": 0}, {"kimg": 1}], "fcd", "minimize") == {"kimg": 0}
        assert best_row([{"kimg": 0}, {"kimg": 1}], "fcd", "maximize") == {"kimg": 0}
        assert best_row(tiny.rows(5, 2, 3), "fcd", "minimize")["kimg"] == 1
        assert best_row(tiny.rows(2, 5, 3), "fcd", "maximize")["kimg"] == 1


class TestFrames:
    HEAD = ("id", "condition", "phase", "number", "search", "seed", "outcome", "seconds",
            "attempts", "is_reference", "is_best", "kimg", "best_kimg")  # fmt: skip

    def fill(self, records: Records, plan: Plan) -> None:
        tiny.write_cell(records, search(plan, 0), tiny.rows(9, 2, 5, label_accuracy=0.5))
        tiny.write_cell(records, search(plan, 1, lr=1.0), tiny.rows(9), None)
        tiny.write_cell(records, search(plan, 2, lr=2.0), [], "out_of_memory")
        for values in (plan.hyperparameters("classes=2"), plan.hyperparameters("classes=2", OTHER)):
            for cell in plan.confirm_cells("classes=2", values):
                tiny.write_cell(records, cell, tiny.rows(9, 3))

    def test_cells(self, records: Records, plan: Plan) -> None:
        """The report and the claims read exactly these columns."""
        self.fill(records, plan)
        frame = records.cells().set_index("id")
        assert tuple(records.cells().columns[:13]) == self.HEAD
        assert search(plan, 1, lr=1.0).id not in frame.index, "an unfinished cell is in it"
        assert len(frame) == 6
        first = frame.loc[search(plan, 0).id]
        assert first["last/fcd"] == 5
        assert first["best/fcd"] == 2
        assert (first["kimg"], first["best_kimg"]) == (2, 1)
        assert first["condition/classes"] == 2
        assert first["hp/lr"] == 1e-3
        assert first["last/label_accuracy"] == 0.5
        assert first["is_best"]
        assert not first["is_reference"]
        dead = frame.loc[search(plan, 2, lr=2.0).id]
        assert dead["outcome"] == "out_of_memory"
        assert pd.isna(dead["last/fcd"])
        confirm = frame[frame["phase"] == "confirm"]
        assert list(confirm["is_reference"]).count(True) == 2
        assert list(confirm["is_best"]).count(True) == 2

    def test_ticks(self, records: Records, plan: Plan) -> None:
        self.fill(records, plan)
        frame = records.ticks()
        assert list(frame.columns[:7]) == [
            "id", "condition", "phase", "seed", "is_reference", "is_best", "kimg",
        ]  # fmt: skip
        assert len(frame) == 3 + 4 * 2
        curve = frame[frame["id"] == search(plan, 0).id]
        assert list(curve["fcd"]) == [9, 2, 5]

    def test_empty_study(self, records: Records) -> None:
        """The report of a study that has just begun must not fail."""
        assert tuple(records.cells().columns) == self.HEAD
        assert records.cells().empty
        assert records.ticks().empty
        assert records.best() == {}

    def test_folder_that_was_moved(self, records: Records, plan: Plan, tmp_path: Path) -> None:
        """Records name no absolute path: a folder can be copied to another machine."""
        self.fill(records, plan)
        before = records.cells()
        moved = Records(records.folder.rename(tmp_path / "elsewhere"))
        pd.testing.assert_frame_equal(moved.cells(), before)
        texts = [p.read_text() for p in moved.folder.rglob("*.json")]
        assert not any(json.dumps(str(tmp_path))[1:-1] in text for text in texts)


class TestMending:
    @pytest.mark.parametrize("name", ["cell.json", "ticks.json", "result.json", "attempts.json"])
    @pytest.mark.parametrize("size", [0, 5])
    def test_torn_record_is_trusted_or_ends_the_study(
        self, records: Records, plan: Plan, name: str, size: int
    ) -> None:
        """A torn record must be set aside, and its cell is then unfinished again.

        The other cells must stay as they are.
        """
        cells = [search(plan, number) for number in range(2)]
        for cell in cells:
            tiny.write_cell(records, cell, tiny.rows(3.0, 2.0))
            write_json(records.cell_folder(cell.id) / "attempts.json", [{"error": None}])
        torn = records.cell_folder(cells[0].id) / name
        left = torn.read_bytes()[:size]
        torn.write_bytes(left)
        (line,) = records.quarantine_damaged()
        assert str(torn.parent) in line
        assert name in line
        assert torn.with_suffix(".damaged").read_bytes() == left
        assert not torn.exists()
        again = Records(records.folder)
        assert again.result(cells[0].id) is None
        assert again.result(cells[1].id)
        assert again.quarantine_damaged() == []

    def test_leftovers_of_a_killed_command_stay_for_ever(
        self, records: Records, plan: Plan
    ) -> None:
        """The leftovers are checkpoints of an accepted cell, and files that were being written.

        They would take up disk space for nothing. The checkpoint of an unfinished cell must stay.
        """
        for number, outcome in enumerate(("complete", None)):
            cell = search(plan, number)
            tiny.write_cell(records, cell, tiny.rows(3.0), outcome)
            folder = records.cell_folder(cell.id) / "checkpoints"
            folder.mkdir()
            for name in ("000000030.pt", ".000000030.pt.k3x_"):
                (folder / name).write_bytes(b"x")
        assert records.quarantine_damaged() == []
        (kept,) = records.folder.glob("cells/*/checkpoints/*")
        assert kept == folder / "000000030.pt"

    def test_whole_records_are_set_aside(self, records: Records, plan: Plan) -> None:
        tiny.write_cell(records, search(plan, 0), tiny.rows(3.0))
        before = sorted(records.folder.rglob("*"))
        assert records.quarantine_damaged() == []
        assert sorted(records.folder.rglob("*")) == before


def test_conditions_are_ordered_as_people_count() -> None:
    names = ["classes=49", "classes=5", "Coulomb 10", "classes=10", "Coulomb 2"]
    ordered = ["Coulomb 2", "Coulomb 10", "classes=5", "classes=10", "classes=49"]
    assert sorted(names, key=natural) == ordered


def test_lock_of_a_living_worker_is_deleted(records: Records, plan: Plan) -> None:
    """A worker may outlive its driver. The next worker would not wait for it to end."""
    cell = plan.search_cell("classes=2", 0, OTHER, OTHER)
    tiny.write_cell(records, cell, tiny.rows(3.0), None)
    with take(records.cell_folder(cell.id)):
        assert records.quarantine_damaged() == []
        with pytest.raises(LockedError):
            take(records.cell_folder(cell.id))


def test_cell_that_ends_while_the_report_is_made(records: Records, plan: Plan) -> None:
    """A report may be made while cells run. It ended in a KeyError."""
    cells = [plan.search_cell("classes=2", n, OTHER, OTHER) for n in range(2)]
    tiny.write_cell(records, cells[0], tiny.rows(3.0, 2.0))
    rows = {cells[0].id: records.rows(cells[0].id)}
    tiny.write_cell(records, cells[1], tiny.rows(3.0, 1.0))
    assert records.best(rows) == {("classes=2", 0): cells[0].hyperparameters}


def test_failed_cell_that_is_retried_is_lost(records: Records, plan: Plan) -> None:
    """What the failed attempt left must be kept, and must not be taken for the next one's."""
    cell = plan.search_cell("classes=2", 0, OTHER, OTHER)
    for number in (1, 2):
        tiny.write_cell(records, cell, tiny.rows(3.0, 2.0), "failed")
        picture = records.cell_folder(cell.id) / "samples" / "000001.png"
        write_atomically(picture, b"picture %d" % number)
        write_json(records.cell_folder(cell.id) / "attempts.json", [{"error": "no"}] * 3)
        assert records.result(cell.id) is not None
        records.retry(cell.id)
        assert records.result(cell.id) is None
        assert (records.rows(cell.id), records.attempts(cell.id)) == ([], [])
        kept = records.cell_folder(cell.id).glob(f"*.{number}.failed")
        assert {path.name.partition(".")[0] for path in kept} == {"attempts", "ticks", "result"}
        assert picture.with_suffix(f".{number}.failed").read_bytes() == b"picture %d" % number
    assert records.quarantine_damaged() == []
