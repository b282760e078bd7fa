"""What the driver makes once for all cells, judges and references; and what is refused.

If these tests fail, an old study cannot go on, or cells fail one by one for a reason that was known
before they started.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from search_spaces.core import Group, Study
from study.engine import shared_state
from study.engine.shared_state import Shared
from study.errors import BadInputError
from study.metrics import cas
from study.metrics.core import inception
from study.metrics.core.classifier import Recipe
from study.planning.plan import Plan
from study.planning.validation import check_study
from study.records.records import Records
from study.records.tensors import load_tensors
from tests.study import tiny

Make = Callable[..., Shared]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    train, recipe = shared_state.train_judges, Recipe(label_images=480, feature_images=480)
    monkeypatch.setattr(shared_state, "train_judges", lambda *a, **k: train(*a, **k, recipe=recipe))
    monkeypatch.setattr(cas, "IMAGES", 60)
    monkeypatch.setattr(cas, "DRAWS", 300)

    def run(plan: Plan, fid_weights: Path | None = None) -> Shared:
        records = Records(tmp_path / "tiny")
        if not (records.folder / "study.json").exists():
            tiny.begin(records, plan)
        data = tiny.dataset()
        return shared_state.make_shared(
            plan, records, data, tmp_path, fid_weights, False, lambda _: None
        )

    return run


def study(*metrics: str, **changes: Any) -> Study:
    return tiny.study(metrics=metrics, fid=False, **changes)


def test_real_images_are_measured_in_each_run(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The classifier on real images takes seconds per condition.

    Its result must be kept with the judges.
    """
    plan = tiny.plan(study("fcd", "kcd", "cas"))
    first = make(plan)
    for references in first.references.values():
        assert [r["on_real"].keys() for r in references] == [{"kcd_floor", "cas_real"}] * 3
    monkeypatch.setattr(cas, "measure", lambda view: pytest.fail("trained again"))
    again = make(plan)
    assert again.judges_digest == first.judges_digest
    assert [r["on_real"] for of in again.references.values() for r in of] == [
        r["on_real"] for of in first.references.values() for r in of
    ]


def test_fid_is_not_measured_where_its_weights_are(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its weights, FID must be measured; without them, it must be left out.

    If FID were measured without its weights, each confirm cell would fail at its end.
    """
    plan = tiny.plan(tiny.study(metrics=("fcd", "labels")))
    assert make(plan).metrics == ("fcd", "labels")
    network = SimpleNamespace(state=lambda: {"samples": 30})
    monkeypatch.setattr(inception.Inception, "build", lambda *_: network)
    shared = make(plan, Path("weights"))
    assert shared.metrics == ("fcd", "labels", "fid")
    assert shared.inceptions.keys() == plan.conditions.keys()


def test_objective_without_enough_fakes_fails_each_cell(make: Make) -> None:
    few = tiny.plan(study("fcd", "intra_fcd", objective="intra_fcd"), tiny.budget(samples=20))
    with pytest.raises(BadInputError, match="samples=20: too few for objective intra_fcd in clas"):
        make(few)
    enough = dataclasses.replace(few, budget=tiny.budget(samples=30))
    assert make(enough).objective == "intra_fcd"


def test_slow_metric_is_an_objective_or_no_claim() -> None:
    """A search cell never measures a slow metric, so it cannot be an objective.

    A confirm cell measures it at its end, so a claim may use it.
    """
    given = {"data": "kana", "stand_in": "kana"}
    with pytest.raises(ValueError, match=r"objective 'cas': choose from fcd$"):
        check_study(study("fcd", "cas", objective="cas", claims=(), **given))
    claim = dataclasses.replace(tiny.study().claims[0], metric="cas", of=Group("classes=2"))
    check_study(study("fcd", "cas", claims=(claim,), **given))


def test_condition_that_joins_later_is_measured_anew_each_time(make: Make, tmp_path: Path) -> None:
    """On another machine its reference would differ, and the study would be refused."""
    make(tiny.plan(study("fcd"), only="classes=2"))
    make(tiny.plan(study("fcd")))
    kept = load_tensors(tmp_path / "tiny" / "judges.pt")
    assert kept is not None
    assert set(kept["references"]) == {"classes=2", "classes=3"}
