"""Check the places that a study writes to and reads from, before anything starts."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from study.errors import BadInputError
from study.metrics.core import inception
from study.planning.mlflow_store import check_uri, default_uri
from study.records import store

# Where judges and rendered images are kept if the storage is an object store.
CACHE = Path("~/.cache/gan-study")


def check(storage: Path, tracking_uri: str | None, fid_weights: Path | None) -> None:
    """Refuse a folder that cannot be written, an unknown kind of store, and unusable FID weights.

    Raises:
        BadInputError: one line.
    """
    check_folder(storage)
    check_folder(cache(storage))
    if tracking_uri is None and not store.is_local(storage):
        raise BadInputError(
            f"--storage {storage}: name a --tracking-uri, too: MLflow's own file cannot be there"
        )
    if tracking_uri is not None:
        check_uri(tracking_uri)
    else:
        try:
            default_uri(storage)
        except ValueError as error:
            raise BadInputError(str(error)) from None
    try:
        if fid_weights is not None:
            inception.find_weights(fid_weights)
    except ValueError as error:
        raise BadInputError(f"--fid-weights {fid_weights}: {error}") from None


def cache(storage: Path) -> Path:
    """The folder that keeps judges and rendered images.

    It is always on this machine: in the storage folder, or in ~/.cache/gan-study if the storage is
    an object store.
    """
    local = store.is_local(storage)
    return storage / "cache" if local else CACHE.expanduser()


def check_folder(folder: Path) -> None:
    """Refuse a path that is not a folder, or a folder that cannot be made or written.

    Raises:
        BadInputError: one line.
    """
    if not store.is_local(folder):
        try:
            return store.check(folder)
        except OSError as error:
            raise BadInputError(f"--storage {folder}: {error.strerror or error}") from None
    there = folder.absolute()
    while not os.path.lexists(there):  # a link to nothing counts as existing
        there = there.parent
    try:
        with tempfile.TemporaryDirectory(dir=there) as scratch:  # permissions do not tell
            # Whether the file system takes names of this length is not known without a try, either.
            # All names that a study makes in the folder have fewer than 100 characters.
            (scratch / folder.absolute().relative_to(there) / ("x" * 100)).mkdir(parents=True)
    except OSError as error:
        raise BadInputError(f"--storage: {folder}: {there}: {error.strerror}") from None
