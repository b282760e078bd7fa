"""Verdicts where several judges measured a claim's quantity."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from study.records.files import write_json
from study.records.frames import Frames
from study.records.records import Records
from study.report.evidence import assess, claim_from_json
from study.report.page import render
from study.report.verdicts import Question, Seeds, undecided
from tests.study import synthetic
from tests.study.report.test_verdicts import FCDS, OF, claims, study_of


def test_verdict_of_one_judge_passes_for_that_of_all(tmp_path: Path) -> None:
    """The mean over judges lies inside the region, and so does what two of them saw."""
    value = synthetic.claim("X", OF, None, metric="fcd", region=[0, 2])
    for factor, expected in ((1.2, "supported"), (1.8, "undecided"), (9.0, "undecided")):
        records = Records(tmp_path / str(factor))
        write_json(records.folder / "study.json", synthetic.study_json())
        for seed, fcd in enumerate(FCDS):
            each = {f"judge/{n}/fcd": fcd * f for n, f in enumerate((0.8, 0.7, factor))}
            rows = [{"kimg": 1, "fcd": fcd, **each}]
            given = {"hyperparameters": synthetic.REFERENCE, "phase": "confirm"}
            synthetic.write_cell(records, f"c{seed}", classes=5, seed=seed, rows=rows, **given)
        found = claims(records, value).loc["X"]
        assert found["verdict"] == expected
        assert found["effect"] == pytest.approx(np.mean(FCDS)), "the mean over the judges"
        if expected == "undecided":
            alone = "undecided" if factor < 2 else "not supported"
            reason = f"the judges do not agree: supported, supported, {alone}"
            assert found["reason"] == reason
        assert "last/judge/0/fcd" not in records.cells().columns


def test_claim_on_labels_that_no_judge_reads_does_not_say_why(tmp_path: Path) -> None:
    why = "the judges read 0.36 of the labels of held-out real images right"
    unreadable = {"conditions": {"classes=5": why}, "columns": ["label_accuracy"]}
    records = study_of(tmp_path, FCDS, FCDS, unreadable=unreadable)
    for seed in range(4):  # the judges can read the other condition
        rows = [{"kimg": 1, "fcd": FCDS[seed], "label_accuracy": 0.9}]
        write_json(records.cell_folder(f"c49{seed}") / "ticks.json", rows)
    for metric, reason in (("label_accuracy", f": {why}"), ("kcd", "")):
        value = synthetic.claim("X", OF, None, metric=metric, region=[0.9, None])
        found = claims(records, value).loc["X"]
        assert found["verdict"] == "not run"
        assert found["reason"] == f"{metric} was not measured{reason}"


def test_claim_is_decided_where_nobody_knows_which_seeds_failed(tmp_path: Path) -> None:
    """The rule for failed seeds needs labels. Where they are not read, all seeds would be sound."""
    why = "the judges read 0.36 of the labels of held-out real images right"
    unreadable = {"conditions": {"classes=5": why}, "columns": ["label_accuracy"]}
    rule = {"metric": "label_accuracy", "region": [None, 0.25]}
    records = study_of(tmp_path, FCDS, failure=rule, unreadable=unreadable)
    found = claims(records, synthetic.claim("X", OF, None, metric="fcd", region=[0, 9])).loc["X"]
    assert found["verdict"] == "undecided"
    assert found["effect"] == pytest.approx(np.mean(FCDS))
    assert found["reason"] == (
        "which seeds of classes=5 (reference) failed is not known, as label_accuracy was not "
        f"measured: {why}"
    )
    page = render(records, Frames.read(records), assess(Frames.read(records)))
    assert "label_accuracy was not measured" in page
    assert f"In classes=5 nothing that depends on labels was measured: {why}." in page


def test_more_seeds_are_spent_where_judges_contradict_each_other() -> None:
    value = claim_from_json(
        synthetic.claim("X", OF, None, metric="fcd", region=[0, 2], primary=True)
    )
    for factors, expected in (((1.0, 1.0, 9.0), False), ((1.0, 1.0, 1.8), True)):
        values = dict(enumerate(FCDS))
        each = [{seed: v * factor for seed, v in values.items()} for factor in factors]
        seeds = Seeds(values, set(), {*values}, "", by_judge=each)
        assert bool(undecided([Question(value, [seeds], (4, 8))])) == expected


def test_seeds_that_a_claim_needs_are_those_of_the_luckiest_judge() -> None:
    """Adding that many seeds would leave the claim undecided."""
    value = claim_from_json(synthetic.claim("X", OF, None, metric="fcd", region=[0, 1.3]))

    def reason(*factors: float) -> str:
        values = dict(enumerate(FCDS))
        each = [{seed: v * factor for seed, v in values.items()} for factor in factors]
        question = Question(value, [Seeds(values, set(), {*values}, "", by_judge=each)], (4, 8))
        return question.finding(None).reason

    alone = re.search(r"at least (\d+) seeds", reason())
    with_others = re.search(r"at least (\d+) seeds", reason(1.0, 1.1))
    assert alone is not None
    assert with_others is not None
    assert int(with_others[1]) > int(alone[1]) > 4
    apart = "at the spread seen, a thousand seeds would not decide it"
    assert reason(0.9, 1.3) == apart, "the judges lie on both sides of the border"
