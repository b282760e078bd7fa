"""Which cells a study needs next, so that its primary claims are decided."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from study.records.frames import Frames
from study.report.rules import undecided
from study.report.verdicts import ask

if TYPE_CHECKING:
    from study.planning.plan import Configuration, Plan
    from study.records.records import Records


def next_look(plan: Plan, records: Records) -> Plan | None:
    """The plan with more seeds for the groups of primary claims that are undecided.

    Each such group gets the seeds of its claim's next planned look. All other groups are left as
    they are. So the plan depends on the records alone, and a command that is given again goes on
    with the same cells.

    Returns: None where every primary claim is decided or has had its last look.
    """
    best, seeds = records.best(), dict(plan.more_seeds)
    for question in undecided(ask(Frames.read(records))):
        n = question.next_look
        for group in (question.claim.of, question.claim.against):
            if n is None or group is None or group.condition not in plan.conditions:
                continue
            found = best.get(group.condition, plan.hyperparameters(group.condition))
            own = group.config == "reference" or found == plan.hyperparameters(group.condition)
            configuration: Configuration = "reference" if own else "found"
            key = group.condition, configuration
            seeds[key] = max(n, seeds.get(key, plan.budget.seeds))
    return None if seeds == plan.more_seeds else dataclasses.replace(plan, more_seeds=seeds)
