"""The page and the tables of a study's report.

If these tests fail, a reader is told something that the records do not say, or nothing: a figure or
table is missing without a word, a page needs the network, or a young or odd study ends in a
traceback.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import matplotlib.figure  # noqa: F401  a slow import that would time out the first test
import optuna.importance  # noqa: F401
import pandas as pd
import pytest

from study.records.files import write_json
from study.records.records import Records
from study.report import curves
from study.report.__main__ import main
from study.report.write import claims_frame, write_report
from tests.study import synthetic

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def html(made_up: Records) -> str:
    """The page of `made_up`. Its CSVs are written beside it."""
    return page(made_up)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the curves, which take longest, in tests that look only at words."""
    monkeypatch.setattr(curves, "figure", lambda *_, **__: None)
    monkeypatch.setattr(curves, "class_losses", lambda *_: None)


def page(records: Records) -> str:
    return write_report(records).page.read_text()


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
    def test_pilot_is_kept_from_the_reader(self, tmp_path: Path) -> None:
        records = Records(tmp_path)
        write_json(tmp_path / "study.json", synthetic.study_json())
        assert "<dt>Pilot</dt>" not in page(records)
        pilot = {"folder": "runs/tuned", "id": "f2", "seeds": [0, 1]}
        write_json(tmp_path / "study.json", synthetic.study_json(pilot=pilot))
        assert "<dt>Pilot</dt><dd>runs/tuned, whose results were used for tuning" in page(records)

    @pytest.mark.usefixtures("undrawn")
    def test_verdicts_of_a_smoke_run_pass_for_results(self, tmp_path: Path) -> None:
        records, study = Records(tmp_path), synthetic.study_json()
        write_json(tmp_path / "study.json", study)
        assert "say nothing of the" not in page(records)
        study["definition"]["scale"] = "smoke"
        write_json(tmp_path / "study.json", study)
        assert "say nothing of the" in page(records)

    @pytest.mark.usefixtures("undrawn")
    def test_page_does_not_say_why_fid_is_missing(self, tmp_path: Path) -> None:
        """The last run of the command counts, because each run decides anew."""
        records, line = Records(tmp_path), "left out, because without a GPU"
        for lines, told in (([None, line], True), ([line, None], False), ([], False)):
            study = synthetic.study_json(runs=[{"about_fid": text} for text in lines])
            write_json(tmp_path / "study.json", study)
            assert (line in page(records)) == told

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
        assert verdicts.to_list() == claims_frame(made_up)["verdict"].to_list()

    @pytest.mark.usefixtures("undrawn")
    def test_claim_stands_there_without_its_source(self, tmp_path: Path) -> None:
        records, study = Records(tmp_path), synthetic.study_json()
        study["claims"][0]["source"] = "write-up: plot of losses"
        write_json(tmp_path / "study.json", study)
        html = page(records)
        assert html.count("Source: ") == 1
        assert "Source: write-up: plot of losses" in html
        sources = pd.read_csv(tmp_path / "claims.csv", keep_default_na=False)["source"].to_list()
        assert sources == ["write-up: plot of losses"] + [""] * (len(study["claims"]) - 1)

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
        for text in ("No training run has ended yet", "No confirm cell has", "was not measured"):
            assert text in html
        for text in ("<h2>D's class loss", "match their labels"):
            assert text not in html

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
        """The study is like one of cgan.

        It is a plain factorial of one seed, some ticks lack a metric, and there are no sample
        grids.
        """
        study = synthetic.study_json()
        for key in ("claims", "environment", "command", "left_out"):
            del study[key]
        del study["definition"]["space"]
        rows = synthetic.rows(5, 0, class_loss=False)
        del rows[2]["variance_ratio"], rows[-1]["fcd_floor"]
        records = synthetic.small(tmp_path, rows, seeds=1)
        write_json(tmp_path / "study.json", study)
        html = page(records)
        for text in (
            "This study states no claims",
            "No sample grids",
            "the study has no search space",
            "not recorded",
        ):
            assert text in html
        assert "<h3>Best found" not in html
        assert "class loss" not in html

    @pytest.mark.usefixtures("undrawn")
    def test_a_cell_that_failed_before_its_first_tick(self, tmp_path: Path) -> None:
        records = synthetic.small(tmp_path, synthetic.rows(5, 0), seeds=2)
        synthetic.write_grids(records, "c0", 5, (0, 100))
        given = {"classes": 5, "hyperparameters": synthetic.REFERENCE, "phase": "confirm"}
        synthetic.write_cell(records, "dead", **given, seed=9, outcome="out_of_memory", rows=[])
        (records.cell_folder("c0") / "samples" / "000100.png").write_bytes(b"torn")
        html = page(records)
        assert "out of memory" in html
        assert "1 of 3 cells of classes=5 (reference) out of memory" in html

    @pytest.mark.usefixtures("undrawn")
    def test_first_paragraph_counts_wrongly(self, tmp_path: Path) -> None:
        """Cells that are both reference and best are single runs, and `--only` leaves some out."""
        study = synthetic.study_json(failure={"metric": "fcd", "region": [1.0, None]})
        records = synthetic.small(tmp_path, synthetic.rows(5, 0), seeds=2)
        write_json(tmp_path / "study.json", study | {"runs": []})
        html = page(records)
        assert re.search(r"1\s+condition was\s+trained by the reference recipe", html)
        assert ": 2 runs with seeds" in html
        assert "2 of the runs failed" in html
        assert html.count("failed: 2") >= 1

    @pytest.mark.usefixtures("undrawn")
    def test_commands_of_a_folder_are_left_out(self, tmp_path: Path) -> None:
        runs = [
            {"command": "python -m study.run one", "code": "c1", "started": "2026-01-02T03:04:05"},
            {"command": "python -m study.run one", "code": "c1", "started": "2026-01-03T03:04:05"},
            {"command": "python -m study.run one --decide", "code": "c2", "git_commit": "abc"},
        ]
        write_json(tmp_path / "study.json", synthetic.study_json(runs=runs))
        html = page(Records(tmp_path))
        assert "<dt>Commands</dt>" in html
        assert html.count("<code>python -m study.run one</code>") == 1
        assert "2 times, first 2026-01-02 03:04, code c1" in html
        assert "<code>python -m study.run one --decide</code>" in html


class TestCommand:
    @pytest.mark.usefixtures("undrawn")
    def test_it_prints_the_page(self, made_up: Records, capsys: pytest.CaptureFixture[str]) -> None:
        storage = str(made_up.folder.parent)
        assert main(["made_up", "--storage", storage]) == 0
        assert capsys.readouterr().out.strip() == str(made_up.folder / "report.html")

    def test_an_unknown_study_is_one_line_with_the_known_ones(
        self, made_up: Records, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["mad_up", "--storage", str(made_up.folder.parent)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "'mad_up'" in error
        assert "there are made_up" in error

    def test_damaged_records_are_one_line_that_names_the_file(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "s").mkdir()
        (tmp_path / "s" / "study.json").write_text("{")
        assert main(["s", "--storage", str(tmp_path)]) == 2
        assert "study.json is damaged" in capsys.readouterr().err

    def test_a_wrong_name_costs_no_heavy_import(self, tmp_path: Path) -> None:
        code = (
            "import sys, study.report.__main__ as r; r.main(['x', '--storage', sys.argv[1]]);"
            "print([m for m in ('torch', 'pandas', 'matplotlib', 'ray') if m in sys.modules])"
        )
        start = time.monotonic()
        command = [sys.executable, "-c", code, str(tmp_path)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=ROOT, env=dict(os.environ)
        )
        assert done.stdout.strip() == "[]"
        assert time.monotonic() - start < 2
