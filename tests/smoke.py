"""Run a study at scale smoke in this process, and check that it ends as it should.

Everything is as in a user's command, with two exceptions. Cells run one after the other in this
process and not on Ray, which saves the start of two workers for each study. Studies on Ray are
tested in tests/chaos and in tests/test_cluster.py. And the classifiers of the metrics cas and
encoder learn from a fifth of the images, as smoke's judges do.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import search_spaces
from search_spaces.core import IMPORTANCE
from study.engine.cell import CellRun
from study.engine.schedule import Grow, Observer, StudySearcher
from study.engine.shared_state import SMOKE_SHARE, Shared
from study.engine.trial import prepare_process
from study.metrics import cas, encoder
from study.metrics.core.judge import Judge
from study.planning.cells import Cell
from study.planning.plan import Plan
from study.planning.resources import Resources
from study.records.records import Records
from study.report.write import claims_frame
from study.run import main


def run_in_turn(
    plan: Plan,
    records: Records,
    shared: Shared,
    resources: Resources,
    observer: Observer,
    report: Callable[[str], None],
    grow: Grow | None,
) -> bool:
    """Do what `engine.run_cells` does, without Ray. A cell that fails ends the test."""
    searcher = StudySearcher(plan, records, observer, 1, grow)
    device = prepare_process(1, 0.0)
    judges = [Judge.from_state(dict(state), device) for state in shared.judges]
    while isinstance(given := searcher.suggest("trial"), dict):
        cell = Cell.from_json(given["cell"])
        run = CellRun(cell, shared, device, judges)
        while not run.finished:
            run.advance()
            if searcher.observe(cell.id, run.rows[-1]["kimg"]):
                break
        run.close()
        searcher.on_trial_complete("trial", {"outcome": "complete"})
    assert searcher.problem is None
    return searcher.remaining.is_finished


def check_study(
    name: str,
    storage: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Run a study on its rendered data."""
    monkeypatch.setattr("study.engine.engine.run_cells", run_in_turn)
    fewer_images = {
        cas: ("IMAGES", "DRAWS"),
        encoder: ("PROBED",),
    }
    for module, constants in fewer_images.items():
        for constant in constants:
            monkeypatch.setattr(module, constant, int(getattr(module, constant) * SMOKE_SHARE))
    study = search_spaces.load(name)
    command = [name, "--scale", "smoke", "--data", study.stand_in, "--storage", str(storage)]
    # One seed and two search cells; claims on importances need all cells of their search.
    smoke = study.scales["smoke"]
    importances = any(claim.metric.startswith(IMPORTANCE) for claim in study.claims)
    fewer = [] if importances else ["--trials", str(min(smoke.trials, 2)), "--seeds", "1"]
    assert main([*command, *fewer]) == 0
    said = capfd.readouterr()
    assert "Traceback" not in said.out + said.err
    assert "is behind" not in said.out
    records = Records(storage / name)
    cells = records.cells()
    assert set(cells["outcome"]) <= {"complete", "pruned"}
    assert set(cells["condition"]) == set(study.conditions)
    assert (records.folder / "report.html").stat().st_size > 10_000
    claims = claims_frame(records)
    assert list(claims["id"]) == [claim.id for claim in study.claims]
    assert claims["verdict"].notna().all()
