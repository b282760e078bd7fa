"""Flip single bits in what a study keeps: each flip is found and said, or changes no figure.

    python -m tests.chaos.flips [--flips 1000] [--seed 0] [--storage DIR]

A study is run at scale smoke. Then one bit of one of its files is flipped at a time, and what reads
the file is asked. The kind of file is drawn first, then the file, then the bit, so that the one
study.json is hit as often as all rows. Files of which no figure is made are left out: pictures,
locks, the times of starts (attempts.json), MLflow's own, and what each report writes anew.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from study.records.frames import Frames
from study.records.records import Records
from study.records.tensors import load_tensors
from study.report.evidence import assess
from study.report.write import frame_of

NAME = "egan_ring"
COMMAND = [NAME, "--scale", "smoke", "--seeds", "3"]
FOUND, SAME = "found", "the same figures"


def kept(storage: Path) -> dict[str, list[Path]]:
    """The files of a storage of which figures are made, by their kind and in order."""
    kinds = ("study.json", "cell.json", "result.json", "ticks.json", "*.pt")
    return {kind: sorted(storage.rglob(kind)) for kind in kinds}


def figures(storage: Path) -> bytes:
    """All that a report shows of a study: its cells, ticks and claims, as CSV."""
    frames = Frames.read(Records(storage / NAME))
    tables = (frames.cells, frames.ticks, frame_of(assess(frames)))
    return b"".join(table.to_csv(index=False).encode() for table in tables)


def flip(storage: Path, path: Path, bit: int, before: bytes) -> str:
    """Flip a bit of a file, ask what reads it, and restore the file. Returns what came of it."""
    content = path.read_bytes()
    altered = bytearray(content)
    altered[bit // 8] ^= 1 << bit % 8
    path.write_bytes(altered)
    try:
        if path.suffix == ".pt":
            assert load_tensors(path) is None, f"{path}: a flip of bit {bit} is not found"
            return FOUND
        try:
            now = figures(storage)
        except ValueError as error:
            line = str(error)
            assert str(path) in line, f"{path}: a flip of bit {bit} is said so: {line}"
            assert "\n" not in line, line
            if path.parent != storage / NAME:
                check_set_aside(storage, path)
            return FOUND
        assert now == before, f"{path}: a flip of bit {bit} changes a figure"
        return SAME
    finally:
        path.write_bytes(content)


def check_set_aside(storage: Path, path: Path) -> None:
    """Make sure that the next command finds a cell's damaged file, too, and names it."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / NAME
        shutil.copytree(storage / NAME, copy)
        (line,) = Records(copy).quarantine_damaged()
        assert path.name in line, line
        assert path.parent.name in line, line


def flips(storage: Path, number: int, seed: int) -> Counter[tuple[str, str]]:
    """Flip so many bits, one at a time. Returns how often each kind of file ended in each way."""
    rng, files, before = random.Random(seed), kept(storage), figures(storage)
    done: Counter[tuple[str, str]] = Counter()
    for _ in range(number):
        kind = rng.choice([*files])
        path = rng.choice(files[kind])
        bit = rng.randrange(8 * path.stat().st_size)
        done[kind, flip(storage, path, bit, before)] += 1
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flips", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--storage", type=Path, help="kept; default: a temporary folder")
    asked = parser.parse_args()
    storage = asked.storage or Path(tempfile.mkdtemp())
    command = [sys.executable, "-m", "study.run", *COMMAND, "--storage", str(storage)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    done = flips(storage, asked.flips, asked.seed)
    for (kind, end), times in sorted(done.items()):
        print(f"{kind:16} {times:5} {end}")
    if asked.storage is None:
        shutil.rmtree(storage)


if __name__ == "__main__":
    main()
