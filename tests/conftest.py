"""A cache that whole studies on `kana` share. It is filled once for all slow tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """A function that puts a filled cache into a storage folder, and returns the folder.

    The cache has the rendered images and the judges that scale smoke would make first.
    """
    from study.engine.shared_state import SMOKE_SHARE  # imports torch, which few tests need
    from study.metrics.core.train_judges import train_judges
    from trainables import data

    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # then this folder has one folder for each process
        shared = shared.parent
    cache = shared / "warm" / "cache"
    with FileLock(shared / "warm.lock"):
        train_judges(data.load("kana", cache=cache), cache, share=SMOKE_SHARE)

    def fill(storage: Path) -> Path:
        # Hard links: files of a cache are replaced, never changed.
        shutil.copytree(cache, storage / "cache", copy_function=os.link)
        return storage

    return fill
