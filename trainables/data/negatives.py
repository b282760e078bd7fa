"""Two domains, digits and negatives of other digits: the right translation is known, 255 - x.

`mnist_negatives` is made of `mnist`, and `kana_digits_negatives` of `kana_digits`. Each training
image is used once. Half of these images stay as they are, and the other half become negatives. Each
test image is paired with its own negative.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np

from trainables.data import kana, published
from trainables.data.base import Dataset, DataSpec, Split, divide, two_domains

ENDING = "_negatives"
SETS = {
    f"{name}{ENDING}": DataSpec(20, 1, (28, 28), paired=True) for name in ("mnist", "kana_digits")
}


def where(name: str, data_dir: Path) -> str | None:
    """Where the digits are that the set is made of; None if they are not on disk."""
    digits = name.removesuffix(ENDING)
    place: str | None = _family(digits).where(digits, data_dir)
    return place


def fetchable(name: str, data_dir: Path) -> str | None:
    """Why the digits that the set is made of cannot be downloaded; None if they can."""
    digits = name.removesuffix(ENDING)
    reason: str | None = _family(digits).fetchable(digits, data_dir)
    return reason


def read(name: str, data_dir: Path, cache: Path | None, progress: bool) -> Dataset:
    """Read, render or download the digits, and make the two domains of them.

    Raises:
        DataError: the digits cannot be read, rendered or downloaded.
    """
    digits = name.removesuffix(ENDING)
    whole = _family(digits).read(digits, data_dir, cache, progress)
    plain, others = divide(whole.train, 0.5)
    train, test = (plain, negative(others)), (whole.test, negative(whole.test))
    return two_domains(name, train, test, whole.classes, ("plain", "negative"), whole.source)


def _family(digits: str) -> ModuleType:
    return kana if digits in kana.SETS else published


def negative(split: Split) -> Split:
    return Split(np.invert(split.x), split.y)
