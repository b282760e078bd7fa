"""The report: one self-contained page, and CSVs beside it, from the records alone.

    python -m study.report NAME [--storage DIR] [--register]

Works offline and at any moment of a study's life: what is missing is said in words. `--register`
publishes the best generator of each condition in MLflow's model registry.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from study.arguments import place
from study.records import Records, study_folder, write_atomically

if TYPE_CHECKING:
    import pandas as pd

    from search_spaces.core import Group
    from study.findings import Judged


def find(storage: Path, name: str) -> Records:
    """The records of a study under a storage folder.

    Raises:
        ValueError: there are none (one line, with the names that are there).
    """
    folders = sorted(path.parent.name for path in storage.glob("*/study.json"))
    if name not in folders:
        there = ", ".join(folders) or "none"
        raise ValueError(f"no records of study {name!r} in {storage}: there are {there}")
    return Records(study_folder(storage, name))


def claims_frame(records: Records) -> pd.DataFrame:
    """The study's claims, one row each, judged on the confirm cells.

    Those on importances are judged on the search cells.

    Columns: id, text, metric, of, against, effect, low, high (95 % interval), n_of, n_against,
    region, verdict, reason (why not run or undecided, what weakens it, which cells are not in it).
    """
    from study.findings import judge
    from study.frames import Frames

    return _frame(judge(Frames.read(records)))


def write(records: Records) -> Path:
    """Write report.html, cells.csv, ticks.csv and claims.csv into the study's folder.

    Returns: the page's path.
    """
    from study.findings import judge
    from study.frames import Frames
    from study.page import render

    frames = Frames.read(records)
    judged = judge(frames)
    tables = {"cells": frames.cells, "ticks": frames.ticks, "claims": _frame(judged)}
    for name, frame in tables.items():
        content: str = frame.to_csv(index=False)
        write_atomically(records.folder / f"{name}.csv", content.encode())
    path = records.folder / "report.html"
    write_atomically(path, render(records, frames, judged).encode())
    return path


def _frame(judged: Sequence[Judged]) -> pd.DataFrame:
    import pandas as pd

    columns = ["id", "text", "metric", "of", "against", "effect", "low", "high", "n_of"]
    columns += ["n_against", "region", "verdict", "reason"]
    return pd.DataFrame([_row(one) for one in judged], columns=columns)


def _row(judged: Judged) -> dict[str, object]:
    claim, measured = judged.claim, judged.effect
    n = (measured.n if measured else ()) + (None, None)
    return {
        "id": claim.id,
        "text": claim.text,
        "metric": claim.metric,
        "of": _group(claim.of),
        "against": _group(claim.against) if claim.against else None,
        "effect": measured.value if measured else None,
        "low": measured.low if measured else None,
        "high": measured.high if measured else None,
        "n_of": n[0],
        "n_against": n[1],
        "region": f"[{claim.region[0]:g}, {claim.region[1]:g}]",
        "verdict": judged.verdict,
        "reason": judged.reason,
    }


def _group(group: Group) -> str:
    return f"{group.condition} {group.config} {group.at}"


def main(arguments: Sequence[str] | None = None) -> int:
    about = "Write report.html, cells.csv, ticks.csv and claims.csv into the study's folder."
    parser = argparse.ArgumentParser(prog="python -m study.report", description=about)
    parser.add_argument("name", metavar="NAME", help="the study: a folder of the storage")
    parser.add_argument("--storage", type=place, default="runs", help="default: runs")
    about = "publish the best generator of each condition in MLflow's model registry"
    parser.add_argument("--register", action="store_true", help=about)
    parser.add_argument("--tracking-uri", metavar="URI", help="default: sqlite in the storage")
    asked = parser.parse_args(arguments)
    try:
        records, lines = find(asked.storage, asked.name), []
        if asked.register:
            from study.register import register

            lines = register(records, _store(asked.storage, asked.tracking_uri))
        elif asked.tracking_uri:
            raise ValueError("--tracking-uri is for --register: the report needs the records alone")
        print(write(records), *lines, sep="\n")
    except (ValueError, OSError) as error:  # no such study, a damaged file, a store that is away
        print(f"study.report: {error}", file=sys.stderr)
        return 2
    return 0


def _store(storage: Path, tracking_uri: str | None) -> str:
    """MLflow's store: the one named, or the storage folder's.

    Raises:
        ValueError: there is none.
    """
    from study.places import check_uri
    from study.prepare import BadInputError
    from study.ui import store_uri

    if tracking_uri is None:
        return store_uri(storage)
    try:
        check_uri(tracking_uri)
    except BadInputError as error:
        raise ValueError(error) from None
    return tracking_uri


if __name__ == "__main__":
    sys.exit(main())
