"""A study small enough for tests: three classes of 16x16 bars, networks of width 2."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from search_spaces.core import Budget, Claim, Group, Study, crossed
from study.planning.cells import Cell
from study.planning.plan import Plan
from study.records.files import write_json
from study.records.records import FORMAT, Records, Row
from trainables.data.base import Dataset, DataSpec, Split

SIZE = 16
# Kinds of data: one label (as the bars have), several labels, pairs, points in the plane.
SPEC = DataSpec(3, 1, (SIZE, SIZE))
SEVERAL = DataSpec(3, 1, (SIZE, SIZE), labels=3)
PAIRED = DataSpec(4, 1, (SIZE, SIZE), paired=True)
POINTS = DataSpec(8, 1, (1, 2))
SQUARES = 6  # labels of `several_labels`
REFERENCE = {"lr": 2e-4, "adversarial": "saturating", "label_noise": "two_sided"}
BUDGET = Budget(
    kimg=3,
    search_kimg=3,
    tick_kimg=1,
    trials=4,
    seeds=2,
    samples=30,
    scale_overrides={"f": 2, "batch": 100},
)


def space(trial: Any) -> dict[str, Any]:
    values = {
        "lr": trial.suggest_float("lr", 1e-5, 1e-2, log=True),
        "adversarial": trial.suggest_categorical("adversarial", ["saturating", "hinge"]),
        "label_noise": "none",
    }
    if values["adversarial"] == "saturating":
        values["label_noise"] = trial.suggest_categorical("label_noise", ["none", "two_sided"])
    return values


def study(**changes: Any) -> Study:
    given: dict[str, Any] = {
        "title": "ACGAN on bars",
        "variant": "acgan",
        "data": "bars",
        "stand_in": "bars",
        "conditions": crossed(classes=(2, 3)),
        "reference": REFERENCE,
        "space": space,
        "reference_params": REFERENCE,
        "metrics": ("fcd", "labels", "variance", "class_loss", "gradients"),
        "claims": (
            Claim(
                id="T1",
                text="two classes work",
                metric="label_accuracy",
                of=Group("classes=2"),
                region=(0.9, 1.0),
            ),
        ),
        "scales": {"smoke": BUDGET, "quick": BUDGET, "full": BUDGET},
    }
    return Study(**{**given, **changes})


def budget(**changes: Any) -> Budget:
    given = {name: getattr(BUDGET, name) for name in BUDGET.__dataclass_fields__}
    return Budget(**{**given, **changes})


def plan(study_: Study | None = None, budget_: Budget | None = None, **changes: Any) -> Plan:
    given: dict[str, Any] = {
        "name": "tiny",
        "study": study_ or study(),
        "budget": budget_ or BUDGET,
        "overrides": {},
        "data": "bars",
        "classes": 3,
        "channels": 1,
        "size": (SIZE, SIZE),
        "only": None,
    }
    return Plan(**{**given, **changes})


def bars(n: int, seed: int) -> Split:
    """Class k: a bright bar in rows 5k to 5k+4, on noise."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % 3)
    x = rng.integers(0, 100, (n, 1, SIZE, SIZE))
    for image, label in zip(x, y, strict=True):
        image[:, 5 * label : 5 * label + 5] += rng.integers(60, 150)
    return Split(x.astype(np.uint8), y.astype(np.int64))


def dataset() -> Dataset:
    return Dataset("bars", bars(600, 1), bars(150, 2), ("a", "b", "c"), "rendered")


def squares(y: Tensor, rng: torch.Generator, noise: int = 60) -> Tensor:
    """uint8 [N, 3, 16, 16]: each of six labels has its own place for a bright square, on noise."""
    x = torch.randint(0, noise, (len(y), 3, SIZE, SIZE), generator=rng)
    for label in range(SQUARES):
        row, column = divmod(label, 3)
        place = x[:, :, 8 * row + 1 : 8 * row + 6, 5 * column + 1 : 5 * column + 5]
        place += 150 * y[:, label, None, None, None]
    return x.to(torch.uint8)


def label_sets(n: int, seed: int) -> Tensor:
    """Random sets of one to three of six labels, uint8 [n, 6]."""
    rng = torch.Generator().manual_seed(seed)
    ranks = torch.rand(n, SQUARES, generator=rng).argsort(1)
    return (ranks < torch.randint(1, 4, (n, 1), generator=rng)).to(torch.uint8)


def several_labels() -> Dataset:
    splits = []
    for n, seed in ((900, 1), (300, 2)):
        y = label_sets(n, seed)
        x = squares(y, torch.Generator().manual_seed(seed))
        splits.append(Split(x.numpy(), y.numpy()))
    sets = {name: label_sets(8, seed).numpy() for name, seed in (("test", 3), ("new_test", 4))}
    return Dataset("squares", *splits, tuple("abcdef"), "rendered", sets)


def begin(records: Records, plan: Plan) -> Records:
    """Write the study.json that the engine's parts read."""
    definition = plan.definition() | {"digest": "0" * 16, "data_source": "data: bars"}
    value = {
        "format": FORMAT,
        "study": plan.name,
        "folder": "f" * 32,
        "title": plan.study.title,
        "definition": definition,
        "reference": definition["reference"],
        "environment": {"git_commit": "abc123"},
        "claims": [],
        "left_out": plan.left_out,
        "looks": [plan.budget.seeds] if plan.budget.seeds else [],
        "pilot": None,
        "failure": None,
        "paired": plan.study.paired,
        "runs": [{"git_commit": "abc123", "code": "0123"}],
    }
    write_json(records.folder / "study.json", value)
    return records


def rows(*objectives: float, **columns: float) -> list[Row]:
    """One row per objective, at 0, 1, 2... kimg."""
    return [{"kimg": k, "seconds": float(k), "fcd": v, **columns} for k, v in enumerate(objectives)]


def write_cell(
    records: Records, cell: Cell, ticks: list[Row], outcome: str | None = "complete"
) -> None:
    """Put a cell on record. Without an outcome the cell is unfinished."""
    folder = records.cell_folder(cell.id)
    write_json(folder / "cell.json", cell.as_json())
    write_json(folder / "ticks.json", ticks)
    if outcome:
        result = {"outcome": outcome, "error": None, "seconds": 1.0, "attempts": 1, "ended": "now"}
        write_json(folder / "result.json", result)
