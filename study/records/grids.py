"""How the images of a recorded sample grid are laid out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from trainables.data import Dataset

GRID_ROWS = 8  # images in each column: one for each latent z
GRID_SETS = 10  # columns, if images have several labels


def grid_sets(conditions: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Choose the label sets that a sample grid shows, evenly spread over all of them.

    Args:
        conditions: arrays of label sets, each multi-hot [C, classes].

    Returns:
        Multi-hot [GRID_SETS, classes].
    """
    every = np.concatenate([*conditions])
    return np.asarray(every[np.linspace(0, len(every) - 1, GRID_SETS).round().astype(np.int64)])


def grid_columns(dataset: Dataset) -> list[str]:
    """The names of the classes or label sets in the columns of a conditional G's sample grid."""
    if not dataset.conditions:
        return list(dataset.classes)
    sets = grid_sets([*dataset.conditions.values()])
    return [" + ".join(dataset.classes[i] for i in np.flatnonzero(row)) for row in sets]
