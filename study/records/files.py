"""Writes the files of a study's folder so that they are whole at every moment, and reads them."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from pathlib import Path
from typing import Any

from study.records import store

SEAL = "sha256"  # the key of a file's digest


class DamagedError(OSError, ValueError):
    """A file does not hold what was written. The message is one line that names the file.

    Whatever handles a disk that fails (OSError), or a file that cannot be parsed (ValueError),
    handles it likewise.
    """


def write_atomically(path: Path, content: bytes, lasting: bool = True) -> None:
    """Write a file so that a reader sees either the whole old file or the whole new one.

    The content is written under a temporary name, flushed and renamed. In an object store one
    request does all this. After this function returns, the new file survives a power cut, unless
    `lasting` is False.

    Args:
        lasting: whether to flush the folder, too. If not, a power cut may bring the old file back,
            or none, until something else is written into this folder.

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
        if lasting:
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


def _digest(value: dict[str, Any]) -> str:
    """The SHA-256 of a value that was read from JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def write_json(path: Path, value: Any, lasting: bool = True) -> None:
    """Write `value` as JSON, atomically. Non-finite numbers are refused, never written.

    A mapping is written with a digest of itself as another key, `SEAL`. For `lasting` see
    `write_atomically`.
    """
    if isinstance(value, dict):
        plain = json.loads(json.dumps({key: own for key, own in value.items() if key != SEAL}))
        value = plain | {SEAL: _digest(plain)}
    text = json.dumps(value, indent=1, allow_nan=False, sort_keys=True)
    write_atomically(path, text.encode() + b"\n", lasting)


def read_json(path: Path) -> Any:
    """Read one JSON file. The digest of a mapping is checked, if it has one, and left out.

    Raises:
        DamagedError: the file is damaged.
    """
    return read_sealed(path, None)[0]


def read_sealed(path: Path, seal: str | None) -> tuple[Any, str]:
    """Read one JSON file. Returns its value and the SHA-256 of the whole file.

    Args:
        seal: what the latter has to be; None: it is not known.

    Raises:
        DamagedError: the file is damaged.
    """
    content = store.read(path)
    found = hashlib.sha256(content).hexdigest()
    try:
        value = json.loads(content)
        own = value.pop(SEAL, None) if isinstance(value, dict) else None
        if (own is not None and own != _digest(value)) or (seal is not None and seal != found):
            raise ValueError("its content is not what its digest (SHA-256) was made of")
    except ValueError as error:
        raise DamagedError(f"{path} is damaged: {error}") from error
    return value, found
