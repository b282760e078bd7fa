"""Derive the cells of a study from its declaration, a budget and the data.

Nothing here trains.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trainables
from search_spaces.core import IMPORTANCE, Budget, Study
from study.planning.cells import Cell, Configuration, SampledBy
from study.planning.space import describe_space
from trainables.data.base import DataSpec

if TYPE_CHECKING:
    from study.planning.sources import Source
    from study.records.objective import Direction

# Search cell n has seed 1000 + n, and confirm cells count from seed 0. --first-seed adds to both.
# So no search cell shares its seed with a confirm cell, up to 1000 confirm seeds.
SEARCH_SEEDS = 1000
NEXT_SEARCH = 10_000_000  # added for each further search; no first seed reaches so far
MAX_FIRST_SEED = 1_000_000
# TPE suggests a search cell if it may know the ends of so many cells, and random sampling suggests
# the cells before. The number does not depend on the number of trials, so that a study that grows
# keeps its cells.
TPE_STARTUP = 4


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A study resolved for one budget and one data set."""

    name: str
    study: Study
    budget: Budget
    overrides: Mapping[str, Any]  # hyperparameters that --set fixes
    data: str
    classes: int  # number of classes in the data
    channels: int  # of the data's images
    size: tuple[int, int]  # H, W of the data's images
    labels: int = 1  # the most labels that one image has
    paired: bool = False  # the data hold images of two domains
    data_path: Path | None = None  # of data by path; may change while the content stays
    image_size: int | None = None  # what --image-size says
    only: str | None = None  # the one condition to run; None: all
    first_seed: int = 0  # of the confirm cells; another one replicates a study on fresh seeds
    pilot: Mapping[str, Any] | None = None  # see study/planning/pilot.py
    sources: tuple[Source, ...] = ()  # of what the study names and is not this project's
    # (condition, configuration) -> number of seeds, where that is more than the budget's.
    more_seeds: Mapping[tuple[str, Configuration], int] = field(default_factory=dict)

    @property
    def data_spec(self) -> DataSpec:
        """What the data look like: classes, channels, size, labels, domains."""
        return DataSpec(self.classes, self.channels, self.size, self.labels, self.paired)

    @cached_property
    def conditions(self) -> dict[str, Mapping[str, Any]]:
        """The conditions that run: all that the data allow, or only the one that --only names."""
        return {
            name: condition
            for name, condition in self.study.conditions.items()
            if name not in self.left_out and self.only in (None, name)
        }

    @cached_property
    def space(self) -> dict[str, Any]:
        """Every parameter that the study's space can suggest."""
        return describe_space(self.study)

    @cached_property
    def directions(self) -> dict[str, Direction]:
        """Which values are better of each column of the metrics that has better ones."""
        from study.metrics.core import catalog  # imports torch

        return catalog.directions((*self.study.metrics, "fid"))

    @property
    def direction(self) -> Direction:
        """Which values of the objective are better."""
        return self.directions[self.study.objective]

    @cached_property
    def left_out(self) -> dict[str, str]:
        """The conditions that the data do not allow, with the reason for each."""
        reasons = {}
        for name, condition in self.study.conditions.items():
            classes = condition.get("classes", self.classes)
            if classes > self.classes:
                reasons[name] = f"{self.data} has {self.classes} classes"
            elif classes < self.classes and self.labels > 1:
                reasons[name] = f"images of {self.data} have several labels"
            elif self.paired and classes % 2:
                reasons[name] = f"classes of {self.data} come in pairs"
        return reasons

    def class_counts(self, condition: str) -> list[int]:
        """The numbers of classes that cells of a condition may have, in ascending order.

        There is more than one number if the space suggests `classes`.
        """
        own = self.study.conditions[condition].get("classes", self.classes)
        space = self.space if condition in self.searched else {}
        return sorted({own, *space.get("classes", {}).get("attributes", {}).get("choices", ())})

    def variant(self, condition: str) -> str:
        value: str = self.study.conditions[condition].get("variant", self.study.variant)
        return value

    def hyperparameters(
        self, condition: str, suggestion: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """All hyperparameters of a condition: its reference recipe, changed by a suggestion.

        Later sources replace earlier ones: the study's reference, the budget's scale_overrides, the
        condition's own factors, the suggestion. Then names that end in _kimg are multiplied by the
        budget's schedule_scale. The values of --set replace all others and are not multiplied. For
        all other hyperparameters the variant's defaults are filled in.

        Raises:
            ValueError: an unknown hyperparameter or a bad value; one line.
        """
        factors = self.study.conditions[condition].items()
        own = {k: v for k, v in factors if k not in ("classes", "variant")}
        suggested = {k: v for k, v in (suggestion or {}).items() if k != "classes"}
        merged = {**self.study.reference, **self.budget.scale_overrides, **own, **suggested}
        if self.budget.schedule_scale > 1:
            merged |= {
                k: v * self.budget.schedule_scale for k, v in merged.items() if k.endswith("_kimg")
            }
        config = trainables.load(self.variant(condition)).config_type
        return config.parse({**merged, **self.overrides}).model_dump(mode="json")

    def search_cell(
        self,
        condition: str,
        number: int,
        suggested: Mapping[str, Any],
        values: Mapping[str, Any],
        sampled_by: SampledBy = "random",
        search: int = 0,
    ) -> Cell:
        suggested_classes = {k: v for k, v in values.items() if k == "classes"}
        return self._cell(
            condition,
            suggested_classes,
            phase="search",
            number=number,
            suggested=suggested,
            sampled_by=sampled_by,
            hyperparameters=self.hyperparameters(condition, values),
            seed=SEARCH_SEEDS + self.first_seed + number + search * NEXT_SEARCH,
            kimg=self.budget.searched_kimg,
            search=search,
        )

    def seeds(self, condition: str, configuration: Configuration) -> range:
        """The seeds of the confirm cells of a condition's reference or of the best found."""
        n = max(self.budget.seeds, self.more_seeds.get((condition, configuration), 0))
        return range(self.first_seed, self.first_seed + n)

    def confirm_cells(
        self, condition: str, *values: Mapping[str, Any] | None, of: Configuration = "reference"
    ) -> list[Cell]:
        """The confirm cells of a condition's reference or of the best found, one for each seed.

        Args:
            values: the hyperparameters; of the best found, those of each search. Seed s has those
                of search s modulo their number, and no cell yet if they are None.
        """
        of_seed = {seed: values[seed % len(values)] for seed in self.seeds(condition, of)}
        reference = self.hyperparameters(condition)
        return [
            self._cell(
                condition,
                {},
                phase="confirm",
                number=None,
                configuration="reference" if own == reference else "found",
                hyperparameters=own,
                seed=seed,
                kimg=self.budget.kimg,
            )
            for seed, own in of_seed.items()
            if own is not None
        ]

    def _cell(self, condition: str, factors: Mapping[str, Any], **rest: Any) -> Cell:
        return Cell(
            study=self.name,
            variant=self.variant(condition),
            data=self.data,
            condition_name=condition,
            condition={**self.study.conditions[condition], **factors},
            **rest,
        )

    @cached_property
    def searched(self) -> list[str]:
        """The conditions that have search cells."""
        if self.study.space is None or self.budget.trials == 0:
            return []
        names = self.study.searched
        return [name for name in self.conditions if names is None or name in names]

    @cached_property
    def judged(self) -> frozenset[str]:
        """The conditions whose reference recipes decide all claims on conditions that run.

        Empty where a claim also needs search cells or the best configuration found.
        """
        found: set[str] = set()
        for claim in self.study.claims:
            groups = [group for group in (claim.of, claim.against) if group is not None]
            if any(group.condition not in self.conditions for group in groups):
                continue  # the claim is not run
            if claim.metric.startswith(IMPORTANCE) or any(g.config == "best" for g in groups):
                return frozenset()
            found.update(group.condition for group in groups)
        return frozenset(found)

    @cached_property
    def count(self) -> tuple[int, int]:
        """The number of search cells, and the largest possible number of confirm cells.

        There are fewer confirm cells where the reference turns out to be the best configuration.
        """
        confirm = sum(len(self.seeds(name, "reference")) for name in self.conditions)
        confirm += sum(len(self.seeds(name, "found")) for name in self.searched)
        return len(self.searched) * self.budget.searches * self.budget.trials, confirm

    def definition(self) -> dict[str, Any]:
        """Everything that decides cells' numbers and claims. It never changes in a study's folder.

        The numbers of trials and seeds are left out, so that a study can grow.
        """
        study, budget = self.study, self.budget
        value = {
            "study": self.name,
            "variant": study.variant,
            "objective": study.objective,
            "directions": self.directions,
            "metrics": list(study.metrics),
            "conditions": study.conditions,
            "reference": {name: self._reference(name) for name in study.conditions},
            "space": self.space,
            "searched": study.searched,
            "overrides": dict(self.overrides),
            "data": self.data,
            "kimg": budget.kimg,
            "search_kimg": budget.searched_kimg,
            "ticks": budget.ticks(max(budget.kimg, budget.searched_kimg)),
            "samples": budget.samples,
            "first_seed": self.first_seed,
            # What decides verdicts must not change once figures are known. The claims' texts may,
            # and so may their sources, which are no part of a claim's `repr`.
            "claims": {c.id: repr(dataclasses.replace(c, text=c.id)) for c in study.claims},
            "failure": repr(study.failure),
            "paired": study.paired,
            "search_parallelism": budget.search_parallelism,
            "searches": budget.searches,
            "tpe_startup": TPE_STARTUP,
        }
        # What differs from what most studies have, so that folders of earlier versions go on.
        usual = {"sampler": "tpe", "pruner": "median"}
        value |= {k: v for k, d in usual.items() if (v := getattr(study, k)) != d}
        if self.image_size is not None:
            value["image_size"] = self.image_size
        if code := {s.name: s.digest for s in self.sources if s.kind in ("variant", "metric")}:
            value["sources"] = code
        plain: dict[str, Any] = json.loads(json.dumps(value))
        return plain

    def _reference(self, condition: str) -> dict[str, Any] | None:
        try:
            return self.hyperparameters(condition)
        except ValueError:  # --only leaves it out, and it does not take the values of --set
            return None
