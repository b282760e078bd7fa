"""The Python interface gives what the records hold, and refuses what the command refuses.

If these tests fail, a notebook shows other figures than the report, or runs what was not asked for.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import study
from study import api, images
from study.metrics.core.train_judges import train_judges
from study.planning.study_json import claim_json, looks
from study.records.files import write_json
from study.records.records import Records
from tests.study import tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with four search cells and three seeds of each configuration."""
    plan = tiny.plan(budget_=tiny.budget(seeds=3))
    records = tiny.begin(Records(tmp_path_factory.mktemp("runs") / "tiny"), plan)
    more: dict[str, Any] = {"looks": looks(3), "runs": [{"finished": True}]}
    more["claims"] = [claim_json(claim) for claim in plan.study.claims]
    write_json(records.folder / "study.json", records.study() | more)
    for n in range(plan.budget.trials):
        values = {"lr": 1e-3 * (n + 1)}
        cell = plan.search_cell("classes=2", n, values, values)
        tiny.write_cell(records, cell, tiny.rows(5 + n, 4 + n))
        path = records.cell_folder(cell.id) / "result.json"
        write_json(path, (records.result(cell.id) or {}) | {"ended": "2026-01-01T00:00:00+00:00"})
    for cell in plan.confirm_cells("classes=2", plan.hyperparameters("classes=2")):
        tiny.write_cell(records, cell, tiny.rows(3 + cell.seed, 2 + cell.seed))
    return records.folder


def test_frames_differ_from_the_records(folder: Path) -> None:
    results = study.load_results(folder)
    records = Records(folder)
    assert results.finished
    assert repr(results).endswith(f"{len(records.ids())} ended cells, finished")
    assert results.cells.equals(records.cells())
    assert results.ticks.equals(records.ticks())
    assert list(results.claims["id"]) == [claim.id for claim in tiny.plan().study.claims]
    assert list(results.best["seed"]) == [0, 1, 2], "not the best first"
    assert results.report() == folder / "report.html"


def test_figure_is_empty(folder: Path) -> None:
    results = study.load_results(folder)
    objective, _ = results.records.objective()
    figure = results.plot(objective, log=True)
    assert len(figure.axes[0].lines) >= 1
    assert figure.axes[0].get_yscale() == "log"
    with pytest.raises(ValueError, match=f"no confirm cell has 'none': choose from .*{objective}"):
        results.plot("none")


def test_optuna_study_lacks_trials(folder: Path) -> None:
    found = study.load_results(folder).optuna("classes=2")
    assert [trial.params["lr"] for trial in found.trials] == [1e-3 * n for n in range(1, 5)]
    assert found.best_trial.number == 0
    with pytest.raises(ValueError, match=r"no search 'tiny/other': choose from tiny/classes=2"):
        study.load_results(folder).optuna("other")


def test_wrong_folder_has_results(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no study"):
        study.load_results(tmp_path)


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: study.run_study("nothing"), "unknown study 'nothing'"),
        (lambda: study.run_study("egan_ring", scale="huge"), "invalid choice: 'huge'"),
        (lambda: study.run_study("egan_ring", seeds=0), "'0' is not a whole number"),
        (lambda: study.run_study("egan_ring", only="none"), "unknown condition 'none'"),
        (lambda: study.run_study("egan_ring", settings={"lr": -1}), "bad value lr=-1"),
        (lambda: study.run_cell("nogan", "kana", kimg=1), "unknown variant 'nogan'"),
        (lambda: study.run_cell("dcgan", "nodata", kimg=1), "unknown data 'nodata'"),
        (lambda: study.run_cell("dcgan", "kana", kimg=0), "kimg must be at least 1"),
        (lambda: study.run_cell("dcgan", "kana", {"lrr": 1}, kimg=1), "hyperparameter 'lrr'"),
        (lambda: study.run_cell("dcgan", "kana", kimg=1, metrics=["no"]), "unknown metric 'no'"),
    ],
)
def test_bad_call_starts_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Any, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(study.BadInputError, match=line):
        call()
    assert list(tmp_path.iterdir()) == []


def test_options_are_lost(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A call is recorded as the command that does the same."""
    seen = []

    def perform(args: Any, command: str, declared: Any) -> int:
        seen.append((args, command))
        return api.INTERRUPTED

    monkeypatch.setattr(api, "perform", perform)
    with pytest.raises(KeyboardInterrupt):
        study.run_study(
            "egan_ring",
            scale="smoke",
            trials=0,
            settings={"lr": 1e-3, "adversarial": "hinge"},
            only="egan",
            storage=tmp_path,
        )
    ((args, command),) = seen
    assert (args.scale, args.trials, args.only, args.seeds) == ("smoke", 0, "egan", None)
    assert args.settings == ["lr=0.001", 'adversarial="hinge"']
    assert command.startswith("python -m study.run egan_ring --scale smoke --trials 0 --only egan ")


class TestMeasure:
    """FCD and other metrics of images that no study has made."""

    @pytest.fixture(autouse=True)
    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(images, "train_judges", partial(train_judges, share=0.05))

    def test_real_images_are_as_bad_as_noise(self, tmp_path: Path) -> None:
        data = tiny.dataset()
        rng = np.random.default_rng(0)
        noise = rng.integers(0, 256, (100, *data.train.x.shape[1:]), np.uint8)
        rows = [study.measure(fakes, data, cache=tmp_path) for fakes in (data.test.x[:100], noise)]
        assert rows[0]["fcd"] < 0.2 * rows[1]["fcd"]
        assert rows[0]["samples"] == 100

    def test_labels_do_not_matter(self, tmp_path: Path) -> None:
        data = tiny.dataset()
        x, y = torch.from_numpy(data.test.x[:100]), torch.from_numpy(data.test.y[:100])
        right, wrong = (
            study.measure(x, data, labels=labels, metrics=["labels"], cache=tmp_path)
            for labels in (y, (y + 1) % 3)
        )
        assert right["label_accuracy"] > 0.9
        assert wrong["label_accuracy"] < 0.1
        with pytest.raises(study.BadInputError, match="'labels' needs a generator that takes"):
            study.measure(x, data, metrics=["labels"], cache=tmp_path)

    def test_unfit_images_are_measured(self, tmp_path: Path) -> None:
        data = tiny.dataset()
        x = torch.from_numpy(data.test.x[:20])
        for fakes, labels, line in (
            (x.float(), None, "fakes are torch.float32"),
            (x[:, :, 1:], None, r"uint8 \[N, "),
            (x, torch.full((20,), 9), "labels: 20 of 0 to"),
        ):
            with pytest.raises(study.BadInputError, match=line):
                study.measure(fakes, data, labels=labels, cache=tmp_path)
        with pytest.raises(study.BadInputError, match="unknown data 'nowhere'"):
            study.measure(x, "nowhere", cache=tmp_path)
