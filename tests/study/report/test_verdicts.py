"""Verdicts, collapse points and importances of made-up records.

If these tests fail, a report's verdict on a claim is not the one that the records give.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import optuna.importance  # noqa: F401  a slow import that would time out the first test
import pandas as pd
import pytest

from study.records.frames import Frames, natural
from study.records.records import Records, write_json
from study.report.importances import importances
from study.report.stats import Effect
from study.report.verdicts import claim_from_json, collapse_kimg, verdict
from study.report.write import claims_frame
from tests.study import synthetic

EQUAL = "equal values give an interval without width, however few they are"


def claims(records: Records, *values: dict[str, Any]) -> pd.DataFrame:
    """The verdicts on other claims than the study's own. study.json is left as it was."""
    own = records.study()
    write_json(records.folder / "study.json", own | {"claims": list(values)})
    try:
        return claims_frame(records).set_index("id")
    finally:
        write_json(records.folder / "study.json", own)


@pytest.mark.parametrize(
    ("low", "high", "region", "expected"),
    [
        (0.4, 0.6, (0.3, math.inf), "supported"),
        (0.3, 0.6, (0.3, math.inf), "supported"),
        (0.2, 0.6, (0.3, math.inf), "undecided"),
        (0.1, 0.2, (0.3, math.inf), "not supported"),
        (-0.05, 0.04, (-0.1, 0.1), "supported"),  # an equivalence
        (-0.15, 0.04, (-0.1, 0.1), "undecided"),
        (-0.9, 0.9, (-0.1, 0.1), "undecided"),
        (0.2, 0.3, (-0.1, 0.1), "not supported"),
        (-0.9, -0.2, (-math.inf, -0.1), "supported"),
        (None, None, (-math.inf, math.inf), "undecided"),
    ],
)
def test_the_rule_gives_another_verdict(
    low: float | None, high: float | None, region: tuple[float, float], expected: str
) -> None:
    assert verdict(Effect(0.0, low, high, (3,)), region) == expected


class TestClaims:
    def test_each_kind_of_claim_gets_the_verdict_that_its_interval_earns(
        self, made_up: Records
    ) -> None:
        frame = claims_frame(made_up).set_index("id")
        assert frame["verdict"].to_dict() == {
            "A3": "supported",  # a geometric mean above a threshold
            "A4": "supported",  # an equivalence, as a ratio
            "A1": "supported",  # a difference of two conditions
            "A9": "not supported",  # a difference of two moments
            "A7": "not run",  # a condition that the study lacks
        }
        assert frame.loc["A1", ["n_of", "n_against"]].to_list() == [4, 3]
        assert frame.loc["A1", "low"] < frame.loc["A1", "effect"] < frame.loc["A1", "high"]
        assert frame.loc["A3", "region"] == "[3, inf]"

    def test_the_effect_is_the_difference_of_the_groups_own_means(self, made_up: Records) -> None:
        cells = made_up.cells().set_index("id")["last/label_accuracy"]
        of, against = cells[[f"r05{s}" for s in range(4)]], cells[[f"r49{s}" for s in range(3)]]
        frame = claims_frame(made_up).set_index("id")
        assert frame.loc["A1", "effect"] == pytest.approx(of.mean() - against.mean())

    def test_moments_are_the_start_the_first_tick_the_best_tick_the_end_and_relapses(
        self, made_up: Records
    ) -> None:
        at = {
            moment: synthetic.claim(
                moment, f"classes=49 reference {moment}", None, metric="fcd", region=[0, None]
            )
            for moment in ("start", "early", "best", "last", "largest_relapse")
        }
        effects = claims(made_up, *at.values())["effect"]
        rows = [made_up.rows(f"r49{seed}") for seed in range(3)]
        expected = {
            "start": np.mean([r[0]["fcd"] for r in rows]),
            "early": np.mean([r[1]["fcd"] for r in rows]),
            "best": np.mean([min(t["fcd"] for t in r) for r in rows]),
            "last": np.mean([r[-1]["fcd"] for r in rows]),
            "largest_relapse": np.mean(
                [
                    max(r[i]["fcd"] / min(t["fcd"] for t in r[1 : i + 1]) for i in range(1, len(r)))
                    for r in rows
                ]
            ),
        }
        assert expected["largest_relapse"] > 1, "the made-up cells never rise: nothing is tested"
        assert effects.to_dict() == pytest.approx(expected)

    def test_only_finished_confirm_cells_count_and_the_rest_is_named(
        self, made_up: Records
    ) -> None:
        frame = claims_frame(made_up).set_index("id")
        assert frame.loc["A3", "n_of"] == 3
        assert frame.loc["A3", "reason"] == "1 of 4 cells of classes=49 (reference) diverged"

    @pytest.mark.parametrize(
        ("of", "metric", "reason"),
        [
            ("classes=7 reference last", "fcd", "no condition classes=7: the study has classes=5"),
            ("classes=5 reference last", "fid", "fid was not measured"),
        ],
    )
    def test_a_claim_that_was_not_run_says_why(
        self, made_up: Records, of: str, metric: str, reason: str
    ) -> None:
        value = synthetic.claim("X", of, None, metric=metric, region=[1, None])
        found = claims(made_up, value).loc["X"]
        assert found["verdict"] == "not run"
        assert reason in found["reason"]

    def test_a_column_of_the_last_tick_alone_is_lost(self, tmp_path: Path) -> None:
        """Slow metrics have such a column, which all other ticks lack.

        No claim, table or figure may fail because of that.
        """
        rows = synthetic.rows(5, 0)
        rows[-1] |= {"cas": 0.8, "cas_real": 0.9}
        records = synthetic.small(tmp_path, rows, seeds=3)
        group = "classes=5 reference last"
        value = synthetic.claim("X", group, None, metric="cas", region=[0.7, None])
        found = claims(records, value).loc["X"]
        assert (found["verdict"], found["reason"]) == ("supported", EQUAL)
        assert found["effect"] == pytest.approx(0.8)
        assert records.ticks()["cas"].notna().sum() == 3
        assert records.cells()["last/cas"].tolist() == [0.8] * 3
        early = synthetic.claim("Y", "classes=5 reference early", None, metric="cas", region=[0, 1])
        assert claims(records, early).loc["Y"]["verdict"] == "not run"

    def test_a_ratio_of_zeros_is_undecided(self, tmp_path: Path) -> None:
        records = synthetic.small(tmp_path, [{"kimg": 1, "fcd": 0.0}], seeds=3)
        group = "classes=5 reference last"
        value = synthetic.claim("X", group, None, metric="fcd", region=[1, None], log=True)
        found = claims(records, value).loc["X"]
        assert found["verdict"] == "undecided"
        assert "a ratio needs positive values" in found["reason"]

    def test_one_seed_is_never_evidence(self, tmp_path: Path) -> None:
        records = synthetic.small(tmp_path, synthetic.rows(5, 0), seeds=1)
        found = claims_frame(records).set_index("id").loc["A4"]
        assert (found["verdict"], found["reason"]) == ("undecided", "one seed gives no interval")

    def test_equal_values_pass_for_certainty(self, tmp_path: Path) -> None:
        records = synthetic.small(tmp_path, [{"kimg": 1, "fcd": 0.0}], seeds=3)
        value = synthetic.claim("X", "classes=5 reference last", None, metric="fcd", region=[0, 1])
        found = claims(records, value).loc["X"]
        assert (found["verdict"], found["low"], found["high"]) == ("supported", 0, 0)
        assert found["reason"] == EQUAL

    def test_open_ends_of_a_region_survive_json(self) -> None:
        found = claim_from_json(json.loads(json.dumps(synthetic.CLAIMS[0])))
        assert found.region == (3.0, float("inf"))
        assert found.of.condition == "classes=49"


class TestFindings:
    def test_collapse_is_the_first_tick_after_the_best_that_is_twice_as_bad(self) -> None:
        ticks = pd.DataFrame({"kimg": [0, 1, 2, 3, 4, 5], "fcd": [90, 10, 5, 9, 11, 30]})
        assert collapse_kimg(ticks, "fcd") == 4
        assert collapse_kimg(ticks[:4], "fcd") is None
        assert collapse_kimg(ticks, "fid") is None

    def test_the_parameter_that_decides_is_the_important_one(self, made_up: Records) -> None:
        found = importances(Frames.read(made_up), "classes=10")
        assert isinstance(found, dict)
        assert max(found, key=lambda k: found[k]) == "lr"
        assert sum(found.values()) == pytest.approx(1)

    def test_conditions_are_ordered_as_people_count(self) -> None:
        names = ["classes=49", "classes=5", "Coulomb 10", "classes=10", "Coulomb 2"]
        ordered = ["Coulomb 2", "Coulomb 10", "classes=5", "classes=10", "classes=49"]
        assert sorted(names, key=natural) == ordered
