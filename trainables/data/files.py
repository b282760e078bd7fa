"""The user's own data by path: arrays in a file, or images in a folder or a zip file."""

from __future__ import annotations

import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.data import arrays, folders, tables
from trainables.data.arrays import as_images, as_labels
from trainables.data.base import DataError, Dataset, Split, divide, one_line
from trainables.data.pictures import SUFFIXES

LEAST_SIDE = 8  # pixels
LEAST_TEST_IMAGES = 2  # per class
LEAST_IMAGES = 8 + LEAST_TEST_IMAGES  # per class: 8 to train on and 2 to test on
MOST_ELONGATED = 4  # longer side : shorter side, at most; networks halve both equally often
MOST_FILES = 10_000_000  # in a zip file


def read(path: Path, image_size: int | None = None) -> Dataset:
    """Read the data at a path. Without a test split, 80 % of each class are for training.

    Data without labels have one class. What is left out is counted in the data's `source`.

    Args:
        path: an .npz or idx file of arrays, of a layout that arrays.py names; or a folder or zip
            file of images: with a folder for each class, with folders `train` and `test` (or `val`)
            of either kind, with dataset.json, or of images alone; or a folder or file of tables, as
            Hugging Face's `datasets` keep them.
        image_size: resize the middle of each image to a square of so many pixels a side.

    Raises:
        DataError: the data are missing, unreadable or unusable. The message is one line that names
            the file and the value.
    """
    if path.is_dir():
        idx = sorted(file for file in path.glob("*train-images*idx3-ubyte*") if file.is_file())
        if len({file.name.removesuffix(".gz") for file in idx}) > 1:
            raise DataError(f"{path}: name one of {', '.join(file.name for file in idx)}")
        if idx:
            return _of_arrays(path, idx[0], image_size)
        if tables.find(path) and not any(p.suffix.lower() in SUFFIXES for p in path.rglob("*")):
            return _of_tables(path, image_size)
        return _of_folder(path, path, image_size)
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if not path.is_file():  # reading a pipe would block
        raise DataError(f"{path}: neither a file nor a folder")
    if path.suffix == ".zip":
        return _of_zip(path, image_size)
    if path.suffix in tables.SUFFIXES:
        return _of_tables(path, image_size)
    return _of_arrays(path, path, image_size)


def _of_zip(path: Path, image_size: int | None) -> Dataset:
    try:
        with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as scratch:
            members = archive.infolist()
            if len(members) > MOST_FILES:
                raise DataError(f"{path}: {len(members)} files: at most {MOST_FILES}")
            arrays.check_memory(path, sum(member.file_size for member in members))
            archive.extractall(scratch)
            return _of_folder(path, Path(scratch), image_size)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise DataError(f"{path}: not a readable zip file ({error})") from None


def _of_folder(path: Path, root: Path, image_size: int | None) -> Dataset:
    """Args:
    path: what the user named.
    root: the folder, which is another one for a zip file.
    """
    found = folders.find(root)
    parts = [found.train, *([found.test] if found.test else [])]
    labels = [part.labels for part in parts]
    if len(parts) == 2 and (labels[0] is None) != (labels[1] is None):
        raise DataError(f"{path}: one of the two splits has labels, and the other has none")
    x = folders.pixels(parts, image_size)
    y = [None if own is None else np.array(own) for own in labels]
    return dataset(path, x, y, found.left_out)


def _of_tables(path: Path, image_size: int | None) -> Dataset:
    found = tables.read(path, image_size)
    return dataset(path, found.x, found.y, found.left_out, found.names)


def _of_arrays(path: Path, file: Path, image_size: int | None) -> Dataset:
    if image_size is not None:
        raise DataError(f"{path}: --image-size is for folders and zip files of images")
    found, left_out = arrays.read_file(file)
    if len({key in found for key in ("y", "y_test")}) == 2 and "x_test" in found:
        there = "y" if "y" in found else "y_test"
        raise DataError(f"{path}: of the labels y and y_test there is only {there}")
    parts = [key for key in ("x", "x_test") if key in found]
    spans = [arrays.span_of(found[key]) for key in parts]
    span = min(low for low, _ in spans), max(high for _, high in spans)
    x = [as_images(f"{path}: {key}", found[key], span) for key in parts]
    y = [
        as_labels(f"{path}: y{key[1:]}", found[f"y{key[1:]}"], len(found[key]))
        if f"y{key[1:]}" in found
        else None
        for key in parts
    ]
    return dataset(path, x, y, left_out)


def dataset(
    path: Path,
    x: list[NDArray[np.uint8]],
    y: list[NDArray[Any] | None],
    left_out: list[str],
    names: Sequence[str] = (),
) -> Dataset:
    """Check and divide images and labels, of training alone or of training and test.

    Args:
        names: of the classes, if labels are places in it.
    """
    if x[-1].shape[1:] != x[0].shape[1:]:
        shapes = [_shown(part.shape[1:]) for part in x]
        raise DataError(f"{path}: images to train on are {shapes[0]}, others {shapes[1]} (CxHxW)")
    check_shape(str(path), x[0].shape[1:])
    names, numbers = _numbered(path, x, y, names)
    parts = [Split(images, labels) for images, labels in zip(x, numbers, strict=True)]
    count_classes(path, parts[0].y, LEAST_IMAGES)
    if len(parts) == 1:
        parts = [*divide(parts[0])]
    else:
        count_classes(f"{path}: test", parts[1].y, LEAST_TEST_IMAGES)
    _check_variety(path, parts[0], names)
    source = f"read from {path.name}"
    if left_out:
        source += f" (left out: {', '.join(left_out)})"
    return Dataset(path.name, parts[0], parts[1], names, one_line(source))


def _numbered(
    path: Path,
    x: list[NDArray[np.uint8]],
    y: list[NDArray[Any] | None],
    names: Sequence[str],
) -> tuple[tuple[str, ...], list[NDArray[np.int64]]]:
    """The classes' names in ascending order, and each label's place among them."""
    if y[0] is None:
        return ("all",), [np.zeros(len(part), dtype=np.int64) for part in x]
    known = np.unique(y[0])
    numbers = []
    for labels in y:
        assert labels is not None
        own = np.unique(labels)
        if len(unknown := np.setdiff1d(own, known)):
            line = f"{path}: label {unknown[0]} of the test images is not trained on"
            raise DataError(f"{line}: the classes of test and of train need the same names")
        if len(missing := np.setdiff1d(known, own)):
            raise DataError(f"{path}: no test image has label {missing[0]}")
        numbers.append(np.searchsorted(known, labels).astype(np.int64))
    if names and not 0 <= known[0] <= known[-1] < len(names):
        wrong = known[0] if known[0] < 0 else known[-1]
        raise DataError(f"{path}: label {wrong}: the classes are 0 to {len(names) - 1}")
    present = tuple(names[label] if names else str(label) for label in known)
    for name in present:
        if one_line(name) != name or not name.strip():
            raise DataError(f"{path}: class {name!r}: a class needs a printable name")
    return present, numbers


def check_shape(where: str, shape: tuple[int, ...]) -> None:
    """Refuse images, [C, H, W], that no network takes."""
    channels, height, width = shape
    if channels not in (1, 3):
        raise DataError(f"{where} has {channels} channels: 1 or 3 are needed")
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


def _shown(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
