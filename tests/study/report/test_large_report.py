"""The report of a study with many conditions and cells.

If these tests fail, the page of a large study takes hours to write or cannot be opened, or leaves
out cells without a word.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from search_spaces.core import Claim, Group
from study.planning.study_json import claim_json
from study.records import records as records_module
from study.records.files import write_json
from study.records.records import Records
from study.report import curves, grid_panels
from study.report.page import MAX_CONDITIONS
from study.report.tables import MAX_CELLS
from study.report.write import write_report
from tests.study import tiny

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

CONDITIONS, SEEDS = MAX_CONDITIONS + 10, 9
NAMES = [f"lr={n}e-6" for n in range(1, CONDITIONS + 1)]


@pytest.fixture
def large(tmp_path: Path) -> Records:
    """A study whose claim is on the last condition."""
    claim = Claim(
        id="C1",
        text="the last condition is good",
        metric="fcd",
        of=Group(NAMES[-1]),
        region=(0.0, 9.0),
        log=True,
    )
    conditions = {name: {"lr": n * 1e-6} for n, name in enumerate(NAMES, 1)}
    study = tiny.study(conditions=conditions, claims=(claim,), space=None, reference_params={})
    plan = tiny.plan(study, tiny.budget(trials=0, seeds=SEEDS))
    records = tiny.begin(Records(tmp_path / "tiny"), plan)
    value = records.study() | {"claims": [claim_json(claim)]}
    value["environment"] |= {"versions": {}, "git_dirty": "", "hardware": {"gpus": []}}
    write_json(records.folder / "study.json", value)
    for name in NAMES:
        for cell in plan.confirm_cells(name, plan.hyperparameters(name)):
            tiny.write_cell(records, cell, tiny.rows(5.0, 4.0, 3.0 + 0.1 * cell.seed))
    return records


def test_large_study(large: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[list[str]] = []
    monkeypatch.setattr(curves, "figure", lambda by, metrics, names, *_, **__: drawn.append(names))
    monkeypatch.setattr(curves, "class_losses", lambda *_: None)
    monkeypatch.setattr(grid_panels, "rows", lambda *_: [])
    read, reader = Counter[Path](), records_module.read_json

    def counted(path: Path) -> Any:
        read[path] += 1
        return reader(path)

    monkeypatch.setattr(records_module, "read_json", counted)
    page = write_report(large).page.read_text()
    most = max(n for path, n in read.items() if path.name != "study.json")
    assert most <= 5, "files are read again for each condition"
    for conditions in drawn:
        assert len(conditions) == MAX_CONDITIONS
        assert NAMES[-1] in conditions, "a claim is on it"
    assert f"{MAX_CONDITIONS} of {CONDITIONS} conditions" in page
    table = page.split("Confirm cells: best, last and collapse")[1].split("</table>")[0]
    rows = re.findall(r'<tr><td>(.*?)</td><td>.*?</td><td class="n">(\d+)</td>', table)
    assert len(rows) == MAX_CELLS
    assert Counter(int(seed) for _, seed in rows)[0] == CONDITIONS, "each condition has its first"
    assert f"{MAX_CELLS} of {CONDITIONS * SEEDS} confirm cells" in page
    assert len((large.folder / "cells.csv").read_text().splitlines()) == 1 + CONDITIONS * SEEDS
