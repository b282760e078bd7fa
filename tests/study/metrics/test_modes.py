"""Modes covered and share of high quality, on fakes whose modes are known.

Other tests check how judges, refusals and pictures deal with points in the plane. If these tests
fail, collapse onto a few modes may pass for a good generator.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

import trainables
from study.engine.sample_grids import FAKE, REAL, scatter
from study.metrics.core import catalog
from study.metrics.core.classifier import Recipe
from study.metrics.core.judge import Judge
from study.metrics.core.measure_real import HELD_OUT, build_references
from study.metrics.core.reference import Reference
from study.metrics.core.train_judges import train_judges
from study.metrics.core.view import View
from study.run import main
from tests.study.metrics import measure
from tests.study.tiny import POINTS, SPEC
from trainables.data import load
from trainables.data.points import CENTRES, SIGMA, draw

NAMES = ["ring8", "grid25"]


class Points:
    """A stand-in for the judges, which this metric does not need. Features are the points."""

    classes = 25
    device = torch.device("cpu")

    def logits(self, x: np.ndarray) -> np.ndarray:
        return np.zeros((len(x), self.classes))

    def features(self, x: Any) -> np.ndarray:
        points: np.ndarray = np.asarray(x).reshape(-1, 2).astype(np.float64)
        return points


def reference(name: str) -> Reference:
    return build_references([cast(Judge, Points())], load(name), 1000, 0, ["modes"])[0]


def measured(name: str, fakes: Tensor) -> dict[str, float]:
    view = View(
        cast(Any, torch.nn.Module()),
        reference(name),
        cast(Judge, Points()),
        fakes,
        torch.zeros(len(fakes), dtype=torch.int64),
        torch.Generator(),
    )
    return measure(view, ["modes"])


@pytest.mark.parametrize("name", NAMES)
def test_real_points_are_bad_or_lose_a_mode(name: str) -> None:
    """A share 1 - exp(-9/2) of a Gaussian in the plane lies within three standard deviations."""
    row = measured(name, torch.from_numpy(draw(CENTRES[name], 5000, 7).x))
    assert row["modes_covered"] == len(CENTRES[name])
    assert row["modes_lost"] == 0
    assert row["high_quality"] == pytest.approx(1 - np.exp(-4.5), abs=0.006)
    assert row["high_quality_real"] == pytest.approx(1 - np.exp(-4.5), abs=0.012)


@pytest.mark.parametrize("name", NAMES)
def test_lost_modes_are_not_seen(name: str) -> None:
    split = draw(CENTRES[name], 2000, 7)
    kept = split.x[split.y % 3 == 0]
    row = measured(name, torch.from_numpy(kept))
    modes = len(CENTRES[name])
    assert row["modes_covered"] == len(range(0, modes, 3))
    assert row["modes_covered"] + row["modes_lost"] == modes
    assert row["high_quality"] > 0.97


def test_points_between_modes_cover_them() -> None:
    """Points scattered over the plane must cover no mode: too few of them lie in any mode.

    A single point 2.5 standard deviations beside a mode covers it; one at 4 does not.
    """
    middle = torch.full((100, 1, 1, 2), 127, dtype=torch.uint8)
    row = measured("ring8", middle)
    assert (row["modes_covered"], row["high_quality"]) == (0, 0)
    smear = torch.randint(256, (2000, 1, 1, 2), generator=torch.Generator().manual_seed(0))
    assert measured("ring8", smear.to(torch.uint8))["modes_covered"] == 0
    right = CENTRES["ring8"][0]
    for sigmas, covered in ((2.5, 1), (4.0, 0)):
        beside = np.rint(right - [sigmas * SIGMA, 0.0]).astype(np.uint8).reshape(1, 1, 1, 2)
        row = measured("ring8", torch.from_numpy(beside))
        assert row["modes_covered"] == row["high_quality"] == covered


def test_images_are_taken_for_points() -> None:
    egan = trainables.load("egan")
    assert catalog.suited(["fcd", "modes"], egan, SPEC) == ["fcd"]
    assert catalog.suited(["fcd", "modes"], egan, POINTS) == ["fcd", "modes"]
    with pytest.raises(ValueError, match="'modes' needs points in the plane, and these data are"):
        catalog.check(["modes"], egan, SPEC)


@pytest.mark.parametrize("name", NAMES)
def test_judges_cannot_read_points(name: str, tmp_path: Path) -> None:
    recipe = Recipe(label_images=8_000, feature_images=8_000)
    (judge,) = train_judges(load(name), tmp_path, recipe=recipe, count=1)
    assert judge.accuracy["label"] > 0.99
    assert judge.accuracy["feature"] > 0.99


def test_points_reach_convolutions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The study must be refused in one line, before anything is written."""
    given = ["acgan_mnist", "--data", "ring8", "--scale", "smoke"]
    storage = tmp_path / "runs"
    with pytest.raises(SystemExit) as caught:
        main([*given, "--storage", str(storage)])
    assert caught.value.code == 2
    said = capsys.readouterr()
    line = (said.out + said.err).strip()
    assert "\n" not in line
    assert "points in the plane" in line
    assert not storage.exists()


def test_picture_of_points_hides_the_fakes() -> None:
    real = torch.tensor([[10, 20], [30, 40]], dtype=torch.uint8).view(2, 1, 1, 2)
    fakes = torch.tensor([[30, 40], [255, 0]], dtype=torch.uint8).view(2, 1, 1, 2)
    picture = scatter(real, fakes)
    assert picture.shape == (3, 256, 256)
    assert tuple(picture[:, 255 - 20, 10].tolist()) == REAL
    assert tuple(picture[:, 255 - 40, 30].tolist()) == tuple(picture[:, 255, 255].tolist()) == FAKE
    assert int((picture.sum(0) < 3 * 255).sum()) == 3


def test_more_real_points_than_are_kept_are_needed() -> None:
    """The centres of the modes are means of held-out real points.

    The `HELD_OUT` points must be enough to find the centres to about a fifth of a standard
    deviation.
    """
    real = reference("grid25")
    assert len(real.y) == HELD_OUT
    points = real.x.flatten(1).double()
    means = torch.stack([points[real.y == mode].mean(0) for mode in range(25)])
    off = (means - torch.from_numpy(CENTRES["grid25"])).norm(dim=1) / SIGMA
    assert off.square().mean().sqrt() < 0.25
