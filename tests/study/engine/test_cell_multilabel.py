"""A cell on images of several labels, and what is refused for such images before the start."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import trainables
from search_spaces.core import crossed
from study.engine.cell import CellRun
from study.engine.shared_state import Shared
from study.errors import BadInputError
from study.metrics.core import networks
from study.metrics.core.classifier import Recipe
from study.metrics.core.judge import Judge
from study.metrics.core.measure_real import build_references
from study.metrics.core.train_judges import train_judges
from study.planning.plan import Plan
from study.planning.prepare import check
from study.records.columns import TIMING_COLUMNS
from study.records.grids import GRID_ROWS, GRID_SETS, grid_columns, grid_sets
from study.records.records import Row
from tests.study import tiny

pytestmark = pytest.mark.timeout(30)  # two networks are trained
CPU = torch.device("cpu")
METRICS = ("fcd", "multilabel", "variance")


def plan(**changes: Any) -> Plan:
    rows = {name: {"variant": name} for name in ("acgan", "cgan")}
    given: dict[str, Any] = {"conditions": rows, "metrics": METRICS, "claims": (), "space": None}
    spec = tiny.several_labels().spec
    study = tiny.study(**{**given, **changes})
    return tiny.plan(study, classes=spec.classes, channels=3, labels=spec.labels)


@pytest.fixture(scope="module")
def judges(tmp_path_factory: pytest.TempPathFactory) -> list[Judge]:
    with pytest.MonkeyPatch.context() as patch:  # instead of the large scene network
        small = networks.small_network((3, tiny.SIZE, tiny.SIZE), tiny.SQUARES)
        patch.setattr(networks, "SceneNetwork", lambda channels, classes: small)
        recipe = Recipe(label_images=640, feature_images=640)
        return train_judges(
            tiny.several_labels(), tmp_path_factory.mktemp("c"), recipe=recipe, count=1
        )


@pytest.fixture
def shared(tmp_path: Path, judges: list[Judge]) -> Shared:
    data = tiny.several_labels()
    references = [r.state() for r in build_references(judges, data, 30, seed=0)]
    return Shared(
        folder=tmp_path / "tiny",
        x=data.train.x,
        y=data.train.y,
        judges=[judge.state() for judge in judges],
        references={f"classes={tiny.SQUARES}": references},
        ticks={"search": [0, 1, 2], "confirm": [0, 1, 2]},
        metrics=METRICS,
        objective="fcd",
        bf16=False,
        inceptions={},
        judges_digest={f"classes={tiny.SQUARES}": "-"},
    )


def run(shared: Shared, judges: list[Judge], name: str, ticks: int) -> tuple[Path, list[Row]]:
    whole = plan()
    cell = whole.confirm_cells(name, whole.hyperparameters(name))[0]
    one = CellRun(cell, shared, CPU, judges)
    for _ in range(ticks):
        one.advance()
    one.close()
    return one.folder, [
        {k: v for k, v in row.items() if k not in TIMING_COLUMNS} for row in one.rows
    ]


@pytest.mark.parametrize("name", ["acgan", "cgan"])
def test_killed_cell_ends_elsewhere(
    shared: Shared, judges: list[Judge], name: str, tmp_path: Path
) -> None:
    elsewhere = dataclasses.replace(shared, folder=tmp_path / "through")
    _, through = run(elsewhere, judges, name, 3)
    run(shared, judges, name, 1)
    torch.manual_seed(99)  # another process
    folder, rows = run(shared, judges, name, 2)
    assert rows == through
    assert {"topk_accuracy", "topk_accuracy/test", "exact_set", "variance_ratio"} <= set(rows[-1])
    with Image.open(folder / "samples" / "000002.png") as image:
        assert image.size == (1 + GRID_SETS * (tiny.SIZE + 1), 1 + GRID_ROWS * (tiny.SIZE + 1))


def test_grid_does_not_say_what_it_shows() -> None:
    data = tiny.several_labels()
    names = grid_columns(data)
    assert len(names) == GRID_SETS
    sets = [set(name.split(" + ")) for name in names]
    last = {data.classes[i] for i in data.conditions["new_test"][-1].nonzero()[0]}
    assert sets[-1] == last
    assert grid_columns(tiny.dataset()) == ["a", "b", "c"]
    assert grid_sets([np.eye(3)]).shape == (GRID_SETS, 3)


def test_unfit_variant_or_metric_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(check(plan()).conditions) == ["acgan", "cgan"]
    with pytest.raises(BadInputError, match="'labels' needs one label per image"):
        check(plan(metrics=("fcd", "labels")))
    monkeypatch.setattr(trainables.load("cgan"), "multilabel", False)
    with pytest.raises(BadInputError, match="bars has several labels per image: cgan takes one"):
        check(plan())


def test_balanced_draws_start() -> None:
    """The share of a class means nothing if an image may be of several classes."""
    rows = {"balanced": {"variant": "acgan", "balanced": True}}
    with pytest.raises(BadInputError, match="balanced=True: bars has several labels per image"):
        check(plan(conditions=rows))
    drawn: dict[str, Any] = {"conditions": {"all": {}}, "reference_params": {}}
    with pytest.raises(BadInputError, match="balanced=True: bars has several labels per image"):
        check(plan(**drawn, space=lambda t: {"balanced": t.suggest_categorical("b", [True])}))


def test_search_over_numbers_of_classes_starts() -> None:
    given: dict[str, Any] = {"conditions": {"all": {}}, "reference_params": {}}
    study = plan(**given, space=lambda t: {"classes": t.suggest_categorical("classes", [3, 6])})
    with pytest.raises(BadInputError, match="suggests classes: images of bars have several labels"):
        check(dataclasses.replace(study, budget=tiny.budget(seeds=0)))


def test_some_classes_of_images_that_show_others_are_asked_for() -> None:
    whole = plan(conditions=crossed(classes=(3, 6)))
    assert whole.left_out == {"classes=3": "images of bars have several labels"}
    assert list(whole.conditions) == ["classes=6"]


def test_few_samples_are_refused_though_no_class_needs_two() -> None:
    budget = tiny.budget(samples=4)
    whole = dataclasses.replace(plan(), budget=budget)
    assert check(whole).budget.samples == 4
