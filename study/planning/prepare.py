"""Prepare a study before its first trial: refuse bad input, load the data, lock its folder."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import trainables
from search_spaces.core import Budget, Study
from study.errors import BadInputError
from study.planning import sources, validation
from study.planning.plan import MAX_FIRST_SEED, SEARCH_SEEDS, Plan
from study.planning.validate_space import check_space
from study.records import store
from study.records.lock import Lock, LockedError, take
from study.records.records import Records
from trainables.data import DataError, DataSpec

if TYPE_CHECKING:
    from study.planning.sources import Source
    from trainables.data import Dataset

# The fields of a budget that --set can change.
BUDGET_KEYS = ("kimg", "search_kimg", "tick_kimg", "samples", "search_parallelism", "searches")


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


def check_study(study: Study) -> None:
    """Refuse a declaration that is not valid.

    Raises:
        BadInputError: one line.
    """
    try:
        validation.check_study(study)
    except ValueError as error:
        raise BadInputError(str(error)) from None


def check(plan: Plan) -> Plan:
    """Check a plan, and convert its --set values to the types of the hyperparameters.

    Raises:
        BadInputError: an unknown variant, metric, hyperparameter or condition; a bad value; no
            condition that the data allow; a space that cannot be used; too few samples.
    """
    valid = " | ".join(plan.study.conditions)  # their names may have commas
    if plan.only is not None and plan.only not in plan.study.conditions:
        raise BadInputError(f"unknown condition {plan.only!r}: choose one of {valid}")
    if not plan.conditions:
        reasons = "; ".join(f"{name}: {why}" for name, why in plan.left_out.items())
        raise BadInputError(f"no condition is left to run: {reasons}")
    if plan.first_seed > MAX_FIRST_SEED or SEARCH_SEEDS <= plan.first_seed < 2 * SEARCH_SEEDS:
        raise BadInputError(
            f"--first-seed {plan.first_seed}: at most {MAX_FIRST_SEED}, and none of a search's "
            f"seeds, which are {SEARCH_SEEDS} to {2 * SEARCH_SEEDS - 1}"
        )
    factors = {key for c in plan.study.conditions.values() for key in c} - {"classes", "variant"}
    for key in plan.overrides:
        if key in factors:
            raise BadInputError(f"--set {key}: the conditions of {plan.name} differ in it")
    typed: dict[str, Any] = {}
    try:
        validation.check_metrics(plan.study, plan.data_spec)
    except ValueError as error:
        raise BadInputError(str(error)) from None
    for name in plan.conditions:
        try:
            values = plan.hyperparameters(name)
            config = trainables.load(plan.variant(name)).config_type.parse(values)
            validation.check_data_spec(plan, name, config)
        except ValueError as error:
            line = f"{name}: {error}"
            if str(error).startswith("unknown hyperparameter"):
                line += f", or of the budget: {', '.join(BUDGET_KEYS)}"
            raise BadInputError(line) from None
        typed = {key: values[key] for key in plan.overrides}
    plan = dataclasses.replace(plan, overrides=typed)
    try:
        check_space(plan)
        validation.check_losses(plan)
    except ValueError as error:
        raise BadInputError(str(error)) from None
    for name in plan.conditions:
        classes = plan.class_counts(name)[-1]
        if plan.labels == 1 and plan.budget.samples < 2 * classes:
            least = f"{name} needs at least {2 * classes}, two of each class"
            raise BadInputError(f"samples={plan.budget.samples}: {least}")
    return plan


class Chosen(NamedTuple):
    """The data that a study runs on."""

    name: str
    line: str  # why these data
    spec: DataSpec
    path: Path | None  # of data by path
    image_size: int | None
    sources: tuple[Source, ...]  # of data that a Python file or package makes


def choose_data(
    request: str,
    study: Study,
    known: Mapping[str, Any] | None,
    data_dir: Path | None,
    image_size: int | None,
) -> Chosen:
    """Choose the data that a study runs on.

    Data by path are known by the name of their file or folder, and by their content. So another
    spelling of the path, or another place, makes no other study.

    Args:
        request: what --data says.
        known: study.json, if the folder was begun. With "auto" the study goes on with its data.
        image_size: see `files.read`.

    Raises:
        BadInputError: the data are unknown or cannot be used.
    """
    from trainables import data
    from trainables.data import files, held

    if request.startswith(("hf:/", "hf:./", "hf:../")):  # tables by their path
        request = request.removeprefix("hf:")
    folder = data_dir or data.default_dir()
    for one in (study.data, study.stand_in):
        if data.is_held(one):
            data.add_held(one, folder)
    begun = known["definition"] if known and request == "auto" else None
    name, place, path, own = request, request, None, None
    if known and begun:
        name = begun["data"]
        place = known.get("data_path") or name
        image_size = image_size or begun.get("image_size")
    # What a study declares is loaded already, relative to its own file.
    declared = request == "auto" and name in ("auto", study.data, study.stand_in)
    try:
        if not declared and (own := _own_data(place, begun and name)):
            name, path = own.name, own.path
        elif data.is_held(name):
            data.add(name, functools.partial(held.read, name, folder, image_size))
        elif not declared and name not in data.names() and data.is_path(place):
            path = Path(place).absolute()
            name = name if begun else _name_of(path, study, known)
            data.add(name, functools.partial(files.read, path, image_size))
        if image_size is not None and (own or not path) and not data.is_held(name):
            raise BadInputError(
                f"--image-size {image_size}: only for data that --data gives by path"
            )
        if begun:
            line = f"{begun['data_source']} (with which this folder was begun)"
        else:
            name, line = data.choose(name, study.data, study.stand_in, data_dir)
        spec = data.describe(name, data_dir)
    except DataError as error:
        raise BadInputError(str(error)) from None
    if own and path and not own.name.endswith(".py"):
        path = path.with_name(f"{path.name}:{own.attribute}")
    return Chosen(name, line, spec, path, image_size, (own,) if own else ())


def _own_data(place: str, name: str | None) -> Source | None:
    """Load data that a Python file or a package makes, known by `name`, or without its folders."""
    return sources.find_and_load("data", place, name or place.rpartition(os.sep)[2])


def _name_of(path: Path, study: Study, known: Mapping[str, Any] | None) -> str:
    """The name by which data at a path are known: the path's last part.

    A folder that was begun keeps its spelling of it. Names that mean other data are made distinct.
    """
    from trainables import data

    taken = {*data.names(), "auto", study.data, study.stand_in}
    before = known["definition"]["data"] if known else ""
    if before not in taken and Path(before).name == path.name:
        return str(before)
    return path.name if path.name not in taken else f"./{path.name}"


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
        BadInputError: another process has locked it, or a link in it leads elsewhere, where files
            would be written or deleted.
    """
    try:
        link = store.first_link(folder)
    except OSError as error:
        raise BadInputError(f"{error.filename}: {error.strerror}") from None
    if link:
        raise BadInputError(f"{link} is a link: put what it leads to in its place")
    try:
        return take(folder)
    except LockedError as error:
        raise BadInputError(str(error)) from None


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
