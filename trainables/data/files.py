"""Reads the user's own data: an .npz file, or a folder of images with one folder per class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.data.base import DataError, Dataset, Split, divide, one_line

LEAST_SIDE = 8  # pixels
LEAST_TEST_IMAGES = 2  # per class
LEAST_IMAGES = 8 + LEAST_TEST_IMAGES  # per class: 8 to train on and 2 to test on
MOST_ELONGATED = 4  # longer side : shorter side, at most; networks halve both equally often
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png")
KEYS = {"x", "y", "x_test", "y_test"}


def read(path: Path) -> Dataset:
    """Read the data at a path. Without a test split, 80 % of each class are for training.

    Args:
        path: an .npz file with `x` (uint8 NHW or NHWC) and `y` (integers 0..K-1), and optionally
            `x_test` and `y_test`; or a folder whose sub-folders are the classes, in alphabetical
            order.

    Raises:
        DataError: the data are missing, unreadable or unusable. The message is one line that names
            the file and the value.
    """
    if path.is_dir():
        return _read_folder(path)
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if not path.is_file():  # reading a pipe would block
        raise DataError(f"{path}: neither a file nor a folder")
    arrays = read_npz(path)
    if unknown := sorted(arrays.keys() - KEYS):
        raise DataError(f"{path}: unknown array {unknown[0]!r}: an .npz has x, y, x_test, y_test")
    pairs = (
        [("x", "y"), ("x_test", "y_test")] if arrays.keys() & {"x_test", "y_test"} else [("x", "y")]
    )
    for key in (key for pair in pairs for key in pair):
        if key not in arrays:
            raise DataError(f"{path}: no array {key!r}, only {', '.join(sorted(arrays)) or 'none'}")
    splits = [_split(path, x, arrays[x], y, arrays[y]) for x, y in pairs]
    classes = tuple(str(label) for label in range(count_classes(path, splits[0].y, LEAST_IMAGES)))
    if len(splits) == 1:
        splits = [*divide(splits[0])]
    elif count_classes(path, splits[1].y, LEAST_TEST_IMAGES) != len(classes):
        raise DataError(f"{path}: x_test has {splits[1].y.max() + 1} classes, x has {len(classes)}")
    elif splits[0].x.shape[1:] != splits[1].x.shape[1:]:
        shapes = [_shown(split.x.shape[1:]) for split in splits]
        raise DataError(f"{path}: images of x are {shapes[0]}, of x_test {shapes[1]} (CxHxW)")
    _check_variety(path, splits[0], classes)
    return Dataset(str(path), splits[0], splits[1], classes, f"read from {path.name}")


def read_npz(path: Path) -> dict[str, NDArray[np.generic]]:
    """All arrays of an .npz file by name. Pickled objects are refused.

    Raises:
        DataError: the file is not an .npz file, is damaged, or holds pickled objects.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.lib.npyio.NpzFile):
            with loaded:
                return {key: loaded[key] for key in loaded.files}
    except MemoryError:
        raise
    except Exception as error:  # a damaged archive raises errors of many types
        raise DataError(f"{path}: not a readable .npz file ({_line(error)})") from error
    raise DataError(f"{path}: not an .npz file but a single array")


def _split(
    path: Path, x_key: str, x: NDArray[np.generic], y_key: str, y: NDArray[np.generic]
) -> Split:
    """Check a user's x and y and convert them to NCHW images and int64 labels."""
    if x.dtype != np.uint8 or x.ndim not in (3, 4):
        raise DataError(
            f"{path}: {x_key} is {x.dtype} {_shown(x.shape)}: uint8 NxHxW or NxHxWxC is needed"
        )
    if y.dtype.kind not in "iu" or y.ndim != 1:
        raise DataError(f"{path}: {y_key} is {y.dtype} {_shown(y.shape)}: N integers are needed")
    if len(x) != len(y):
        raise DataError(f"{path}: {x_key} has {len(x)} images but {y_key} has {len(y)} labels")
    images = x.astype(np.uint8, copy=False)
    images = images[:, None] if x.ndim == 3 else np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    check_shape(f"{path}: {x_key}", images.shape[1:])
    return Split(images, y.astype(np.int64))


def check_shape(where: str, shape: tuple[int, ...]) -> None:
    channels, height, width = shape
    if channels not in (1, 3):
        raise DataError(f"{where} has {channels} channels: 1 or 3 (in the last axis) are needed")
    if min(height, width) < LEAST_SIDE:
        raise DataError(
            f"{where} is {height}x{width}: at least {LEAST_SIDE}x{LEAST_SIDE} is needed"
        )
    if max(height, width) > MOST_ELONGATED * min(height, width):
        raise DataError(f"{where} is {height}x{width}: at most 1:{MOST_ELONGATED} is needed")


def _check_variety(path: Path, train: Split, classes: tuple[str, ...]) -> None:
    """Refuse a class whose training images are all the same.

    The spread of fakes cannot be measured against such a class.
    """
    for label, name in enumerate(classes):
        images = train.x[train.y == label]
        if (images == images[0]).all():
            raise DataError(f"{path}: the training images of class {name} are all the same")


def count_classes(where: Path | str, y: NDArray[Any], least: int) -> int:
    """The number of classes K.

    Raises:
        DataError: the labels are not 0..K-1, or a label has fewer than `least` images.
    """
    labels, counts = np.unique(y, return_counts=True)
    if not len(labels):
        raise DataError(f"{where}: no images")
    if labels[0] < 0:
        raise DataError(f"{where}: label {labels[0]}: labels are 0..K-1")
    if len(labels) <= labels[-1]:
        empty = int(np.flatnonzero(labels != np.arange(len(labels)))[0])
        raise DataError(f"{where}: no image has label {empty}, though labels go to {labels[-1]}")
    if counts.min() < least:
        few = int(counts.argmin())
        raise DataError(
            f"{where}: class {few} has {counts[few]} images: at least {least} are needed"
        )
    return len(labels)


def _read_folder(root: Path) -> Dataset:
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not folders:
        raise DataError(f"{root}: no class folders: images lie in {root.name}/CLASS/")
    for folder in folders:
        if one_line(folder.name) != folder.name:
            raise DataError(f"{folder}: a class needs a printable name")
    x: list[NDArray[np.uint8]] = []
    y: list[int] = []
    for label, folder in enumerate(folders):
        paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
        if len(paths) < LEAST_IMAGES:
            raise DataError(
                f"{folder}: {len(paths)} images ({', '.join(SUFFIXES)}): "
                f"at least {LEAST_IMAGES} are needed"
            )
        for path in paths:
            image = read_image(path)
            if not x:
                first = path
                check_shape(f"{path}", image.shape)
            elif image.shape != x[0].shape:
                raise DataError(
                    f"{path} is {_shown(image.shape)} but {first} is {_shown(x[0].shape)} (CxHxW)"
                )
            x.append(image)
            y.append(label)
    train, test = divide(Split(np.stack(x), np.array(y, dtype=np.int64)))
    classes = tuple(folder.name for folder in folders)
    _check_variety(root, train, classes)
    return Dataset(str(root), train, test, classes, f"read from {root.name}")


def read_image(path: Path, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Read an image as uint8 CHW. A greyscale file has one channel, any other file three.

    Args:
        size: H, W that the image is resized to; None keeps its size.

    Raises:
        DataError: the file is no readable image of 8 bits per channel.
    """
    from PIL import Image  # takes 50 ms, so only where it is needed

    if not path.is_file():  # reading a pipe would block
        raise DataError(f"{path}: not a readable image (no file)")
    try:
        with Image.open(path, formats=("BMP", "JPEG", "PNG")) as image:
            mode = image.mode
            grey = mode in ("1", "L", "LA")
            plain = image.convert("L" if grey else "RGB")
            if size is not None:
                plain = plain.resize(size[::-1], Image.Resampling.BILINEAR)
            pixels = np.array(plain, dtype=np.uint8)
    except MemoryError:
        raise
    except Exception as error:  # a damaged image raises errors of many types
        raise DataError(f"{path}: not a readable image ({_line(error)})") from error
    if mode.startswith(("I", "F")):  # Pillow would clip such pixels to white
        raise DataError(f"{path}: {mode} pixels: 8 bits per channel are needed")
    return pixels[None] if grey else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _shown(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
