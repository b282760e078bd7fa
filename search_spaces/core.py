"""The classes that a study is declared with.

Neither torch nor Ray is imported here, so that listing the studies is instant.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from search_spaces.checks import check_choice, check_plain, check_region, check_sampler, check_text

if TYPE_CHECKING:
    import optuna

Condition = Mapping[str, Any]
Space = Callable[["optuna.Trial"], dict[str, Any]]
Scale = Literal["smoke", "quick", "full"]
IMPORTANCE, LOSS, TRAIN = "importance/", "loss/", "train/"  # see `Claim`
Config = Literal["reference", "best"]
Sampler = Literal["tpe", "gp", "random"]
Pruner = Literal["median", "asha", "none"]
Moment = Literal["start", "early", "best", "last", "largest_relapse"]


def crossed(**factors: tuple[Any, ...]) -> dict[str, Condition]:
    """Conditions from crossed factors. classes=(5, 10) gives "classes=5" and "classes=10"."""
    rows = [dict(zip(factors, v, strict=True)) for v in itertools.product(*factors.values())]
    return {",".join(f"{k}={v}" for k, v in row.items()): row for row in rows}


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much one scale of a study spends. Training lengths are in kimg (1,000 images seen)."""

    kimg: int  # length of a confirm cell
    tick_kimg: int  # length of a tick: evaluate and report once per so many kimg
    seeds: int  # confirm cells per condition and configuration; 0: search only
    samples: int  # fakes per evaluation
    trials: int = 0  # search cells per condition
    # Length of a search cell that is not stopped early; None: as `kimg`.
    search_kimg: int | None = None
    # How many search cells of one condition may run at once. Suggesting cell n, and stopping it
    # early, depends only on how cells 0 to n - search_parallelism ended. So a search is the same on
    # every machine.
    search_parallelism: int = 2
    # How many searches each condition has, which differ in their seeds only. The search itself is
    # random, and one search does not tell how much. Confirm seed s has the best configuration of
    # search s modulo `searches`, and the interval of a claim on it is one over the searches.
    searches: int = 1
    # One more tick before the others, which shows the first iterations; None: no such tick.
    first_tick_kimg: int | None = None
    # Hyperparameters named *_kimg, which are lengths in training, are multiplied by this.
    schedule_scale: int = 1
    # Hyperparameters of this scale, which replace those of the reference recipe.
    scale_overrides: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lowest = {"trials": 0, "seeds": 0, "samples": 2}
        optional = ("search_kimg", "first_tick_kimg")
        names = [name for name in optional if getattr(self, name) is not None]
        names += ["kimg", "tick_kimg", "trials", "seeds", "samples"]
        names += ["search_parallelism", "searches", "schedule_scale"]
        for name in names:
            low = lowest.get(name, 1)
            value = getattr(self, name)
            if type(value) is not int:  # True is no length
                raise ValueError(f"{name} must be a whole number but is {value!r}")
            if value < low:
                raise ValueError(f"{name} must be at least {low} but is {value}")
            if value > 1_000_000:  # a billion images must be a typing error
                raise ValueError(f"{name} must be at most 1000000 but is {value}")
        if self.searches > max(1, self.seeds):
            raise ValueError(
                f"searches must be at most {max(1, self.seeds)}, the number of seeds that confirm "
                f"what they find, but is {self.searches}"
            )
        check_plain("scale_overrides", self.scale_overrides)

    @property
    def searched_kimg(self) -> int:
        """Length of a search cell that is not stopped early."""
        return self.search_kimg or self.kimg

    def ticks(self, kimg: int) -> list[int]:
        """The kimg at which a cell of length `kimg` is evaluated, including 0 (before training)."""
        first = [self.first_tick_kimg] if self.first_tick_kimg else []
        marks = {0, *first, *range(self.tick_kimg, kimg, self.tick_kimg), kimg}
        return sorted(mark for mark in marks if mark <= kimg)


@dataclass(frozen=True)
class Group:
    """Which confirm cells a claim looks at, and at which moment of each.

    `config` chooses the confirm cells of the reference recipe or of the best configuration found.

    `at` is the moment. "start" is 0 kimg, "early" is the first tick after it, "best" is the tick
    with the best objective, and "last" is the end. "largest_relapse" is not a moment but looks at
    all ticks after 0 kimg. Its value is the largest factor by which the metric became worse than
    its best value so far. The factor is 1 if the metric never became worse.
    """

    condition: str
    config: Config = "reference"
    at: Moment = "last"

    def __post_init__(self) -> None:
        check_text("condition", self.condition)
        check_choice("config", self.config, get_args(Config))
        check_choice("at", self.at, get_args(Moment))


@dataclass(frozen=True)
class Failure:
    """The rule by which a seed counts as failed: its last value of `metric` lies in `region`.

    A cell that diverged has failed, whatever the rule.
    """

    metric: str
    region: tuple[float, float]

    def __post_init__(self) -> None:
        check_text("failure: metric", self.metric)
        check_region("failure", self.region)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A published claim, expressed as a region for an effect.

    The effect is mean(of) - mean(against), or mean(of) alone if `against` is None. With `log` it is
    the ratio of geometric means, or the geometric mean alone. The claim is supported if the
    effect's interval lies inside `region`, not supported if it lies wholly outside, and undecided
    otherwise. A difference, a threshold and an equivalence can all be written as regions.

    A study's primary claims are what it is about: at most one study in twenty has a wrong verdict
    among them. Each other claim is exploratory, and one in twenty may be wrong.

    The source says in one line where the claim comes from and which quantity was measured there. It
    also says so where the claim is a question of our own. It is not part of the claim's `repr`,
    because a corrected reference makes no other claim.

    The metric is the quantity that the source measured. If that cannot be had, the source says what
    the metric stands for. It is a column of the study's metrics, of the training or of a cell's
    clock. With `over` it is one column divided by another one at the same moment of the same cell.

    A loss's column is "loss/PLAYER/TERM": the mean of the term over the steps since the last tick,
    in training mode, on the images of those steps; at 0 kimg the term of the first step. Columns
    "train/NAME" are other quantities that a variant reports of its steps in the same way. The clock
    has `training_seconds` since the cell's start, `seconds` (the same plus the time for measuring)
    and `images_per_second` since the last tick. The metric "importance/NAME" is the share of the
    objective's variance that is due to the search parameter NAME, minus the largest share of any
    other parameter, over the search cells of `of`'s condition.
    """

    id: str
    text: str
    source: str = field(default="", repr=False)
    metric: str
    over: str | None = None  # the metric is divided by this column
    of: Group
    against: Group | None = None
    region: tuple[float, float]
    log: bool = False
    primary: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the claim looks at; for an importance, its metric."""
        return (self.metric,) if self.over is None else (self.metric, self.over)

    @property
    def quantity(self) -> str:
        """The claim's quantity for people: "fcd", or "loss/d/class_real / loss/d/class_fake"."""
        return " / ".join(self.columns)

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not re.fullmatch(r"[\w.-]+", self.id, re.ASCII):
            raise ValueError(f"claim id={self.id!r}: letters, digits, _, - and . are needed")
        where = f"claim {self.id}"
        check_text(f"{where}: text", self.text)
        if self.source != "":
            check_text(f"{where}: source", self.source)
        for column in self.columns:
            check_text(f"{where}: metric", column)
        if self.metric.startswith(IMPORTANCE) and (self.over is not None or self.primary):
            raise ValueError(f"{where}: an importance is exploratory, and divided by nothing")
        if not isinstance(self.of, Group) or not isinstance(self.against, Group | None):
            raise ValueError(f"{where}: of and against: a Group is needed")
        check_region(where, self.region)
        for flag in ("log", "primary"):
            check_choice(f"{where}: {flag}", getattr(self, flag), (False, True))
        if self.log and self.region[0] < 0:
            raise ValueError(f"{where}: region={self.region!r}: a ratio is never negative")


SCALES: Mapping[Scale, Budget] = {  # where a study declares none
    "smoke": Budget(kimg=1, tick_kimg=1, seeds=1, samples=200, scale_overrides={"f": 4}),
    "quick": Budget(kimg=60, tick_kimg=10, seeds=3, samples=1000, scale_overrides={"f": 16}),
    "full": Budget(kimg=2000, tick_kimg=100, seeds=5, samples=10_000),
}


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study: its conditions, each of which is searched and then confirmed, and its claims.

    In a condition, the key `classes` keeps the first n classes of the data, and `variant` replaces
    the study's variant. Every other key is a hyperparameter. The reference recipe is the first
    search cell of each condition. It is also confirmed, beside the best configuration found. A
    space may suggest `classes`, too. Such a study has no confirm cells, because there is no single
    task on which a configuration could be confirmed.
    """

    title: str
    variant: str  # a name: see study/planning/sources.py, also for metrics and data
    data: str  # the real data that the study asks for
    stand_in: str = ""  # rendered data for when the real data are not available; "": none
    conditions: Mapping[str, Condition]
    reference: Mapping[str, Any] = field(default_factory=dict)  # what differs from the defaults
    space: Space | None = None
    # Values of the space's parameters at the reference recipe, for parameters that are not
    # hyperparameters themselves.
    reference_params: Mapping[str, Any] = field(default_factory=dict)
    searched: tuple[str, ...] | None = None  # the conditions that are searched; None: all
    metrics: tuple[str, ...] = ("fcd",)  # measured at every tick unless slow
    claims: tuple[Claim, ...] = ()
    scales: Mapping[Scale, Budget] = field(default_factory=lambda: SCALES)
    objective: str = "fcd"  # a column that its metric declares better high or low
    sampler: Sampler = "tpe"  # suggests search cells, once four that ended are known
    pruner: Pruner = "median"  # stops search cells early, see study/engine/search.py
    failure: Failure | None = None  # None: only cells that diverged have failed
    paired: bool = False  # compare conditions seed by seed, because a seed decides much in all
    fid: bool = True  # measure FID of confirm cells, where study/planning/fid_weights.py says so

    @property
    def variants(self) -> tuple[str, ...]:
        """The variants of the conditions, each once."""
        names = (c.get("variant", self.variant) for c in self.conditions.values())
        return tuple(dict.fromkeys(names))

    def __post_init__(self) -> None:
        if self.stand_in == "":
            object.__setattr__(self, "stand_in", self.data)
        for name in ("title", "variant", "data", "stand_in", "objective"):
            check_text(name, getattr(self, name))
        if not isinstance(self.metrics, tuple | list) or not isinstance(self.claims, tuple | list):
            raise ValueError("metrics and claims: tuples are needed")
        for metric in self.metrics:
            check_text("metric", metric)
        if not isinstance(self.failure, Failure | None):
            raise ValueError(f"failure={self.failure!r}: a Failure is needed")
        if self.space is not None and not callable(self.space):
            raise ValueError(f"space={self.space!r}: a function of a trial, or None, is needed")
        check_sampler(self.sampler, get_args(Sampler))
        check_choice("pruner", self.pruner, get_args(Pruner))
        for name, flag in (("paired", self.paired), ("fid", self.fid)):
            check_choice(name, flag, (False, True))
        for name in ("conditions", "reference", "reference_params"):
            check_plain(name, getattr(self, name))
        self._check_conditions()
        self._check_claims()
        if not isinstance(self.searched, tuple | None):
            raise ValueError(f"searched={self.searched!r}: a tuple of conditions is needed")
        for name in self.searched or ():
            check_choice("searched", name, tuple(self.conditions))
        if not isinstance(self.scales, Mapping) or {*self.scales} - {*SCALES}:
            raise ValueError(f"scales={self.scales!r}: Budgets of {', '.join(SCALES)} are needed")
        object.__setattr__(self, "scales", {**SCALES, **self.scales})
        for scale, budget in self.scales.items():
            if not isinstance(budget, Budget):
                raise ValueError(f"scale {scale}: {budget!r} is no Budget")

    def _check_conditions(self) -> None:
        if not self.conditions:
            raise ValueError("conditions: at least one is needed")
        for name, condition in self.conditions.items():
            check_plain(f"condition {name}", condition)
            classes = condition.get("classes", 1)
            if type(classes) is not int or classes < 1:
                raise ValueError(f"condition {name}: classes={classes!r}: at least 1 is needed")
            check_text(f"condition {name}: variant", condition.get("variant", self.variant))

    def _check_claims(self) -> None:
        known: set[str] = set()
        for claim in self.claims:
            if not isinstance(claim, Claim):
                raise ValueError(f"claims: {claim!r} is no Claim")
            if claim.id in known:
                raise ValueError(f"claim {claim.id}: there are two of that id")
            known.add(claim.id)
            for group in filter(None, (claim.of, claim.against)):
                where = f"claim {claim.id}: condition"
                check_choice(where, group.condition, tuple(self.conditions))
