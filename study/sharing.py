"""What all cells of a study share: judges, reference statistics, Inception, images."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from study import metrics
from study.cell import Shared, load_tensors, save_tensors, task_of
from study.metrics import fid
from study.metrics.judge import Judges, train_judges
from study.metrics.reference import Reference
from study.plan import Plan
from study.prepare import BadInputError
from study.records import Records, write_json
from trainables.data import Dataset


def make_shared(
    plan: Plan,
    records: Records,
    dataset: Dataset,
    cache: Path,
    fid_weights: Path | None,
    bf16: bool,
    report: Any,
    smoke: bool = False,
) -> Shared:
    """Judges, once per data set, and reference statistics, once per number of classes.

    Args:
        report: called with one line before each step that takes a while.
        smoke: the verdicts will say nothing: judges are trained on a tenth of the images.

    Raises:
        BadInputError: the study's own are lost and what this machine computes differs from them.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    own = records.folder / "yardstick.pt"
    # Of another machine or thread count they would differ: a study keeps its own for life.
    kept = load_tensors(own) if own.exists() else None
    report(f"judges: two networks that know all {len(dataset.classes)} classes of {plan.data}")
    judges = Judges.from_state(kept["judges"], device) if kept else None
    share = 0.1 if smoke else 1.0
    judges = judges or train_judges(dataset, cache, device=device, share=share)
    kind = "labels" if judges.labels == 1 else "top-k labels"
    report(f"judges: accuracy on held-out real images {judges.accuracy['label']:.3f} ({kind})")
    references: dict[str, Any] = dict(kept["references"]) if kept else {}
    counts = sorted({n for name in plan.conditions for n in plan.class_counts(name)})
    for n in counts:
        if (task := task_of(n)) not in references:
            part = dataset.keep(n)
            report(f"real images of {n} classes: measured as fakes will be")
            built = Reference.build(judges, part, plan.budget.samples, 0, plan.study.metrics)
            references[task] = built.state()
    _check_objective(plan, references)
    judged = kept["judges"] if kept else judges.state()
    measured_by = {name: digest(judged, references[name]) for name in references}
    _keep_for_life(records, measured_by)
    if not kept or kept["references"].keys() != references.keys():
        save_tensors(own, {"judges": judged, "references": references})
    weights = fid.find_weights(fid_weights) if plan.study.fid else None
    if plan.study.fid and weights is None:
        report("fid: left out, its Inception weights are neither here nor downloadable")
    inceptions = {}
    if weights is not None:
        for n in counts:
            report(f"fid: real images of {n} classes through Inception")
            part = dataset.keep(n)
            inception = fid.Inception.build(weights, part, plan.budget.samples, 0, cache, device)
            inceptions[task_of(n)] = inception.state()
    ticks = {
        "search": plan.budget.ticks(plan.budget.searched_kimg),
        "confirm": plan.budget.ticks(plan.budget.kimg),
    }
    return Shared(
        folder=records.folder.absolute(),  # a worker elsewhere has another working folder
        x=dataset.train.x,
        y=dataset.train.y,
        judges=judges.state(),
        references=references,
        measured_by=measured_by,
        ticks=ticks,
        metrics=(*plan.study.metrics, *(["fid"] if weights else [])),
        objective=plan.study.objective,
        bf16=bf16,
        inceptions=inceptions,
    )


def _check_objective(plan: Plan, references: Mapping[str, Any]) -> None:
    """Refuse an objective that needs more fakes of a class than there will be."""
    objective = plan.study.objective
    for metric in map(metrics.load, plan.study.metrics):
        column = getattr(metric, "REAL", {}).get(objective)
        for task, reference in references.items():
            if column and column not in reference["on_real"]:
                samples = f"samples={plan.budget.samples}"
                raise BadInputError(f"{samples}: too few for objective {objective} in {task}")


def digest(*states: Any) -> str:
    """16 hex digits of SHA-256 over nested mappings and sequences of numbers, texts and tensors."""
    sha = hashlib.sha256()

    def feed(value: Any) -> None:
        if isinstance(value, Mapping):
            for key in sorted(value):
                feed((key, value[key]))
        elif isinstance(value, torch.Tensor):
            sha.update(value.detach().cpu().contiguous().numpy().tobytes())
        elif isinstance(value, tuple | list):
            for part in value:
                feed(part)
        else:
            sha.update(repr(value).encode())

    feed(states)
    return sha.hexdigest()[:16]


def _keep_for_life(records: Records, measured_by: Mapping[str, str]) -> None:
    study = records.study()
    known = study.get("measured_by", {})
    for name, value in measured_by.items():
        if known.get(name, value) != value:
            raise BadInputError(
                f"{records.folder}: yardstick.pt is lost and the judges that this machine trains "
                f"for {name} ({value}) are not the study's ({known[name]}): begin anew with --fresh"
            )
    if known.keys() != measured_by.keys():
        write_json(records.folder / "study.json", study | {"measured_by": {**known, **measured_by}})
