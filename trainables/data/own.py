"""Data sets that a user's own function makes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from trainables.data.base import DataError, Dataset, DataSpec, Split
from trainables.data.files import LEAST_IMAGES, LEAST_TEST_IMAGES, check_shape, count_classes


class Own:
    """A family of one data set, which `make` returns. It is made once."""

    def __init__(self, name: str, make: Callable[[], Dataset]) -> None:
        self.name, self.make = name, make

    @cached_property
    def dataset(self) -> Dataset:
        try:
            found = self.make()
        except (DataError, OSError, MemoryError):  # the caller's message is better
            raise
        except Exception as error:  # a user's function may raise anything
            why = f"{type(error).__name__}: {error}"
            raise DataError(f"data {self.name!r} cannot be made: {why}") from error
        if not isinstance(found, Dataset):
            raise DataError(f"data {self.name!r}: a Dataset is needed, not {type(found).__name__}")
        check(self.name, found)
        return dataclasses.replace(found, name=self.name)

    @property
    def SETS(self) -> Mapping[str, DataSpec]:  # noqa: N802
        return {self.name: self.dataset.spec}

    def where(self, name: str, data_dir: Path) -> str | None:
        return self.dataset.source

    def fetchable(self, name: str, data_dir: Path) -> str | None:
        return None

    def read(self, name: str, data_dir: Path, cache: Path | None, progress: bool) -> Dataset:
        return self.dataset


def check(name: str, dataset: Dataset) -> None:
    """Refuse a data set that no study could use.

    Raises:
        DataError: one line.
    """
    least = {"train": LEAST_IMAGES - LEAST_TEST_IMAGES, "test": LEAST_TEST_IMAGES}
    for part, fewest in least.items():
        split: Split = getattr(dataset, part)
        where, x, y = f"data {name!r}: {part}", split.x, split.y
        if x.dtype != np.uint8 or x.ndim != 4:
            raise DataError(f"{where}.x is {x.dtype} {x.shape}: uint8 [N, C, H, W] is needed")
        one = y.dtype == np.int64 and y.ndim == 1
        several = y.dtype == np.uint8 and y.ndim == 2 and y.shape[1:] == (len(dataset.classes),)
        if not (one or several) or len(x) != len(y):
            needed = "int64 [N], or multi-hot uint8 [N, classes], is needed"
            raise DataError(f"{where}.y is {y.dtype} {y.shape}: {needed}")
        if x.shape[1:] != dataset.train.x.shape[1:]:
            raise DataError(f"{where}.x has other shapes than train.x")
        if not dataset.spec.points:
            check_shape(where, x.shape[1:])
        if one and (found := count_classes(where, y, fewest)) != len(dataset.classes):
            raise DataError(f"{where} has {found} classes, and {len(dataset.classes)} are named")
