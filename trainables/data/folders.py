"""Folders of images: class folders, published splits, dataset.json, or images alone."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.data.arrays import check_memory
from trainables.data.base import DataError
from trainables.data.pictures import SUFFIXES, image_shape, other_size, read_image

# Names of folders that hold a split, never a class.
TRAIN, TEST, VALIDATION = ("train", "training"), ("test", "testing"), ("val", "valid", "validation")
LITTER = ("__macosx", "thumbs.db", "desktop.ini")  # of operating systems
CARD = "dataset.json"  # of StyleGAN's and EDM's tools


@dataclass
class Part:
    """Image files and their labels; no labels where there is one kind of images."""

    paths: list[Path]
    labels: list[Any] | None


@dataclass
class Found:
    """What a folder holds."""

    train: Part
    test: Part | None = None
    left_out: list[str] = field(default_factory=list)


def find(root: Path) -> Found:
    """The images of a folder, with its labels and splits.

    Raises:
        DataError: the folder has no images, or could be understood in two ways.
    """
    root = _unpacked(root)
    if (root / CARD).is_file():
        return _of_card(root)
    folders = [path for path in _children(root) if path.is_dir()]
    for names in (TRAIN, TEST, VALIDATION):
        same = [path.name for path in folders if path.name.lower() in names]
        if len(same) > 1:
            raise DataError(f"{root}: {' and '.join(same)} are two folders of one split")
    splits = {path.name.lower(): path for path in folders if path.name.lower() in ALL_SPLITS}
    if not splits:
        part, left_out = _part(root)
        return Found(part, left_out=left_out)
    others = [path.name for path in folders if path.name.lower() not in splits]
    if others:
        raise DataError(
            f"{root}: both splits ({', '.join(splits)}) and folders such as {others[0]}"
        )
    train, test, validation = (
        next((splits[name] for name in names if name in splits), None)
        for names in (TRAIN, TEST, VALIDATION)
    )
    if train is None:
        raise DataError(f"{root}: {', '.join(splits)} and no {TRAIN[0]}")
    part, left_out = _part(train)
    if test is not None and validation is not None:
        left_out.append(f"folder {validation.name}")
    held_out = test or validation
    if held_out is None:
        return Found(part, left_out=left_out)
    tested, more = _part(held_out)
    return Found(part, tested, left_out + more)


ALL_SPLITS = (*TRAIN, *TEST, *VALIDATION)


def _unpacked(root: Path) -> Path:
    """The folder below in which the images are sorted, where folders only wrap it."""
    while not (root / CARD).is_file():
        children = _children(root)
        folders = [path for path in children if path.is_dir()]
        loose = any(path.suffix.lower() in SUFFIXES for path in children if not path.is_dir())
        if len(folders) != 1 or loose or folders[0].is_symlink():
            break
        if folders[0].name.lower() in ALL_SPLITS:
            break
        inside = _children(folders[0])
        if not any(path.is_dir() or path.name == CARD for path in inside):
            break
        root = folders[0]
    return root


def split_of(name: str) -> str | None:
    """The split that a name speaks of last, as "training_set", "testA" and "signs-test" do."""
    words = re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])[AB]$", "", name).lower())
    kinds = {word: kind[0] for kind in (TRAIN, TEST, VALIDATION) for word in kind}
    return next((kinds[word] for word in reversed(words) if word in kinds), None)


def _children(folder: Path) -> list[Path]:
    """What is in a folder, without hidden files and litter."""
    return sorted(
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and path.name.lower() not in LITTER
    )


def _images(folder: Path) -> tuple[list[Path], Counter[str]]:
    """All image files in a folder and below, and how many others there are by their suffix."""
    images: list[Path] = []
    others = Counter[str]()
    waiting = [folder]
    while waiting:
        for path in _children(waiting.pop()):
            if path.is_dir():
                if not path.is_symlink():  # a link might lead in circles
                    waiting.append(path)
            elif path.suffix.lower() in SUFFIXES:
                images.append(path)
            else:
                others[path.suffix or path.name] += 1
    return sorted(images), others


def _part(root: Path) -> tuple[Part, list[str]]:
    """A split: class folders, or images of one kind."""
    if (root / CARD).is_file():
        found = _of_card(root)
        return found.train, found.left_out
    named = {
        kind: path.name
        for path in _children(root)
        if path.is_dir() and (kind := split_of(path.name))
    }
    # A class may be called "bullet train" or "test tube".
    plain = {
        kind for kind, name in named.items() if re.search("set|images|data|imgs", name.lower())
    }
    if len(named) > 1 or plain - {TRAIN[0]}:
        seem = f"its folders, such as {named.popitem()[1]}, seem to be splits"
        raise DataError(f"{root}: {seem}: call them train and test")
    images, labels = list[Path](), list[Any]()
    others, loose = Counter[str](), list[Path]()
    for path in _children(root):
        if path.is_dir():
            below, more = _images(path)
            images += below
            labels += [path.name] * len(below)
            others += more
            if not below:
                others[f"folder {path.name}"] += 1
        elif path.suffix.lower() in SUFFIXES:
            loose.append(path)
        else:
            others[path.suffix or path.name] += 1
    left_out = [f"{count} {kind}" for kind, count in sorted(others.items())]
    if not images:
        if not loose:
            there = f"there are {', '.join(left_out)}" if left_out else "it is empty"
            way = "write a Python file that makes the data, or an .npz file"
            raise DataError(f"{root}: no images ({', '.join(SUFFIXES)}): {there}: {way}")
        return Part(loose, None), left_out
    deep = all(path.parent.parent != root for path in images)
    if len({*labels}) == 1 and not loose and deep:
        inner, left_out_below = _part(root / labels[0])  # it holds the classes, beside other things
        return inner, left_out + left_out_below
    if _counts(images):
        return Part(images + loose, None), [*left_out, "the folders' names, which count the files"]
    if loose:
        left_out.append(f"{len(loose)} images beside the class folders")
    return Part(images, labels), left_out


def _counts(images: list[Path]) -> bool:
    """Whether folders are no classes, but hold the files from their number on, as in FFHQ."""
    folders = sorted({path.parent.name for path in images})
    if len(folders) < 2 or not all(re.fullmatch(r"\d{4,}", name) for name in folders):
        return False
    limits = {
        name: (int(name), int(after))
        for name, after in zip(folders, [*folders[1:], "9" * 18], strict=True)
    }
    digits = [(limits[path.parent.name], re.sub(r"\D", "", path.stem)) for path in images]
    return all(number and low <= int(number) < high for (low, high), number in digits)


def _of_card(root: Path) -> Found:
    """A folder with dataset.json, which names the label of each file; labels may be null."""
    card = root / CARD
    try:
        labels = json.loads(card.read_text())["labels"]
        pairs = None if labels is None else [(str(name), label) for name, label in labels]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{card}: no list of labels ({type(error).__name__})") from None
    if pairs is None:
        images, others = _images(root)
        left_out = [f"{count} {kind}" for kind, count in sorted(others.items()) if kind != ".json"]
        if not images:
            raise DataError(f"{root}: no images ({', '.join(SUFFIXES)})")
        return Found(Part(images, None), left_out=left_out)
    for name, label in pairs:
        if type(label) is not int:
            raise DataError(f"{card}: label {label!r} of {name}: a whole number is needed")
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise DataError(f"{card}: {name} is not in the folder")
    known = {name for name, _ in pairs}
    if not pairs or len(known) < len(pairs):
        raise DataError(f"{card}: it names no file, or one file twice")
    images, _ = _images(root)
    unlabelled = sum(path.relative_to(root).as_posix() not in known for path in images)
    left_out = [f"{unlabelled} images without a label"] if unlabelled else []
    pairs.sort()
    return Found(
        Part([root / name for name, _ in pairs], [label for _, label in pairs]), left_out=left_out
    )


def pixels(parts: list[Part], square: int | None) -> list[NDArray[np.uint8]]:
    """The images of some parts, uint8 [N, C, H, W] each.

    Args:
        square: resize the middle of each image to a square of so many pixels a side.

    Raises:
        DataError: an image cannot be read, sizes differ, or memory does not suffice.
    """
    first, *others = (path for part in parts for path in part.paths)
    if not square:  # of the headers of two images, before one of them takes memory
        sizes = [image_shape(path, upright=False) for path in (first, *others[:1])]
        if sorted(sizes[0]) != sorted(sizes[-1]):
            raise other_size(str(others[0]), sizes[1], str(first), sizes[0])
    height, width = (square, square) if square else image_shape(first)
    count = sum(len(part.paths) for part in parts)
    check_memory(first.parent, 3 * count * height * width)
    like = None if square else (str(first), (height, width))
    named = [((str(p), read_image(p, square=square, like=like)) for p in q.paths) for q in parts]
    return stacked(named)


def stacked(parts: Sequence[Iterable[tuple[str, NDArray[np.uint8]]]]) -> list[NDArray[np.uint8]]:
    """The images of some parts, [C, H, W] each and with their names, as one array a part.

    Grey images among colour ones become colour.

    Raises:
        DataError: sizes differ.
    """
    first, shape = "", (0, 0)
    read: list[list[NDArray[np.uint8]]] = []
    for part in parts:
        images = []
        for name, image in part:
            if not first:
                first, shape = name, image.shape[1:]
            if image.shape[1:] != shape:
                raise other_size(name, image.shape[1:], first, shape)
            images.append(image)
        read.append(images)
    channels = max(image.shape[0] for images in read for image in images)
    return [np.stack([np.broadcast_to(i, (channels, *shape)) for i in images]) for images in read]
