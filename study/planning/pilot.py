"""A pilot: an earlier study whose results were used for tuning, so that its seeds are spent.

Whoever chooses settings by the results of some seeds and confirms them on the same seeds is
flattered by chance. So a study that names its pilot uses none of the pilot's seeds.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study.errors import BadInputError
from study.planning.plan import MAX_FIRST_SEED, NEXT_SEARCH, SEARCH_SEEDS, Plan
from study.planning.study_json import looks, recorded
from study.records.records import Records


def of_folder(
    given: Path | None, known: Mapping[str, Any] | None, folder: Path
) -> dict[str, Any] | None:
    """The pilot of the study in a folder, as study.json records it: its folder, id and seeds.

    The pilot is read when the study is begun, and kept for the study's life.

    Args:
        given: the folder of the pilot that a command names.
        known: the content of study.json, or None if the study's folder is new.
        folder: of the study.

    Raises:
        BadInputError: there is no study in `given`, or the study was begun with another pilot.
    """
    if known is None:
        return _read(given) if given else None
    kept: dict[str, Any] | None = known["pilot"]
    if given and not (kept and (str(given) == kept["folder"] or _read(given)["id"] == kept["id"])):
        begun = f"with pilot {kept['folder']}" if kept else "without a pilot"
        raise BadInputError(f"--pilot {given}: {folder} was begun {begun}: begin anew with --fresh")
    return kept


def _read(folder: Path) -> dict[str, Any]:
    """A pilot's seeds are those of all its cells and planned looks, and those of its own pilot."""
    records = Records(folder)
    study = recorded(records)
    if study is None:
        raise BadInputError(f"--pilot {folder}: no study was begun there")
    try:
        spent = {records.cell(cell_id)["seed"] for cell_id in records.ids()}
    except (OSError, ValueError) as error:
        raise BadInputError(f"--pilot {folder}: {error}") from None
    first = study["definition"]["first_seed"]
    spent |= {*range(first, first + max(study["looks"], default=0))}
    spent |= {*study["pilot"]["seeds"]} if study["pilot"] else set()
    return {"folder": str(folder), "id": study["folder"], "seeds": sorted(spent)}


def check(plan: Plan, known: Mapping[str, Any] | None) -> None:
    """Refuse a study that would use seeds of its pilot, in a search or at any planned look.

    Args:
        known: the content of study.json, or None if the study's folder is new.

    Raises:
        BadInputError: one line that names the seeds in common and the first seed that is free.
    """
    if plan.pilot is None:
        return
    planned = known["looks"] if known else looks(plan.budget.seeds)
    trials = plan.budget.trials if plan.searched else 0
    # The study's seeds, if its first one is 0.
    starts = [SEARCH_SEEDS + search * NEXT_SEARCH for search in range(plan.budget.searches)]
    needed = [range(max(planned, default=0)), *(range(n, n + trials) for n in starts)]
    spent = plan.pilot["seeds"]

    def common(first: int) -> list[int]:
        return [seed for seed in spent if any(seed - first in own for own in needed)]

    if shared := common(plan.first_seed):
        valid = itertools.chain(range(SEARCH_SEEDS), range(2 * SEARCH_SEEDS, MAX_FIRST_SEED + 1))
        free = next((f"{first}" for first in valid if not common(first)), "none")
        raise BadInputError(
            f"--first-seed {plan.first_seed}: {plan.pilot['folder']}, the pilot, has spent seeds "
            f"that this study would use ({spans(shared)}): the first that is free is {free}"
        )


def spans(seeds: list[int]) -> str:
    """Ascending seeds as text: "0 to 4, 7"."""
    parts = list[list[int]]()
    for seed in seeds:
        if parts and seed == parts[-1][-1] + 1:
            parts[-1].append(seed)
        else:
            parts.append([seed])
    texts = [f"{p[0]} to {p[-1]}" if len(p) > 1 else f"{p[0]}" for p in parts]
    return ", ".join(texts)
