"""Verdicts on the best found of several searches.

If these tests fail, seeds that share a search are counted as if each had a search of its own, and
intervals are too narrow by far.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from search_spaces.core import Claim, Group
from study.report.stats import estimate
from study.report.verdicts import Question, Seeds, judge
from tests.study import synthetic
from tests.study.report.test_verdicts import claims, study_of

SEARCHES, SEEDS = 3, 12


def claim(region: tuple[float, float], against: bool = False, log: bool = False) -> Claim:
    return Claim(
        id="X",
        text="the best found is good",
        metric="fcd",
        of=Group("a", "best"),
        against=Group("a") if against else None,
        region=region,
        log=log,
    )


def found(values: np.ndarray, searches: int = SEARCHES) -> Seeds:
    seeds = range(len(values))
    return Seeds(dict(zip(seeds, values.tolist(), strict=True)), set(), {*seeds}, "",
                 searches=searches)  # fmt: skip


@pytest.mark.parametrize("paired", [False, True])
def test_spread_of_the_searches_is_left_out(paired: bool) -> None:
    """Two thirds of the intervals over seeds miss the mean over searches and seeds."""
    rng, held, of_seeds, repetitions = np.random.default_rng(0), 0, 0, 300
    for _ in range(repetitions):
        reference = rng.normal(0.0, 0.3, SEEDS)
        values = rng.normal(0.0, 1.0, SEARCHES)[np.arange(SEEDS) % SEARCHES]
        values = values + rng.normal(0.0, 0.3, SEEDS) + paired * reference
        groups = [found(values), *([found(reference, 1)] if paired else [])]
        one = claim((-math.inf, 9.0), against=paired)
        (measured,) = Question(one, groups, (SEEDS,), paired=paired).estimates
        assert not isinstance(measured, str)
        assert measured.n == (SEARCHES,)
        effect = measured.effect()
        assert effect.low is not None
        assert effect.high is not None
        held += effect.low <= 0.0 <= effect.high
        naive = estimate(values, reference if paired else None, paired=paired).effect()
        assert naive.low is not None
        assert naive.high is not None
        of_seeds += naive.low <= 0.0 <= naive.high
    assert held / repetitions >= 0.92
    assert of_seeds / repetitions <= 0.67


def test_groups_without_pairs() -> None:
    """The best found has three values, one for each search; the reference has one for each seed."""
    values, reference = np.array([1.0, 2, 3, 3, 4, 5]), np.array([9.0, 8, 9, 8, 9, 7])
    one = claim((-math.inf, 0.0), against=True)
    (measured,) = Question(one, [found(values), found(reference, 1)], (6,)).estimates
    assert measured == estimate([2.0, 3.0, 4.0], reference)


def test_mean_of_a_search_is_not_geometric_on_the_log_scale() -> None:
    values = np.array([1.0, 2, 3, 4, 8, 27])
    (measured,) = Question(claim((0.0, 9.0), log=True), [found(values)], (6,)).estimates
    assert measured == estimate([2.0, 4.0, 9.0], log=True)


def test_finding_is_silent_on_the_searches() -> None:
    values = np.array([1.0, 2, 3, 1.1, 2.1, 3.1])
    for region, more in (((-math.inf, 2.2), True), ((-math.inf, 99.0), False)):
        (finding,) = judge([Question(claim(region), [found(values)], (6,))])
        assert "the interval is one over the 3 searches" in finding.reason
        assert ("searches" in finding.reason.split("the 3 searches")[1]) == more
        assert "more seeds" not in finding.reason
        assert finding.verdict == ("undecided" if more else "supported")


@pytest.mark.parametrize("same", [True, False])
def test_reference_is_compared_with_itself(tmp_path: Path, same: bool) -> None:
    """Where a search finds nothing better than the reference, both groups are the same cells.

    Their difference is 0 by definition, and more seeds would not change it.
    """
    records = study_of(tmp_path, (1.0, 1.2, 0.9, 1.1))
    other = {**synthetic.REFERENCE, "lr": 9e-4}
    found = synthetic.REFERENCE if same else other
    synthetic.write_cell(
        records, "s0", classes=5, seed=1000, number=0, phase="search", hyperparameters=found,
        suggested={"lr": 9e-4}, rows=[{"kimg": 1, "fcd": 1.0}],
    )  # fmt: skip
    if not same:
        for seed, fcd in enumerate((0.5, 0.6, 0.7, 0.4)):
            synthetic.write_cell(
                records, f"b{seed}", classes=5, seed=seed, phase="confirm", hyperparameters=other,
                rows=[{"kimg": 1, "fcd": fcd}],
            )  # fmt: skip
    claim = {"id": "X", "text": "x", "source": "", "metric": "fcd", "over": None, "log": False}
    claim |= {"of": {"condition": "classes=5", "config": "best", "at": "last"}, "primary": False}
    claim |= {"against": {**claim["of"], "config": "reference"}, "region": [None, 0.0]}
    (judged,) = claims(records, claim).to_dict("records")
    if same:
        assert judged["verdict"] == "undecided"
        assert judged["effect"] == 0
        assert judged["reason"] == (
            "the best found of classes=5 is the reference: both groups are its cells"
        )
    else:
        assert judged["verdict"] == "supported"
