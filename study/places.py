"""Where a study writes, and what it is told to read: refused before anything starts."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from study import store
from study.metrics import fid
from study.prepare import BadInputError

TRACKING = ("sqlite", "http", "https", "postgresql", "mysql", "mssql")  # MLflow's stores


def check(storage: Path, tracking_uri: str | None, fid_weights: Path | None) -> None:
    """Refuse a folder that cannot be written, an unknown kind of store, unfit weights."""
    check_folder(storage)
    check_folder(cache(storage))
    if tracking_uri is None and not store.is_local(storage):
        raise BadInputError(
            f"--storage {storage}: name a --tracking-uri, too: MLflow's own file cannot be there"
        )
    if tracking_uri is not None:
        check_uri(tracking_uri)
    try:
        if fid_weights is not None:
            fid.find_weights(fid_weights)
    except ValueError as error:
        raise BadInputError(f"--fid-weights {fid_weights}: {error}") from None


def cache(storage: Path) -> Path:
    """Where judges and rendered images are kept: files of this machine, also where the records
    are in an object store."""
    local = store.is_local(storage)
    return storage / "cache" if local else Path("~/.cache/gan-study").expanduser()


def check_folder(folder: Path) -> None:
    """Refuse a folder that is none, or cannot be written or made."""
    if not store.is_local(folder):
        try:
            return store.check(folder)
        except OSError as error:
            raise BadInputError(f"--storage {folder}: {error.strerror or error}") from None
    there = folder.absolute()
    while not os.path.lexists(there):  # a link that leads nowhere is there, too
        there = there.parent
    try:
        with tempfile.TemporaryDirectory(dir=there) as scratch:  # permissions alone do not tell
            # Nor does a name's length. Our own names within are shorter.
            (scratch / folder.absolute().relative_to(there) / ("x" * 100)).mkdir(parents=True)
    except OSError as error:
        raise BadInputError(f"--storage: {folder}: {there}: {error.strerror}") from None


def check_uri(uri: str) -> None:
    """Refuse what names no store of MLflow's, or holds a password."""
    if re.search(r"://[^/]*:[^/]*@|[?&;]\w*(pass|pwd)", uri, re.IGNORECASE):
        raise BadInputError(  # and does not repeat it
            "--tracking-uri: a password there would be on record: give it in "
            "MLFLOW_TRACKING_PASSWORD, or in a database's own PGPASSWORD or the like"
        )
    scheme, colon, rest = uri.partition("://")
    if not colon or scheme.partition("+")[0] not in TRACKING:
        kinds = ", ".join(f"{kind}://" for kind in TRACKING)
        raise BadInputError(f"--tracking-uri {uri!r}: begin with one of {kinds}")
    try:
        if scheme.startswith("sqlite"):
            file = Path(rest.removeprefix("/"))
            if not file.parent.is_dir():
                raise BadInputError(f"--tracking-uri {uri!r}: there is no folder {file.parent}")
            known, needed = bool(rest) and not file.is_dir(), "file, as in sqlite:///mlflow.db"
        else:
            parts = urlsplit(uri)
            known = bool(parts.hostname) and parts.port != 0
            needed = f"host, as in {scheme}://host:5000"
    except (OSError, ValueError) as error:  # a name too long; a port that is no number
        raise BadInputError(f"--tracking-uri {uri!r}: {error}") from None
    if not known:
        raise BadInputError(f"--tracking-uri {uri!r}: name a {needed}")
