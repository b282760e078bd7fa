"""Claims that could not be judged are refused before anything starts.

Where these tests fail, a study runs for hours and then says "not run", or gives a verdict on a
scale on which its intervals are too narrow.
"""

from __future__ import annotations

import dataclasses
import json
from math import inf
from typing import Any

import pytest

from search_spaces.core import Claim, Failure, Group, Study
from study.errors import BadInputError
from study.planning.prepare import check
from study.planning.study_json import claim_json
from study.planning.validation import check_study
from study.report.evidence import claim_from_json
from tests.study import tiny


def study(failure: Failure | None = None, **claim: Any) -> Study:
    given: dict[str, Any] = {"id": "X", "text": "it works", "region": (0.0, 1.0)}
    one = Claim(**{**given, "of": Group("classes=2"), **claim})
    # The data of `tiny` are no published set, so that a study on them is not looked for by name.
    return dataclasses.replace(
        tiny.study(), data="kana", stand_in="kana", claims=(one,), fid=False, failure=failure
    )


@pytest.mark.parametrize(
    ("claim", "line"),
    [
        (
            {"metric": "fdc"},
            r"claim X: metric 'fdc': choose from fcd, .*, or a loss, as in loss/d/",
        ),
        ({"metric": "fcd"}, "claim X: metric 'fcd': log=True is needed"),
        ({"metric": "class_loss/real"}, "claim X: metric 'class_loss/real': log=True is needed"),
        ({"metric": "loss/d/class_real"}, "'loss/d/class_real': log=True is needed"),
        ({"metric": "label_accuracy", "over": "fcd"}, "log=True is needed"),
        ({"metric": "fcd", "over": "fdc", "log": True}, "claim X: metric 'fdc': choose from fcd"),
    ],
)
def test_claim_that_cannot_be_judged_is_taken(claim: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        check_study(study(**claim))


def test_failure_on_a_column_that_is_not_measured_is_taken() -> None:
    with pytest.raises(ValueError, match="failure: metric 'recall': choose from fcd"):
        check_study(study(Failure("recall", (0.0, 0.1)), metric="label_accuracy"))


@pytest.mark.parametrize("column", ["loss/d/class_reel", "loss/e/class_real", "loss/d"])
def test_loss_that_no_player_has_is_taken(column: str) -> None:
    plan = tiny.plan(study(metric="loss/d/class_real", over=column, log=True))
    line = f"claim X: {column} is no loss or other column of training of classes=2: choose from "
    line += ".*loss/d/class_real, "
    with pytest.raises(BadInputError, match=line):
        check(plan)


def test_column_of_training_that_the_variant_does_not_report_is_taken() -> None:
    plan = tiny.plan(study(metric="train/class_accuracy"))
    with pytest.raises(BadInputError, match="train/class_accuracy is no loss or other column of"):
        check(plan)


@pytest.mark.parametrize("source", [" ", "two\nlines", None, 3])
def test_source_that_cannot_stand_on_a_line_is_taken(source: Any) -> None:
    with pytest.raises(ValueError, match=r"claim X: source=.*one line of printable text is needed"):
        study(metric="label_accuracy", source=source)


def test_source_is_not_on_record() -> None:
    given = study(metric="label_accuracy", source="table 1: accuracy").claims[0]
    assert claim_json(given)["source"] == "table 1: accuracy"
    assert claim_from_json(json.loads(json.dumps(claim_json(given)))) == given


def test_loss_of_training_is_refused() -> None:
    claim = {"metric": "loss/d/class_real", "over": "loss/d/class_fake", "region": (0.5, inf)}
    asked = study(**claim, log=True)
    check_study(asked)
    check(tiny.plan(asked))
    assert asked.claims[0].quantity == "loss/d/class_real / loss/d/class_fake"


@pytest.mark.parametrize("flag", ["log", "primary", "paired", "fid"])
def test_flag_that_no_record_can_hold_is_taken(flag: str) -> None:
    """Empty bytes are false, and JSON cannot hold them: the study ended in a traceback."""
    given = dataclasses.replace(tiny.study(), claims=study(metric="label_accuracy").claims)
    broken = given.claims[0] if flag in ("log", "primary") else given
    with pytest.raises(ValueError, match=f"{flag}=b'': choose one of False, True"):
        dataclasses.replace(broken, **{flag: b""})
