"""Links to MLflow's page that compares the best cells of a study."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import quote

from study.records.records import Records

MAX_COMPARED = 8  # runs; side by side, more are unreadable


def best_cells(records: Records) -> list[str]:
    """Ids of the best finished confirm cells by their last objective, at most MAX_COMPARED.

    The best cell of every condition comes first, then the second best of every condition, and so
    on.
    """
    kept = records.confirmed()
    kept["rank"] = kept.groupby("condition").cumcount()
    ids: list[str] = kept.sort_values(["rank", "condition"])["id"].head(MAX_COMPARED).to_list()
    return ids


def compare_link(
    address: str, uri: str, name: str, folder: str, cells: Sequence[str]
) -> str | None:
    """The address of MLflow's page that compares the runs of some cells.

    Args:
        address: of MLflow's UI.
        uri: of MLflow's store, in which the runs are looked up.
        name: of the experiment.
        folder: the value of the runs' tag "folder", which tells this study's runs from others.
        cells: ids of the cells.

    Returns: None where MLflow has none of the runs.
    """
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return None
    number = experiment.experiment_id
    tags = [f"tags.folder = '{folder}' and tags.cell = '{cell}'" for cell in cells]
    found = [client.search_runs([number], tag, max_results=1) for tag in tags]
    ids = [runs[0].info.run_id for runs in found if runs]
    if not ids:
        return None
    return f"{address}/{compare_page(ids, number)}"


def compare_page(runs: Sequence[str], experiment: str) -> str:
    """The page of MLflow's UI that compares `runs` of an `experiment` (ids), as a relative link."""
    lists = (quote(json.dumps(ids, separators=(",", ":"))) for ids in (runs, [experiment]))
    return "#/compare-runs?runs={}&experiments={}".format(*lists)
