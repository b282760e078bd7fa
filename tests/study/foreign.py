"""Helpers for tests of files that are not this project's."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import trainables
from study.metrics.core import catalog
from study.planning import source_files, sources
from trainables import data

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Each test begins and ends without foreign files."""
    yield
    for module in list(source_files._memory.files):
        sys.modules.pop(module, None)
    source_files._memory.files.clear()
    for added in (trainables._added, catalog._added, data._added, sources._loaded):
        added.clear()


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder
