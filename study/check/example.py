"""Small images for trying a metric without data of one's own."""

from __future__ import annotations

import numpy as np

from trainables.data import Dataset, Split


def stripes(train: int = 600, test: int = 300) -> Dataset:
    """Noisy stripes of three directions, 1x28x28."""
    rng = np.random.default_rng(0)
    i, j = np.indices((28, 28))

    def split(n: int) -> Split:
        y = np.arange(n) % 3
        along = np.stack([i, j, i + j])[y] + rng.integers(0, 8, n)[:, None, None]
        x = 180 * (along % 8 < 4) + rng.integers(0, 60, along.shape)
        return Split(x[:, None].astype(np.uint8), y.astype(np.int64))

    return Dataset("stripes", split(train), split(test), ("rows", "columns", "slanted"), "made")
