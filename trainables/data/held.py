"""Data that other libraries keep on disk: torchvision's data sets, and Hugging Face's.

`torchvision:NAME` is a data set of `torchvision.datasets`, in the data folder. `hf:NAME` is what
Hugging Face's libraries have in their cache, such as `hf:ylecun/mnist`; their tables also can be
named by their path. Nothing is downloaded.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.data import files, tables
from trainables.data.arrays import check_memory
from trainables.data.base import DataError, Dataset
from trainables.data.folders import stacked
from trainables.data.own import Own
from trainables.data.pictures import FORMATS, as_pixels


class Held(Own):
    """The family of such data, which a study may declare and which may be missing."""

    def __init__(self, name: str, data_dir: Path) -> None:
        super().__init__(name, functools.partial(read, name, data_dir))

    def where(self, name: str, data_dir: Path) -> str | None:
        return None if self.fetchable(name, data_dir) else self.dataset.source

    def fetchable(self, name: str, data_dir: Path) -> str | None:
        try:
            _ = self.dataset  # kept if it can be read
        except DataError as error:
            return str(error)
        return None


UNPICKLES = ("LSUN", "LSUNClass")  # what lies in the data folder could then run code


def read(name: str, data_dir: Path, square: int | None = None) -> Dataset:
    """Read what `torchvision:NAME` or `hf:NAME` means.

    Args:
        data_dir: the root of torchvision's data sets.
        square: resize the middle of each image to a square of so many pixels a side.

    Raises:
        DataError: there are no such data, or they cannot be used.
    """
    library, _, own = name.partition(":")
    if library == "torchvision":
        return _of_torchvision(own, data_dir, square)
    if not own:
        raise DataError(f"{name}: name a data set, such as hf:ylecun/mnist")
    folder = _of_hugging_face(own)
    found = files.read(folder, square)
    where = f"read from Hugging Face's cache of {own}"
    return dataclasses.replace(
        found, source=found.source.replace(f"read from {folder.name}", where)
    )


def _of_hugging_face(name: str) -> Path:
    """The folder in which the cache of Hugging Face's hub, or of its `datasets`, has a data set."""
    everything = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    cache = Path(os.environ.get("HF_HOME") or everything).expanduser()
    hub = Path(os.environ.get("HF_HUB_CACHE") or cache / "hub").expanduser()
    prepared = Path(os.environ.get("HF_DATASETS_CACHE") or cache / "datasets").expanduser()
    downloaded = hub / f"datasets--{name.replace('/', '--')}"
    current = downloaded / "refs" / "main"
    owner, slash, own = name.rpartition("/")
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", own).lower()
    places = [prepared / f"{owner}{slash}{own}".replace("/", "___") for own in (own, plain)]
    if current.is_file():
        places.append(downloaded / "snapshots" / current.read_text().strip())
    for place in places:
        if tables.find(place):
            return place
    raise DataError(f"hf:{name}: neither {downloaded} nor {places[0]} has its tables")


def _of_torchvision(name: str, data_dir: Path, square: int | None) -> Dataset:
    import torchvision.datasets as known

    kind: Any = getattr(known, name, None)
    if name in UNPICKLES or name not in known.__all__ or not isinstance(kind, type):
        raise DataError(f"torchvision:{name}: torchvision.datasets has no {name} that can be read")
    parameters = inspect.signature(kind).parameters
    needed = [
        key
        for key, parameter in parameters.items()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    ]
    split = parameters["split"].default if "split" in parameters else "train"
    if needed != ["root"] or not str(split).startswith("train"):
        lacks = [key for key in needed if key != "root"] or ["a choice of images"]
        line = f"torchvision:{name} needs {', '.join(lacks)}"
        raise DataError(f"{line}: write a Python file that makes the data")
    loader = {"loader": _open} if "loader" in parameters else {}
    choices: tuple[dict[str, Any], ...] = ({},)
    tests: tuple[dict[str, Any], ...] = ()
    if "train" in parameters:
        choices, tests = ({"train": True},), ({"train": False},)
    elif "split" in parameters:  # its default is the split to train on
        tests = ({"split": "test"}, {"split": "val"})

    def opened(choices: tuple[dict[str, Any], ...]) -> Any:
        why = ""
        for choice in choices:
            try:
                return kind(root=data_dir, **choice, **loader)
            except Exception as error:  # each of them raises what it likes
                why = why or f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise DataError(f"torchvision:{name} cannot be read from {data_dir} ({why})")

    parts = [opened(choices), *([opened(tests)] if tests else [])]
    x: list[list[tuple[str, NDArray[np.uint8]]]] = []
    y: list[NDArray[Any] | None] = []
    for part in parts:
        images, labels = _read(f"torchvision:{name}", part, square)
        x.append(images)
        y.append(labels)
    classes = getattr(parts[0], "classes", None)
    names = tuple(map(str, classes)) if isinstance(classes, list) else ()
    found = files.dataset(data_dir / name, stacked(x), y, [], names)
    return dataclasses.replace(found, source=f"read by torchvision from {data_dir}")


def _open(path: str | Path) -> Any:
    """An image of Pillow as `read_image` opens it, where torchvision would admit any format."""
    from PIL import Image

    image = Image.open(path, formats=FORMATS)
    image.load()
    return image


def _read(
    where: str, part: Any, square: int | None
) -> tuple[list[tuple[str, NDArray[np.uint8]]], NDArray[np.int64]]:
    """The images of a split, with their names, and their labels."""
    images: list[tuple[str, NDArray[np.uint8]]] = []
    labels: list[int] = []
    for at in range(len(part)):
        image, label = part[at]
        name = f"{where}: image {at}"
        if not hasattr(image, "getbands"):
            raise DataError(f"{name} is {type(image).__name__}, not an image of Pillow")
        if not isinstance(label, int | np.integer):
            raise DataError(f"{name} has label {label!r}: one whole number is needed")
        pixels = as_pixels(name, image, None, square)
        if not images:
            check_memory(Path(where), len(part) * pixels.size)
        images.append((name, pixels))
        labels.append(int(label))
    return images, np.array(labels, dtype=np.int64)
