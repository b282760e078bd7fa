"""Points in the plane: `ring8` and `grid25`, mixtures of 8 and 25 Gaussians, for counting modes.

A point is an image of 1x2 pixels, which are its coordinates. A class is a mode. Coordinates are
rounded to the 256 levels of a byte, as images are, and as a generator's points are before they are
measured. A mode has a standard deviation of 2 levels, so that rounding adds only 2 % to its
variance. Divided by the ring's radius this standard deviation is .018; divided by the grid's
spacing it is .042. In the toy problems of WGAN-GP (Gulrajani 2017), which E-GAN uses too, these
ratios are .01 and .025.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.data.base import POINT, Dataset, DataSpec, Split

VERSION = 1  # raise it and change DIGESTS when points come out differently
SIGMA = 2.0  # standard deviation of a mode along each axis, in levels
RADIUS, SPACING = 112.0, 48.0  # of the ring and of the grid, in levels
MIDDLE = 127.5
COUNTS = (40_000, 8_000)  # points for training and for test, divided evenly among the modes


def _ring() -> NDArray[np.float64]:
    angles = 2 * np.pi * np.arange(8) / 8
    return MIDDLE + RADIUS * np.stack([np.cos(angles), np.sin(angles)], 1)


def _grid() -> NDArray[np.float64]:
    steps = SPACING * np.arange(-2, 3)
    return MIDDLE + np.stack(np.meshgrid(steps, steps, indexing="ij"), -1).reshape(-1, 2)


CENTRES = {"ring8": _ring(), "grid25": _grid()}  # [K, 2]
DIGESTS = {"ring8": "4743d5eb95deac0c", "grid25": "2d879e9739485747"}  # of the sets at this VERSION
SETS = {name: DataSpec(len(centres), POINT[0], POINT[1:]) for name, centres in CENTRES.items()}


def where(name: str, data_dir: Path) -> str:
    """Say that the set is drawn, which is always possible."""
    return "drawn"


def fetchable(name: str, data_dir: Path) -> None:
    """None, because there is nothing to download."""


def read(name: str, data_dir: Path, cache: Path | None, progress: bool) -> Dataset:
    """Draw the set. This takes milliseconds, so nothing is kept in `cache`."""
    centres = CENTRES[name]
    train, test = (draw(centres, count, stream) for stream, count in enumerate(COUNTS))
    names = tuple(f"({x:.0f}, {y:.0f})" for x, y in centres)
    return Dataset(name, train, test, names, "drawn")


def draw(centres: NDArray[np.float64], n: int, stream: int) -> Split:
    """Draw n points around `centres` [K, 2], in random order.

    Args:
        stream: which stream of random numbers is used. Another stream gives other points.
    """
    rng = np.random.default_rng([VERSION, stream])
    y = rng.permutation(np.arange(n) % len(centres))
    x = centres[y] + SIGMA * rng.standard_normal((n, 2))
    return Split(np.rint(x).astype(np.uint8).reshape(n, *POINT), y)
