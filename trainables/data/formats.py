"""Parsers for the file formats of the published sets: idx, .npz and CIFAR's pickled batches.

Each parser returns uint8 images NCHW and int64 labels N. The content of the files is checked, and
no file can make a parser run code.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.data.arrays import read_idx, read_npz
from trainables.data.base import DataError, DataSpec

Arrays = tuple[NDArray[np.uint8], NDArray[np.int64]]  # NCHW, N


def parse_idx(paths: Sequence[Path], spec: DataSpec) -> Arrays:
    """Images and labels from two idx files, which is MNIST's format."""
    x = _read_idx(paths[0], spec.size)
    return x[:, None], _read_idx(paths[1], ()).astype(np.int64)


def _read_idx(path: Path, item: tuple[int, ...]) -> NDArray[np.uint8]:
    """Values uint8 [N, *item] of an idx file, which may be gzipped."""
    values = read_idx(path)
    if values.shape[1:] != item:
        raise DataError(
            f"{path}: an idx file of shape {values.shape} where {('N', *item)} is needed"
        )
    return values


def parse_npz(paths: Sequence[Path], spec: DataSpec) -> Arrays:
    """Images and labels from two .npz files, in the array 'arr_0' of each."""
    arrays = []
    for path, item in zip(paths, (spec.size, ()), strict=True):
        array = read_npz(path).get("arr_0")
        if array is None or array.dtype != np.uint8 or array.shape[1:] != item or not array.ndim:
            raise DataError(f"{path}: no array 'arr_0' of uint8 with shape {('N', *item)}")
        arrays.append(array.astype(np.uint8, copy=False))
    return arrays[0][:, None], arrays[1].astype(np.int64)


def parse_batches(paths: Sequence[Path], spec: DataSpec) -> Arrays:
    """Images and labels from CIFAR's pickled batches."""
    x, y = [], []
    shape = (spec.channels, *spec.size)
    for path in paths:
        try:
            with path.open("rb") as file:
                batch = _Unpickler(file, encoding="latin1").load()
            pixels, labels = batch["data"], np.array(batch["labels"], dtype=np.int64)
            if pixels.dtype != np.uint8 or len(pixels) != len(labels) or labels.ndim != 1:
                raise ValueError("its arrays do not fit")
            x.append(pixels.reshape(len(pixels), *shape))
        except MemoryError:
            raise
        except Exception as error:  # a damaged pickle raises errors of many types
            raise DataError(f"{path}: not a batch of CIFAR-10 images ({error})") from error
        y.append(labels)
    return np.concatenate(x), np.concatenate(y)


class _Unpickler(pickle.Unpickler):
    """Unpickles arrays of numbers, and refuses everything that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return np.empty(0).__reduce__()[0]  # its module depends on the version of numpy
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        raise pickle.UnpicklingError(f"{module}.{name} is not admitted")
