"""The reference recipe with its defaults: what it is in each condition, and in the search.

If these tests fail, a search misses the reference, or a study is refused that could run.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from study.engine.search import ConditionSearch
from study.errors import BadInputError
from study.planning.prepare import check
from study.records.records import Records
from tests.study import tiny


@pytest.mark.parametrize(
    ("space", "params"),
    [
        (lambda t: {"lr": t.suggest_float("lr", 1e-5, 1e-2), "z_dim": 50}, {}),
        (lambda t: {"z_dim": t.suggest_categorical("z_dim", [20, 50])}, {}),
        (lambda t: {"z_dim": 10 * t.suggest_int("tens", 1, 20)}, {"tens": 9}),
    ],
    ids=["fixed elsewhere", "no such choice", "means another"],
)
def test_first_search_cell_is_not_the_reference(space: Any, params: Any) -> None:
    """z_dim is 100 by default, which no recipe says: a search could miss the reference."""
    study = tiny.study(space=space, reference_params=params, data="kana", stand_in="kana")
    with pytest.raises(BadInputError, match="classes=2: the reference is not in the space"):
        check(tiny.plan(study))


def test_default_in_the_space_is_not_tried_first() -> None:
    """Only values that the recipe names were tried first, and others drawn at random."""

    def space(trial: Any) -> dict[str, Any]:
        return {"z_dim": 10 * trial.suggest_int("tens", 1, 20)} | {
            "beta2": trial.suggest_float("beta2", 0.9, 0.9999)
        }

    study = tiny.study(
        space=space, reference_params={"tens": 10}, data="kana", stand_in="kana", claims=()
    )
    plan = check(tiny.plan(study))
    cell = ConditionSearch(plan, "classes=2", Records(Path("nowhere"))).ask()
    assert cell is not None
    assert cell.hyperparameters == plan.hyperparameters("classes=2")


def test_condition_that_does_not_run_takes_the_value_of_set() -> None:
    """--only with --set could not be used where conditions have different variants."""
    study = tiny.study(
        conditions={"acgan": {"variant": "acgan"}, "cgan": {"variant": "cgan"}},
        space=None,
        reference_params={},
        data="kana",
        stand_in="kana",
        claims=(),
    )
    plan = tiny.plan(study, overrides={"class_g": 2.0})
    with pytest.raises(BadInputError, match=r"^cgan: unknown hyperparameter 'class_g'"):
        check(plan)
    only = check(dataclasses.replace(plan, only="acgan"))
    assert only.definition()["reference"]["acgan"]["class_g"] == 2.0
    assert only.definition()["reference"]["cgan"] is None
