"""Writes the files of a study's folder so that they are whole at every moment, and reads them."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Any

from study.records import store


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees either the whole old file or the whole new one.

    The content is written under a temporary name, flushed and renamed. In an object store one
    request does all this. After this function returns, the new file survives a power cut.

    Raises:
        OSError: the disk is full, for example. The error names the file.
    """
    if not store.is_local(path):
        try:
            return store.put(path, content)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error
    _make(path.parent)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as file:  # unlike mkstemp's, its permissions heed the umask
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _flush(path.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def _make(folder: Path) -> None:
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        _flush(folder.parent)


def _flush(folder: Path) -> None:
    """Flush a folder. Until then a power cut may lose the names of new files and folders in it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, atomically. Non-finite numbers are refused, never written."""
    text = json.dumps(value, indent=1, allow_nan=False, sort_keys=True)
    write_atomically(path, text.encode() + b"\n")


def read_json(path: Path) -> Any:
    """Read one JSON file.

    Raises:
        ValueError: the file is damaged (the message names it).
    """
    try:
        return json.loads(store.read(path))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
