"""The table of the claims of many studies.

Where these fail, a README or a paper is given other figures than the records hold, or loses
sections on other studies when one is written anew.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from study.records.folders import find_studies
from study.records.records import Records
from study.report.__main__ import main
from study.report.results import results, write_results
from study.report.write import claims_frame
from tests.study import synthetic


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> list[Records]:
    """Two studies; the second one states a single claim and has a folder of an earlier run."""
    storage = tmp_path_factory.mktemp("runs")
    one = synthetic.study_json()["claims"][1] | {"source": "Radford 2015 (arXiv:1511.06434): eyes"}
    other = {"study": "other", "claims": [one]}
    synthetic.write_study(storage / "made_up", seeds=4)
    for name, title in (("other", "An earlier run"), ("other.2", "A | B")):
        synthetic.write_study(storage / name, seeds=2, title=title, **other)
    return find_studies(storage, [])


def test_newest_folder_of_each_study_counts(studies: list[Records]) -> None:
    assert [records.folder.name for records in studies] == ["made_up", "other.2"]


def test_table_differs_from_the_verdicts(studies: list[Records]) -> None:
    frame, claims = results(studies[0]), claims_frame(studies[0])
    pd.testing.assert_frame_equal(frame[list(claims)], claims)
    first = frame.iloc[0]
    assert (first["study"], first["data"], first["scale"]) == ("made_up", "kana", "quick")
    assert first["cells"] == len(studies[0].cells())
    assert first["cell_minutes"] == round(1.5 * first["cells"])
    assert list(frame["failed"])[:3] == ["0 of 4", "0 of 4", "0 of 4 / 0 of 4"]
    assert frame["failed"].iloc[4] == "none run / 0 of 4"


def test_markdown_loses_other_sections(studies: list[Records], tmp_path: Path) -> None:
    path = tmp_path / "results.md"
    path.write_text("# Results\n\nBy hand.\n\n## `other`\n\nOld.\n\n## Notes\n\nBy hand, too.")
    write_results(path, studies)
    whole = path.read_text()
    heads = [line for line in whole.splitlines() if line.startswith("#")]
    assert heads == ["# Results", "## `other`", "## Notes", "## `made_up`"]
    assert "\n## Notes\n\nBy hand, too.\n" in whole
    assert "Old." not in whole
    assert whole.startswith("# Results\n\nBy hand.\n\n## `other`\n")
    assert "[arXiv:1511.06434](https://arxiv.org/abs/1511.06434)" in whole
    assert "\n\nA | B\n\nOn `kana` at scale quick: " in whole
    write_results(path, studies[1:])
    assert path.read_text() == whole
    line = next(line for line in whole.splitlines() if line.startswith("| A3"))
    effect = claims_frame(studies[0]).set_index("id").loc["A3", "effect"]
    assert f"{effect:.3g} [" in line
    assert line.count(" | ") == 5


def test_other_kinds_hold_other_claims(studies: list[Records], tmp_path: Path) -> None:
    storage = str(studies[0].folder.parent)
    for name in ("t.csv", "t.tex"):
        assert main(["--storage", storage, "--table", str(tmp_path / name)]) == 0
    read = pd.read_csv(tmp_path / "t.csv")
    assert list(read["study"]) == ["made_up"] * 5 + ["other"]
    latex = (tmp_path / "t.tex").read_text()
    assert latex.startswith("\\begin{longtable}")
    assert latex.count("other &") == 1
    assert latex.isascii()


def test_copy_is_taken_for_the_study(studies: list[Records], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(studies[0].folder, tmp_path / "copied"))
    assert set(results(Records(copy))["study"]) == {"copied"}
    assert set(results(studies[1])["study"]) == {"other"}


def test_old_folder_keeps_the_others_back(
    studies: list[Records], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = Path(shutil.copytree(studies[0].folder.parent, tmp_path / "runs"))
    (storage / "made_up" / "study.json").write_text("{")
    table = tmp_path / "t.csv"
    assert main(["--storage", str(storage), "--table", str(table)]) == 0
    assert set(pd.read_csv(table)["study"]) == {"other"}
    assert "left out: " in capsys.readouterr().err
    assert main(["made_up", "--storage", str(storage), "--table", str(table)]) == 2


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--table", "t.html"], "--table t.html: the file's name must end in .md, .csv, .tex"),
        (["nothing", "--table", "t.md"], "no records of study 'nothing'"),
        (["--table", "t.md", "--mirror"], "--table goes with no other option"),
        (["made_up", "other"], "NAME='made_up other': one study is needed"),
        ([], "NAME='': one study is needed"),
        (
            ["--table", "t.md", "--storage", "empty"],
            "(no study is there)",
        ),
    ],
)
def test_bad_input_is_taken(
    studies: list[Records],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    why: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--storage", str(studies[0].folder.parent), *arguments]) == 2
    error = capsys.readouterr().err
    assert why in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
