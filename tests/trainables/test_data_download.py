"""Downloads of published sets must be whole, or leave nothing. They are kept, and do not hang.

Where these fail, a damaged file stays on disk, or a user without a network waits in vain.
"""

import hashlib
import os
import socket
import time
from pathlib import Path

import pytest

from tests.trainables.conftest import (
    TEST_X,
    TEST_Y,
    TRAIN_X,
    TRAIN_Y,
    Server,
    files_in,
    kmnist,
    refusal,
)
from trainables.data import download, load, published


def packed_kmnist(tmp_path: Path) -> dict[str, bytes]:
    kmnist(tmp_path / "sent")
    return {file.name: file.read_bytes() for file in (tmp_path / "sent").iterdir()}


def test_download_is_kept_and_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    server.publish(monkeypatch, "kmnist", packed_kmnist(tmp_path))
    folder = tmp_path / "data"
    assert published.fetchable("kmnist", folder) is None
    assert not folder.exists()  # asking makes no folder
    first = load("kmnist", folder, progress=False)
    assert first.source == "downloaded"
    assert files_in(folder) == sorted(server.bodies)
    server.asked.clear()
    again = load("kmnist", folder, progress=False)
    assert (again.digest, again.source, server.asked) == (first.digest, "read from KMNIST/raw", [])


def test_only_missing_files_are_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    server.publish(monkeypatch, "kmnist", packed_kmnist(tmp_path))
    load("kmnist:test", tmp_path / "data", progress=False)
    assert sorted(server.asked) == [f"{TEST_X}.gz", f"{TEST_Y}.gz"]
    load("kmnist", tmp_path / "data", progress=False)
    assert sorted(server.asked[2:]) == [f"{TRAIN_X}.gz", f"{TRAIN_Y}.gz"]


def test_a_mirror_serves_where_the_first_address_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    server.publish(monkeypatch, "kmnist", packed_kmnist(tmp_path))
    monkeypatch.setitem(published.BASES, "kmnist", (f"{server.url}gone/", server.url))
    assert published.fetchable("kmnist", tmp_path / "data") is None
    assert load("kmnist", tmp_path / "data", progress=False).source == "downloaded"


@pytest.mark.parametrize("case", ["checksum", "truncated", "404", "page"])
def test_failed_download_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server, case: str
) -> None:
    server.publish(monkeypatch, "kmnist", packed_kmnist(tmp_path))
    wanted = f"{TRAIN_X}.gz"
    length = len(server.bodies[wanted])
    if case == "checksum":
        server.bodies[wanted] = server.bodies[wanted][:-1] + b"?"
        reason = f"md5 is {hashlib.md5(server.bodies[wanted]).hexdigest()}, not "
    elif case == "truncated":
        server.cut, reason = 100, f"only {length - 100} of {length} bytes came"
    elif case == "404":
        server.bodies, reason = {}, "answers 404"
    else:
        server.kind, reason = "text/html; charset=utf-8", "answers with a web page"
    message = refusal("kmnist", tmp_path / "data")
    assert message.startswith(f"{wanted} cannot be downloaded")
    assert reason in message or (case == "truncated" and "broke off" in message)
    assert files_in(tmp_path / "data") == []


def test_refused_connection_is_one_line_and_leaves_nothing(tmp_path: Path, closed: str) -> None:
    assert f"no answer from {closed}" in refusal("mnist", tmp_path / "data")
    assert files_in(tmp_path) == []


def test_fetchable_says_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server, closed: str
) -> None:
    reason = published.fetchable("k49", tmp_path)
    assert reason == f"cannot be downloaded (no answer from {closed})"
    monkeypatch.setitem(published.BASES, "k49", (server.url,))
    host = server.url.split("/")[2]
    assert published.fetchable("k49", tmp_path) == f"cannot be downloaded ({host} answers 404)"


def test_fetchable_does_not_wait_for_a_silent_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "PROBE_TIMEOUT", 0.3)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, says nothing
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setitem(published.BASES, "mnist", (f"http://{host}/a/", f"http://{host}/b/"))
        start = time.monotonic()
        reason = published.fetchable("mnist", tmp_path)
    assert reason == f"cannot be downloaded (no answer from {host})"  # the host is named once
    assert time.monotonic() - start < 2


def test_fetchable_needs_a_folder_it_can_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    server.publish(monkeypatch, "kmnist", packed_kmnist(tmp_path))
    (tmp_path / "file").write_text("")
    assert "is not a folder" in (published.fetchable("kmnist", tmp_path / "file") or "")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert f"{tmp_path} is not writable" in (published.fetchable("kmnist", tmp_path / "new") or "")


def test_a_file_in_the_way_of_a_download_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    server.publish(monkeypatch, "kmnist", packed_kmnist(tmp_path))
    (tmp_path / "KMNIST").write_text("")
    assert "cannot be written" in refusal("kmnist", tmp_path)
