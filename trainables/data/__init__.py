"""Finds data sets by name or by path and reads them.

Each family of data sets is one file of this folder. A file that defines `SETS` is found
automatically. Such a file defines `SETS: dict[str, DataSpec]` and

```
# Where the data come from, such as "rendered" or "read from KMNIST/raw"; None if not on disk.
def where(name: str, data_dir: Path) -> str | None
# Why the data cannot be downloaded; None if they can, or if nothing needs to be downloaded.
def fetchable(name: str, data_dir: Path) -> str | None
def read(name: str, data_dir: Path, cache: Path | None, progress: bool) -> Dataset
```
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from trainables.data.base import DataError, Dataset, DataSpec, Split

if TYPE_CHECKING:
    from trainables.data.own import Own

__all__ = [
    "DataError",
    "DataSpec",
    "Dataset",
    "Split",
    "add",
    "add_held",
    "choose",
    "default_dir",
    "describe",
    "is_held",
    "is_known",
    "is_path",
    "load",
    "maker",
    "names",
]


class Family(Protocol):
    """The interface of a family file."""

    @property
    def SETS(self) -> Mapping[str, DataSpec]: ...  # noqa: N802
    def where(self, name: str, data_dir: Path) -> str | None: ...
    def fetchable(self, name: str, data_dir: Path) -> str | None: ...
    def read(self, name: str, data_dir: Path, cache: Path | None, progress: bool) -> Dataset: ...


_added: dict[str, Own] = {}


def add(name: str, make: Callable[[], Dataset]) -> None:
    """Make data from anywhere known by a name, until this process ends.

    Args:
        make: called when the data are first needed.

    Raises:
        ValueError: `make` is no function.
    """
    if not callable(make):
        raise ValueError(f"data {name!r}: {make!r} is no function that returns a Dataset")
    from trainables.data.own import Own

    _added[name] = Own(name, make)


def is_path(name: str) -> bool:
    """Whether a name that no data have is a path, of a file or folder that may be missing."""
    return bool(name) and (os.sep in name or name.endswith((".npz", ".zip")) or Path(name).exists())


def is_held(name: str) -> bool:
    """Whether a name means data that another library keeps on disk: see held.py."""
    return name.startswith(("torchvision:", "hf:"))


def add_held(name: str, data_dir: Path) -> None:
    """Make data that another library keeps known, read anew from `data_dir` or a cache."""
    from trainables.data.held import Held

    _added[name] = Held(name, data_dir)


def maker(name: str) -> Callable[[], Dataset] | None:
    """The function that makes data that were added; None for other data."""
    family = _added.get(name)
    return family.make if family else None


def is_known(name: str) -> bool:
    """Whether data have this name: a data set of this project, or one that was added."""
    return name in _added or is_held(name) or name in names()


def _families() -> list[Family]:
    files = (m.name for m in pkgutil.iter_modules(__path__))
    modules = [importlib.import_module(f"{__name__}.{name}") for name in files]
    return [cast(Family, module) for module in modules if hasattr(module, "SETS")]


def names() -> list[str]:
    """Names of all data sets, including those of the form `NAME:test`."""
    return sorted(name for family in _families() for name in family.SETS)


def _family(name: str) -> Family | None:
    """The family of a named data set; None for a path.

    Raises:
        DataError: `name` is neither a known name nor looks like a path.
    """
    if is_held(name) and name not in _added:
        add_held(name, default_dir())
    if name in _added:
        return _added[name]
    for family in _families():
        if name in family.SETS:
            return family
    if is_path(name):
        return None
    raise DataError(
        f"unknown data {name!r}: there is no such file or folder in {Path.cwd()}; choose from "
        f"{', '.join(names())}, or give the path of an .npz "
        "file, a folder or a zip file of images, or a .py file, or torchvision:NAME or hf:NAME"
    )


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Turn an OSError or a MemoryError into a DataError, and hide warnings.

    The warnings come from libraries and are about the user's own files. A file is used whenever it
    can be read, so the warnings would not help.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except OSError as error:
        raise DataError(f"data {name!r} cannot be read: {error}") from error
    except MemoryError as error:
        raise DataError(f"data {name!r} do not fit into this machine's memory") from error


def default_dir() -> Path:
    """Where named data lie if nothing else is said: $STUDY_DATA, or data/."""
    return Path(os.environ.get("STUDY_DATA") or "data")


def load(
    name: str, data_dir: Path | None = None, cache: Path | None = None, progress: bool = True
) -> Dataset:
    """Load a data set by its name, or an .npz file or an image folder by its path.

    Args:
        data_dir: where named sets lie or are downloaded to. The default is $STUDY_DATA, or data/
            if that is not set.
        cache: where rendered images are kept. With None they are rendered anew.
        progress: show a progress bar, for example while downloading.

    Raises:
        DataError: the data are unknown, missing, damaged or unusable. The message is one line.
    """
    with _reading(name):
        family = _family(name)
        if family is None:
            from trainables.data import files

            return files.read(Path(name))
        return family.read(name, data_dir or default_dir(), cache, progress)


def describe(name: str, data_dir: Path | None = None) -> DataSpec:
    """What a data set looks like. Images are read only if the data are given by path.

    Raises:
        DataError: the name is unknown, or the data at the path cannot be used.
    """
    with _reading(name):
        family = _family(name)
        return load(name, data_dir).spec if family is None else family.SETS[name]


def choose(
    request: str, wanted: str, stand_in: str, data_dir: Path | None = None
) -> tuple[str, str]:
    """Choose the data that a study runs on. Returns (name, one line that says why).

    The request "auto" chooses the wanted set if it is on disk or can be downloaded, and the
    stand-in otherwise. Any other request is a name or a path.

    Raises:
        DataError: the requested data are unknown, or neither on disk nor downloadable; or the
            request is "auto" and neither set is available.
    """
    with _reading(request):
        return _choose(request, wanted, stand_in, data_dir or default_dir())


def _choose(request: str, wanted: str, stand_in: str, folder: Path) -> tuple[str, str]:
    if request == "auto":
        family = _family(wanted)
        assert family is not None
        if place := family.where(wanted, folder):
            return wanted, f"data: {wanted}, {place}"
        if (reason := family.fetchable(wanted, folder)) is None:
            return wanted, f"data: {wanted}, to be downloaded to {folder}"
        fallback = _family(stand_in)
        assert fallback is not None
        if (place := fallback.where(stand_in, folder)) is None:
            raise DataError(
                f"neither {wanted} nor its stand-in {stand_in} is in {folder}: {reason}"
            )
        return stand_in, (
            f"data: {stand_in}, {place}, as a stand-in: {wanted} is not in {folder} and {reason}"
        )
    family = _family(request)
    if family is None:  # reads all of it, so that unusable data are refused before anything starts
        return request, f"data: {request}, {load(request).source}"
    if place := family.where(request, folder):
        return request, f"data: {request}, {place}"
    if (reason := family.fetchable(request, folder)) is not None:
        raise DataError(f"data {request!r} is not in {folder} and {reason}")
    return request, f"data: {request}, to be downloaded to {folder}"
