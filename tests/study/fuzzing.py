"""Random input: each command must start a run, or end with exit code 2 and one line.

A test that uses `hunt` must have `quick` active. Importing `quick` into the test's module is
enough: no run then begins to compute.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from study.run import main
from trainables.data import kana

EXAMPLES, REFUSED = 60, 32  # inputs per hunt, new ones in every run; how many must be refused

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


class StartedError(Exception):
    """Raised where a run would begin to compute, after all checks."""


@pytest.fixture(scope="module", autouse=True)
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """End each run where computing would begin. Each kana data set is rendered only once."""
    folder, read = tmp_path_factory.mktemp("rendered"), kana.read

    @functools.cache
    def rendered(name: str) -> Any:
        return read(name, folder, folder, False)

    def start(*_: object) -> None:
        raise StartedError

    # Cells that ran in this process before had it on, and Hypothesis draws denormal numbers.
    torch.set_flush_denormal(False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kana, "read", lambda name, *_: rendered(name))
        patch.setattr("study.engine.shared_state.make_shared", start)
        patch.setattr("study.planning.estimate._speed", lambda *_: (0.0, 1e-4, 1e-4))
        patch.setattr("study.dry_run.training_seconds", lambda *_: 60.0)
        patch.setenv("STUDY_DATA", str(folder / "none"))
        yield


@contextlib.contextmanager
def place() -> Iterator[Path]:
    """An empty working directory in a temporary folder, so deep that ../x stays in that folder."""
    with tempfile.TemporaryDirectory() as root:
        here = Path(root) / "a" / "b"
        here.mkdir(parents=True)
        with contextlib.chdir(here):
            yield here


def refusal(arguments: list[str]) -> str | None:
    """Return the one line of a refusal, or None if the command is not refused.

    A refusal must leave nothing behind: no file may change, and no folder `runs` may appear.
    """
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
    """Try random inputs. At least `REFUSED` different ones must be refused.

    `arguments` puts an input in place and returns the command line for it. The environment variable
    HUNT_SEED repeats the inputs of an earlier hunt.
    """
    refused: set[str] = set()
    number = int(os.environ.get("HUNT_SEED", secrets.randbits(32)))
    print(f"to repeat these examples: HUNT_SEED={number}")

    @seed(number)
    @settings(
        max_examples=EXAMPLES,
        deadline=20_000,  # ms; whatever takes longer hangs
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs)
    def examine(value: Any) -> None:
        with place():
            if refusal(arguments(value)):
                refused.add(repr(value))

    examine()
    assert len(refused) >= REFUSED
