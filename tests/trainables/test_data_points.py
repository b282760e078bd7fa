"""Mixtures of Gaussians in the plane: where the modes are, and that all machines draw the same."""

from pathlib import Path

import numpy as np
import pytest

from trainables.data import describe, load
from trainables.data.points import CENTRES, COUNTS, DIGESTS, SIGMA

every_set = pytest.mark.parametrize("name", list(DIGESTS))


@every_set
def test_another_set_is_drawn_under_the_same_version(name: str) -> None:
    dataset = load(name)
    assert dataset.digest == DIGESTS[name]
    assert dataset.spec == describe(name)
    assert [len(split.y) for split in (dataset.train, dataset.test)] == [*COUNTS]


@every_set
def test_mode_is_elsewhere_wider_or_rarer(name: str) -> None:
    dataset, centres = load(name, Path("nowhere")), CENTRES[name]
    points = dataset.train.x.reshape(-1, 2).astype(float)
    y = dataset.train.y
    sizes = np.bincount(y, minlength=len(centres))
    assert sizes.max() - sizes.min() <= 1
    for mode, centre in enumerate(centres):
        error = SIGMA / np.sqrt(sizes[mode])
        assert np.abs(points[y == mode].mean(0) - centre).max() < 4 * error
    spread = (points - centres[y]).std()
    assert spread == pytest.approx(np.sqrt(SIGMA**2 + 1 / 12), rel=0.01), "rounding adds 1/12"


def test_points_do_not_fit_into_bytes() -> None:
    """Points within four standard deviations of a mode must fit between the levels 0 and 255.

    They must not touch these ends, because tanh does not reach them.
    """
    for centres in CENTRES.values():
        assert centres.min() > 4 * SIGMA
        assert centres.max() < 255 - 4 * SIGMA


def test_modes_are_not_those_of_the_name() -> None:
    ring, grid = CENTRES["ring8"], CENTRES["grid25"]
    assert np.ptp(np.hypot(*(ring - ring.mean(0)).T)) < 1e-9
    gaps = np.hypot(*(ring - np.roll(ring, 1, 0)).T)
    assert np.ptp(gaps) < 1e-9
    assert len(np.unique(grid[:, 0])) == len(np.unique(grid[:, 1])) == 5
    assert min(gaps.min(), np.diff(np.unique(grid)).min()) > 20 * SIGMA, "modes touch"


def test_training_points_are_test_points() -> None:
    """No run of training points may be the test points in another order."""
    dataset = load("ring8")
    n = len(dataset.test.y)
    train, test = (
        split.x.reshape(-1, 2).astype(int) @ [256, 1] for split in (dataset.train, dataset.test)
    )
    for part in np.array_split(train, len(train) // n):
        assert (np.sort(part) != np.sort(test)).mean() > 0.5
