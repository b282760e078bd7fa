"""Which data a study runs on: the wanted set, or else the stand-in and the reason in one line.

Where these fail, a study runs on other data than it says, or starts on data it cannot get.
"""

import gzip
from pathlib import Path

import numpy as np
import pytest

from tests.trainables.conftest import Server, idx, images, kmnist
from trainables.data import DataError, choose, describe, load, names, published


def test_names_list_every_set_and_its_test_split() -> None:
    assert {"kana", "k49", "kmnist", "mnist", "fashion_mnist", "cifar10"} <= set(names())
    assert {f"{name}:test" for name in published.PUBLISHED} <= set(names())
    assert names() == sorted(names())


def test_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    for ask in (load, describe, lambda name: choose(name, "kmnist", "kana", tmp_path)):
        with pytest.raises(
            DataError,
            match=r"^unknown data 'kmnits': there is no such file.* choose from .*kmnist.*$",
        ):
            ask("kmnits")


def test_auto_takes_what_is_on_disk_without_asking_the_net(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setitem(published.BASES, "kmnist", (server.url,))
    kmnist(tmp_path / "KMNIST/raw")
    chosen = choose("auto", "kmnist", "kana", tmp_path)
    assert chosen == ("kmnist", f"data: kmnist, read from KMNIST/raw in {tmp_path}")
    assert server.asked == []


def test_auto_takes_what_can_be_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    server.publish(monkeypatch, "mnist", {"train-images-idx3-ubyte.gz": b"anything"})
    chosen = choose("auto", "mnist", "kana", tmp_path)
    assert chosen == ("mnist", f"data: mnist, to be downloaded to {tmp_path}")
    assert choose("mnist", "mnist", "kana", tmp_path) == chosen


def test_auto_falls_back_and_says_why(tmp_path: Path, closed: str) -> None:
    name, line = choose("auto", "kmnist", "kana", tmp_path)
    assert name == "kana"
    assert line == (
        f"data: kana, rendered, as a stand-in: kmnist is not in {tmp_path} "
        f"and cannot be downloaded (no answer from {closed})"
    )


def test_auto_falls_back_where_the_set_is_on_disk_only_in_part(tmp_path: Path, closed: str) -> None:
    kmnist(tmp_path / "KMNIST/raw")
    (tmp_path / "KMNIST/raw/train-labels-idx1-ubyte.gz").unlink()
    assert choose("auto", "kmnist", "kana", tmp_path)[0] == "kana"
    assert choose("kmnist:test", "kmnist", "kana", tmp_path)[0] == "kmnist:test"


def test_a_request_that_cannot_be_met_is_an_error_not_a_stand_in(
    tmp_path: Path, closed: str
) -> None:
    with pytest.raises(DataError) as caught:
        choose("cifar10", "kmnist", "kana", tmp_path)
    assert str(caught.value) == (
        f"data 'cifar10' is not in {tmp_path} and cannot be downloaded (no answer from {closed})"
    )


def test_the_stand_in_can_be_asked_for(tmp_path: Path, closed: str) -> None:
    assert choose("kana", "kmnist", "kana", tmp_path) == ("kana", "data: kana, rendered")


def test_a_path_is_checked_before_anything_starts(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    x, y = images(10)
    np.savez(path, x=x, y=y)
    line = f"data: {path}, read from own.npz"
    assert choose(str(path), "kmnist", "kana", tmp_path) == (str(path), line)
    np.savez(path, x=x, y=y + 0.5)
    with pytest.raises(DataError, match=r"own\.npz: y is float64"):
        choose(str(path), "kmnist", "kana", tmp_path)


def test_the_data_directory_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    monkeypatch.setenv("STUDY_DATA", str(tmp_path))
    kmnist(tmp_path / "KMNIST/raw")
    assert choose("auto", "kmnist", "kana")[0] == "kmnist"
    assert len(load("kmnist").train.y) == 30


def test_digest_names_the_content_not_the_file(tmp_path: Path) -> None:
    kmnist(tmp_path / "packed/KMNIST/raw")
    kmnist(tmp_path / "plain/KMNIST/raw", packed=False)
    digest = load("kmnist", tmp_path / "packed").digest
    assert load("kmnist", tmp_path / "plain").digest == digest
    x, _ = images(5, seed=1)
    x[0, 0, 0] ^= 1
    changed = tmp_path / "packed/KMNIST/raw/t10k-images-idx3-ubyte.gz"
    changed.write_bytes(gzip.compress(idx(x)))
    assert load("kmnist", tmp_path / "packed").digest != digest
