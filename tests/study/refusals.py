"""What a refused command line says, for tests of all that is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from study.run import main

NAME = "acgan_kmnist_classes"


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line of a refusal; checks that it is one, and that nothing was written."""
    before = sorted(Path.cwd().rglob("*"))
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert sorted(Path.cwd().rglob("*")) == before
    return err
