"""Runs the studies at scale smoke that test_smoke.py leaves: see there."""

from __future__ import annotations

from pathlib import Path

import pytest

import search_spaces
from tests.smoke import check_study
from tests.test_smoke import ON_KANA

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One storage folder for all studies, so that judges are trained once per data set."""
    return tmp_path_factory.mktemp("smoke")


@pytest.mark.parametrize("name", [n for n in search_spaces.names() if n not in ON_KANA])
def test_study_does_not_run(
    storage: Path,
    name: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check_study(name, storage, capfd, monkeypatch)
