"""Gathers from the records what bears on each claim, and has it judged.

`verdicts.py` holds the rules.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from search_spaces.core import IMPORTANCE, Claim, Group
from study.records.columns import judge_column, judges_of
from study.records.frames import FLAGS, Frames
from study.records.objective import direction_of, relapses
from study.report.importances import importance_leads
from study.report.stats import Effect
from study.report.verdicts import Finding, Question, Seeds, judge, verdict

if TYPE_CHECKING:
    import pandas as pd

    from study.records.objective import Direction


COLLAPSED = 2.0  # a cell has collapsed where its objective is worse than its best by this factor


def claim_from_json(value: Mapping[str, Any]) -> Claim:
    """Read a claim from study.json, where null stands for an open end of the region."""
    region = read_region(value["region"])
    against = Group(**value["against"]) if value["against"] else None
    return Claim(**{**value, "of": Group(**value["of"]), "against": against, "region": region})


def read_region(value: Sequence[float | None]) -> tuple[float, float]:
    """Read a region from study.json."""
    low, high = value
    return (float("-inf") if low is None else low, float("inf") if high is None else high)


def assess(frames: Frames) -> list[Finding]:
    """Judge the study's claims, which are stored with its records, at all looks that are complete.

    A look is complete for a claim once as many seeds as planned have ended in the claim's groups.
    """
    claims = [claim_from_json(value) for value in frames.study.get("claims", [])]
    # Computing the leads is slow, so all claims on the importances of one condition share them.
    leads = functools.cache(functools.partial(importance_leads, frames))
    found = {finding.claim.id: finding for finding in judge(ask(frames))}
    return [found.get(claim.id) or _lead(claim, leads(claim.of.condition)) for claim in claims]


def ask(frames: Frames) -> list[Question]:
    """The study's claims, but for those on importances, with what the records say on them."""
    claims = [claim_from_json(value) for value in frames.study.get("claims", [])]
    return [_ask(claim, frames) for claim in claims if not claim.metric.startswith(IMPORTANCE)]


def _ask(claim: Claim, frames: Frames) -> Question:
    study, groups = frames.study, [claim.of] if claim.against is None else [claim.of, claim.against]
    return Question(
        claim,
        [_seeds(group, claim, frames) for group in groups],
        tuple(study["looks"]),
        study["definition"].get("first_seed", 0),
        bool(study["paired"]),
    )


def _lead(claim: Claim, leads: dict[str, Effect] | str) -> Finding:
    parameter, condition = claim.metric.removeprefix(IMPORTANCE), claim.of.condition
    if isinstance(leads, str):
        return Finding(claim, None, "not run", leads)
    if (lead := leads.get(parameter)) is None:
        return Finding(
            claim, None, "not run", f"{parameter} did not vary in the search of {condition}"
        )
    return Finding(claim, lead, verdict(lead, claim.region), "")


def _seeds(group: Group, claim: Claim, frames: Frames) -> Seeds:
    """A group's confirm cells by their seeds.

    There are no values where the quantity was not measured, or where no confirm cell has it.
    """
    name = f"{group.condition} ({group.config})"
    cells, ticks = frames.cells, frames.ticks
    nothing = functools.partial(Seeds, {}, set(), set())
    if reason := frames.study.get("left_out", {}).get(group.condition):
        return nothing(f"{group.condition} left out: {reason}", possible=False)
    if group.condition not in frames.conditions:
        known = ", ".join(frames.conditions)
        return nothing(f"no condition {group.condition}: the study has {known}", possible=False)
    chosen = (
        cells["phase"].eq("confirm")
        & cells["condition"].eq(group.condition)
        & cells[FLAGS[group.config]]
    )
    mine = cells[chosen].sort_values("seed")
    if mine.empty:
        return nothing(f"no confirm cells of {name} yet")
    finished = mine[mine["outcome"].eq("complete")]
    own = ticks[ticks["id"].isin(finished["id"])]
    never = [c for c in claim.columns if c in own.columns and len(own) and own[c].isna().all()]
    if missing := [c for c in claim.columns if c not in ticks.columns or c in never]:
        why = why_unmeasured(frames.study, group.condition, missing[0])
        return nothing(f"{missing[0]} was not measured{why}")
    ended = Counter(mine["outcome"][mine["outcome"].ne("complete")])
    notes = [f"{n} of {len(mine)} cells of {name} {o.replace('_', ' ')}" for o, n in ended.items()]

    def measured(judge: int | None) -> dict[int, float]:
        """The quantity by seed, where it was measured."""
        direction = direction_of(claim.metric, frames.directions)
        columns = []
        for column in claim.columns:
            by_judge = column if judge is None else judge_column(judge, column)
            columns.append(own[by_judge if by_judge in own.columns else column])
        quantity = columns[0] if claim.over is None else columns[0] / columns[1]
        values = own[["id", "kimg"]].assign(value=quantity).sort_values("kimg")
        by_cell, empty = dict(list(values.groupby("id"))), values.iloc[:0]
        of = {
            int(row["seed"]): _at(group, row, by_cell.get(row["id"], empty), direction)
            for row in finished[["id", "seed", "best_kimg"]].to_dict("records")
        }
        return {seed: v for seed, v in of.items() if v == v}  # a NaN: the tick lacks the metric

    if group.config == "best":
        all_searches = range(frames.study["definition"]["searches"])
        empty = [n for n in all_searches if (group.condition, n) not in frames.best]
        notes += [f"search {n} of {group.condition} has no complete cell" for n in empty]
    kept = measured(None)
    if len(kept) < len(finished):
        which = f"{len(finished) - len(kept)} of {len(finished)}"
        notes.append(f"{claim.quantity} missing in {which} cells of {name} at its {group.at} tick")
    failed = mine["seed"][failures(frames.study, mine)]
    by_judge = [measured(judge) for judge in judges_of(ticks.columns, claim.columns)]
    seeds, note = {*map(int, mine["seed"])}, "; ".join(notes)
    doubt = ""
    if not failure_known(frames.study, mine).all():
        rule = frames.study["failure"]["metric"]
        why = why_unmeasured(frames.study, group.condition, rule)
        doubt = f"which seeds of {name} failed is not known, as {rule} was not measured{why}"
    rival = dataclasses.replace(group, config="reference")
    if group.config == "best" and rival in (claim.of, claim.against) and mine["is_reference"].all():
        doubt = f"the best found of {group.condition} is the reference: both groups are its cells"
    searches = frames.study["definition"]["searches"] if group.config == "best" else 1
    return Seeds(
        kept,
        {*map(int, failed)},
        seeds,
        note,
        by_judge=by_judge,
        doubt=doubt,
        searches=searches,
    )


def why_unmeasured(study: Mapping[str, Any], condition: str, column: str) -> str:
    """The reason why a column was not measured, after a colon; the empty text if none is known."""
    known = study.get("unreadable", {"conditions": {}, "columns": []})
    reason = known["conditions"].get(condition) if column in known["columns"] else None
    return f": {reason}" if reason else ""


def failure_known(study: Mapping[str, Any], cells: pd.DataFrame) -> pd.Series[bool]:
    """Of which cells it is known whether they failed: see `failures`."""
    rule = study.get("failure")
    if not rule:
        return cells["outcome"].notna()  # of all
    column = f"last/{rule['metric']}"
    measured = cells[column].notna() if column in cells.columns else cells["outcome"].isna()
    return measured | cells["outcome"].ne("complete")


def failures(study: Mapping[str, Any], cells: pd.DataFrame) -> pd.Series[bool]:
    """Which cells failed: those that diverged, and complete ones of which the study's rule says so.

    Cells that crashed tell nothing of their condition. They have neither failed nor succeeded.
    """
    failed = cells["outcome"].eq("diverged")
    rule = study.get("failure")
    if rule and (column := f"last/{rule['metric']}") in cells.columns:
        low, high = read_region(rule["region"])
        failed |= cells["outcome"].eq("complete") & cells[column].between(low, high)
    return failed


def _at(
    group: Group, cell: Mapping[Any, Any], mine: pd.DataFrame, direction: Direction | None
) -> float:
    """A cell's value at the group's moment. `mine` has its values in the order of kimg."""
    if group.at == "start":
        mine = mine[mine["kimg"].eq(0)]
    elif group.at == "early":
        mine = mine[mine["kimg"].gt(0)]
    elif group.at == "best":
        mine = mine[mine["kimg"].eq(cell["best_kimg"])]
    elif group.at == "largest_relapse":
        assert direction is not None  # validation refuses other columns
        return float(relapses(mine["value"][mine["kimg"].gt(0)].dropna(), direction).max())
    if mine.empty:
        return float("nan")
    return float(mine["value"].iloc[-1 if group.at == "last" else 0])


def collapse_kimg(ticks: pd.DataFrame, objective: str, direction: Direction) -> float | None:
    """The first kimg after a cell's best tick at which the objective is twice as bad as its best.

    That is above twice its best or, where high values are better, below half of it. `ticks` are
    those of one cell. None where this never happens, or nothing was measured.
    """
    if objective not in ticks.columns:
        return None
    values = ticks.sort_values("kimg")[["kimg", objective]].dropna()
    if values.empty:
        return None
    column = values[objective]
    best = int(column.argmin() if direction == "minimize" else column.argmax())
    later = relapses(column, direction).iloc[best:].gt(COLLAPSED)
    collapsed = values.iloc[best:][later]
    return None if collapsed.empty else float(collapsed["kimg"].iloc[0])
