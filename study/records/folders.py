"""Find the folder of a study's records in a storage folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from study.records.records import Records


def study_folder(storage: Path, name: str, fresh: bool = False) -> Path:
    """The newest existing one of the folders NAME, NAME.2, NAME.3, ...

    With `fresh` it is the one after the newest. If none exists, it is NAME.
    """
    taken = [storage / name]
    while taken[-1].exists():
        taken.append(storage / f"{name}.{len(taken) + 1}")
    return taken[-1] if fresh or len(taken) == 1 else taken[-2]


def find_study(storage: Path, name: str) -> Records:
    """The records of a study in a storage folder.

    Raises:
        ValueError: the study has no records there. The message is one line with the names of the
            studies that have.
    """
    folders = _folders(storage)
    if name not in folders:
        there = ", ".join(folders) or "none"
        raise ValueError(f"no records of study {name!r} in {storage}: there are {there}")
    return Records(study_folder(storage, name))


def find_studies(storage: Path, names: Sequence[str]) -> list[Records]:
    """The records of some studies in a storage folder, or of all that it holds if none is named.

    Raises:
        ValueError: as `find_study`.
    """
    found = [find_study(storage, name) for name in names or _folders(storage)]
    return list({records.folder: records for records in found}.values())


def _folders(storage: Path) -> list[str]:
    return sorted(path.parent.name for path in storage.glob("*/study.json"))
