"""What --dry-run says of the cost, and of what --decide may add to it.

If these tests fail, somebody begins a study that takes far longer than announced.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from search_spaces.core import Group
from study.dry_run import dry_run
from study.errors import BadInputError
from study.planning.plan import Plan
from study.planning.remaining import Remaining, planned
from study.planning.resources import Resources
from study.records.files import write_json
from study.records.records import Records
from tests.study import tiny
from tests.study.engine.test_decide import begin, claim, run

ONE = Resources(cpus=1, gpus=0, concurrent=2)
SPEED = (30.0, 0.1, 0.0)  # seconds: pretraining, an image, a fake. A cell of 3 kimg takes 330.


@pytest.fixture(autouse=True)
def known_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.planning.estimate._speed", lambda *_: SPEED)
    monkeypatch.setattr("study.dry_run.training_seconds", lambda *_: 180.0)


def told(plan: Plan, records: Records, decide: bool = True, new: bool = False) -> list[str]:
    lines: list[str] = []
    dry_run(plan, records, None if new else records.study(), ONE, lines.append, decide, False)
    return lines


def test_whole_study_is_costed_wrong(tmp_path: Path) -> None:
    plan = tiny.plan()
    assert told(plan, Records(tmp_path), decide=False, new=True) == [
        "cells: 8 search + at most 8 confirm over classes=2 | classes=3",
        "a cell: 3 kimg (3 in a search), measured every 1 kimg with 30 fakes",
        "resources: 1 CPU and 0 GPU per trial, 2 at a time",
        "judges, trained once for these data: 3 minutes",
        "estimated time of the cells: 44 minutes (early stopping apart)",
    ]


def test_judges_that_are_kept_are_trained_again(tmp_path: Path) -> None:
    (tmp_path / "judges.pt").touch()
    said = told(tiny.plan(), Records(tmp_path), decide=False, new=True)
    assert not any(line.startswith("judges") for line in said)


def test_looks_of_a_new_study_are_left_out(tmp_path: Path) -> None:
    """Two conditions of three seeds each; the claims may need up to twelve of each."""
    claims = (claim("classes=2"), claim("classes=3", primary=False))
    plan, records = begin(tmp_path / "tiny", *claims)
    assert told(plan, records, new=True)[5:] == [
        "--decide: the first look, after 3 seeds: 6 cells, 18 thousand images, 16 minutes",
        "--decide: at most, if each primary claim needs 12 seeds: 15 cells, 45 thousand images, "
        "41 minutes",
    ]


def test_study_without_primary_claims_is_decided(tmp_path: Path) -> None:
    plan, records = begin(tmp_path / "tiny", claim("classes=2", primary=False))
    nothing = "--decide: no primary claim is judged on confirm cells, so it adds nothing"
    assert told(plan, records, new=True)[5:] == [nothing]


def test_begun_study_is_costed_as_a_new_one(tmp_path: Path) -> None:
    """With 2 classes the claim is decided after three seeds; with 3 it stays undecided."""
    plan, records = begin(tmp_path / "tiny", claim("classes=2"), claim("classes=3"))
    run(plan, records, cells=2)
    two, three, now, most = told(plan, records)[5:]
    end = "its next look is after 3 seeds"
    for name, line in (("classes-2", two), ("classes-3", three)):
        assert line.startswith(f"--decide: {name} is undecided (1 of 3 seeds have ended")
        assert line.endswith(f"), {end}")
    assert now.endswith("unfinished, before the next look: 4 cells, 12 thousand images, 11 minutes")
    assert most.endswith("need 12 seeds: 22 cells, 66 thousand images, 60 minutes")
    plan, records = begin(tmp_path / "whole", claim("classes=2"), claim("classes=3"))
    for _ in range(6):
        run(plan, records, cells=1)
    undecided, look, most = told(plan, records)[5:]
    assert undecided.startswith("--decide: classes-3 is undecided (at the spread seen, it takes at")
    assert undecided.endswith("), its next look is after 5 seeds")
    assert look == (
        "--decide: the next look, classes=3 (reference) 5 seeds: 2 cells, 6 thousand images, "
        "6 minutes"
    )
    assert most == (
        "--decide: at most, if all these claims need 12 seeds: 9 cells, "
        "27 thousand images, 25 minutes"
    )


def test_decided_study_seems_to_go_on(tmp_path: Path) -> None:
    plan, records = begin(tmp_path / "tiny", claim("classes=2"))
    run(plan, records)
    nothing = "--decide: no primary claim is undecided that could be decided, so it adds nothing"
    assert told(plan, records)[5:] == [nothing]


def test_damaged_record_ends_in_a_traceback(tmp_path: Path) -> None:
    plan, records = begin(tmp_path / "tiny", claim("classes=2"))
    run(plan, records)
    (records.cell_folder(records.ids()[0]) / "ticks.json").write_text("[")
    with pytest.raises(BadInputError, match="is damaged"):
        told(plan, Records(records.folder))


def test_cells_on_record_are_missing(tmp_path: Path, plan: Plan) -> None:
    """Of a search that is not over, the confirm cells of its best are missing, too."""
    records = tiny.begin(Records(tmp_path / "tiny"), plan)
    assert Remaining(plan, records).missing() == planned(plan)
    for n in range(plan.budget.trials):
        values = {**tiny.REFERENCE, "lr": 1e-4 * (n + 1)}
        tiny.write_cell(records, plan.search_cell("classes=2", n, {}, values), tiny.rows(9, 5 + n))
        expected = planned(plan)
        expected["classes=2", "search"] -= n + 1
        assert Remaining(plan, records).missing() == expected
    best = plan.confirm_cells("classes=2", records.best()["classes=2", 0])
    tiny.write_cell(records, best[0], tiny.rows(9, 4))
    expected["classes=2", "confirm"] -= 1
    assert Remaining(plan, records).missing() == expected


def test_claims_on_the_best_are_costed_as_the_reference(tmp_path: Path) -> None:
    one = claim("classes=2")
    best = type(one)(**{**one.__dict__, "of": Group("classes=2", "best")})
    plan = tiny.plan(tiny.study(claims=(best,)), tiny.budget(trials=4, seeds=3))
    records = tiny.begin(Records(tmp_path / "tiny"), plan)
    write_json(records.folder / "study.json", records.study())
    first, most = told(plan, records, new=True)[5:]
    assert ": 20 cells, 60 thousand images" in first
    assert ": 29 cells, 87 thousand images" in most, "nine more seeds of the best of classes=2"


def test_folder_without_cells_ends_in_a_traceback(tmp_path: Path) -> None:
    plan, records = begin(tmp_path / "tiny", claim("classes=2"))
    _, now, most = told(plan, records)[5:]
    assert now.endswith("unfinished, before the next look: 6 cells, 18 thousand images, 16 minutes")
    assert ": 15 cells, " in most
