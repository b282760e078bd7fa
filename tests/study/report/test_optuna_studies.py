"""The searches as Optuna studies, as optuna-dashboard and Optuna's plots read them.

If these tests fail, somebody who looks at a search in optuna-dashboard sees another search.
"""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from study.planning.plan import Plan
from study.records.files import write_json
from study.records.records import Records
from study.report.__main__ import main
from study.report.optuna_studies import export
from tests.study import tiny

OUTCOMES = ("complete", "pruned", "diverged", "failed", None, "complete")


@pytest.fixture
def searched(records: Records, plan: Plan) -> Records:
    """Six search cells of classes=2 and one of classes=3; the fifth has not ended."""
    for number, outcome in enumerate(OUTCOMES):
        lr = 1e-4 * (number + 1)
        suggested = {"lr": lr, "adversarial": "hinge"}
        values = suggested | {"label_noise": "none"}
        for name in plan.conditions if number == 0 else ("classes=2",):
            cell = plan.search_cell(name, number, suggested, values)
            rows = tiny.rows(9.0, 8.0 - number, 5.0 - number)[: 2 if outcome == "pruned" else 3]
            tiny.write_cell(records, cell, rows, outcome)
            folder = records.cell_folder(cell.id)
            start = {"started": "2026-01-02T03:04:05+00:00", "run": 0, "error": None}
            write_json(folder / "attempts.json", [start])
            if outcome:
                ended = {"ended": "2026-01-02T03:04:15+00:00", "attempts": 1, "seconds": 1.0}
                write_json(folder / "result.json", {"outcome": outcome, "error": None} | ended)
    return records


def test_trials_are_not_those_of_the_search(searched: Records, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    assert export(searched, url) == ["tiny/classes=2", "tiny/classes=3"]
    study = optuna.load_study(study_name="tiny/classes=2", storage=url)
    assert study.direction == optuna.study.StudyDirection.MINIMIZE
    assert study.metric_names == ["fcd"]
    states = [trial.state for trial in study.trials]
    complete, pruned, fail = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL
    assert states == [complete, pruned, pruned, fail, complete]
    assert [trial.user_attrs["number"] for trial in study.trials] == [0, 1, 2, 3, 5]
    assert [round(trial.params["lr"], 6) for trial in study.trials] == [
        1e-4,
        2e-4,
        3e-4,
        4e-4,
        6e-4,
    ]
    assert study.trials[1].intermediate_values == {1: 7.0}
    assert study.best_trial.value == 0.0
    assert study.trials[0].duration is not None
    assert study.trials[0].duration.total_seconds() == 10
    space = study.trials[0].distributions
    assert space["lr"] == optuna.distributions.FloatDistribution(1e-5, 1e-2, log=True)
    assert set(optuna.importance.get_param_importances(study)) == {"lr", "adversarial"}


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("sqlite:////nowhere/optuna.db", "unable to open"),
        ("optuna.db", "parse"),
        ("ftp://x", "ftp"),
    ],
)
def test_database_that_cannot_be_used_ends_in_a_traceback(
    searched: Records, capsys: pytest.CaptureFixture[str], url: str, why: str
) -> None:
    storage = str(searched.folder.parent)
    assert main(["tiny", "--storage", storage, "--optuna", url]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"--optuna {url}" in said
    assert why in said


def test_studies_are_written_twice(searched: Records, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    export(searched, url)
    with pytest.raises(ValueError, match="has a study 'tiny/classes=2' already"):
        export(searched, url)


def test_study_without_search_cells(records: Records, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no search cell that has ended"):
        export(records, f"sqlite:///{tmp_path / 'optuna.db'}")


def test_refusal_repeats_a_password(searched: Records) -> None:
    with pytest.raises(ValueError, match="--optuna") as refusal:
        export(searched, "ftp://me:secret@host/db")
    assert "secret" not in str(refusal.value)
