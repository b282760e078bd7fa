"""Columns of a cell's rows that are not columns of metrics, and their order in a table."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

# The columns of a row that differ between two runs of one cell. `seconds` and `training_seconds`
# count from the start of the cell. Only `seconds` includes the time for measuring.
TIMING_COLUMNS = ("seconds", "training_seconds", "images_per_second")
_JUDGE = "judge/"


def judge_column(judge: int, column: str) -> str:
    """Name of the column with one judge's value of a column that is a mean over the judges."""
    return f"{_JUDGE}{judge}/{column}"


def judges_of(present: Collection[str], columns: Sequence[str]) -> list[int]:
    """The judges of which a table has values of one of the columns.

    Args:
        present: the table's columns.
    """
    found: list[int] = []
    while any(judge_column(len(found), column) in present for column in columns):
        found.append(len(found))
    return found


def is_of_one_judge(column: str) -> bool:
    """Whether `judge_column` made the column's name."""
    return column.startswith(_JUDGE)


def frame(rows: list[dict[str, Any]], first: str) -> pd.DataFrame:
    """Rows as a data frame with these columns first, named in one text with spaces between."""
    import pandas as pd

    found = pd.DataFrame(rows)
    return found.reindex(columns=list(dict.fromkeys([*first.split(), *found.columns])))
