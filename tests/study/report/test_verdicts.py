"""Verdicts, collapse points and importances of made-up records.

If these tests fail, a report's verdict on a claim is not the one that the records give.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna.importance  # noqa: F401  a slow import that would time out the first test
import pandas as pd
import pytest

from study.records.files import write_json
from study.records.frames import Frames
from study.records.records import Records
from study.report.evidence import claim_from_json, collapse_kimg
from study.report.importances import importances
from study.report.stats import Effect
from study.report.verdicts import verdict
from study.report.write import claims_frame
from tests.study import synthetic

EQUAL = "all values are equal, so that nothing is known of their spread"


def claims(records: Records, *values: dict[str, Any]) -> pd.DataFrame:
    """The verdicts on other claims than the study's own. study.json is left as it was."""
    own = records.study()
    write_json(records.folder / "study.json", own | {"claims": list(values)})
    try:
        return claims_frame(records).set_index("id")
    finally:
        write_json(records.folder / "study.json", own)


def study_of(
    folder: Path, values: Sequence[float], against: Sequence[float] = (), **changes: Any
) -> Records:
    """A study whose seeds have these FCDs with 5 and with 49 classes; `changes` of study.json."""
    records = Records(folder)
    write_json(folder / "study.json", synthetic.study_json(**changes))
    given = {"hyperparameters": synthetic.REFERENCE, "phase": "confirm"}
    for classes, column in ((5, values), (49, against)):
        for seed, fcd in enumerate(column):
            rows = [{"kimg": 1, "fcd": fcd}]
            id = f"c{classes}{seed}"
            synthetic.write_cell(records, id, classes=classes, seed=seed, rows=rows, **given)
    return records


OF = "classes=5 reference last"
FCDS = (1.0, 1.2, 0.9, 1.1)


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
        assert frame.loc["A1", ["n_of", "n_against"]].to_list() == [4, 4]
        assert frame.loc["A1", "low"] < frame.loc["A1", "effect"] < frame.loc["A1", "high"]
        assert frame.loc["A3", "region"] == "[3, inf]"

    def test_the_effect_is_the_difference_of_the_groups_own_means(self, made_up: Records) -> None:
        cells = made_up.cells().set_index("id")["last/label_accuracy"]
        of, against = cells[[f"r05{s}" for s in range(4)]], cells[[f"r49{s}" for s in range(4)]]
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
        rows = [made_up.rows(f"r49{seed}") for seed in range(4)]
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

    def test_diverged_cell_is_left_out_of_a_sure_verdict(self, made_up: Records) -> None:
        """Whoever drops the seeds that diverge judges by the lucky ones."""
        of = "classes=10 reference last"
        found = claims(made_up, synthetic.claim("X", of, None, metric="fcd", region=[0, 1e6]))
        assert found.loc["X", "verdict"] == "undecided"
        assert found.loc["X", "n_of"] == 3
        assert found.loc["X", "reason"] == (
            "1 of 4 seeds of classes=10 (reference) failed (rate 0.01 to 0.81); the effect is that "
            "of the others; 1 of 4 cells of classes=10 (reference) diverged"
        )

    def test_group_that_mixes_failed_seeds_with_others_gets_a_verdict(self, tmp_path: Path) -> None:
        """A group of which all seeds failed is judged like any other."""
        value = synthetic.claim("X", OF, None, metric="fcd", region=[0, 9])
        for low, expected in ((0.0, "supported"), (1.15, "undecided"), (9.0, "supported")):
            rule = {"metric": "fcd", "region": [low, None]}
            records = study_of(tmp_path / str(low), FCDS, failure=rule)
            assert claims(records, value).loc["X", "verdict"] == expected

    def test_look_that_is_not_complete_gives_a_verdict(self, tmp_path: Path) -> None:
        """Whoever looks after each seed errs more often than once in twenty."""
        value = synthetic.claim("X", OF, None, metric="fcd", region=[0, 9])
        for seeds, expected, reason in (
            (3, "undecided", "3 of 4 seeds have ended"),
            (4, "supported", ""),
            (6, "supported", ""),
        ):
            records = study_of(tmp_path / str(seeds), (FCDS + FCDS)[:seeds])
            found = claims(records, value).loc["X"]
            assert (found["verdict"], found["reason"]) == (expected, reason)
            assert found["n_of"] == min(seeds, 4), "what came after the look was not planned"

    def test_further_looks_cost_nothing(self, tmp_path: Path) -> None:
        value = synthetic.claim("X", OF, None, metric="fcd", region=[0, 1])
        widths = []
        for looks in ([4], [4, 8], [4, 8, 12]):
            records = study_of(tmp_path / str(len(looks)), FCDS, looks=looks)
            found = claims(records, value).loc["X"]
            widths.append(found["high"] - found["low"])
        assert widths == sorted(widths)
        assert widths[0] < widths[2]

    def test_primary_claims_are_judged_as_if_each_were_alone(self, tmp_path: Path) -> None:
        """Ten claims on borders would have a wrong verdict among them in two studies of five."""
        records = study_of(tmp_path, FCDS)
        high = claims(records, synthetic.claim("X", OF, None, metric="fcd", region=[0, 1]))["high"]
        region = [0, float(high["X"]) + 1e-6]  # just decided if it is the only claim
        for primary, expected in ((False, "supported"), (True, "undecided")):
            asked = [
                synthetic.claim(f"X{n}", OF, None, metric="fcd", region=region, primary=primary)
                for n in range(10)
            ]
            found = claims(records, *asked)
            assert set(found["verdict"]) == {expected}
        assert set(found["reason"]) == {"decided if asked alone, but not among all primary claims"}

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
        assert (found["verdict"], found["reason"]) == ("undecided", EQUAL)
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
        assert (found["verdict"], found["reason"]) == ("undecided", EQUAL)
        assert found[["low", "high"]].isna().all()

    def test_claims_that_were_not_run_leave_the_family(self, tmp_path: Path) -> None:
        """A verdict would be taken back once their cells have ended."""
        records, rest = study_of(tmp_path, FCDS), {"metric": "fcd", "primary": True}
        alone = claims(records, synthetic.claim("X", OF, None, region=[0, 1], **rest))
        high = float(alone.loc["X", "high"])
        asked = synthetic.claim("X", OF, None, region=[0, high + 1e-6], **rest)
        lost = {**rest, "metric": "fid"}
        others = [synthetic.claim(f"Y{n}", OF, None, region=[0, 1], **lost) for n in range(3)]
        assert claims(records, asked).loc["X", "verdict"] == "supported"
        assert claims(records, asked, *others).loc["X", "verdict"] == "undecided"

    def test_verdict_is_taken_back_at_a_later_look(self, tmp_path: Path) -> None:
        value = synthetic.claim("X", OF, None, metric="fcd", region=[0, 2])
        for looks in ([4], [4, 8]):
            records = study_of(tmp_path / str(len(looks)), FCDS + (9.0,) * 4, looks=looks)
            found = claims(records, value).loc["X"]
            assert (found["verdict"], found["n_of"]) == ("supported", 4)

    def test_crashed_cell_counts_as_a_failed_seed(self, tmp_path: Path) -> None:
        """What crashed tells nothing of its condition: the claim waits for its value."""
        records = study_of(tmp_path, FCDS, failure={"metric": "fcd", "region": [50, None]})
        path = records.cell_folder("c52") / "result.json"
        write_json(path, json.loads(path.read_text()) | {"outcome": "failed", "error": "a crash"})
        found = claims(records, synthetic.claim("X", OF, None, metric="fcd", region=[0, 9]))
        assert found.loc["X", "verdict"] == "undecided"
        assert found.loc["X", "reason"] == "1 of 4 cells of classes=5 (reference) failed"

    def test_pairs_of_seeds_are_taken_as_two_groups(self, tmp_path: Path) -> None:
        """Each seed is worse by about 1 than the same seed with 5 classes."""
        value = synthetic.claim("X", OF, "classes=49 reference last", metric="fcd", region=[-2, 0])
        for paired, expected in ((True, "supported"), (False, "undecided")):
            values, against = (1.0, 4.0, 7.0, 11.0), (2.1, 5.0, 7.9, 12.0)
            records = study_of(tmp_path / str(paired), values, against, paired=paired)
            found = claims(records, value).loc["X"]
            assert (found["verdict"], found["n_of"]) == (expected, 4)
            assert pd.isna(found["n_against"]) == paired, "pairs have one number"

    def test_open_ends_of_a_region_survive_json(self) -> None:
        found = claim_from_json(json.loads(json.dumps(synthetic.CLAIMS[0])))
        assert found.region == (3.0, float("inf"))
        assert found.of.condition == "classes=49"


class TestFindings:
    def test_collapse_is_the_first_tick_after_the_best_that_is_twice_as_bad(self) -> None:
        ticks = pd.DataFrame({"kimg": [0, 1, 2, 3, 4, 5], "fcd": [90, 10, 5, 9, 11, 30]})
        assert collapse_kimg(ticks, "fcd", "minimize") == 4
        assert collapse_kimg(ticks[:4], "fcd", "minimize") is None
        assert collapse_kimg(ticks, "fid", "minimize") is None
        higher = ticks.assign(fcd=[0.0, 0.2, 0.8, 0.4, 0.39, 0.9])
        assert collapse_kimg(higher, "fcd", "maximize") is None  # the best is the last
        assert collapse_kimg(higher[:5], "fcd", "maximize") == 4

    def test_the_parameter_that_decides_is_the_important_one(self, made_up: Records) -> None:
        found = importances(Frames.read(made_up), "classes=10")
        assert isinstance(found, dict)
        assert max(found, key=lambda k: found[k]) == "lr"
        assert sum(found.values()) == pytest.approx(1)
