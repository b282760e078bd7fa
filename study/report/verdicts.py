"""Decides whether the claims of a study are supported by what was measured."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from search_spaces.core import IMPORTANCE, Claim, Group
from study.records.frames import FLAGS, Frames
from study.report.importances import importance_leads
from study.report.stats import Effect, effect

if TYPE_CHECKING:
    import pandas as pd


COLLAPSED = 2.0  # a cell has collapsed where its objective exceeds this times its best

Verdict = Literal["supported", "not supported", "undecided", "not run"]


def verdict(effect: Effect, region: tuple[float, float]) -> Verdict:
    """The rule by which every claim is judged.

    A claim is supported where its effect's interval lies inside the claim's region, bounds
    included. It is not supported where the interval lies wholly outside. Otherwise it is undecided.

    Differences, thresholds and equivalences can all be stated as regions. An effect has no interval
    where a group has only one value; the claim is then undecided.
    """
    if effect.low is None or effect.high is None:
        return "undecided"
    if region[0] <= effect.low and effect.high <= region[1]:
        return "supported"
    if effect.high < region[0] or region[1] < effect.low:
        return "not supported"
    return "undecided"


@dataclass(frozen=True)
class Finding:
    """A claim with the effect that was measured for it, and the verdict."""

    claim: Claim
    effect: Effect | None  # None where the effect could not be computed
    verdict: Verdict
    reason: str  # why not run or undecided, what weakens it, and which cells are missing


def claim_from_json(value: Mapping[str, Any]) -> Claim:
    """Read a claim from study.json, where null stands for an open end of the region."""
    low, high = value["region"]
    region = (float("-inf") if low is None else low, float("inf") if high is None else high)
    against = Group(**value["against"]) if value["against"] else None
    return Claim(**{**value, "of": Group(**value["of"]), "against": against, "region": region})


def assess(frames: Frames) -> list[Finding]:
    """Judge the study's claims, which are stored with its records."""
    claims = [claim_from_json(value) for value in frames.study.get("claims", [])]
    # Computing the leads is slow, so all claims on the importances of one condition share them.
    leads = functools.cache(functools.partial(importance_leads, frames))
    return [
        _lead(claim, leads(claim.of.condition))
        if claim.metric.startswith(IMPORTANCE)
        else _assess(claim, frames)
        for claim in claims
    ]


def _lead(claim: Claim, leads: dict[str, Effect] | str) -> Finding:
    parameter, condition = claim.metric.removeprefix(IMPORTANCE), claim.of.condition
    if isinstance(leads, str):
        return Finding(claim, None, "not run", leads)
    if (lead := leads.get(parameter)) is None:
        return Finding(
            claim, None, "not run", f"{parameter} did not vary in the search of {condition}"
        )
    return Finding(claim, lead, verdict(lead, claim.region), "")


def _assess(claim: Claim, frames: Frames) -> Finding:
    groups = [claim.of] if claim.against is None else [claim.of, claim.against]
    found = [_values(group, claim.metric, frames) for group in groups]
    if lacking := dict.fromkeys(note for values, note in found if not values):
        return Finding(claim, None, "not run", "; ".join(lacking))
    notes = list(dict.fromkeys(note for _, note in found if note))
    columns = [values for values, _ in found]
    paired = len({(group.condition, group.config) for group in groups}) < len(groups)
    if paired:  # the groups are two moments of the same cells
        columns = [{key: v[key] for key in columns[0] if key in columns[1]} for v in columns]
    try:
        measured = effect(*(list(v.values()) for v in columns), log=claim.log, paired=paired)
    except ValueError as error:
        return Finding(claim, None, "undecided", "; ".join([str(error), *notes]))
    if min(measured.n) == 1:
        notes.insert(0, "one seed gives no interval")
    elif all(len(set(v.values())) == 1 for v in columns):
        notes.insert(0, "equal values give an interval without width, however few they are")
    return Finding(claim, measured, verdict(measured, claim.region), "; ".join(notes))


def _values(group: Group, metric: str, frames: Frames) -> tuple[dict[str, float], str]:
    """The metric of a group's finished confirm cells, and a text that says what is missing.

    The values are keyed by the cells' ids. There are none where the metric was not measured, or
    where no confirm cell of the group has it.
    """
    name = f"{group.condition} ({group.config})"
    cells = frames.cells
    if reason := frames.study.get("left_out", {}).get(group.condition):
        return {}, f"{group.condition} left out: {reason}"
    if group.condition not in frames.conditions:
        return {}, f"no condition {group.condition}: the study has {', '.join(frames.conditions)}"
    chosen = (
        cells["phase"].eq("confirm")
        & cells["condition"].eq(group.condition)
        & cells[FLAGS[group.config]]
    )
    mine = cells[chosen]
    if mine.empty:
        return {}, f"no confirm cells of {name} yet"
    finished = mine[mine["outcome"].eq("complete")]
    ended = Counter(mine["outcome"][mine["outcome"].ne("complete")])
    notes = [f"{n} of {len(mine)} cells of {name} {o.replace('_', ' ')}" for o, n in ended.items()]
    if metric not in frames.ticks.columns:
        return {}, f"{metric} was not measured"
    values = {row["id"]: _at(group, metric, row, frames.ticks) for _, row in finished.iterrows()}
    kept = {key: v for key, v in values.items() if v == v}  # a NaN: the tick lacks the metric
    if len(kept) < len(values):
        which = f"{len(values) - len(kept)} of {len(values)}"
        notes.append(f"{metric} missing in {which} cells of {name} at its {group.at} tick")
    return kept, "; ".join(notes)


def _at(group: Group, metric: str, cell: pd.Series[Any], ticks: pd.DataFrame) -> float:
    mine = ticks[ticks["id"].eq(cell["id"])].sort_values("kimg")
    if group.at == "start":
        mine = mine[mine["kimg"].eq(0)]
    elif group.at == "early":
        mine = mine[mine["kimg"].gt(0)]
    elif group.at == "best":
        mine = mine[mine["kimg"].eq(cell["best_kimg"])]
    elif group.at == "largest_relapse":
        values = mine[metric][mine["kimg"].gt(0)].dropna()
        return float((values / values.cummin()).max())
    if mine.empty:
        return float("nan")
    return float(mine[metric].iloc[-1 if group.at == "last" else 0])


def collapse_kimg(ticks: pd.DataFrame, objective: str) -> float | None:
    """The first kimg after a cell's best tick at which the objective is worse than twice its best.

    `ticks` are those of one cell. None where this never happens, or nothing was measured.
    """
    if objective not in ticks.columns:
        return None
    values = ticks.sort_values("kimg")[["kimg", objective]].dropna()
    if values.empty:
        return None
    best = values.iloc[int(values[objective].argmin())]
    later = values[values["kimg"].gt(best["kimg"])]
    collapsed = later[later[objective].gt(COLLAPSED * best[objective])]
    return None if collapsed.empty else float(collapsed["kimg"].iloc[0])
