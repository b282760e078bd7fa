"""What all cells of a study share: judges, reference statistics, Inception, images."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

import trainables
from study.errors import BadInputError
from study.metrics.core import catalog, inception
from study.metrics.core.judge import Judge
from study.metrics.core.measure_real import build_references
from study.metrics.core.reference import Reference, reference_name, unreadable
from study.metrics.core.train_judges import train_judges
from study.planning.cells import Cell
from study.planning.plan import Plan
from study.planning.source_files import explain
from study.planning.sources import Source
from study.records.files import write_json
from study.records.records import Records
from study.records.tensors import load_tensors, save_tensors
from trainables.data import Dataset
from trainables.data.base import DataSpec

# Share of the images that judges are trained on at scale smoke, whose verdicts say nothing.
SMOKE_SHARE = 0.2


@dataclass(frozen=True)
class Shared:
    """What all cells of a study have in common, made once by the driver and shipped to workers."""

    folder: Path  # of the study
    x: NDArray[Any]  # uint8 [N, C, H, W], all classes of the data
    y: NDArray[Any]  # int64 [N], or uint8 [N, K] where images have several labels
    judges: Sequence[Mapping[str, Any]]  # Judge.state() of each
    # By `reference_name`: Reference.state() for each judge.
    references: Mapping[str, Sequence[Mapping[str, Any]]]
    judges_digest: Mapping[str, str]  # name -> digest of the judges and their references
    ticks: Mapping[str, list[int]]  # phase -> kimg of its evaluations
    metrics: tuple[str, ...]
    objective: str
    bf16: bool
    inceptions: Mapping[str, Mapping[str, Any]]  # name -> Inception.state(); empty without FID
    sources: tuple[Source, ...] = ()  # of what is not this project's: a worker loads them

    def reference_name(self, cell: Cell) -> str:
        return reference_name(cell.condition.get("classes", self.judges[0]["classes"]))


def judges_share(spec: DataSpec, smoke: bool) -> float:
    """Share of their recipe's images that judges are trained on."""
    if not smoke:
        return 1.0
    # A fifth of the recipe for several labels takes minutes and teaches too little to read them.
    return SMOKE_SHARE / 10 if spec.labels > 1 else SMOKE_SHARE


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
    """Make the judges, once per data set, and the references, once per number of classes.

    Both are read from the study's judges.pt where it has one. Which labels the judges cannot read
    is noted in study.json.

    Args:
        fid_weights: Inception's weights; None: FID is not measured.
        report: called with one line before each step that takes a while.
        smoke: whether the scale is smoke. Its verdicts say nothing, so the judges are trained on
            a fifth of the images or less, and a fifth of the real images are measured.

    Raises:
        BadInputError: the study's judges.pt is lost and what this machine computes differs from
            it; or the fakes per evaluation are too few for the objective.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    own = records.folder / "judges.pt"
    # Judges trained on another machine would differ. So a study keeps its judges for life.
    kept = load_tensors(own) if own.exists() else None
    if kept:
        judges = [Judge.from_state(state, device) for state in kept["judges"]]
    else:
        report(f"judges: networks that know all {len(dataset.classes)} classes of {plan.data}")
        share = judges_share(dataset.spec, smoke)
        judges = train_judges(dataset, cache, device, share=share, report=report)
    what = "labels" if judges[0].labels == 1 else "top-k labels"
    what = "turns" if judges[0].classes == 1 else what
    reads = ", ".join(f"{judge.accuracy['label']:.3f}" for judge in judges)
    report(f"judges: accuracies on held-out real images {reads} ({what})")
    references: dict[str, Any] = dict(kept["references"]) if kept else {}
    counts = sorted({n for name in plan.conditions for n in plan.class_counts(name)})
    for n in counts:
        if (name := reference_name(n)) not in references:
            part = dataset.keep(n)
            report(f"real images of {n} classes: measured as fakes will be")
            try:
                metrics, samples = plan.study.metrics, plan.budget.samples
                measured = SMOKE_SHARE if smoke else 1.0
                built = build_references(judges, part, samples, 0, metrics, measured)
            except Exception as error:
                if not any(source.kind == "metric" for source in plan.sources):
                    raise
                line = f"real images cannot be measured: {explain(error)}"
                raise BadInputError(line) from error
            references[name] = [reference.state() for reference in built]
    blind = _unreadable(plan, references)
    for reason in dict.fromkeys(blind.values()):
        names = " | ".join(name for name in blind if blind[name] == reason)
        report(f"{names}: what depends on labels is not measured: {reason}")
    _check_objective(plan, references, blind)
    judged = kept["judges"] if kept else [judge.state() for judge in judges]
    judges_digest = {name: digest(judged, references[name]) for name in references}
    _keep_for_life(records, judges_digest)
    _note_unreadable(records, plan, blind)
    if not kept or kept["references"].keys() != references.keys():
        save_tensors(own, {"judges": judged, "references": references})
    inceptions = {}
    if fid_weights is not None:
        for n in counts:
            part = dataset.keep(n)
            report(f"fid: all {len(part.train.y)} real images of {n} classes through Inception")
            network = inception.Inception.build(
                fid_weights, part, plan.budget.samples, 0, cache, device
            )
            inceptions[reference_name(n)] = network.state()
    ticks = {
        "search": plan.budget.ticks(plan.budget.searched_kimg),
        "confirm": plan.budget.ticks(plan.budget.kimg),
    }
    return Shared(
        folder=records.folder.absolute(),  # a worker may have another working folder
        x=dataset.train.x,
        y=dataset.train.y,
        judges=judged,
        references=references,
        judges_digest=judges_digest,
        ticks=ticks,
        metrics=(*plan.study.metrics, *(["fid"] if fid_weights else [])),
        objective=plan.study.objective,
        bf16=bf16,
        inceptions=inceptions,
        sources=tuple(s for s in plan.sources if s.kind in ("variant", "metric")),
    )


def _unreadable(plan: Plan, references: Mapping[str, Any]) -> dict[str, str]:
    """By condition, why the judges cannot read its labels, where a metric would need them to."""
    found: dict[str, str] = {}
    for name in plan.conditions:
        variant = trainables.load(plan.variant(name))
        wanted = catalog.suited(plan.study.metrics, variant, plan.data_spec)
        for n in plan.class_counts(name) if catalog.columns_by_labels(wanted) else ():
            states = references[reference_name(n)]
            if reason := unreadable([Reference.from_state(dict(state)) for state in states]):
                found[name] = reason
    return found


def _check_objective(plan: Plan, references: Mapping[str, Any], blind: Mapping[str, str]) -> None:
    """Refuse an objective that cannot be measured.

    It may depend on labels that the judges cannot read. Or it needs more fakes of a class than
    there will be. It could not be measured on as many real images either then, so its column for
    real images is missing from the reference.
    """
    objective = plan.study.objective
    for metric in map(catalog.load, plan.study.metrics):
        if objective in catalog.by_labels(metric) and blind:
            name, reason = next(iter(blind.items()))
            raise BadInputError(f"objective {objective} in {name}: {reason}")
        column = getattr(metric, "REAL", {}).get(objective)
        for name, states in references.items():
            if column and column not in states[0]["on_real"]:
                samples = f"samples={plan.budget.samples}"
                raise BadInputError(f"{samples}: too few for objective {objective} in {name}")


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


def _keep_for_life(records: Records, judges_digest: Mapping[str, str]) -> None:
    study = records.study()
    known = study.get("judges_digest", {})
    for name, value in judges_digest.items():
        if known.get(name, value) != value:
            raise BadInputError(
                f"{records.folder}: judges.pt is lost and the judges that this machine trains "
                f"for {name} ({value}) are not the study's ({known[name]}): begin anew with --fresh"
            )
    if known.keys() != judges_digest.keys():
        now = {"judges_digest": {**known, **judges_digest}}
        write_json(records.folder / "study.json", study | now)


def _note_unreadable(records: Records, plan: Plan, blind: Mapping[str, str]) -> None:
    """Write into study.json what is not measured in which condition, and why."""
    study = records.study()
    known = study.get("unreadable", {"conditions": {}})["conditions"]
    if blind.keys() <= known.keys():
        return
    columns = sorted(catalog.columns_by_labels(plan.study.metrics))
    now = {"conditions": {**known, **blind}, "columns": columns}
    write_json(records.folder / "study.json", study | {"unreadable": now})
