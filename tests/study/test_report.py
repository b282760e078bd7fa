"""If these fail, a reader of the report is told something that the records do not say, or nothing:
a wrong verdict, a figure or table that is missing without a word, a page that needs the network,
or a traceback where a study is young or odd.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import matplotlib.figure  # noqa: F401  imported here, lest the first page run out of time
import numpy as np
import optuna.importance  # noqa: F401
import pandas as pd
import pytest
import synthetic
from PIL import Image

from study import figures, report, samples
from study.findings import claim_from_json, collapse_kimg
from study.frames import Frames, natural
from study.importances import importances
from study.records import Records, write_json

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Records:
    return synthetic.write_study(tmp_path_factory.mktemp("runs") / "made_up", seeds=4)


@pytest.fixture(scope="module")
def html(made_up: Records) -> str:
    """The page of `made_up`, and its CSVs beside it."""
    return page(made_up)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without curves, which take longest, where a test looks at words."""
    monkeypatch.setattr(figures, "curves", lambda *_, **__: None)
    monkeypatch.setattr(figures, "class_losses", lambda *_: None)


def page(records: Records) -> str:
    return report.write(records).read_text()


def small(folder: Path, rows: list[dict[str, Any]], seeds: int) -> Records:
    """A study of which only the reference at 5 classes ran, with the same rows for each seed."""
    records = Records(folder)
    write_json(folder / "study.json", synthetic.study_json())
    given = {"classes": 5, "hyperparameters": synthetic.REFERENCE, "phase": "confirm"}
    for seed in range(seeds):
        synthetic.write_cell(records, f"c{seed}", **given, seed=seed, rows=rows)
    return records


def claims(records: Records, *values: dict[str, Any]) -> pd.DataFrame:
    """The verdicts on other claims than the study's own; its study.json is left as it was."""
    own = records.study()
    write_json(records.folder / "study.json", own | {"claims": list(values)})
    try:
        return report.claims_frame(records).set_index("id")
    finally:
        write_json(records.folder / "study.json", own)


class TestClaims:
    def test_each_kind_of_claim_gets_the_verdict_that_its_interval_earns(
        self, made_up: Records
    ) -> None:
        frame = report.claims_frame(made_up).set_index("id")
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
        frame = report.claims_frame(made_up).set_index("id")
        assert frame.loc["A1", "effect"] == pytest.approx(of.mean() - against.mean())

    def test_moments_are_the_start_the_first_tick_the_best_tick_the_end_and_setbacks(
        self, made_up: Records
    ) -> None:
        at = {
            moment: synthetic.claim(
                moment, f"classes=49 reference {moment}", None, metric="fcd", region=[0, None]
            )
            for moment in ("start", "early", "best", "last", "setback")
        }
        effects = claims(made_up, *at.values())["effect"]
        rows = [made_up.rows(f"r49{seed}") for seed in range(3)]
        expected = {
            "start": np.mean([r[0]["fcd"] for r in rows]),
            "early": np.mean([r[1]["fcd"] for r in rows]),
            "best": np.mean([min(t["fcd"] for t in r) for r in rows]),
            "last": np.mean([r[-1]["fcd"] for r in rows]),
            "setback": np.mean(
                [
                    max(r[i]["fcd"] / min(t["fcd"] for t in r[1 : i + 1]) for i in range(1, len(r)))
                    for r in rows
                ]
            ),
        }
        assert expected["setback"] > 1, "the made-up cells never rise: nothing is tested"
        assert effects.to_dict() == pytest.approx(expected)

    def test_only_finished_confirm_cells_count_and_the_rest_is_named(
        self, made_up: Records
    ) -> None:
        frame = report.claims_frame(made_up).set_index("id")
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
        """As of slow metrics: other ticks lack it, and no claim, table or figure may mind."""
        rows = synthetic.rows(5, 0)
        rows[-1] |= {"cas": 0.8, "cas_real": 0.9}
        records = small(tmp_path, rows, seeds=3)
        group = "classes=5 reference last"
        value = synthetic.claim("X", group, None, metric="cas", region=[0.7, None])
        found = claims(records, value).loc["X"]
        assert found["verdict"] == "supported"
        assert found["reason"].startswith("equal values give an interval without width")
        assert found["effect"] == pytest.approx(0.8)
        assert records.ticks()["cas"].notna().sum() == 3
        assert records.cells()["last/cas"].tolist() == [0.8] * 3
        early = synthetic.claim("Y", "classes=5 reference early", None, metric="cas", region=[0, 1])
        assert claims(records, early).loc["Y"]["verdict"] == "not run"

    def test_a_ratio_of_zeros_is_undecided(self, tmp_path: Path) -> None:
        records = small(tmp_path, [{"kimg": 1, "fcd": 0.0}], seeds=3)
        group = "classes=5 reference last"
        value = synthetic.claim("X", group, None, metric="fcd", region=[1, None], log=True)
        found = claims(records, value).loc["X"]
        assert found["verdict"] == "undecided"
        assert "a ratio needs positive values" in found["reason"]

    def test_one_seed_is_never_evidence(self, tmp_path: Path) -> None:
        records = small(tmp_path, synthetic.rows(5, 0), seeds=1)
        found = report.claims_frame(records).set_index("id").loc["A4"]
        assert (found["verdict"], found["reason"]) == ("undecided", "one seed gives no interval")

    def test_open_ends_of_a_region_survive_json(self) -> None:
        found = claim_from_json(json.loads(json.dumps(synthetic.CLAIMS[0])))
        assert found.region == (3.0, float("inf"))
        assert found.of.condition == "classes=49"


class TestPage:
    def test_it_needs_nothing_from_elsewhere(self, html: str) -> None:
        assert not re.search(r"https?://|<script|<link|@import|url\(", html)
        assert not [src for src in re.findall(r'src="([^"]*)"', html) if "data:" not in src]

    def test_the_answer_comes_first(self, html: str) -> None:
        order = ["stand-in data", "✓ 3 supported", "✗ 1 not supported", "A3", "class loss on real"]
        assert [html.index(text) for text in order] == sorted(html.index(text) for text in order)
        assert html.index("✓ supported") < html.index("<img")

    @pytest.mark.usefixtures("undrawn")
    def test_a_stand_in_is_in_the_title_and_real_data_are_not_called_one(
        self, tmp_path: Path
    ) -> None:
        records, study = Records(tmp_path), synthetic.study_json()
        write_json(tmp_path / "study.json", study)
        assert "(stand-in data)</title>" in page(records)
        study["definition"] |= {"stand_in": False, "data": "k49", "data_source": "read from K49"}
        write_json(records.folder / "study.json", study)
        html = page(records)
        assert "stand-in" not in html.lower()
        assert "read from K49" in html

    @pytest.mark.usefixtures("undrawn")
    def test_verdicts_of_a_smoke_run_pass_for_results(self, tmp_path: Path) -> None:
        records, study = Records(tmp_path), synthetic.study_json()
        write_json(tmp_path / "study.json", study)
        assert "say nothing of the" not in page(records)
        study["definition"]["scale"] = "smoke"
        write_json(tmp_path / "study.json", study)
        assert "say nothing of the" in page(records)

    def test_it_holds_every_figure_and_table(self, made_up: Records, html: str) -> None:
        assert html.count("data:image/svg+xml") == 5  # losses of two configurations, 3 more
        # conditions x moments x configurations, and the columns of 49 classes
        assert html.count("data:image/png") == 3 * 4 * 2 + 49 * 2
        confirm = made_up.cells()["phase"].eq("confirm").sum()
        assert html.count('<td class="mono">') == confirm
        for text in ("fANOVA", "0123456789abcdef", "abc123", "--scale quick", "torch 2.14"):
            assert text in html

    @pytest.mark.usefixtures("html")
    def test_csvs_hold_the_same_as_the_frames(self, made_up: Records) -> None:
        for name, frame in (("cells", made_up.cells()), ("ticks", made_up.ticks())):
            assert len(pd.read_csv(made_up.folder / f"{name}.csv")) == len(frame)
        verdicts = pd.read_csv(made_up.folder / "claims.csv")["verdict"]
        assert verdicts.to_list() == report.claims_frame(made_up)["verdict"].to_list()

    def test_the_same_records_give_the_same_page(self, made_up: Records, html: str) -> None:
        assert page(made_up) == html

    def test_markup_in_a_name_is_shown_not_obeyed(self, tmp_path: Path) -> None:
        records = Records(tmp_path)
        write_json(tmp_path / "study.json", synthetic.study_json(title="a <script>x</script>"))
        assert "a &lt;script&gt;x" in page(records)


class TestMissing:
    def test_a_study_that_has_just_begun(self, tmp_path: Path) -> None:
        write_json(tmp_path / "study.json", synthetic.study_json())
        html = page(Records(tmp_path))
        assert "– 5 not run" in html
        for text in ("No confirm cell has ended yet", "No cell has ended yet", "was not measured"):
            assert text in html

    def test_a_search_without_confirm_cells(self, tmp_path: Path) -> None:
        records = Records(tmp_path)
        write_json(tmp_path / "study.json", synthetic.study_json())
        given = {"classes": 5, "hyperparameters": synthetic.REFERENCE, "phase": "search"}
        synthetic.write_cell(records, "s", **given, number=0, seed=1000, rows=synthetic.rows(5, 0))
        html = page(records)
        assert "no confirm cells of classes=5 (reference) yet" in html
        assert "not computed: 1 finished search cells, at least 4 are needed" in html

    def test_a_variant_without_class_head_no_claims_no_space_no_provenance(
        self, tmp_path: Path
    ) -> None:
        """Of cgan: a plain factorial, one seed, a metric that some ticks lack, no sample grids."""
        study = synthetic.study_json()
        for key in ("claims", "environment", "command", "left_out"):
            del study[key]
        del study["definition"]["space"]
        rows = synthetic.rows(5, 0, class_loss=False)
        del rows[2]["variance_ratio"], rows[-1]["fcd_floor"]
        records = small(tmp_path, rows, seeds=1)
        write_json(tmp_path / "study.json", study)
        html = page(records)
        for text in (
            "This study states no claims",
            "No class losses of the reference configuration",
            "No sample grids",
            "the study has no search space",
            "not recorded",
        ):
            assert text in html
        assert "best configuration" not in html

    @pytest.mark.usefixtures("undrawn")
    def test_a_cell_that_failed_before_its_first_tick(self, tmp_path: Path) -> None:
        records = small(tmp_path, synthetic.rows(5, 0), seeds=2)
        synthetic.write_grids(records, "c0", 5, (0, 100))
        given = {"classes": 5, "hyperparameters": synthetic.REFERENCE, "phase": "confirm"}
        synthetic.write_cell(records, "dead", **given, seed=9, outcome="out_of_memory", rows=[])
        (records.cell_folder("c0") / "samples" / "000100.png").write_bytes(b"torn")
        html = page(records)
        assert "out of memory" in html
        assert "1 of 3 cells of classes=5 (reference) out of memory" in html


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


class TestFigures:
    def test_a_band_spans_the_seeds_around_their_mean(self) -> None:
        ticks = pd.DataFrame({"kimg": [1, 1, 2, 2], "m": [1.0, 4.0, 2.0, None]})
        assert figures.band(ticks, "m", log=False).loc[1].to_list() == [2.5, 1, 4]
        assert figures.band(ticks, "m", log=True).loc[1].to_list() == pytest.approx([2, 1, 4])
        assert figures.band(ticks, "m", log=False).loc[2].to_list() == [2, 2, 2]
        assert figures.band(ticks, "absent", log=False).empty

    def test_a_wide_grid_is_thinned_to_ten_whole_columns(self, made_up: Records) -> None:
        path = made_up.cell_folder("r490") / "samples" / "000100.png"
        found = samples.small(path)
        assert found is not None
        uri, columns = found
        assert len(columns) == 10
        assert (columns[0], columns[-1]) == (0, 48)
        width, height = np.frombuffer(
            base64.b64decode(uri.partition(",")[2])[16:24], dtype=">u4"
        )  # of the PNG's header
        assert (width, height) == (10 * 29 + 1, 5 * 29 + 1)

    def test_every_class_of_a_wide_grid_has_its_column(self, made_up: Records) -> None:
        path = made_up.cell_folder("r490") / "samples" / "000100.png"
        found = samples.strips(path)
        assert len(found) == 49
        with Image.open(path) as image:
            grid = image.convert("RGB")
        for column in (0, 48):
            with Image.open(io.BytesIO(base64.b64decode(found[column].partition(",")[2]))) as strip:
                box = (column * 29, 0, column * 29 + 30, 5 * 29 + 1)
                assert strip.convert("RGB").tobytes() == grid.crop(box).tobytes()
        narrow = made_up.cell_folder("r50") / "samples" / "000100.png"
        assert samples.strips(narrow) == []

    def test_conditions_are_told_apart(self) -> None:
        assert len({figures.style(i) for i in range(28)}) == 28


class TestCommand:
    @pytest.mark.usefixtures("undrawn")
    def test_it_prints_the_page(self, made_up: Records, capsys: pytest.CaptureFixture[str]) -> None:
        storage = str(made_up.folder.parent)
        assert report.main(["made_up", "--storage", storage]) == 0
        assert capsys.readouterr().out.strip() == str(made_up.folder / "report.html")

    def test_an_unknown_study_is_one_line_with_the_known_ones(
        self, made_up: Records, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert report.main(["mad_up", "--storage", str(made_up.folder.parent)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "'mad_up'" in error
        assert "there are made_up" in error

    def test_damaged_records_are_one_line_that_names_the_file(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "s").mkdir()
        (tmp_path / "s" / "study.json").write_text("{")
        assert report.main(["s", "--storage", str(tmp_path)]) == 2
        assert "study.json is damaged" in capsys.readouterr().err

    def test_a_wrong_name_costs_no_heavy_import(self, tmp_path: Path) -> None:
        code = (
            "import sys, study.report as r; r.main(['x', '--storage', sys.argv[1]]);"
            "print([m for m in ('torch', 'pandas', 'matplotlib', 'ray') if m in sys.modules])"
        )
        start = time.monotonic()
        command = [sys.executable, "-c", code, str(tmp_path)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=ROOT, env=dict(os.environ)
        )
        assert done.stdout.strip() == "[]"
        assert time.monotonic() - start < 2
