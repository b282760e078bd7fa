"""Which of two values of a column is the better one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from search_spaces.core import LOSS

if TYPE_CHECKING:
    import pandas as pd

# Which values of a column are better: the low ones, or the high ones. The words are Optuna's.
Direction = Literal["minimize", "maximize"]


def cost(value: float, direction: Direction) -> float:
    """The value, negated where high values are better. So a lower cost is always better."""
    return value if direction == "minimize" else -value


def direction_of(column: str, directions: Mapping[str, Direction]) -> Direction | None:
    """Which values of a column are better: as its metric declares, and low values of a loss.

    None if no end is better.
    """
    return "minimize" if column.startswith(LOSS) else directions.get(column)


def best_row(rows: list[dict[str, Any]], column: str, direction: Direction) -> dict[str, Any]:
    """The row with the best value of a column; the first row if no row has a value."""
    return min(rows, key=lambda row: cost(row[column], direction) if column in row else math.inf)


def relapses(values: pd.Series[float], direction: Direction) -> pd.Series[float]:
    """By which factor each of a cell's values, in order, is worse than the best one up to it.

    The factor is 1 for the best value. Between values of which one is negative there is no factor:
    all are NaN then.
    """
    if values.lt(0).any():
        return values * math.nan
    if direction == "minimize":
        return values / values.cummin()
    return values.cummax() / values
