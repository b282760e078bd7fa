"""A cell: one training run of a study."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

# What chose the hyperparameters of a search cell. "reference": it is the reference recipe.
SampledBy = Literal["reference", "random", "tpe", "gp"]
Configuration = Literal["reference", "found"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One training run. Its fields define the run, and so its id."""

    study: str
    variant: str
    data: str
    condition_name: str
    condition: Mapping[str, Any]
    phase: Literal["search", "confirm"]
    number: int | None  # of a search cell within its condition, from 0; None: a confirm cell
    hyperparameters: Mapping[str, Any]
    seed: int
    kimg: int
    suggested: Mapping[str, Any] | None = None  # a search cell's parameters, as Optuna names them
    sampled_by: SampledBy | None = None  # None: a confirm cell
    configuration: Configuration | None = None  # None: a search cell
    search: int = 0  # of a search cell: which of its condition's searches, from 0

    @cached_property
    def id(self) -> str:
        """12 hex digits of a SHA-256 over all fields that decide the cell's numbers.

        How the values were found (`suggested`, `sampled_by`, `configuration`, `search`) is left
        out.
        """
        defining = dataclasses.asdict(self) | {"suggested": None}
        del defining["configuration"], defining["sampled_by"], defining["search"]
        text = json.dumps(defining, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def as_json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return value | {"id": self.id}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Cell:
        # Other keys are left out: a bit of the key of the file's digest may have flipped.
        known = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: value[name] for name in known if name in value})

    @property
    def label(self) -> str:
        """The cell's name for people: "classes=5 search 3" or "classes=5 reference, seed 0"."""
        if self.phase == "search":
            which = f", repetition {self.search}" if self.search else ""
            return f"{self.condition_name} search {self.number}{which}"
        return f"{self.condition_name} {self.configuration}, seed {self.seed}"
