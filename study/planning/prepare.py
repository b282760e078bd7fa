"""Prepare a study before its first trial: refuse bad input, load the data, write study.json."""

from __future__ import annotations

import dataclasses
import json
import math
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import search_spaces
import trainables
from search_spaces.core import Budget, Claim, Study
from study.errors import BadInputError
from study.planning import validation
from study.planning.plan import Plan, difference
from study.records import environment
from study.records.lock import Lock, LockedError, take
from study.records.records import FORMAT, Records, write_json
from trainables.data import DataError

if TYPE_CHECKING:
    from study.planning.resources import Resources
    from trainables.data import Dataset

# The fields of a budget that --set can change.
BUDGET_KEYS = ("kimg", "search_kimg", "tick_kimg", "samples", "search_parallelism")
MAX_CHANGES_NAMED = 4  # differences that a message names of a changed definition


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """["lr=1e-3", "d_norm=sn"] -> {"lr": 0.001, "d_norm": "sn"}. What is not JSON is text.

    Raises:
        BadInputError: a setting is not of the form key=value.
    """
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise BadInputError(f"--set {setting!r}: write key=value")
        try:
            values[key] = json.loads(text)
        except (ValueError, RecursionError):
            values[key] = text
    return values


def resolve_budget(
    study: Study, scale: str, trials: int | None, seeds: int | None, settings: dict[str, Any]
) -> Budget:
    """The budget of a scale, changed by --trials, --seeds and those --set keys that belong to it.

    These keys are removed from `settings`, which then holds hyperparameters only.

    Raises:
        BadInputError: a value is not a whole number, or is out of range.
    """
    budget = study.scales[scale]  # type: ignore[index]
    changed = {key: settings.pop(key) for key in BUDGET_KEYS if key in settings}
    for key, value in changed.items():
        if not isinstance(value, int) or isinstance(value, bool):
            raise BadInputError(f"--set {key}={value!r}: give a whole number")
    counts = {"trials": trials, "seeds": seeds}
    changed |= {key: value for key, value in counts.items() if value is not None}
    try:
        return dataclasses.replace(budget, **changed)
    except ValueError as error:
        raise BadInputError(str(error)) from None


def check(plan: Plan) -> Plan:
    """Check a plan, and convert its --set values to the types of the hyperparameters.

    Raises:
        BadInputError: an unknown variant, metric, hyperparameter or condition; a bad value; no
            condition that the data allow; a space that cannot be used; too few samples.
    """
    valid = ", ".join(plan.study.conditions)
    if plan.only is not None and plan.only not in plan.study.conditions:
        raise BadInputError(f"unknown condition {plan.only!r}: choose one of {valid}")
    if not plan.conditions:
        reasons = "; ".join(f"{name}: {why}" for name, why in plan.left_out.items())
        raise BadInputError(f"no condition is left to run: {reasons}")
    factors = {key for c in plan.study.conditions.values() for key in c} - {"classes", "variant"}
    for key in plan.overrides:
        if key in factors:
            raise BadInputError(f"--set {key}: the conditions of {plan.name} differ in it")
    typed: dict[str, Any] = {}
    try:
        validation.check_metrics(plan.study, plan.data_spec)
        for name in plan.study.conditions:
            config = trainables.load(plan.variant(name)).config_type.parse(
                plan.hyperparameters(name)
            )
            validation.check_data_spec(plan, name, config)
            dumped = config.model_dump(mode="json")
            typed = {key: dumped[key] for key in plan.overrides}
    except ValueError as error:
        line = str(error)
        if line.startswith("unknown hyperparameter"):
            line += f", or of the budget: {', '.join(BUDGET_KEYS)}"
        raise BadInputError(line) from None
    plan = dataclasses.replace(plan, overrides=typed)
    try:
        validation.check_space(plan)
    except ValueError as error:
        raise BadInputError(str(error)) from None
    for name in plan.conditions:
        classes = plan.class_counts(name)[-1]
        if plan.labels == 1 and plan.budget.samples < 2 * classes:
            least = f"{name} needs at least {2 * classes}, two of each class"
            raise BadInputError(f"samples={plan.budget.samples}: {least}")
    return plan


def recorded(records: Records) -> dict[str, Any] | None:
    """The content of study.json, or None if the folder is new.

    Raises:
        BadInputError: study.json is damaged, or of another format.
    """
    path = records.folder / "study.json"
    try:
        if not (path.exists() or path.is_symlink()):
            return None
        if not path.is_file():  # reading from a pipe would block
            raise ValueError(f"{path} is damaged: it is no file")
        value = records.study()
        texts = [value["definition"][key] for key in ("data", "data_source", "digest")]
        whole = all(isinstance(text, str) for text in texts) and isinstance(value["runs"], list)
    except (OSError, ValueError) as error:
        raise BadInputError(str(error)) from None
    except (KeyError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise BadInputError(f"{path} is damaged: it is not a study's")
    return value


def refuse_changes(known: Mapping[str, Any], definition: Mapping[str, Any], folder: Path) -> None:
    """Refuse a definition other than the one that a folder was begun with.

    Raises:
        BadInputError: the definitions differ; the line lists the first differences.
    """
    old = {key: known["definition"].get(key) for key in definition}
    if lines := difference(old, definition):
        more = [f"{len(lines) - MAX_CHANGES_NAMED} more"] if len(lines) > MAX_CHANGES_NAMED else []
        begun = f"{folder}, begun at scale {known['definition'].get('scale')}"
        raise BadInputError(
            f"{begun}, holds another definition ({'; '.join(lines[:MAX_CHANGES_NAMED] + more)}): "
            "ask for that one, or begin anew with --fresh"
        )


def load_data(name: str, data_dir: Path | None, cache: Path) -> Dataset:
    from trainables import data

    try:
        return data.load(name, data_dir, cache=cache)
    except DataError as error:
        raise BadInputError(str(error)) from None


def check_images(plan: Plan, dataset: Dataset) -> None:
    """Refuse reference hyperparameters that need more training images than a condition has.

    If cells of a condition may differ in their number of classes, the smallest number is checked.
    """
    for name in plan.conditions:
        config = trainables.load(plan.variant(name)).config_type.parse(plan.hyperparameters(name))
        try:
            config.check_images(len(dataset.keep(plan.class_counts(name)[0]).train.y))
        except ValueError as error:
            raise BadInputError(f"{name} on {plan.data}: {error}") from None


def lock(folder: Path) -> Lock:
    """Lock a study's folder.

    Raises:
        BadInputError: another process has locked it.
    """
    try:
        return take(folder)
    except LockedError as error:
        raise BadInputError(str(error)) from None


def write_study(
    records: Records,
    plan: Plan,
    dataset: Dataset,
    resources: Resources,
    data_line: str,
    scale: str,
    command: str,
) -> bool:
    """Write study.json in a new folder, or add this run to the list of runs in a known folder.

    Returns whether the study computes in bfloat16. This is decided once, when the folder is begun:
    bfloat16 is used if the processor computes it natively.

    Raises:
        BadInputError: the data or the definition differ from what the folder was begun with.
    """
    from study.metrics.core.judge import bf16_pays
    from study.planning.resources import device_of
    from study.records.grids import grid_columns

    value = recorded(records)
    here = environment.describe()
    if value is None:
        definition = plan.definition() | {
            "digest": dataset.digest,
            "classes": list(dataset.classes),
            "columns": grid_columns(dataset),
            "data_source": data_line,
            "stand_in": plan.data == plan.study.stand_in != plan.study.data,
            "scale": scale,
            "bf16": bf16_pays(device_of(resources)),
        }
        value = {
            "format": FORMAT,
            "study": plan.name,
            "definition": definition,
            "environment": here,
            "runs": [],
        }
    else:  # perhaps begun by another command just now
        refuse_changes(value, plan.definition(), records.folder)
    check_digest(value, records.folder, dataset)
    value.setdefault("folder", uuid.uuid4().hex)  # tells its MLflow runs from others
    value |= {
        "title": plan.study.title,
        "command": command,
        "claims": [claim_json(claim) for claim in plan.study.claims],
        "reference": value["definition"]["reference"],
        "left_out": plan.left_out,
    }
    value["runs"].append({"command": command, "cpus_per_trial": resources.cpus} | here)
    write_json(records.folder / "study.json", value)
    return bool(value["definition"]["bf16"])


def check_digest(known: Mapping[str, Any], folder: Path, dataset: Dataset) -> None:
    """Refuse data whose content differs from the data that a folder was begun with."""
    begun = known["definition"]["digest"]
    if begun != dataset.digest:
        raise BadInputError(
            f"{dataset.name} has changed: its digest is {dataset.digest} but "
            f"{folder} was begun with {begun}"
        )


def check_cell(records: Records, cell_id: str) -> None:
    """Refuse --verify for a cell that is not accepted or has no rows, or if records are damaged.

    Refuse it as well if judges.pt is lost, which holds the judges that measured the study's rows.
    """
    try:
        accepted = [known for known in records.ids() if records.result(known)]
        accepted = [known for known in accepted if records.rows(known)]
        if cell_id in accepted:
            records.cell(cell_id), records.attempts(cell_id)
    except ValueError as error:
        raise BadInputError(f"--verify {cell_id!r}: {error}") from None
    if accepted and not (records.folder / "judges.pt").is_file():
        raise BadInputError(f"--verify {cell_id!r}: {records.folder}: judges.pt is lost")
    if cell_id not in accepted:
        there = "no finished cell"
        if accepted:
            ids = f"{accepted[0]} to {accepted[-1]}: see the id column of cells.csv"
            there = f"{len(accepted)} cells, {ids}"
        raise BadInputError(f"--verify {cell_id!r}: {records.folder} has {there}")


def claim_json(claim: Claim) -> dict[str, Any]:
    """A claim as study.json holds it. An infinite bound of its region becomes null."""
    value = dataclasses.asdict(claim)
    value["region"] = [bound if math.isfinite(bound) else None for bound in claim.region]
    return value


def load_study(name: str) -> Study:
    """Load and check the declaration of a study.

    Raises:
        BadInputError: no study has this name, or its declaration is not valid.
    """
    try:
        study = search_spaces.load(name)
        validation.check_study(study)
    except ValueError as error:
        raise BadInputError(str(error)) from None
    return study
