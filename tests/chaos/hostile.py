"""Read hostile files of every format: each is data or one line, and takes no more than it should.

    python -m tests.chaos.hostile [--files 10000] [--seed 0] [--formats FORMAT ...] [--keep DIR]

Small honest data of each format are written, one of their files is spoilt, and a process of its own
reads them. Inside of archives a member is spoilt as often as the archive itself, and then packed
with a correct checksum, so that what reads the member is tried, too. A reader must return the data
or raise DataError with one line, within `SECONDS`, and never end by a signal. Its memory may grow
by twice of what the honest data take, or twice of what it returned, and `SLACK`.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import io
import json
import os
import random
import re
import resource
import shutil
import signal
import tempfile
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tests.trainables.conftest import idx, images, kmnist
from tests.trainables.test_data_cifar import write_cifar
from tests.trainables.test_data_iclevr import fabricate
from trainables.data import DataError, load

SECONDS = 60
SLACK = 48  # MiB, for modules that a reader imports
PICTURES = (".png", ".jpg", ".webp", ".bmp", ".ppm", ".tif")
PIXELS, LABELS = images(12, classes=3)
NUMBERS = (b"0", b"-1", b"4294967295", b"999999999999", b"1e400", b"9" * 40)
WORDS = (b"\x00" * 8, b"\xff" * 8, b"\x7f\xff\xff\xff", b"[" * 2000, b"{}", b"\x80\x02c", b"PK\x01")


def pictures(folder: Path, suffix: str) -> None:
    for n, (image, label) in enumerate(zip(PIXELS, LABELS, strict=True)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / str(label) / f"{n}{suffix}")


def packed(path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder))


def zipped(root: Path) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        pictures(Path(scratch), ".png")
        packed(root / "own.zip", Path(scratch))
    return str(root / "own.zip")


def carded(root: Path) -> str:
    pictures(root / "own", ".png")
    files = sorted(path.relative_to(root / "own") for path in (root / "own").rglob("*.png"))
    labels = [[str(file), int(file.parent.name)] for file in files]
    (root / "own" / "dataset.json").write_text(json.dumps({"labels": labels}))
    return str(root / "own")


def table() -> pa.Table:
    files = []
    for image in PIXELS:
        content = io.BytesIO()
        Image.fromarray(image).save(content, "PNG")
        files.append({"bytes": content.getvalue(), "path": None})
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return pa.table({"image": pa.array(files, struct), "label": pa.array(LABELS, pa.int64())})


def parquet(root: Path) -> str:
    pq.write_table(table(), root / "own.parquet")
    return str(root / "own.parquet")


def arrow(root: Path) -> str:
    content = table()
    place = str(root / "own.arrow")
    with pa.OSFile(place, "wb") as file, pa.ipc.new_stream(file, content.schema) as stream:
        stream.write_table(content)
    return str(root / "own.arrow")


def arrays(root: Path, save: Callable[..., None]) -> str:
    save(root / "own.npz", x=PIXELS, y=LABELS)
    return str(root / "own.npz")


def in_folder(root: Path, suffix: str) -> str:
    pictures(root / "own", suffix)
    return str(root / "own")


def idx_files(root: Path, packed: bool) -> str:
    pack = gzip.compress if packed else bytes
    for name, array in (("images-idx3", PIXELS), ("labels-idx1", LABELS)):
        file = root / f"train-{name}-ubyte{'.gz' if packed else ''}"
        file.write_bytes(pack(idx(array)))
    return str(root)


def kuzushiji49(root: Path) -> str:
    (root / "K49").mkdir()
    for part, (x, y) in {"train": images(2, 49), "test": images(1, 49, seed=1)}.items():
        np.savez_compressed(root / f"K49/k49-{part}-imgs.npz", x)
        np.savez_compressed(root / f"K49/k49-{part}-labels.npz", y)
    return "k49"


def named(write: Callable[[Path], object], folder: str, name: str) -> Callable[[Path], str]:
    def make(root: Path) -> str:
        write(root / folder)
        return name

    return make


# Each writes honest data into an empty folder, and returns their name or path.
FORMATS: dict[str, Callable[[Path], str]] = {
    ".npz": lambda root: arrays(root, np.savez),
    ".npz, compressed": lambda root: arrays(root, np.savez_compressed),
    "idx": lambda root: idx_files(root, packed=False),
    "idx.gz": lambda root: idx_files(root, packed=True),
    "zip of images": zipped,
    "dataset.json": carded,
    "parquet": parquet,
    "arrow": arrow,
    "MNIST": named(kmnist, "MNIST/raw", "mnist"),
    "KMNIST, unpacked": named(lambda at: kmnist(at, packed=False), "KMNIST/raw", "kmnist"),
    "Kuzushiji-49": kuzushiji49,
    "CIFAR-10": named(write_cifar, "", "cifar10"),
    "i-CLEVR": named(fabricate, "iclevr", "iclevr"),
    **{
        f"folder of {suffix}": lambda root, suffix=suffix: in_folder(root, suffix)
        for suffix in PICTURES
    },
}


@functools.cache
def giant() -> bytes:
    """A valid image of 9000x9000 pixels in a small file."""
    content = io.BytesIO()
    Image.new("L", (9000, 9000)).save(content, "PNG")
    return content.getvalue()


def spoilt(content: bytes, rng: random.Random) -> bytes:
    """A content with one to three faults."""
    for _ in range(rng.randint(1, 3)):
        at, size = rng.randrange(len(content) + 1), rng.randint(1, 64)
        numbers = [*re.finditer(rb"\d+", content[:4096])]
        match rng.choice(["bits", "cut", "word", "insert", "copy", "number", "head"]):
            case "bits" if content:
                altered = bytearray(content)
                for _ in range(rng.randint(1, 8)):
                    altered[rng.randrange(len(altered))] ^= 1 << rng.randrange(8)
                content = bytes(altered)
            case "head":  # where formats keep their sizes
                at = rng.randrange(64)
                content = content[:at] + rng.choice(WORDS[:3]) + content[at + 8 :]
            case "cut":
                content = content[:at]
            case "word":
                word = rng.choice(WORDS)
                content = content[:at] + word + content[at + len(word) :]
            case "insert":
                content = content[:at] + rng.randbytes(size) + content[at:]
            case "copy":
                content = content[:at] + content[at // 2 : at // 2 + size] + content[at + size :]
            case "number" if numbers:
                found = rng.choice(numbers)
                content = content[: found.start()] + rng.choice(NUMBERS) + content[found.end() :]
    return content


def spoil(path: Path, rng: random.Random) -> None:
    """Spoil a file, or what is packed in it. An image may become a giant one."""
    content = path.read_bytes()
    if path.suffix in PICTURES and rng.random() < 0.05:
        path.write_bytes(giant())
        return
    inside = rng.random() < 0.5
    if inside and path.suffix == ".gz":
        content = gzip.compress(spoilt(gzip.decompress(content), rng), 1)
    elif inside and path.suffix in (".zip", ".npz"):
        written = io.BytesIO()
        with zipfile.ZipFile(path) as given, zipfile.ZipFile(written, "w") as taken:
            names = given.namelist()
            chosen = rng.choice(names)
            for name in names:
                member = given.read(name)
                taken.writestr(name, spoilt(member, rng) if name == chosen else member)
        content = written.getvalue()
    else:
        content = spoilt(content, rng)
    path.write_bytes(content)


def read(name: str, root: Path) -> dict[str, object]:
    """Read data in a process of its own. Returns what came of it.

    Keys: end ("data", "refused", or what is wrong), and where it ended by itself MiB (growth of its
    memory) and size (MiB of the images that it returned).
    """
    ours, theirs = os.pipe()
    if not (child := os.fork()):
        signal.alarm(SECONDS)
        before, size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0.0
        try:
            data = load(name, root, progress=False)
            end, size = "data", (data.train.x.nbytes + data.test.x.nbytes) / 2**20
        except DataError as error:
            end = "refused" if len(str(error).splitlines()) == 1 else f"lines: {error}"
        except BaseException:
            end = traceback.format_exc()
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        os.write(theirs, json.dumps({"end": end[-4000:], "MiB": grown, "size": size}).encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    if not said:
        return {"end": f"ended by {signal.Signals(os.WTERMSIG(status)).name}"}
    value: dict[str, object] = json.loads(said)
    return value


def attack(kind: str, number: int, seed: int, keep: Path) -> Counter[str]:
    """Read so many spoilt data of one format. Returns how many ended how.

    Args:
        keep: a folder for data that are read wrongly, made where there are any.
    """
    rng, ends = random.Random(f"{kind} {seed}"), Counter[str]()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        name = FORMATS[kind](root)
        files = sorted(path for path in root.rglob("*") if path.is_file())
        honest = {path: path.read_bytes() for path in files}
        first = read(name, root)
        assert first["end"] == "data", f"{kind}: {first['end']}"
        least = float(str(first["MiB"]))
        for n in range(number):
            path = rng.choice(files)
            if kind == "i-CLEVR":  # its images may have any size
                path.write_bytes(spoilt(honest[path], rng))
            else:
                spoil(path, rng)
            found = read(name, root)
            end = str(found["end"])
            if end in ("data", "refused"):
                fair = 2 * max(least, float(str(found["size"]))) + SLACK
                if float(str(found["MiB"])) > fair:
                    end = f"took {found['MiB']:.0f} MiB where {fair:.0f} are fair"
            ends[end] += 1
            if end not in ("data", "refused"):
                shutil.copytree(root, keep / f"{kind} {seed} {n}", dirs_exist_ok=True)
                print(f"{kind}, file {n}, {path.name}: {end}", flush=True)
            path.write_bytes(honest[path])
    return ends


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=[*FORMATS])
    parser.add_argument("--keep", type=Path, default=Path("hostile"), help="default: hostile/")
    asked = parser.parse_args()
    wrong = 0
    for kind in asked.formats:
        ends = attack(kind, -(-asked.files // len(asked.formats)), asked.seed, asked.keep)
        bad = ends.total() - ends["data"] - ends["refused"]
        wrong += bad
        print(f"{kind:20} {ends['data']:5} read, {ends['refused']:5} refused, {bad} wrong")
    raise SystemExit(wrong > 0)


if __name__ == "__main__":
    main()
