"""Folders on a disk, or in an S3-compatible object store.

Both are addressed by paths. A path in a store is a UPath, which has pathlib's methods. Type hints
call both of them Path. The credentials, region and endpoint of a store must be where AWS's tools
look for them (AWS_ACCESS_KEY_ID, AWS_SHARED_CREDENTIALS_FILE, AWS_ENDPOINT_URL, ...), on every
node.
"""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from pathlib import Path
from typing import Any, cast

import fsspec
from upath import UPath

# The class is registered by its name, so that s3fs is imported only if a store is used.
fsspec.register_implementation("s3", "study.records.s3.Store", clobber=True)


def folder(name: str | Path) -> Path:
    """The path that a name stands for: on the file system, or s3://BUCKET/PREFIX.

    Raises:
        ValueError: the name is of another kind of store, has no prefix or contains *, ? or [, or
            s3fs is not installed (one line).
    """
    if not isinstance(name, str):
        return name
    if "://" not in name:
        return Path(name)
    if not name.startswith("s3://"):
        raise ValueError(f"{name!r} is neither a folder nor s3://BUCKET/PREFIX")
    place = UPath(name.rstrip("/"))
    if set(name) & set("*?["):
        raise ValueError(f"{name!r}: without *, ? and [, please")
    if not place.path.partition("/")[2]:
        raise ValueError(f"{name!r}: name a prefix in the bucket, too, as in s3://BUCKET/PREFIX")
    try:
        _ = place.fs
    except ImportError:
        raise ValueError(f"{name!r} needs s3fs: pip install -e '.[s3]'") from None
    return cast(Path, place)


def is_local(path: Path) -> bool:
    """Whether a path is on the file system, and not in a store."""
    return isinstance(path, Path)


def read(path: Path) -> bytes:
    """The content of a file or an object, as it was at one moment."""
    if is_local(path):
        return path.read_bytes()
    place = cast(UPath, path)
    return bytes(place.fs.cat_file(place.path))


def find(folder: Path, *names: str) -> dict[str, set[str]]:
    """For each name of a file, the direct subfolders of a folder that have it. One listing."""
    found: dict[str, set[str]] = {name: set() for name in names}
    if is_local(folder):
        for name in names:
            found[name] |= {path.parent.name for path in folder.glob(f"*/{name}")}
        return found
    for subfolder, files in tree(folder).items():
        for name in found.keys() & set(files):
            found[name].add(subfolder)
    return found


def names(folder: Path) -> list[str]:
    """Names of the files in a folder, sorted; none where there is no folder."""
    if is_local(folder):
        return sorted(path.name for path in folder.glob("*") if path.is_file())
    place = cast(UPath, folder)  # its glob would make three listings
    below = (path.removeprefix(f"{place.path}/") for path in place.fs.find(place.path))
    return sorted(name for name in below if "/" not in name)


def tree(folder: Path) -> dict[str, list[str]]:
    """The files in each direct subfolder of a folder, as sorted relative paths. One listing."""
    if is_local(folder):
        paths = (f"{at}/{name}" for at, _, names in os.walk(folder) for name in names)
        root = str(folder)
    else:
        place = cast(UPath, folder)  # its glob would list each folder separately
        paths, root = iter(place.fs.find(place.path)), place.path
    found: dict[str, list[str]] = {}
    for path in sorted(paths):
        subfolder, _, name = path.removeprefix(f"{root}/").partition("/")
        if name:
            found.setdefault(subfolder, []).append(name)
    return found


def first_link(folder: Path) -> Path | None:
    """A symbolic link in a folder or below it; None if there is none."""
    if not is_local(folder):
        return None
    waiting = [str(folder)]
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except (FileNotFoundError, NotADirectoryError):  # a living command deleted it
            continue
        for entry in entries:
            if entry.is_symlink():
                return Path(entry.path)
            if entry.is_dir():
                waiting.append(entry.path)
    return None


def put(path: Path, content: bytes, **options: Any) -> None:
    """Write an object to a store. It is never visible in part."""
    place = cast(UPath, path)
    place.fs.pipe_file(place.path, content, **options)


def create(path: Path, content: bytes) -> bool:
    """Make an object in a store unless it exists. Returns whether this call made it.

    Raises:
        OSError: the object could not be made, although it does not exist.
    """
    try:
        put(path, content, mode="create")
    except OSError:
        if not path.exists():
            raise
    # A repeated request may be refused because its own first try made the object. So the content
    # tells who made the object.
    with contextlib.suppress(FileNotFoundError):  # the process that made the object removed it
        return read(path) == content
    return False


def check(place: Path) -> None:
    """Try out what studies need of a store.

    Raises:
        OSError: the store cannot be reached or written, or lets an object be made twice.
    """
    probe = place / f".probe-{uuid.uuid4().hex}"
    create(probe, b"1")
    twice = create(probe, b"2")
    probe.unlink(missing_ok=True)
    if twice:
        raise OSError(errno.ENOTSUP, "the store does not heed If-None-Match, which locks need")
