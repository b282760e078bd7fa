"""Bad input, hunted: whatever is asked for, it is a run, or exit code 2 with one line.

Hypothesis makes command lines, study definitions, .npz files and image folders, most of them
wrong. Where these fail, a user reads a traceback, waits for nothing, or finds a half-made folder.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import search_spaces
from study.run import main
from trainables.data import kana

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NAME = "acgan_kmnist_classes"
EXAMPLES, REFUSED = 150, 80  # of each kind: at least 320 refusals in all

WORDS = st.text(max_size=12).filter(lambda word: not word.startswith("/")) | st.sampled_from(
    [
        *("", " ", "-", "--", "nan", "-inf", "-1", "0", "1e400", "9" * 40, "½", "٣", "a\nb", "\0"),
        *(
            "\udcff",
            "[bold]",
            "[/]",
            "null",
            "{}",
            "[" * 2000,
            "true",
            "0x10",
            "../x",
            "%s",
            "=",
            "💣",
        ),
    ]
)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(WORDS, inner, max_size=2)
    ),
    max_leaves=4,
)


class StartedError(Exception):
    """Where a run begins to compute: all checks are behind it."""


@pytest.fixture(scope="module", autouse=True)
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Runs that end where the computing begins; characters that are rendered once."""
    folder, read = tmp_path_factory.mktemp("rendered"), kana.read

    @functools.cache
    def rendered(name: str) -> Any:
        return read(name, folder, folder, False)

    def start(*_: object) -> None:
        raise StartedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kana, "read", lambda name, *_: rendered(name))
        patch.setattr("study.sharing.make_shared", start)
        patch.setattr("study.estimate.estimate", lambda *_: 60.0)
        patch.setenv("STUDY_DATA", str(folder / "none"))
        yield


@contextlib.contextmanager
def place() -> Iterator[Path]:
    """An empty working directory, two folders deep: ../x stays within."""
    with tempfile.TemporaryDirectory() as root:
        here = Path(root) / "a" / "b"
        here.mkdir(parents=True)
        with contextlib.chdir(here):
            yield here


def refusal(arguments: list[str]) -> str | None:
    """The one line of a refusal; None where it runs. Checks that nothing was left behind."""
    root = Path.cwd().parents[1]
    before = {path: path.lstat().st_mtime_ns for path in root.rglob("*") if not path.is_dir()}
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(arguments)
    except StartedError:
        return None
    except SystemExit as end:
        code = end.code
    if code == 0:  # --list, --dry-run, -h
        return None
    assert code == 2
    line = err.getvalue()
    assert line.endswith("\n")
    assert len(line.splitlines()) == 1
    assert "Traceback" not in line
    after = {path: path.lstat().st_mtime_ns for path in root.rglob("*") if not path.is_dir()}
    assert after == before
    assert not (Path.cwd() / "runs").exists()
    return line


def hunt(inputs: st.SearchStrategy[Any], arguments: Callable[[Any], list[str]]) -> None:
    """Each input is put in place by `arguments`, which returns the command line for it."""
    refused: set[str] = set()

    @settings(
        max_examples=EXAMPLES,
        deadline=20_000,  # ms: a hang
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs)
    def look(value: Any) -> None:
        with place():
            if refusal(arguments(value)):
                refused.add(repr(value))

    look()
    assert len(refused) >= REFUSED


HYPERPARAMETERS = ["lr", "lr_ratio", "f", "batch", "adversarial", "label_noise", "noise_real"]
BUDGET = ["kimg", "search_kimg", "tick_kimg", "samples", "parallel", "classes"]
SETTINGS = st.tuples(
    st.sampled_from(HYPERPARAMETERS + BUDGET) | WORDS,
    WORDS | st.integers().map(str) | st.floats().map(str),
).map("=".join)
NUMBERS = WORDS | st.integers(-3, 5).map(str)
FLAGS = {
    "--scale": st.sampled_from(["smoke", "quick", "full"]) | WORDS,
    "--trials": NUMBERS,
    "--seeds": NUMBERS,
    "--set": SETTINGS | WORDS,
    "--data": st.sampled_from(["kana", "kana_digits", "auto", "kmnist", "."]) | WORDS,
    "--data-dir": WORDS,
    "--fid-weights": WORDS,
    "--cpus-per-trial": NUMBERS,
    "--gpus-per-trial": NUMBERS | st.floats().map(str),
    "--max-concurrent": NUMBERS,
    "--storage": WORDS,
    "--tracking-uri": st.sampled_from(["sqlite:///", "http://", "https://", "file:"]).flatmap(
        lambda head: WORDS.map(lambda rest: head + rest)
    ),
    "--only": st.sampled_from(["classes=5", "classes=49"]) | WORDS,
    "--verify": WORDS,
}
OPTIONS = st.sampled_from(sorted(FLAGS)).flatmap(lambda flag: st.tuples(st.just(flag), FLAGS[flag]))
COMMANDS = st.tuples(
    st.sampled_from([[NAME]] * 9 + [[]]) | WORDS.map(lambda word: [word]),
    st.lists(OPTIONS, min_size=1, max_size=3),
    st.sampled_from([[], [], [], ["--dry-run"], ["--fresh"], ["--list"], ["--none"]]),
).map(lambda parts: [*parts[0], *(word for option in parts[1] for word in option), *parts[2]])


def test_command_line_is_neither_run_nor_refused() -> None:
    hunt(COMMANDS, lambda command: command)


def fields(owner: str, base: str, names: str) -> st.SearchStrategy[str]:
    """Python for a copy of `base` with one of the named fields turned to junk."""
    field = st.sampled_from(names.split())
    return st.builds(
        lambda name, value: owner.format(f"replace({base}, {name}={value!r})"), field, JUNK
    )


STUDY_FIELDS = "title variant data standin conditions reference start metrics claims scales"
BUDGET_FIELDS = (
    "kimg search_kimg tick_kimg first_tick_kimg trials seeds samples parallel stretch fixed"
)
DEFINITIONS = st.one_of(
    fields("{}", "STUDY", f"{STUDY_FIELDS} space searched objective fid"),
    fields("replace(STUDY, claims=({},))", "CLAIM", "id text metric of against region log"),
    fields("replace(STUDY, scales=SCALES | dict(smoke={}))", "SMOKE", BUDGET_FIELDS),
    st.builds("replace(STUDY, conditions={{{!r}: {{{!r}: {!r}}}}})".format, WORDS, WORDS, JUNK),
    st.builds(
        "replace(STUDY, reference={{**STUDY.reference, {!r}: {!r}}})".format,
        st.sampled_from(HYPERPARAMETERS) | WORDS,
        JUNK,
    ),
    st.builds("replace(STUDY, space=lambda trial: {!r})".format, JUNK),
    st.builds(
        "replace(STUDY, space=lambda trial: dict(lr=trial.suggest_float('lr', {!r}, {!r})))".format,
        JUNK,
        JUNK,
    ),
    st.builds("replace(STUDY, start={{{!r}: {!r}}})".format, st.just("lr") | WORDS, JUNK),
    JUNK.map(repr),
    st.sampled_from(["STUDY.none", "1 / 0", "Study()", "(", "replace(STUDY, name='x')"]),
)
HEAD = f"""
from dataclasses import replace
from math import inf, nan
from search_spaces.core import Study
from search_spaces.{NAME} import STUDY
CLAIM, SCALES, SMOKE = STUDY.claims[0], STUDY.scales, STUDY.scales["smoke"]
STUDY = """


def test_definition_is_neither_run_nor_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_spaces, "__path__", [*search_spaces.__path__, str(tmp_path)])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def arguments(source: str) -> list[str]:
        (tmp_path / "hunted.py").write_text(HEAD + source)
        sys.modules.pop("search_spaces.hunted", None)
        return ["hunted", "--scale", "smoke"]

    hunt(DEFINITIONS, arguments)


SIDES = st.sampled_from([0, 1, 7, 8, 12, 40])
DTYPES = st.sampled_from(["u1", "i8", "f4", "?", "U3", "O", "c8", "M8[s]"])


@st.composite
def npz_files(draw: st.DrawFn) -> bytes:
    """A file of ten images each of five classes, and then up to three things wrong with it."""
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
    """Put something else in an image's place."""
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


def by_hand(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "study.run", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "arguments",
    [
        ["none"],
        [NAME, "--set", "lr=fast"],
        [NAME, "--data", "nowhere.npz"],
        [NAME, "--storage", "/dev/null/runs"],
        [NAME, "--tracking-uri", "ftp://host"],
    ],
)
def test_shell_sees_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = by_hand(*arguments)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_smallest_data_that_are_accepted_cannot_be_run(tmp_path: Path) -> None:
    """Every cell would fail, after minutes."""
    y, y_test = np.repeat(np.arange(5), 10), np.repeat(np.arange(5), 2)
    rng = np.random.default_rng(0)
    x, x_test = (rng.integers(0, 256, (len(part), 8, 32), np.uint8) for part in (y, y_test))
    np.savez(tmp_path / "own.npz", x=x, y=y, x_test=x_test, y_test=y_test)
    ended = by_hand(
        NAME, "--scale", "smoke", "--data", str(tmp_path / "own.npz"), "--trials", "0",
        "--seeds", "1", "--set", "batch=2", "--set", "f=1", "--storage", str(tmp_path / "runs"),
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "cells: 1 complete" in ended.stdout
