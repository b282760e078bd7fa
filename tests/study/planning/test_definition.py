"""What defines a study, and therefore may not change as long as the study's folder is used.

If these tests fail, cells of two protocols stand in one mean, or a study cannot grow.
"""

from __future__ import annotations

import dataclasses

import pytest

from search_spaces.core import crossed
from study.planning.plan import Plan
from study.planning.study_json import difference
from tests.study import tiny


class TestDefinition:
    def test_trials_and_seeds_are_in_it(self, plan: Plan) -> None:
        """More trials or seeds would be another definition, so a study could not grow."""
        more = dataclasses.replace(plan, budget=tiny.budget(trials=50, seeds=20))
        assert more.definition() == plan.definition()

    @pytest.mark.parametrize(
        ("plan_", "key"),
        [
            (tiny.plan(budget_=tiny.budget(kimg=4)), "kimg"),
            (tiny.plan(budget_=tiny.budget(search_kimg=2)), "search_kimg"),
            (tiny.plan(budget_=tiny.budget(samples=31)), "samples"),
            (tiny.plan(budget_=tiny.budget(tick_kimg=2)), "ticks"),
            (tiny.plan(budget_=tiny.budget(scale_overrides={"f": 3})), "reference.classes=2"),
            (tiny.plan(overrides={"lr": 1.0}), "reference.classes=2.lr"),
            (tiny.plan(data="kmnist"), "data"),
            (tiny.plan(tiny.study(metrics=("fcd",))), "metrics"),
            (tiny.plan(tiny.study(objective="fid")), "objective"),
            (tiny.plan(tiny.study(variant="cgan")), "variant"),
            (tiny.plan(tiny.study(space=None)), "space"),
            (tiny.plan(tiny.study(conditions=crossed(classes=(2,)))), "conditions"),
        ],
    )
    def test_change_goes_unnoticed(self, plan: Plan, plan_: Plan, key: str) -> None:
        """Cells of two protocols would lie in one folder, and in one mean."""
        lines = difference(plan.definition(), plan_.definition())
        assert any(line.startswith(key) for line in lines), lines

    def test_corrected_reference_is_another_definition(self, plan: Plan) -> None:
        """A folder would be refused, or begun anew, because a page number was wrong."""
        known = plan.definition()
        (claim,) = plan.study.claims
        for change in ({"source": "table 1: accuracy"}, {"text": "two classes do"}):
            claims = (dataclasses.replace(claim, **change),)
            assert tiny.plan(tiny.study(claims=claims)).definition() == known
        moved = (dataclasses.replace(claim, region=(0.8, 1.0)),)
        assert tiny.plan(tiny.study(claims=moved)).definition() != known

    def test_difference_hides_something(self) -> None:
        old = {"a": 1, "b": {"c": [1], "d": 2}, "gone": True, "same": "x"}
        new = {"a": 2, "b": {"c": [1, 2], "d": 2}, "came": None, "same": "x", "e": {"f": 1}}
        assert difference(old, new) == ["a: 1 -> 2", "b.c: [1] -> [1, 2]", 'e: null -> {"f": 1}',
                                        "gone: true -> null"]  # fmt: skip
        assert difference(new, new) == []

    def test_conditional_parameter_is_not_described(self, plan: Plan) -> None:
        """A search could not be rebuilt from records that hold such a parameter."""
        space = plan.definition()["space"]
        assert list(space) == ["adversarial", "label_noise", "lr"]
        assert space["lr"]["attributes"] == {"low": 1e-5, "high": 1e-2, "log": True, "step": None}
