"""A flipped bit in a file that a study keeps is found, or changes no figure."""

from __future__ import annotations

from pathlib import Path

import pytest

from study.run import main
from tests.chaos import flips
from tests.smoke import run_in_turn


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_flipped_bit_changes_a_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A faulty disk or memory would change a verdict, and nobody would know."""
    monkeypatch.setattr("study.engine.engine.run_cells", run_in_turn)
    assert main([*flips.COMMAND, "--storage", str(tmp_path)]) == 0
    done = flips.flips(tmp_path, 100, seed=1)
    found = {kind for kind, end in done if end == flips.FOUND}
    assert found == flips.kept(tmp_path).keys()
