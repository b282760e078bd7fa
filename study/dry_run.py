"""`python -m study.run NAME --dry-run`: say what a run would cost, and start nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from search_spaces.core import Claim
from study.engine.shared_state import judges_share
from study.errors import BadInputError
from study.metrics.core.train_judges import training_seconds
from study.planning.estimate import estimate
from study.planning.plan import Plan
from study.planning.remaining import Remaining, Work, planned
from study.planning.resources import Resources
from study.planning.study_json import looks
from study.records.frames import Frames
from study.records.records import Records
from study.report.evidence import ask
from study.report.next_look import more_seeds, next_look
from study.report.verdicts import judge, undecided


def dry_run(
    plan: Plan,
    records: Records,
    known: Mapping[str, Any] | None,
    resources: Resources,
    say: Callable[[str], None],
    decide: bool,
    smoke: bool,
) -> None:
    """Print the number of cells, the resources per trial and an estimate of the time.

    The estimate comes from a few training steps that are timed on this machine.

    Args:
        known: the content of study.json, or None if the study's folder is new.
        decide: also print what --decide may add. In a new folder, that is all looks of all primary
            claims; in a known one, the looks of those that the records leave undecided.
        smoke: whether the scale is smoke.

    Raises:
        BadInputError: a record is damaged.
    """
    search, confirm = plan.count
    say(f"cells: {search} search + at most {confirm} confirm over {' | '.join(plan.conditions)}")
    budget = plan.budget
    search_of = f" ({budget.searched_kimg} in a search)" if search else ""
    say(
        f"a cell: {budget.kimg} kimg{search_of}, measured every {budget.tick_kimg} kimg with "
        f"{budget.samples} fakes"
    )
    say(
        f"resources: {resources.cpus} CPU and {resources.gpus:g} GPU per trial, "
        f"{resources.concurrent} at a time"
    )
    lines: list[tuple[str, Work | None]] = []
    try:
        if decide:
            lines = _of_records(plan, records, known["looks"]) if known else _of_plan(plan)
    except ValueError as error:
        raise BadInputError(str(error)) from None
    works = [planned(plan), *(work for _, work in lines if work is not None)]
    if not torch.cuda.is_available() and not (records.folder / "judges.pt").exists():
        judges = training_seconds(plan.data_spec, judges_share(plan.data_spec, smoke))
        say(f"judges, trained once for these data: {_length(judges)}")
    whole, *seconds = estimate(plan, resources, works)
    say(f"estimated time of the cells: {_length(whole)} (early stopping apart)")
    for text, work in lines:
        cost = "" if work is None else f": {_cost(plan, work, seconds.pop(0))}"
        say(f"--decide: {text}{cost}")


def _of_plan(plan: Plan) -> list[tuple[str, Work | None]]:
    """What --decide may cost in a new folder: texts, each with the cells that it is about."""
    planned_looks = looks(plan.budget.seeds)
    primary = [c for c in plan.study.claims if c.primary and _possible(c, plan)]
    if not planned_looks or not primary:
        return [("no primary claim is judged on confirm cells, so it adds nothing", None)]
    first, last = planned_looks[0], planned_looks[-1]
    most = planned(_with_seeds(plan, primary, last))
    return [
        (f"the first look, after {first} seeds", planned(plan)),
        (f"at most, if each primary claim needs {last} seeds", most),
    ]


def _possible(claim: Claim, plan: Plan) -> bool:
    """Whether the data allow all groups of a claim."""
    groups = [claim.of] if claim.against is None else [claim.of, claim.against]
    return all(group.condition not in plan.left_out for group in groups)


def _of_records(
    plan: Plan, records: Records, planned_looks: Sequence[int]
) -> list[tuple[str, Work | None]]:
    """The same in a folder that has records: what is missing, and what may be added to it."""
    now = Remaining(plan, records).missing()
    questions = ask(Frames.read(records))
    open_ = undecided(questions)
    if now.total():  # claims whose cells have not run yet may turn out undecided
        open_ += [q for q in questions if q.claim.primary and q.lacking and q.may_be_decided]
        open_ = [q for q in open_ if all(seeds.possible for seeds in q.seeds)]
    reasons = {finding.claim.id: finding.reason for finding in judge(questions)}
    lines: list[tuple[str, Work | None]] = []
    for question in open_:
        name, look = question.claim.id, question.next_look
        why = f" ({reasons[name]})" if reasons[name] else ""
        lines.append((f"{name} is undecided{why}, its next look is after {look} seeds", None))
    if now.total():
        lines.append(("unfinished, before the next look", now))
    if not open_:
        end = "" if now.total() else ", so it adds nothing"
        return [*lines, (f"no primary claim is undecided that could be decided{end}", None)]
    grown = next_look(plan, records)
    if grown and (added := Remaining(grown, records).missing() - now).total():
        new = sorted(grown.more_seeds.items())
        groups = ", ".join(f"{name} ({config}) {n} seeds" for (name, config), n in new)
        lines.append((f"the next look, {groups}", added))
    last = _with_seeds(plan, [q.claim for q in open_], planned_looks[-1])
    text = f"at most, if all these claims need {planned_looks[-1]} seeds"
    return [*lines, (text, Remaining(last, records).missing())]


def _with_seeds(plan: Plan, claims: Sequence[Claim], n: int) -> Plan:
    """The plan with n seeds for the groups of claims."""
    seeds = dict(plan.more_seeds)
    for claim in claims:
        seeds |= more_seeds(plan, claim, n)
    return dataclasses.replace(plan, more_seeds=seeds)


def _cost(plan: Plan, work: Work, seconds: float) -> str:
    lengths = {"search": plan.budget.searched_kimg, "confirm": plan.budget.kimg}
    kimg = sum(n * lengths[phase] for (_, phase), n in work.items())
    return f"{work.total()} cells, {kimg:,} thousand images, {_length(seconds)}"


def _length(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes} minute{'' if minutes == 1 else 's'}" if seconds >= 60 else "under a minute"
