"""Published sets on disk: read as they are, or refused in one line.

Where these fail, studies run on wrong or torn data, or a user's damaged file ends in a traceback.
"""

import gzip
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from tests.trainables.conftest import (
    TEST_X,
    TEST_Y,
    TRAIN_X,
    TRAIN_Y,
    idx,
    images,
    kmnist,
    refusal,
)
from trainables.data import load, published

FOLDERS = {"kmnist": "KMNIST/raw", "mnist": "MNIST/raw", "fashion_mnist": "FashionMNIST/raw"}
REAL = pytest.mark.skipif("STUDY_DATA" not in os.environ, reason="STUDY_DATA is not set")


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("name", FOLDERS)
def test_idx_files_are_read_unchanged(tmp_path: Path, name: str, packed: bool) -> None:
    arrays = kmnist(tmp_path / FOLDERS[name], packed)
    data = load(name, tmp_path)
    assert np.array_equal(data.train.x[:, 0], arrays[TRAIN_X])
    assert np.array_equal(data.train.y, arrays[TRAIN_Y])
    assert np.array_equal(data.test.x[:, 0], arrays[TEST_X])
    assert np.array_equal(data.test.y, arrays[TEST_Y])
    assert (data.train.x.dtype, data.train.y.dtype) == (np.uint8, np.int64)
    assert data.train.x.flags.writeable  # torch warns of arrays that are not
    assert data.spec == published.SETS[name]
    assert data.source == f"read from {FOLDERS[name]}"
    assert published.where(name, tmp_path) == f"read from {FOLDERS[name]} in {tmp_path}"


def test_k49_is_read_from_its_npz_files(tmp_path: Path) -> None:
    (tmp_path / "K49").mkdir()
    parts = {"train": images(2, 49), "test": images(1, 49, seed=1)}
    for part, (x, y) in parts.items():
        np.savez_compressed(tmp_path / f"K49/k49-{part}-imgs.npz", x)
        np.savez_compressed(tmp_path / f"K49/k49-{part}-labels.npz", y)
    data = load("k49", tmp_path)
    assert np.array_equal(data.train.x[:, 0], parts["train"][0])
    assert np.array_equal(data.test.y, parts["test"][1])
    assert (len(data.classes), data.classes[6], data.classes[48]) == (49, "き", "ゝ")


def test_k49_without_its_images_is_not_on_disk(tmp_path: Path) -> None:
    (tmp_path / "K49").mkdir()
    np.savez(tmp_path / "K49/k49-train-labels.npz", images(1, 49)[1])
    assert published.where("k49", tmp_path) is None


def test_test_split_alone_needs_only_the_test_files(tmp_path: Path) -> None:
    arrays = kmnist(tmp_path / "KMNIST/raw")
    (tmp_path / f"KMNIST/raw/{TRAIN_X}.gz").unlink()
    assert published.where("kmnist", tmp_path) is None
    assert published.where("kmnist:test", tmp_path) is not None
    data = load("kmnist:test", tmp_path)
    assert np.bincount(data.train.y).tolist() == [4] * 10
    assert np.bincount(data.test.y).tolist() == [1] * 10
    together = np.concatenate([data.train.x, data.test.x])[:, 0]
    assert {x.tobytes() for x in together} == {x.tobytes() for x in arrays[TEST_X]}
    assert load("kmnist:test", tmp_path).digest == data.digest  # the same division each time


DAMAGED = {  # file, contents, what the message says
    "cut gzip": (TRAIN_X, gzip.compress(idx(images(3)[0]))[:-999], "damaged"),
    "overflow": (TRAIN_X, gzip.compress(b"\0\0\x08\x03" + b"\x7f\xff\xff\xff" * 3), "GiB"),
    "no gzip": (TRAIN_X, idx(images(3)[0]), "damaged"),
    "empty": (TRAIN_X, b"", "idx file"),
    "labels as images": (TRAIN_X, gzip.compress(idx(images(3)[1])), "idx file"),
    "signed magic": (TRAIN_Y, gzip.compress(b"\0\0\x09\1" + idx(images(3)[1])[4:]), "idx file"),
    "other size": (TEST_X, gzip.compress(idx(images(5)[0][:, :14])), "shape"),
    "no images": (TEST_X, gzip.compress(idx(images(5)[0][:0])), "shape"),
    "too few values": (TEST_Y, gzip.compress(idx(images(5)[1])[:-1]), "only 49 of 50"),
    "too many values": (TEST_Y, gzip.compress(idx(images(5)[1]) + b"\0"), "more of 50"),
    "huge shape": (TEST_Y, gzip.compress(b"\0\0\x08\1\x7f\xff\xff\xff"), "only 0 of"),
    "fewer labels": (TRAIN_Y, gzip.compress(idx(images(3)[1][:-1])), "30 images but 29 labels"),
    "strange label": (TRAIN_Y, gzip.compress(idx(images(3)[1] + 1)), "label 10"),
    "empty class": (TRAIN_Y, gzip.compress(idx(images(3)[1] // 2)), "no image has label 5"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_idx_file_is_named(tmp_path: Path, case: str) -> None:
    name, contents, reason = DAMAGED[case]
    kmnist(tmp_path / "KMNIST/raw")
    file = tmp_path / f"KMNIST/raw/{name}.gz"
    file.write_bytes(contents)
    message = refusal("kmnist", tmp_path)
    assert reason in message
    assert str(file.with_suffix("")) in message or "labels in" in message


@pytest.mark.parametrize(
    ("part", "array"),
    [("imgs", images(1, 49)[0].astype(np.float32)), ("imgs", images(1, 49)[1]),
     ("labels", images(1, 49)[0]), ("labels", np.uint8(3)), ("labels", images(1, 48)[1])],
)  # fmt: skip
def test_damaged_k49_is_refused(tmp_path: Path, part: str, array: np.ndarray) -> None:
    (tmp_path / "K49").mkdir()
    x, y = images(1, 49)
    np.savez(tmp_path / "K49/k49-test-imgs.npz", x)
    np.savez(tmp_path / "K49/k49-test-labels.npz", y)
    np.savez(tmp_path / f"K49/k49-test-{part}.npz", array)
    assert "k49-test" in refusal("k49:test", tmp_path)


# The real files


@REAL
@pytest.mark.parametrize(("name", "each"), [("kmnist:test", (800, 200)), ("mnist", (5421, 892))])
def test_real_sets_are_whole(name: str, each: tuple[int, int]) -> None:
    data_dir = Path(os.environ["STUDY_DATA"])
    if published.where(name, data_dir) is None:
        pytest.skip(f"{name} is not in STUDY_DATA")
    data = load(name, data_dir)
    rarest = tuple(int(np.bincount(split.y).min()) for split in (data.train, data.test))
    assert rarest == each
    assert data.spec == published.SETS[name]


@REAL
@pytest.mark.parametrize(
    ("name", "file"),
    [("mnist", f"{TEST_X}.gz"), ("mnist", f"{TEST_Y}.gz"), ("mnist", f"{TRAIN_Y}.gz"),
     ("k49", "k49-train-labels.npz"), ("k49", "k49-test-labels.npz")],
)  # fmt: skip
def test_checksums_are_those_of_the_official_files(name: str, file: str) -> None:
    entry = published.PUBLISHED[name]
    path = Path(os.environ["STUDY_DATA"]) / entry.folder / file
    if not path.is_file():
        pytest.skip(f"{file} is not in STUDY_DATA")
    (known,) = {r.md5 for r in (entry.train | entry.test).values() if r.name == file}
    assert hashlib.md5(path.read_bytes()).hexdigest() == known
