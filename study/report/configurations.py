"""What the report's page says about the search and the best configuration of each condition."""

from __future__ import annotations

from collections import Counter
from typing import Any

from study.records.frames import Frames
from study.report.importances import importances


def configuration(frames: Frames, condition: str) -> dict[str, Any]:
    """How a condition was searched, and its hyperparameters: reference value, best, importance.

    Only those hyperparameters are listed that have an importance or whose best value differs from
    the reference. The largest importance comes first.
    """
    reference = frames.study.get("reference", {}).get(condition) or {}
    best = [values for (name, _), values in sorted(frames.best.items()) if name == condition]
    found = importances(frames, condition)
    shares = found if isinstance(found, dict) else {}
    varied = {k for values in best for k in values if values[k] != reference.get(k)} | shares.keys()
    ranked = sorted(varied, key=lambda k: (-shares.get(k, 0.0), k))
    return {
        "condition": condition,
        "left_out": frames.study.get("left_out", {}).get(condition),
        "searched": bool(best),
        "search": sampled_by(frames, condition),
        "note": found if isinstance(found, str) else None,
        "rows": [
            {
                "name": k,
                "reference": reference.get(k),
                "best": [values.get(k) for values in best],  # of each search
                "share": shares.get(k),
            }
            for k in ranked
        ],
    }


def sampled_by(frames: Frames, condition: str) -> str | None:
    """What sampled the search cells that have begun, as a line; None where there are none."""
    mine = [cell for cell in frames.search_cells if cell["condition_name"] == condition]
    if not mine:
        return None
    counts = Counter(cell["sampled_by"] for cell in mine)
    searches = len({cell["search"] for cell in mine})
    first = "The first cell was the reference recipe"
    if searches > 1:
        first = f"The first cell of each of {searches} searches was the reference recipe"
    for sampler, name in (("tpe", "TPE"), ("gp", "a Gaussian process")):
        if counts[sampler]:
            return (
                f"Search by {name}. {first}, {counts['random']} were sampled at random, and {name} "
                f"suggested {counts[sampler]}."
            )
    return f"Random search. {first}, and {counts['random']} were sampled at random."
