"""The tables of the report's page: cells, seeds and how cells ended."""

from __future__ import annotations

from typing import Any

from study.records.frames import FLAGS, Frames, natural
from study.records.records import Records
from study.report.evidence import collapse_kimg, failure_known, failures
from study.report.stats import rate

MAX_CELLS = 500  # in the table of cells


def failed_seeds(frames: Frames) -> list[dict[str, Any]]:
    """One table row per condition and configuration: how many of its seeds failed."""
    found, confirm = [], frames.cells[frames.cells["phase"].eq("confirm")]
    failed, known = failures(frames.study, confirm), failure_known(frames.study, confirm)
    told = confirm["outcome"].isin(["complete", "diverged"])
    for condition in frames.conditions:
        for config, flag in FLAGS.items():
            mine = confirm["condition"].eq(condition) & confirm[flag] & told
            if n := int(mine.sum()):
                count = int(failed[mine].sum())
                _, low, high = rate(count, n)
                row = {"condition": condition, "config": config, "failed": count, "n": n}
                row["known"] = bool(known[mine].all())
                row["searches"] = frames.study["definition"]["searches"] if config == "best" else 1
                found.append(row | {"low": low, "high": high})
    return found


def cells(frames: Frames) -> list[dict[str, Any]]:
    """One table row per confirm cell: its best tick, its last tick, and where it collapsed.

    Of many cells, those with the lowest seeds.
    """
    rows, objective = [], frames.objective
    confirm = frames.cells[frames.cells["phase"].eq("confirm")]
    confirm = confirm.sort_values("seed", kind="stable").head(MAX_CELLS)
    ticks = frames.ticks[frames.ticks["id"].isin(confirm["id"])]
    by_cell = dict(list(ticks.groupby("id")))
    for cell in confirm.to_dict("records"):
        flags = [config for config, flag in FLAGS.items() if cell[flag]]
        mine = by_cell.get(cell["id"], ticks.iloc[:0])
        rows.append(
            {
                "condition": cell["condition"],
                "config": " = ".join(flags) or "an earlier best",
                "seed": cell["seed"],
                "outcome": cell["outcome"],
                "kimg": cell["kimg"],
                "best": cell.get(f"best/{objective}"),
                "best_kimg": cell["best_kimg"],
                "last": cell.get(f"last/{objective}"),
                "collapse": collapse_kimg(mine, objective, frames.directions[objective]),
                "accuracy": cell.get("last/label_accuracy"),
                "variance": cell.get("last/variance_ratio"),
                "seconds": cell["seconds"],
                "id": cell["id"],
            }
        )
    return sorted(rows, key=lambda r: (natural(r["condition"]), r["config"] == "best", r["seed"]))


def outcomes(records: Records, frames: Frames) -> dict[str, Any]:
    """How the cells ended, counted by condition and phase. "open" counts those that have not."""
    names = sorted(set(frames.cells["outcome"]), key=lambda o: (o != "complete", o))
    rows = []
    for condition in frames.conditions:
        for phase in ("search", "confirm"):
            cells = frames.cells
            mine = cells[cells["condition"].eq(condition) & cells["phase"].eq(phase)]
            if len(mine):
                counts = [int(mine["outcome"].eq(name).sum()) for name in names]
                rows.append({"condition": condition, "phase": phase, "counts": counts})
    return {"names": names, "rows": rows, "open": len(records.ids()) - len(frames.cells)}


def seeds(frames: Frames) -> dict[str, str]:
    phases = {}
    for phase in ("confirm", "search"):
        seeds = sorted(set(frames.cells[frames.cells["phase"].eq(phase)]["seed"]))
        listed = ", ".join(map(str, seeds[:20])) or "none yet"
        phases[phase] = listed + (f", ... ({len(seeds)} in all)" if len(seeds) > 20 else "")
    return phases
