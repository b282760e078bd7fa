"""Helpers for tests of files that are not this project's."""

from __future__ import annotations

from pathlib import Path


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder
