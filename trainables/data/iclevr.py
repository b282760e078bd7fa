"""Reads i-CLEVR, with the json files of the conditional-generation lab.

The files are in `iclevr/` in the data folder. `objects.json` maps 24 labels, such as "red cube", to
their numbers. `train.json` maps file names to one to three labels. `test.json` and `new_test.json`
list label sets to ask a generator for. The images lie beside the json files or in `images/`.

The images come in scenes that grow by one object: NAME_0.png, NAME_1.png... A tenth of the scenes
is for testing. All images of a scene are in the same split, so that no object of a test scene is
seen in training.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.data.base import SPLIT_SEED, DataError, Dataset, DataSpec, Split
from trainables.data.download import scratch
from trainables.data.pictures import read_image

CLASSES, MOST = 24, 3  # labels in all, and at most of one image
SIDE = 64  # pixels; whole images are resized to it, because a crop would cut objects off
TEST_SHARE = 0.1  # of the scenes
VERSION = 1  # raise it when images come out differently, so that old caches are not used
SETS = {"iclevr": DataSpec(CLASSES, 3, (SIDE, SIDE), labels=MOST)}
CONDITIONS = ("test", "new_test")
FILES = ("objects", "train", *CONDITIONS)


def where(name: str, data_dir: Path) -> str | None:
    """Where the data are, if the json files and all images of train.json are on disk; else None.

    Raises:
        DataError: train.json is damaged.
    """
    folder = data_dir / name
    if not all((folder / f"{file}.json").is_file() for file in FILES):
        return None
    names = _mapping(folder / "train.json")
    return f"read from {name} in {data_dir}" if _images(folder, names) else None


def fetchable(name: str, data_dir: Path) -> str:
    """Why the set cannot be downloaded: it has no address. People pass it on to each other."""
    return f"has no address to download it from ({name}/ needs its images and json files)"


def read(name: str, data_dir: Path, cache: Path | None, progress: bool) -> Dataset:
    """Read all images, or load those that an earlier run put into `cache`.

    Raises:
        DataError: a file is missing or damaged, its labels are not those of such a set, or the
            cache cannot be written.
    """
    folder = data_dir / name
    classes = _classes(folder / "objects.json")
    labels = _mapping(folder / "train.json")
    images = _images(folder, labels)
    if images is None:
        raise DataError(f"{folder}: images of train.json are missing")
    numbers = {label: i for i, label in enumerate(classes)}
    y = _many_hot(folder / "train.json", labels.items(), numbers)
    conditions = {}
    for file in CONDITIONS:
        path = folder / f"{file}.json"
        conditions[file] = _many_hot(path, enumerate(_read(path, list)), numbers)
    test = _held_out(list(labels))
    counts = y[~test].sum(0)
    # `build_reference` in study/metrics/core/measure_real.py halves the training images, and each
    # half needs an image of every label.
    if counts.min() < 2:
        bare = classes[int(counts.argmin())]
        raise DataError(f"{folder}: {counts.min()} images for training have the label {bare!r}")
    sets, repeats = np.unique(y[~test], axis=0, return_counts=True)
    if absent := set(range(1, MOST + 1)) - set(sets[repeats > 1].sum(1).tolist()):
        raise DataError(f"{folder}: no two images for training share {min(absent)} labels and all")
    whole = Split(_pixels([images / file for file in labels], cache, progress), y)
    parts = whole.of(~test), whole.of(test)
    return Dataset(name, *parts, classes, f"read from {name}", conditions)


def _read(path: Path, kind: type) -> Any:
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a json file ({error})") from error
    if not isinstance(value, kind) or not value:
        raise DataError(f"{path}: a {kind.__name__} with entries is needed")
    return value


def _mapping(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = _read(path, dict)
    return value


def _classes(path: Path) -> tuple[str, ...]:
    """The labels in the order of their numbers."""
    numbers = _mapping(path)
    if sorted(map(repr, numbers.values())) != sorted(map(repr, range(CLASSES))):
        raise DataError(f"{path}: {CLASSES} labels numbered 0 to {CLASSES - 1} are needed")
    return tuple(sorted(numbers, key=lambda label: int(numbers[label])))


def _many_hot(
    path: Path, items: Iterable[tuple[object, Any]], numbers: dict[str, int]
) -> NDArray[np.uint8]:
    """Multi-hot labels [N, 24] from N pairs: the name of an entry and its list of labels."""
    rows = []
    for entry, labels in items:
        if not isinstance(labels, list) or not 1 <= len(labels) <= MOST:
            raise DataError(f"{path}: {entry}: {labels!r}: a list of 1 to {MOST} labels is needed")
        if unknown := [one for one in labels if not isinstance(one, str) or one not in numbers]:
            raise DataError(f"{path}: {entry}: unknown label {unknown[0]!r}")
        row = np.zeros(CLASSES, dtype=np.uint8)
        row[[numbers[label] for label in labels]] = 1
        rows.append(row)
    return np.stack(rows)


def _images(folder: Path, names: Iterable[str]) -> Path | None:
    """The folder that holds all images of these names; None if there is none."""
    wanted = set(names)
    for place in (folder, folder / "images"):
        if place.is_dir() and wanted <= {entry.name for entry in os.scandir(place)}:
            return place
    return None


def _held_out(names: Sequence[str]) -> NDArray[np.bool_]:
    """Mask [N] of the images for testing: whole scenes, chosen by a fixed seed."""
    scenes = [Path(name).stem.rpartition("_")[0] or name for name in names]
    order = np.random.default_rng(SPLIT_SEED).permutation(sorted(set(scenes)))
    chosen = set(order[: max(1, round(TEST_SHARE * len(order)))].tolist())
    return np.array([scene in chosen for scene in scenes])


def _pixels(paths: Sequence[Path], cache: Path | None, progress: bool) -> NDArray[np.uint8]:
    """The images, uint8 [N, 3, 64, 64], from the cache if it has them.

    The name of the cache's file is a hash of the images' names, sizes and modification times.
    """
    if cache is None:
        return _read_all(paths, progress)
    stats = [(path.name, (s := path.stat()).st_size, s.st_mtime_ns) for path in paths]
    key = hashlib.sha256(json.dumps([VERSION, stats]).encode()).hexdigest()[:16]
    kept = cache / "data" / f"iclevr-{key}.npy"
    try:
        x = np.load(kept, mmap_mode="c")
        fits = x.shape == (len(paths), 3, SIDE, SIDE) and x.dtype == np.uint8
        if fits and _last(kept, 32) == _digest(x):
            return np.asarray(x)
    except (OSError, ValueError, EOFError):
        pass
    x = _read_all(paths, progress)
    with scratch(kept) as sink:
        np.save(sink, x)
        sink.write(_digest(x))  # behind what np.load reads
    return x


def _last(path: Path, n: int) -> bytes:
    with path.open("rb") as file:
        file.seek(-n, os.SEEK_END)
        return file.read()


def _digest(x: NDArray[np.uint8]) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(x).data).digest()


def _read_all(paths: Sequence[Path], progress: bool) -> NDArray[np.uint8]:
    from tqdm import tqdm

    def one(path: Path) -> NDArray[np.uint8]:
        image = read_image(path, (SIDE, SIDE))
        if len(image) != 3:
            raise DataError(f"{path}: a colour image is needed")
        return image

    with ThreadPoolExecutor() as pool:  # in parallel, because Pillow releases Python's lock
        read = tqdm(pool.map(one, paths), "i-CLEVR", len(paths), disable=not progress)
        return np.stack(list(read))
