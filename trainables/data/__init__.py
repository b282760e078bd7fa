"""Data sets by name or path. One family = one file of this folder, found by itself.

A family file defines `SETS: dict[str, Look]` and

```
def where(name: str, data_dir: Path) -> str | None  # "rendered", "read from KMNIST/raw"
def fetchable(name: str, data_dir: Path) -> str | None  # why it cannot be downloaded, or None
def read(name: str, data_dir: Path, cache: Path | None, progress: bool) -> Dataset
```
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, cast

from trainables.data.base import DataError, Dataset, Look, Split

__all__ = ["DataError", "Dataset", "Look", "Split", "choose", "load", "look", "names"]


class Family(Protocol):
    """What a family file offers."""

    SETS: dict[str, Look]

    def where(self, name: str, data_dir: Path) -> str | None: ...
    def fetchable(self, name: str, data_dir: Path) -> str | None: ...
    def read(self, name: str, data_dir: Path, cache: Path | None, progress: bool) -> Dataset: ...


def _families() -> list[Family]:
    files = (m.name for m in pkgutil.iter_modules(__path__))
    modules = [importlib.import_module(f"{__name__}.{name}") for name in files]
    return [cast(Family, module) for module in modules if hasattr(module, "SETS")]


def names() -> list[str]:
    """Names of all data sets, `NAME:test` among them."""
    return sorted(name for family in _families() for name in family.SETS)


def _family(name: str) -> Family | None:
    """The family of a data set; None for a path.

    Raises:
        DataError: neither a name nor something that looks like a path.
    """
    for family in _families():
        if name in family.SETS:
            return family
    if name and (os.sep in name or name.endswith(".npz") or Path(name).is_dir()):
        return None
    raise DataError(
        f"unknown data {name!r}: choose from {', '.join(names())}, or give an .npz file or a folder"
    )


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Whatever reading runs into is a DataError, and nothing else is said.

    The libraries' warnings are on the user's own files: what can be used is used.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except OSError as error:
        raise DataError(f"data {name!r} cannot be read: {error}") from error
    except MemoryError as error:
        raise DataError(f"data {name!r} do not fit into this machine's memory") from error


def _directory(data_dir: Path | None) -> Path:
    return data_dir or Path(os.environ.get("STUDY_DATA") or "data")


def load(
    name: str, data_dir: Path | None = None, cache: Path | None = None, progress: bool = True
) -> Dataset:
    """The data set of that name, or an .npz file or image folder by path.

    Args:
        data_dir: where named sets lie or are downloaded to; default $STUDY_DATA, else data/.
        cache: where rendered images are kept; None renders them anew.
        progress: show a bar while downloading.

    Raises:
        DataError: unknown, missing, damaged or unusable; one line.
    """
    with _reading(name):
        family = _family(name)
        if family is None:
            from trainables.data import files

            return files.read(Path(name))
        return family.read(name, _directory(data_dir), cache, progress)


def look(name: str, data_dir: Path | None = None) -> Look:
    """What a data set looks like. Only data given by path are read for it.

    Raises:
        DataError: unknown, or a path whose data cannot be used.
    """
    with _reading(name):
        family = _family(name)
    return load(name, data_dir).look if family is None else family.SETS[name]


def choose(
    request: str, wanted: str, standin: str, data_dir: Path | None = None
) -> tuple[str, str]:
    """Which data a study runs on: (name, one line that says why).

    "auto" takes the wanted set where it is on disk or can be downloaded, else the stand-in.

    Raises:
        DataError: the request is unknown, or neither on disk nor to be had.
    """
    with _reading(request):
        return _choose(request, wanted, standin, _directory(data_dir))


def _choose(request: str, wanted: str, standin: str, folder: Path) -> tuple[str, str]:
    if request == "auto":
        family = _family(wanted)
        assert family is not None
        if place := family.where(wanted, folder):
            return wanted, f"data: {wanted}, {place}"
        if (reason := family.fetchable(wanted, folder)) is None:
            return wanted, f"data: {wanted}, to be downloaded to {folder}"
        fallback = _family(standin)
        assert fallback is not None
        if (place := fallback.where(standin, folder)) is None:
            raise DataError(f"neither {wanted} nor its stand-in {standin} is in {folder}: {reason}")
        return standin, (
            f"data: {standin}, {place}, as a stand-in: {wanted} is not in {folder} and {reason}"
        )
    family = _family(request)
    if family is None:
        load(request)  # a path is checked whole before anything starts
        return request, f"data: {request}"
    if place := family.where(request, folder):
        return request, f"data: {request}, {place}"
    if (reason := family.fetchable(request, folder)) is not None:
        raise DataError(f"data {request!r} is not in {folder} and {reason}")
    return request, f"data: {request}, to be downloaded to {folder}"
