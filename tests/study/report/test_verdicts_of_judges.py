"""Verdicts where several judges measured a claim's quantity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from study.records.records import Records, write_json
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
    records = study_of(tmp_path, FCDS, unreadable={"classes=5": why})
    value = synthetic.claim("X", OF, None, metric="label_accuracy", region=[0.9, None])
    found = claims(records, value).loc["X"]
    assert found["verdict"] == "not run"
    assert found["reason"] == f"label_accuracy was not measured: {why}"
