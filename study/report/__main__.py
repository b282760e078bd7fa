"""The report's command line. It writes one self-contained page and CSVs, from the records alone.

    python -m study.report NAME [--storage DIR] [--mirror] [--register [--study FILE]]
        [--tracking-uri URI] [--optuna URL]
    python -m study.report [NAME ...] --table FILE [--storage DIR]

The report works offline and at any time, also before or while cells run. Where something is
missing, the page says so. `--mirror` also copies to MLflow whatever MLflow lacks of the records,
and takes the time that it needs. `--register` publishes the best generator of each condition in
MLflow's model registry; where a variant is not this project's, `--study` names the study's own
file. Both use the store that `--tracking-uri` names. `--optuna` writes the
searches as Optuna studies into a database, for optuna-dashboard. `--table` writes one table of the
claims of several studies, or of all that the storage holds, and no report.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from study.arguments import storage_folder
from study.errors import BadInputError
from study.planning.mlflow_store import check_uri, store_uri
from study.records.folders import find_studies, find_study
from study.records.records import Records
from study.report.write import write_report


def main(arguments: Sequence[str] | None = None) -> int:
    about = "Write report.html, cells.csv, ticks.csv and claims.csv into the study's folder."
    parser = argparse.ArgumentParser(prog="python -m study.report", description=about)
    about = "the study: a folder of the storage; with --table several, or none for all"
    parser.add_argument("names", metavar="NAME", nargs="*", help=about)
    parser.add_argument("--storage", type=storage_folder, default="runs", help="default: runs")
    about = "copy to MLflow whatever it lacks, however long that takes"
    parser.add_argument("--mirror", action="store_true", help=about)
    about = "publish the best generator of each condition in MLflow's model registry"
    parser.add_argument("--register", action="store_true", help=about)
    about = "with --register: the study's own file, if its variants are not this project's"
    parser.add_argument("--study", metavar="FILE", help=about)
    parser.add_argument("--tracking-uri", metavar="URI", help="default: sqlite in the storage")
    about = "write the searches as Optuna studies into this database: sqlite:///FILE"
    parser.add_argument("--optuna", metavar="URL", help=about)
    about = "write the claims of the studies as one table: FILE.md, FILE.csv or FILE.tex"
    parser.add_argument("--table", metavar="FILE", type=Path, help=about)
    asked = parser.parse_args(arguments)
    try:
        if asked.table:
            if asked.mirror or asked.register or asked.optuna or asked.study or asked.tracking_uri:
                raise ValueError("--table goes with no other option but --storage")
            from study.report.results import write_results

            studies = find_studies(asked.storage, asked.names)
            write_results(asked.table, studies if asked.names else _readable(studies))
            print(asked.table)
            return 0
        if len(asked.names) != 1:
            raise ValueError(f"NAME={' '.join(asked.names)!r}: one study is needed")
        records, lines = find_study(asked.storage, asked.names[0]), []
        if asked.tracking_uri and not (asked.mirror or asked.register):
            line = "--tracking-uri is for --mirror and --register: the report needs records alone"
            raise ValueError(line)
        if asked.register:
            from study.planning import sources
            from study.tracking.register import register

            if asked.study:
                sources.declared(asked.study)
            lines = register(records, _store(asked.storage, asked.tracking_uri))
        if asked.optuna:
            from study.report.optuna_studies import export

            lines += [f"optuna: {name}" for name in export(records, asked.optuna)]
        if asked.mirror:
            page = _mirror(records, asked.storage, asked.tracking_uri)
            lines.append(f"mlflow: up to date with {len(records.ids())} cells")
        else:
            page = write_report(records).page
        print(page, *lines, sep="\n")
    # There is no such study, a file is damaged, a store cannot be reached, or the study is running.
    except (ValueError, OSError, BadInputError) as error:
        print(f"study.report: {error}", file=sys.stderr)
        return 2
    return 0


def _readable(studies: Sequence[Records]) -> list[Records]:
    """Those of all studies of a storage that this version can read. It says which are left out."""
    found = []
    for records in studies:
        try:
            records.study()
        except (ValueError, OSError) as error:
            print(f"study.report: left out: {error}", file=sys.stderr)
        else:
            found.append(records)
    return found


def _mirror(records: Records, storage: Path, tracking_uri: str | None) -> Path:
    """Write the report, and bring MLflow up to date. Returns the page's path.

    Raises:
        BadInputError: a command is running the study, or MLflow's URI is bad or missing.
        ValueError: MLflow could not be brought up to date (one line).
    """
    from study.planning import places
    from study.planning.mlflow_store import default_uri
    from study.planning.prepare import lock
    from study.tracking.mlflow_mirror import Mirror

    places.check(storage, tracking_uri, None)
    uri = tracking_uri or default_uri(storage)
    with lock(records.folder):
        report = write_report(records)
        verdicts = dict(zip(report.claims["id"], report.claims["verdict"], strict=True))
        mirror = Mirror(uri, storage, records)
        mirror.close(report.page, verdicts, bool(records.study()["runs"][-1].get("finished")))
    if mirror.problem:
        raise ValueError(f"mlflow: {uri} is behind ({mirror.problem})")
    return report.page


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
