"""`python -m study.run NAME --verify CELL`: run an ended cell again and compare."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from study.engine.shared_state import make_shared
from study.engine.verify import circumstances, verify
from study.errors import BadInputError
from study.planning import fid_weights, places, prepare, study_json
from study.planning.cells import Cell
from study.planning.resources import device_of
from study.records import environment

if TYPE_CHECKING:
    from study.console import Display
    from study.planning.plan import Plan
    from study.planning.resources import Resources
    from study.records.records import Records

EQUAL, DIFFERENT = 0, 3  # exit codes


def verify_cell(
    args: argparse.Namespace, plan: Plan, records: Records, resources: Resources, display: Display
) -> int:
    """Run an accepted cell again, as it ran then, and print where it first differs from its record.

    Nothing is written to the study's folder.
    """
    if resources.gpus and device_of(resources).type == "cpu":
        raise BadInputError("--verify: the trials have GPUs, and this machine has none")
    study, attempts = records.study(), records.attempts(args.verify)
    cell = Cell.from_json(records.cell(args.verify))
    runs = [study["runs"][attempt["run"]] for attempt in attempts]
    then = runs[-1]
    if len(threads := {run["cpus_per_trial"] for run in runs}) > 1:
        display.say(f"{cell.id} ran with {sorted(threads)} threads in turn: it cannot be repeated")
    resources = dataclasses.replace(resources, cpus=then["cpus_per_trial"])
    plan = dataclasses.replace(plan, only=cell.condition_name)
    cache = places.cache(args.storage)
    dataset = prepare.load_data(plan.data, args.data_dir, cache)
    study_json.check_digest(study, records.folder, dataset)
    bf16 = study["definition"]["bf16"]
    smoke = study["definition"]["scale"] == "smoke"
    weights = fid_weights.find_again(rows := records.rows(cell.id), args.fid_weights)
    shared = make_shared(plan, records, dataset, cache, weights, bf16, display.say, smoke)
    label = f"{cell.id} ({cell.label})"
    line = verify(records, cell.id, shared, resources)
    if line is None:
        display.say(f"{label}: equal, all {len(rows)} rows")
        return EQUAL
    display.say(f"{label}: different, {line}")
    for other in circumstances(then, environment.describe()):
        display.say(f"it ran with {other}")
    return DIFFERENT
