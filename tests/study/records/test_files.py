"""Files are written whole or not at all, and what was changed since is found."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from study.records.files import read_json, write_atomically, write_json


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_failed_write_destroys_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A full disk would destroy what was on record before."""
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (Path, "replace")), fail)
    with pytest.raises(OSError, match="No space"):
        write_json(path, {"a": 2})
    assert read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("value", [{"a": float("nan")}, {"a": [float("inf")]}, {"a": object()}])
def test_unreadable_json_is_written(tmp_path: Path, value: Any) -> None:
    """NaN is not valid JSON: other readers, and the report, would fail on it."""
    with pytest.raises((ValueError, TypeError)):
        write_json(tmp_path / "a.json", value)
    assert not list(tmp_path.iterdir())


def test_others_may_read_what_the_umask_forbids(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_atomically(tmp_path / "secret.json", b"{}")
    finally:
        os.umask(before)
    assert (tmp_path / "secret.json").stat().st_mode & 0o777 == 0o600


def test_reader_sees_half_a_file(tmp_path: Path) -> None:
    """While a file is replaced, a reader that has it open must still see the whole old file."""
    path = tmp_path / "deep" / "a.bin"
    write_atomically(path, b"old")
    with path.open("rb") as reader:
        write_atomically(path, b"new and longer")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new and longer"


def test_damage_is_not_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": 1')
    with pytest.raises(ValueError, match=r"a\.json is damaged") as caught:
        read_json(tmp_path / "a.json")
    assert "\n" not in str(caught.value)


def test_changed_digit_is_taken_for_what_was_written(tmp_path: Path) -> None:
    """A faulty disk would change a figure. What older versions wrote has no digest."""
    path = tmp_path / "a.json"
    write_json(path, {"fcd": 57.25})
    path.write_text(path.read_text().replace("57.25", "58.25"))
    with pytest.raises(ValueError, match=r"a\.json is damaged: .*SHA-256"):
        read_json(path)
    path.write_text('{"fcd": 58.25}')
    assert read_json(path) == {"fcd": 58.25}
    write_json(path, json.loads(path.read_text()) | {"sha256": "of something else"})
    assert read_json(path) == {"fcd": 58.25}
