"""Folders on a disk, or in an S3-compatible object store.

Both are paths: one in a store is a UPath, which has pathlib's methods, and is called a Path here.
A store's credentials, region and endpoint are where AWS's tools look for them (AWS_ACCESS_KEY_ID,
AWS_SHARED_CREDENTIALS_FILE, AWS_ENDPOINT_URL, ...), on every node.
"""

from __future__ import annotations

import contextlib
import errno
import uuid
from pathlib import Path
from typing import Any, cast

import fsspec
from upath import UPath

# By name: s3fs is imported where a store is used.
fsspec.register_implementation("s3", "study.s3.Store", clobber=True)


def folder(name: str | Path) -> Path:
    """A path of the file system, or s3://BUCKET/PREFIX.

    Raises:
        ValueError: another kind of store, or what it needs is not installed (one line).
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
    """Whether it is a path of the file system."""
    return isinstance(path, Path)


def read(path: Path) -> bytes:
    """The content of a file or an object, of one moment."""
    if is_local(path):
        return path.read_bytes()
    place = cast(UPath, path)
    return bytes(place.fs.cat_file(place.path))


def find(folder: Path, name: str) -> list[Path]:
    """All files of that name in the folders of a folder."""
    if is_local(folder):
        return list(folder.glob(f"*/{name}"))
    place = cast(UPath, folder)  # its glob asks for each folder by itself
    below = [path.removeprefix(f"{place.path}/").split("/") for path in place.fs.find(place.path)]
    return [folder / path[0] / name for path in below if path[1:] == [name]]


def put(path: Path, content: bytes, **options: Any) -> None:
    """Write an object of a store: it is there whole or not at all."""
    place = cast(UPath, path)
    place.fs.pipe_file(place.path, content, **options)


def create(path: Path, content: bytes) -> bool:
    """Make an object of a store unless it is there; whether this call made it."""
    try:
        put(path, content, mode="create")
    except OSError:
        if not path.exists():
            raise
    # A request that was repeated may have been refused for its own first try's sake.
    with contextlib.suppress(FileNotFoundError):  # whoever made it took it back
        return read(path) == content
    return False


def check(place: Path) -> None:
    """Try what studies need of a store.

    Raises:
        OSError: it cannot be reached or written, or makes an object twice.
    """
    probe = place / f".probe-{uuid.uuid4().hex}"
    create(probe, b"1")
    twice = create(probe, b"2")
    probe.unlink(missing_ok=True)
    if twice:
        raise OSError(errno.ENOTSUP, "the store does not heed If-None-Match, which locks need")
