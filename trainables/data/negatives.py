"""Digits and negatives of other digits: a translation whose right answer is known, 255 - x.

`mnist_negatives` and `kana_digits_negatives` take each training image of their set once: half of
them as they are, half as negatives. Each test image is a pair with its negative.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np

from trainables.data import kana, published
from trainables.data.base import Dataset, Look, Split, divide, two_domains

ENDING = "_negatives"
SETS = {f"{name}{ENDING}": Look(20, 1, (28, 28), paired=True) for name in ("mnist", "kana_digits")}


def where(name: str, data_dir: Path) -> str | None:
    """As its digits are."""
    digits = name.removesuffix(ENDING)
    place: str | None = _family(digits).where(digits, data_dir)
    return place


def fetchable(name: str, data_dir: Path) -> str | None:
    """As its digits are."""
    digits = name.removesuffix(ENDING)
    reason: str | None = _family(digits).fetchable(digits, data_dir)
    return reason


def read(name: str, data_dir: Path, cache: Path | None, progress: bool) -> Dataset:
    """Its digits, read, rendered or downloaded.

    Raises:
        DataError: as of the digits.
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
