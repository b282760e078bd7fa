"""What a study is made of. Declarations only: no torch, no ray, so that listing is instant."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    import optuna

Condition = Mapping[str, Any]
Space = Callable[["optuna.Trial"], dict[str, Any]]
Scale = Literal["smoke", "quick", "full"]
IMPORTANCE = "importance/"  # see `Claim`
Config = Literal["reference", "best"]
Moment = Literal["start", "early", "best", "last", "setback"]


def check_text(what: str, value: object) -> None:
    """Refuse what cannot stand on one line of a report.

    Raises:
        ValueError: not a text, empty, or with line breaks and the like.
    """
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError(f"{what}={value!r}: one line of printable text is needed")


def check_plain(what: str, values: object) -> None:
    """Refuse what is no mapping of names to values that JSON can hold.

    Raises:
        ValueError: it is not, or one of its values is not.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{what}={values!r}: a mapping of names to values is needed")
    for name, value in values.items():
        check_text(f"a name in {what}", name)
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            needed = "numbers, texts and lists of them are needed"
            raise ValueError(f"{what}: {name}={value!r}: {needed}") from None


def _check_choice(what: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{what}={value!r}: choose one of {', '.join(map(str, choices))}")


def crossed(**factors: tuple[Any, ...]) -> dict[str, Condition]:
    """Conditions from crossed factors: classes=(5, 10) names "classes=5" and "classes=10"."""
    products = itertools.product(*factors.values())
    rows = [dict(zip(factors, values, strict=True)) for values in products]
    return {",".join(f"{k}={v}" for k, v in row.items()): row for row in rows}


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much one scale of a study spends. All training lengths are in kimg (1,000 images)."""

    kimg: int  # length of a confirm cell
    tick_kimg: int  # evaluate and report once per so many kimg
    seeds: int  # confirm cells per condition and configuration; 0 for a search alone
    samples: int  # fakes per evaluation
    trials: int = 0  # search cells per condition
    search_kimg: int | None = None  # length of a search cell that is not stopped early: else kimg
    # Search cells of one condition that may run at once: cell n is suggested, and stopped early,
    # by the ends of cells 0 to n - parallel alone, so a search is the same on every machine.
    parallel: int = 2
    first_tick_kimg: int | None = None  # one tick earlier than the rest: the first iterations
    stretch: int = 1  # hyperparameters named *_kimg, lengths in training, are so many times longer
    fixed: Mapping[str, Any] = field(default_factory=dict)  # hyperparameters of this scale

    def __post_init__(self) -> None:
        lowest = {"trials": 0, "seeds": 0, "samples": 2}
        names = ["kimg", "tick_kimg", "trials", "seeds", "samples", "parallel", "stretch"]
        optional = ("search_kimg", "first_tick_kimg")
        names += [name for name in optional if getattr(self, name) is not None]
        for name in names:
            low = lowest.get(name, 1)
            value = getattr(self, name)
            if type(value) is not int:  # True is no length
                raise ValueError(f"{name} must be a whole number but is {value!r}")
            if value < low:
                raise ValueError(f"{name} must be at least {low} but is {value}")
            if value > 1_000_000:  # a billion images: a slip of the keyboard
                raise ValueError(f"{name} must be at most 1000000 but is {value}")
        check_plain("fixed", self.fixed)

    @property
    def searched_kimg(self) -> int:
        """Length of a search cell that is not stopped early."""
        return self.search_kimg or self.kimg

    def ticks(self, kimg: int) -> list[int]:
        """The kimg at which a cell of that length is evaluated, 0 (before training) included."""
        first = [self.first_tick_kimg] if self.first_tick_kimg else []
        marks = {0, *first, *range(self.tick_kimg, kimg, self.tick_kimg), kimg}
        return sorted(mark for mark in marks if mark <= kimg)


@dataclass(frozen=True)
class Group:
    """Which confirm cells a claim looks at, and at which moment of each.

    `at`: "start" is 0 kimg, "early" the first tick after it, "best" the tick with the best
    objective, "last" the end; "setback" is no moment but all of training: the largest factor by
    which the metric rose above its lowest value so far, 1 where it never did.
    """

    condition: str
    config: Config = "reference"
    at: Moment = "last"

    def __post_init__(self) -> None:
        check_text("condition", self.condition)
        _check_choice("config", self.config, get_args(Config))
        _check_choice("at", self.at, get_args(Moment))


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A published claim as a region for an effect.

    The effect is mean(of) - mean(against), or mean(of) alone; with `log` the ratio of geometric
    means, or the geometric mean. The claim is supported where the effect's 95 % interval lies
    inside `region`, not supported where it lies outside, else undecided. A difference, a
    threshold and an equivalence are all regions.

    The metric is a column of the study's metrics or of a cell's clock: `training_seconds` since its
    start, `seconds` with what measuring took, `images_per_second` since the last tick.
    "importance/NAME" is the share of the search parameter NAME in the objective, over the search
    cells of `of`'s condition, minus the largest other share.
    """

    id: str
    text: str
    metric: str
    of: Group
    against: Group | None = None
    region: tuple[float, float]
    log: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not re.fullmatch(r"[\w.-]+", self.id, re.ASCII):
            raise ValueError(f"claim id={self.id!r}: letters, digits, _, - and . are needed")
        where = f"claim {self.id}"
        check_text(f"{where}: text", self.text)
        check_text(f"{where}: metric", self.metric)
        if not isinstance(self.of, Group) or not isinstance(self.against, Group | None):
            raise ValueError(f"{where}: of and against: a Group is needed")
        region: object = self.region
        pair = isinstance(region, tuple) and [type(bound) in (int, float) for bound in region]
        if pair != [True, True] or not self.region[0] < self.region[1]:  # as with a NaN
            raise ValueError(f"{where}: region={region!r}: (low, high) is needed")
        if self.log and self.region[0] < 0:
            raise ValueError(f"{where}: region={self.region!r}: a ratio is never negative")


@dataclass(frozen=True, kw_only=True)
class Study:
    """Conditions x (search, then confirm) + claims.

    A condition's `classes` keeps the first n classes of the data, its `variant` replaces the
    study's; every other key is a hyperparameter. The reference recipe is the first search cell
    of each condition, and is confirmed beside the best configuration found. A space may suggest
    `classes`, too: such a study is a search alone, as there is no one task to confirm it on.
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
    searched: tuple[str, ...] | None = None  # the conditions to search in; None: all
    metrics: tuple[str, ...]  # files of study/metrics/, measured at every tick
    claims: tuple[Claim, ...]
    scales: Mapping[Scale, Budget]
    objective: str = "fcd"  # lower is better
    fid: bool = True  # Inception FID of confirm cells where its weights are to be had

    def __post_init__(self) -> None:
        for name in ("title", "variant", "data", "standin", "objective"):
            check_text(name, getattr(self, name))
        if not isinstance(self.metrics, tuple | list) or not isinstance(self.claims, tuple | list):
            raise ValueError("metrics and claims: tuples are needed")
        for metric in self.metrics:
            check_text("metric", metric)
        if self.space is not None and not callable(self.space):
            raise ValueError(f"space={self.space!r}: a function of a trial, or None, is needed")
        for name in ("conditions", "reference", "start"):
            check_plain(name, getattr(self, name))
        self._check_conditions()
        self._check_claims()
        if not isinstance(self.searched, tuple | None):
            raise ValueError(f"searched={self.searched!r}: a tuple of conditions is needed")
        for name in self.searched or ():
            _check_choice("searched", name, tuple(self.conditions))
        if not isinstance(self.scales, Mapping) or {*self.scales} != {*get_args(Scale)}:
            needed = ", ".join(get_args(Scale))
            raise ValueError(f"scales={self.scales!r}: a Budget for each of {needed} is needed")
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
            for group in (claim.of, claim.against):
                if group is not None:
                    what = f"claim {claim.id}: condition"
                    _check_choice(what, group.condition, tuple(self.conditions))
