"""A row of `Records.cells`: what a cell was, how it ended, and its last and best rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from study.records.columns import is_of_one_judge
from study.records.objective import Direction, best_row


def head(
    cell: Mapping[str, Any],
    study: Mapping[str, Any],
    best: Mapping[tuple[str, int], Mapping[str, Any]],
) -> dict[str, Any]:
    """What tells cells apart, in `Records.cells` and `Records.ticks`.

    Args:
        cell: cell.json; `study` likewise.
        best: what `Records.best` returns.
    """
    name, values, seed = cell["condition_name"], cell["hyperparameters"], cell["seed"]
    searches = study["definition"]["searches"]
    search = cell["search"] if cell["phase"] == "search" else seed % searches
    return {
        "id": cell["id"],
        "condition": name,
        "phase": cell["phase"],
        "seed": seed,
        "is_reference": values == study["reference"][name],
        "is_best": values == best.get((name, search)),
    }


def summary(
    cell: Mapping[str, Any],
    result: Mapping[str, Any],
    rows: list[dict[str, Any]],
    objective: str,
    direction: Direction,
) -> dict[str, Any]:
    """The columns of `Records.cells` that come from the files of one cell.

    Args:
        cell: cell.json; `result` and `rows` likewise.
    """
    of_search = {"number", "search"} if cell["phase"] == "search" else {"number"}
    found: dict[str, Any] = {key: cell[key] for key in of_search}
    found |= {key: result[key] for key in ("outcome", "seconds", "attempts")}
    found |= {f"condition/{k}": v for k, v in cell["condition"].items()}
    found |= {f"hp/{k}": v for k, v in cell["hyperparameters"].items()}
    if rows:
        best = best_row(rows, objective, direction)
        found |= {"kimg": rows[-1]["kimg"], "best_kimg": best["kimg"]}
        for prefix, row in (("last", rows[-1]), ("best", best)):
            own = {k: v for k, v in row.items() if k != "kimg" and not is_of_one_judge(k)}
            found |= {f"{prefix}/{k}": v for k, v in own.items()}
    return found
