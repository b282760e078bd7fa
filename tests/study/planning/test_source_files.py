"""Python files of anybody: what is collected of them, and what is imported then.

If these tests fail, other code runs in a worker than in the driver, or than stands in the file.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from study.errors import BadInputError
from study.planning import source_files
from tests.study.foreign import write

pytestmark = pytest.mark.usefixtures("forget")

ROOT = Path(__file__).parents[3]


def test_file_beside_it_stays_behind(tmp_path: Path) -> None:
    """A worker imports what was collected, and has no file."""
    folder = write(
        tmp_path / "a",
        lsgan="import json, torch\nfrom layers import x\ndef f():\n import late\n return late.y",
        layers="from parts.deep import x\nimport trainables.core.gan",
        late="y = 2",
        other="",
        json="raise RuntimeError",
    )
    write(folder / "parts", __init__="", deep="x = 1", more="")
    found = source_files.collect(folder / "lsgan.py")
    assert {*found} == {"lsgan", "layers", "late", "parts", "parts.deep", "parts.more"}
    for path in folder.rglob("*.py"):
        path.unlink()
    source_files.install(found)
    module = source_files.run("lsgan")
    assert (module.x, module.f()) == (1, 2)


def test_second_file_keeps_the_old_file_beside_it(tmp_path: Path) -> None:
    """Two variants import one file, which is edited between two runs in one process."""
    write(tmp_path, shared="x = 1", a="import shared", b="import shared")

    def both() -> list[Any]:
        found = [source_files.collect(tmp_path / f"{name}.py") for name in "ab"]
        modules = []
        for name, files in zip("ab", found, strict=True):
            source_files.install(files)
            modules.append(source_files.run(name))
        return [module.shared.x for module in modules]

    assert both() == [1, 1]
    write(tmp_path, shared="x = 2")
    assert both() == [2, 2]


def test_folder_without_init_is_not_collected(tmp_path: Path) -> None:
    write(tmp_path, lsgan="from parts.deep.er import x")
    write(tmp_path / "parts")
    write(tmp_path / "parts" / "deep", er="x = 1", broken="print 'two'")
    found = source_files.collect(tmp_path / "lsgan.py")
    assert {*found} == {"lsgan", "parts", "parts.deep", "parts.deep.er", "parts.deep.broken"}
    source_files.install(found)
    assert source_files.run("lsgan").x == 1


def test_file_that_is_imported_unseen_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would notice that it was changed, and a worker on another node would lack it."""
    write(tmp_path, unseen="x = 1", lsgan="import importlib\nimportlib.import_module('unseen')")
    monkeypatch.syspath_prepend(tmp_path)
    source_files.install(source_files.collect(tmp_path / "lsgan.py"))
    with pytest.raises(BadInputError, match=r"imports .*unseen\.py in a way that is not seen"):
        source_files.run("lsgan")
    sys.modules.pop("unseen")
