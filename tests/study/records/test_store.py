"""Failures of an object store: a failure must not pass for a missing file.

If these tests fail, a cell whose record could not be listed for a moment is run again, over its
existing rows. tests/chaos/test_store.py tests a real store.
"""

from __future__ import annotations

import errno
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from s3fs import S3FileSystem

from study.records import store
from study.records.records import Records

ROOT = "bucket/runs/study/cells"
FAILURES = [
    EndpointConnectionError(endpoint_url="http://nowhere"),
    PermissionError("token expired"),
    OSError(errno.EBUSY, "slow down"),
]
SAID = "nowhere|expired|slow down"


@pytest.mark.parametrize("error", FAILURES)
def test_cell_that_cannot_be_listed_is_not_there(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def list_folder(_: S3FileSystem, path: str, *__: Any, **options: Any) -> Any:
        if options.get("delimiter") == "" or path == f"{ROOT}/b":  # "": list recursively
            raise error
        if path == ROOT:
            return [{"name": f"{ROOT}/{n}", "type": "directory", "size": 0} for n in "abc"]
        return [{"name": f"{path}/cell.json", "type": "file", "size": 2}]

    async def folders_alone(_: S3FileSystem, method: str, *__: Any, **___: Any) -> Any:
        if method == "list_objects_v2":
            return {"KeyCount": 1, "Contents": [{"Key": "below"}]}
        raise FileNotFoundError

    monkeypatch.setattr(S3FileSystem, "_lsdir", list_folder)
    monkeypatch.setattr(S3FileSystem, "_call_s3", folders_alone)
    folder = store.folder("s3://bucket/runs/study")
    with pytest.raises(OSError, match=SAID) as raised:
        list(folder.glob("cells/*/cell.json"))
    assert raised.value.errno == errno.EIO  # study/engine/trial.py blames the storage for it
    with pytest.raises(OSError, match=SAID):
        Records(folder).ids()


@pytest.mark.parametrize("error", FAILURES)
def test_failure_is_held_against_the_cell(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def call(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(S3FileSystem, "_call_s3", call)
    path = store.folder("s3://bucket/runs/study/cells/a/ticks.json")
    for use in (lambda: store.read(path), lambda: store.put(path, b"1"), path.exists):
        with pytest.raises(OSError, match=SAID) as raised:
            use()
        assert raised.value.errno == errno.EIO


def test_file_below_a_cell_is_taken_for_a_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    async def list_all(*_: Any, **__: Any) -> Any:
        names = ["a/cell.json", "a/ticks.json", "b/x/cell.json"]
        return [{"name": f"{ROOT}/{name}", "type": "file", "size": 2} for name in names]

    monkeypatch.setattr(S3FileSystem, "_lsdir", list_all)
    assert Records("s3://bucket/runs/study").ids() == ["a"]
