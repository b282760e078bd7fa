"""The contract of every study in search_spaces/. A new file in this folder is tested, too.

The contract itself is in study/check/studies.py, because strangers' studies have it, too.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

import search_spaces
from search_spaces.core import Budget, crossed
from study.check import studies
from study.check.studies import SCALES, plan
from study.planning.estimate import estimate
from study.planning.remaining import planned
from study.planning.resources import Resources
from trainables import data

every_study = pytest.mark.parametrize("name", search_spaces.names())
# Checking takes half a second for some studies. The fast tests check them at one scale.
every_scale = pytest.mark.parametrize(
    "scale", ["quick", *(pytest.param(scale, marks=pytest.mark.slow) for scale in SCALES[::2])]
)


@every_study
@pytest.mark.parametrize("check", studies.CHECKS, ids=[c.__name__ for c in studies.CHECKS])
def test_contract_is_broken(check: Any, name: str) -> None:
    """CI runs every study at scale smoke, and nobody reads what cannot be decided."""
    check(search_spaces.load(name))


@every_study
@every_scale
@pytest.mark.parametrize(
    "check", studies.AT_EACH_SCALE, ids=[c.__name__ for c in studies.AT_EACH_SCALE]
)
def test_contract_is_broken_at_a_scale(check: Any, name: str, scale: str) -> None:
    check(search_spaces.load(name), scale)


@every_study
def test_study_has_no_stand_in_or_claims(name: str) -> None:
    """Nobody could tell whether a claim measures what its source measured."""
    study = search_spaces.load(name)
    assert study.stand_in in data.names()
    assert study.claims
    for claim in study.claims:
        assert claim.source, claim.id


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
