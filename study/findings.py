"""What the records say: verdicts on the claims, collapse points, importances."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search_spaces.core import Claim, Group
from study.stats import Effect, Verdict, effect

if TYPE_CHECKING:
    import pandas as pd

    from study.records import Records

FLAGS = {"reference": "is_reference", "best": "is_best"}  # configuration -> its column
FEWEST_FOR_IMPORTANCES = 4  # finished search cells
COLLAPSED = 2.0  # times the best objective


@dataclass(frozen=True)
class Frames:
    """The records as frames, each read once. Flags are proper booleans, even where nothing ran."""

    study: Mapping[str, Any]  # study.json
    cells: pd.DataFrame
    ticks: pd.DataFrame

    @classmethod
    def read(cls, records: Records) -> Frames:
        cells, ticks = records.cells(), records.ticks()
        for frame in (cells, ticks):
            for flag in FLAGS.values():
                frame[flag] = frame[flag].eq(True)
        return cls(records.study(), cells, ticks)

    @property
    def objective(self) -> str:
        return str(self.study["definition"]["objective"])

    @property
    def conditions(self) -> list[str]:
        """Every condition that the study has or has cells of; 5 comes before 10."""
        names = {*self.study.get("reference", {}), *self.cells["condition"]}
        return sorted(names, key=natural)

    def confirm(self) -> pd.DataFrame:
        """The ticks of the confirm cells."""
        return self.ticks[self.ticks["phase"].eq("confirm")]


@dataclass(frozen=True)
class Judged:
    """A claim beside what was measured."""

    claim: Claim
    effect: Effect | None  # None where it could not be computed
    verdict: Verdict
    reason: str  # why not run or undecided, and which cells are not in it


def natural(text: str) -> list[tuple[bool, float, str]]:
    """Sort key that takes digits as numbers: classes=5 before classes=10."""
    parts = re.split(r"(\d+)", text)
    return [(p.isdigit(), float(p) if p.isdigit() else 0.0, p) for p in parts if p]


def claim_from_json(value: Mapping[str, Any]) -> Claim:
    """A claim as study.json holds it, where an open end of the region is null."""
    low, high = value["region"]
    region = (float("-inf") if low is None else low, float("inf") if high is None else high)
    against = Group(**value["against"]) if value["against"] else None
    return Claim(**{**value, "of": Group(**value["of"]), "against": against, "region": region})


def judge(frames: Frames) -> list[Judged]:
    """The study's claims, as stored with the records, each with its verdict."""
    return [_judge(claim_from_json(value), frames) for value in frames.study.get("claims", [])]


def _judge(claim: Claim, frames: Frames) -> Judged:
    groups = [claim.of] if claim.against is None else [claim.of, claim.against]
    found = [_values(group, claim.metric, frames) for group in groups]
    if lacking := dict.fromkeys(note for values, note in found if not values):
        return Judged(claim, None, "not run", "; ".join(lacking))
    notes = list(dict.fromkeys(note for _, note in found if note))
    columns = [values for values, _ in found]
    paired = len({(group.condition, group.config) for group in groups}) < len(groups)
    if paired:  # two moments of the same cells
        columns = [{key: v[key] for key in columns[0] if key in columns[1]} for v in columns]
    try:
        measured = effect(*(list(v.values()) for v in columns), log=claim.log, paired=paired)
    except ValueError as error:
        return Judged(claim, None, "undecided", "; ".join([str(error), *notes]))
    if min(measured.n) == 1:
        notes.insert(0, "one seed gives no interval")
    return Judged(claim, measured, measured.verdict(claim.region), "; ".join(notes))


def _values(group: Group, metric: str, frames: Frames) -> tuple[dict[str, float], str]:
    """One value per finished confirm cell of a group by its id, and what is missing in words."""
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
    kept = {key: v for key, v in values.items() if v == v}  # NaN where a tick lacks the metric
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
    elif group.at == "setback":
        values = mine[metric][mine["kimg"].gt(0)].dropna()
        return float((values / values.cummin()).max())
    if mine.empty:
        return float("nan")
    return float(mine[metric].iloc[-1 if group.at == "last" else 0])


def collapse_kimg(ticks: pd.DataFrame, objective: str) -> float | None:
    """First kimg after a cell's best tick where the objective is worse than twice its best."""
    if objective not in ticks.columns:
        return None
    values = ticks.sort_values("kimg")[["kimg", objective]].dropna()
    if values.empty:
        return None
    best = values.iloc[int(values[objective].argmin())]
    later = values[values["kimg"].gt(best["kimg"])]
    collapsed = later[later[objective].gt(COLLAPSED * best[objective])]
    return None if collapsed.empty else float(collapsed["kimg"].iloc[0])


def importances(records: Records, frames: Frames, condition: str) -> dict[str, float] | str:
    """Share of each search parameter in the objective (PED-ANOVA), or why there are none."""
    import optuna

    space = frames.study["definition"].get("space") or {}
    if not space:
        return "the study has no search space"
    cells = frames.cells
    mine = cells[
        cells["phase"].eq("search")
        & cells["condition"].eq(condition)
        & cells["outcome"].eq("complete")
    ]
    last = f"last/{frames.objective}"
    finished = mine[mine[last].notna()] if last in mine.columns else mine.iloc[:0]
    if len(finished) < FEWEST_FOR_IMPORTANCES:
        need = f"at least {FEWEST_FOR_IMPORTANCES} are needed"
        return f"not computed: {len(finished)} finished search cells, {need}"
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rebuilt = optuna.create_study(direction="minimize")
    to_distribution = optuna.distributions.json_to_distribution
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    try:
        for cell_id, value in zip(finished["id"], finished[last], strict=True):
            params = records.cell(cell_id).get("suggested") or {}
            known = {k: to_distribution(json.dumps(space[k])) for k in params if k in space}
            rebuilt.add_trial(
                optuna.trial.create_trial(
                    params={k: params[k] for k in known}, distributions=known, value=float(value)
                )
            )
        found = optuna.importance.get_param_importances(rebuilt, evaluator=evaluator)
    except (ValueError, RuntimeError) as error:  # e.g. a value that --set forced out of the space
        return f"not computed: {error}"
    return {str(k): float(v) for k, v in found.items()} or "not computed: no parameter varied"
