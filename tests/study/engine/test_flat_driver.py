"""What the driver does for one cell must not grow with the number of cells.

If these tests fail, a study of ten thousand cells spends its time on looking for the next one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from study.engine.search import ConditionSearch
from study.planning import prepare
from study.planning.plan import Plan
from study.records import store
from study.records.records import Records
from tests.study import tiny
from tests.study.engine.searched import NAME, TRIALS, give, run
from tests.study.fake_ray import Ray


@pytest.fixture(name="plan")
def two_phases() -> Plan:
    return tiny.plan(budget_=tiny.budget(trials=3, seeds=3))


def test_files_of_other_cells_are_read(
    plan: Plan, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once a command has begun, it reads only what belongs to the cell at hand."""
    with prepare.lock(records.folder) as records.lock:
        ray = Ray(plan, records)
        ray.finish(ray.must(), 9.0)
        read: list[Path] = []
        reader, finder = store.read, store.find

        def note(path: Path) -> bytes:
            read.append(path)
            return reader(path)

        def list_again(folder: Path, *names: str) -> Any:
            read.append(folder)
            return finder(folder, *names)

        monkeypatch.setattr(store, "read", note)
        monkeypatch.setattr(store, "find", list_again)
        while (cell := ray.ask()) is not None:
            ray.finish(cell, 4.0 - 0.1 * (cell.number or 0))
            assert {path.parent.name for path in read} <= {cell.id}
            read.clear()
        assert ray.searcher.remaining.is_finished
        assert len(records.ids()) == 6 + 2 * 6
    assert Records(records.folder).ids() == records.ids()


def test_index_is_older_than_the_folder(plan: Plan, records: Records) -> None:
    """Damaged cells run again, so they are no longer accepted once they were set aside."""
    cell = plan.confirm_cells(NAME, plan.hyperparameters(NAME))[0]
    with prepare.lock(records.folder) as records.lock:
        assert records.ids() == []
        records.begin(cell.as_json(), {"started": "now", "run": 0, "error": None})
        assert records.ids() == [cell.id]
        assert records.result(cell.id) is None
        tiny.write_cell(records, cell, tiny.rows(3, 2), None)
        records.accept(cell.id, {"outcome": "complete"})
        assert records.result(cell.id) == {"outcome": "complete"}
        (records.cell_folder(cell.id) / "ticks.json").write_text("[")
        assert len(records.quarantine_damaged()) == 1
        assert records.result(cell.id) is None
        assert records.ids() == [cell.id]


def test_optuna_is_told_everything_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each cell that TPE suggests adds one trial to Optuna's study, and no more."""
    plan = tiny.plan(budget_=tiny.budget(trials=TRIALS))
    added: list[object] = []
    add = optuna.Study.add_trial
    monkeypatch.setattr(
        optuna.Study, "add_trial", lambda study, trial: (added.append(trial), add(study, trial))
    )
    records = tiny.begin(Records(tmp_path), plan)
    cells = run(ConditionSearch(plan, NAME, records), records, TRIALS)
    assert cells[-1].sampled_by == "tpe"
    assert len(added) <= TRIALS + 1, "the reference recipe is one more"


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_early_stopping_differs_from_optunas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, direction: str
) -> None:
    """The rule is that of Optuna's MedianPruner, without a study of Optuna's for each cell."""
    budget = tiny.budget(trials=40, kimg=6, search_kimg=6, seeds=0, search_parallelism=3)
    plan = tiny.plan(budget_=budget)
    monkeypatch.setattr(Plan, "direction", direction)
    search = ConditionSearch(plan, NAME, records := tiny.begin(Records(tmp_path), plan))
    rng, peers, stopped = np.random.default_rng(0), list[optuna.trial.FrozenTrial](), 0
    cells = list[Any]()
    for number in range(40):
        while len(cells) <= number:
            cell = search.ask()
            assert cell is not None
            give(records, cell)
            cells.append(cell)
        quality = rng.lognormal(0.0, 0.5)
        rows, stop = tiny.rows(*(quality * rng.lognormal(0.0, 0.1, 7))), False
        study = optuna.create_study(
            direction=direction,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=4),
        )
        study.add_trials(peers[: max(0, number - 2)])
        trial = study.ask()
        for n in range(1, 7):
            trial.report(rows[n]["fcd"], n)
            stop = search.should_stop(cells[number], rows[: n + 1])
            assert stop == trial.should_prune()
            if stop:
                break
        stopped += stop
        search.tell(cells[number], "pruned" if stop else "complete", rows[: n + 1])
        peers.append(search.ended[number])
    assert 5 < stopped < 35
