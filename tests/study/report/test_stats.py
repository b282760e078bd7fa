"""Intervals hold the true effect as often as they should."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from study.report.looks import nominal
from study.report.stats import Effect, estimate, rate
from study.report.verdicts import verdict


def effect(*groups: Any, **options: Any) -> Effect:
    """The effect with its interval, for one look at the values."""
    return estimate(*groups, **options).effect()


def coverage(n: tuple[int, ...], skewed: bool, studies: int = 400) -> float:
    """Share of intervals that hold the true effect, 0 or the mean of a lognormal."""
    rng = np.random.default_rng(1)
    truth = math.exp(0.125) if skewed else 0.0
    hits = 0
    for seed in range(studies):
        groups = [rng.lognormal(0, 0.5, k) if skewed else rng.normal(size=k) for k in n]
        found = effect(groups[0], groups[1] if len(groups) > 1 else None, seed=seed)
        true = truth if len(groups) == 1 else 0.0
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= true <= found.high
    return hits / studies


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("n", [(3,), (3, 3), (5, 5), (3, 10), (8,), (8, 8)])
@pytest.mark.parametrize("skewed", [False, True])
def test_intervals_of_few_seeds_are_too_narrow(
    n: tuple[int, ...], skewed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A percentile bootstrap covers 75 % at three seeds: nearly every claim would be decided."""
    monkeypatch.setattr("study.report.stats.RESAMPLES", 500)
    assert coverage(n, skewed) >= (0.86 if skewed else 0.92)


def test_intervals_are_too_wide_to_decide() -> None:
    """Five seeds a side, whose means are far apart for their spread, must give a verdict."""
    found = effect([1.0, 1.2, 0.9, 1.1, 1.0], [0.1, 0.2, 0.0, 0.15, 0.1])
    assert verdict(found, (0.3, math.inf)) == "supported"
    assert found.value == pytest.approx(0.93)
    assert found.n == (5, 5)


def test_skewness_is_ignored() -> None:
    """With an outlier the bootstrap-t is wider than Student's interval."""
    values = [1.0, 1.1, 0.9, 1.05, 0.95, 1.02, 0.98, 4.0]
    found = effect(values)
    student = 2.365 * np.std(values, ddof=1) / math.sqrt(8)
    assert found.high is not None
    assert found.high - found.value > student


def test_same_seed_gives_other_numbers() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 8))
    assert effect(a, b, seed=4) == effect(a, b, seed=4)
    assert effect(a, b, seed=4) != effect(a, b, seed=5)


def test_three_seeds_get_another_interval_than_students_or_welchs() -> None:
    """The bounds were computed by hand: Student's quantile at Welch's degrees of freedom."""
    a, b = [1.0, 2.0, 4.0], [0.0, 0.5, 0.1]
    both, one = effect(a, b), effect(a)
    assert (both.low, both.high) == pytest.approx((-1.5163794503575172, 5.783046117024184))
    assert (one.low, one.high) == pytest.approx((-1.4612497002634255, 6.1279163669300925))


def test_ratios_are_not_of_geometric_means() -> None:
    found = effect([2.0, 8.0], [1.0, 1.0], log=True)
    assert found.value == pytest.approx(4.0)
    assert found.low is not None
    assert found.high is not None
    assert found.low * found.high == pytest.approx(16.0)  # symmetric on the log scale
    assert effect([2.0, 8.0], log=True).value == pytest.approx(4.0)


def test_one_seed_decides() -> None:
    found = effect([0.9], [0.1, 0.2, 0.3])
    assert (found.low, found.high) == (None, None)
    assert found.value == pytest.approx(0.7)
    assert verdict(found, (0.0, math.inf)) == "undecided"


def test_equal_values_pass_for_certainty() -> None:
    """Values without spread say nothing of what another seed would give."""
    found = effect([1.0, 1.0, 1.0], [0.0, 0.0, 0.0])
    assert (found.low, found.high) == (None, None)
    assert verdict(found, (0.5, math.inf)) == "undecided"
    assert estimate([0.1 + 0.2, 0.3, 0.3]).decides((0.0, 1.0)) == (True, 1.0)
    assert effect([0.5] * 8, np.linspace(0, 1, 8).tolist()).low is not None


@pytest.mark.parametrize("n", [4, 9])
@pytest.mark.parametrize("region", [(0.2, math.inf), (-math.inf, 1.7), (-1.0, 2.0), (2.0, 3.0)])
def test_smallest_error_that_decides_is_not_that_of_the_interval(
    n: int, region: tuple[float, float]
) -> None:
    found = estimate(np.random.default_rng(n).normal(1.0, 1.0, n).tolist())
    inside, error = found.decides(region)
    expected = "supported" if inside else "not supported"
    assert verdict(found.effect(error * 1.02), region) == expected
    if error > 0.01:  # resamples cannot tell smaller errors apart
        assert verdict(found.effect(error * 0.98), region) == "undecided"


def test_rate_of_failures_is_not_exact() -> None:
    """No failure of n seeds leaves open all rates p for which (1 - p)^n is at least .05."""
    assert [round(rate(0, n)[2], 2) for n in (3, 5, 8)] == [0.63, 0.45, 0.31]
    assert rate(5, 5)[1:] == pytest.approx((0.05 ** (1 / 5), 1.0))
    assert rate(1, 4) == pytest.approx((0.25, 0.0063, 0.8059), abs=1e-4)


@pytest.mark.parametrize(
    ("of", "against", "log", "words"),
    [
        ([], None, False, "no values"),
        ([1.0], [], False, "no values"),
        ([1.0, math.nan], None, False, "one is nan"),
        ([1.0, math.inf], None, True, "one is inf"),
        ([1.0, 0.0], None, True, "positive values but one is 0.0"),
    ],
)
def test_bad_values_give_an_effect(
    of: list[float], against: list[float] | None, log: bool, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        effect(of, against, log=log)


def test_pairs_are_taken_as_two_groups() -> None:
    """The spread between seeds would hide a change that every seed shows."""
    before, after = [1.0, 5.0, 9.0], [2.0, 6.1, 9.9]
    paired, apart = effect(after, before, paired=True), effect(after, before)
    assert paired.n == (3,)
    assert paired.value == pytest.approx(apart.value)
    assert verdict(paired, (0.5, 1.5)) == "supported"
    assert verdict(apart, (0.5, 1.5)) == "undecided"
    doubled = effect([2.0, 10.2, 17.9], before, paired=True, log=True)
    assert doubled.value == pytest.approx(2.0, rel=0.01)
    with pytest.raises(ValueError, match="shape"):
        effect([1.0, 2.0, 3.0], [1.0, 2.0], paired=True)


def test_resamples_without_spread_are_left_out() -> None:
    """Where one seed of eight is off, a third of the resamples repeat the other value.

    Without them, the interval would hold the mean of seven as surely as the mean of eight.
    """
    found = estimate([0.9] * 7 + [0.5])
    assert found.decides((0.6, math.inf))[1] > 0.3
    assert found.effect().low == -math.inf


def test_looks_cost_something_else_than_pococks() -> None:
    """Pocock (1977) gives .0182 for four looks at equal distances and a total error of .05."""
    assert nominal(0.05, (5, 10, 15, 20)) == pytest.approx(0.0182, abs=2e-4)
    assert nominal(0.05, (5,)) == 0.05


def test_seeds_needed_leave_a_resampled_interval_open() -> None:
    """From eight values on the interval may be wider than Student's, and so it will be later."""
    skewed = [1.0, 1.1, 0.9, 1.0, 1.2, 0.8, 1.1, 0.1, 1.0, 0.9]
    found = estimate(skewed)
    student = dataclasses.replace(found, resampled=None)
    assert found.width(0.05) > 1.1 * student.width(0.05)
    region = (found.value - 0.9 * student.width(0.05), math.inf)
    needs, hoped = (one.seeds_needed(region, 0.05) for one in (found, student))
    assert needs is not None
    assert hoped is not None
    assert needs > 1.2 * hoped > len(skewed)
