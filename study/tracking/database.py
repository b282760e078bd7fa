"""Makes the SQLite database of an MLflow that has none yet."""

from __future__ import annotations

import contextlib
import glob
import uuid
from pathlib import Path

from mlflow import MlflowClient

SCHEME = "sqlite:///"


def make(uri: str) -> None:
    """Make the database of an SQLite store, with MLflow's tables, where there is none.

    MLflow makes its tables in hundreds of statements, and refuses for ever a database in which a
    process that was killed has left some of them. So they are made in another file, which gets the
    name when it is whole.
    """
    path = Path(uri.removeprefix(SCHEME))
    if not uri.startswith(SCHEME) or "?" in uri or path.name == ":memory:":
        return
    if path.exists():
        for left in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 32}*"):
            left.unlink(missing_ok=True)  # by a process that was killed
        return
    new = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        MlflowClient(f"{SCHEME}{new}").search_experiments(max_results=1)
        # Another process may have been faster. Where there are no hard links, MLflow will make the
        # tables in place.
        with contextlib.suppress(OSError):
            path.hardlink_to(new)
    finally:
        new.unlink(missing_ok=True)
