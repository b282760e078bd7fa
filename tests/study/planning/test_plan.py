"""The cells of a plan: their ids and hyperparameters, and which of them are to run.

If these tests fail, cells are run again, never run, or run with other values than asked for.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

import trainables
from search_spaces.core import crossed
from study.errors import BadInputError
from study.planning.cells import Cell
from study.planning.plan import Plan
from study.planning.prepare import check
from study.planning.remaining import Remaining
from study.planning.study_json import difference
from study.records.records import Records
from tests.study import tiny

SUGGESTED = {"lr": 1e-3, "adversarial": "hinge"}
VALUES = {"lr": 1e-3, "adversarial": "hinge", "label_noise": "none"}


def search(plan: Plan, condition: str, number: int, **changes: Any) -> Cell:
    return plan.search_cell(condition, number, SUGGESTED, {**VALUES, **changes})


class TestId:
    def test_id_of_recorded_studies_changes(self) -> None:
        """All cells of every study that was ever run would be run again."""
        cell = Cell(
            study="acgan_kmnist_classes",
            variant="acgan",
            data="kana",
            condition_name="classes=5",
            condition={"classes": 5},
            phase="confirm",
            number=None,
            hyperparameters={"lr": 2e-4, "f": 16, "noise_real": [0.7, 1.2]},
            seed=0,
            kimg=40,
        )
        assert cell.id == "99b591d8b62f"

    def test_json_loses_what_defines_a_cell(self, plan: Plan) -> None:
        """A continued cell would have another id than its folder."""
        for cell in (*plan.confirm_cells("classes=2", {"a": (1, 2)}), search(plan, "classes=3", 1)):
            again = Cell.from_json(cell.as_json())
            assert again.id == cell.id == cell.as_json()["id"]
            assert again.suggested == cell.suggested

    def test_suggested_changes_the_id(self, plan: Plan) -> None:
        """A new version of Optuna's parameter names would orphan search cells."""
        cell = search(plan, "classes=2", 1)
        assert dataclasses.replace(cell, suggested=None).id == cell.id

    @pytest.mark.parametrize(
        "change",
        [
            {"study": "other"},
            {"variant": "cgan"},
            {"data": "kmnist"},
            {"condition_name": "classes=3"},
            {"condition": {"classes": 3}},
            {"phase": "confirm"},
            {"number": 2},
            {"hyperparameters": {"lr": 1e-3}},
            {"seed": 1},
            {"kimg": 5},
        ],
    )
    def test_two_cells_share_an_id(self, plan: Plan, change: dict[str, Any]) -> None:
        """One of the two cells would never run."""
        cell = search(plan, "classes=2", 1)
        assert dataclasses.replace(cell, **change).id != cell.id

    def test_cells_of_a_plan_collide(self, plan: Plan) -> None:
        cells = [c for name in plan.conditions for c in plan.confirm_cells(name, VALUES)]
        cells += [search(plan, name, n) for name in plan.conditions for n in range(20)]
        assert len({cell.id for cell in cells}) == len(cells)

    def test_search_and_confirm_share_a_seed(self, plan: Plan) -> None:
        """The confirmed best would be judged on the very run that made it the best."""
        many = dataclasses.replace(plan, budget=tiny.budget(seeds=500))
        confirm = {c.seed for c in many.confirm_cells("classes=2", VALUES)}
        assert not confirm & {search(plan, "classes=2", n).seed for n in range(500)}


class TestHyperparameters:
    def test_set_is_lost(self, plan: Plan) -> None:
        """--set must hold for the reference and for every suggestion."""
        plan = dataclasses.replace(plan, overrides={"lr": 5e-4, "f": 3})
        given = {**tiny.REFERENCE, "batch": 100, "lr": 5e-4, "f": 3}
        assert given.items() <= plan.hyperparameters("classes=2").items()
        assert search(plan, "classes=2", 1).hyperparameters["lr"] == 5e-4

    def test_suggestion_keeps_the_reference_value(self, plan: Plan) -> None:
        """A search would run the reference recipe again and again."""
        expected = {"f": 2, "batch": 100, **VALUES}
        assert expected.items() <= search(plan, "classes=2", 1).hyperparameters.items()

    def test_default_is_not_recorded(self, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
        """Somebody who changes a default would extend a study with cells that train otherwise."""
        before, cell = plan.definition(), plan.confirm_cells("classes=2", VALUES)[0]
        config = trainables.load("acgan").config_type
        values = plan.hyperparameters("classes=2")
        assert values.keys() == config.model_fields.keys()
        assert values["z_dim"] == 100

        class Other(config):  # type: ignore[misc, valid-type]
            z_dim: int = 50

        monkeypatch.setattr(trainables.load("acgan"), "config_type", Other)
        assert difference(before, plan.definition()) == [
            f"reference.{name}.z_dim: 100 -> 50" for name in plan.conditions
        ]
        other = plan.confirm_cells("classes=2", plan.hyperparameters("classes=2", VALUES))[0]
        assert other.id != cell.id

    def test_factor_is_taken_for_a_hyperparameter(self) -> None:
        """`classes` and `variant` are no hyperparameters; every other factor is one."""
        conditions = crossed(classes=(2,), variant=("cgan",), ema=(0.5, 0.9))
        plan = tiny.plan(tiny.study(conditions=conditions, claims=()))
        name = "classes=2,variant=cgan,ema=0.5"
        values = plan.hyperparameters(name)
        assert values["ema"] == 0.5
        assert not {"classes", "variant"} & values.keys()
        assert {cell.variant for cell in plan.confirm_cells(name, values)} == {"cgan"}


class TestConditions:
    def test_data_cannot_hold_a_condition(self) -> None:
        """A trial would fail on labels that are not there; the others must run all the same."""
        plan = tiny.plan(classes=2)
        assert list(plan.conditions) == ["classes=2"]
        assert plan.left_out == {"classes=3": "bars has 2 classes"}
        assert plan.count == (4, 4)

    def test_class_is_trained_on_without_its_pair(self) -> None:
        """In data of two domains, classes 2k and 2k + 1 are a pair, one of each domain.

        With an odd number of classes, the last class would have no counterpart.
        """
        plan = tiny.plan(classes=4, paired=True)
        assert plan.left_out == {"classes=3": "classes of bars come in pairs"}

    def test_only_runs_more(self) -> None:
        assert list(tiny.plan(only="classes=3").conditions) == ["classes=3"]
        assert not tiny.plan(only="classes=3", classes=2).conditions

    def test_counts(self) -> None:
        """--dry-run would announce something else than what runs."""
        assert tiny.plan().count == (8, 8)
        assert tiny.plan(budget_=tiny.budget(trials=0)).count == (0, 4)
        assert tiny.plan(tiny.study(space=None)).count == (0, 4)
        assert tiny.plan(tiny.study(searched=("classes=3",))).count == (4, 6)

    def test_fixed_condition_is_searched(self) -> None:
        """Published rows would be tuned, or a study with them would never end."""
        study = tiny.study(searched=("classes=3",))
        assert tiny.plan(study).searched == ["classes=3"]
        assert tiny.plan(study, only="classes=2").searched == []
        assert tiny.plan(study, tiny.budget(trials=0)).searched == []
        with pytest.raises(ValueError, match=r"searched='classes=4': choose one of classes=2"):
            tiny.study(searched=("classes=4",))


class TestConfirmations:
    def finish_search(self, records: Records, plan: Plan, best: dict[str, Any]) -> None:
        for name in plan.conditions:
            for n in range(plan.budget.trials):
                values = best if n == 2 else {**VALUES, "lr": 1e-4 * (n + 1)}
                cell = plan.search_cell(name, n, SUGGESTED, values)
                tiny.write_cell(records, cell, tiny.rows(9, 3 if n == 2 else 5 + n))

    def test_best_is_confirmed_too_early(self, records: Records, plan: Plan) -> None:
        """The best of the first three cells need not be the best of all four.

        The confirm cells of that first best would then be wasted.
        """
        for n in range(3):
            tiny.write_cell(records, search(plan, "classes=2", n), tiny.rows(9, 5))
        assert len(Remaining(plan, records).confirmations()) == 4  # two seeds of two references

    def test_best_is_not_confirmed(self, records: Records, plan: Plan) -> None:
        self.finish_search(records, plan, VALUES)
        cells = Remaining(plan, records).confirmations()
        assert len(cells) == len({c.id for c in cells}) == 8
        best = [c for c in cells if c.hyperparameters["adversarial"] == "hinge"]
        assert [(c.condition_name, c.seed) for c in best] == [
            (name, seed) for seed in range(2) for name in plan.conditions
        ]

    def test_fixed_condition_waits_for_a_search(self, records: Records) -> None:
        plan = tiny.plan(tiny.study(searched=("classes=3",)))
        for n in range(4):
            cell = plan.search_cell("classes=3", n, SUGGESTED, {**VALUES, "lr": 1e-4 * (n + 1)})
            tiny.write_cell(records, cell, tiny.rows(9, 5 + n))
        cells = Remaining(plan, records).confirmations()
        assert sorted(c.condition_name for c in cells) == ["classes=2"] * 2 + ["classes=3"] * 4
        for cell in cells:
            assert not Remaining(plan, records).is_finished
            tiny.write_cell(records, cell, tiny.rows(9, 4))
        assert Remaining(plan, records).is_finished

    def test_reference_as_best_runs_twice(self, records: Records, plan: Plan) -> None:
        self.finish_search(records, plan, dict(tiny.REFERENCE))
        assert len(Remaining(plan, records).confirmations()) == 4

    def test_failed_search_blocks_the_end(self, records: Records, plan: Plan) -> None:
        """If every search cell failed there is no best cell, but the study must still end."""
        for name in plan.conditions:
            for n in range(4):
                tiny.write_cell(records, search(plan, name, n), [], "failed")
        cells = Remaining(plan, records).confirmations()
        assert len(cells) == 4
        assert not Remaining(plan, records).is_finished
        for cell in cells:
            tiny.write_cell(records, cell, tiny.rows(9, 4))
        assert Remaining(plan, records).is_finished

    def test_growing_runs_known_cells_again(self, records: Records, plan: Plan) -> None:
        """--seeds and --trials extend a study, so the cells on record must keep their ids."""
        self.finish_search(records, plan, VALUES)
        known = {cell.id for cell in Remaining(plan, records).confirmations()}
        more = dataclasses.replace(plan, budget=tiny.budget(seeds=5))
        assert known < {cell.id for cell in Remaining(more, records).confirmations()}
        more = dataclasses.replace(plan, budget=tiny.budget(trials=9))
        assert search(more, "classes=2", 1).id == search(plan, "classes=2", 1).id
        assert not Remaining(more, records).is_finished


class TestSearched:
    def test_suggested_classes_are_taken_for_a_hyperparameter(self) -> None:
        """The variant would refuse `classes`, or the cell would be trained on all classes."""

        def space(trial: Any) -> dict[str, Any]:
            classes = trial.suggest_categorical("classes", [2, 3])
            return {"classes": classes, "lr": trial.suggest_float("lr", 1e-4, 1e-3)}

        study = tiny.study(conditions={"all": {}}, space=space, reference_params={}, claims=())
        plan = tiny.plan(study, tiny.budget(seeds=0))
        suggested = {"classes": 2, "lr": 5e-4}
        cell = plan.search_cell("all", 0, suggested, suggested)
        assert cell.condition == {"classes": 2}
        assert "classes" not in cell.hyperparameters
        assert cell.hyperparameters["lr"] == 5e-4
        assert plan.class_counts("all") == [2, 3]
        assert plan.count == (4, 0)
        assert plan.confirm_cells("all", {}) == []

    @pytest.mark.parametrize(
        ("space", "line"),
        [
            (lambda t: 1 / 0, "the space raises ZeroDivisionError"),
            (lambda t: {"classes": t.suggest_categorical("classes", ["2", "3"])}, "whole numbers"),
            (lambda t: {"classes": t.suggest_categorical("classes", [2, 9])}, "from 1 to 3"),
            (lambda t: {"classes": t.suggest_int("classes", 2, 3)}, "whole numbers from 1 to 3"),
            (lambda t: {"classes": t.suggest_categorical("n", [2, 3])}, "returns classes="),
        ],
    )
    def test_classes_that_no_reference_is_made_for(self, space: Any, line: str) -> None:
        """Every such cell would fail, or the command would end in a traceback."""
        study = tiny.study(
            conditions={"all": {}},
            space=space,
            reference_params={},
            claims=(),
            data="kana",
            stand_in="kana",
        )
        with pytest.raises(BadInputError, match=line):
            check(tiny.plan(study, tiny.budget(seeds=0)))

    def test_lengths_of_another_scale(self) -> None:
        """20 kimg of pretraining are a third of a quick run, but next to nothing in a full run.

        Lengths in the reference recipe must therefore grow with the scale; those of --set must not.
        """
        study = tiny.study(reference={"pretrain_kimg": 20.0, "lr": 1e-3})
        found = tiny.plan(study, tiny.budget(schedule_scale=50)).hyperparameters("classes=2")
        assert (found["pretrain_kimg"], found["lr"]) == (1000.0, 1e-3)
        plan = tiny.plan(study, tiny.budget(schedule_scale=50), overrides={"pretrain_kimg": 7.0})
        assert plan.hyperparameters("classes=2")["pretrain_kimg"] == 7.0
