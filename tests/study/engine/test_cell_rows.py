"""One cell's rows: the same seed gives the same rows, what is on record, and NaN is noticed."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json

import pytest
import torch
from PIL import Image

from study.engine.shared_state import Shared
from study.metrics import cas, fid
from study.metrics.core.inception import Inception
from study.metrics.core.judge import Judge
from study.planning.plan import Plan
from study.records.records import Records
from study.records.tensors import load_tensors
from tests.study import tiny
from tests.study.cells import begin, cell_of, elsewhere, plain, to_end


class TestSameSeed:
    def test_reused_process_gives_other_numbers(
        self, shared: Shared, judges: list[Judge], plan: Plan
    ) -> None:
        """A trial's numbers would depend on what its worker ran before."""
        cell = cell_of(plan, "classes=3", seed=5)
        fresh = to_end(begin(cell, elsewhere(shared, "fresh"), judges))
        to_end(begin(cell_of(plan, "classes=2", d_norm="sn"), shared, judges))
        assert plain(to_end(begin(cell, shared, judges))) == plain(fresh)

    def test_seed_does_not_matter(self, shared: Shared, judges: list[Judge], plan: Plan) -> None:
        a, b = (to_end(begin(cell_of(plan, seed=s), shared, judges)) for s in (0, 1))
        assert all(x["fcd"] != y["fcd"] for x, y in zip(a, b, strict=True))

    def test_evaluation_disturbs_training(
        self, shared: Shared, judges: list[Judge], plan: Plan
    ) -> None:
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
        self, slow: Shared, judges: list[Judge], plan: Plan, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """CAS trains a network in the middle of the GAN's training, in this test at each tick."""
        monkeypatch.setattr(cas, "WHEN", "tick")
        cell = cell_of(plan, d_norm="sn")
        often = begin(cell, slow, judges)
        assert all("cas" in row for row in to_end(often))
        plainly = dataclasses.replace(elsewhere(slow, "plainly"), metrics=("fcd",))
        seldom = begin(cell, plainly, judges)
        assert often.rows[-1]["fcd"] == to_end(seldom)[-1]["fcd"]
        for x, y in zip(often.gan.parameters(), seldom.gan.parameters(), strict=True):
            assert torch.equal(x, y)

    def test_read_only_arrays(self, shared: Shared, judges: list[Judge], plan: Plan) -> None:
        """Ray hands out the images from shared memory, read-only."""
        x, y = shared.x.copy(), shared.y.copy()
        x.flags.writeable = y.flags.writeable = False
        run = begin(cell_of(plan), dataclasses.replace(shared, x=x, y=y), judges)
        run.advance()
        run.advance()


class TestRecorded:
    def test_columns(self, shared: Shared, judges: list[Judge], plan: Plan) -> None:
        """Claims, figures and MLflow read these columns."""
        rows = to_end(begin(cell_of(plan), shared, judges))
        assert [row["kimg"] for row in rows] == [0, 1, 2, 3]
        measured = {"fcd", "fcd_floor", "label_accuracy", "variance_ratio", "class_loss/real",
                    "class_loss/fake", "class_loss_ratio", "gradient_norm/class"}  # fmt: skip
        losses = {"loss/d/class_real", "loss/g/class", "loss/g/adversarial"}
        assert all(measured | losses <= row.keys() for row in rows)
        assert "images_per_second" not in rows[0], "a speed before any training"
        assert all("images_per_second" in row for row in rows[1:])
        assert all(isinstance(v, float | int) for row in rows for v in row.values())
        seconds = [row["seconds"] for row in rows]
        assert seconds == sorted(seconds)
        training = [row["training_seconds"] for row in rows]
        assert all(later - before > 1e-3 for before, later in itertools.pairwise(training))
        assert all(0 <= a < b for a, b in zip(training, seconds, strict=True)), "measuring counts"
        json.dumps(rows, allow_nan=False)

    def test_slow_metric_is_measured_at_each_tick(
        self, slow: Shared, judges: list[Judge], plan: Plan
    ) -> None:
        """A slow metric takes longer than the training between two ticks.

        It must be measured at the end of confirm cells only: searches do not need it.
        """
        columns = {"cas", "cas_real", "cas_relative"}
        rows = to_end(begin(cell_of(plan), slow, judges))
        assert [columns & row.keys() for row in rows] == [set(), set(), set(), columns]
        assert all({"kcd", "kcd_floor", "recall", "recall_real"} <= row.keys() for row in rows)
        cell = plan.search_cell("classes=2", 0, {}, {})
        for row in to_end(begin(cell, slow, judges)):
            assert not columns & row.keys()
            assert "kcd" in row

    def test_fid_gets_no_network(
        self, shared: Shared, judges: list[Judge], plan: Plan, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Inception must be there when FID is due.

        It is not loaded before, because it takes 130 MB and seconds.
        """
        monkeypatch.setattr(Inception, "from_state", lambda state, device: state["network"])
        monkeypatch.setattr(fid, "measure", lambda view: {"fid": view.inception})
        given = {name: {"network": 7.0} for name in plan.conditions}
        wanted = dataclasses.replace(shared, metrics=("fcd", "fid"), inceptions=given)
        rows = to_end(begin(cell_of(plan), wanted, judges))
        assert [row.get("fid") for row in rows] == [None, None, None, 7.0]

    def test_only_its_classes_are_shown(
        self, shared: Shared, judges: list[Judge], plan: Plan
    ) -> None:
        run = begin(cell_of(plan, "classes=2"), shared, judges)
        assert run.loop.y.unique().tolist() == [0, 1]
        assert len(run.loop.x) == 400
        assert run.gan.data_spec.classes == 2
        assert len(begin(cell_of(plan, "classes=3"), shared, judges).loop.x) == 600

    @pytest.mark.parametrize("condition", ["classes=2", "classes=3"])
    def test_grid(self, shared: Shared, judges: list[Judge], plan: Plan, condition: str) -> None:
        """A grid has one column per class, eight rows, and a border of one pixel.

        The report relies on this when it cuts grids up.
        """
        run = begin(cell_of(plan, condition), shared, judges)
        run.advance()
        image = Image.open(io.BytesIO((run.folder / "samples" / "000000.png").read_bytes()))
        side = tiny.SIZE + 1
        assert image.size == (int(condition[-1]) * side + 1, 8 * side + 1)

    def test_grid_of_a_variant_without_labels(
        self, shared: Shared, judges: list[Judge], plan: Plan
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
        self, shared: Shared, judges: list[Judge], plan: Plan
    ) -> None:
        """The product of a cell is generator.pt, the weights of the averaged generator."""
        run = begin(cell_of(plan), shared, judges)
        to_end(run)
        weights = load_tensors(run.folder / "generator.pt")
        assert weights is not None
        run.gan.G_ema.load_state_dict(weights)


class TestDivergence:
    @pytest.mark.parametrize("network", ["G", "D"])
    def test_nan_goes_unnoticed(
        self, shared: Shared, judges: list[Judge], plan: Plan, network: str
    ) -> None:
        """NaN would reach Optuna, the means and the claims. The rows before it must be kept."""
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

    def test_infinite_learning_rate(self, shared: Shared, judges: list[Judge], plan: Plan) -> None:
        run = begin(cell_of(plan, lr=1e30, lr_ratio=1e6), shared, judges)
        with pytest.raises(FloatingPointError):
            to_end(run)

    def test_broken_average_goes_unnoticed(
        self, shared: Shared, judges: list[Judge], plan: Plan
    ) -> None:
        """Only the averaged generator, which is evaluated, is broken. No loss shows that."""
        run = begin(cell_of(plan), shared, judges)
        run.advance()
        with torch.no_grad():
            next(run.gan.G_ema.parameters()).fill_(float("nan"))
        with pytest.raises(FloatingPointError):
            run.advance()
