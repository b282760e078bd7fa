"""The contract of a study."""

from __future__ import annotations

import math
from pathlib import Path

import optuna

import trainables
from search_spaces.core import IMPORTANCE, Budget, Scale, Study
from study.check import need
from study.engine.search import ConditionSearch
from study.planning.plan import Plan
from study.planning.prepare import check, check_study
from study.records.records import Records
from trainables import data

SCALES: tuple[Scale, ...] = ("smoke", "quick", "full")
SUGGESTIONS = 60  # that a space is tried with
MOST_SMOKE_KIMG = 60


def plan(study: Study, budget: Budget, name: str = "study", data_name: str | None = None) -> Plan:
    """The plan of a study on the data that it asks for, or on others."""
    spec = data.describe(data_name or study.data)
    return Plan(
        name=name,
        study=study,
        budget=budget,
        overrides={},
        data=data_name or study.data,
        classes=spec.classes,
        channels=spec.channels,
        size=spec.size,
        labels=spec.labels,
        paired=spec.paired,
    )


def scales_grow(study: Study) -> None:
    sizes = [study.scales[scale].kimg for scale in SCALES]
    need(sizes == sorted(sizes), f"kimg of smoke, quick and full are {sizes}")
    need(len(study.title) < 80, "the title does not fit on a line of --list: 79 characters")


def smoke_is_short(study: Study) -> None:
    smoke = study.scales["smoke"]
    search, confirm = plan(study, smoke).count
    kimg = search * smoke.searched_kimg + confirm * smoke.kimg
    need(kimg <= MOST_SMOKE_KIMG, f"scale smoke takes {kimg} kimg: at most {MOST_SMOKE_KIMG}")


def the_reference_can_run(study: Study, scale: Scale) -> None:
    """Every condition, on the data that the study wants."""
    check_study(study)
    whole = check(plan(study, study.scales[scale]))
    for name, why in whole.left_out.items():
        need(False, f"{name} is left out on {study.data}: {why}")


def what_the_space_suggests_can_run(study: Study) -> None:
    if study.space is None:
        return
    probe = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    whole = plan(study, study.scales["quick"])
    for _ in range(SUGGESTIONS):
        values = study.space(probe.ask())
        for condition in whole.searched:
            config = trainables.load(whole.variant(condition)).config_type
            config.parse(whole.hyperparameters(condition, values))


def a_search_begins_with_the_reference(study: Study, scale: Scale) -> None:
    whole = plan(study, study.scales[scale])
    for condition in whole.searched:
        cell = ConditionSearch(whole, condition, Records(Path("nowhere"))).ask()
        need(cell is not None, f"{condition}: the search has no first cell")
        assert cell is not None
        wanted = whole.hyperparameters(condition)
        same = cell.hyperparameters == wanted
        need(same, f"{condition}: the first search cell is not the reference recipe")


def claims_can_be_decided(study: Study) -> None:
    space = plan(study, study.scales["quick"]).space
    for claim in study.claims:
        if (parameter := claim.metric.removeprefix(IMPORTANCE)) != claim.metric:
            need(parameter in space, f"claim {claim.id}: the space has no parameter {parameter}")
            continue
        low, high = claim.region
        bounded = math.isfinite(low) or math.isfinite(high)
        need(bounded, f"claim {claim.id}: everything is inside of its region")
        # Shares end at -1 and 1, but their intervals go beyond. If a region ended there, the
        # clearest results would be undecided.
        clear = claim.log or not {low, high} & {-1, 1}
        need(clear, f"claim {claim.id}: a share ends at -1 or 1, so leave that end open (inf)")


CHECKS = (
    scales_grow,
    smoke_is_short,
    what_the_space_suggests_can_run,
    claims_can_be_decided,
)
AT_EACH_SCALE = (the_reference_can_run, a_search_begins_with_the_reference)
