"""What all cells of a study share: judges, reference statistics, Inception, images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from study.cell import Shared
from study.metrics import fid
from study.metrics.judge import read_judges, train_judges, write_judges
from study.metrics.reference import Reference
from study.plan import Plan
from study.records import Records
from trainables.data import Dataset


def make_shared(
    plan: Plan,
    records: Records,
    dataset: Dataset,
    storage: Path,
    fid_weights: Path | None,
    bf16: bool,
    report: Any,
) -> Shared:
    """Judges and reference statistics, computed once per data set and condition.

    Args:
        report: called with one line before each step that takes a while.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    cache = storage / "cache"
    report(f"judges: two networks that know all {len(dataset.classes)} classes of {plan.data}")
    # Judges of another machine or thread count differ: a study keeps its own for life.
    own = records.folder / "judges.pt"
    judges = read_judges(own, device) or train_judges(dataset, cache, device=device)
    write_judges(own, judges)
    report(f"judges: accuracy on held-out real images {judges.accuracy['label']:.3f} (labels)")
    weights = fid.find_weights(fid_weights) if plan.study.fid else None
    if plan.study.fid and weights is None:
        report("fid: left out, its Inception weights are neither here nor downloadable")
    references, inceptions = {}, {}
    for name, condition in plan.conditions.items():
        part = dataset.keep(condition.get("classes", len(dataset.classes)))
        reference = Reference.build(judges, part, plan.budget.samples, seed=0)
        references[name] = reference.state()
        if weights is not None:
            report(f"fid: real images of {name} through Inception")
            inception = fid.Inception.build(weights, part, plan.budget.samples, 0, cache, device)
            inceptions[name] = inception.state()
    ticks = {
        "search": plan.budget.ticks(plan.budget.search_kimg),
        "confirm": plan.budget.ticks(plan.budget.kimg),
    }
    return Shared(
        folder=records.folder,
        x=dataset.train.x,
        y=dataset.train.y,
        judges=judges.state(),
        references=references,
        ticks=ticks,
        metrics=plan.study.metrics,
        objective=plan.study.objective,
        bf16=bf16,
        inceptions=inceptions,
    )
