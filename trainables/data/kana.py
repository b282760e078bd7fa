"""Rendered characters: `kana`, 49 hiragana with Kuzushiji-49's class counts, and `kana_digits`.

Every image is one glyph of the atlas (see KANA.md) in a random typeface, turned, scaled, sheared,
shifted, bent, made thicker or thinner, and brighter or darker: white on black, 28x28, as in
KMNIST. Train and test images are draws from two different random streams.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.data.base import HIRAGANA, Dataset, Look, Split

VERSION = 1  # raise it when an image would come out differently
SIDE = 28
CHUNK = 2000  # images warped at once

# Class counts of Kuzushiji-49 (Clanuwat et al. 2018), train and test, in class order.
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
SETS = {name: Look(len(glyphs), 1, (SIDE, SIDE)) for name, glyphs in GLYPHS.items()}


def where(name: str, data_dir: Path) -> str:
    """Always at hand."""
    return "rendered"


def fetchable(name: str, data_dir: Path) -> None:
    """Nothing to fetch."""


def read(name: str, data_dir: Path, cache: Path | None, progress: bool) -> Dataset:
    """Render the set, or read what an earlier run rendered from `cache`."""
    if cache is None:
        return _dataset(name, *_render_splits(name))
    folder = cache / "data" / f"{name}-{VERSION}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent))
        for part, split in zip(("train", "test"), _render_splits(name), strict=True):
            np.save(scratch / f"{part}_x.npy", split.x)
            np.save(scratch / f"{part}_y.npy", split.y)
        try:
            scratch.rename(folder)  # whole or not at all
        except OSError:  # another run was first
            shutil.rmtree(scratch)
    parts = [
        Split(np.load(folder / f"{part}_x.npy", mmap_mode="c"), np.load(folder / f"{part}_y.npy"))
        for part in ("train", "test")
    ]
    return _dataset(name, *parts)


def _dataset(name: str, train: Split, test: Split) -> Dataset:
    return Dataset(name, train, test, GLYPHS[name], "rendered")


def _render_splits(name: str) -> tuple[Split, Split]:
    first = 0 if name == "kana" else len(HIRAGANA)
    train, test = COUNTS[name]
    return draw(train, first, stream=0), draw(test, first, stream=1)


def draw(counts: tuple[int, ...], first: int, stream: int) -> Split:
    """`counts[i]` images of the atlas's glyph `first + i`, in random order.

    Args:
        stream: of random numbers; another one gives other images.
    """
    with np.load(Path(__file__).parent / "kana_atlas.npz") as file:
        layers = _strokes(file["atlas"])
    rng = np.random.default_rng([VERSION, stream, first])
    y = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    x = np.empty((len(y), 1, SIDE, SIDE), dtype=np.uint8)
    for start in range(0, len(y), CHUNK):
        labels = y[start : start + CHUNK]
        x[start : start + CHUNK, 0] = _warp(layers, labels + first, rng)
    return Split(x, y)


def _strokes(atlas: NDArray[np.uint8]) -> NDArray[np.float32]:
    """[3, faces, glyphs, 48, 48] in 0..1: thinner, as drawn, thicker strokes.

    Each is blurred over 2x2 pixels, as an image of 28 pixels takes fewer samples than there are.
    """
    ink = np.pad(atlas, ((0, 0), (0, 0), (1, 1), (1, 1))).astype(np.float32) / 255
    side = atlas.shape[-1]
    rows, columns = range(3), range(3)
    near = np.stack([ink[..., r : r + side, c : c + side] for r in rows for c in columns])
    cross = near[[1, 3, 4, 5, 7]]
    thinner = 0.5 * (cross.min(0) + near[4])  # halfway: hairlines must not vanish
    layers = np.stack([thinner, near[4], cross.max(0)])
    padded = np.pad(layers, ((0, 0),) * 3 + ((0, 1), (0, 1)))
    blurred = padded[..., :-1, :-1] + padded[..., 1:, :-1]
    blurred += padded[..., :-1, 1:] + padded[..., 1:, 1:]
    return np.asarray(blurred / 4, dtype=np.float32)


def _warp(
    layers: NDArray[np.float32], glyphs: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """One image [n, 28, 28] for each of n glyphs, each with distortions of its own."""
    n, side = len(glyphs), layers.shape[-1]

    def uniform(low: float, high: float) -> NDArray[np.float32]:
        return rng.uniform(low, high, (n, 1)).astype(np.float32)

    angle, shear = uniform(-0.25, 0.25), uniform(-0.3, 0.3)
    scale = side / SIDE * uniform(0.82, 1.18)  # atlas pixels per image pixel
    stretch = uniform(0.88, 1.14)
    # Image coordinates around a shifted centre -> atlas coordinates.
    grid = np.arange(SIDE, dtype=np.float32) - (SIDE - 1) / 2
    v, u = (a.reshape(1, -1) for a in np.meshgrid(grid, grid, indexing="ij"))
    bent = _bend(rng, n)
    u = (u - uniform(-2, 2) + bent[0]) * stretch
    v = (v - uniform(-2, 2) + bent[1]) / stretch
    u = u + shear * v
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    column = np.clip(cos * u - sin * v + (side - 1) / 2, 0, side - 1.001)
    row = np.clip(sin * u + cos * v + (side - 1) / 2, 0, side - 1.001)

    flat = layers.reshape(-1)
    faces = rng.integers(layers.shape[1], size=n)
    strokes = rng.integers(3, size=n)
    image = (strokes * layers.shape[1] + faces) * layers.shape[2] + glyphs
    left, top = column.astype(np.int64), row.astype(np.int64)
    at = image[:, None] * side * side + top * side + left
    right, below = column - left, row - top
    upper = flat[at] * (1 - right) + flat[at + 1] * right
    lower = flat[at + side] * (1 - right) + flat[at + side + 1] * right
    value = upper * (1 - below) + lower * below
    value = np.clip(value * uniform(0.9, 1.6), 0, 1) * uniform(0.75, 1.0)
    return np.asarray(value * 255, dtype=np.uint8).reshape(n, SIDE, SIDE)


def _bend(rng: np.random.Generator, n: int) -> NDArray[np.float32]:
    """Elastic displacement [2, n, 28 * 28] in image pixels: noise on a 4x4 grid, interpolated."""
    knots = rng.normal(0, 1.0, (2, n, 4, 4)).astype(np.float32)
    at = np.linspace(0, 3, SIDE, dtype=np.float32)
    hats = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(4, dtype=np.float32)))  # [28, 4]
    field = np.einsum("ik,dnkl,jl->dnij", hats, knots, hats, optimize=True)
    return np.asarray(field.reshape(2, n, -1), dtype=np.float32)
