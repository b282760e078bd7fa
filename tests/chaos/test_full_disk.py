"""The records' disk fills up in the middle of a study. The study stops, says so, and goes on later.

Where this fails, a full disk makes cells fail, or damages results that were on record.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from study.records.records import Records

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NAME = "acgan_kmnist_classes"
ROOM = 17  # MiB beside the cache: judges.pt has 11, and some cells have the rest


def run(storage: Path) -> subprocess.CompletedProcess[str]:
    head = [sys.executable, "-m", "study.run", NAME, "--scale", "smoke", "--data", "kana"]
    cells = ["--only", "classes=5", "--trials", "0", "--seeds", "10"]
    command = [*head, *cells, "--set", "tick_kimg=1", "--set", "kimg=4"]
    return subprocess.run(
        [*command, "--storage", str(storage)], capture_output=True, text=True, check=False
    )


@pytest.fixture
def small(tmp_path: Path, warm: Callable[[Path], Path]) -> Iterator[Path]:
    """A file system with a warm cache and little room beside it."""
    cache = warm(tmp_path) / "cache"
    used = sum(path.stat().st_size for path in cache.rglob("*")) // 2**20
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={used + ROOM}m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        pytest.skip("a small file system needs the right to mount one")
    shutil.copytree(cache, place / "cache")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_full_disk_costs_records(small: Path) -> None:
    stopped = run(small)
    assert stopped.returncode == 130, stopped.stderr
    assert "Traceback" not in stopped.stderr + stopped.stdout
    assert "No space left on device" in stopped.stderr + stopped.stdout
    before = {path: path.read_bytes() for path in small.glob(f"{NAME}/cells/*/result.json")}
    assert before, "no cell was accepted before the disk was full"
    subprocess.run(["mount", "-o", "remount,size=1g", str(small)], check=True)
    again = run(small)
    assert again.returncode == 0, again.stderr
    assert all(path.read_bytes() == content for path, content in before.items())
    cells = Records(small / NAME).cells()
    assert set(cells["outcome"]) <= {"complete", "pruned"}
    assert set(cells[cells["phase"] == "confirm"]["kimg"]) == {4}
