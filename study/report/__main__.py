"""The report's command line. It writes one self-contained page and CSVs, from the records alone.

    python -m study.report NAME [--storage DIR] [--register] [--tracking-uri URI]

The report works offline and at any time, also before or while cells run. Where something is
missing, the page says so. `--register` also publishes the best generator of each condition in
MLflow's model registry, in the store that `--tracking-uri` names.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from study.arguments import storage_folder
from study.errors import BadInputError
from study.planning.mlflow_store import check_uri, store_uri
from study.records.folders import find_study
from study.report.write import write_report


def main(arguments: Sequence[str] | None = None) -> int:
    about = "Write report.html, cells.csv, ticks.csv and claims.csv into the study's folder."
    parser = argparse.ArgumentParser(prog="python -m study.report", description=about)
    parser.add_argument("name", metavar="NAME", help="the study: a folder of the storage")
    parser.add_argument("--storage", type=storage_folder, default="runs", help="default: runs")
    about = "publish the best generator of each condition in MLflow's model registry"
    parser.add_argument("--register", action="store_true", help=about)
    parser.add_argument("--tracking-uri", metavar="URI", help="default: sqlite in the storage")
    asked = parser.parse_args(arguments)
    try:
        records, lines = find_study(asked.storage, asked.name), []
        if asked.register:
            from study.tracking.register import register

            lines = register(records, _store(asked.storage, asked.tracking_uri))
        elif asked.tracking_uri:
            raise ValueError("--tracking-uri is for --register: the report needs the records alone")
        print(write_report(records), *lines, sep="\n")
    except (ValueError, OSError) as error:  # no such study, damaged file, store not reachable
        print(f"study.report: {error}", file=sys.stderr)
        return 2
    return 0


def _store(storage: Path, tracking_uri: str | None) -> str:
    """The URI of MLflow's store: `tracking_uri` if given, or else the storage folder's store.

    Raises:
        ValueError: the storage folder has no store, or `tracking_uri` is refused by `check_uri`.
    """
    if tracking_uri is None:
        return store_uri(storage)
    try:
        check_uri(tracking_uri)
    except BadInputError as error:
        raise ValueError(error) from None
    return tracking_uri


if __name__ == "__main__":
    sys.exit(main())
