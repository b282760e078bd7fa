"""The formats of the published sets: idx, .npz, CIFAR's pickled batches.

Each parser gives uint8 images NCHW and int64 labels N. What the files hold is checked first; no
file can make them run anything.
"""

from __future__ import annotations

import gzip
import pickle
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.data.base import DataError, Look
from trainables.data.files import read_npz

Arrays = tuple[NDArray[np.uint8], NDArray[np.int64]]  # NCHW, N


def parse_idx(paths: Sequence[Path], look: Look) -> Arrays:
    """Images and labels in MNIST's format."""
    x = _read_idx(paths[0], look.size)
    return x[:, None], _read_idx(paths[1], ()).astype(np.int64)


def _read_idx(path: Path, item: tuple[int, ...]) -> NDArray[np.uint8]:
    """uint8 [N, *item] from an idx file, gzipped or not.

    Format: two zero bytes, 8 for uint8, the number of axes; the axes' lengths as big-endian int32;
    the values.
    """
    axes = 1 + len(item)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            magic, lengths = file.read(4), file.read(4 * axes)
            if magic != bytes((0, 0, 8, axes)) or len(lengths) < 4 * axes:
                raise DataError(f"{path}: not an idx file of uint8 with {axes} axes: {magic!r}")
            shape = tuple(int(n) for n in np.frombuffer(lengths, ">i4"))
            if shape[1:] != item or shape[0] < 1:
                raise DataError(f"{path}: shape {shape} where {('N', *item)} is needed")
            size = int(np.prod(shape, dtype=np.int64))
            values = file.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: damaged: {error}") from error
    if len(values) != size:
        amount = "more" if len(values) > size else f"only {len(values)}"
        raise DataError(f"{path}: damaged: {amount} of {size} values")
    return np.frombuffer(values, np.uint8).reshape(shape).copy()  # writable


def parse_npz(paths: Sequence[Path], look: Look) -> Arrays:
    """Images and labels as the only arrays of two .npz files."""
    arrays = []
    for path, item in zip(paths, (look.size, ()), strict=True):
        array = read_npz(path).get("arr_0")
        if array is None or array.dtype != np.uint8 or array.shape[1:] != item or not array.ndim:
            raise DataError(f"{path}: no array 'arr_0' of uint8 with shape {('N', *item)}")
        arrays.append(array.astype(np.uint8, copy=False))
    return arrays[0][:, None], arrays[1].astype(np.int64)


def parse_batches(paths: Sequence[Path], look: Look) -> Arrays:
    """Images and labels of CIFAR's pickled batches."""
    x, y = [], []
    shape = (look.channels, *look.size)
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
        except Exception as error:  # damaged pickles raise all kinds
            raise DataError(f"{path}: not a batch of CIFAR-10 images ({error})") from error
        y.append(labels)
    return np.concatenate(x), np.concatenate(y)


class _Unpickler(pickle.Unpickler):
    """Admits arrays of numbers and nothing that could run."""

    def find_class(self, module: str, name: str) -> Any:
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return np.empty(0).__reduce__()[0]  # it has moved between numpy's versions
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        raise pickle.UnpicklingError(f"{module}.{name} is not admitted")
