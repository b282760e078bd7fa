"""Studies, variants, metrics and data from anywhere: one way to name them and to load them.

A name is one of

- a name of this project, such as `acgan`;
- a path to a Python file, such as `lsgan.py`; what a study names is relative to its own file;
- `package.module:ATTRIBUTE` of an installed package;
- the name of an entry point of an installed package, in the group `gan_study.variants` or the like.

A file and a module define `STUDY`, `VARIANT` or, for data, a function `load`. A metric is the
module itself. `FILE.py:ATTRIBUTE` names another attribute.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import search_spaces
import trainables
from search_spaces.core import Study
from study.errors import BadInputError
from study.metrics.core import catalog
from study.planning import source_files
from study.planning.source_files import File
from trainables import data
from trainables.data import Dataset
from trainables.data.files import read

Kind = Literal["study", "variant", "metric", "data"]
# For each kind: the group of entry points, and the attribute of a file or module.
GROUPS: dict[Kind, str] = {
    "study": "gan_study.studies",
    "variant": "gan_study.variants",
    "metric": "gan_study.metrics",
    "data": "gan_study.data",
}
TAKEN = ("cache", "mlartifacts")  # folders in a storage folder that are no studies
ATTRIBUTES: dict[Kind, str] = {"study": "STUDY", "variant": "VARIANT", "metric": "", "data": "load"}


@dataclass(frozen=True)
class Source:
    """Where something comes from that is not this project's. It can be sent to other processes."""

    kind: Kind
    name: str  # as a study, a command or a record names it
    module: str
    attribute: str  # of the module; "" is the module itself
    files: Mapping[str, File]  # module -> file; empty for an installed package
    digest: str  # of the files, or version and digest of the package

    @property
    def path(self) -> Path | None:
        """Its own file; None for a package."""
        return Path(self.files[self.module].path) if self.files else None


def find(kind: Kind, name: str, folder: Path | None = None) -> Source | None:
    """Where `name` comes from. None if it is a name of this project, or no name at all.

    Args:
        folder: that a path is relative to; None: the working folder.

    Raises:
        BadInputError: the file or the package cannot be had.
    """
    if name in _ours(kind):
        return None
    if kind == "data" and not name.endswith(".py") and ((folder or Path()) / name).exists():
        return None
    target, _, attribute = name.rpartition(":") if ":" in name else (name, "", "")
    if attribute and not attribute.isidentifier():
        return None
    attribute = attribute or ATTRIBUTES[kind]
    if target.endswith(".py"):
        path = (folder or Path()) / target
        files = source_files.collect(path)
        return Source(kind, name, path.stem, attribute, files, _digest(files.values()))
    for entry in metadata.entry_points(group=GROUPS[kind], name=name):
        module, attribute = entry.module, entry.attr or ATTRIBUTES[kind]
        return Source(kind, name, module, attribute, {}, package(module))
    dotted = all(part.isidentifier() for part in target.split("."))
    if dotted and "." in name and (":" in name or kind != "data"):
        return Source(kind, name, target, attribute, {}, package(target))
    return None


def _ours(kind: Kind) -> list[str]:
    ours = {"study": search_spaces, "variant": trainables, "metric": catalog, "data": data}
    return list(ours[kind].names())


_loaded: dict[tuple[Kind, str], str] = {}  # digests
_packages: dict[str, str] = {}  # digests of installed packages when they were imported


def is_loaded(kind: Kind, name: str, digest: str) -> bool:
    """Whether this process has loaded a source of this name and content."""
    return _loaded.get((kind, name)) == digest


def load(source: Source) -> Any:
    """Import a source, and make it known by its name: `trainables.load(name)` then finds it.

    Raises:
        BadInputError: it cannot be imported, or is not of its kind.
    """
    source_files.install(source.files)
    top = source.module.partition(".")[0]
    if not source.files and _packages.setdefault(top, source.digest) != source.digest:
        raise BadInputError(
            f"{source.name}: {top} was changed since Python imported it: start anew"
        )
    module = source_files.run(source.module)
    name, attribute = source.name, source.attribute
    if attribute and not hasattr(module, attribute):
        raise BadInputError(f"{source.kind} {name!r} defines no {attribute}")
    found: Any = getattr(module, attribute) if attribute else module
    if source.kind == "study":
        if not isinstance(found, Study):
            raise BadInputError(f"study {name!r}: {attribute}={found!r} is no Study")
        return found
    try:
        if source.kind == "variant":
            trainables.add(name, found)
        elif source.kind == "metric":
            catalog.add(name, found)
        else:
            data.add(name, found)
    except ValueError as error:
        raise BadInputError(str(error)) from None
    _loaded[source.kind, name] = source.digest
    return found


def find_and_load(kind: Kind, name: str, known_as: str | None = None) -> Source | None:
    """Load what a name of a command or a call means, if it is not this project's.

    Args:
        known_as: the name under which it is known then; None: `name`.

    Returns: None if it is a name of this project, or no name at all.

    Raises:
        BadInputError: it cannot be loaded.
    """
    if source := find(kind, name):
        source = dataclasses.replace(source, name=known_as or name)
        load(source)
    return source


def read_data(name: str, cache: Path) -> Dataset:
    """The data set of a name or a path. A Python file is run anew.

    Raises:
        BadInputError: the data are unknown or cannot be used.
    """
    find_and_load("data", name)
    if data.is_held(name):
        data.add_held(name, data.default_dir())
    try:
        return data.load(name, cache=cache.expanduser())
    except data.DataError as error:
        raise BadInputError(str(error)) from None


@dataclass(frozen=True)
class Declared:
    """A study's declaration, and where it comes from."""

    name: str  # of its folder of records
    study: Study
    sources: tuple[Source, ...]  # of what it names and is not this project's, and its own


def declared(name: str) -> Declared:
    """Load a study, and what it names, by a name of this project or from anywhere.

    Raises:
        BadInputError: there is no such study, or it or something that it names cannot be loaded.
    """
    own = find("study", name)
    if own is None:
        try:
            study = search_spaces.load(name)
        except ValueError as error:
            raise BadInputError(str(error)) from None
        return Declared(name, study, of_study(study, None))
    study = load(own)
    # An entry point has a name; a file's study is known by the file, a module's by its whole name.
    short = name if name.isidentifier() else own.module.replace(".", "_")
    if own.attribute != ATTRIBUTES["study"] and short != name:
        short += f"_{own.attribute}"
    if short in (*search_spaces.names(), *TAKEN):
        what = "a study of this project" if short not in TAKEN else "a folder of each storage"
        raise BadInputError(f"{name}: {what} is called {short}: rename it")
    path = own.path or Path(inspect.getfile(importlib.import_module(own.module)))
    return Declared(short, study, (own, *of_study(study, path.parent)))


def of_study(study: Study, folder: Path | None) -> tuple[Source, ...]:
    """Load what a study names and is not this project's.

    Args:
        folder: that paths are relative to; None: the working folder.

    Raises:
        BadInputError: something of it cannot be loaded.
    """
    wanted: list[tuple[Kind, str]] = [("variant", name) for name in study.variants]
    wanted += [("metric", name) for name in study.metrics]
    wanted += [("data", name) for name in dict.fromkeys((study.data, study.stand_in))]
    found = [source for kind, name in wanted if (source := find(kind, name, folder))]
    for name in {study.data, study.stand_in} - {source.name for source in found}:
        path = (folder or Path()) / name
        if name not in data.names() and path.exists():
            data.add(name, functools.partial(read, path.absolute()))
    files: dict[str, File] = {}
    for source in found:
        for module, file in source.files.items():
            if (other := files.setdefault(module, file)) != file:
                line = f"{file.path} and {other.path} have one name"
                raise BadInputError(f"{line}: rename one of them")
    source_files.install(files)  # all at once, so that none is imported twice
    for source in found:
        load(source)
    return tuple(found)


def first_objective(metrics: Sequence[str]) -> str:
    """The first column of some metrics that can be an objective.

    Raises:
        BadInputError: a metric cannot be loaded, or none of their columns has a better end.
    """
    for name in metrics:
        find_and_load("metric", name)
    try:
        columns = catalog.directions([name for name in metrics if not catalog.at_end(name)])
    except ValueError as error:
        raise BadInputError(str(error)) from None
    if not columns:
        raise BadInputError(f"metrics {', '.join(metrics)}: no column has a better end")
    return next(iter(columns))


def package(module: str) -> str:
    """Version and digest of the installed package that a module belongs to.

    Raises:
        BadInputError: it is not installed.
    """
    top = module.partition(".")[0]
    spec = importlib.util.find_spec(top) if top not in sys.builtin_module_names else None
    if spec is None or source_files.is_collected(top):
        raise BadInputError(f"{module}: no package {top!r} is installed")
    names = _distributions(top)
    versions = " ".join(f"{name} {metadata.version(name)}" for name in sorted({*names}))
    paths = [
        (path, path.relative_to(folder).as_posix())
        for folder in map(Path, spec.submodule_search_locations or ())
        for path in folder.rglob("*.py")
    ]
    if not paths and spec.origin:
        paths = [(Path(spec.origin), Path(spec.origin).name)]
    try:
        files = [File("", name, path.read_bytes().decode("latin-1")) for path, name in paths]
    except OSError as error:
        raise BadInputError(f"{module}: {error}") from None
    return f"{versions or top} {_digest(files)}"


@functools.cache
def _distributions(top: str) -> list[str]:
    """Names of the distributions that a package belongs to. Takes about a second."""
    return list(metadata.packages_distributions().get(top, []))


def _digest(files: Iterable[File]) -> str:
    """16 hex digits of SHA-256 over names and contents."""
    sha = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.relative):
        content = file.text.encode()
        sha.update(f"{file.relative} {len(content)}\n".encode() + content)
    return sha.hexdigest()[:16]
