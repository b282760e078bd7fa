"""Whether a run measures FID: never at the price of the answer's time, unless somebody asks.

If these tests fail, a study on a processor takes several times as long as it says, for a figure
that is mostly bias.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from search_spaces.core import Budget
from study.errors import BadInputError
from study.metrics.core import inception
from study.planning import fid_weights
from study.planning.plan import Plan
from tests.study import tiny

CPU, GPU = torch.device("cpu"), torch.device("cuda")
CACHED, ASKED = Path("cached.pth"), Path("asked.pth")
MANY, FEW = tiny.budget(samples=2049), tiny.budget(samples=2048)


@pytest.fixture(autouse=True)
def cached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inception, "find_weights", lambda path=None: path or CACHED)


def plan(budget: Budget = MANY, **study: Any) -> Plan:
    return tiny.plan(tiny.study(**study), budget)


@pytest.mark.parametrize(
    ("plan_", "device", "why"),
    [
        (plan(), CPU, "this machine, which measures the real images, has no GPU"),
        (plan(FEW), GPU, "2048 fakes have a singular covariance in 2048 dimensions"),
    ],
)
def test_fid_is_measured_where_nobody_wants_it(
    plan_: Plan, device: torch.device, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line must say why FID is left out, and what asks for it. Nothing is downloaded."""
    monkeypatch.setattr(inception, "find_weights", lambda *_: pytest.fail("looked for weights"))
    weights, line = fid_weights.choose(plan_, None, device)
    assert weights is None
    assert line is not None
    assert line.startswith("left out, because")
    assert why in line
    assert "--fid-weights FILE asks for it" in line


def test_fid_is_left_out_where_it_means_something(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fid_weights.choose(plan(), None, GPU) == (CACHED, None)
    monkeypatch.setattr(inception, "find_weights", lambda: None)
    weights, line = fid_weights.choose(plan(), None, GPU)
    assert weights is None
    assert line == "left out, because its Inception weights are neither here nor downloadable"


@pytest.mark.parametrize("device", [CPU, GPU])
def test_fid_is_left_out_though_asked_for(device: torch.device) -> None:
    """Of few fakes it is still pytorch-fid's figure, but the line must say what it is worth."""
    assert fid_weights.choose(plan(), ASKED, device) == (ASKED, None)
    weights, line = fid_weights.choose(plan(FEW), ASKED, device)
    assert weights == ASKED
    assert line is not None
    assert "most of it is bias" in line


@pytest.mark.parametrize(
    "plan_", [plan(fid=False), plan(tiny.budget(samples=2049, seeds=0))], ids=["off", "no seeds"]
)
def test_real_images_are_measured_for_no_cell(plan_: Plan) -> None:
    """Passing all of them through Inception takes an hour of a processor."""
    assert fid_weights.choose(plan_, None, GPU) == (None, None)
    weights, line = fid_weights.choose(plan_, ASKED, GPU)
    assert weights is None
    assert line == "left out, because no cell of this study measures it"


def test_verified_cell_has_other_columns_than_its_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether FID is measured again must depend on the record alone, not on the machine."""
    assert fid_weights.find_again([{"kimg": 1}], ASKED) is None
    rows = [{"kimg": 1}, {"kimg": 2, "fid": 3.0}]
    assert fid_weights.find_again(rows, ASKED) == ASKED
    assert fid_weights.find_again(rows, None) == CACHED
    monkeypatch.setattr(inception, "find_weights", lambda path: None)
    with pytest.raises(BadInputError, match=r"--verify: the cell measured fid: .*--fid-weights"):
        fid_weights.find_again(rows, None)
