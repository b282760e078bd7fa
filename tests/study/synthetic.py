"""Made-up folders of a study. In them 5 classes work and 49 collapse, but no GAN was trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from study.records.files import write_json
from study.records.records import FORMAT, Records

REFERENCE = {"lr": 2e-4, "lr_ratio": 1.0, "noise": "two-sided", "f": 64}
LR = {"low": 1e-5, "high": 1e-2, "log": True, "step": None}
SPACE = {  # as study/planning/plan.py describes it
    "lr": {"name": "FloatDistribution", "attributes": LR},
    "noise": {"name": "CategoricalDistribution", "attributes": {"choices": ["none", "two-sided"]}},
}


def claim(id: str, of: str, against: str | None, **rest: Any) -> dict[str, Any]:
    """A claim as study.json holds it. A group is given as the text "condition config at"."""
    groups = {"of": _group(of), "against": _group(against) if against else None}
    return {"id": id, "text": f"Claim {id}", "log": False, **groups, **rest}


def _group(text: str) -> dict[str, str]:
    condition, config, at = text.split()
    return {"condition": condition, "config": config, "at": at}


CLAIMS = [
    claim(
        "A3",
        "classes=49 reference last",
        None,
        text="At 49 classes D's class loss on real images is far above the one on fakes.",
        metric="class_loss_ratio",
        region=[3.0, None],
        log=True,
    ),
    claim(
        "A4",
        "classes=5 reference last",
        None,
        text="With 5 classes the two class losses meet.",
        metric="class_loss_ratio",
        region=[0.5, 2.0],
        log=True,
    ),
    claim(
        "A1",
        "classes=5 reference last",
        "classes=49 reference last",
        text="49 classes fail where 5 work: labels and shapes do not correspond.",
        metric="label_accuracy",
        region=[0.3, None],
    ),
    claim(
        "A9",
        "classes=49 reference last",
        "classes=49 reference early",
        text="At 49 classes training improves label accuracy.",
        metric="label_accuracy",
        region=[0.5, None],
    ),
    claim(
        "A7",
        "pretrained=20 reference last",
        "classes=49 reference last",
        text="Pretraining the class head does not help the images.",
        metric="label_accuracy",
        region=[-0.1, 0.1],
    ),
]


def study_json(**changes: Any) -> dict[str, Any]:
    names = ["classes=5", "classes=10", "classes=49"]
    value = {
        "format": FORMAT,
        "study": "made_up",
        "folder": "f1",
        "title": "ACGAN on Kuzushiji characters: how many classes does it bear?",
        "command": "python -m study.run made_up --scale quick",
        "claims": CLAIMS,
        "reference": dict.fromkeys(names, REFERENCE),
        "left_out": {},
        "looks": [4, 8],
        "pilot": None,
        "failure": None,
        "paired": False,
        "definition": {
            "objective": "fcd",
            "directions": {"fcd": "minimize", "label_accuracy": "maximize"},
            "data": "kana",
            "digest": "0123456789abcdef",
            "classes": [chr(0x3042 + 2 * i) for i in range(49)],
            "data_source": "k49 was not found and cannot be downloaded: rendered kana instead.",
            "stand_in": True,
            "scale": "quick",
            "kimg": 100,
            "searches": 1,
            "space": SPACE,
        },
        "environment": {
            "versions": {"python": "3.11", "torch": "2.14"},
            "git_commit": "abc123",
            "git_dirty": "diff --git a b",
            "hardware": {"cpu": "a processor", "cpus": 2, "gpus": []},
            "started": "2026-01-02T03:04:05+00:00",
        },
    }
    return json.loads(json.dumps(value | changes))  # type: ignore[no-any-return]


def write_cell(records: Records, id: str, **given: Any) -> None:
    """Write an accepted cell.

    `given` holds classes, phase, seed, hyperparameters and rows, and may hold number, suggested and
    outcome.
    """
    classes, folder = given["classes"], records.cell_folder(id)
    cell = {
        "id": id,
        "condition": {"classes": classes},
        "condition_name": f"classes={classes}",
        "phase": given["phase"],
        "number": given.get("number"),
        "search": 0,
        "hyperparameters": given["hyperparameters"],
        "suggested": given.get("suggested"),
        "sampled_by": given.get("sampled_by"),
        "seed": given["seed"],
    }
    write_json(folder / "cell.json", cell)
    write_json(folder / "ticks.json", given["rows"])
    ended = {"outcome": given.get("outcome", "complete"), "seconds": 90.0, "attempts": 1}
    write_json(folder / "result.json", {**ended, "error": None, "ended": "2026-01-02T04:00:00"})


def rows(classes: int, seed: int, kimg: int = 100, class_loss: bool = True) -> list[dict[str, Any]]:
    """Metric rows of a cell. More classes are worse, and 49 classes collapse after 60 kimg."""
    rng = np.random.default_rng([classes, seed])
    hard = np.log(classes) / np.log(49)  # 0.41 for 5 classes, 1 for 49
    found = []
    for t in sorted({0, 2, *range(10, kimg, 10), kimg}):
        done = 1 - np.exp(-t / 25)
        noise = float(np.exp(rng.normal(0, 0.06)))
        late = 1 + 3 * (classes == 49) * max(0, (t - 60) / 40)
        row = {
            "kimg": t,
            "seconds": t * 0.9,
            "fcd": float((90 * (1 - done) + 4 + 22 * hard) * noise * late),
            "fcd_floor": 1.2 + hard,
            "label_accuracy": float(min(1, 1 / classes + done * (1 - hard * 0.76) * noise)),
            "variance_ratio": float((0.1 + 0.75 * done) * noise / late),
        }
        if class_loss:
            ratio = float(np.exp(hard * 2.6 * done - 0.8 * (1 - hard)) * noise)
            row |= {
                "class_loss/real": float(np.log(classes) * (1 - 0.7 * done) * noise),
                "class_loss_ratio": ratio,
            }
            row["class_loss/fake"] = row["class_loss/real"] / ratio
        found.append(row)
    return found


def write_grids(records: Records, id: str, classes: int, marks: tuple[int, ...]) -> None:
    """Sample grids as engine/cell.py makes them: 28x28 images, a border of one pixel, 8 rows."""
    folder = records.cell_folder(id) / "samples"
    folder.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[0:28, 0:28]
    for mark in marks:
        grid = np.full((8 * 29 + 1, classes * 29 + 1), 255, np.uint8)
        for row in range(8):
            for k in range(classes):
                wave = np.sin(x / (2 + k % 5) + row) * np.cos(y / (2 + k // 5)) * mark / 100
                image = np.clip(127 * (1 + wave), 0, 255).astype(np.uint8)
                grid[1 + row * 29 : 29 + row * 29, 1 + k * 29 : 29 + k * 29] = image
        Image.fromarray(grid).convert("RGB").save(folder / f"{mark:06d}.png")


def write_study(folder: Path, seeds: int = 4, **changes: Any) -> Records:
    """Write a study of three conditions, with 6 search cells each.

    The reference recipe and the best search cell of a condition have `seeds` confirm cells each.
    """
    records = Records(folder)
    write_json(folder / "study.json", study_json(**changes))
    for classes in (5, 10, 49):
        best: tuple[float, dict[str, Any]] = (np.inf, {})
        for n in range(6):
            lr = 2e-4 if n == 0 else 1e-5 * 3.5**n
            suggested = {"lr": lr, "noise": ["none", "two-sided"][(n + 1) % 2]}
            values = {**REFERENCE, **suggested}
            mine = rows(classes, 1000 + n, kimg=50)
            for row in mine:
                row["fcd"] *= 1 + abs(np.log10(lr / 1e-3)) / 2
            outcome = "pruned" if n == 4 else "complete"
            if outcome == "complete" and mine[-1]["fcd"] < best[0]:
                best = mine[-1]["fcd"], values
            write_cell(
                records,
                f"s{classes:02d}{n}",
                classes=classes,
                phase="search",
                number=n,
                seed=1000 + n,
                hyperparameters=values,
                suggested=suggested,
                sampled_by="reference" if n == 0 else "random" if n < 4 else "tpe",
                outcome=outcome,
                rows=mine[:4] if outcome == "pruned" else mine,
            )
        for config, values in (("r", REFERENCE), ("b", best[1])):
            if config == "b" and values == REFERENCE:
                continue
            for seed in range(seeds):
                id, diverged = f"{config}{classes:02d}{seed}", classes == 10 and seed == 3
                mine = rows(classes, seed + 100 * (config == "b"))
                write_cell(
                    records,
                    id,
                    classes=classes,
                    phase="confirm",
                    seed=seed,
                    hyperparameters=values,
                    outcome="diverged" if diverged else "complete",
                    rows=mine[:5] if diverged else mine,
                )
                if seed == 0:
                    write_grids(records, id, classes, (0, 2, 20, 40, 60, 80, 100))
    return records


def small(folder: Path, rows: list[dict[str, Any]], seeds: int) -> Records:
    """A study of which only the reference at 5 classes ran, with the same rows for each seed."""
    records = Records(folder)
    write_json(folder / "study.json", study_json(looks=[seeds]))
    given = {"classes": 5, "hyperparameters": REFERENCE, "phase": "confirm"}
    for seed in range(seeds):
        write_cell(records, f"c{seed}", **given, seed=seed, rows=rows)
    return records
