"""Published sets: KMNIST, Kuzushiji-49, MNIST, Fashion-MNIST, CIFAR-10.

They are read from torchvision's folders under the data directory, or downloaded there. No part of
them belongs to this project. Each set keeps its own licence terms:

- `kmnist`, `k49`: CC BY-SA 4.0. "KMNIST Dataset" (created by CODH), adapted from "Kuzushiji
  Dataset" (created by NIJL and others), doi:10.20676/00000341. Clanuwat et al., "Deep Learning for
  Classical Japanese Literature", 2018.
- `mnist`: CC BY-SA 3.0. LeCun, Cortes and Burges, from NIST's Special Databases 1 and 3.
- `fashion_mnist`: MIT. Zalando SE. Xiao, Rasul and Vollgraf, "Fashion-MNIST", 2017.
- `cifar10`: no licence stated. Krizhevsky, "Learning Multiple Layers of Features from Tiny
  Images", 2009.

`NAME:test` is the official test split alone, of which 80 % of each class are for training. It is
for users who have only this split.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from trainables.data.base import HIRAGANA, DataError, Dataset, DataSpec, Split, divide
from trainables.data.download import fetch, probe, scratch
from trainables.data.formats import Arrays, parse_batches, parse_idx, parse_npz


@dataclass(frozen=True)
class Remote:
    """A file as the server sends it, with its MD5."""

    name: str
    md5: str


@dataclass(frozen=True)
class Published:
    """One data set. `train` and `test` map names of files on disk to the remote files with them."""

    folder: str  # under the data directory
    train: dict[str, Remote]
    test: dict[str, Remote]
    parse: Callable[[Sequence[Path], DataSpec], Arrays]
    spec: DataSpec
    classes: tuple[str, ...]


# Where a set's files are downloaded from. A later address is tried when the earlier ones fail.
BASES: dict[str, tuple[str, ...]] = {
    "kmnist": (
        "https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
    ),
    "k49": (
        "https://codh.rois.ac.jp/kmnist/dataset/k49/",
        "http://codh.rois.ac.jp/kmnist/dataset/k49/",
    ),
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    "fashion_mnist": (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    ),
    "cifar10": ("https://www.cs.toronto.edu/~kriz/",),
}


def where(name: str, data_dir: Path) -> str | None:
    """Text such as "read from KMNIST/raw in data" if all needed files are on disk, else None."""
    if _missing(name, data_dir):
        return None
    return f"read from {PUBLISHED[_stem(name)].folder} in {data_dir}"


def fetchable(name: str, data_dir: Path) -> str | None:
    """Why the files that are not on disk cannot be downloaded now; None if they can.

    Takes at most 3 s.
    """
    stem = _stem(name)
    missing = _missing(name, data_dir)
    if not missing:
        return None
    urls = [base + missing[0].name for base in BASES[stem]]
    return probe(urls, data_dir / PUBLISHED[stem].folder)


def read(name: str, data_dir: Path, cache: Path | None, progress: bool) -> Dataset:
    """Read the set. Files that are missing are downloaded first.

    Raises:
        DataError: a file is damaged or cannot be downloaded.
    """
    stem = _stem(name)
    published = PUBLISHED[stem]
    folder = data_dir / published.folder
    missing = _missing(name, data_dir)
    for remote in missing:
        urls = [base + remote.name for base in BASES[stem]]
        if remote.name.endswith(".tar.gz"):
            _fetch_archive(urls, remote, published, folder, progress)
        else:
            fetch(urls, folder / remote.name, remote.md5, progress)
    test = _split(published, published.test, folder)
    if name == stem:
        train = _split(published, published.train, folder)
    else:
        train, test = divide(test)
    source = "downloaded" if missing else f"read from {published.folder}"
    return Dataset(name, train, test, published.classes, source)


def _stem(name: str) -> str:
    return name.removesuffix(":test")


def _files(name: str) -> dict[str, Remote]:
    published = PUBLISHED[_stem(name)]
    return published.test if name.endswith(":test") else published.train | published.test


def _missing(name: str, data_dir: Path) -> list[Remote]:
    """The remote files that must be downloaded, each of them once."""
    folder = data_dir / PUBLISHED[_stem(name)].folder
    files = _files(name).items()
    return list(dict.fromkeys(remote for file, remote in files if _find(folder, file) is None))


def _find(folder: Path, file: str) -> Path | None:
    """The path of a file, as it is or with .gz appended; None if there is neither."""
    return next((p for p in (folder / file, folder / f"{file}.gz") if p.is_file()), None)


def _fetch_archive(
    urls: Sequence[str], remote: Remote, published: Published, folder: Path, progress: bool
) -> None:
    """Download a set's archive and extract its files. The archive is not kept."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder) as temporary:
            archive = Path(temporary) / remote.name
            fetch(urls, archive, remote.md5, progress)
            with tarfile.open(archive) as tar:
                for file in published.train | published.test:
                    member = tar.extractfile(f"{published.folder}/{file}")
                    assert member is not None  # the archive's MD5 was right
                    content = member.read()  # what fails here is the archive, not the disk
                    with scratch(folder / file) as sink:
                        sink.write(content)
    except (OSError, KeyError, tarfile.TarError, EOFError, zlib.error) as error:
        raise DataError(f"{folder}: {remote.name} cannot be unpacked: {error}") from error


def _split(published: Published, files: dict[str, Remote], folder: Path) -> Split:
    """Read one split from disk and check it.

    Raises:
        DataError: a file is damaged, or its images or labels are not those of such a set.
    """
    paths = [path for file in files if (path := _find(folder, file)) is not None]
    x, y = published.parse(paths, published.spec)
    classes = published.spec.classes
    if len(x) != len(y):
        raise DataError(f"{paths[0]}: {len(x)} images but {len(y)} labels in {paths[-1].name}")
    labels = np.unique(y).tolist()
    if strange := sorted(set(labels) - set(range(classes))):
        raise DataError(f"{paths[-1]}: label {strange[0]}: labels are 0..{classes - 1}")
    if empty := sorted(set(range(classes)) - set(labels)):
        raise DataError(f"{paths[-1]}: no image has label {empty[0]}")
    return Split(x, y)


def _mnist_like(folder: str, classes: Sequence[str], *md5: str) -> Published:
    """A set in MNIST's four files.

    `md5` are the MD5s of the gzipped train images, train labels, test images and test labels.
    """
    files = [
        (file, Remote(f"{file}.gz", digest))
        for file, digest in zip(
            (
                "train-images-idx3-ubyte",
                "train-labels-idx1-ubyte",
                "t10k-images-idx3-ubyte",
                "t10k-labels-idx1-ubyte",
            ),
            md5,
            strict=True,
        )
    ]
    spec = DataSpec(len(classes), 1, (28, 28))
    return Published(folder, dict(files[:2]), dict(files[2:]), parse_idx, spec, tuple(classes))


_CIFAR = Remote("cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a")
_CIFAR_CLASSES = "airplane,automobile,bird,cat,deer,dog,frog,horse,ship,truck"
_FASHION_CLASSES = "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot"

PUBLISHED = {
    "kmnist": _mnist_like(
        "KMNIST/raw",
        "おきすつなはまやれを",
        "bdb82020997e1d708af4cf47b453dcf7",
        "e144d726b3acfaa3e44228e80efcd344",
        "5c965bf0a639b31b8f53240b1b52f4d7",
        "7320c461ea6c1c855c0b718fb2a4b134",
    ),
    "k49": Published(
        "K49",
        {
            name: Remote(name, md5)
            for name, md5 in (
                ("k49-train-imgs.npz", "7ac088b20481cf51dcd01ceaab89d821"),
                ("k49-train-labels.npz", "44a8e1b893f81e63ff38d73cad420f7a"),
            )
        },
        {
            name: Remote(name, md5)
            for name, md5 in (
                ("k49-test-imgs.npz", "d352e201d846ce6b94f42c990966f374"),
                ("k49-test-labels.npz", "4da6f7a62e67a832d5eb1bd85c5ee448"),
            )
        },
        parse_npz,
        DataSpec(len(HIRAGANA), 1, (28, 28)),
        HIRAGANA,
    ),
    "mnist": _mnist_like(
        "MNIST/raw",
        "0123456789",
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
    "fashion_mnist": _mnist_like(
        "FashionMNIST/raw",
        _FASHION_CLASSES.split(","),
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
    "cifar10": Published(
        "cifar-10-batches-py",
        {f"data_batch_{i}": _CIFAR for i in range(1, 6)},
        {"test_batch": _CIFAR},
        parse_batches,
        DataSpec(10, 3, (32, 32)),
        tuple(_CIFAR_CLASSES.split(",")),
    ),
}
SETS = {
    name: published.spec for stem, published in PUBLISHED.items() for name in (stem, f"{stem}:test")
}
