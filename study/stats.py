"""Effects with 95 % intervals, and the one rule that turns them into verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

LEVEL = 0.95
RESAMPLES = 10_000
FEWEST_TO_RESAMPLE = 8  # values per group; see `interval`

Verdict = Literal["supported", "not supported", "undecided", "not run"]


@dataclass(frozen=True)
class Effect:
    """A difference of means or one mean; on the log scale a ratio of geometric means, or one."""

    value: float
    low: float | None  # of the 95 % interval; None with a group of one value, which has none
    high: float | None
    n: tuple[int, ...]  # values in each group

    def verdict(self, region: tuple[float, float]) -> Verdict:
        """Supported where the interval lies inside `region` (bounds included), not supported where
        it lies wholly outside, else undecided. Differences, thresholds and equivalences are all
        regions."""
        if self.low is None or self.high is None:
            return "undecided"
        if region[0] <= self.low and self.high <= region[1]:
            return "supported"
        if self.high < region[0] or region[1] < self.low:
            return "not supported"
        return "undecided"


def effect(
    of: Sequence[float],
    against: Sequence[float] | None = None,
    *,
    log: bool = False,
    paired: bool = False,
    seed: int = 0,
) -> Effect:
    """mean(of) - mean(against), or mean(of) alone; with `log` the (ratio of) geometric means.

    Args:
        paired: values at the same place belong together: the interval is that of their differences.

    ```
    gap = effect(accuracies_of_5_classes, accuracies_of_49_classes)
    gap.verdict((0.3, math.inf))  # "supported"
    ```

    Raises:
        ValueError: a group is empty, or a value is not finite, or not positive with `log`; pairs
            that do not match.
    """
    signed = [(1.0, _group(of, log))]
    if against is not None and paired:
        signed = [(1.0, signed[0][1] - _group(against, log))]
    elif against is not None:
        signed.append((-1.0, _group(against, log)))
    value = sum(sign * float(x.mean()) for sign, x in signed)
    n = tuple(len(x) for _, x in signed)
    low, high = interval(signed, seed) if min(n) > 1 else (None, None)
    if log:
        value = float(np.exp(value))
        low = None if low is None else float(np.exp(low))
        high = None if high is None else float(np.exp(high))
    return Effect(value, low, high, n)


def interval(groups: Sequence[tuple[float, NDArray[np.float64]]], seed: int) -> tuple[float, float]:
    """95 % interval of the sum of sign x mean over independent `groups` of two values or more.

    A symmetric bootstrap-t: the spread of |mean* - mean| / se* over seeded resamples of each group
    replaces Student's quantile, so that skewness widens it (Hall 1988). Below eight values a
    resample has too few distinct ones for that (at five normal values the interval is 1.75 times as
    wide as Student's), and the interval is Welch's. The percentile and BCa bootstraps are not used:
    with three values they cannot reach beyond the values themselves, and cover the truth in some
    75 % of cases where they say 95. Equal values have no spread to tell a width by: it is 0, which
    is too narrow for a count that seldom is another.
    """
    rng = np.random.default_rng(seed)
    value = sum(sign * float(x.mean()) for sign, x in groups)
    squares = [float(x.var(ddof=1)) / len(x) for _, x in groups]  # squared standard errors
    se = float(np.sqrt(sum(squares)))
    if se == 0.0:
        return value, value
    if min(len(x) for _, x in groups) < FEWEST_TO_RESAMPLE:
        parts = [s**2 / (len(x) - 1) for s, (_, x) in zip(squares, groups, strict=True)]
        quantile = float(stdtrit(sum(squares) ** 2 / sum(parts), (1 + LEVEL) / 2))
    else:
        drawn = [x[rng.integers(len(x), size=(RESAMPLES, len(x)))] for _, x in groups]
        means = sum(sign * r.mean(1) for (sign, _), r in zip(groups, drawn, strict=True))
        spread = np.sqrt(sum(r.var(1, ddof=1) / r.shape[1] for r in drawn))
        usable = spread > 1e-9 * se  # a resample of one value repeated says nothing about t
        t = np.abs(means - value)[usable] / spread[usable]
        quantile = float(np.quantile(t, LEVEL))
    return value - quantile * se, value + quantile * se


def _group(values: Sequence[float], log: bool) -> NDArray[np.float64]:
    x = np.asarray(values, dtype=np.float64)
    if not len(x):
        raise ValueError("a group has no values")
    if not np.isfinite(x).all():
        raise ValueError(f"values must be finite but one is {x[~np.isfinite(x)][0]}")
    if not log:
        return x
    if x.min() <= 0:
        raise ValueError(f"a ratio needs positive values but one is {x.min()}")
    return np.log(x)
