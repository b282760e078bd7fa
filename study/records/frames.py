"""The records of a study as data frames, each read once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from study.records.objective import Direction
    from study.records.records import Records

FLAGS = {"reference": "is_reference", "best": "is_best"}  # configuration -> its column


@dataclass(frozen=True)
class Frames:
    """study.json, the accepted cells and their ticks.

    The columns in FLAGS hold booleans only, even if no cell has run yet.
    """

    records: Records
    study: Mapping[str, Any]  # study.json
    cells: pd.DataFrame
    ticks: pd.DataFrame

    @classmethod
    def read(cls, records: Records) -> Frames:
        cells, ticks = records.tables()
        for frame in (cells, ticks):
            for flag in FLAGS.values():
                frame[flag] = frame[flag].eq(True)
        return cls(records, records.study(), cells, ticks)

    @cached_property
    def best(self) -> Mapping[tuple[str, int], Mapping[str, Any]]:
        """What `Records.best` returns."""
        return self.records.best()

    @cached_property
    def search_cells(self) -> list[dict[str, Any]]:
        """What defines the search cells that were ever started."""
        cells = [self.records.cell(cell_id) for cell_id in self.records.ids()]
        return [cell for cell in cells if cell["phase"] == "search"]

    @property
    def objective(self) -> str:
        return str(self.study["definition"]["objective"])

    @property
    def directions(self) -> Mapping[str, Direction]:
        """Which values are better of each column that has better ones."""
        found: Mapping[str, Direction] = self.study["definition"]["directions"]
        return found

    @property
    def conditions(self) -> list[str]:
        """Names of all conditions of the study or its cells; classes=5 before classes=10."""
        names = {*self.study.get("reference", {}), *self.cells["condition"]}
        return sorted(names, key=natural)

    def confirm(self) -> pd.DataFrame:
        """The ticks of the confirm cells."""
        return self.ticks[self.ticks["phase"].eq("confirm")]

    def by_configuration(self) -> dict[str, pd.DataFrame]:
        """The ticks of the confirm cells of each configuration: reference, and best found."""
        ticks = self.confirm()
        return {config: ticks[ticks[flag]] for config, flag in FLAGS.items()}


def natural(text: str) -> list[tuple[bool, float, str]]:
    """Sort key that compares digits as numbers: classes=5 before classes=10."""
    parts = re.split(r"(\d+)", text)
    return [(p.isdigit(), float(p) if p.isdigit() else 0.0, p) for p in parts if p]
