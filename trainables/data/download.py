"""Downloads files.

A download ends with the complete and verified file under its name, or with an error and no file.
"""

from __future__ import annotations

import hashlib
import os
import threading
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from trainables.data.base import DataError

TIMEOUT = 30.0  # seconds without receiving a byte, after which a download fails
PROBE_TIMEOUT = 2.5  # seconds for a whole probe, name look-up included
CHUNK = 1 << 18  # bytes read at a time


class _RefusedError(Exception):
    """One address did not give the file."""


def probe(urls: Sequence[str], folder: Path) -> str | None:
    """Why none of the addresses can be downloaded to a folder now; None if one of them can.

    Takes at most PROBE_TIMEOUT, even if no name server answers.
    """
    parent = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not parent.is_dir():
        return f"cannot be downloaded ({parent} is not a folder)"
    if not os.access(parent, os.W_OK | os.X_OK):
        return f"cannot be downloaded ({parent} is not writable)"
    answers: dict[str, str | None] = {}
    done = threading.Event()

    def ask(url: str) -> None:
        try:
            with _open(url, PROBE_TIMEOUT, {"Range": "bytes=0-0"}):
                answers[url] = None
        except _RefusedError as refused:
            answers[url] = str(refused)
        if answers[url] is None or len(answers) == len(urls):
            done.set()

    # The threads are daemons: a name look-up cannot be cancelled, and it must not delay the exit.
    for url in urls:
        threading.Thread(target=ask, args=(url,), daemon=True).start()
    done.wait(PROBE_TIMEOUT)
    known = dict(answers)
    if None in known.values():
        return None
    reasons = [known.get(url) or f"no answer from {_host(url)}" for url in urls]
    return f"cannot be downloaded ({'; '.join(dict.fromkeys(reasons))})"


def fetch(urls: Sequence[str], path: Path, md5: str, progress: bool) -> None:
    """Download one file from the first address that has it.

    Args:
        md5: MD5 of the file as the server sends it.
        progress: show a progress bar.

    Raises:
        DataError: no address gave the right file (the message has the reason for each); or the
            file cannot be written, for example because the disk is full.
    """
    reasons = []
    for url in urls:
        try:
            with scratch(path) as sink:
                _receive(url, sink, md5, progress, path.name)
            return
        except _RefusedError as refused:
            reasons.append(f"{refused} ({url})")
    raise DataError(f"{path.name} cannot be downloaded: {'; '.join(reasons)}")


@contextmanager
def scratch(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`, whose folder is made, for writing.

    It is renamed to `path` when the block ends, and deleted if the block raises.

    Raises:
        DataError: the file cannot be written, for example because the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            with temporary.open("xb") as sink:
                yield sink
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from error


def _receive(url: str, sink: BinaryIO, md5: str, progress: bool, name: str) -> None:
    """Write what an address sends to `sink`.

    Raises:
        _RefusedError: the file is incomplete, its MD5 is wrong, or the connection failed.
    """
    from tqdm import tqdm

    digest = hashlib.md5(usedforsecurity=False)
    with _open(url, TIMEOUT, {}) as response:
        total = response.length
        with tqdm(total=total, desc=name, unit="B", unit_scale=True, disable=not progress) as bar:
            while chunk := _read(response, url):
                sink.write(chunk)
                digest.update(chunk)
                bar.update(len(chunk))
            received = sink.tell()
    if total is not None and received != total:
        raise _RefusedError(f"only {received} of {total} bytes came")
    if digest.hexdigest() != md5:
        raise _RefusedError(f"md5 is {digest.hexdigest()}, not {md5}")


def _open(url: str, timeout: float, headers: dict[str, str]) -> HTTPResponse:
    request = urllib.request.Request(url, headers={"User-Agent": "gan-study", **headers})
    try:
        response: HTTPResponse = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        raise _RefusedError(f"{_host(url)} answers {error.code}") from error
    except (OSError, HTTPException) as error:
        raise _RefusedError(f"no answer from {_host(url)}") from error
    if response.headers.get_content_type() == "text/html":  # for example a login page, not the file
        response.close()
        raise _RefusedError(f"{_host(url)} answers with a web page")
    return response


def _read(response: HTTPResponse, url: str) -> bytes:
    try:
        return response.read(CHUNK)
    except (OSError, HTTPException) as error:
        raise _RefusedError(f"{_host(url)} broke off") from error


def _host(url: str) -> str:
    return urlsplit(url).netloc
