"""What a study is made of. Declarations only: no torch, no ray, so that listing is instant."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import optuna

Condition = Mapping[str, Any]
Space = Callable[["optuna.Trial"], dict[str, Any]]


def crossed(**factors: tuple[Any, ...]) -> dict[str, Condition]:
    """Conditions from crossed factors: classes=(5, 10) names "classes=5" and "classes=10"."""
    products = itertools.product(*factors.values())
    rows = [dict(zip(factors, values, strict=True)) for values in products]
    return {",".join(f"{k}={v}" for k, v in row.items()): row for row in rows}


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much one scale of a study spends. All training lengths are in kimg (1,000 images)."""

    kimg: int  # length of a confirm cell
    search_kimg: int  # length of a search cell that is not stopped early
    tick_kimg: int  # evaluate and report once per so many kimg
    trials: int  # search cells per condition
    seeds: int  # confirm cells per condition and configuration
    samples: int  # fakes per evaluation
    # Search cells of one condition that may run at once: cell n is suggested, and stopped early,
    # by the ends of cells 0 to n - parallel alone, so a search is the same on every machine.
    parallel: int = 2
    first_tick_kimg: int | None = None  # one tick earlier than the rest: the first iterations
    fixed: Mapping[str, Any] = field(default_factory=dict)  # hyperparameters of this scale

    def __post_init__(self) -> None:
        lowest = {"trials": 0, "samples": 2}
        for name in ("kimg", "search_kimg", "tick_kimg", "trials", "seeds", "samples", "parallel"):
            low = lowest.get(name, 1)
            value = getattr(self, name)
            if value < low:
                raise ValueError(f"{name} must be at least {low} but is {value}")
            if value > 1_000_000:  # a billion images: a slip of the keyboard
                raise ValueError(f"{name} must be at most 1000000 but is {value}")

    def ticks(self, kimg: int) -> list[int]:
        """The kimg at which a cell of that length is evaluated, 0 (before training) included."""
        first = [self.first_tick_kimg] if self.first_tick_kimg else []
        marks = {0, *first, *range(self.tick_kimg, kimg, self.tick_kimg), kimg}
        return sorted(mark for mark in marks if mark <= kimg)


@dataclass(frozen=True)
class Group:
    """Which confirm cells a claim looks at, and at which moment of each.

    `at`: "start" is 0 kimg, "early" the first tick after it, "best" the tick with the best
    objective, "last" the end.
    """

    condition: str
    config: Literal["reference", "best"] = "reference"
    at: Literal["start", "early", "best", "last"] = "last"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A published claim as a region for an effect.

    The effect is mean(of) - mean(against), or mean(of) alone; with `log` the ratio of geometric
    means, or the geometric mean. The claim is supported where the effect's 95 % interval lies
    inside `region`, not supported where it lies outside, else undecided. A difference, a
    threshold and an equivalence are all regions.
    """

    id: str
    text: str
    metric: str
    of: Group
    against: Group | None = None
    region: tuple[float, float]
    log: bool = False


@dataclass(frozen=True, kw_only=True)
class Study:
    """Conditions x (search, then confirm) + claims.

    A condition's `classes` keeps the first n classes of the data, its `variant` replaces the
    study's; every other key is a hyperparameter. The reference recipe is the first search cell
    of each condition, and is confirmed beside the best configuration found.
    """

    title: str
    variant: str  # a file of trainables/
    data: str  # the real data that it asks for
    standin: str  # what is rendered where the real data are not to be had
    conditions: Mapping[str, Condition]
    reference: Mapping[str, Any]  # hyperparameters that differ from the variant's defaults
    space: Space | None
    # The reference in the space's terms, as far as they are not hyperparameters themselves.
    start: Mapping[str, Any] = field(default_factory=dict)
    metrics: tuple[str, ...]  # files of study/metrics/, measured at every tick
    claims: tuple[Claim, ...]
    scales: Mapping[Literal["smoke", "quick", "full"], Budget]
    objective: str = "fcd"  # lower is better
    fid: bool = True  # Inception FID of confirm cells where its weights are to be had
