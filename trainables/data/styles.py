"""Two writing styles: `kana_styles`, 49 hiragana in gothic typefaces and in brush ones (KANA.md).

Which brush stroke a gothic stroke becomes is not given: a translator has to find it. A pair of test
images is one draw as in `kana`, in a face of either style. Both images are bent, turned and toned
alike.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.data.base import HIRAGANA, Dataset, DataSpec, Split, two_domains
from trainables.data.kana import SIDE, glyphs, render
from trainables.data.render_kana import FACES

STYLES = {
    "gothic": (
        "ipaexg.ttf",
        "sawarabi-gothic-medium.ttf",
        "BIZUDGothic-Regular.ttf",
        "BIZUDGothic-Bold.ttf",
        "VL-Gothic-Regular.ttf",
        "migu-1c-regular.ttf",
        "migmix-1m-bold.ttf",
        "ume-tgo5.ttf",
        "ume-ugo4.ttf",
    ),
    "brush": ("aoyagi-soseki.ttf", "kouzan-mouhitsu.ttf", "kouzan-mouhitsu-gyosho.ttf"),
}
TRAIN, TEST = 400, 60  # training images per character and style; test pairs per character
SEED = 49  # another one gives other images
SETS = {"kana_styles": DataSpec(2 * len(HIRAGANA), 1, (SIDE, SIDE), paired=True)}


def where(name: str, data_dir: Path) -> str:
    """Say that the set is rendered, which is always possible."""
    return "rendered"


def fetchable(name: str, data_dir: Path) -> None:
    """None, because there is nothing to download."""


def read(name: str, data_dir: Path, cache: Path | None, progress: bool) -> Dataset:
    """Render the set. This takes seconds, so nothing is kept in `cache`."""
    layers, (gothic, brush) = glyphs(), STYLES.values()
    train = draw(layers, gothic, TRAIN, 0), draw(layers, brush, TRAIN, 1)
    test = draw(layers, gothic, TEST, 2), draw(layers, brush, TEST, 2)
    return two_domains(name, train, test, HIRAGANA, ("gothic", "brush"), "rendered")


def draw(layers: NDArray[np.uint8], files: tuple[str, ...], each: int, stream: int) -> Split:
    """Draw `each` images of every character in these faces, in random order.

    Args:
        stream: which stream of random numbers is used. Two calls with the same stream draw the
            same images, except for the faces.
    """
    names = [face.file for face in FACES]
    rng = np.random.default_rng([SEED, stream])
    y = rng.permutation(np.repeat(np.arange(len(HIRAGANA)), each))
    strokes = rng.integers(len(layers), size=len(y))
    chosen = (rng.random(len(y)) * len(files)).astype(np.int64)
    faces = np.array([names.index(file) for file in files])[chosen]
    return Split(render(layers, strokes, faces, y, rng), y)
