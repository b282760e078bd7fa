"""Which cells a study needs next, so that its primary claims are decided."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from study.records.frames import Frames
from study.report.evidence import ask
from study.report.verdicts import undecided

if TYPE_CHECKING:
    from search_spaces.core import Claim
    from study.planning.cells import Configuration
    from study.planning.plan import Plan
    from study.records.records import Records


def next_look(plan: Plan, records: Records) -> Plan | None:
    """The plan with more seeds for the groups of primary claims that are undecided.

    Each such group gets the seeds of its claim's next planned look. All other groups are left as
    they are. So the plan depends on the records alone, and a command that is given again goes on
    with the same cells.

    Returns: None where every primary claim is decided or has had its last look.
    """
    seeds = dict(plan.more_seeds)
    for question in undecided(ask(Frames.read(records))):
        if (n := question.next_look) is not None:
            for key, needed in more_seeds(plan, question.claim, n).items():
                if needed > len(plan.seeds(*key)):
                    seeds[key] = max(needed, seeds.get(key, 0))
    return None if seeds == plan.more_seeds else dataclasses.replace(plan, more_seeds=seeds)


def more_seeds(plan: Plan, claim: Claim, n: int) -> dict[tuple[str, Configuration], int]:
    """n seeds for each of a claim's groups that the plan runs."""
    groups = [group for group in (claim.of, claim.against) if group is not None]
    return {
        (group.condition, "reference" if group.config == "reference" else "found"): n
        for group in groups
        if group.condition in plan.conditions
    }
