"""How often the rules of `study/report/verdicts.py` are wrong, on simulated seeds of known effects.

    python -m tests.benchmarks.bench_verdicts [--repetitions 1000]

Three things are simulated, with the functions that judge a study. First, how often an interval of
one look holds the true effect. Second, how often a claim whose true effect lies exactly on its
region's border is called supported, and not supported, at any of four planned looks; either is
wrong. Third, how often one of ten primary claims on such effects gets a verdict.

Prints a line for each design, with the ratio of its figure to its bound. Exits with 1 if a bound is
missed by more than three standard errors of the simulation. Skewed values that are judged as they
are, such as shares near 1, have no bound on their wrong verdicts: the rules do not keep one there,
and the figures show how far they are from it.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_spaces.core import Claim, Group
from study.report.stats import ALPHA, estimate
from study.report.verdicts import Question, Seeds, judge

LOOKS = (3, 5, 8, 12)
PRIMARY = 10  # claims of a family
COVERAGE, SKEWED_COVERAGE = 0.93, 0.90  # bounds
CRASH = 10.0  # how far below the others the values of seeds that failed lie

Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]


@dataclass(frozen=True)
class Design:
    """A distribution of a metric over seeds, with its mean on the scale of the claim."""

    name: str
    draw: Draw  # n values, of seeds that did not fail
    mean: float
    log: bool = False
    bound: float | None = COVERAGE  # of the coverage; None: printed only
    fails: float = 0.0  # probability that a seed fails


def lognormal(s: float) -> Draw:
    return lambda rng, n: rng.lognormal(0.0, s, n)


def beta(mean: float, spread: float) -> Draw:
    """Shares with this mean; `spread` is their standard deviation."""
    size = mean * (1 - mean) / spread**2 - 1
    return lambda rng, n: rng.beta(mean * size, (1 - mean) * size, n)


DESIGNS = (
    Design("normal", lambda rng, n: rng.normal(0.0, 1.0, n), 0.0),
    Design("lognormal s=1, log scale", lognormal(1.0), 1.0, log=True),
    Design("lognormal s=.5, raw", lognormal(0.5), math.exp(0.125), bound=SKEWED_COVERAGE),
    Design("lognormal s=1, raw: refused", lognormal(1.0), math.exp(0.5), bound=None),
    Design("lognormal s=1.5, raw: refused", lognormal(1.5), math.exp(1.125), bound=None),
    Design("share .9 (sd .03)", beta(0.9, 0.03), 0.9, bound=SKEWED_COVERAGE),
    Design("share .5 (sd .1)", beta(0.5, 0.1), 0.5, bound=SKEWED_COVERAGE),
    Design(
        "count, .3 of the seeds have 1", lambda rng, n: 1.0 * (rng.random(n) < 0.3), 0.3, bound=None
    ),
    Design("normal, .1 fail", lambda rng, n: rng.normal(0.0, 1.0, n), 0.0, fails=0.1),
    Design("normal, .2 fail", lambda rng, n: rng.normal(0.0, 1.0, n), 0.0, fails=0.2),
)


def seeds(design: Design, rng: np.random.Generator, shared: NDArray[np.float64]) -> Seeds:
    """The cells of a group at the last look; `shared` is what a seed does in every group."""
    n = len(shared)
    values = design.draw(rng, n)
    values = values * np.exp(shared) if design.log else values + shared
    failed = rng.random(n) < design.fails
    values[failed] -= CRASH
    return Seeds(dict(enumerate(values.tolist())), {*np.flatnonzero(failed)}, {*range(n)}, "")


def question(design: Design, groups: int, rng: np.random.Generator, paired: bool) -> Question:
    """A claim whose true effect is the lower border of its region."""
    against = Group("b") if groups == 2 else None
    border = design.mean if groups == 1 else (1.0 if design.log else 0.0)
    claim = Claim(
        id=f"c{rng.integers(2**60)}",
        text="the effect is at least that large",
        metric="m",
        of=Group("a"),
        against=against,
        region=(border, math.inf),
        log=design.log,
        primary=True,
    )
    shared = rng.normal(0.0, 3.0, LOOKS[-1]) if paired else np.zeros(LOOKS[-1])
    return Question(
        claim, [seeds(design, rng, shared) for _ in range(groups)], LOOKS, paired=paired
    )


class Report:
    """Prints figures beside their bounds, and remembers whether one was missed."""

    def __init__(self, repetitions: int) -> None:
        self.repetitions, self.missed = repetitions, False

    def line(self, name: str, figure: float, bound: float | None, most: bool) -> None:
        if bound is None:
            print(f"{name:60} {figure:.3f}")
            return
        error = 3 * math.sqrt(bound * (1 - bound) / self.repetitions)
        missed = figure > bound + error if most else figure < bound - error
        self.missed |= missed
        kind, end = ("at most", "MISSED") if most else ("at least", "MISSED")
        ratio = figure / bound
        print(
            f"{name:60} {figure:.3f} ({kind} {bound:g}, ratio {ratio:.2f}) {end if missed else ''}"
        )


def coverage(report: Report, rng: np.random.Generator) -> None:
    print("share of 95 % intervals of one look that hold the true effect")
    for design in DESIGNS:
        for groups in (1, 2) if not design.fails else ():
            truth = design.mean if groups == 1 else (1.0 if design.log else 0.0)
            for n in LOOKS:
                held = 0
                for _ in range(report.repetitions):
                    values = [design.draw(rng, n).tolist() for _ in range(groups)]
                    found = estimate(*values, log=design.log).effect()
                    # Equal values give no interval, and decide nothing.
                    held += (
                        found.low is None or found.high is None or found.low <= truth <= found.high
                    )
                name = f"{design.name}, groups: {groups}, n = {n}"
                report.line(name, held / report.repetitions, design.bound, most=False)


def verdicts(report: Report, rng: np.random.Generator) -> None:
    print(f"share of claims on the border with a verdict after {LOOKS} seeds, by side")
    for design in DESIGNS:
        if "refused" in design.name:
            continue
        for groups, paired in ((1, False), (2, False), (2, True)):
            if paired and design.bound != COVERAGE:
                continue
            given = [
                judge([question(design, groups, rng, paired)])[0].verdict
                for _ in range(report.repetitions)
            ]
            most = ALPHA / 2 if design.bound == COVERAGE else None
            for verdict in ("supported", "not supported"):
                name = f"{design.name}, groups: {groups}{' in pairs' if paired else ''}, {verdict}"
                report.line(name, given.count(verdict) / report.repetitions, most, most=True)


def families(report: Report, rng: np.random.Generator) -> None:
    print(f"share of studies with a verdict among {PRIMARY} primary claims on their borders")
    for design in (DESIGNS[0], DESIGNS[1], DESIGNS[-1]):
        wrong = 0
        for _ in range(report.repetitions):
            found = judge([question(design, 2, rng, False) for _ in range(PRIMARY)])
            wrong += any(finding.verdict != "undecided" for finding in found)
        report.line(design.name, wrong / report.repetitions, ALPHA, most=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=1000)
    report, rng = Report(parser.parse_args().repetitions), np.random.default_rng(0)
    for part in (coverage, verdicts, families):
        part(report, rng)
    sys.exit(report.missed)


if __name__ == "__main__":
    main()
