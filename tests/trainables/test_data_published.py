"""Published sets: read from disk as they are, downloaded whole or not at all, refused in one line.

Where these fail, studies run on wrong or torn data, or a user's damaged file ends in a traceback.
"""

import gzip
import hashlib
import io
import os
import pickle
import socket
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest

from tests.trainables.conftest import Server, files_in, idx, images, kmnist
from trainables.data import DataError, download, load, published

FOLDERS = {"kmnist": "KMNIST/raw", "mnist": "MNIST/raw", "fashion_mnist": "FashionMNIST/raw"}
REAL = pytest.mark.skipif("STUDY_DATA" not in os.environ, reason="STUDY_DATA is not set")
TRAIN_X, TRAIN_Y = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_X, TEST_Y = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


def refusal(name: str, data_dir: Path) -> str:
    """The one line with which a set is refused."""
    with pytest.raises(DataError) as caught:
        load(name, data_dir, progress=False)
    message = str(caught.value)
    assert "\n" not in message
    return message


# On disk


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
    assert data.look == published.SETS[name]
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


# CIFAR-10's pickles


def batch(x: np.ndarray, y: list[int]) -> bytes:
    """A batch as Python 2 pickled them (the official files): protocol 2, text as byte strings."""
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
    assert (data.look, data.classes[3]) == (published.SETS["cifar10"], "cat")


def test_cifar_pickled_by_a_newer_numpy_is_read(tmp_path: Path) -> None:
    folder = write_cifar(tmp_path)
    x, y = colours(0)
    (folder / "test_batch").write_bytes(pickle.dumps({"data": x.reshape(50, -1), "labels": y}, 3))
    assert np.array_equal(load("cifar10", tmp_path).test.x, x)


class Runs:
    """Something that a plain unpickler would run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("ran",)


@pytest.mark.parametrize(
    ("contents", "reason"),
    [(pickle.dumps(Runs()), "mkdir is not admitted"),
     (pickle.dumps({"data": Runs(), "labels": [1]}), "mkdir is not admitted"),
     (b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval is not admitted"),
     (batch(*colours(0))[:5000], "truncated"),
     (b"", "Ran out of input"), (pickle.dumps([1, 2]), "not a batch"),
     (batch(colours(0)[0], [1] * 49), "do not fit"),
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


# Downloads


def packed_kmnist(tmp_path: Path) -> dict[str, bytes]:
    kmnist(tmp_path / "sent")
    return {file.name: file.read_bytes() for file in (tmp_path / "sent").iterdir()}


def test_download_is_kept_and_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    server.publish(monkeypatch, "kmnist", packed_kmnist(tmp_path))
    folder = tmp_path / "data"
    assert published.fetchable("kmnist", folder) is None
    assert not folder.exists()  # asking leaves nothing
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
    assert reason == f"cannot be downloaded (no answer from {host})"  # once, not per address
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


# The real thing


@REAL
@pytest.mark.parametrize(("name", "each"), [("kmnist:test", (800, 200)), ("mnist", (5421, 892))])
def test_real_sets_are_whole(name: str, each: tuple[int, int]) -> None:
    data_dir = Path(os.environ["STUDY_DATA"])
    if published.where(name, data_dir) is None:
        pytest.skip(f"{name} is not in STUDY_DATA")
    data = load(name, data_dir)
    rarest = tuple(int(np.bincount(split.y).min()) for split in (data.train, data.test))
    assert rarest == each
    assert data.look == published.SETS[name]


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
