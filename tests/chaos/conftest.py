"""One study that ran through, for all tests that hold theirs against it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.chaos.kills import KIMG, run_through


@pytest.fixture(scope="session")
def through(tmp_path_factory: pytest.TempPathFactory) -> Path:
    storage = tmp_path_factory.mktemp("through")
    run_through(storage, KIMG)
    return storage


@pytest.fixture
def storage(tmp_path: Path, through: Path) -> Path:
    """An empty one, but for what need not be computed again."""
    shutil.copytree(through / "cache", tmp_path / "cache")
    return tmp_path
