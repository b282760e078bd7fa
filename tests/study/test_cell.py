"""One cell: killed and continued it equals one that ran through; what it leaves on record."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from PIL import Image

from study.cell import CellRun, Shared, checkpoints, load_tensors, save_tensors
from study.lock import LockedError
from study.metrics import cas, fid
from study.metrics.judge import Judges
from study.metrics.reference import Reference
from study.plan import Cell, Plan
from study.records import CLOCK, Records, Row
from trainables.core.loop import StoppedError

CPU = torch.device("cpu")


@pytest.fixture
def slow(shared: Shared, judges: Judges, monkeypatch: pytest.MonkeyPatch) -> Shared:
    """With all that is measured of whole sets of fakes, and CAS at the end."""
    monkeypatch.setattr(cas, "IMAGES", 60)
    monkeypatch.setattr(cas, "DRAWS", 300)
    wanted = (*shared.metrics, "kcd", "prdc", "intra_fcd", "ms_ssim", "cas")
    references = {
        name: Reference.build(judges, tiny.dataset().keep(int(name[-1])), 30, 0, wanted).state()
        for name in shared.references
    }
    return dataclasses.replace(shared, metrics=wanted, references=references)


@pytest.fixture(scope="module")
def through(common: Shared, judges: Judges, plan: Plan) -> list[Row]:
    """The rows of the plain cell, run without an interruption."""
    return to_end(begin(cell_of(plan), common, judges))


def cell_of(plan: Plan, condition: str = "classes=2", seed: int = 0, **values: Any) -> Cell:
    cell = plan.confirm_cells(condition, {**plan.hyperparameters(condition), **values})[0]
    return dataclasses.replace(cell, seed=seed)


def elsewhere(shared: Shared, name: str) -> Shared:
    return dataclasses.replace(shared, folder=shared.folder.parent / name)


OPEN: dict[Path, CellRun] = {}


def begin(cell: Cell, shared: Shared, judges: Judges, **rest: Any) -> CellRun:
    """As another process would: the one before it is dead, and its lock is free."""
    folder = Records(shared.folder).cell_folder(cell.id)
    if folder in OPEN:
        OPEN.pop(folder).close()
    OPEN[folder] = CellRun(cell, shared, CPU, judges, **rest)
    return OPEN[folder]


def to_end(run: CellRun) -> list[Row]:
    while not run.finished:
        run.advance()
    return run.rows


def plain(rows: list[Row]) -> list[Row]:
    """Without what the clock says."""
    return [{k: v for k, v in row.items() if k not in CLOCK} for row in rows]


class TestContinuing:
    @pytest.mark.parametrize("ticks", [1, 2, 3])
    def test_killed_cell_ends_elsewhere(
        self, shared: Shared, judges: Judges, plan: Plan, ticks: int
    ) -> None:
        """Results would depend on how often the machine failed."""
        # Pretraining, noisy targets and uniform fake labels: all that draws random numbers.
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
        self, shared: Shared, judges: Judges, plan: Plan, through: list[Row]
    ) -> None:
        """What was trained since the last tick is done again, not counted twice."""
        cell = cell_of(plan)
        killed = begin(cell, shared, judges)
        killed.advance()
        killed.loop.run(500)
        assert plain(to_end(begin(cell, shared, judges))) == plain(through)

    @pytest.mark.parametrize("steps", [0, 3, 12])
    def test_stopped_cell_ends_elsewhere(
        self, shared: Shared, judges: Judges, plan: Plan, steps: int, through: list[Row]
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

    def test_stopped_in_pretraining(self, shared: Shared, judges: Judges, plan: Plan) -> None:
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
        self, slow: Shared, judges: Judges, plan: Plan, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """FID takes minutes on a CPU: the training before it must not be done again."""
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
        self, shared: Shared, judges: Judges, plan: Plan, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A worker that outlives its driver a little, and the one that takes its place."""
        cell = cell_of(plan)
        orphan = begin(cell, shared, judges)
        monkeypatch.setattr("study.cell.ORPHANS", 0.1)
        with pytest.raises(LockedError, match="is being run by process"):
            CellRun(cell, shared, CPU, judges)
        orphan.close()
        CellRun(cell, shared, CPU, judges).close()

    def test_checkpoint_of_other_judges_goes_on(
        self, shared: Shared, judges: Judges, plan: Plan, through: list[Row]
    ) -> None:
        """Rows before and after would be measured with two yardsticks."""
        cell = cell_of(plan)
        run = begin(cell, shared, judges)
        run.advance()
        other = dataclasses.replace(shared, measured_by=dict.fromkeys(plan.conditions, "other"))
        again = begin(cell, other, judges)
        assert again.rows == []
        assert plain(to_end(again)) == plain(through)

    def test_killed_while_saving(
        self,
        shared: Shared,
        judges: Judges,
        plan: Plan,
        monkeypatch: pytest.MonkeyPatch,
        through: list[Row],
    ) -> None:
        """After the checkpoint, before the rows: rows and checkpoint must not part."""
        cell = cell_of(plan)
        run = begin(cell, shared, judges)
        run.advance()

        def die(*_: Any) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("study.cell.write_json", die)
            with pytest.raises(KeyboardInterrupt):
                run.advance()
        assert len(Records(shared.folder).rows(cell.id)) == 1
        again = begin(cell, shared, judges)
        assert len(again.rows) == len(Records(shared.folder).rows(cell.id)) == 2
        assert plain(to_end(again)) == plain(through)

    @pytest.mark.parametrize("damage", ["torn", "flipped", "empty"])
    def test_damaged_checkpoint_ends_the_cell(
        self, shared: Shared, judges: Judges, plan: Plan, damage: str, through: list[Row]
    ) -> None:
        """The one before it is taken, and the rows fall back with it."""
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

    def test_all_checkpoints_are_damaged(self, shared: Shared, judges: Judges, plan: Plan) -> None:
        cell = cell_of(plan)
        run = begin(cell, shared, judges)
        for _ in range(3):
            run.advance()
        for path in checkpoints(run.folder):
            path.write_bytes(b"not a checkpoint")
        again = begin(cell, shared, judges)
        assert again.rows == []
        assert Records(shared.folder).rows(cell.id) == []
        again.advance()  # what is written from now on counts, though it is earlier
        assert len(begin(cell, shared, judges).rows) == 1

    def test_finished_cell_trains_on(self, shared: Shared, judges: Judges, plan: Plan) -> None:
        """Killed after its last tick, before it was accepted: only the acceptance is missing."""
        cell = cell_of(plan)
        rows = to_end(begin(cell, shared, judges))
        again = begin(cell, shared, judges)
        assert again.finished
        assert again.rows == rows
        assert again.seconds == pytest.approx(rows[-1]["seconds"])

    def test_continued_cell_forgets_how_long_it_trained(
        self, shared: Shared, judges: Judges, plan: Plan
    ) -> None:
        """A claim on seconds would favour cells that were interrupted."""
        run = begin(cell_of(plan), shared, judges)
        for _ in range(3):
            before = run.advance()["training_seconds"]
        again = begin(cell_of(plan), shared, judges)
        assert before < again.advance()["training_seconds"] < before + 9

    def test_cell_of_an_older_version_gets_half_of_its_time(
        self, shared: Shared, judges: Judges, plan: Plan
    ) -> None:
        run = begin(cell_of(plan), shared, judges)
        run.advance()
        del run.rows[0]["training_seconds"]
        assert "training_seconds" not in run.advance()

    def test_checkpoints_fill_the_disk(self, shared: Shared, judges: Judges, plan: Plan) -> None:
        run = begin(cell_of(plan), shared, judges)
        to_end(run)
        assert [p.name for p in checkpoints(run.folder)] == ["000000020.pt", "000000030.pt"]
        hidden = [p.name for p in run.folder.rglob(".*") if p.is_file()]
        assert hidden == [".lock"], "temporary files are left"


class TestSameSeed:
    def test_reused_process_gives_other_numbers(
        self, shared: Shared, judges: Judges, plan: Plan
    ) -> None:
        """A trial's numbers would depend on what its worker ran before."""
        cell = cell_of(plan, "classes=3", seed=5)
        fresh = to_end(begin(cell, elsewhere(shared, "fresh"), judges))
        to_end(begin(cell_of(plan, "classes=2", d_norm="sn"), shared, judges))
        assert plain(to_end(begin(cell, shared, judges))) == plain(fresh)

    def test_seed_does_not_matter(self, shared: Shared, judges: Judges, plan: Plan) -> None:
        a, b = (to_end(begin(cell_of(plan, seed=s), shared, judges)) for s in (0, 1))
        assert all(x["fcd"] != y["fcd"] for x, y in zip(a, b, strict=True))

    def test_evaluation_disturbs_training(self, shared: Shared, judges: Judges, plan: Plan) -> None:
        """How often one measures must not change what is trained."""
        few = dataclasses.replace(elsewhere(shared, "few"), ticks={"confirm": [0, 3]})
        cell = cell_of(plan, d_norm="sn")
        often = begin(cell, shared, judges)
        to_end(often)
        seldom = begin(cell, few, judges)
        to_end(seldom)
        assert often.rows[-1]["fcd"] == seldom.rows[-1]["fcd"]
        for x, y in zip(often.gan.parameters(), seldom.gan.parameters(), strict=True):
            assert torch.equal(x, y)

    def test_slow_metrics_disturb_training(
        self, slow: Shared, judges: Judges, plan: Plan, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """CAS trains a network in the middle of another's training: here at each tick."""
        monkeypatch.setattr(cas, "WHEN", "tick")
        cell = cell_of(plan, d_norm="sn")
        often = begin(cell, slow, judges)
        assert all("cas" in row for row in to_end(often))
        plainly = dataclasses.replace(elsewhere(slow, "plainly"), metrics=("fcd",))
        seldom = begin(cell, plainly, judges)
        assert often.rows[-1]["fcd"] == to_end(seldom)[-1]["fcd"]
        for x, y in zip(often.gan.parameters(), seldom.gan.parameters(), strict=True):
            assert torch.equal(x, y)

    def test_read_only_arrays(self, shared: Shared, judges: Judges, plan: Plan) -> None:
        """Ray hands out the images from shared memory, read-only."""
        x, y = shared.x.copy(), shared.y.copy()
        x.flags.writeable = y.flags.writeable = False
        run = begin(cell_of(plan), dataclasses.replace(shared, x=x, y=y), judges)
        run.advance()
        run.advance()


class TestRecorded:
    def test_columns(self, shared: Shared, judges: Judges, plan: Plan) -> None:
        """Claims, figures and MLflow read these."""
        rows = to_end(begin(cell_of(plan), shared, judges))
        assert [row["kimg"] for row in rows] == [0, 1, 2, 3]
        measured = {"fcd", "fcd_floor", "label_accuracy", "variance_ratio", "class_loss/real",
                    "class_loss/fake", "class_loss_ratio", "gradient_norm/class"}  # fmt: skip
        trained = {"images_per_second", "loss/d/class_real", "loss/g/class", "loss/g/adversarial"}
        assert measured <= rows[0].keys()
        assert not trained & rows[0].keys(), "losses before any training"
        assert all(measured | trained <= row.keys() for row in rows[1:])
        assert all(isinstance(v, float | int) for row in rows for v in row.values())
        seconds = [row["seconds"] for row in rows]
        assert seconds == sorted(seconds)
        training = [row["training_seconds"] for row in rows]
        assert all(later - before > 1e-3 for before, later in itertools.pairwise(training))
        assert all(0 <= a < b for a, b in zip(training, seconds, strict=True)), "measuring counts"
        json.dumps(rows, allow_nan=False)

    def test_slow_metric_is_measured_at_each_tick(
        self, slow: Shared, judges: Judges, plan: Plan
    ) -> None:
        """It takes longer than training between two ticks, and searches do not need it."""
        columns = {"cas", "cas_real", "cas_relative"}
        rows = to_end(begin(cell_of(plan), slow, judges))
        assert [columns & row.keys() for row in rows] == [set(), set(), set(), columns]
        assert all({"kcd", "kcd_floor", "recall", "recall_real"} <= row.keys() for row in rows)
        cell = plan.search_cell("classes=2", 0, {}, {})
        for row in to_end(begin(cell, slow, judges)):
            assert not columns & row.keys()
            assert "kcd" in row

    def test_fid_gets_no_network(
        self, shared: Shared, judges: Judges, plan: Plan, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is loaded when FID is due, and never before: it takes 130 MB and seconds."""
        monkeypatch.setattr(fid.Inception, "from_state", lambda state, device: state["network"])
        monkeypatch.setattr(fid, "measure", lambda view: {"fid": view.inception})
        given = {name: {"network": 7.0} for name in plan.conditions}
        wanted = dataclasses.replace(shared, metrics=("fcd", "fid"), inceptions=given)
        rows = to_end(begin(cell_of(plan), wanted, judges))
        assert [row.get("fid") for row in rows] == [None, None, None, 7.0]

    def test_only_its_classes_are_shown(self, shared: Shared, judges: Judges, plan: Plan) -> None:
        run = begin(cell_of(plan, "classes=2"), shared, judges)
        assert run.loop.y.unique().tolist() == [0, 1]
        assert len(run.loop.x) == 400
        assert run.gan.images.classes == 2
        assert len(begin(cell_of(plan, "classes=3"), shared, judges).loop.x) == 600

    @pytest.mark.parametrize("condition", ["classes=2", "classes=3"])
    def test_grid(self, shared: Shared, judges: Judges, plan: Plan, condition: str) -> None:
        """One column per class, eight rows, a border of one pixel: the report cuts it up so."""
        run = begin(cell_of(plan, condition), shared, judges)
        run.advance()
        image = Image.open(io.BytesIO((run.folder / "samples" / "000000.png").read_bytes()))
        side = tiny.SIZE + 1
        assert image.size == (int(condition[-1]) * side + 1, 8 * side + 1)

    def test_grid_of_a_variant_without_labels(
        self, shared: Shared, judges: Judges, plan: Plan
    ) -> None:
        cell = dataclasses.replace(
            cell_of(plan), variant="dcgan", hyperparameters={"f": 2, "batch": 100}
        )
        lesser = dataclasses.replace(shared, metrics=("fcd", "gradients"))
        run = begin(cell, lesser, judges)
        to_end(run)
        image = Image.open(run.folder / "samples" / "000003.png")
        assert image.size == (8 * 17 + 1, 8 * 17 + 1)

    def test_generator_cannot_be_used_again(
        self, shared: Shared, judges: Judges, plan: Plan
    ) -> None:
        """The cell's product: the averaged generator's weights."""
        run = begin(cell_of(plan), shared, judges)
        to_end(run)
        weights = load_tensors(run.folder / "generator.pt")
        assert weights is not None
        run.gan.G_ema.load_state_dict(weights)


class TestDivergence:
    @pytest.mark.parametrize("network", ["G", "D"])
    def test_nan_goes_unnoticed(
        self, shared: Shared, judges: Judges, plan: Plan, network: str
    ) -> None:
        """NaN would reach Optuna, the means and the claims; the earlier rows are kept."""
        cell = cell_of(plan)
        run = begin(cell, shared, judges)
        run.advance()
        run.advance()
        rows = list(run.rows)
        with torch.no_grad():
            next(getattr(run.gan, network).parameters()).fill_(float("nan"))
        with pytest.raises(FloatingPointError, match="nan"):
            run.advance()
        assert Records(shared.folder).rows(cell.id) == rows
        assert begin(cell, shared, judges).rows == rows

    def test_infinite_learning_rate(self, shared: Shared, judges: Judges, plan: Plan) -> None:
        run = begin(cell_of(plan, lr=1e30, lr_ratio=1e6), shared, judges)
        with pytest.raises(FloatingPointError):
            to_end(run)

    def test_broken_average_goes_unnoticed(
        self, shared: Shared, judges: Judges, plan: Plan
    ) -> None:
        """Only the evaluated generator is broken: no loss shows it."""
        run = begin(cell_of(plan), shared, judges)
        run.advance()
        with torch.no_grad():
            next(run.gan.G_ema.parameters()).fill_(float("nan"))
        with pytest.raises(FloatingPointError):
            run.advance()


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
