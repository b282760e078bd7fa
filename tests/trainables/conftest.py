"""Small fabricated files of published sets, and a server on 127.0.0.1 that sends them."""

import dataclasses
import gzip
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from trainables.data import DataError, load, published
from trainables.data.published import Remote

TRAIN_X, TRAIN_Y = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_X, TEST_Y = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


def idx(array: np.ndarray) -> bytes:
    """An idx file of uint8."""
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">i4").tobytes() + array.tobytes()


def images(per_class: int, classes: int = 10, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [N, 28, 28] and uint8 [N], in random order."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat(np.arange(classes, dtype=np.uint8), per_class))
    return rng.integers(0, 256, (len(y), 28, 28), dtype=np.uint8), y


def kmnist(folder: Path, packed: bool = True) -> dict[str, np.ndarray]:
    """Write small KMNIST files, with 3 training and 5 test images per class.

    Returns the files' arrays by file name.
    """
    folder.mkdir(parents=True)
    arrays = {}
    for part, (x, y) in {"train": images(3), "t10k": images(5, seed=1)}.items():
        arrays |= {f"{part}-images-idx3-ubyte": x, f"{part}-labels-idx1-ubyte": y}
    for name, array in arrays.items():
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array), 1))
        else:
            (folder / name).write_bytes(idx(array))
    return arrays


@dataclasses.dataclass
class Server:
    """What the server sends for /NAME, and the names that it was asked for."""

    url: str
    bodies: dict[str, bytes] = dataclasses.field(default_factory=dict)
    cut: int = 0  # bytes that are announced but do not come
    kind: str = "application/octet-stream"
    asked: list[str] = dataclasses.field(default_factory=list)

    def publish(self, monkeypatch: pytest.MonkeyPatch, name: str, files: dict[str, bytes]) -> None:
        """Send these files as those of the set `name`, with their checksums, and nothing else."""
        self.bodies = files
        entry = published.PUBLISHED[name]
        sums = {file: hashlib.md5(body).hexdigest() for file, body in files.items()}
        parts = {
            part: {f: Remote(r.name, sums.get(r.name, r.md5)) for f, r in remotes.items()}
            for part, remotes in (("train", entry.train), ("test", entry.test))
        }
        changed = dataclasses.replace(entry, train=parts["train"], test=parts["test"])
        monkeypatch.setitem(published.PUBLISHED, name, changed)
        monkeypatch.setitem(published.BASES, name, (self.url,))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.lstrip("/")
            state.asked.append(name)
            body = state.bodies.get(name)
            if body is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", state.kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) - state.cut])

        def log_message(self, format: str, *args: object) -> None:
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        state = Server(f"http://127.0.0.1:{listener.server_port}/")
        thread = threading.Thread(target=listener.serve_forever, args=(0.02,))
        thread.start()
        yield state
        listener.shutdown()
        thread.join()


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> str:
    """An address at which nothing listens; all published sets are looked for there."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as listener:
        port = listener.server_port
    for name in published.BASES:
        monkeypatch.setitem(published.BASES, name, (f"http://127.0.0.1:{port}/",))
    return f"127.0.0.1:{port}"


def files_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


def refusal(name: str, data_dir: Path) -> str:
    """The one line with which a set is refused."""
    with pytest.raises(DataError) as caught:
        load(name, data_dir, progress=False)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand bytes are free, and nothing can be read before that is noticed."""
    import psutil

    free = type("Free", (), {"available": 1000})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
