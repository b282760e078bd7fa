"""--decide: which cells follow when every cell has ended and primary claims are undecided.

Where these tests fail, seeds are spent on claims that are decided, or the same command does not go
on where it was.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from math import inf
from pathlib import Path

import numpy as np
import pytest
from ray.tune.search import Searcher

from search_spaces.core import Claim, Group
from study.planning.cells import Cell
from study.planning.plan import Plan
from study.planning.study_json import claim_json, looks
from study.records.files import write_json
from study.records.records import Records
from study.report.next_look import next_look
from study.report.write import claims_frame
from tests.study import tiny
from tests.study.fake_ray import Ray

LOOKS = [3, 5, 8, 12]


def claim(condition: str, primary: bool = True) -> Claim:
    """The claim that a condition's FCD is at most 3."""
    return Claim(
        id=condition.replace("=", "-"),
        text="it works",
        metric="fcd",
        of=Group(condition),
        region=(-inf, 3.0),
        primary=primary,
    )


def objective(cell: Cell) -> float:
    """With 2 classes FCD is far below 3 in every seed; with 3 classes it lies around 3."""
    noise = float(np.random.default_rng(cell.seed).normal())
    return 1.0 + 0.1 * noise if cell.condition_name == "classes=2" else 3.2 + (-1) ** cell.seed


def begin(folder: Path, *claims: Claim) -> tuple[Plan, Records]:
    study = dataclasses.replace(tiny.study(), claims=claims)
    plan = tiny.plan(study, tiny.budget(trials=0, seeds=3))
    records = tiny.begin(Records(folder), plan)
    planned = {"looks": looks(3), "claims": [claim_json(one) for one in claims]}
    write_json(records.folder / "study.json", records.study() | planned)
    return plan, records


def run(plan: Plan, records: Records, cells: int | None = None) -> list[tuple[str, int]]:
    """Run the study to its end, or for a number of cells. Returns (condition, seed) of each."""
    ray = Ray(plan, records, functools.partial(next_look, records=records))
    done = []
    while (cells is None or len(done) < cells) and (cell := ray.ask()) is not None:
        done.append((cell.condition_name, cell.seed))
        ray.finish(cell, objective(cell))
    assert cells is not None or ray.searcher.suggest("end") == Searcher.FINISHED
    return done


def test_decided_claim_gets_more_seeds(tmp_path: Path) -> None:
    plan, records = begin(tmp_path / "tiny", claim("classes=2"), claim("classes=3"))
    assert looks(3) == LOOKS
    done = run(plan, records)
    assert Counter(name for name, _ in done) == {"classes=2": 3, "classes=3": 12}
    frame = claims_frame(records).set_index("id")
    assert frame["verdict"].to_dict() == {"classes-2": "supported", "classes-3": "undecided"}
    assert frame["n_of"].to_dict() == {"classes-2": 3, "classes-3": 12}
    assert "it takes at least" in frame.loc["classes-3", "reason"]
    assert run(plan, records) == [], "a finished study starts something"


@pytest.mark.parametrize("cells", [2, 8])
def test_interrupted_study_goes_on_with_other_cells(cells: int, tmp_path: Path) -> None:
    plan, records = begin(tmp_path / "through", claim("classes=2"), claim("classes=3"))
    through = run(plan, records)
    plan, records = begin(tmp_path / "twice", claim("classes=2"), claim("classes=3"))
    assert sorted(run(plan, records, cells) + run(plan, records)) == sorted(through)
    a, b = (claims_frame(Records(tmp_path / name)) for name in ("through", "twice"))
    assert a.equals(b)


def test_exploratory_claim_gets_more_seeds(tmp_path: Path) -> None:
    plan, records = begin(tmp_path / "tiny", claim("classes=2"), claim("classes=3", primary=False))
    assert len(run(plan, records)) == 6
