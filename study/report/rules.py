"""The rules by which claims are judged. They know seeds and values, and nothing of records."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from scipy.optimize import brentq
from scipy.stats import multivariate_normal, norm

from search_spaces.core import Claim
from study.report.stats import (
    ALPHA,
    Effect,
    Estimate,
    estimate,
    interquartile,
    probability_of_improvement,
    rate,
)

Verdict = Literal["supported", "not supported", "undecided", "not run"]


def verdict(effect: Effect, region: tuple[float, float]) -> Verdict:
    """The verdict that an interval gives at a single look.

    A claim is supported where its effect's interval lies inside the claim's region, bounds
    included. It is not supported where the interval lies wholly outside. Otherwise it is undecided,
    as it is without an interval.
    """
    if effect.low is None or effect.high is None:
        return "undecided"
    if region[0] <= effect.low and effect.high <= region[1]:
        return "supported"
    if effect.high < region[0] or region[1] < effect.low:
        return "not supported"
    return "undecided"


@dataclass(frozen=True)
class Finding:
    """A claim with the effect that was measured for it, and the verdict."""

    claim: Claim
    effect: Effect | None  # None where the effect could not be computed
    verdict: Verdict
    reason: str  # why not run or undecided, what weakens it, and which cells are missing
    interquartile: float | None = None  # the effect of `stats.interquartile`
    improvement: float | None = None  # `stats.probability_of_improvement`, for two groups


@functools.cache
def nominal(alpha: float, looks: tuple[int, ...]) -> float:
    """The error that the interval of each look may have, if all looks together may have `alpha`.

    Who looks at growing data until a claim is decided errs more often than at each look alone. So
    each look's interval is wider, by the same factor at all looks (Pocock 1977). The factor follows
    from the joint normal distribution of the means at the looks, whose correlations are the square
    roots of the ratios of their numbers of seeds.

    Args:
        looks: the numbers of seeds at the planned looks, ascending.
    """
    if len(looks) == 1:
        return alpha
    n = np.array(looks, dtype=float)
    joint = multivariate_normal(cov=np.sqrt(np.minimum.outer(n, n) / np.maximum.outer(n, n)))

    def excess(z: float) -> float:
        """How far the error of all looks together exceeds `alpha`, if intervals reach z errors."""
        ends = np.full(len(n), z)
        held = joint.cdf(ends, lower_limit=-ends, rng=np.random.default_rng(0))
        return 1.0 - float(held) - alpha

    least, most = norm.isf(alpha / 2), norm.isf(alpha / 2 / len(looks))
    return 2 * float(norm.sf(brentq(excess, least, most, xtol=1e-4)))


def decided(
    sure: Mapping[str, Sequence[float]], looks: tuple[int, ...], together: bool
) -> dict[str, int]:
    """The claims that are decided, each with the index of the look that decided it.

    A claim that was decided at a look stays so, because what follows was not needed for it.

    Args:
        sure: for each claim and look, the smallest error whose interval decides the claim. It is 1
            where the look has not taken place.
        together: whether the claims may have one wrong verdict among them with probability `ALPHA`
            (Holm 1979, at each look for the claims that are still open: Ye et al. 2013). If not,
            each of them may be wrong with that probability.
    """
    found: dict[str, int] = {}
    for look in range(len(looks)):
        while left := [claim for claim in sure if claim not in found]:
            surest = min(left, key=lambda claim: sure[claim][look])
            share = ALPHA / len(left) if together else ALPHA
            if sure[surest][look] > nominal(share, looks):
                break
            found[surest] = look
    return found


@dataclass(frozen=True)
class Seeds:
    """A group's confirm cells that have ended, by their seeds."""

    values: dict[int, float]  # the claim's quantity, where it was measured
    failed: set[int]  # see `search_spaces.core.Failure`
    ended: set[int]
    missing: str  # what is missing, as a text; the empty text where nothing is
    possible: bool = True  # whether the data allow the group at all


class Question:
    """A claim and what the records say on it, look by look."""

    def __init__(
        self,
        claim: Claim,
        seeds: Sequence[Seeds],
        looks: tuple[int, ...],
        first: int = 0,
        paired: bool = False,
    ) -> None:
        """Compute the claim's effect at each complete look.

        Args:
            seeds: of the claim's groups, first those of `of`.
            looks: the numbers of seeds at the planned looks, ascending.
            first: the first seed.
            paired: whether the groups are compared seed by seed.
        """
        self.claim, self.seeds, self.looks, self.first = claim, seeds, looks, first
        groups = [claim.of] if claim.against is None else [claim.of, claim.against]
        self.names = [f"{group.condition} ({group.config})" for group in groups]
        lacking = [s.missing for s in seeds if not s.values and not s.failed]
        self.lacking = "; ".join(dict.fromkeys(lacking))
        # Two moments of the same cells are always pairs.
        same = len({(group.condition, group.config) for group in groups}) < len(groups)
        self.paired = same or (paired and len(groups) == 2)
        every = set.intersection(*(s.ended for s in seeds))
        complete = [n for n in looks if {*range(first, first + n)} <= every]
        self.complete = len(complete)  # number of looks that are complete
        self.estimates = [self._estimate(n) for n in complete]
        self.sure = [1.0] * len(looks)  # see `decided`
        for look, (n, found) in enumerate(zip(complete, self.estimates, strict=True)):
            whole = all(self._planned(n) <= s.values.keys() | s.failed for s in seeds)
            if isinstance(found, Estimate) and whole and not self._mixed(n):
                self.sure[look] = found.decides(claim.region)[1]

    def finding(self, look: int | None) -> Finding:
        """The claim's finding: at the look that decided it, or else at the last complete one."""
        if self.lacking:
            return Finding(self.claim, None, "not run", self.lacking)
        notes = []
        last = self.complete - 1 if look is None else look
        n = self.looks[last] if last >= 0 else None
        found = self._estimate(None) if n is None else self.estimates[last]
        mixed = self._mixed(n)
        if n is None and self.looks:
            has = min(len(s.ended & self._planned(self.looks[0])) for s in self.seeds)
            notes.append(f"{has} of {self.looks[0]} seeds have ended")
        notes += mixed
        if isinstance(found, str):
            return Finding(self.claim, None, "undecided", "; ".join([*notes, found]))
        if not found.measures:
            one = min(found.n) == 1
            equal = "all values are equal, so that nothing is known of their spread"
            notes.append("one seed gives no interval" if one else equal)
        notes += dict.fromkeys(seeds.missing for seeds in self.seeds if seeds.missing)
        error = nominal(ALPHA, self.looks) if self.looks else ALPHA
        measured, says = found.effect(error), "undecided"
        if look is not None:
            says = "supported" if found.decides(self.claim.region)[0] else "not supported"
        elif n is not None and self.sure[last] <= error:
            notes.append("decided if asked alone, but not among all primary claims")
        elif n is not None and not mixed:
            needs = found.seeds_needed(self.claim.region, error)
            more = needs is not None and needs > max(found.n)
            notes += [f"at the spread seen, it takes at least {needs} seeds"] if more else []
        columns = self._columns(n)
        return Finding(
            self.claim,
            measured,
            cast(Verdict, says),
            "; ".join(notes),
            interquartile(*columns, log=self.claim.log),
            probability_of_improvement(*columns) if len(columns) == 2 else None,
        )

    @property
    def may_be_decided(self) -> bool:
        """Whether a further look may decide the claim: not so where a group has become mixed."""
        mixed = self.complete and self._mixed(self.looks[self.complete - 1])
        return self.next_look is not None and not mixed

    @property
    def next_look(self) -> int | None:
        """The number of seeds at the first look that is not complete; None after the last look."""
        return self.looks[self.complete] if self.complete < len(self.looks) else None

    def _planned(self, n: int | None) -> set[int]:
        """The seeds of a look at n seeds; of all that have ended where n is None."""
        if n is None:
            return set.union(*(seeds.ended for seeds in self.seeds))
        return {*range(self.first, self.first + n)}

    def _mixed(self, n: int | None) -> list[str]:
        """One text for each group in which some seeds failed and others did not.

        The mean over such a group is neither of those that failed nor of the others, and no
        interval holds for it.
        """
        texts = []
        for name, seeds in zip(self.names, self.seeds, strict=True):
            ended = seeds.ended & self._planned(n)
            failed = seeds.failed & ended
            if failed and failed < ended:
                _, low, high = rate(len(failed), len(ended))
                texts.append(
                    f"{len(failed)} of {len(ended)} seeds of {name} failed "
                    f"(rate {low:.2f} to {high:.2f}); the effect is that of the others"
                )
        return texts

    def _estimate(self, n: int | None) -> Estimate | str:
        """The effect at a look, or the reason why it cannot be computed."""
        try:
            return estimate(*self._columns(n), log=self.claim.log, paired=self.paired)
        except ValueError as error:
            return str(error)

    def _columns(self, n: int | None) -> list[list[float]]:
        """The values of each group at a look.

        Seeds that failed are left out, unless all seeds of their group failed.
        """
        columns = []
        for seeds in self.seeds:
            ended = seeds.ended & self._planned(n)
            kept = ended - seeds.failed or ended
            columns.append({s: v for s, v in seeds.values.items() if s in kept})
        if self.paired:
            both = sorted(columns[0].keys() & columns[1].keys())
            columns = [{s: column[s] for s in both} for column in columns]
        return [list(column.values()) for column in columns]


def undecided(questions: Sequence[Question]) -> list[Question]:
    """The primary claims that are not decided, and could be at a further look."""
    found = zip(questions, judge(questions), strict=True)
    return [
        question
        for question, finding in found
        if finding.verdict == "undecided" and question.claim.primary and question.may_be_decided
    ]


def judge(questions: Sequence[Question]) -> list[Finding]:
    """Judge claims of one study, all of which have the same planned looks."""
    done: dict[str, int] = {}
    for primary in (True, False):
        # A claim that was not run yet counts in its family, or verdicts would change when it is.
        mine = [q for q in questions if q.claim.primary == primary]
        mine = [q for q in mine if all(seeds.possible for seeds in q.seeds)]
        sure = {q.claim.id: q.sure for q in mine}
        done |= decided(sure, mine[0].looks, together=primary) if mine else {}
    return [q.finding(done.get(q.claim.id)) for q in questions]
