"""study.json: what a folder was begun with, and what may be changed when it goes on."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces.core import Claim, Failure
from study.errors import BadInputError
from study.planning.plan import Plan
from study.records import environment, store
from study.records.files import DamagedError, write_atomically, write_json
from study.records.records import FAILED, FORMAT, Records

if TYPE_CHECKING:
    from study.planning.resources import Resources
    from study.planning.sources import Source
    from trainables.data import Dataset

MAX_CHANGES_NAMED = 4  # differences that a message names of a changed definition
# A claim may be judged after these numbers of seeds: see `looks`.
LOOKS = (3, 5, 8, 12, 20)
MAX_LOOKS = 4


def recorded(records: Records) -> dict[str, Any] | None:
    """The content of study.json, or None if the folder is new.

    Raises:
        BadInputError: study.json is damaged, of another format, or lost.
    """
    path = records.folder / "study.json"
    try:
        if not (path.exists() or path.is_symlink()):
            if store.tree(records.folder / "cells"):
                raise ValueError(
                    f"{path} is lost, and cells are there: restore it, or give --fresh"
                )
            return None
        if not path.is_file():  # reading from a pipe would block
            raise ValueError(f"{path} is damaged: it is no file")
        value = records.study()
        texts = [value["definition"][key] for key in ("data", "data_source", "digest")]
        whole = all(isinstance(text, str) for text in texts) and all(
            isinstance(value[key], list) for key in ("runs", "looks")
        )
        whole = whole and isinstance(value["pilot"], dict | None)
    except DamagedError as error:
        raise BadInputError(f"{error}: restore it, or give --fresh") from None
    except (OSError, ValueError) as error:
        raise BadInputError(str(error)) from None
    except (KeyError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise BadInputError(f"{path} is damaged: it is not a study's")
    return value


def adopt_changed_code(
    records: Records, known: Mapping[str, Any], definition: Mapping[str, Any]
) -> None:
    """Change a known definition where a source was changed that has made nothing yet.

    So whoever mends a variant of which all cells failed goes on in the same folder. A variant has
    made something if a cell of it has begun and has not failed; a metric, if real images have been
    measured.
    """
    recorded, asked = known["definition"].get("sources", {}), definition.get("sources", {})
    changed = {name for name in recorded.keys() & asked if recorded[name] != asked[name]}
    if not changed:
        return
    variants = set[str]()
    for cell_id in records.ids():
        with contextlib.suppress(DamagedError):  # such a cell runs again
            if (records.result(cell_id) or {}).get("outcome") not in FAILED:
                variants.add(records.cell(cell_id)["variant"])
    measured = {*definition["metrics"]} if (records.folder / "judges.pt").exists() else set[str]()
    for name in changed - variants - measured:
        recorded[name] = asked[name]


def refuse_changes(known: Mapping[str, Any], definition: Mapping[str, Any], folder: Path) -> None:
    """Refuse a definition other than the one that a folder was begun with.

    Raises:
        BadInputError: the definitions differ; the line lists the first differences.
    """
    # These are in a definition only where they are not the usual.
    keys = {*definition, "sampler", "pruner", "image_size", "sources"}
    old = {key: known["definition"].get(key) for key in keys}
    if lines := difference(old, definition):
        more = [f"{len(lines) - MAX_CHANGES_NAMED} more"] if len(lines) > MAX_CHANGES_NAMED else []
        scale = known["definition"].get("scale")
        advice = f"give --scale {scale} and the other options that it was begun with"
        if all(line.startswith("sources.") for line in lines):
            advice = f"a file was edited since: restore it, as {folder / 'sources'} has it"
        raise BadInputError(
            f"{folder}, begun at scale {scale}, holds another definition "
            f"({'; '.join(lines[:MAX_CHANGES_NAMED] + more)}): {advice}, or begin anew with --fresh"
        )


def other_code(records: Records, sources: Sequence[Source]) -> str | None:
    """A line that says so if other code has run cells of the folder: ours, or of the sources."""
    now = {"code": environment.code_digest(environment.ROOT)}
    now |= {source.name: source.digest for source in sources}
    then = [{"code": run["code"], **run.get("sources", {})} for run in records.study()["runs"]]
    lines = []
    for name, digest in now.items():
        if others := sorted({run[name] for run in then if name in run} - {digest}):
            lines.append(f"{name}: {digest} goes on, after {' and '.join(others)}")
    if not lines:
        return None
    return (
        f"{'; '.join(lines)}: if they train or measure otherwise, the cells differ by that, too "
        "(--fresh begins anew)"
    )


def write_study(
    records: Records,
    plan: Plan,
    dataset: Dataset,
    resources: Resources,
    data_line: str,
    scale: str,
    command: str,
    about_fid: str | None,
) -> bool:
    """Write study.json in a new folder, or add this run to the list of runs in a known folder.

    Returns whether the study computes in bfloat16. This is decided once, when the folder is begun:
    bfloat16 is used if the processor computes it natively.

    Args:
        about_fid: why this run leaves FID out, or what weakens it; see `fid_weights.choose`.

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
            "looks": looks(plan.budget.seeds),
            "pilot": plan.pilot,
            "runs": [],
        }
    else:  # perhaps begun by another command just now
        adopt_changed_code(records, value, plan.definition())
        refuse_changes(value, plan.definition(), records.folder)
        check_looks(value, plan.budget.seeds, records.folder)
    check_digest(value, records.folder, dataset)
    value.setdefault("folder", uuid.uuid4().hex)  # tells its MLflow runs from others
    value |= {
        "format": FORMAT,  # what is written from now on may be of this one
        "title": plan.study.title,
        "command": command,
        "claims": [claim_json(claim) for claim in plan.study.claims],
        "failure": failure_json(plan.study.failure),
        "paired": plan.study.paired,
        "reference": value["definition"]["reference"],
        "left_out": plan.left_out,
        "data_path": str(plan.data_path) if plan.data_path else None,
    }
    run = {"command": command, "cpus_per_trial": resources.cpus, "about_fid": about_fid}
    for source in plan.sources:
        for file in source.files.values():
            kept = records.folder / "sources" / source.digest / file.relative
            if not kept.exists():
                write_atomically(kept, file.text.encode())
    if plan.sources:
        run["sources"] = {source.name: source.digest for source in plan.sources}
    value["runs"].append(run | here)
    write_json(records.folder / "study.json", value)
    return bool(value["definition"]["bf16"])


def mark_finished(records: Records) -> None:
    """Note in study.json that every cell has ended, until another run begins."""
    value = records.study()
    if not value["runs"][-1].get("finished"):
        value["runs"][-1]["finished"] = True
        value["format"] = FORMAT
        write_json(records.folder / "study.json", value)


def looks(seeds: int) -> list[int]:
    """The numbers of seeds after which a study's claims may be judged.

    They are planned before the first cell, because whoever adds seeds until a claim is decided errs
    more often. Each further look costs: the intervals of all looks become wider.

    Args:
        seeds: at the first look, with which the study begins. 0: there are no confirm cells.
    """
    return [seeds, *(n for n in LOOKS if n > seeds)][:MAX_LOOKS] if seeds else []


def check_looks(known: Mapping[str, Any], seeds: int, folder: Path) -> None:
    """Refuse more seeds than at the first look if they were not planned when the folder was begun.

    Raises:
        BadInputError: one line.
    """
    if seeds > min(known["looks"], default=0) and seeds not in known["looks"]:
        planned = ", ".join(map(str, known["looks"])) or "no seeds"
        raise BadInputError(
            f"--seeds {seeds}: when {folder} was begun, looks were planned after {planned}: "
            "choose one of these"
        )


def check_digest(known: Mapping[str, Any], folder: Path, dataset: Dataset) -> None:
    """Refuse data whose content differs from the data that a folder was begun with."""
    begun = known["definition"]["digest"]
    if begun != dataset.digest:
        raise BadInputError(
            f"{dataset.name} has changed: its digest is {dataset.digest} but "
            f"{folder} was begun with {begun}"
        )


def claim_json(claim: Claim) -> dict[str, Any]:
    """A claim as study.json holds it. An infinite bound of its region becomes null."""
    return dataclasses.asdict(claim) | {"region": _region_json(claim.region)}


def failure_json(rule: Failure | None) -> dict[str, Any] | None:
    """The rule for failed seeds as study.json holds it."""
    if rule is None:
        return None
    return {"metric": rule.metric, "region": _region_json(rule.region)}


def _region_json(region: tuple[float, float]) -> list[float | None]:
    return [bound if math.isfinite(bound) else None for bound in region]


def difference(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """One line "key: recorded -> asked" per entry that differs; dots join nested keys."""
    lines: list[str] = []
    for key in sorted(recorded.keys() | asked.keys()):
        old, new = recorded.get(key), asked.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            lines += [f"{key}.{line}" for line in difference(old, new)]
        elif old != new:
            lines.append(f"{key}: {json.dumps(old)} -> {json.dumps(new)}")
    return lines
