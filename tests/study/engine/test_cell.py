"""A cell that is killed and continued equals a cell that ran through."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from study.engine.cell import CellRun, checkpoints
from study.engine.shared_state import Shared
from study.metrics.core.judge import Judge
from study.planning.plan import Plan
from study.records.lock import LockedError
from study.records.records import Records, Row
from study.records.tensors import load_tensors, save_tensors
from tests.study.cells import CPU, begin, cell_of, elsewhere, plain, to_end
from trainables.core.loop import StoppedError


@pytest.fixture(scope="module")
def through(common: Shared, judges: list[Judge], plan: Plan) -> list[Row]:
    """The rows of the plain cell, run without an interruption."""
    return to_end(begin(cell_of(plan), common, judges))


class TestContinuing:
    @pytest.mark.parametrize("ticks", [1, 2, 3])
    def test_killed_cell_ends_elsewhere(
        self, shared: Shared, judges: list[Judge], plan: Plan, ticks: int
    ) -> None:
        """Results would depend on how often the machine failed."""
        # Pretraining, noisy targets and uniform fake labels: everything that draws random numbers.
        cell = cell_of(plan, pretrain_kimg=0.1, fake_labels="uniform")
        through = to_end(begin(cell, elsewhere(shared, "through"), judges))
        killed = begin(cell, shared, judges)
        for _ in range(ticks):
            killed.advance()
        del killed
        torch.manual_seed(99)  # another process
        again = begin(cell, shared, judges)
        assert len(again.rows) == ticks
        assert plain(to_end(again)) == plain(through)
        records = [Records(s.folder) for s in (shared, elsewhere(shared, "through"))]
        assert plain(records[0].rows(cell.id)) == plain(records[1].rows(cell.id))
        for mark in range(4):
            name = f"samples/{mark:06d}.png"
            grids = [r.cell_folder(cell.id).joinpath(name).read_bytes() for r in records]
            assert grids[0] == grids[1]

    def test_killed_between_ticks(
        self, shared: Shared, judges: list[Judge], plan: Plan, through: list[Row]
    ) -> None:
        """What was trained since the last tick must be trained again, and not be counted twice."""
        cell = cell_of(plan)
        killed = begin(cell, shared, judges)
        killed.advance()
        killed.loop.run(500)
        assert plain(to_end(begin(cell, shared, judges))) == plain(through)

    @pytest.mark.parametrize("steps", [0, 3, 12])
    def test_stopped_cell_ends_elsewhere(
        self, shared: Shared, judges: list[Judge], plan: Plan, steps: int, through: list[Row]
    ) -> None:
        """A stop in the middle of a tick costs no training and changes no number."""
        cell, asked = cell_of(plan), iter(range(steps))
        run = begin(cell, shared, judges, stop=lambda: next(asked, None) is None)
        with pytest.raises(StoppedError):
            to_end(run)
        batches = run.loop.batches
        assert batches == steps
        torch.manual_seed(99)
        again = begin(cell, shared, judges)
        assert again.loop.batches == batches
        assert plain(to_end(again)) == plain(through)

    def test_stopped_in_pretraining(self, shared: Shared, judges: list[Judge], plan: Plan) -> None:
        cell, asked = cell_of(plan, pretrain_kimg=1.0), iter(range(4))
        expected = to_end(begin(cell, elsewhere(shared, "through"), judges))
        run = begin(cell, shared, judges, stop=lambda: next(asked, None) is None)
        with pytest.raises(StoppedError):
            to_end(run)
        assert run.rows == []
        again = begin(cell, shared, judges)
        assert again.loop.pretrained == 400
        assert plain(to_end(again)) == plain(expected)

    def test_killed_while_measuring_what_is_slow(
        self, slow: Shared, judges: list[Judge], plan: Plan, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """FID takes minutes on a CPU. A kill meanwhile must not cost the training before it."""
        cell = cell_of(plan)
        expected = to_end(begin(cell, elsewhere(slow, "through"), judges))
        run = begin(cell, slow, judges)
        for _ in range(3):
            run.advance()

        def die(*_: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(run, "_measure", die)
        with pytest.raises(KeyboardInterrupt):
            run.advance()
        again = begin(cell, slow, judges)
        assert (len(again.rows), again.loop.batches) == (3, 30)
        assert again.advance()["images_per_second"] > 0
        assert plain(again.rows) == plain(expected)

    def test_two_processes_write_one_cell(
        self, shared: Shared, judges: list[Judge], plan: Plan, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A worker may outlive its driver a little.

        The worker that takes its place must not run the cell until the old one has ended.
        """
        cell = cell_of(plan)
        orphan = begin(cell, shared, judges)
        monkeypatch.setattr("study.engine.cell.ORPHAN_SECONDS", 0.1)
        with pytest.raises(LockedError, match="is being run by process"):
            CellRun(cell, shared, CPU, judges)
        orphan.close()
        CellRun(cell, shared, CPU, judges).close()

    def test_checkpoint_of_other_judges_goes_on(
        self, shared: Shared, judges: list[Judge], plan: Plan, through: list[Row]
    ) -> None:
        """Rows before and after would be measured by different judges."""
        cell = cell_of(plan)
        run = begin(cell, shared, judges)
        run.advance()
        other = dataclasses.replace(shared, judges_digest=dict.fromkeys(plan.conditions, "other"))
        again = begin(cell, other, judges)
        assert again.rows == []
        assert plain(to_end(again)) == plain(through)

    def test_killed_while_saving(
        self,
        shared: Shared,
        judges: list[Judge],
        plan: Plan,
        monkeypatch: pytest.MonkeyPatch,
        through: list[Row],
    ) -> None:
        """The process is killed after it has written the checkpoint and before it writes the rows.

        Rows and checkpoint must agree after the restart.
        """
        cell = cell_of(plan)
        run = begin(cell, shared, judges)
        run.advance()

        def die(*_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("study.engine.cell.write_json", die)
            with pytest.raises(KeyboardInterrupt):
                run.advance()
        assert len(Records(shared.folder).rows(cell.id)) == 1
        again = begin(cell, shared, judges)
        assert len(again.rows) == len(Records(shared.folder).rows(cell.id)) == 2
        assert plain(to_end(again)) == plain(through)

    @pytest.mark.parametrize("damage", ["torn", "flipped", "empty"])
    def test_damaged_checkpoint_ends_the_cell(
        self, shared: Shared, judges: list[Judge], plan: Plan, damage: str, through: list[Row]
    ) -> None:
        """The checkpoint before the damaged one must be taken, and the rows fall back with it."""
        cell = cell_of(plan)
        run = begin(cell, shared, judges)
        for _ in range(3):
            run.advance()
        newest = checkpoints(run.folder)[-1]
        content = bytearray(newest.read_bytes())
        if damage == "flipped":
            content[len(content) // 2] ^= 1
        newest.write_bytes({"torn": content[:-100], "empty": b""}.get(damage, content))
        again = begin(cell, shared, judges)
        assert [row["kimg"] for row in again.rows] == [0, 1]
        assert Records(shared.folder).rows(cell.id) == again.rows
        assert plain(to_end(again)) == plain(through)

    def test_all_checkpoints_are_damaged(
        self, shared: Shared, judges: list[Judge], plan: Plan
    ) -> None:
        cell = cell_of(plan)
        run = begin(cell, shared, judges)
        for _ in range(3):
            run.advance()
        for path in checkpoints(run.folder):
            path.write_bytes(b"not a checkpoint")
        again = begin(cell, shared, judges)
        assert again.rows == []
        assert Records(shared.folder).rows(cell.id) == []
        again.advance()  # new checkpoints must count, though they are of earlier ticks
        assert len(begin(cell, shared, judges).rows) == 1

    def test_finished_cell_trains_on(self, shared: Shared, judges: list[Judge], plan: Plan) -> None:
        """The cell was killed after its last tick, before it was accepted.

        Only the acceptance is missing, so nothing must be trained.
        """
        cell = cell_of(plan)
        rows = to_end(begin(cell, shared, judges))
        again = begin(cell, shared, judges)
        assert again.finished
        assert again.rows == rows
        assert again.seconds == pytest.approx(rows[-1]["seconds"])

    def test_continued_cell_forgets_how_long_it_trained(
        self, shared: Shared, judges: list[Judge], plan: Plan
    ) -> None:
        """A claim on seconds would favour cells that were interrupted."""
        run = begin(cell_of(plan), shared, judges)
        for _ in range(3):
            before = run.advance()["training_seconds"]
        again = begin(cell_of(plan), shared, judges)
        assert before < again.advance()["training_seconds"] < before + 9

    def test_checkpoints_fill_the_disk(
        self, shared: Shared, judges: list[Judge], plan: Plan
    ) -> None:
        run = begin(cell_of(plan), shared, judges)
        to_end(run)
        assert [p.name for p in checkpoints(run.folder)] == ["000000020.pt", "000000030.pt"]
        hidden = [p.name for p in run.folder.rglob(".*") if p.is_file()]
        assert hidden == [".lock"], "temporary files are left"


class TestCheckpointFile:
    def test_round_trip(self, tmp_path: Path) -> None:
        value = {"rows": [{"kimg": 1, "fcd": 0.1}], "t": torch.arange(3), "n": [1, 2, None]}
        save_tensors(tmp_path / "a.pt", value)
        again = load_tensors(tmp_path / "a.pt")
        assert again is not None
        assert again["rows"] == value["rows"]
        assert torch.equal(again["t"], torch.arange(3))

    @pytest.mark.parametrize("size", [0, 10, 32, 100])
    def test_torn_file_is_trusted(self, tmp_path: Path, size: int) -> None:
        save_tensors(tmp_path / "a.pt", {"t": torch.arange(3)})
        path = tmp_path / "a.pt"
        path.write_bytes(path.read_bytes()[:size])
        assert load_tensors(path) is None
