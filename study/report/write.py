"""Writes a study's report and tables into its folder, from the records alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from study.records.files import write_atomically
from study.records.records import Records

if TYPE_CHECKING:
    import pandas as pd

    from search_spaces.core import Group
    from study.report.verdicts import Finding


def claims_frame(records: Records) -> pd.DataFrame:
    """The study's claims with their verdicts, one row each.

    Claims are judged on the confirm cells. Only claims on importances are judged on search cells.

    Columns: id, primary (whether it is one of the claims that are judged together), text, source
    (what was measured where the claim comes from), metric, of, against, effect, low and high (the
    interval), n_of and n_against (the number of values in each group), interquartile (the effect of
    the middle halves), improvement (the probability that a value of the one group is above one of
    the other), region, verdict, reason (why the claim is not run or undecided, what weakens the
    verdict, which cells are missing).
    """
    from study.records.frames import Frames
    from study.report.evidence import assess

    return frame_of(assess(Frames.read(records)))


@dataclass(frozen=True)
class Report:
    page: Path  # report.html
    cells: pd.DataFrame  # as `Records.cells`
    claims: pd.DataFrame  # as `claims_frame`


def write_report(records: Records) -> Report:
    """Write report.html, cells.csv, ticks.csv and claims.csv into the study's folder."""
    from study.records.frames import Frames
    from study.report.evidence import assess
    from study.report.page import render

    frames = Frames.read(records)
    findings = assess(frames)
    tables = {"cells": frames.cells, "ticks": frames.ticks, "claims": frame_of(findings)}
    for name, frame in tables.items():
        content: str = frame.to_csv(index=False)
        write_atomically(records.folder / f"{name}.csv", content.encode())
    path = records.folder / "report.html"
    write_atomically(path, render(records, frames, findings).encode())
    return Report(path, frames.cells, tables["claims"])


def frame_of(findings: Sequence[Finding]) -> pd.DataFrame:
    """Findings as the rows of `claims_frame`."""
    import pandas as pd

    columns = ["id", "primary", "text", "source", "metric", "of", "against", "effect", "low"]
    columns += ["high", "n_of", "n_against", "interquartile", "improvement", "region", "verdict"]
    columns += ["reason"]
    return pd.DataFrame([_row(one) for one in findings], columns=columns)


def _row(finding: Finding) -> dict[str, object]:
    claim, measured = finding.claim, finding.effect
    n = (measured.n if measured else ()) + (None, None)
    return {
        "id": claim.id,
        "primary": claim.primary,
        "text": claim.text,
        "source": claim.source,
        "metric": claim.quantity,
        "of": _group(claim.of),
        "against": _group(claim.against) if claim.against else None,
        "effect": measured.value if measured else None,
        "low": measured.low if measured else None,
        "high": measured.high if measured else None,
        "n_of": n[0],
        "n_against": n[1],
        "interquartile": finding.interquartile,
        "improvement": finding.improvement,
        "region": f"[{claim.region[0]:g}, {claim.region[1]:g}]",
        "verdict": finding.verdict,
        "reason": finding.reason,
    }


def _group(group: Group) -> str:
    return f"{group.condition} {group.config} {group.at}"
