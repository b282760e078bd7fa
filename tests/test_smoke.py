"""Runs every study at scale smoke, on data that need no network.

Everything is as in a user's command, with two exceptions. Cells run one after the other in this
process and not on Ray, which saves the start of two workers for each study. Studies on Ray are
tested in tests/chaos and in tests/test_cluster.py. And the classifiers of the metrics cas and
encoder learn from a fifth of the images, as smoke's judges do.

Where this fails, a study that is listed does not run, or ends without verdicts on its claims.
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
from study.planning.plan import Cell, Plan
from study.planning.progress import is_finished
from study.planning.resources import Resources
from study.records.records import Records
from study.report.write import claims_frame
from study.run import main

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


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
    searcher = StudySearcher(plan, records, observer, grow)
    device = prepare_process(1, 0.0)
    judges = [Judge.from_state(dict(state), device) for state in shared.judges]
    while isinstance(given := searcher.suggest("trial"), dict):
        cell = Cell.from_json(given["cell"])
        run = CellRun(cell, shared, device, judges)
        while not run.finished:
            run.advance()
            if searcher.observe(cell.id):
                break
        run.close()
        searcher.on_trial_complete("trial", {"outcome": "complete"})
    assert searcher.problem is None
    return is_finished(searcher.plan, records)


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory, warm: Callable[[Path], Path]) -> Path:
    """One storage folder for all studies, so that judges are trained once per data set."""
    return warm(tmp_path_factory.mktemp("smoke"))


@pytest.mark.parametrize("name", search_spaces.names())
def test_study_does_not_run(
    storage: Path,
    name: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("study.engine.engine.run_cells", run_in_turn)
    for module, constant in ((cas, "IMAGES"), (cas, "DRAWS"), (encoder, "PROBED")):
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


def test_larger_number_of_seeds_repeats_cells(
    tmp_path: Path, warm: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a finished study is enlarged, its results must stay as they are."""
    monkeypatch.setattr("study.engine.engine.run_cells", run_in_turn)
    name, storage = "acgan_kmnist_classes", warm(tmp_path)
    command = [name, "--scale=smoke", "--data=kana", "--only=classes=5", "--trials=2"]

    def results() -> dict[str, bytes]:
        found = storage.glob(f"{name}/cells/*/result.json")
        return {path.parent.name: path.read_bytes() for path in found}

    assert main([*command, f"--storage={storage}", "--seeds=1"]) == 0
    before = results()
    assert main([*command, f"--storage={storage}", "--seeds=3"]) == 0
    assert before.items() <= results().items()
    cells = Records(storage / name).cells()
    grown = cells[~cells["id"].isin(before)]
    assert set(grown["phase"]) == {"confirm"}
    assert set(grown["seed"]) == {1, 2}


def test_decide_ends_before_claims_are_decided(
    tmp_path: Path, warm: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At scale smoke no claim can be decided, so all planned looks are needed."""
    monkeypatch.setattr("study.engine.engine.run_cells", run_in_turn)
    name, storage = "acgan_kmnist_classes", warm(tmp_path)
    command = [name, "--scale=smoke", "--data=kana", "--only=classes=5", "--trials=0", "--seeds=1"]
    assert main([*command, f"--storage={storage}", "--decide"]) == 0
    records = Records(storage / name)
    assert records.study()["looks"] == [1, 3, 5, 8]
    decided = claims_frame(records).query("primary and verdict != 'not run'")
    assert list(decided["id"]) == ["A4a"]
    last = 8 if decided["verdict"].item() == "undecided" else decided["n_of"].item()
    assert sorted(records.cells()["seed"]) == [*range(last)]
