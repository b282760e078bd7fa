"""A helper for tests of commands that are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from study.run import main

NAME = "acgan_kmnist_classes"


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the one line of a refusal. Checks that it is one line and that nothing was written.

    The working directory has to be the test's own (see the fixture `storage`).
    """
    assert not (Path.cwd() / "pyproject.toml").exists(), "other tests write files here"
    before = sorted(Path.cwd().rglob("*"))
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert sorted(Path.cwd().rglob("*")) == before
    return err
