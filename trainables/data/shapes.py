"""Renders scenes: `shapes`, a stand-in for i-CLEVR with its 24 labels.

An image shows one, two or three different objects, and each number is equally frequent. The objects
are cubes, spheres and cylinders in eight colours on a plain ground. Images are 64x64, shaded by one
light and seen from above at an angle. No object hides another one completely.

There are two series of 32 label sets to ask a generator for, `test` and `new_test`. They have as
many sets of one, two and three objects as i-CLEVR's.

The images are the same bytes on every machine. Whatever decides a pixel is made of single sums,
products, quotients and square roots, which IEEE 754 rounds alike everywhere. Sines and matrix
products are not rounded alike everywhere, so they are not used.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.data.base import Dataset, DataSpec, Split
from trainables.data.download import scratch
from trainables.data.render_shapes import COLOURS, KINDS, MOST, SIDE, Scenes, render

VERSION = 1  # raise it and change DIGEST when images come out differently
DIGEST = "d91f35f8d9f0dbdb"  # of the set at this VERSION
COUNTS = (6_000, 1_000)  # images for training and test
CHUNK = 64  # images drawn at once: few enough for the data to stay in the processor's cache
LABELS = tuple(f"{colour} {kind}" for kind in KINDS for colour in COLOURS)
CONDITIONS = {"test": (6, 12, 14), "new_test": (0, 12, 20)}  # how many sets of 1, 2 and 3 objects
SETS = {"shapes": DataSpec(len(LABELS), 3, (SIDE, SIDE), labels=MOST)}


def where(name: str, data_dir: Path) -> str:
    """Say that the set is rendered, which is always possible."""
    return "rendered"


def fetchable(name: str, data_dir: Path) -> None:
    """None, because there is nothing to download."""


def read(name: str, data_dir: Path, cache: Path | None, progress: bool) -> Dataset:
    """Render the set, or load what an earlier run rendered into `cache`.

    Raises:
        DataError: the cache cannot be written.
    """
    if cache is None:
        return _dataset([draw(count, stream).x for stream, count in enumerate(COUNTS)])
    path = cache / "data" / f"{name}-{VERSION}.npy"
    try:
        kept = _dataset(np.split(np.load(path, mmap_mode="c"), [COUNTS[0]]))
        if kept.digest == DIGEST:
            return kept
    except (OSError, ValueError, EOFError):
        pass  # the cache lacks the set, or it is damaged
    parts = [draw(count, stream).x for stream, count in enumerate(COUNTS)]
    with scratch(path) as sink:
        np.save(sink, np.concatenate(parts))
    return _dataset(parts)


def _dataset(parts: list[NDArray[np.uint8]]) -> Dataset:
    labels = [_labels(count, stream)[0] for stream, count in enumerate(COUNTS)]
    train, test = (Split(x, _many_hot(y)) for x, y in zip(parts, labels, strict=True))
    return Dataset("shapes", train, test, LABELS, "rendered", conditions())


def conditions() -> dict[str, NDArray[np.uint8]]:
    """The label sets to ask a generator for, by series: uint8 [32, 24] each.

    No set occurs twice in a series.
    """
    series = {}
    for stream, (name, counts) in enumerate(CONDITIONS.items()):
        rng = np.random.default_rng([VERSION, 2 + stream])
        rows: list[tuple[int, ...]] = []
        for size, count in enumerate(counts, start=1):
            many = _many_hot(_choose(rng, np.full(10 * len(LABELS), size)))
            rows += list(dict.fromkeys(map(tuple, many.tolist())))[:count]
        series[name] = np.array(rows, dtype=np.uint8)
    return series


def draw(n: int, stream: int) -> Split:
    """Draw n scenes.

    Args:
        stream: which stream of random numbers is used. Another stream gives other images.
    """
    labels, rng = _labels(n, stream)
    scenes = Scenes.set_up(labels, rng)
    x = np.empty((n, 3, SIDE, SIDE), dtype=np.uint8)
    for start in range(0, n, CHUNK):
        rows = slice(start, start + CHUNK)
        x[rows] = render(scenes.of(rows))
    return Split(x, _many_hot(labels))


def _labels(n: int, stream: int) -> tuple[NDArray[np.int64], np.random.Generator]:
    """The labels of n images [n, 3], and the random generator that then places the objects."""
    rng = np.random.default_rng([VERSION, stream])
    return _choose(rng, rng.permutation(np.arange(n) % MOST + 1)), rng


def _choose(rng: np.random.Generator, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Different labels for each image, [n, 3]: as many as `sizes` [n] says, then -1."""
    labels = rng.random((len(sizes), len(LABELS))).argsort(1, kind="stable")[:, :MOST]
    return np.where(np.arange(MOST) < sizes[:, None], labels, -1)


def _many_hot(labels: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Labels [n, 3], with -1 for no object, -> multi-hot labels [n, 24]."""
    there = (labels[:, :, None] == np.arange(len(LABELS))).any(1)
    return np.asarray(there, dtype=np.uint8)
