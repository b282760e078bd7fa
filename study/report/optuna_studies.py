"""The searches as Optuna studies, for optuna-dashboard and for Optuna's own plots.

They are made from the records alone. The search itself does not read them.
"""

from __future__ import annotations

import datetime
import re
import warnings
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from study.planning.space import STATES, distributions
from study.records.records import Records


def export(records: Records, url: str) -> list[str]:
    """Write each search that has ended cells as a study into a database of Optuna's.

    Args:
        url: of the database, as Optuna takes it: sqlite:///FILE, for example.

    Returns: the names of the Optuna studies: STUDY/CONDITION, and "/search 1" and so on for the
        further searches of a condition.

    Raises:
        ValueError: no search cell has ended; the database cannot be used, or has one of these
            studies already (one line).
    """
    searches = _searches(records)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    try:
        storage = optuna.storages.get_storage(url)
        there = {study.study_name for study in storage.get_all_studies()}
    except Exception as error:  # SQLAlchemy and the databases' drivers raise many kinds
        raise ValueError(_discreet(f"--optuna {url}: {str(error).splitlines()[0]}")) from None
    if taken := sorted(searches.keys() & there):
        line = f"--optuna {url} has a study {taken[0]!r} already: name another file"
        raise ValueError(_discreet(line))
    for name, trials in searches.items():
        _make(records, name, trials, storage)
    return list(searches)


def _discreet(line: str) -> str:
    """A line without the passwords of the addresses in it."""
    line = re.sub(r"(://[^\s/@:]*):[^\s@]*@", r"\1:***@", line)
    return re.sub(r"(pass\w*|pwd|token)=[^&\s]*", r"\1=***", line, flags=re.IGNORECASE)


def study_of(records: Records, condition: str, search: int = 0) -> optuna.Study:
    """One search as an Optuna study in memory.

    Raises:
        ValueError: no cell of such a search has ended (one line).
    """
    searches, name = _searches(records), _name(records, condition, search)
    if name not in searches:
        raise ValueError(f"there is no search {name!r}: choose from {' | '.join(searches)}")
    return _make(records, name, searches[name], optuna.storages.InMemoryStorage())


def _name(records: Records, condition: str, search: int) -> str:
    name = f"{records.study()['definition']['study']}/{condition}"
    return f"{name}/search {search}" if search else name


def _searches(records: Records) -> dict[str, list[FrozenTrial]]:
    """The trials of each search that has ended cells, by the name of its Optuna study.

    Raises:
        ValueError: no search cell has ended.
    """
    found: dict[str, list[FrozenTrial]] = {}
    definition = records.study()["definition"]
    cells = [records.cell(cell_id) for cell_id in records.ids()]
    for cell in sorted(cells, key=lambda cell: cell["number"] or 0):
        if cell["phase"] == "search" and (result := records.result(cell["id"])):
            name = _name(records, cell["condition_name"], cell["search"])
            found.setdefault(name, []).append(_trial(records, cell, result, definition))
    if not found:
        raise ValueError(f"{records.folder} has no search cell that has ended")
    return found


def _make(
    records: Records,
    name: str,
    trials: Sequence[FrozenTrial],
    storage: optuna.storages.BaseStorage,
) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    objective, direction = records.objective()
    study = optuna.create_study(study_name=name, storage=storage, direction=direction)
    study.set_metric_names([objective])
    study.add_trials(trials)
    return study


def _trial(
    records: Records, cell: dict[str, Any], result: dict[str, Any], definition: dict[str, Any]
) -> FrozenTrial:
    """A cell as a trial, whose attributes say which cell it is and how it ended."""
    objective, rows = definition["objective"], records.rows(cell["id"])
    state = TrialState[STATES.get(result["outcome"], "FAIL")]
    trial = optuna.trial.create_trial(
        state=state,
        value=rows[-1][objective] if state == TrialState.COMPLETE else None,
        params=cell["suggested"],
        distributions=distributions(definition["space"], cell["suggested"]),
        # The value before training says nothing about a configuration.
        intermediate_values={row["kimg"]: row[objective] for row in rows if row["kimg"] > 0},
        user_attrs={
            "cell": cell["id"],
            "number": cell["number"],
            "outcome": result["outcome"],
            "sampled by": cell["sampled_by"],
        },
    )
    if attempts := records.attempts(cell["id"]):
        trial.datetime_start = _local(attempts[0]["started"])
    trial.datetime_complete = _local(result["ended"])
    return trial


def _local(time: str) -> datetime.datetime:
    """A recorded time as Optuna writes times: local, without a time zone."""
    return datetime.datetime.fromisoformat(time).astimezone().replace(tzinfo=None)
