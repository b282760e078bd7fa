"""The contract of every study in search_spaces/. A new file in this folder is tested, too."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import optuna
import pytest

import search_spaces
import trainables
from search_spaces.core import IMPORTANCE, LOSS, TRAIN, Budget, Study, crossed
from study.engine.search import ConditionSearch
from study.metrics.core import catalog
from study.planning.estimate import estimate
from study.planning.plan import Plan
from study.planning.prepare import check, check_study
from study.planning.progress import planned
from study.planning.resources import Resources
from study.records.columns import TIMING_COLUMNS
from study.records.records import Records
from trainables import data

every_study = pytest.mark.parametrize("name", search_spaces.names())
SCALES = ("smoke", "quick", "full")
# Checking takes half a second for some studies. The fast tests check them at one scale.
every_scale = pytest.mark.parametrize(
    "scale", ["quick", *(pytest.param(scale, marks=pytest.mark.slow) for scale in SCALES[::2])]
)


def plan(study: Study, budget: Budget, name: str = "study", data_name: str | None = None) -> Plan:
    spec = data.describe(data_name or study.data)
    return Plan(
        name=name,
        study=study,
        budget=budget,
        overrides={},
        data=data_name or study.data,
        classes=spec.classes,
        channels=spec.channels,
        size=spec.size,
        labels=spec.labels,
        paired=spec.paired,
    )


@every_study
def test_budget_is_missing(name: str) -> None:
    study = search_spaces.load(name)
    sizes = [study.scales[scale].kimg for scale in SCALES]  # type: ignore[index]
    assert sizes == sorted(sizes)
    assert len(study.title) < 80, "--list shows it on one line"


@every_study
@every_scale
def test_reference_recipe_is_refused(name: str, scale: str) -> None:
    """On the data that a study wants, no condition may be left out.

    No key may be unknown, and no metric may be unfit for the data.
    """
    study = search_spaces.load(name)
    check_study(study)
    whole = check(plan(study, study.scales[scale]))  # type: ignore[index]
    assert list(whole.conditions) == list(study.conditions)
    assert study.stand_in in data.names()


@every_study
def test_space_suggests_what_the_variant_refuses(name: str) -> None:
    study = search_spaces.load(name)
    if study.space is None:
        return
    probe = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    whole = plan(study, study.scales["quick"])
    for _ in range(60):
        values = study.space(probe.ask())
        for condition in whole.searched:
            config = trainables.load(whole.variant(condition)).config_type
            config.parse(whole.hyperparameters(condition, values))


@every_study
@every_scale
def test_reference_is_not_the_first_that_the_search_tries(name: str, scale: str) -> None:
    """A search could end with a worse recipe than the published one, without having tried that."""
    study = search_spaces.load(name)
    whole = plan(study, study.scales[scale])  # type: ignore[index]
    for condition in whole.searched:
        cell = ConditionSearch(whole, condition, Records(Path("nowhere"))).ask()
        assert cell is not None
        assert cell.hyperparameters == whole.hyperparameters(condition)


@every_study
def test_claim_cannot_be_judged(name: str) -> None:
    """A claim would ask for a column that no cell has, or could never be decided."""
    study = search_spaces.load(name)
    columns = {column for metric in study.metrics for column in catalog.load(metric).COLUMNS}
    assert study.objective in columns
    assert study.claims
    for claim in study.claims:
        if (parameter := claim.metric.removeprefix(IMPORTANCE)) != claim.metric:
            assert parameter in plan(study, study.scales["quick"]).space, claim.id
            continue
        for column in claim.columns:  # a plan refuses what a variant does not report of its steps
            known = column in {*columns, *TIMING_COLUMNS} or column.startswith((LOSS, TRAIN))
            assert known, claim.id
        low, high = claim.region
        assert math.isfinite(low) or math.isfinite(high), claim.id
        # Shares end at -1 and 1, but their intervals go beyond. If a region ended there, the
        # clearest results would be undecided.
        assert claim.log or not {low, high} & {-1, 1}, f"{claim.id}: leave that end open"


@every_study
def test_claim_does_not_say_where_it_comes_from(name: str) -> None:
    """Nobody could tell whether the claim measures what its source measured."""
    for claim in search_spaces.load(name).claims:
        assert claim.source, claim.id


@every_study
def test_smoke_run_takes_minutes(name: str) -> None:
    """CI runs every study at scale smoke."""
    study = search_spaces.load(name)
    search, confirm = plan(study, study.scales["smoke"]).count
    smoke = study.scales["smoke"]
    assert search * smoke.searched_kimg + confirm * smoke.kimg <= 60


def test_dry_run_fails_where_many_images_are_wanted() -> None:
    """The time is estimated on a few images, and a thousand labels need more than these."""
    study = search_spaces.load("sgan_mnist_labels")
    whole = plan(study, study.scales["smoke"])
    one = dataclasses.replace(whole, only="sgan, 1000 labels")
    assert estimate(one, Resources(cpus=1, gpus=0, concurrent=1), [planned(one)])[0] > 0


class TestPieces:
    """The pieces that studies are declared with: `crossed` and `Budget`."""

    def test_crossed_factors_lose_a_combination(self) -> None:
        assert list(crossed(classes=(5, 10), d_norm=("bn", "sn"))) == [
            "classes=5,d_norm=bn",
            "classes=5,d_norm=sn",
            "classes=10,d_norm=bn",
            "classes=10,d_norm=sn",
        ]
        assert crossed(classes=(5,))["classes=5"] == {"classes": 5}

    def test_last_evaluation_is_missing(self) -> None:
        given = {"search_kimg": 1, "trials": 1, "seeds": 1, "samples": 10}
        budget = Budget(kimg=25, tick_kimg=10, first_tick_kimg=4, **given)
        assert budget.ticks(25) == [0, 4, 10, 20, 25]
        assert budget.ticks(3) == [0, 3]
        assert Budget(kimg=2, tick_kimg=5, **given).ticks(2) == [0, 2]

    @pytest.mark.parametrize(
        "bad", [{"kimg": 0}, {"tick_kimg": 0}, {"seeds": -1}, {"trials": -1}, {"samples": 1}]
    )
    def test_budget_of_nothing_is_accepted(self, bad: dict[str, int]) -> None:
        good = {"kimg": 1, "search_kimg": 1, "tick_kimg": 1, "trials": 1, "seeds": 1, "samples": 9}
        ((key, value),) = bad.items()
        with pytest.raises(ValueError, match=f"{key} must be at least .* but is {value}"):
            Budget(**{**good, **bad})
