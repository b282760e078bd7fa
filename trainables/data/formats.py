"""Parsers for the file formats of the published sets: idx, .npz and CIFAR's pickled batches.

Each parser returns uint8 images NCHW and int64 labels N. The content of the files is checked, and
no file can make a parser run code.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.data.arrays import check_memory, read_idx, read_npz
from trainables.data.base import DataError, DataSpec

# Instructions of pickles that batches, of protocol 2 or 3, are made of.
INSTRUCTIONS = """
    PROTO STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 SHORT_BINSTRING BINSTRING
    BINUNICODE SHORT_BINBYTES BINBYTES EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM SETITEMS
    EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 GLOBAL REDUCE BUILD BINPUT LONG_BINPUT BINGET LONG_BINGET
"""
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
            check_memory(path, path.stat().st_size)
            batch = _unpickle(path.read_bytes())
            pixels, labels = batch["data"].values(), batch["labels"]
            if not isinstance(labels, list) or any(type(label) is not int for label in labels):
                raise ValueError("its labels are no list of whole numbers")
            if len(pixels) != len(labels):
                raise ValueError(f"{len(pixels)} images and {len(labels)} labels")
            x.append(pixels.reshape(len(pixels), *shape))
            y.append(np.array(labels, dtype=np.int64))
        except (DataError, MemoryError):
            raise
        except Exception as error:  # a damaged pickle raises errors of many types
            raise DataError(f"{path}: not a batch of CIFAR-10 images ({error})") from error
    return np.concatenate(x), np.concatenate(y)


def _unpickle(content: bytes) -> Any:
    """What a pickle holds, if it is made of what batches are made of.

    Other instructions could take any amount of memory before they fail.
    """
    known = {*INSTRUCTIONS.split()}
    for code, argument, _ in pickletools.genops(content):
        far = code.name == "LONG_BINPUT" and int(argument or 0) > len(content)
        if far or code.name not in known:
            raise pickle.UnpicklingError(f"{code.name} is not admitted, only protocols 2 and 3")
    return _Unpickler(io.BytesIO(content), encoding="latin1").load()


class _Pickled:
    """Stands for what numpy would build of a pickle: it keeps the arguments and the state."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = ()

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def values(self) -> NDArray[np.uint8]:
        """The rows of an array of uint8, from its bytes.

        Raises:
            ValueError: it is something else.
        """
        _, shape, kind, by_column, content = self.state
        if isinstance(content, str):  # Python 2 pickled bytes as text
            content = content.encode("latin1")
        if not isinstance(kind, _Pickled) or kind.arguments[:1] != ("u1",) or by_column:
            raise ValueError("it is no array of uint8")
        if not isinstance(content, bytes) or [type(n) for n in shape] != [int, int]:
            raise ValueError("it is no array of rows")
        return np.frombuffer(content, np.uint8).reshape(shape).copy()  # a copy is writable


class _Unpickler(pickle.Unpickler):
    """Unpickles arrays as `_Pickled`, so that nothing of numpy is called, and refuses all else."""

    def find_class(self, module: str, name: str) -> Any:
        reconstruct = [(f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")]
        if (module, name) in (*reconstruct, ("numpy", "ndarray"), ("numpy", "dtype")):
            return _Pickled
        raise pickle.UnpicklingError(f"{module}.{name} is not admitted")
