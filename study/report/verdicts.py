"""Decides when a claim is supported. The rules know seeds and values, and nothing of records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from search_spaces.core import Claim
from study.report.looks import decided, nominal
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


def verdict_of(found: Estimate | str, claim: Claim, error: float) -> Verdict:
    """The verdict that an estimate alone gives, with an interval of that error."""
    return "undecided" if isinstance(found, str) else verdict(found.effect(error), claim.region)


@dataclass(frozen=True)
class Finding:
    """A claim with the effect that was measured for it, and the verdict."""

    claim: Claim
    effect: Effect | None  # None where the effect could not be computed
    verdict: Verdict
    reason: str  # why not run or undecided, what weakens it, and which cells are missing
    interquartile: float | None = None  # the effect of `stats.interquartile`
    improvement: float | None = None  # `stats.probability_of_improvement`, for two groups


@dataclass(frozen=True)
class Seeds:
    """A group's confirm cells that have ended, by their seeds."""

    values: dict[int, float]  # the claim's quantity, where it was measured
    failed: set[int]  # see `search_spaces.core.Failure`
    ended: set[int]
    missing: str  # what is missing, as a text; the empty text where nothing is
    possible: bool = True  # whether the data allow the group at all
    # `values` as the single judges measured them, if the quantity depends on the judge.
    by_judge: Sequence[Mapping[int, float]] = ()
    doubt: str = ""  # why no verdict may be given; the empty text where nothing hinders it
    searches: int = 1  # how many searches found the configurations: see `Budget.searches`


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
        self.searches = max(s.searches for s in seeds)
        every = set.intersection(*(s.ended for s in seeds))
        complete = [n for n in looks if {*range(first, first + n)} <= every]
        self.complete = len(complete)  # number of looks that are complete
        self.estimates = [self._estimate(n) for n in complete]
        self.of_judges = [self._of_judges(n) for n in complete]
        self.doubts = list(dict.fromkeys(s.doubt for s in seeds if s.doubt))
        self.sure = [1.0] * len(looks)  # see `decided`
        for look, n in enumerate(complete):
            whole = all(self._planned(n) <= s.values.keys() | s.failed for s in seeds)
            if whole and not self._mixed(n) and not self.doubts:
                self.sure[look] = self._sure(look)

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
        notes += mixed + self.doubts
        if isinstance(found, str):
            return Finding(self.claim, None, "undecided", "; ".join([*notes, found]))
        if not found.measures:
            one = min(found.n) == 1
            equal = "all values are equal, so that nothing is known of their spread"
            unit = "seed" if self.searches == 1 else "search"
            notes.append(f"one {unit} gives no interval" if one else equal)
        if self.searches > 1:
            notes.append(f"the interval is one over the {self.searches} searches")
        notes += dict.fromkeys(seeds.missing for seeds in self.seeds if seeds.missing)
        error = nominal(ALPHA, self.looks) if self.looks else ALPHA
        measured, says = found.effect(error), "undecided"
        if look is not None:
            says = "supported" if found.decides(self.claim.region)[0] else "not supported"
        elif n is not None and self.sure[last] <= error:
            notes.append("decided if asked alone, but not among all primary claims")
        elif n is not None and not mixed and (alone := self._disagreement(last, error)):
            notes.append(f"the judges do not agree: {', '.join(alone)}")
        elif n is not None and not mixed and not self.doubts:
            notes += self._needs(last, error)
        columns = [list(column.values()) for column in self._columns(n)]
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
        """Whether a further look may decide the claim.

        It cannot where a group has become mixed, or where judges are sure of opposite verdicts.
        """
        if self.doubts or self.next_look is None:
            return False
        if not self.complete:
            return True
        error = nominal(ALPHA, self.looks)
        alone = {verdict_of(one, self.claim, error) for one in self.of_judges[-1]}
        opposed = {"supported", "not supported"} <= alone
        return not opposed and not self._mixed(self.looks[self.complete - 1])

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
                shared = f"they share {seeds.searches} searches"
                of = shared if seeds.searches > 1 else f"rate {low:.2f} to {high:.2f}"
                said = f"{len(failed)} of {len(ended)} seeds of {name} failed ({of})"
                texts.append(f"{said}; the effect is that of the others")
        return texts

    def _sure(self, look: int) -> float:
        """The smallest error whose interval decides the claim, for each judge alone as well.

        It is 1 where the effect lies inside the claim's region for some judges and outside for
        others.
        """
        every = [self.estimates[look], *self.of_judges[look]]
        each = [one.decides(self.claim.region) for one in every if isinstance(one, Estimate)]
        agree = len(each) == len(every) and len({inside for inside, _ in each}) == 1
        return max(sure for _, sure in each) if agree else 1.0

    def _disagreement(self, look: int, error: float) -> list[Verdict]:
        """What each judge alone says at a look, if one does not say what the mean of all says.

        Nothing is returned if the mean decides nothing.
        """
        says = verdict_of(self.estimates[look], self.claim, error)
        alone = [verdict_of(one, self.claim, error) for one in self.of_judges[look]]
        return alone if says != "undecided" and {*alone} - {says} else []

    def _needs(self, look: int, error: float) -> list[str]:
        """A text on how many seeds would decide the claim for each judge, if that is known."""
        every = [self.estimates[look], *self.of_judges[look]]
        each = [one for one in every if isinstance(one, Estimate) and one.measures]
        needs = [one.seeds_needed(self.claim.region, error) for one in each]
        known = [n for n in needs if n is not None]
        apart = len({one.decides(self.claim.region)[0] for one in each}) == 2
        if len(each) < len(every):
            return []
        if apart or len(known) < len(needs):
            return ["at the spread seen, a thousand seeds would not decide it"]
        more = max(known)
        if self.searches > 1:
            if len(each[0].n) > 1:  # the groups count searches and seeds
                return []
            said = f"at the spread seen, it takes at least {more} searches"
            return [said] if more > self.searches else []
        said = f"at the spread seen, it takes at least {more} seeds"
        later = [n for n in self.looks if n >= more]
        said += f" (the look after {later[0]})" if later and later[0] > more else ""
        said += "" if later else f", and the last look is after {self.looks[-1]}"
        return [said] if more > max(each[0].n) else []

    def _of_judges(self, n: int) -> list[Estimate | str]:
        """The effect at a look as each judge measured it, where it depends on the judge."""
        judges = range(min(len(seeds.by_judge) for seeds in self.seeds))
        return [self._estimate(n, judge) for judge in judges]

    def _estimate(self, n: int | None, judge: int | None = None) -> Estimate | str:
        """The effect at a look, or the reason why it cannot be computed."""
        columns = self._columns(n, judge)
        searches = [s.searches for s in self.seeds]
        if self.paired:
            searches = [self.searches]
        clusters = [
            [seed % k for seed in column] if k > 1 else None
            for column, k in zip(columns, searches, strict=False)
        ]
        values = [list(column.values()) for column in columns]
        try:
            return estimate(*values, log=self.claim.log, paired=self.paired, clusters=clusters)
        except ValueError as error:
            return str(error)

    def _columns(self, n: int | None, judge: int | None = None) -> list[dict[int, float]]:
        """The values of each group by seed at a look, by one judge or by all.

        Seeds that failed are left out, unless all seeds of their group failed.
        """
        columns = []
        for seeds in self.seeds:
            ended = seeds.ended & self._planned(n)
            kept = ended - seeds.failed or ended
            values = seeds.values if judge is None else seeds.by_judge[judge]
            columns.append({s: v for s, v in values.items() if s in kept})
        if self.paired:
            both = sorted(columns[0].keys() & columns[1].keys())
            columns = [{s: column[s] for s in both} for column in columns]
        return columns


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
