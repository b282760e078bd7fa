"""Random bad data: whatever files hold, a command runs, or ends with exit code 2 and one line.

Hypothesis makes .npz files and image folders, most of them wrong. If these tests fail, a user reads
a traceback, waits for nothing, or finds a half-made folder.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from tests.study.fuzzing import (
    WORDS,
    hunt,
    quick,  # noqa: F401  a fixture, active in each test here
)
from tests.study.refusals import NAME

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SIDES = st.sampled_from([0, 1, 7, 8, 12, 40])
DTYPES = st.sampled_from(["u1", "i8", "f4", "?", "U3", "O", "c8", "M8[s]"])


@st.composite
def npz_files(draw: st.DrawFn) -> bytes:
    """The bytes of an .npz file with ten images of each of five classes, and up to three faults."""
    y = np.repeat(np.arange(5), 10)
    x = np.random.default_rng(0).integers(0, 256, (50, 8, 8), np.uint8)
    arrays: dict[str, np.ndarray] = {"x": x, "y": y}
    if draw(st.booleans()):
        arrays |= {"x_test": x, "y_test": y}
    for _ in range(draw(st.integers(0, 2))):
        key = draw(st.sampled_from(sorted(arrays)))
        what = draw(st.sampled_from(["drop", "type", "shape", "values", "name", "short", "one"]))
        array = arrays.pop(key)
        if what == "type":
            array = array.astype(draw(DTYPES))
        elif what == "shape":
            array = np.zeros(draw(st.lists(SIDES, max_size=4)), array.dtype)
        elif what == "values" and array.size:
            array.flat[0] = draw(st.integers(-1, 6)) % 256 if key == "x" else 5
        elif what == "short":
            array = array[: draw(st.integers(0, 49))]
        elif what == "one":
            array = array * 0
        if what != "drop" or not arrays:
            arrays[draw(WORDS) if what == "name" else key] = array
    written = io.BytesIO()
    try:
        np.savez(written, **arrays)
    except Exception:  # a name that no archive takes
        np.savez(written, z=x)
    content = written.getvalue()
    if draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(content)))
        content = (
            content[:at]
            + draw(st.binary(max_size=40))
            + draw(st.sampled_from([b"", content[at + 40 :]]))
        )
    return content


def test_npz_file_is_neither_run_nor_refused() -> None:
    def arguments(content: bytes) -> list[str]:
        Path("own.npz").write_bytes(content)
        return [NAME, "--scale", "smoke", "--data", "own.npz", "--set", "batch=2"]

    hunt(npz_files(), arguments)


CLASSES = st.sampled_from(["a", "b", "c", "ä ö", "[x]", ".hidden", "new\nline", "\udcff"])
SPOILT = st.sampled_from(
    ["none", "none", "none", "size", "mode", "garbage", "cut", "empty", "folder", "link", "pipe"]
)
SPOILT_FOLDERS = st.lists(
    st.tuples(CLASSES, st.integers(8, 12), SPOILT, st.sampled_from([".png", ".bmp", ".txt"])),
    max_size=6,
    unique_by=lambda folder: folder[0],
)


def paint(path: Path, seed: int, size: tuple[int, int] = (8, 8), mode: str = "L") -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0]), np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, "PNG" if path.suffix == ".txt" else None)


def spoil(path: Path, how: str) -> None:
    """Replace an image by something else, or damage it."""
    content = path.read_bytes()
    path.unlink()
    if how == "size":
        paint(path, 0, (9, 8))
    elif how == "mode":
        paint(path, 0, mode="RGB")
    elif how == "folder":
        path.mkdir()
    elif how == "link":
        path.symlink_to("nowhere")
    elif how == "pipe":
        os.mkfifo(path)
    else:
        path.write_bytes({"garbage": b"GIF89a", "cut": content[:40], "empty": b""}[how])


def test_image_folder_is_neither_run_nor_refused() -> None:
    def arguments(folders: list[tuple[str, int, str, str]]) -> list[str]:
        for name, count, how, suffix in folders:
            folder = Path("images") / name
            folder.mkdir(parents=True)
            for n in range(count):
                paint(folder / f"{n}{suffix}", n)
            if how != "none":
                spoil(folder / f"0{suffix}", how)
        return [NAME, "--scale", "smoke", "--data", "images/", "--set", "batch=2"]

    hunt(SPOILT_FOLDERS, arguments)
