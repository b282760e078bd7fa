"""Renders characters: `kana` (49 hiragana with Kuzushiji-49's class counts) and `kana_digits`.

Every image shows one glyph of the atlas (see KANA.md) in a random typeface. The glyph is turned,
scaled, sheared, shifted and bent, made thicker or thinner, and made brighter or darker. Images are
white on black and 28x28, as in KMNIST. Train and test images are drawn from two different random
streams.

The images are the same bytes on every machine: see `_warp`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.data.base import HIRAGANA, Dataset, DataSpec, Split
from trainables.data.download import scratch

VERSION = 2  # raise it and change DIGESTS when images come out differently
SIDE = 28
CHUNK = 250  # images warped at once: few enough for the data to stay in the processor's cache
KNOTS = 4  # points along each side of the grid by which an image is bent
GRAIN = 1024  # the grid's points are rounded to 1 / GRAIN of an atlas pixel

# Class counts of Kuzushiji-49 (Clanuwat et al. 2018) for train and test, in class order.
# fmt: off
K49_TRAIN = (
    6000, 6000, 6000, 777, 6000, 6000, 6000, 6000, 4714, 6000, 6000, 6000, 6000, 4165, 3867, 6000,
    2565, 6000, 6000, 6000, 6000, 6000, 2063, 2451, 6000, 6000, 5132, 6000, 6000, 1993, 6000, 3060,
    1718, 3394, 6000, 6000, 1598, 6000, 6000, 6000, 6000, 6000, 2139, 2397, 417, 392, 6000, 6000,
    3523,
)
K49_TEST = (
    1000, 1000, 1000, 126, 1000, 1000, 1000, 1000, 767, 1000, 1000, 1000, 1000, 678, 629, 1000,
    418, 1000, 1000, 1000, 1000, 1000, 336, 399, 1000, 1000, 836, 1000, 1000, 324, 1000, 498,
    280, 552, 1000, 1000, 260, 1000, 1000, 1000, 1000, 1000, 348, 390, 68, 64, 1000, 1000, 574,
)
# fmt: on
GLYPHS = {"kana": HIRAGANA, "kana_digits": tuple("0123456789")}
COUNTS = {"kana": (K49_TRAIN, K49_TEST), "kana_digits": ((6000,) * 10, (1000,) * 10)}
DIGESTS = {"kana": "682105df93b2811e", "kana_digits": "fe02ebcfc3ae7687"}  # at this VERSION
SETS = {name: DataSpec(len(glyphs), 1, (SIDE, SIDE)) for name, glyphs in GLYPHS.items()}


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
        return _dataset(name, [draw(*part) for part in _parts(name)])
    paths = [cache / "data" / f"{name}-{VERSION}-{part}.npy" for part in ("train", "test")]
    if (kept := _kept(name, paths)) is not None:
        return kept
    splits = [draw(*part) for part in _parts(name)]
    for path, split in zip(paths, splits, strict=True):
        with scratch(path) as sink:
            np.save(sink, split.x)
    return _dataset(name, splits)


def _kept(name: str, paths: list[Path]) -> Dataset | None:
    """Load the set from the cache; None if it is missing or differs from what would be rendered."""
    splits = []
    try:
        for path, (counts, first, stream) in zip(paths, _parts(name), strict=True):
            y, _ = _labels(counts, first, stream)
            splits.append(Split(np.load(path, mmap_mode="c"), y))
    except (OSError, ValueError, EOFError):
        return None
    kept = _dataset(name, splits)
    return kept if kept.digest == DIGESTS[name] else None


def _dataset(name: str, splits: list[Split]) -> Dataset:
    return Dataset(name, splits[0], splits[1], GLYPHS[name], "rendered")


def _parts(name: str) -> list[tuple[tuple[int, ...], int, int]]:
    """The arguments of `draw` for train and for test."""
    first = 0 if name == "kana" else len(HIRAGANA)
    return [(counts, first, stream) for stream, counts in enumerate(COUNTS[name])]


def _labels(
    counts: tuple[int, ...], first: int, stream: int
) -> tuple[NDArray[np.int64], np.random.Generator]:
    """The labels in random order, and the random generator that then draws their images."""
    rng = np.random.default_rng([VERSION, stream, first])
    return rng.permutation(np.repeat(np.arange(len(counts)), counts)), rng


def draw(counts: tuple[int, ...], first: int, stream: int) -> Split:
    """Draw `counts[i]` images of the atlas's glyph `first + i` for each i, in random order.

    Args:
        stream: which stream of random numbers is used. Another stream gives other images.
    """
    layers = glyphs()
    y, rng = _labels(counts, first, stream)
    faces, strokes = (rng.integers(size, size=len(y)) for size in layers.shape[1::-1])
    return Split(render(layers, strokes, faces, first + y, rng), y)


def glyphs() -> NDArray[np.uint8]:
    """The atlas in three stroke widths, [3, faces, glyphs, 48, 48]: thinner, as drawn, thicker."""
    with np.load(Path(__file__).parent / "kana_atlas.npz") as file:
        return _strokes(file["atlas"])


def render(
    layers: NDArray[np.uint8],
    strokes: NDArray[np.int64],
    faces: NDArray[np.int64],
    kinds: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Images uint8 [n, 1, 28, 28] of the glyphs at layers[stroke, face, kind].

    Random numbers of `rng` decide how each is bent and toned.

    Args:
        layers: the atlas as `glyphs` returns it.
        strokes: index of the stroke width of each image, [n].
        faces: index of its typeface, [n].
        kinds: index of its glyph, [n].
    """
    n = len(kinds)
    points = _bent_grid(rng, n, layers.shape[-1])
    tones = rng.uniform((0.9, 0.75), (1.6, 1.0), (n, 2)).astype(np.float32)
    corners = np.stack(_shifted(layers), axis=-1)
    images = (strokes * layers.shape[1] + faces) * layers.shape[2] + kinds
    x = np.empty((n, 1, SIDE, SIDE), dtype=np.uint8)
    for start in range(0, n, CHUNK):
        rows = slice(start, start + CHUNK)
        x[rows, 0] = _warp(corners, images[rows], points[:, rows], tones[rows])
    return x


def _strokes(atlas: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The atlas in three stroke widths, [3, faces, glyphs, 48, 48].

    Each layer is blurred over 2x2 pixels, because an image of 28x28 pixels samples fewer points
    than the 48x48 that the atlas has.
    """
    ink = np.pad(atlas, ((0, 0), (0, 0), (1, 1), (1, 1)))
    side = atlas.shape[-1]
    above, left, centre, right, below = (
        ink[..., r : r + side, c : c + side] for r, c in ((0, 1), (1, 0), (1, 1), (1, 2), (2, 1))
    )
    thinner, thicker = centre, centre
    for neighbour in (above, left, right, below):
        thinner, thicker = np.minimum(thinner, neighbour), np.maximum(thicker, neighbour)
    # Thinned only halfway, so that hairlines do not vanish.
    thinner = (thinner.astype(np.uint16) + centre) // 2
    layers = np.stack([thinner, centre, thicker])
    return np.asarray(sum(_shifted(layers)) // 4, dtype=np.uint8)


def _shifted(layers: NDArray[np.integer]) -> list[NDArray[np.integer]]:
    """Four arrays [..., 48, 48] that give neighbours at each pixel.

    They hold the pixel itself, the pixel to its right, the one below, and the one below right.
    """
    side = layers.shape[-1]
    padded = np.pad(layers, [(0, 0)] * (layers.ndim - 2) + [(0, 1), (0, 1)])
    return [padded[..., r : r + side, c : c + side] for r in (0, 1) for c in (0, 1)]


def _bent_grid(rng: np.random.Generator, n: int, side: int) -> NDArray[np.float32]:
    """Where a coarse grid over each image lies in the atlas, [2, n, KNOTS, KNOTS].

    The first axis has rows and columns. They are whole numbers, in units of 1 / GRAIN atlas pixel.
    """

    def uniform(low: float, high: float) -> NDArray[np.float64]:
        return rng.uniform(low, high, (n, 1, 1))

    angle, shear = uniform(-0.25, 0.25), uniform(-0.3, 0.3)
    scale = side / SIDE * uniform(0.82, 1.18)  # atlas pixels per image pixel
    stretch = uniform(0.88, 1.14)
    bend = rng.normal(0, 1.0, (2, n, KNOTS, KNOTS))  # image pixels
    grid = np.linspace(-0.5, 0.5, KNOTS) * (SIDE - 1)
    v = (grid[:, None] - uniform(-2, 2) + bend[0]) / stretch
    u = (grid[None, :] - uniform(-2, 2) + bend[1]) * stretch
    u = u + shear * v
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    points = np.stack([sin * u + cos * v, cos * u - sin * v]) + (side - 1) / 2
    return np.asarray(np.rint(points * GRAIN), dtype=np.float32)


def _warp(
    corners: NDArray[np.integer],
    images: NDArray[np.int64],
    points: NDArray[np.float32],
    tones: NDArray[np.float32],
) -> NDArray[np.uint8]:
    """Images [n, 28, 28] read from the atlas, each bent by its grid and toned.

    The points of the grid describe how an image is turned, sheared and bent. Its pixels are
    interpolated between them. The grid's points and the weights of the interpolation are whole
    numbers. They are so small that every sum of their products is exact in float32. Linear algebra
    libraries add in an order that depends on the processor, but for exact sums the order makes no
    difference. So the images are the same bytes on every machine.

    Args:
        corners: uint8 [..., 48, 48, 4]: each pixel of the atlas with its neighbours, as `_shifted`
            gives them.
        images: index of each image into the leading axes of `corners`, [n].
        points: [2, n, KNOTS, KNOTS], in units of 1 / GRAIN atlas pixel.
        tones: gain and brightness of each image, [n, 2].
    """
    n, side = len(images), corners.shape[-2]
    step = (SIDE - 1) // (KNOTS - 1)  # image pixels between neighbouring points
    away = np.abs(np.arange(SIDE)[:, None] - step * np.arange(KNOTS))
    weights = np.maximum(step - away, 0).astype(np.float32)  # [28, KNOTS]
    field = weights @ points @ weights.T / np.float32(step * step * GRAIN)  # [2, n, 28, 28]
    row, column = np.clip(field, 0, np.float32(side - 1.001)).reshape(2, n, -1)
    top, left = np.floor(row), np.floor(column)
    at = (top * side + left).astype(np.int64) + images[:, None] * side * side
    ink = np.ascontiguousarray(corners).view(np.uint32).reshape(-1)[at]  # reads four pixels at once
    near = ink.view(np.uint8).reshape(n, -1, 4).astype(np.float32)
    down, right = row - top, column - left
    upper = near[..., 0] + (near[..., 1] - near[..., 0]) * right
    lower = near[..., 2] + (near[..., 3] - near[..., 2]) * right
    value = upper + (lower - upper) * down
    value = np.minimum(value * tones[:, :1], 255) * tones[:, 1:]
    return np.asarray(value, dtype=np.uint8).reshape(n, SIDE, SIDE)
