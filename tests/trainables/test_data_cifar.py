"""CIFAR-10's files are pickles in an archive. They are read as they are, without running any code.

Where these fail, studies run on wrong data, or somebody's file runs code of its own.
"""

import contextlib
import gzip
import io
import os
import pickle
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainables.conftest import Server, files_in, refusal
from trainables.data import DataError, formats, load, published


def batch(x: np.ndarray, y: list[int]) -> bytes:
    """A batch pickled like the official files, by Python 2: protocol 2, text as byte strings."""
    rows = x.reshape(len(x), -1)
    shape = b"".join(b"M" + n.to_bytes(2, "little") for n in rows.shape) + b"\x86"
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ" + b"\xff" * 4 + b"J"
    dtype += b"\xff" * 4 + b"K\x00tb"
    return (
        b"\x80\x02}(U\x0bbatch_labelU\x04testU\x06labels]("
        + b"".join(bytes((ord("K"), label)) for label in y)
        + b"eU\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        + b"(K\x01" + shape + dtype + b"\x89T" + rows.size.to_bytes(4, "little") + rows.tobytes()
        + b"tbu."
    )  # fmt: skip


def colours(seed: int) -> tuple[np.ndarray, list[int]]:
    """uint8 [50, 3, 32, 32] and 50 labels."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (50, 3, 32, 32), dtype=np.uint8), list(range(10)) * 5


def cifar() -> dict[str, bytes]:
    return {f"data_batch_{i}": batch(*colours(i)) for i in range(1, 6)} | {
        "test_batch": batch(*colours(0))
    }


def write_cifar(data_dir: Path) -> Path:
    folder = data_dir / "cifar-10-batches-py"
    folder.mkdir()
    for name, contents in cifar().items():
        (folder / name).write_bytes(contents)
    return folder


def test_cifar_is_read_in_the_order_of_its_batches(tmp_path: Path) -> None:
    write_cifar(tmp_path)
    data = load("cifar10", tmp_path)
    assert np.array_equal(data.train.x, np.concatenate([colours(i)[0] for i in range(1, 6)]))
    assert np.array_equal(data.test.x, colours(0)[0])
    assert data.test.y.tolist() == colours(0)[1]
    assert (data.spec, data.classes[3]) == (published.SETS["cifar10"], "cat")


def test_cifar_pickled_by_a_newer_numpy_is_read(tmp_path: Path) -> None:
    folder = write_cifar(tmp_path)
    x, y = colours(0)
    (folder / "test_batch").write_bytes(pickle.dumps({"data": x.reshape(50, -1), "labels": y}, 3))
    assert np.array_equal(load("cifar10", tmp_path).test.x, x)


def bomb() -> list[object]:
    """A list that is small on disk, and of 2^60 numbers when it is made an array."""
    nested: list[object] = [0, 0]
    for _ in range(60):
        nested = [nested, nested]
    return nested


class Runs:
    """Something that a plain unpickler would run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("ran",)


@pytest.mark.parametrize("protocol", [2, 3])
@given(st.integers(0, 400), st.binary(min_size=1, max_size=4), st.booleans())
@settings(max_examples=150, deadline=None)
def test_altered_batch_ends_python(protocol: int, at: int, with_: bytes, tail: bool) -> None:
    """Each is read or refused: a forged array of objects once ended the process by a signal."""
    x, y = colours(0)
    whole = batch(x, y)
    if protocol == 3:
        whole = pickle.dumps({"data": x.reshape(50, -1), "labels": y}, 3)
    at = len(whole) - 1 - at if tail else at
    with TemporaryDirectory() as folder:
        path = Path(folder) / "test_batch"
        path.write_bytes(whole[:at] + with_ + whole[at + len(with_) :])
        with contextlib.suppress(DataError):
            images, labels = formats.parse_batches([path], published.SETS["cifar10"])
            assert images.shape == (len(labels), 3, 32, 32)


@pytest.mark.parametrize(
    ("contents", "reason"),
    [(pickle.dumps(Runs(), 2), "mkdir is not admitted"),
     (pickle.dumps({"data": Runs(), "labels": [1]}, 2), "mkdir is not admitted"),
     (b"cbuiltins\neval\n(U\x011tR.", "builtins.eval is not admitted"),
     (b"cbuiltins\neval\n(S'1'\ntR.", "STRING is not admitted"),
     (batch(*colours(0))[:5000], "expected"),
     (b"", "pickle exhausted"), (pickle.dumps([1, 2], 2), "not a batch"),
     (b"\x96" + b"\xff" * 7 + b"\x00", "only 0 remain"),
     (b"\x80\x02K\x01r\xff\xff\xff\xff.", "LONG_BINPUT is not admitted"),
     (batch(colours(0)[0], [1] * 49), "50 images and 49 labels"),
     (batch(*colours(0)).replace(b"U\x02u1K", b"U\x02O8K"), "no array of uint8"),
     (batch(*colours(0)).replace(b"U\x02u1K", b"U\x02V9K"), "no array of uint8"),
     (batch(*colours(0)).replace(b"M\x00\x0c\x86", b"M\xff\xff\x86"), "cannot reshape"),
     (batch(*colours(0)).replace(b"M2\x00", b"M\x00\x80"), "cannot reshape"),
     (pickle.dumps({"data": np.array([Path()]), "labels": [1]}, 3), "is not admitted"),
     (pickle.dumps({"data": np.zeros((1, 3072)), "labels": [1]}, 3), "no array of uint8"),
     (pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": bomb()}, 3), "no list of"),
     (pickle.dumps({"data": [1], "labels": [1]}, 2), "not a batch"),
     (batch(colours(0)[0][:, :, :16], [1] * 50), "not a batch"),
     (batch(colours(0)[0], [*range(9), 200] * 5), "label 200"),
     (batch(colours(0)[0], [1] * 50), "no image has label 0")],
)  # fmt: skip
def test_bad_cifar_batch_is_refused_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, contents: bytes, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (write_cifar(tmp_path) / "test_batch").write_bytes(contents)
    message = refusal("cifar10:test", tmp_path)
    assert "test_batch" in message
    assert reason in message
    assert not (tmp_path / "ran").exists()


def test_cifar_is_downloaded_once_and_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz", compresslevel=1) as tar:
        for name, contents in cifar().items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(contents)
            tar.addfile(member, io.BytesIO(contents))
    server.publish(monkeypatch, "cifar10", {"cifar-10-python.tar.gz": archive.getvalue()})
    data = load("cifar10", tmp_path, progress=False)
    assert np.array_equal(data.test.x, colours(0)[0])
    assert server.asked == ["cifar-10-python.tar.gz"]
    assert files_in(tmp_path) == sorted(cifar())  # the archive is not kept


def test_an_archive_without_the_batches_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    server.publish(monkeypatch, "cifar10", {"cifar-10-python.tar.gz": gzip.compress(b"\0" * 10240)})
    assert "cannot be unpacked" in refusal("cifar10", tmp_path)
    assert files_in(tmp_path) == []
