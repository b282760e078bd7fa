"""Images and labels in arrays: the layouts of .npz files that are in use, and idx files."""

from __future__ import annotations

import gzip
import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.data.base import DataError

Array = NDArray[Any]
# Names of images, labels, test images and test labels: ours, Keras', MedMNIST's, and others'.
LAYOUTS = (
    ("x", "y", "x_test", "y_test"),
    ("x_train", "y_train", "x_test", "y_test"),
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("images", "labels", "test_images", "test_labels"),
    ("X", "y", "X_test", "y_test"),
    ("data", "labels", "test_data", "test_labels"),
    ("arr_0", "arr_1", "arr_2", "arr_3"),
)
# How a file of images and its file of labels, and the files of training and of test, differ.
PAIRS = (
    ("images.idx3", "labels.idx1"),
    ("images-idx3", "labels-idx1"),
    ("images", "labels"),
    ("imgs", "labels"),
)
SPLITS = (("train", "test"), ("train", "t10k"))


def read_npz(path: Path) -> dict[str, Array]:
    """All arrays of an .npz file by name. Pickled objects are refused.

    Raises:
        DataError: the file is not an .npz file, is damaged, holds pickled objects, or does not fit
            into memory.
    """
    try:
        if zipfile.is_zipfile(path):
            check_memory(path, sum(_sizes(path).values()))
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.lib.npyio.NpzFile):
            with loaded:
                return {key: loaded[key] for key in loaded.files}
    except (DataError, MemoryError):
        raise
    except Exception as error:  # a damaged archive raises errors of many types
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{path}: not a readable .npz file ({why})") from error
    raise DataError(f"{path}: not an .npz file but a single array")


def _sizes(path: Path) -> dict[str, int]:
    """Bytes that each array of an .npz file takes in memory, from the headers."""
    found = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0
                if version != (1, 0):
                    read = np.lib.format.read_array_header_2_0
                shape, _, kind = read(file)
            found[member.filename] = int(np.prod(shape, dtype=object)) * kind.itemsize
    return found


def check_memory(path: Path, size: int) -> None:
    """Refuse data that do not fit twice into the memory that is free, as reading them takes that.

    Args:
        size: in bytes.
    """
    import psutil

    free = psutil.virtual_memory().available
    if 2 * size > free:
        gib = 2**30
        raise DataError(
            f"{path}: {size / gib:.1f} GiB of images, and {free / gib:.1f} GiB of memory are free"
        )


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The values of an idx file of uint8, which is MNIST's format and may be gzipped.

    The format: two zero bytes; a byte 8, which means uint8; a byte with the number of axes; the
    length of each axis as a big-endian int32; the values.

    Raises:
        DataError: the file is of another format, or damaged.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            magic = file.read(4)
            axes = magic[3] if len(magic) == 4 and magic[:3] == b"\0\0\x08" else 0
            lengths = file.read(4 * axes)
            if axes not in (1, 3) or len(lengths) < 4 * axes:
                raise DataError(f"{path}: not an idx file of uint8 with 1 or 3 axes: {magic!r}")
            shape = tuple(int(n) for n in np.frombuffer(lengths, ">i4"))
            if min(shape) < 1:
                raise DataError(f"{path}: shape {shape}")
            size = math.prod(shape)  # of Python's numbers, which do not overflow
            check_memory(path, size)
            values = file.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: damaged: {error}") from error
    if len(values) != size:
        amount = "more" if len(values) > size else f"only {len(values)}"
        raise DataError(f"{path}: damaged: {amount} of {size} values")
    return np.frombuffer(values, np.uint8).reshape(shape).copy()  # a copy is writable


def read_file(path: Path) -> tuple[dict[str, Array], list[str]]:
    """Images and labels under the names x, y, x_test and y_test, and what was left out.

    Labels, and the test split, are missing where there are none.

    Raises:
        DataError: the file cannot be read, or has no array of images.
    """
    if path.suffix == ".npy":
        raise DataError(f"{path}: a single array, without labels: write an .npz file")
    if path.suffix == ".npz":
        arrays = read_npz(path)
        if {*arrays} == {"arr_0"}:  # of images alone: labels and test images are in files beside it
            return _beside(path, lambda file: read_npz(file)["arr_0"]), []
        return _named(path, arrays)
    return _beside(path, read_idx), []


def _named(path: Path, arrays: Mapping[str, Array]) -> tuple[dict[str, Array], list[str]]:
    for layout in LAYOUTS:
        if layout[0] in arrays:
            break
    else:
        wanted = " or ".join(layout[0] for layout in LAYOUTS)
        there = ", ".join(sorted(arrays)) or "none"
        raise DataError(f"{path}: no array of images, which is called {wanted}: there are {there}")
    ours = dict(zip(layout, ("x", "y", "x_test", "y_test"), strict=True))
    if layout[1] not in arrays:
        count = arrays[layout[0]].shape[:1]
        for name in sorted(arrays.keys() - ours.keys()):
            if count and arrays[name].shape in (count, (*count, 1)):
                wanted = f"if it holds the labels, call it {layout[1]!r}"
                raise DataError(f"{path}: array {name!r} is as long as the images: {wanted}")
    left_out = [f"array {name}" for name in sorted(arrays.keys() - ours.keys())]
    return {ours[name]: arrays[name] for name in ours if name in arrays}, left_out


def _beside(path: Path, read: Any) -> dict[str, Array]:
    """A file of images, with the files of labels and of test images beside it by their names."""
    found = {"x": read(path)}
    for images, labels in PAIRS:
        if images not in path.name:
            continue
        beside = {"y": path.name.replace(images, labels)}
        for train, test in SPLITS:
            if train in path.name:
                other = path.name.replace(train, test)
                if path.with_name(other).is_file():
                    beside |= {"x_test": other, "y_test": other.replace(images, labels)}
        for name, file in beside.items():
            if path.with_name(file).is_file():
                found[name] = read(path.with_name(file))
        break
    return found


def as_images(where: str, x: Array, span: tuple[float, float]) -> NDArray[np.uint8]:
    """Images [N, C, H, W], uint8, from the forms in which people keep them.

    Args:
        span: the lowest and the highest value of all splits, which are scaled alike.

    Raises:
        DataError: the array has no form that means one thing.
    """
    said = f"{where} is {x.dtype} {'x'.join(map(str, x.shape))}"
    if x.ndim == 3:
        x = x[:, None]
    elif x.ndim == 4 and x.shape[3] in (1, 3):
        x = x.transpose(0, 3, 1, 2)
    elif x.ndim != 4 or x.shape[1] not in (1, 3):
        raise DataError(f"{said}: NxHxW, or NxHxWxC or NxCxHxW with C = 1 or 3, is needed")
    if x.dtype == bool:
        return np.ascontiguousarray(x) * np.uint8(255)
    if x.dtype.kind not in "iuf" or not x.size:
        raise DataError(f"{said}: uint8 is needed")
    low, high = span
    if x.dtype.kind == "f":
        if not np.isfinite((low, high)).all() or low < -1 or -0.9 < low < 0 or high > 255:
            raise DataError(f"{said} from {low:g} to {high:g}: 0 to 255, or 0 to 1, is needed")
        if high <= 1:
            x = (x + 1) * 127.5 if low < 0 else x * 255.0
        elif low < 0 or (x != np.floor(x)).any():
            raise DataError(f"{said} from {low:g} to {high:g}: 0 to 255, or 0 to 1, is needed")
        x = np.rint(x)
    elif low < 0 or high > 255:
        raise DataError(f"{said} from {low:g} to {high:g}: 0 to 255 is needed")
    elif high <= 1:
        raise DataError(f"{said} and holds 0 and 1 only: multiply it by 255")
    return np.ascontiguousarray(x).astype(np.uint8, copy=False)


def span_of(x: Array) -> tuple[float, float]:
    """The lowest and the highest value of an array of numbers; zeros where there are none."""
    if x.dtype.kind not in "iufb" or not x.size:
        return 0.0, 0.0
    return float(x.min()), float(x.max())


def as_labels(where: str, y: Array, n: int) -> Array:
    """Labels [N] as they come: whole numbers or text. One-hot rows become numbers.

    Raises:
        DataError: they are no labels, or not n.
    """
    said = f"{where} is {y.dtype} {'x'.join(map(str, y.shape))}"
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim == 2 and y.dtype.kind in "iufb" and ((y == 0) | (y == 1)).all():
        if not (y.sum(1) == 1).all():
            raise DataError(f"{said}: several labels per image are not read from arrays")
        y = y.argmax(1)
    if y.dtype.kind == "f" and (y == np.floor(y)).all():
        y = y.astype(np.int64)
    if y.dtype.kind == "S":
        try:
            y = np.char.decode(y, "utf-8")
        except UnicodeDecodeError:
            raise DataError(f"{said}: texts have to be in UTF-8") from None
    if y.ndim != 1 or y.dtype.kind not in "iubU":
        raise DataError(f"{said}: N whole numbers or texts are needed")
    if len(y) != n:
        raise DataError(f"{where} has {len(y)} labels for {n} images")
    return y
